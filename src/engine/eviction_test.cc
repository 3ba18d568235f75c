// What every method that drops entries must hold, over all presets of the table, the combinations
// below, and models with as many KV heads as query heads, with fewer, and with one.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <map>
#include <set>

#include "engine/engine.h"
#include "engine/test_profile.h"
#include "make_model/make_model.h"

namespace pith {
namespace {

constexpr uint32_t kLength = 201;  // of the prompt
constexpr uint64_t kBudget = 61;

std::unique_ptr<Engine> MakeEngine(uint32_t kv_heads, int threads = 1, uint32_t chunk = 512) {
  const auto path = std::filesystem::temp_directory_path() /
                    ("pith-eviction-" + std::to_string(::getpid()) + ".gguf");
  if (!MakeModel({.layers = 3, .kv_heads = kv_heads}, path.string())) {
    throw std::runtime_error("no model");
  }
  const auto profile = WriteMadeProfile(path.string());
  if (!profile) throw std::runtime_error("no profile");
  auto engine = Engine::Create(
      {.model_path = path.string(), .num_threads = threads, .chunk = chunk, .repack = false});
  std::remove(path.c_str());
  std::remove(profile->c_str());
  if (!engine) throw std::runtime_error(engine.error().Message());
  return std::move(*engine);
}

std::vector<std::string> Recipes() {
  std::vector<std::string> recipes;
  for (const MethodInfo* method : Methods()) {
    if (DropsEntries(*method)) recipes.push_back(RecipeForShortTexts(method->name));
  }
  for (const char* text : {"keydiff(sinks=2,recent=5) + alloc=ada",
                           "snapkv(reduce=max,pool=mean) + alloc=pyramid",
                           "h2o(norm=age,every=3) + select=chunks(size=7)",
                           "vatp(over=snapkv) + alloc=ada",
                           "random + select=layer + f32",
                           "score=tova + when=always(every=2)",
                           "score=streaming + when=chunks",
                           "streaming + alloc=headkv(beta=2)",
                           "score=snapkv(window=8) + alloc=razor(local=20) + when=always(every=3)",
                           "snapkv + alloc=ada + select=critical",
                           "expected(eps=0.01) + alloc=ada",
                           "expected(values=none,sinks=0) + select=critical",
                           "snapkv + alloc=cake",
                           "cake + when=always(every=4)",
                           "kvzip(chunk=60) + when=decode(every=4)",
                           "snapkv + alloc=global",
                           "fastgen(recovery=0.8,shares=growing)",
                           "snapkv + alloc=ada + when=decode(every=3) + fold=less",
                           "streaming + fold=less",
                           "kvzip(chunk=60) + fold=less",
                           "score=tova + when=always(every=4) + fold=less + f32",
                           "duo(sinks=4,recent=20) + fold=less"}) {
    recipes.emplace_back(text);
  }
  return recipes;
}

// The budget is left out where the recipe takes none.
PlannedRun Planned(const std::string& recipe, uint64_t budget) {
  PlannedRun run{ParseRecipe(recipe).value(), std::nullopt};
  if (run.plan.takes_budget()) run.budget = ParseBudget(std::to_string(budget)).value();
  return run;
}

// Recipes that take no budget: the same with the parameters that make them keep everything.
const std::map<std::string, std::string> kIdentities = {
    {"duo(sinks=4,recent=20)", "duo(sinks=4,recent=20,full=1)"},
    {"razor(local=30)", "razor(local=30,induction=1)"},
    {"score=snapkv(window=8) + alloc=razor(local=20) + when=always(every=3)",
     "score=snapkv(window=8) + alloc=razor(local=20,echo=1) + when=always(every=3)"},
    {"fastgen(recovery=0.8)", "fastgen(recovery=2)"},
    {"fastgen(recovery=0.8,shares=growing)", "fastgen(recovery=1.5)"},
    {"duo(sinks=4,recent=20) + fold=less", "duo(sinks=4,recent=20,full=1) + fold=less"}};

// The setting with which a recipe keeps all of a text.
PlannedRun Identity(const std::string& recipe, uint64_t length) {
  PlannedRun run = Planned(recipe, length);
  if (run.plan.takes_budget()) return run;
  const auto found = kIdentities.find(recipe);
  EXPECT_NE(found, kIdentities.end()) << recipe;
  return Planned(found->second, length);
}

std::vector<int32_t> Prompt() {
  std::vector<int32_t> tokens(kLength);
  for (uint32_t i = 0; i < kLength; ++i) tokens[i] = static_cast<int32_t>((i * i * 7 + i) % 251);
  return tokens;
}

// Logits of `count` greedy steps, and the tokens.
struct Steps {
  std::vector<std::vector<float>> logits;
  std::vector<int32_t> tokens;
  bool operator==(const Steps&) const = default;
};
Steps Decode(Engine& engine, Sequence& sequence, std::span<const float> logits, int count) {
  Steps steps;
  for (int i = 0; i < count; ++i) {
    steps.logits.emplace_back(logits.begin(), logits.end());
    const auto best = std::max_element(logits.begin(), logits.end());
    steps.tokens.push_back(static_cast<int32_t>(best - logits.begin()));
    Sequence* const one[] = {&sequence};
    logits = engine.Step(one, {&steps.tokens.back(), 1}).value();
  }
  return steps;
}

std::vector<float> FeedPrompt(Engine& engine, Sequence& sequence) {
  const auto logits = engine.Feed(sequence, Prompt()).value();
  return {logits.begin(), logits.end()};
}

using Kept = std::vector<std::vector<int32_t>>;  // positions of each head
Kept KeptOf(const Sequence& sequence) {
  Kept kept;
  for (uint32_t layer = 0; layer < sequence.cache.spec().num_layers; ++layer) {
    for (uint32_t head = 0; head < sequence.cache.spec().num_kv_heads; ++head) {
      kept.emplace_back(sequence.cache.num_entries(layer, head));
      sequence.cache.Positions(layer, head, kept.back());
    }
  }
  return kept;
}

uint64_t CountOf(const Kept& kept) {
  uint64_t count = 0;
  for (const auto& head : kept) count += head.size();
  return count;
}

// Keys and values of every head, each entry by its position.
using Rows = std::map<int32_t, std::vector<float>>;
std::vector<Rows> RowsOf(const SequenceCache& cache) {
  std::vector<Rows> all;
  const uint32_t key_dim = cache.spec().keys.dim, value_dim = cache.spec().values.dim;
  for (uint32_t layer = 0; layer < cache.spec().num_layers; ++layer) {
    for (uint32_t head = 0; head < cache.spec().num_kv_heads; ++head) {
      std::vector<int32_t> positions(cache.num_entries(layer, head));
      cache.Positions(layer, head, positions);
      Rows rows;
      for (size_t i = 0; i < positions.size(); ++i) {
        std::vector<float>& row = rows[positions[i]];
        row.resize(size_t{key_dim} + value_dim);
        cache.ReadKeys(layer, head, i, 1, row.data());
        cache.ReadValues(layer, head, i, 1, row.data() + key_dim);
      }
      all.push_back(std::move(rows));
    }
  }
  return all;
}

class Eviction : public testing::TestWithParam<std::string> {
 protected:
  PlannedRun Run() const { return Planned(GetParam(), kBudget); }
};

TEST_P(Eviction, IdentitySetting_IsTheFullCacheBitForBit) {
  for (const uint32_t kv_heads : {1u, 2u, 4u}) {
    const auto engine = MakeEngine(kv_heads);
    PlannedRun run = Identity(GetParam(), kLength + 6);
    if (run.plan.storage.seals()) run.plan.storage.residual = 1024;
    Sequence full = engine->NewSequence();
    if (run.plan.storage.key_tail->id == FormId::kF32) {
      full = engine->NewSequence({ParseRecipe("f32").value(), {}}).value();
    }
    Sequence kept = engine->NewSequence(run).value();
    const auto full_logits = FeedPrompt(*engine, full);
    const auto kept_logits = FeedPrompt(*engine, kept);
    ASSERT_TRUE(engine->Compress(kept));
    EXPECT_EQ(Decode(*engine, kept, kept_logits, 6), Decode(*engine, full, full_logits, 6));
  }
}

TEST_P(Eviction, Compress_HoldsTheBudgetAndFreesTheRest) {
  for (const uint32_t kv_heads : {1u, 2u, 4u}) {
    const auto engine = MakeEngine(kv_heads);
    Sequence sequence = engine->NewSequence(Run()).value();
    sequence.pinned = {{40, 43}};
    const auto logits = FeedPrompt(*engine, sequence);
    const uint64_t before = sequence.cache.Usage().held;
    ASSERT_TRUE(engine->Compress(sequence));
    const Kept kept = KeptOf(sequence);
    const bool takes_budget = Run().plan.takes_budget();
    const uint64_t total = takes_budget ? kBudget * kept.size() : CountOf(kept);
    EXPECT_LE(CountOf(kept), total);
    if (GetParam().find("chunk") == std::string::npos) {
      EXPECT_EQ(CountOf(kept), total);
    }
    for (const auto& head : kept) {
      EXPECT_TRUE(std::ranges::is_sorted(head, std::less_equal<>()) ||
                  std::ranges::adjacent_find(head, std::greater_equal<>()) == head.end());
      EXPECT_GE(head.front(), 0);
      EXPECT_LT(head.back(), static_cast<int32_t>(kLength));
      for (const int32_t pinned : {40, 41, 42}) {
        EXPECT_TRUE(std::ranges::binary_search(head, pinned)) << pinned;
      }
    }
    EXPECT_LT(CountOf(kept), kLength * kept.size());
    EXPECT_LT(sequence.cache.Usage().held, takes_budget ? before / 2 : before);
    EXPECT_EQ(sequence.tokens.size(), kLength);
    Decode(*engine, sequence, logits, 7);
    const uint32_t interval = sequence.kv.plan.decode_interval();
    const uint64_t grown = interval == 0 || !takes_budget ? 7 : interval - 1;
    EXPECT_LE(CountOf(KeptOf(sequence)), total + grown * kept.size());
    if (interval == 0 && sequence.kv.plan.decode_drop() == 0) {
      EXPECT_EQ(CountOf(KeptOf(sequence)), CountOf(kept) + 7 * kept.size());
    }
  }
}

TEST_P(Eviction, KeptEntries_AreWhatTheyWere) {
  if (Run().plan.storage.seals()) GTEST_SKIP() << "what stays is stored in another form";
  const auto engine = MakeEngine(2);
  PlannedRun run = Run();
  Sequence sequence = engine->NewSequence(run).value();
  FeedPrompt(*engine, sequence);
  const std::vector<Rows> before = RowsOf(sequence.cache);
  ASSERT_TRUE(engine->Compress(sequence));
  const std::vector<Rows> after = RowsOf(sequence.cache);
  for (size_t head = 0; head < after.size(); ++head) {
    for (const auto& [position, row] : after[head]) {
      ASSERT_TRUE(before[head].contains(position)) << position;
      EXPECT_EQ(row, before[head].at(position)) << position;
    }
  }
}

TEST_P(Eviction, ThreadsMakeNoDifference) {
  Steps steps[2];
  Kept kept[2];
  for (const int i : {0, 1}) {
    const auto engine = MakeEngine(2, i + 1);
    Sequence sequence = engine->NewSequence(Run()).value();
    const auto logits = FeedPrompt(*engine, sequence);
    ASSERT_TRUE(engine->Compress(sequence));
    kept[i] = KeptOf(sequence);
    steps[i] = Decode(*engine, sequence, logits, 5);
  }
  EXPECT_EQ(kept[0], kept[1]);
  EXPECT_EQ(steps[0], steps[1]);
}

TEST_P(Eviction, ChunksMakeNoDifference) {
  if (Run().plan.between_chunks()) GTEST_SKIP() << "it takes the chunk as an input";
  Kept kept[3];
  std::vector<int32_t> tokens[3];
  for (const int i : {0, 1, 2}) {
    const auto engine = MakeEngine(2, 1, i == 0 ? 512 : i == 1 ? 64 : 5);
    Sequence sequence = engine->NewSequence(Run()).value();
    const auto logits = FeedPrompt(*engine, sequence);
    ASSERT_TRUE(engine->Compress(sequence));
    kept[i] = KeptOf(sequence);
    tokens[i] = Decode(*engine, sequence, logits, 5).tokens;
  }
  EXPECT_EQ(kept[0], kept[1]);
  EXPECT_EQ(kept[0], kept[2]);
  EXPECT_EQ(tokens[0], tokens[1]);
  EXPECT_EQ(tokens[0], tokens[2]);
}

TEST_P(Eviction, ForkAndOriginal_DoNotDisturbEachOther) {
  const auto engine = MakeEngine(2);
  Sequence alone = engine->NewSequence(Run()).value();
  const auto logits = FeedPrompt(*engine, alone);
  Sequence original = engine->NewSequence(Run()).value();
  EXPECT_EQ(FeedPrompt(*engine, original), logits);
  Sequence fork = original.Fork();
  ASSERT_TRUE(engine->Compress(alone));
  ASSERT_TRUE(engine->Compress(fork));
  Sequence fork_of_compressed = fork.Fork();
  const Steps steps = Decode(*engine, alone, logits, 5);
  EXPECT_EQ(Decode(*engine, fork, logits, 5), steps);
  ASSERT_TRUE(engine->Compress(original));
  EXPECT_EQ(Decode(*engine, original, logits, 5), steps);
  EXPECT_EQ(Decode(*engine, fork_of_compressed, logits, 5), steps);
}

TEST_P(Eviction, SharedPrompt_IsAsGoodAsItsOwn) {
  if (Run().plan.between_chunks()) GTEST_SKIP() << "its prompt cannot be shared";
  const auto engine = MakeEngine(2);
  std::vector<PlannedRun> runs = {Planned("a2sf", kBudget), Run(), Planned("h2o", kBudget)};
  for (PlannedRun& run : runs) {
    run.plan.storage = Run().plan.storage;
  }
  Sequence prompt = engine->NewSequence(runs).value();
  const auto logits = FeedPrompt(*engine, prompt);
  Sequence shared = engine->ForkAs(prompt, Run()).value();
  Sequence own = engine->NewSequence(Run()).value();
  EXPECT_EQ(FeedPrompt(*engine, own), logits);
  ASSERT_TRUE(engine->Compress(shared));
  ASSERT_TRUE(engine->Compress(own));
  EXPECT_EQ(KeptOf(shared), KeptOf(own));
  EXPECT_EQ(Decode(*engine, shared, logits, 5), Decode(*engine, own, logits, 5));
  EXPECT_FALSE(engine->ForkAs(own, runs[0]));
}

TEST_P(Eviction, SecondTurn_IsCompressedAgain) {
  const auto engine = MakeEngine(2);
  Sequence sequence = engine->NewSequence(Run()).value();
  const auto logits = FeedPrompt(*engine, sequence);
  ASSERT_TRUE(engine->Compress(sequence));
  Decode(*engine, sequence, logits, 9);
  ASSERT_TRUE(engine->Feed(sequence, std::vector<int32_t>(50, 7)));
  ASSERT_TRUE(engine->Compress(sequence));
  const Kept kept = KeptOf(sequence);
  const uint64_t per_head = Run().plan.takes_budget() ? kBudget : kLength + 59;
  EXPECT_LE(CountOf(kept), per_head * kept.size());
  EXPECT_EQ(sequence.tokens.size(), kLength + 59);
}

INSTANTIATE_TEST_SUITE_P(Methods, Eviction, testing::ValuesIn(Recipes()), [](const auto& info) {
  std::string name;
  for (const char c : info.param) name += std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
  return name;
});

TEST(EvictionTable, EveryPreset_IsTested) {
  const std::vector<std::string> recipes = Recipes();
  const std::set<std::string> names(recipes.begin(), recipes.end());
  for (const PresetInfo& preset : Presets()) {
    if (std::ranges::find(preset.stages, Stage::kScore) == preset.stages.end()) continue;
    EXPECT_TRUE(names.contains(RecipeForShortTexts(preset.name))) << preset.name;
  }
}

TEST(Eviction, Budget_SmallerThanWhatIsProtected_Refused) {
  const auto engine = MakeEngine(2);
  EXPECT_FALSE(engine->NewSequence(Planned("snapkv", 31)));
  EXPECT_FALSE(engine->NewSequence({ParseRecipe("snapkv").value(), std::nullopt}));
  // A share is known when the prompt is.
  Sequence sequence =
      engine->NewSequence({ParseRecipe("snapkv").value(), ParseBudget("5%").value()}).value();
  FeedPrompt(*engine, sequence);
  const Status refused = engine->Compress(sequence);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind, ErrorKind::kInput);
  EXPECT_NE(refused.error().Message().find("never drops 32 entries of a head, and the budget has "
                                           "room for 10 (budget \"5%\")"),
            std::string::npos)
      << refused.error().Message();
}

TEST(Eviction, WindowIsKept_AndSinksAre) {
  const auto engine = MakeEngine(2);
  const auto kept_of = [&](const char* recipe) {
    Sequence sequence = engine->NewSequence(Planned(recipe, 40)).value();
    FeedPrompt(*engine, sequence);
    EXPECT_TRUE(engine->Compress(sequence));
    return KeptOf(sequence);
  };
  for (const auto& head : kept_of("snapkv(window=30)")) {
    for (uint32_t i = kLength - 30; i < kLength; ++i) {
      EXPECT_TRUE(std::ranges::binary_search(head, static_cast<int32_t>(i)));
    }
  }
  for (const auto& head : kept_of("random(sinks=7,recent=9)")) {
    for (int32_t i = 0; i < 7; ++i) EXPECT_EQ(head[static_cast<size_t>(i)], i);
    EXPECT_EQ(head[40 - 9], static_cast<int32_t>(kLength - 9));
  }
  for (const auto& head : kept_of("score=streaming(sinks=4)")) {
    EXPECT_EQ(head[3], 3);
    EXPECT_EQ(head[4], static_cast<int32_t>(kLength - 36));
  }
}

TEST(Eviction, Batch_DropsManyAtOnce) {
  const auto engine = MakeEngine(2);
  Sequence sequence = engine->NewSequence(Planned("scissorhands", 40)).value();
  FeedPrompt(*engine, sequence);
  ASSERT_TRUE(engine->Compress(sequence));
  const int32_t token = 7;
  Sequence* const one[] = {&sequence};
  uint64_t held = 40;
  for (int i = 0; i < 50; ++i) {
    ASSERT_TRUE(engine->Step(one, {&token, 1}));
    held = held == 40 ? 20 : held + 1;  // the new one would exceed the budget
    const Kept kept = KeptOf(sequence);
    for (const auto& head : kept) {
      EXPECT_EQ(head.size(), held) << i;
      const auto end = static_cast<int32_t>(sequence.tokens.size());
      for (int32_t recent = end - 10; recent < end; ++recent) {
        EXPECT_TRUE(std::ranges::binary_search(head, recent)) << i;
      }
    }
  }
}

TEST(Eviction, BetweenChunks_ThePeakStaysBounded) {
  const auto engine = MakeEngine(2, 1, 32);
  const std::vector<int32_t> text(900, 7);
  Sequence sequence = engine->NewSequence(Planned("snapkv + when=chunks", 64)).value();
  ASSERT_TRUE(engine->Feed(sequence, text));
  ASSERT_TRUE(engine->Compress(sequence));
  Sequence full = engine->NewSequence();
  ASSERT_TRUE(engine->Feed(full, text));
  // 64 + 32 of 900 entries, in pages of at most 128 with their positions.
  EXPECT_LT(sequence.cache.Usage().held_peak, full.cache.Usage().held_peak / 4);
  EXPECT_EQ(CountOf(KeptOf(sequence)), 64u * 6);
}

// What the score protects and the newest, whatever the chunks were, and how much was generated.
TEST(Eviction, Duo_StreamingHeadsKeepSinksAndRecents_OfAnyChunks) {
  Kept kept[3];
  for (const int i : {0, 1, 2}) {
    const auto engine = MakeEngine(2, 1, i == 0 ? 512 : i == 1 ? 64 : 5);
    Sequence sequence =
        engine->NewSequence({ParseRecipe("duo(sinks=4,recent=20)").value(), {}}).value();
    const auto logits = FeedPrompt(*engine, sequence);
    ASSERT_TRUE(engine->Compress(sequence));
    kept[i] = KeptOf(sequence);
    Decode(*engine, sequence, logits, 3);
    for (const auto& head : KeptOf(sequence)) {
      if (head.size() == kLength + 3) continue;
      std::vector<int32_t> expected = {0, 1, 2, 3};
      for (int32_t p = kLength + 3 - 20; p < static_cast<int32_t>(kLength) + 3; ++p) {
        expected.push_back(p);
      }
      EXPECT_EQ(head, expected);
    }
  }
  EXPECT_EQ(kept[0], kept[1]);
  EXPECT_EQ(kept[0], kept[2]);
  // Half of six heads are full: those whose gates, 4 16 28 9 21 2 of 32, are the highest.
  const std::vector<size_t> full = {1, 2, 4};
  for (size_t i = 0; i < kept[0].size(); ++i) {
    EXPECT_EQ(kept[0][i].size(), std::ranges::count(full, i) > 0 ? kLength : 24) << i;
  }
}

TEST(Eviction, Razor_WhatIsDroppedCountsThroughItsMean) {
  const auto engine = MakeEngine(2);
  Sequence sequence = engine->NewSequence(Planned("razor(local=30)", 0)).value();
  const auto logits = FeedPrompt(*engine, sequence);
  ASSERT_TRUE(engine->Compress(sequence));
  const Kept kept = KeptOf(sequence);
  uint64_t folded = 0;
  for (uint32_t layer = 0; layer < 3; ++layer) {
    for (const AttendExtra& extra : sequence.compensation.Layer(layer)) folded += extra.count;
  }
  EXPECT_EQ(folded + CountOf(kept), kLength * kept.size());
  EXPECT_EQ(sequence.Usage().metadata,
            sequence.cache.Usage().metadata + sequence.compensation.bytes());
  Sequence without = sequence.Fork();
  without.compensation = {};
  EXPECT_NE(Decode(*engine, sequence, logits, 3), Decode(*engine, without, logits, 3));
}

}  // namespace
}  // namespace pith
