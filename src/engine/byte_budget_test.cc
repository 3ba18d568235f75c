// A budget in bytes is a promise about what the pool takes from the system, at every moment.
#include "engine/byte_budget.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>

#include "cache/page.h"
#include "engine/engine.h"
#include "make_model/make_model.h"

namespace pith {
namespace {

constexpr uint64_t kKiB = 1024;

std::unique_ptr<Engine> MakeEngine(uint32_t chunk) {
  const auto path = std::filesystem::temp_directory_path() /
                    ("pith-bytes-" + std::to_string(::getpid()) + ".gguf");
  EXPECT_TRUE(MakeModel({.layers = 3, .kv_heads = 2, .head_dim = 32, .context = 2048}, path));
  auto engine = Engine::Create(
      {.model_path = path.string(), .num_threads = 1, .chunk = chunk, .repack = false});
  std::remove(path.c_str());
  if (!engine) throw std::runtime_error(engine.error().Message());
  return std::move(*engine);
}

PlannedRun Planned(std::string_view recipe, uint64_t kib) {
  return {ParseRecipe(recipe).value(), ParseBudget(std::to_string(kib) + "KiB").value()};
}

std::vector<int32_t> Text(uint32_t length) {
  std::vector<int32_t> tokens(length);
  for (uint32_t i = 0; i < length; ++i) tokens[i] = static_cast<int32_t>((i * i * 7 + i) % 251);
  return tokens;
}

void Generate(Engine& engine, Sequence& sequence, int count) {
  Sequence* const one[] = {&sequence};
  for (int32_t i = 0; i < count; ++i) ASSERT_TRUE(engine.Step(one, {&i, 1}));
}

TEST(HeadBytes, AreWhatACacheTakes_WhileItIsExtended) {
  const CacheSpec spec{.num_layers = 1,
                       .num_kv_heads = 1,
                       .keys = {FindForm(FormId::kF16), 24},
                       .values = {FindForm(FormId::kF32), 40}};
  for (const uint64_t entries : {1, 8, 9, 31, 64, 65, 127, 128, 129, 200, 256, 300}) {
    for (const uint64_t room : {0, 1, 2, 7, 60, 128, 129, 500}) {
      PagePool pool;
      SequenceCache cache(&pool, spec);
      // Positions that are not contiguous, in pages as Keep leaves them.
      std::vector<int32_t> positions(2 * entries + room);
      for (size_t i = 0; i < positions.size(); ++i) positions[i] = static_cast<int32_t>(i);
      ASSERT_TRUE(cache.Extend(std::span(positions).first(2 * entries)));
      std::vector<uint32_t> even(entries);
      for (uint32_t i = 0; i < entries; ++i) even[i] = 2 * i;
      ASSERT_TRUE(cache.Keep(0, 0, even));
      // A last page of one entry needs no positions of its own.
      EXPECT_LE(cache.Usage().held, HeadBytes(spec, 0, entries, 0)) << entries;
      EXPECT_GE(cache.Usage().held + 64, HeadBytes(spec, 0, entries, 0)) << entries;
      SequenceCache grown = std::move(cache);
      const uint64_t before = grown.Usage().held_peak;
      ASSERT_TRUE(grown.Extend(std::span(positions).last(room)));
      EXPECT_LE(grown.Usage().held, HeadBytes(spec, 0, entries, room)) << entries << "+" << room;
      if (grown.Usage().held_peak > before) {
        EXPECT_LE(grown.Usage().held_peak, HeadBytes(spec, 0, entries, room))
            << entries << "+" << room;
      }
    }
  }
}

// Sinks lie in a page of their own once anything is sealed.
TEST(HeadBytes, CoverSinks_BeforeAndAfterSealing) {
  const Form* const q8_0 = FindForm(FormId::kQ8_0);
  constexpr uint64_t kResidual = 16;
  for (const uint32_t sinks : {1, 4, 8, 9, 33, 128}) {
    CacheSpec spec{.num_layers = 1,
                   .num_kv_heads = 1,
                   .keys = {FindForm(FormId::kF16), 32, OwnerScope::kHead, q8_0},
                   .values = {FindForm(FormId::kF16), 32, OwnerScope::kHead, q8_0}};
    spec.num_sinks = sinks;
    for (const uint64_t entries : {1, 8, 16, 17, 20, 25, 49, 50, 128, 144, 145, 300}) {
      for (const uint64_t room : {0, 1, 7, 60}) {
        PagePool pool;
        SequenceCache cache(&pool, spec);
        std::vector<int32_t> positions(entries + room);
        for (size_t i = 0; i < positions.size(); ++i) positions[i] = static_cast<int32_t>(i);
        ASSERT_TRUE(cache.Extend(std::span(positions).first(entries)));
        const uint64_t after = HeadBytes(spec, 0, entries, room, kResidual);
        const uint64_t most = after + SealingBytes(spec, 0, entries, room, kResidual);
        const auto seal = [&] {
          std::vector<SealRequest> requests;
          for (const Side side : {Side::kKeys, Side::kValues}) {
            const uint64_t tail = cache.num_unsealed(0, 0, side);
            requests.push_back({.side = side, .count = tail - std::min(tail, kResidual)});
          }
          ASSERT_TRUE(cache.Seal(requests));
        };
        seal();
        EXPECT_LE(cache.Usage().held, after) << sinks << " sinks, " << entries;
        const uint64_t before = cache.Usage().held_peak;
        const uint64_t promised = cache.BytesWhileExtended(room);
        ASSERT_TRUE(cache.Extend(std::span(positions).last(room)));
        seal();
        EXPECT_LE(cache.Usage().held, after) << sinks << " sinks, " << entries << "+" << room;
        if (cache.Usage().held_peak > before) {
          EXPECT_LE(cache.Usage().held_peak, promised) << sinks << " sinks, " << entries;
          EXPECT_LE(cache.Usage().held_peak, most) << sinks << " sinks, " << entries;
        }
      }
    }
  }
}

TEST(ByteBudget, MaxEntries_FitAndNoneMore) {
  const CacheSpec spec{.num_layers = 2,
                       .num_kv_heads = 3,
                       .keys = {FindForm(FormId::kF16), 32},
                       .values = {FindForm(FormId::kF16), 32}};
  for (const uint64_t kib : {6, 50, 333, 4000}) {
    const ByteBudget budget(spec, 0, kib * kKiB);
    for (const uint64_t room : {0, 1, 20}) {
      const uint64_t entries = budget.MaxEntries(room);
      EXPECT_TRUE(entries == 0 || budget.Holds(std::vector<uint64_t>(6, entries), room));
      EXPECT_FALSE(budget.Holds(std::vector<uint64_t>(6, entries + 1), room));
    }
  }
  EXPECT_EQ(ByteBudget(spec, 0, 100).MaxEntries(0), 0u);
}

class InBytes : public testing::TestWithParam<const char*> {};

TEST_P(InBytes, ThePoolNeverTakesMore_AndMostIsUsed) {
  for (const uint64_t kib : {160, 300, 511}) {
    for (const uint32_t chunk : {16, 200}) {
      const auto engine = MakeEngine(chunk);
      Sequence sequence = engine->NewSequence(Planned(GetParam(), kib)).value();
      sequence.tokens_to_come = 20;
      ASSERT_TRUE(engine->Feed(sequence, Text(1200)));
      const Status done = engine->Compress(sequence);
      ASSERT_TRUE(done) << done.error().Message();
      const uint64_t compressed = sequence.cache.Usage().held;
      Generate(*engine, sequence, 150);
      ASSERT_TRUE(engine->Feed(sequence, Text(333)));
      ASSERT_TRUE(engine->Compress(sequence));
      Generate(*engine, sequence, 100);
      EXPECT_LE(engine->pool().peak_bytes(), kib * kKiB) << kib << " KiB, chunk " << chunk;
      if (kib > 500) {
        // A chunk that is read into an f16 tail takes more of the budget if the rest is small.
        const uint64_t share = sequence.kv.plan.storage.seals() ? 3 : 2;
        EXPECT_GE(compressed, kib * kKiB / share) << kib << " KiB, chunk " << chunk;
      }
      EXPECT_EQ(sequence.tokens.size(), 1783u);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Recipes, InBytes,
                         testing::Values("snapkv", "adakv", "h2o", "streaming", "lagkv",
                                         "pyramidkv + when=chunks", "tova", "knorm + f32",
                                         "chunkkv + when=always", "snapkv + q4_0", "h2o + kivi",
                                         "adakv + kivi2(residual=32)",
                                         "snapkv + q4_0(residual=8,sinks=20)"));

TEST(InBytes, RoomForTheWholeText_KeepsEverything) {
  const auto engine = MakeEngine(64);
  Sequence sequence = engine->NewSequence(Planned("snapkv", 4096)).value();
  Sequence full = engine->NewSequence();
  const auto logits = engine->Feed(sequence, Text(900)).value();
  const std::vector<float> kept(logits.begin(), logits.end());
  ASSERT_TRUE(engine->Compress(sequence));
  EXPECT_TRUE(std::ranges::equal(kept, engine->Feed(full, Text(900)).value()));
  EXPECT_EQ(sequence.cache.Usage().entries, full.cache.Usage().entries);
}

TEST(InBytes, TooFew_AreRefused) {
  const auto engine = MakeEngine(64);
  const auto message = [&](uint64_t kib) {
    const auto refused = engine->NewSequence(Planned("snapkv", kib));
    EXPECT_FALSE(refused);
    return refused ? "" : refused.error().Message();
  };
  EXPECT_NE(message(1).find("does not hold one token of every head (budget \"1KiB\")"),
            std::string::npos)
      << message(1);
  EXPECT_NE(message(20).find("never drops 32 entries of a head"), std::string::npos) << message(20);
  Sequence prompt = engine->NewSequence(Planned("snapkv", 500)).value();
  EXPECT_FALSE(SharesPrefill(prompt.kv, prompt.kv));
  EXPECT_TRUE(engine->ForkAs(prompt, Planned("snapkv", 500)));
  EXPECT_FALSE(engine->ForkAs(prompt, Planned("snapkv", 501)));
}

}  // namespace
}  // namespace pith
