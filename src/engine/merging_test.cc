#include "engine/merging.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <numeric>
#include <stdexcept>

#include "base/rng.h"
#include "cache/page.h"
#include "engine/snapshot.h"
#include "make_model/make_model.h"

namespace pith {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr uint32_t kDim = 64;

// Layers 2 and 3 of 4 are a pair.
std::unique_ptr<Engine> MakeEngine(uint32_t chunk = 64, int threads = 1, uint32_t layers = 4) {
  const auto path = std::filesystem::temp_directory_path() /
                    ("pith-merging-" + std::to_string(::getpid()) + ".gguf");
  EXPECT_TRUE(MakeModel(
      {.layers = layers, .width = 256, .query_heads = 4, .kv_heads = 2, .context = 2048}, path));
  auto engine = Engine::Create(
      {.model_path = path.string(), .num_threads = threads, .chunk = chunk, .repack = false});
  std::remove(path.c_str());
  if (!engine) throw std::runtime_error(engine.error().Message());
  return std::move(*engine);
}

PlannedRun Planned(std::string_view recipe) { return {ParseRecipe(recipe).value(), {}}; }

std::vector<int32_t> Text(size_t length) {
  std::vector<int32_t> tokens(length);
  for (size_t i = 0; i < length; ++i) tokens[i] = static_cast<int32_t>((i * i * 7 + i) % 251);
  return tokens;
}

using Logits = std::vector<std::vector<float>>;

Logits Decode(Engine& engine, Sequence& sequence, int count) {
  Logits logits;
  Sequence* const one[] = {&sequence};
  for (int32_t token = 0; token < count; ++token) {
    const auto row = engine.Step(one, {&token, 1}).value();
    logits.emplace_back(row.begin(), row.end());
  }
  return logits;
}

Sequence Fed(Engine& engine, const PlannedRun& run, size_t length) {
  Sequence sequence = engine.NewSequence(run).value();
  EXPECT_TRUE(engine.Feed(sequence, Text(length)));
  EXPECT_TRUE(engine.Compress(sequence));
  return sequence;
}

double Difference(const Logits& a, const Logits& b) {
  double sum = 0;
  for (size_t step = 0; step < a.size(); ++step) {
    for (size_t i = 0; i < a[step].size(); ++i) sum += std::abs(double{a[step][i]} - b[step][i]);
  }
  return sum;
}

TEST(MiniCacheRun, PromptIsMergedButForTheResidual_AndWhatIsGeneratedInBlocks) {
  const auto engine = MakeEngine();
  Sequence sequence = Fed(*engine, Planned("minicache"), 200);
  EXPECT_THAT(sequence.cache.spec().merged_with, ElementsAre(0, 1, 2, 2));
  const SequenceCache& cache = sequence.cache;
  const auto tail = [&] { return cache.num_unsealed(3, 1, Side::kValues); };
  EXPECT_EQ(tail(), 64u);
  EXPECT_EQ(cache.num_unsealed(1, 1, Side::kKeys), 200u) << "a layer alone";
  const uint64_t exact = 200 - 64 - cache.num_sealed(3, 1, Side::kKeys);
  EXPECT_GE(exact, 4u + 7);        // first tokens, and a twentieth of 136
  EXPECT_LE(exact, 4u + 136 / 5);  // a fifth
  EXPECT_EQ(cache.num_sealed(2, 1, Side::kKeys), cache.num_sealed(3, 1, Side::kValues));
  Decode(*engine, sequence, 63);
  EXPECT_EQ(tail(), 127u);
  Decode(*engine, sequence, 1);
  EXPECT_EQ(tail(), 64u);
  EXPECT_EQ(cache.num_entries(2, 1), 264u);
  EXPECT_EQ(cache.num_entries(3, 0), 264u);
  EXPECT_TRUE(engine->Feed(sequence, Text(30)));  // a second prompt
  EXPECT_TRUE(engine->Compress(sequence));
  EXPECT_EQ(tail(), 64u);
  std::vector<int32_t> positions(cache.num_entries(3, 1)), all(positions.size());
  cache.Positions(3, 1, positions);
  std::ranges::sort(positions);
  std::iota(all.begin(), all.end(), 0);
  EXPECT_EQ(positions, all);
}

// Lengths of restored keys and values are those that they had; those that are exact are exact.
TEST(MiniCacheRun, RestoredEntries_HaveTheirLengthAndTheSharedDirection) {
  const auto engine = MakeEngine();
  const Sequence full = Fed(*engine, Planned("full"), 300);
  const Sequence merged = Fed(*engine, Planned("minicache"), 300);
  std::vector<int32_t> positions(300);
  merged.cache.Positions(2, 0, positions);
  const uint64_t sealed = merged.cache.num_sealed(2, 0, Side::kKeys), exact = 300 - 64 - sealed;
  for (const Side side : {Side::kKeys, Side::kValues}) {
    std::vector<float> whole[2], read[2];
    for (const uint32_t l : {0u, 1u}) {
      whole[l].resize(size_t{300} * kDim);
      read[l].resize(whole[l].size());
      ReadRows(full.cache.Head(2 + l, 0), side, 0, 300, whole[l].data());
      ReadRows(merged.cache.Head(2 + l, 0), side, 0, 300, read[l].data());
    }
    for (size_t e = 0; e < 300; ++e) {
      const auto at = static_cast<size_t>(positions[e]) * kDim;
      double dot = 0, norm[2] = {}, was[2] = {};
      for (uint32_t c = 0; c < kDim; ++c) {
        const float a = read[0][e * kDim + c], b = read[1][e * kDim + c];
        dot += double{a} * b;
        norm[0] += double{a} * a;
        norm[1] += double{b} * b;
        for (const size_t l : {0, 1}) was[l] += double{whole[l][at + c]} * whole[l][at + c];
        if (e >= exact && e < exact + sealed) continue;
        ASSERT_EQ(a, whole[0][at + c]);
        ASSERT_EQ(b, whole[1][at + c]);
      }
      for (const size_t l : {0, 1}) ASSERT_NEAR(norm[l] / was[l], 1, 3e-3) << e;
      if (e >= exact && e < exact + sealed) {
        ASSERT_GT(dot / std::sqrt(norm[0] * norm[1]), 1 - 1e-6);
      }
    }
  }
}

// Two layers that hold the same: what is read differs by the rounding of f16 alone.
TEST(MergeTails, EqualLayers_ReadAsTheyWere) {
  constexpr uint32_t kEntries = 300, kSize = 32;
  PagePool pool;
  const ListSpec list{.form = FindForm("f16"), .dim = kSize};
  SequenceCache cache(
      &pool,
      {.num_layers = 2, .num_kv_heads = 1, .keys = list, .values = list, .merged_with = {0, 0}});
  std::vector<int32_t> positions(kEntries);
  std::iota(positions.begin(), positions.end(), 0);
  ASSERT_TRUE(cache.Extend(positions));
  Rng rng(6);
  std::vector<float> rows(size_t{kEntries} * kSize), read(rows.size());
  for (float& x : rows) x = rng.Normal();
  for (const uint32_t layer : {0u, 1u}) {
    cache.WriteKeys(layer, 0, 0, kEntries, rows.data(), kSize);
    cache.WriteValues(layer, 0, 0, kEntries, rows.data(), kSize);
  }
  const auto alone = [](const auto& work) { work(0, 1); };
  const Plan plan = ParseRecipe("minicache(start=0,rho=0)").value();
  ASSERT_TRUE(MergeTails(plan, true, alone, cache));
  ASSERT_GE(cache.num_sealed(1, 0, Side::kKeys), 180u);
  cache.Positions(1, 0, positions);
  for (const Side side : {Side::kKeys, Side::kValues}) {
    ReadRows(cache.Head(1, 0), side, 0, kEntries, read.data());
    for (size_t e = 0; e < kEntries; ++e) {
      for (uint32_t c = 0; c < kSize; ++c) {
        const float was = rows[static_cast<size_t>(positions[e]) * kSize + c];
        // Rounded on entry, as a direction, and by the length.
        ASSERT_NEAR(read[e * kSize + c], was, 3 * std::abs(was) / 2048 + 1e-6);
      }
    }
  }
}

TEST(MiniCacheRun, NothingMerged_IsTheFullCacheBitForBit) {
  const auto engine = MakeEngine();
  Sequence full = Fed(*engine, Planned("full"), 150);
  const Logits expected = Decode(*engine, full, 5);
  for (const char* recipe : {"minicache(start=1)", "minicache(residual=200)"}) {
    Sequence sequence = Fed(*engine, Planned(recipe), 150);
    EXPECT_EQ(Decode(*engine, sequence, 5), expected) << recipe;
  }
}

TEST(MiniCacheRun, MoreExactEntries_AreNearerToTheFullCache) {
  const auto engine = MakeEngine();
  Sequence full = Fed(*engine, Planned("full"), 400);
  const Logits expected = Decode(*engine, full, 3);
  double last = 0;
  for (const char* recipe : {"minicache(rho=1,most=1)", "minicache(rho=0.6,most=1)", "minicache",
                             "minicache(start=0,layers=4)"}) {
    Sequence sequence = Fed(*engine, Planned(recipe), 400);
    const double difference = Difference(Decode(*engine, sequence, 3), expected);
    EXPECT_GT(difference, last) << recipe;
    if (last == 0) {
      EXPECT_LT(difference, 0.05) << "only pages are cut elsewhere";
    }
    last = difference;
  }
}

// 4 layers x 2 heads, keys and values of 64: of a merged entry one direction and two numbers.
TEST(MiniCacheRun, LogicalBytes_AreThoseOfTheFormula) {
  const auto engine = MakeEngine();
  constexpr uint64_t kLength = 300, kRow = kDim * 2;
  const Sequence plain = Fed(*engine, Planned("minicache"), kLength);
  const Sequence q4_0 = Fed(*engine, Planned("minicache + q4_0(residual=64)"), kLength);
  uint64_t plain_bytes = 0, q4_0_bytes = 0;
  const auto in_group = [&](const Sequence& sequence, uint32_t head, uint64_t direction) {
    const uint64_t merged = sequence.cache.num_sealed(2, head, Side::kKeys);
    EXPECT_GT(merged, 180u);
    return 2 * (kLength - merged) * 2 * kRow + 2 * merged * 4 + merged * 2 * direction;
  };
  for (const uint32_t head : {0u, 1u}) {
    constexpr uint64_t kCodes = kDim / 32 * 18;
    plain_bytes += 2 * kLength * 2 * kRow + in_group(plain, head, kRow);
    q4_0_bytes += 2 * 2 * (64 * kRow + (kLength - 64) * kCodes) + in_group(q4_0, head, kCodes);
  }
  EXPECT_EQ(plain.cache.Usage().logical, plain_bytes);
  EXPECT_EQ(q4_0.cache.Usage().logical, q4_0_bytes);
}

TEST(MiniCacheRun, ForkAndTruncation_LeaveTheOriginal) {
  const auto engine = MakeEngine();
  Sequence sequence = Fed(*engine, Planned("minicache"), 200);
  Sequence fork = sequence.Fork(), cut = sequence.Fork();
  cut.Truncate(100);
  EXPECT_EQ(cut.cache.num_entries(2, 0), 100u);
  EXPECT_EQ(cut.cache.num_unsealed(2, 0, Side::kKeys), 0u);
  EXPECT_TRUE(engine->Feed(cut, Text(100)));
  EXPECT_TRUE(engine->Compress(cut));
  EXPECT_EQ(cut.cache.num_unsealed(2, 0, Side::kKeys), 64u);
  Decode(*engine, cut, 70);
  EXPECT_EQ(Decode(*engine, fork, 70), Decode(*engine, sequence, 70));
}

TEST(MiniCacheRun, SaveAndLoad_GoOnAsBefore) {
  const auto path = (std::filesystem::temp_directory_path() /
                     ("pith-merging-" + std::to_string(::getpid()) + ".session"))
                        .string();
  const auto engine = MakeEngine();
  for (const char* recipe : {"minicache", "minicache(start=0,layers=3) + kivi4(residual=32)"}) {
    Sequence sequence = Fed(*engine, Planned(recipe), 200);
    Decode(*engine, sequence, 70);
    const std::vector<float> logits = Decode(*engine, sequence, 1).back();
    ASSERT_TRUE(SaveSnapshot(*engine, sequence, {}, logits, "", path)) << recipe;
    auto loaded = LoadSnapshot(*engine, path, Planned(recipe));
    ASSERT_TRUE(loaded) << recipe << ": " << loaded.error().Message();
    EXPECT_EQ(Decode(*engine, loaded->sequence, 70), Decode(*engine, sequence, 70)) << recipe;
  }
  std::remove(path.c_str());
}

TEST(MiniCacheRun, SequencesInOneStep_ReadTheirOwnEntries) {
  const auto engine = MakeEngine();
  Sequence a = Fed(*engine, Planned("minicache"), 150), b = Fed(*engine, Planned("full"), 90);
  Sequence a_alone = a.Fork(), b_alone = b.Fork();
  const int32_t tokens[] = {7, 9};
  Sequence* const both[] = {&a, &b};
  const auto rows = engine->Step(both, tokens).value();
  const std::vector<float> together(rows.begin(), rows.end());
  const size_t vocabulary = together.size() / 2;
  for (size_t i : {0, 1}) {
    Sequence* const one[] = {i == 0 ? &a_alone : &b_alone};
    const auto row = engine->Step(one, {&tokens[i], 1}).value();
    for (size_t v = 0; v < vocabulary; ++v) {
      ASSERT_NEAR(together[i * vocabulary + v], row[v], 1e-4) << i << " " << v;
    }
  }
}

TEST(MiniCacheRun, ThreadsMakeNoDifference) {
  for (const char* recipe : {"minicache", "minicache(restore=projection) + kivi4(residual=32)",
                             "minicache + read=quest(budget=48,page=8,dense=1)"}) {
    Logits logits[2];
    for (const int i : {0, 1}) {
      const auto engine = MakeEngine(64, i + 1);
      Sequence sequence = Fed(*engine, Planned(recipe), 300);
      logits[i] = Decode(*engine, sequence, 70);
    }
    EXPECT_EQ(logits[0], logits[1]) << recipe;
  }
}

TEST(MiniCacheRun, ReadingEveryPage_IsReadingAll) {
  const auto engine = MakeEngine();
  Sequence all = Fed(*engine, Planned("minicache"), 200);
  Sequence pages = Fed(*engine, Planned("minicache + read=quest(budget=4096,page=8,dense=1)"), 200);
  EXPECT_LT(Difference(Decode(*engine, all, 70), Decode(*engine, pages, 70)), 0.05);
}

TEST(MiniCacheRun, WhatCannotBeMerged_IsRefusedByName) {
  const auto engine = MakeEngine(64, 1, 2);
  const auto error = [&](std::string_view recipe) {
    const auto sequence = engine->NewSequence(Planned(recipe));
    return sequence ? std::string() : sequence.error().Message();
  };
  EXPECT_THAT(error("minicache"), HasSubstr("finds no two of the 2 layers to merge"));
  EXPECT_EQ(error("minicache(start=0)"), "");
  EXPECT_THAT(error("minicache(start=0,by=similarity)"), HasSubstr("pith calibrate similarity"));
}

}  // namespace
}  // namespace pith
