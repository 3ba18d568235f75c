// Generating with a part of the cache: what the indices follow, what changes nothing, what is
// refused.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <stdexcept>

#include "base/rng.h"
#include "engine/snapshot.h"
#include "engine/test_profile.h"
#include "make_model/make_model.h"

namespace pith {
namespace {

using testing::HasSubstr;

constexpr uint32_t kLayers = 3, kHeads = 2, kDim = 32, kVocabulary = 512;

class Read : public testing::Test {
 protected:
  ~Read() override { std::filesystem::remove(TempName("session")); }

  static std::string TempName(const char* what) {
    return testing::TempDir() + "pith_read_" + what + "_" + std::to_string(::getpid());
  }

  static std::unique_ptr<Engine> MakeEngine(int threads, bool with_profile = true) {
    const std::string path = TempName("model");
    if (!MakeModel({.layers = kLayers,
                    .kv_heads = kHeads,
                    .head_dim = kDim,
                    .vocabulary = kVocabulary,
                    .context = 2048},
                   path)) {
      throw std::runtime_error("no model");
    }
    std::string profile;
    if (with_profile) profile = WriteMadeProfile(path).value();
    auto engine =
        Engine::Create({.model_path = path, .num_threads = threads, .chunk = 64, .repack = false});
    std::filesystem::remove(path);
    if (with_profile) std::filesystem::remove(profile);
    if (!engine) throw std::runtime_error(engine.error().Message());
    return std::move(*engine);
  }

  static PlannedRun Planned(const std::string& recipe, const std::string& budget = "80") {
    PlannedRun run{ParseRecipe(recipe).value(), std::nullopt};
    if (run.plan.takes_budget()) run.budget = ParseBudget(budget).value();
    return run;
  }

  static std::vector<int32_t> Text(size_t count, uint64_t seed = 1) {
    Rng rng(seed);
    std::vector<int32_t> tokens(count);
    for (int32_t& token : tokens) token = static_cast<int32_t>(rng.Below(kVocabulary));
    return tokens;
  }

  static Sequence Fed(Engine& engine, const PlannedRun& run, size_t length = 300) {
    Sequence sequence = engine.NewSequence(run).value();
    EXPECT_TRUE(engine.Feed(sequence, Text(length)));
    EXPECT_TRUE(engine.Compress(sequence));
    return sequence;
  }

  using Logits = std::vector<std::vector<float>>;
  static Logits Decode(Engine& engine, Sequence& sequence, int count) {
    Logits logits;
    for (const int32_t token : Text(static_cast<size_t>(count), 7)) {
      Sequence* const one[] = {&sequence};
      const auto row = engine.Step(one, {&token, 1}).value();
      logits.emplace_back(row.begin(), row.end());
    }
    return logits;
  }

