#include "engine/channels.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <numeric>

#include "codec/kivi.h"
#include "engine/test_first_layer.h"
#include "make_model/make_model.h"

namespace pith {
namespace {

using testing::HasSubstr;

constexpr uint32_t kDim = 64;

std::unique_ptr<Engine> MakeEngine(uint32_t chunk = 64, int threads = 1) {
  const auto path = std::filesystem::temp_directory_path() /
                    ("pith-channels-" + std::to_string(::getpid()) + ".gguf");
  EXPECT_TRUE(MakeModel({.width = 256, .query_heads = 4, .kv_heads = 2, .context = 2048}, path));
  auto engine = Engine::Create(
      {.model_path = path.string(), .num_threads = threads, .chunk = chunk, .repack = false});
  std::remove(path.c_str());
  if (!engine) throw std::runtime_error(engine.error().Message());
  return std::move(*engine);
}

PlannedRun Planned(std::string_view recipe, std::string_view budget = "") {
  PlannedRun run{ParseRecipe(recipe).value(), {}};
  if (!budget.empty()) run.budget = ParseBudget(budget).value();
  return run;
}

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

void Read(Engine& engine, Sequence& sequence, size_t length) {
  EXPECT_TRUE(engine.Feed(sequence, Text(length)));
  EXPECT_TRUE(engine.Compress(sequence));
}

Sequence Fed(Engine& engine, const PlannedRun& run, size_t length) {
  Sequence sequence = engine.NewSequence(run).value();
  Read(engine, sequence, length);
  return sequence;
}

double Distance(const Logits& a, const Logits& b) {
  double sum = 0;
  for (size_t step = 0; step < a.size(); ++step) {
    for (size_t i = 0; i < a[step].size(); ++i) sum += std::abs(double{a[step][i]} - b[step][i]);
  }
  return sum;
}

// 64 - floor(0.4 x 64) = 39 channels, in the units of the form.
TEST(NumChannelsKept, IsTheShareThatIsLeft_RoundedUpToWhatTheFormHolds) {
  const ChannelRule rule{.drop = 0.4, .window = 32};
  const auto kept = [&](const Form* sealed) {
    return NumChannelsKept(rule, {.form = FindForm("f16"), .dim = kDim, .sealed = sealed});
  };
  EXPECT_EQ(kept(FindForm("f16")), 40u);
  EXPECT_EQ(kept(FindKivi(4, 32)), 48u);
  EXPECT_EQ(kept(FindForm("q8_0")), 64u);
  EXPECT_EQ(NumChannelsKept({}, {.form = FindForm("f16"), .dim = kDim}), 0u);
  const ListSpec mixed{
      .form = FindForm("f16"), .dim = kDim, .sealed_by_layer = {FindForm("f16"), FindKivi(2, 32)}};
  EXPECT_EQ(NumChannelsKept(rule, mixed), 48u);
  // 0.3 x 10 drops three, though it is a little less in binary.
  EXPECT_EQ(NumChannelsKept({.drop = 0.3}, {.form = FindForm("f16"), .dim = 10}), 7u);
}

// The squares of what a channel adds to Q K^T, summed up one by one, of the first layer.
TEST(ChooseChannels, FirstLayer_KeepsThoseThatAddMostToTheLastQueries) {
  constexpr uint32_t kRows = 90, kWindow = 32;
  const auto engine = MakeEngine();
  const Sequence sequence = Fed(*engine, Planned("think(ratio=0.5,bias=mean) + f32"), kRows);
  const HyperParams& p = engine->model().params();
  std::vector<int32_t> positions(kRows);
  std::iota(positions.begin(), positions.end(), 0);
  const FirstLayer truth(engine->model(), Text(kRows), positions);
  const uint32_t group = p.num_query_heads / p.num_kv_heads;
  for (uint32_t kv_head = 0; kv_head < p.num_kv_heads; ++kv_head) {
    std::vector<double> scores(p.key_dim), means(p.key_dim);
    for (uint32_t c = 0; c < p.key_dim; ++c) {
      for (uint32_t e = 0; e < kRows; ++e) {
        const double k = truth.Key(e, kv_head)[c];
        means[c] += k / kRows;
        for (uint32_t g = 0; g < group; ++g) {
          for (uint32_t r = kRows - kWindow; r < kRows; ++r) {
            const double product = k * truth.Query(r, kv_head * group + g)[c];
            scores[c] += product * product;
          }
        }
      }
    }
    const ChannelList* list = sequence.cache.KeyChannels(0, kv_head);
    ASSERT_NE(list, nullptr);
    ASSERT_EQ(list->kept.size(), kDim / 2);
    double least_kept = HUGE_VAL, most_dropped = 0;
    for (uint32_t c = 0; c < p.key_dim; ++c) {
      if (std::ranges::binary_search(list->kept, c)) {
        least_kept = std::min(least_kept, scores[c]);
        EXPECT_EQ(list->means[c], 0);
      } else {
        most_dropped = std::max(most_dropped, scores[c]);
        EXPECT_NEAR(list->means[c], means[c], 1e-3);
      }
    }
    EXPECT_GT(least_kept, 0.999 * most_dropped);
  }
}

TEST(Think, PrunesAllButTheWindowAtTheEndOfAPrompt_AndNothingThatIsGenerated) {
  const auto engine = MakeEngine();
  Sequence sequence = Fed(*engine, Planned("think"), 100);
  const auto sealed = [&] { return sequence.cache.num_sealed(1, 1, Side::kKeys); };
  EXPECT_EQ(sealed(), 68u);
  EXPECT_EQ(sequence.cache.num_sealed(1, 1, Side::kValues), 0u);
  const HeadView head = sequence.cache.Head(1, 1);
  EXPECT_EQ(head.keys.front().shape.dim, 40u);
  EXPECT_EQ(head.keys.back().shape.dim, kDim);
  const std::vector<uint16_t> kept = sequence.cache.KeyChannels(1, 1)->kept;
  Decode(*engine, sequence, 50);
  EXPECT_EQ(sealed(), 68u);
  Read(*engine, sequence, 30);  // a second prompt
  EXPECT_EQ(sealed(), 68u + 50 + 30);
  EXPECT_EQ(sequence.cache.KeyChannels(1, 1)->kept, kept) << "they are chosen once";
  EXPECT_EQ(sequence.cache.num_entries(1, 1), 180u);
}

TEST(Think, ShortPrompt_StaysAsItIs) {
  const auto engine = MakeEngine();
  Sequence full = Fed(*engine, Planned("full"), 32);
  Sequence sequence = Fed(*engine, Planned("think"), 32);
  EXPECT_EQ(sequence.cache.Usage().sealed_keys, 0u);
  EXPECT_EQ(sequence.cache.KeyChannels(0, 0), nullptr);
  EXPECT_EQ(Decode(*engine, sequence, 5), Decode(*engine, full, 5));
}

TEST(Think, NothingDropped_IsTheFullCacheBitForBit) {
  const auto engine = MakeEngine();
  Sequence full = Fed(*engine, Planned("full"), 150);
  const Logits expected = Decode(*engine, full, 5);
  for (const char* recipe : {"think(ratio=0)", "think(window=150)", "think + kivi2(residual=256)",
                             "kqsvd(ratio=0)", "kqsvd(window=150)"}) {
    Sequence sequence = Fed(*engine, Planned(recipe), 150);
    EXPECT_EQ(Decode(*engine, sequence, 5), expected) << recipe;
  }
}

// Kept channels bit for bit, the others as they are said to read; the window is untouched.
TEST(Think, Keys_ReadAsWhatIsKept) {
  const auto engine = MakeEngine();
  const Sequence full = Fed(*engine, Planned("full"), 100);
  for (const bool means : {false, true}) {
    const Sequence sequence =
        Fed(*engine, Planned(means ? "think(bias=mean)" : "think(bias=none)"), 100);
    std::vector<float> exact(size_t{100} * kDim), read(exact.size());
    full.cache.ReadKeys(1, 0, 0, 100, exact.data());
    sequence.cache.ReadKeys(1, 0, 0, 100, read.data());
    const ChannelList& list = *sequence.cache.KeyChannels(1, 0);
    ASSERT_EQ(list.means.empty(), !means);
    for (size_t e = 0; e < 100; ++e) {
      for (uint32_t c = 0; c < kDim; ++c) {
        const bool kept = e >= 68 || std::ranges::binary_search(list.kept, c);
        const float dropped = means ? list.means[c] : 0;
        ASSERT_EQ(read[e * kDim + c], kept ? exact[e * kDim + c] : dropped) << e << " " << c;
      }
    }
  }
}

TEST(Think, FewerDroppedChannels_AreNearerToTheFullCache) {
  const auto engine = MakeEngine();
  Sequence full = Fed(*engine, Planned("full"), 400);
  const Logits expected = Decode(*engine, full, 3);
  for (const std::string method : {"think", "kqsvd"}) {
    double last = 0;
    for (const char* ratio : {"0.2", "0.5", "0.8"}) {
      Sequence sequence = Fed(*engine, Planned(method + "(ratio=" + ratio + ")"), 400);
      const double distance = Distance(Decode(*engine, sequence, 3), expected);
      EXPECT_GT(distance, last) << method << ratio;
      last = distance;
    }
  }
}

// 2 layers x 2 heads; keys of 40 channels in two bytes, or 48 in KIVI's groups.
TEST(Think, LogicalBytes_AreThoseOfTheFormula) {
  const auto engine = MakeEngine();
  constexpr uint64_t kHeads = 4, kLength = 300, kRow = kDim * 2;
  const Sequence plain = Fed(*engine, Planned("think"), kLength);
  EXPECT_EQ(plain.cache.Usage().logical,
            kHeads * ((kLength - 32) * 40 * 2 + 32 * kRow + kLength * kRow));
  const Sequence kivi = Fed(*engine, Planned("think + kivi4"), kLength);
  const uint64_t groups = 256 / 32, key_group = 48 * 4 + 32 * 48 / 2;
  const uint64_t value = 2 * 4 + kDim / 2;
  EXPECT_EQ(kivi.cache.Usage().logical, kHeads * (groups * key_group + (kLength - 256) * kRow +
                                                  (kLength - 128) * value + 128 * kRow));
}

TEST(Think, WithEviction_PrunesWhatStays) {
  const auto engine = MakeEngine(50);
  const Sequence alone = Fed(*engine, Planned("snapkv", "96"), 500);
  Sequence both = Fed(*engine, Planned("snapkv + think", "96"), 500);
  for (uint32_t layer = 0; layer < 2; ++layer) {
    std::vector<int32_t> a(96), b(96);
    ASSERT_EQ(both.cache.num_entries(layer, 1), 96u);
    alone.cache.Positions(layer, 1, a);
    both.cache.Positions(layer, 1, b);
    EXPECT_EQ(a, b);
    EXPECT_EQ(both.cache.num_sealed(layer, 1, Side::kKeys), 64u);
  }
  // Dropping from pruned pages while generating: what stays keeps its bytes.
  Sequence decoding = Fed(*engine, Planned("tova + think", "96"), 500);
  Decode(*engine, decoding, 40);
  EXPECT_EQ(decoding.cache.num_entries(0, 0), 96u);
  EXPECT_LE(decoding.cache.num_sealed(0, 0, Side::kKeys), 64u);
}

TEST(Think, WithKivi_SealsByItsCountersInTheSameChannels) {
  const auto engine = MakeEngine(300);
  Sequence sequence = Fed(*engine, Planned("think(bias=mean) + kivi(residual=128)"), 300);
  const auto sealed = [&](Side side) { return sequence.cache.num_sealed(1, 0, side); };
  EXPECT_EQ(sealed(Side::kKeys), 256u);
  EXPECT_EQ(sealed(Side::kValues), 172u);
  const ChannelList list = *sequence.cache.KeyChannels(1, 0);
  EXPECT_EQ(list.kept.size(), 48u);
  Decode(*engine, sequence, 84);
  EXPECT_EQ(sealed(Side::kKeys), 384u);
  EXPECT_EQ(*sequence.cache.KeyChannels(1, 0), list);
}

TEST(Think, ForkAndTruncation_LeaveTheOriginalAndChooseAnew) {
  const auto engine = MakeEngine();
  Sequence sequence = Fed(*engine, Planned("think"), 200);
  Sequence fork = sequence.Fork(), cut = sequence.Fork();
  EXPECT_EQ(Decode(*engine, fork, 5), Decode(*engine, sequence, 5));
  cut.Truncate(120);
  EXPECT_EQ(cut.cache.num_sealed(0, 0, Side::kKeys), 120u);
  EXPECT_NE(cut.cache.KeyChannels(0, 0), nullptr);
  cut.Truncate(0);
  EXPECT_EQ(cut.cache.KeyChannels(0, 0), nullptr);
  Read(*engine, cut, 200);
  EXPECT_EQ(cut.cache.num_sealed(0, 0, Side::kKeys), 168u);
  EXPECT_EQ(sequence.cache.num_sealed(0, 0, Side::kKeys), 168u);
}

TEST(Think, SequencesInOneStep_ReadTheirOwnChannels) {
  const auto engine = MakeEngine();
  Sequence a = Fed(*engine, Planned("think(bias=mean)"), 150),
           b = Fed(*engine, Planned("kqsvd"), 90);
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

TEST(Think, ThreadsMakeNoDifference) {
  for (const char* recipe :
       {"think(bias=mean)", "think + kivi4(residual=32)", "kqsvd", "kqsvd + kivi4(residual=32)"}) {
    Logits logits[2];
    for (const int i : {0, 1}) {
      const auto engine = MakeEngine(64, i + 1);
      Sequence sequence = Fed(*engine, Planned(recipe), 300);
      logits[i] = Decode(*engine, sequence, 40);
    }
    EXPECT_EQ(logits[0], logits[1]) << recipe;
  }
}

TEST(Think, ChunksMakeNoDifference) {
  for (const char* recipe : {"think", "think + kivi4(residual=32)"}) {
    std::vector<std::vector<uint16_t>> kept;
    for (const uint32_t chunk : {40u, 300u}) {
      const auto engine = MakeEngine(chunk);
      kept.push_back(Fed(*engine, Planned(recipe), 300).cache.KeyChannels(0, 0)->kept);
    }
    EXPECT_EQ(kept[0], kept[1]) << recipe;
  }
}

// Of the first layer: the products of the last queries and all keys that are pruned, as they read.
double LostProducts(const Engine& engine, const Sequence& sequence, uint32_t rows) {
  const HyperParams& p = engine.model().params();
  std::vector<int32_t> positions(rows);
  std::iota(positions.begin(), positions.end(), 0);
  const FirstLayer truth(engine.model(), Text(rows), positions);
  std::vector<float> read(size_t{rows} * kDim);
  double lost = 0;
  for (uint32_t kv_head = 0; kv_head < p.num_kv_heads; ++kv_head) {
    sequence.cache.ReadKeys(0, kv_head, 0, rows, read.data());
    const uint32_t group = p.num_query_heads / p.num_kv_heads;
    for (uint32_t q = 0; q < group; ++q) {
      for (uint32_t r = rows - 32; r < rows; ++r) {
        const auto query = truth.Query(r, kv_head * group + q);
        for (uint32_t e = 0; e + 32 < rows; ++e) {
          double product = 0;
          for (uint32_t c = 0; c < kDim; ++c) {
            product += query[c] * (truth.Key(e, kv_head)[c] - double{read[e * kDim + c]});
          }
          lost += product * product;
        }
      }
    }
  }
  return lost;
}

TEST(KqSvd, SameNumberOfChannels_LosesLessOfTheProductsThanDroppingSome) {
  const auto engine = MakeEngine();
  const auto lost = [&](const char* recipe) {
    return LostProducts(*engine, Fed(*engine, Planned(recipe), 150), 150);
  };
  const double mixed = lost("kqsvd(ratio=0.5,queries=32)");
  EXPECT_GT(mixed, 0);
  EXPECT_LT(mixed, lost("think(ratio=0.5,bias=mean)") / 2);
}

// 2 layers x 2 heads; keys of 32 numbers, and beside them two matrices and the means.
TEST(KqSvd, Bytes_AreThoseOfTheFormula) {
  const auto engine = MakeEngine();
  constexpr uint64_t kHeads = 4, kLength = 300, kRow = kDim * 2;
  const Sequence sequence = Fed(*engine, Planned("kqsvd"), kLength);
  const CacheUsage mixed = sequence.cache.Usage();
  const CacheUsage pruned = Fed(*engine, Planned("think(ratio=0.5)"), kLength).cache.Usage();
  EXPECT_EQ(mixed.logical, kHeads * ((kLength - 32) * 32 * 2 + 32 * kRow + kLength * kRow));
  EXPECT_EQ(mixed.metadata - pruned.metadata,
            kHeads * (sizeof(float) * (2 * 32 * kDim + kDim) - 32 * sizeof(uint16_t)));
  EXPECT_EQ(sequence.Usage().held - mixed.held, kHeads * sizeof(float) * (2 * 32 * kDim + kDim));
}

// The matrices have a part of the share; where they are all of it, that is said.
TEST(KqSvd, ShareOfF16_CountsTheMatrices) {
  const auto engine = MakeEngine();
  const Sequence sequence = Fed(*engine, Planned("snapkv + kqsvd", "50%f16"), 300);
  const uint64_t beside = sizeof(float) * (2 * 32 * kDim + kDim);
  const uint64_t entries = (300 * 256 / 2 - beside - 32 * 256) / (64 + 128) + 32;
  EXPECT_EQ(sequence.cache.num_entries(0, 0), entries);
  Sequence small = engine->NewSequence(Planned("snapkv + kqsvd", "20%f16")).value();
  EXPECT_TRUE(engine->Feed(small, Text(300)));
  const Status refused = engine->Compress(small);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().Message(), HasSubstr("beside the entries"));
}

TEST(KqSvd, ASecondPromptAndAFork_KeepTheMixtures) {
  const auto engine = MakeEngine();
  Sequence sequence = Fed(*engine, Planned("kqsvd"), 100);
  const ChannelList first = *sequence.cache.KeyChannels(1, 1);
  EXPECT_TRUE(first.mixed());
  Sequence fork = sequence.Fork();
  EXPECT_EQ(Decode(*engine, fork, 5), Decode(*engine, sequence, 5));
  Read(*engine, sequence, 60);
  EXPECT_EQ(sequence.cache.num_sealed(1, 1, Side::kKeys), 100u + 5 + 60 - 32);
  EXPECT_EQ(*sequence.cache.KeyChannels(1, 1), first);
}

// 300 tokens take 128 x 2 bytes each; the newest 32 entries 256, all others 80 + 128.
TEST(Think, ShareOfF16_CountsPrunedKeys) {
  const auto engine = MakeEngine();
  const Sequence sequence = Fed(*engine, Planned("snapkv + think", "50%f16"), 300);
  const uint64_t entries = (300 * 256 / 2 - 32 * 256) / 208 + 32;
  EXPECT_EQ(sequence.cache.num_entries(0, 0), entries);
  EXPECT_LE(sequence.cache.Usage().logical, 4 * 300 * 256 / 2u);
}

TEST(Think, WhatCannotBeKept_IsRefusedByName) {
  const auto engine = MakeEngine();
  const auto error = [&](std::string_view recipe, std::string_view budget) {
    const auto sequence = engine->NewSequence(Planned(recipe, budget));
    return sequence ? std::string() : sequence.error().Message();
  };
  EXPECT_THAT(error("snapkv + think", "1MiB"),
              HasSubstr("drops channels when the prompt has been"));
  EXPECT_THAT(error("think + q4_0", ""), HasSubstr("would drop none of the 64 channels of a key"));
  EXPECT_EQ(error("think(ratio=0.5) + q4_0", ""), "");
}

}  // namespace
}  // namespace pith
