#include "engine/sealing.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>

#include "codec/kivi.h"
#include "engine/engine.h"
#include "make_model/make_model.h"

namespace pith {
namespace {

std::unique_ptr<Engine> MakeEngine(uint32_t chunk = 64, int threads = 1) {
  const auto path = std::filesystem::temp_directory_path() /
                    ("pith-sealing-" + std::to_string(::getpid()) + ".gguf");
  EXPECT_TRUE(MakeModel({.width = 128, .query_heads = 2, .kv_heads = 1, .context = 4096}, path));
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

std::vector<std::vector<float>> Decode(Engine& engine, Sequence& sequence, int count) {
  std::vector<std::vector<float>> logits;
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

TEST(NumToSeal, Kivi_SealsWholeBlocksOfKeysAndEveryOldValue) {
  // T = 300 and a residual of 128: keys 256 / 44, values 172 / 128.
  EXPECT_EQ(NumToSeal(300, 32, 128), 256u);
  EXPECT_EQ(NumToSeal(300, 0, 128), 172u);
  EXPECT_EQ(NumToSeal(127, 32, 128), 0u);
  EXPECT_EQ(NumToSeal(100, 32, 0), 96u);
  EXPECT_EQ(NumToSeal(100, 0, 0), 100u);
}

TEST(Sealing, Counters_AreThoseOfKivi) {
  const auto engine = MakeEngine(300);
  Sequence sequence = Fed(*engine, Planned("kivi(residual=128)"), 300);
  const auto sealed = [&](Side side) { return sequence.cache.num_sealed(1, 0, side); };
  EXPECT_EQ(sealed(Side::kKeys), 256u);
  EXPECT_EQ(sealed(Side::kValues), 172u);
  Decode(*engine, sequence, 84);
  EXPECT_EQ(sealed(Side::kKeys), 384u);
  EXPECT_EQ(sealed(Side::kValues), 256u);
  EXPECT_EQ(sequence.cache.num_entries(1, 0), 384u);
}

TEST(Sealing, ResidualOfTheWholeText_IsTheFullCacheBitForBit) {
  const auto engine = MakeEngine();
  Sequence full = Fed(*engine, Planned("full"), 150);
  const auto expected = Decode(*engine, full, 5);
  for (const char* recipe : {"kivi2(residual=256)", "q4_0(residual=155)", "q8_0(residual=200)",
                             "kivi2(residual=256,rotate=keys)", "q4_0(residual=155,rotate=both)",
                             "kivi4(residual=32,sinks=128)"}) {
    Sequence sequence = Fed(*engine, Planned(recipe), 150);
    EXPECT_EQ(Decode(*engine, sequence, 5), expected) << recipe;
    EXPECT_EQ(sequence.cache.Usage().sealed_keys, 0u);
  }
}

TEST(Sealing, MoreBits_AreNearerToTheFullCache) {
  const auto engine = MakeEngine();
  Sequence full = Fed(*engine, Planned("f32"), 400);
  const auto expected = Decode(*engine, full, 1)[0];
  double last = 0;
  for (const char* recipe : {"kivi(bits=8,residual=0)", "kivi4(residual=0)", "kivi2(residual=0)"}) {
    Sequence sequence = Fed(*engine, Planned(recipe), 400);
    EXPECT_EQ(sequence.cache.Usage().sealed_values, 800u) << recipe;
    const auto logits = Decode(*engine, sequence, 1)[0];
    double distance = 0;
    for (size_t i = 0; i < logits.size(); ++i) {
      distance += std::abs(double{logits[i]} - expected[i]);
    }
    EXPECT_GT(distance, 3 * last) << recipe;
    last = distance;
  }
}

// Queries and outputs turn with the entries: what is left is the rounding to 8 bits, as without
// rotation. Prompts and single tokens read sealed entries in different ways.
TEST(Sealing, RotatedEntries_AreAsNearToTheFullCacheAsOthers) {
  const auto engine = MakeEngine();
  Sequence full = Fed(*engine, Planned("f32"), 400);
  const auto expected = Decode(*engine, full, 3);
  const auto distance = [&](const std::string& recipe) {
    Sequence sequence = Fed(*engine, Planned(recipe), 400);
    EXPECT_GT(sequence.cache.Usage().sealed_keys, 0u) << recipe;
    const auto logits = Decode(*engine, sequence, 3);
    double sum = 0;
    for (size_t step = 0; step < logits.size(); ++step) {
      for (size_t i = 0; i < logits[step].size(); ++i) {
        sum += std::abs(double{logits[step][i]} - expected[step][i]);
      }
    }
    return sum;
  };
  for (const std::string form : {"q8_0(residual=16", "kivi(bits=8,residual=32"}) {
    const double plain = distance(form + ")");
    for (const char* what : {"keys", "values", "both"}) {
      EXPECT_LT(distance(form + ",rotate=" + what + ")"), 2 * plain) << form << " " << what;
    }
  }
}

// Where the text begins, entries stay as they were read; KIVI's counters go on behind them.
TEST(Sealing, Sinks_StayInF16InFrontOfWhatIsSealed) {
  const auto engine = MakeEngine(300);
  Sequence full = Fed(*engine, Planned("full"), 300);
  Sequence sequence = Fed(*engine, Planned("kivi2(residual=128,sinks=5)"), 300);
  const auto sealed = [&](Side side) { return sequence.cache.num_sealed(0, 0, side); };
  EXPECT_EQ(sealed(Side::kKeys), 256u);    // of 295
  EXPECT_EQ(sealed(Side::kValues), 167u);  // 5 in front, 128 behind
  const uint32_t dim = sequence.cache.spec().keys.dim;
  std::vector<float> exact(size_t{6} * dim), read(exact.size());
  // The prompt is one chunk, so that nothing was sealed yet while it was read.
  full.cache.ReadKeys(1, 0, 0, 6, exact.data());
  sequence.cache.ReadKeys(1, 0, 0, 6, read.data());
  const auto behind = static_cast<ptrdiff_t>(size_t{5} * dim);
  EXPECT_TRUE(std::equal(exact.begin(), exact.begin() + behind, read.begin()));
  EXPECT_FALSE(std::equal(exact.begin() + behind, exact.end(), read.begin() + behind));
  std::vector<int32_t> positions(300), all(300);
  for (int32_t i = 0; i < 300; ++i) all[static_cast<size_t>(i)] = i;
  sequence.cache.Positions(1, 0, positions);
  EXPECT_EQ(positions, all);
}

// What eviction drops of them is gone; what it keeps is not sealed.
TEST(Sealing, SinksUnderEviction_AreThoseThatAreKept) {
  const auto engine = MakeEngine(50);
  for (const char* recipe : {"streaming", "keydiff"}) {
    const std::string store = " + q8_0(residual=16,sinks=8)";
    Sequence sequence = Fed(*engine, Planned(recipe + store, "96"), 500);
    std::vector<int32_t> positions(sequence.cache.num_entries(1, 0));
    sequence.cache.Positions(1, 0, positions);
    const auto sinks =
        static_cast<uint64_t>(std::ranges::count_if(positions, [](int32_t p) { return p < 8; }));
    EXPECT_EQ(sequence.cache.num_sealed(1, 0, Side::kKeys), positions.size() - 16 - sinks)
        << recipe;
    const HeadView head = sequence.cache.Head(1, 0);
    EXPECT_EQ(head.keys.front().form->name, sinks > 0 ? "f16" : "q8_0") << recipe;
    Decode(*engine, sequence, 20);
  }
}

TEST(Sealing, Recipes_ScoreExactEntriesAndSealWhatStays) {
  for (const char* recipe : {"snapkv", "h2o", "keydiff", "adakv"}) {
    const auto engine = MakeEngine(50);
    Sequence plain = Fed(*engine, Planned(recipe, "96"), 500);
    Sequence sealed =
        Fed(*engine, Planned(std::string(recipe) + " + kivi4(residual=32)", "96"), 500);
    for (uint32_t layer = 0; layer < 2; ++layer) {
      std::vector<int32_t> a(plain.cache.num_entries(layer, 0));
      std::vector<int32_t> b(sealed.cache.num_entries(layer, 0));
      plain.cache.Positions(layer, 0, a);
      sealed.cache.Positions(layer, 0, b);
      EXPECT_EQ(a, b) << recipe;
      EXPECT_EQ(sealed.cache.num_sealed(layer, 0, Side::kKeys), a.size() / 32 * 32) << recipe;
      EXPECT_EQ(sealed.cache.num_sealed(layer, 0, Side::kValues), a.size() - 32) << recipe;
    }
  }
}

TEST(Sealing, ThreadsMakeNoDifference) {
  for (const char* recipe : {"kivi4(residual=32)", "kivi4(residual=32,rotate=values)",
                             "q4_0(residual=10,rotate=both,sinks=3)"}) {
    std::vector<std::vector<float>> logits[2];
    for (const int i : {0, 1}) {
      const auto engine = MakeEngine(64, i + 1);
      Sequence sequence = Fed(*engine, Planned(recipe), 300);
      logits[i] = Decode(*engine, sequence, 40);
    }
    EXPECT_EQ(logits[0], logits[1]) << recipe;
  }
}

TEST(Sealing, Bytes_AreWhatTheFormsPromise) {
  const auto engine = MakeEngine(512);
  Sequence full = Fed(*engine, Planned("full"), 4096);
  const double f16 = static_cast<double>(full.cache.Usage().held);
  const std::pair<const char*, double> most[] = {{"kivi4(group=32,residual=0)", 0.32},
                                                 {"kivi4(group=64,residual=0)", 0.29},
                                                 {"kivi2(group=32,residual=0)", 0.19},
                                                 {"kivi2(group=64,residual=0)", 0.16},
                                                 {"q4_0(residual=0)", 0.29},
                                                 {"q8_0(residual=0)", 0.54},
                                                 {"q4_0(residual=0,rotate=both)", 0.29}};
  for (const auto& [recipe, share] : most) {
    const Sequence sequence = Fed(*engine, Planned(recipe), 4096);
    EXPECT_EQ(sequence.cache.Usage().sealed_keys, 2 * 4096u) << recipe;
    EXPECT_LE(static_cast<double>(sequence.cache.Usage().held), share * f16) << recipe;
  }
}

TEST(Sealing, SharedPrompts_AreThoseThatAreReadExactly) {
  EXPECT_TRUE(SharesPrefill(Planned("snapkv + q4_0", "64"), Planned("h2o + q4_0", "64")));
  EXPECT_FALSE(SharesPrefill(Planned("snapkv + q4_0", "64"), Planned("q4_0")));
  EXPECT_FALSE(SharesPrefill(Planned("q8_0"), Planned("q4_0")));
  EXPECT_FALSE(SharesPrefill(Planned("q4_0(rotate=both)"), Planned("q4_0")));
}

}  // namespace
}  // namespace pith