  // Entries that were read of those that were held, in the layers that read selectively.
  static double ShareRead(const Sequence& sequence) {
    double read = 0, held = 0;
    for (const ReadCounters& counters : sequence.reader.counters()) {
      read += static_cast<double>(counters.read);
      held += static_cast<double>(counters.held);
    }
    return read / held;
  }
};

TEST_F(Read, Everything_SameBitsAsWithoutReading) {
  const auto engine = MakeEngine(1);
  for (const char* read :
       {"quest(budget=100000,dense=0)", "ds(budget=100000,dense=1)",
        "twilight(p=1,share=100%,dense=0)", "twilight(p=1,base=ds,share=1,dense=0)",
        "quest(budget=8,page=8,dense=3)"}) {
    for (const char* kept : {"full", "full + kivi4(residual=32)", "snapkv + alloc=ada",
                             "score=streaming + when=decode(every=4) + store=q8_0"}) {
      Sequence all = Fed(*engine, Planned(kept));
      Sequence selective = Fed(*engine, Planned(std::string(kept) + " + read=" + read));
      EXPECT_EQ(Decode(*engine, all, 12), Decode(*engine, selective, 12)) << kept << " " << read;
      EXPECT_GT(selective.Usage().entries, 0u);
    }
  }
}

TEST_F(Read, Prompts_AreReadWhole) {
  const auto engine = MakeEngine(1);
  Sequence all = engine->NewSequence(Planned("full")).value();
  Sequence quest = engine->NewSequence(Planned("quest(budget=8,dense=0)")).value();
  for (const size_t length : {200, 1, 64}) {
    const auto expected = engine->Feed(all, Text(length)).value();
    const std::vector<float> copy(expected.begin(), expected.end());
    const auto logits = engine->Feed(quest, Text(length)).value();
    EXPECT_EQ(std::vector<float>(logits.begin(), logits.end()), copy);
  }
  EXPECT_EQ(quest.Usage().metadata, all.Usage().metadata);  // no index before it is needed
}

TEST_F(Read, AnyNumberOfThreads_SameBits) {
  const auto one = MakeEngine(1), two = MakeEngine(2);
  for (const char* recipe :
       {"quest(budget=48,page=8,dense=0)", "ds(budget=40,dense=0)",
        "twilight(p=0.7,share=50%,dense=1) + kivi4(residual=32)",
        "h2o + twilight(p=0.8,base=all,dense=0)", "adakv + twilight(base=ds,dense=0)"}) {
    Sequence a = Fed(*one, Planned(recipe), 150), b = Fed(*two, Planned(recipe), 150);
    EXPECT_EQ(Decode(*one, a, 4), Decode(*two, b, 4)) << recipe;
    EXPECT_LT(ShareRead(a), 1) << recipe;
    EXPECT_EQ(ShareRead(a), ShareRead(b)) << recipe;
  }
}

TEST_F(Read, Counters_SayWhatWasRead) {
  const auto engine = MakeEngine(1);
  Sequence sequence = Fed(*engine, Planned("quest(budget=48,page=16,dense=1)"));
  Decode(*engine, sequence, 5);
  const auto counters = sequence.reader.counters();
  ASSERT_EQ(counters.size(), size_t{kLayers} * kHeads);
  for (uint32_t i = 0; i < counters.size(); ++i) {
    EXPECT_EQ(counters[i].steps, i < kHeads ? 0u : 5u);
    EXPECT_EQ(counters[i].held, i < kHeads ? 0u : 301u + 302 + 303 + 304 + 305);
    if (i >= kHeads) {
      EXPECT_GE(counters[i].read, 5u * 48);
    }
  }
  // Bounds in a byte each of 20 pages, in whole eights, a base and a step; those of the last page
  // in f32; and room to grow.
  const uint64_t bounds = uint64_t{kLayers - 1} * kHeads * (24 * (kDim * 2 + 2 * 2) + kDim * 2 * 4);
  EXPECT_GE(sequence.reader.bytes(), bounds);
  EXPECT_LE(sequence.reader.bytes(), bounds * 5 / 4);
  EXPECT_EQ(sequence.Usage().metadata, sequence.cache.Usage().metadata + sequence.reader.bytes());
  EXPECT_EQ(sequence.Usage().held, sequence.cache.Usage().held + sequence.reader.bytes());
}

TEST_F(Read, KeysStoredAsCodes_NoCodesBesideThem) {
  const auto engine = MakeEngine(1);
  Sequence sequence =
      Fed(*engine, Planned("twilight(p=0.7,base=all,dense=0) + kivi4(residual=32)"), 200);
  Decode(*engine, sequence, 3);
  EXPECT_EQ(sequence.reader.bytes(), 0u);
  EXPECT_LT(ShareRead(sequence), 0.95);
  for (const ReadCounters& counters : sequence.reader.counters()) {
    EXPECT_GE(counters.kept, counters.steps * 0.7);
  }
}

// A step of sequences of all recipes.
TEST_F(Read, InOneStep_EachReadsAsItsRecipeSays) {
  const auto engine = MakeEngine(1);
  std::vector<Sequence> together, alone;
  for (const char* recipe : {"full", "quest(budget=48,page=8,dense=0)", "snapkv + ds(budget=20)",
                             "twilight(p=0.6,dense=0)", "snapkv"}) {
    together.push_back(Fed(*engine, Planned(recipe)));
    alone.push_back(together.back().Fork());
  }
  std::vector<Sequence*> batch;
  for (Sequence& sequence : together) batch.push_back(&sequence);
  for (const int32_t token : Text(6, 7)) {
    const auto rows = engine->Step(batch, std::vector<int32_t>(batch.size(), token)).value();
    const std::vector<float> all(rows.begin(), rows.end());
    for (size_t i = 0; i < alone.size(); ++i) {
      Sequence* const one[] = {&alone[i]};
      const auto row = engine->Step(one, {&token, 1}).value();
      if (!alone[i].reader.rule().reads_all()) continue;
      for (size_t j = 0; j < kVocabulary; ++j) {
        ASSERT_NEAR(all[i * kVocabulary + j], row[j], 1e-3) << alone[i].kv.plan.canonical;
      }
    }
  }
  // Products of several rows are rounded otherwise than those of one, and of nearly equal entries
  // others may be chosen then; but as many.
  for (size_t i = 0; i < alone.size(); ++i) {
    if (alone[i].reader.rule().reads_all()) continue;
    const double share = ShareRead(alone[i]);
    EXPECT_LT(share, 0.9) << alone[i].kv.plan.canonical;
    EXPECT_NEAR(ShareRead(together[i]), share, 0.02) << alone[i].kv.plan.canonical;
  }
}

// Brought up to date, the indices are what they would be if they were made anew.
void ExpectFollows(const Sequence& sequence) {
  const ReadRule rule = sequence.reader.rule();
  Sequence fork = sequence.Fork();
  const EntryReader fresh_reader(rule, sequence.cache.spec(), nullptr);
  for (uint32_t layer = rule.dense_layers; layer < kLayers; ++layer) {
    for (uint32_t head = 0; head < kHeads; ++head) {
      KeyIndex fresh = fresh_reader.index(layer, head);
      fresh.Update(fork.cache.Head(layer, head), 0);
      KeyIndex index = fork.reader.index(layer, head);
      index.Update(fork.cache.Head(layer, head), fork.cache.TakeUnchangedKeys(layer, head));
      ASSERT_EQ(index.num_entries(), fresh.num_entries());
      for (uint32_t c = 0; index.bounds() != nullptr && c < kDim; ++c) {
        for (uint64_t page = 0; page < fresh.bounds()->num_pages(); ++page) {
          ASSERT_EQ(index.bounds()->Least(page, c), fresh.bounds()->Least(page, c));
          ASSERT_EQ(index.bounds()->Greatest(page, c), fresh.bounds()->Greatest(page, c));
        }
      }
      for (uint32_t c = 0; index.codes() != nullptr && c < kDim; ++c) {
        for (uint64_t entry = 0; entry < fresh.num_entries(); ++entry) {
          ASSERT_EQ(index.codes()->Decoded(entry, c), fresh.codes()->Decoded(entry, c));
        }
      }
    }
  }
}

// Whatever happens to the cache between two tokens: appended, dropped, sealed, moved, truncated,
// forked, saved and loaded.
TEST_F(Read, Soak_IndicesFollowTheCache) {
  const auto engine = MakeEngine(1);
  Rng rng(99);
  const std::vector<std::string> kept = {"full",
                                         "full + kivi4(residual=32)",
                                         "full + q4_0(residual=8,rotate=both,sinks=4)",
                                         "snapkv + alloc=ada",
                                         "streaming(positions=cache)",
                                         "h2o + q8_0",
                                         "score=knorm + when=always(every=3) + kivi2(residual=32)"};
  for (const std::string& recipe : kept) {
    Sequence sequence =
        engine->NewSequence(Planned(recipe + " + twilight(p=0.8,share=50%,page=8,dense=1)", "64"))
            .value();
    ASSERT_TRUE(engine->Feed(sequence, Text(100)));
    for (int round = 0; round < 40; ++round) {
      switch (rng.Below(7)) {
        case 0:
          ASSERT_TRUE(engine->Feed(sequence, Text(1 + rng.Below(40), rng.Below(1000))));
          break;
        case 1:
          ASSERT_TRUE(engine->Compress(sequence));
          break;
        case 2:
          sequence.Truncate(sequence.tokens.size() - rng.Below(20));
          break;
        case 3: {
          Sequence fork = sequence.Fork();
          Decode(*engine, fork, 3);
          ExpectFollows(fork);
          if (rng.Below(2) == 0) sequence = std::move(fork);
          break;
        }
        case 4: {
          const std::vector<float> logits(kVocabulary);
          const std::string path = TempName("session");
          ASSERT_TRUE(SaveSnapshot(*engine, sequence, {{1, 3}, {}}, logits, "", path));
          auto loaded = LoadSnapshot(*engine, path, sequence.kv);
          ASSERT_TRUE(loaded) << loaded.error().Message();
          EXPECT_EQ(Decode(*engine, loaded->sequence, 2), Decode(*engine, sequence, 2)) << recipe;
          break;
        }
        default:
          Decode(*engine, sequence, 1 + static_cast<int>(rng.Below(5)));
      }
      if (rng.Below(2) == 0) Decode(*engine, sequence, 1);
      if (sequence.tokens.size() > 1500) sequence.Truncate(100);
      ExpectFollows(sequence);
      if (HasFailure()) FAIL() << recipe << " round " << round;
    }
  }
}

TEST_F(Read, WhatCannotBe_IsRefused) {
  const auto engine = MakeEngine(1, false);
  const auto refusal = [&](const PlannedRun& run) {
    const auto sequence = engine->NewSequence(run);
    return sequence ? std::string("none") : sequence.error().Message();
  };
  EXPECT_THAT(refusal(Planned("ds")), HasSubstr("pith calibrate labels"));
  EXPECT_THAT(refusal(Planned("twilight(base=ds)")), HasSubstr("pith calibrate labels"));
  EXPECT_EQ(refusal(Planned("twilight")), "none");
  EXPECT_THAT(refusal(Planned("snapkv + quest", "2MiB")),
              HasSubstr("keeps an index of the keys beside the cache, for which a budget in bytes "
                        "leaves no memory (budget \"2MiB\")"));
}

}  // namespace
}  // namespace pith
