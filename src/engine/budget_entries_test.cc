#include "engine/budget_entries.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <limits>

#include "codec/kivi.h"
#include "engine/engine.h"
#include "make_model/make_model.h"

namespace pith {
namespace {

PlannedRun Planned(std::string_view recipe, std::string_view budget) {
  return {ParseRecipe(recipe).value(), ParseBudget(budget).value()};
}

uint64_t Entries(std::string_view store, std::string_view budget, uint64_t num_tokens,
                 uint32_t key_dim = 32, uint32_t value_dim = 32) {
  const PlannedRun run = Planned("snapkv + " + std::string(store), budget);
  const Storage& s = run.plan.storage;
  const CacheSpec spec{.num_layers = 3,
                       .num_kv_heads = 2,
                       .keys = {s.key_tail, key_dim, OwnerScope::kHead, s.key_sealed},
                       .values = {s.value_tail, value_dim, OwnerScope::kHead, s.value_sealed},
                       .num_sinks = s.num_sinks};
  return BudgetEntries(run, spec, num_tokens);
}

// By hand: 1000 entries of 32 + 32 numbers take 128,000 bytes in f16, so that 10 % are 12,800.
TEST(ShareOfF16, PlainForms_BuyByTheirSize) {
  EXPECT_EQ(Entries("f16", "10%f16", 1000), 100u);                  // 128 bytes each
  EXPECT_EQ(Entries("bf16", "10%f16", 1000), 100u);                 // likewise
  EXPECT_EQ(Entries("f32", "10%f16", 1000), 50u);                   // 256
  EXPECT_EQ(Entries("mixed(k=f32,v=f16)", "10%f16", 1000), 66u);    // 192
  EXPECT_EQ(Entries("mixed(k=f32)", "10%f16", 1000, 64, 32), 60u);  // 19,200 / 320
}

TEST(ShareOfF16, SealedEntries_CountInTheirForm) {
  // The newest 32 take 4,096 bytes in f16; q8_0 takes 2 x 34 for each other, q4_0 2 x 18.
  EXPECT_EQ(Entries("q8_0", "10%f16", 1000), 160u);  // 4,096 + 128 x 68 = 12,800
  EXPECT_EQ(Entries("q4_0", "10%f16", 1000), 273u);  // 4,096 + 241 x 36 = 12,772
  EXPECT_EQ(Entries("q4_0(residual=0)", "10%f16", 1000), 355u);
  EXPECT_EQ(Entries("mixed(k=q8_0,v=f16,residual=32)", "10%f16", 1000), 120u);  // 960 + 120 x 98
}

TEST(ShareOfF16, BlocksOfKeys_AreCountedAsTheyWillBeSealed) {
  // 4 bits: 20 bytes for a value, and for a key in its group of 32. With n = 32 k + j entries keys
  // take 640 k + 64 j, values 20 (n - 32) + 2,048: 1,280 k + 84 j + 1,408 in all.
  EXPECT_EQ(Entries("kivi4(residual=32)", "10%f16", 1000), 8 * 32 + 13u);  // 12,740
  // 2 bits, 12 bytes, n = 128 k + j: 3,072 k + 76 j + 6,656. 256 entries take 12,800 bytes and one
  // less 19,380, with 127 keys that wait.
  EXPECT_EQ(Entries("kivi2", "10%f16", 1000), 256u);
  EXPECT_EQ(Entries("kivi2", "9.99%f16", 1000), 128 + 40u);  // 12,768 of 12,787
  EXPECT_EQ(Entries("kivi2", "1%f16", 1000), 10u);           // all of them in f16
}

TEST(ShareOfF16, LayersThatDiffer_CountTogether) {
  const Form* f16 = FindForm(FormId::kF16);
  const CacheSpec spec{
      .num_layers = 2,
      .num_kv_heads = 5,
      .keys = {.form = f16, .dim = 32, .sealed_by_layer = {FindKivi(4, 32), nullptr}},
      .values = {.form = f16, .dim = 32, .sealed_by_layer = {nullptr, FindKivi(2, 32)}}};
  // n = 32 k + j: 640 k + 64 j and 64 n bytes in one layer, 64 n and 12 n in the other: 5,120 k +
  // 204 j of 256,000 for 1000 tokens in f16.
  const auto entries = [&](const char* budget) {
    return BudgetEntries(Planned("snapkv + tuned(residual=0)", budget), spec, 1000);
  };
  EXPECT_EQ(entries("10%f16"), 5 * 32u);
  EXPECT_EQ(entries("9%f16"), 4 * 32 + 12u);  // 22,928 of 23,040
}

TEST(ShareOfF16, Sinks_CountInF16) {
  // The first 4 and the newest 32 take 4,608 bytes, the others 36 each: 12,780.
  EXPECT_EQ(Entries("q4_0(sinks=4)", "10%f16", 1000), 36 + 227u);
  // As above behind 512 bytes: 1,280 k + 84 j + 1,408 of 12,288.
  EXPECT_EQ(Entries("kivi4(residual=32,sinks=4)", "10%f16", 1000), 4 + 8 * 32 + 7u);
  EXPECT_EQ(Entries("q4_0(sinks=128)", "1%f16", 1000), 10u);
}

TEST(ShareOfF16, IsRoundedDown_ToAtLeastOneAndAtMostTheText) {
  EXPECT_EQ(Entries("f16", "50%f16", 7), 3u);
  EXPECT_EQ(Entries("f16", "12.5%f16", 7), 1u);
  EXPECT_EQ(Entries("f16", "0.000000001%f16", 7), 1u);
  EXPECT_EQ(Entries("f16", "100%f16", 7), 7u);
  EXPECT_EQ(Entries("f32", "100%f16", 7), 3u);
  EXPECT_EQ(Entries("q4_0(residual=0)", "90%f16", 1000), 1000u);
  EXPECT_EQ(Entries("kivi2(residual=0)", "400%f16", 1000), 1000u);
  constexpr uint64_t kMost = std::numeric_limits<int32_t>::max();
  EXPECT_EQ(Entries("kivi4", "999999999999999999%f16", kMost, 65536, 65536), kMost);
  EXPECT_EQ(Entries("f16", "0.00000000000000001%f16", kMost), 1u);
}

// Whatever the form, the cache takes the bytes that were asked for, up to one entry of f16 in each
// head: the next one would not fit, and it is sealed or not.
TEST(ShareOfF16, RecipesInAllForms_TakeTheSameBytes) {
  const auto path = std::filesystem::temp_directory_path() /
                    ("pith-budget-entries-" + std::to_string(::getpid()) + ".gguf");
  ASSERT_TRUE(MakeModel({.width = 128, .query_heads = 4, .kv_heads = 2, .context = 2048}, path));
  const auto engine =
      Engine::Create({.model_path = path.string(), .num_threads = 1, .repack = false}).value();
  std::remove(path.c_str());
  std::vector<int32_t> text(1201);
  for (size_t i = 0; i < text.size(); ++i) text[i] = static_cast<int32_t>((i * i * 7 + i) % 251);
  constexpr uint64_t kHeads = 2 * 2, kEntry = 2 * (32 + 32);
  const uint64_t all = kHeads * kEntry * text.size();
  for (const uint64_t divisor : {5, 8}) {
    const std::string budget = divisor == 5 ? "20%f16" : "12.5%f16";
    const uint64_t bytes = all / divisor;
    uint64_t last = 0;
    for (const char* store : {"f16", "q8_0", "kivi4(residual=32)", "kivi4", "kivi2"}) {
      const PlannedRun run = Planned(std::string("snapkv + ") + store, budget);
      Sequence sequence = engine->NewSequence(run).value();
      ASSERT_TRUE(engine->Feed(sequence, text));
      ASSERT_TRUE(engine->Compress(sequence));
      const CacheUsage usage = sequence.cache.Usage();
      EXPECT_LE(usage.logical, bytes) << store;
      EXPECT_LT(bytes - usage.logical, kHeads * kEntry) << store;
      EXPECT_EQ(sequence.cache.num_entries(1, 1), sequence.entries_per_head);
      if (std::string_view(store) != "kivi4") {  // whose residual is larger than the others'
        EXPECT_GT(usage.entries, last) << store;
        last = usage.entries;
      }
    }
  }
}

}  // namespace
}  // namespace pith
