#include "engine/fold.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <functional>

#include "base/rng.h"
#include "cache/page.h"
#include "engine/engine.h"
#include "engine/test_profile.h"
#include "kernel/ref/features_ref.h"
#include "make_model/make_model.h"

namespace pith {
namespace {

using testing::HasSubstr;

constexpr uint32_t kLayers = 2, kKvHeads = 2, kQueryHeads = 4, kKeyDim = 6, kValueDim = 5;
constexpr uint32_t kTokens = 300, kHidden = 24, kRank = 4;  // of FillFold

HeadProfile MadeNetworks() {
  HeadProfile profile;
  profile.num_layers = kLayers;
  profile.num_query_heads = kQueryHeads;
  profile.num_kv_heads = kKvHeads;
  FillFold({"", 0, kLayers, kQueryHeads, kKvHeads}, kKeyDim, &profile);
  return profile;
}

std::vector<float> Slice(const std::vector<float>& all, size_t index, size_t size) {
  return {all.begin() + static_cast<ptrdiff_t>(index * size),
          all.begin() + static_cast<ptrdiff_t>((index + 1) * size)};
}

std::vector<uint32_t> Multiples(uint32_t end, uint32_t step) {
  std::vector<uint32_t> indices;
  for (uint32_t i = 0; i < end; i += step) indices.push_back(i);
  return indices;
}

// A cache of random numbers, the same in every head, from which entries are dropped.
class Folding : public testing::Test {
 protected:
  Folding() : networks_(std::make_shared<FoldNetworks>(MadeNetworks())), pool_(0) {
    spec_.num_layers = kLayers;
    spec_.num_kv_heads = kKvHeads;
    spec_.keys = {FindForm(FormId::kF32), kKeyDim, OwnerScope::kHead};
    spec_.values = {FindForm(FormId::kF32), kValueDim, OwnerScope::kHead};
    cache_.emplace(&pool_, spec_);
    std::vector<int32_t> positions(kTokens);
    for (uint32_t i = 0; i < kTokens; ++i) positions[i] = static_cast<int32_t>(i);
    EXPECT_TRUE(cache_->Extend(positions));
    Rng rng(8);
    rows_.resize(size_t{kTokens} * kWidth);
    for (float& x : rows_) x = rng.Normal();
    for (uint32_t head = 0; head < kLayers * kKvHeads; ++head) {
      cache_->WriteKeys(head / kKvHeads, head % kKvHeads, 0, kTokens, rows_.data(), kWidth);
      cache_->WriteValues(head / kKvHeads, head % kKvHeads, 0, kTokens, rows_.data() + kKeyDim,
                          kWidth);
    }
  }

  static void Drop(SequenceCache& cache, FoldedEntries* folded, uint32_t layer, uint32_t head,
                   const std::vector<uint32_t>& kept) {
    auto next = folded->Fold(cache, layer, head, kept);
    ASSERT_TRUE(next);
    ASSERT_TRUE(cache.Keep(layer, head, kept));
    folded->Set(layer, head, std::move(*next));
  }

  // [rank][1 + value_dim] of the tokens that are no multiples of `step`, in f64.
  std::vector<double> Truth(uint32_t layer, uint32_t kv_head, uint32_t step) const {
    const HeadProfile p = MadeNetworks();
    const size_t head = size_t{layer} * kKvHeads + kv_head;
    const NetworkWeights weights{kKeyDim, kHidden, kRank,
                                 Slice(p.fold_key_in, head, size_t{kKeyDim} * kHidden),
                                 Slice(p.fold_key_out, head, size_t{kHidden} * kRank)};
    const KeyFeatures tail{{},
                           Slice(p.fold_sigma1, head, kRank),
                           Slice(p.fold_sigma2, head, kRank),
                           Slice(p.fold_mix, head, size_t{kRank} * kRank)};
    std::vector<double> sums(kRank * (1 + kValueDim));
    for (uint32_t i = 0; i < kTokens; ++i) {
      if (i % step == 0) continue;
      const float* row = &rows_[size_t{i} * kWidth];
      const std::vector<double> psi = KeyFeaturesReference(weights, tail, row);
      for (size_t r = 0; r < kRank; ++r) {
        sums[r * (1 + kValueDim)] += psi[r];
        for (size_t c = 0; c < kValueDim; ++c) {
          sums[r * (1 + kValueDim) + 1 + c] += psi[r] * row[kKeyDim + c];
        }
      }
    }
    return sums;
  }

  static void ExpectNear(const float* state, const std::vector<double>& truth) {
    ASSERT_NE(state, nullptr);
    for (size_t i = 0; i < truth.size(); ++i) EXPECT_NEAR(state[i], truth[i], 2e-4) << i;
    EXPECT_GT(truth[0], 0.1);  // there is something in it
  }

  static constexpr size_t kWidth = kKeyDim + kValueDim;
  std::shared_ptr<const FoldNetworks> networks_;
  CacheSpec spec_;
  PagePool pool_;
  std::optional<SequenceCache> cache_;
  std::vector<float> rows_;  // [token][key, value]
};

TEST_F(Folding, AtOnceOrBitByBit_IsTheSumOverWhatWasDropped) {
  FoldedEntries folded(networks_, spec_);
  EXPECT_EQ(folded.Layer(1)[0].state, nullptr);
  EXPECT_EQ(folded.bytes(), 0u);
  Drop(*cache_, &folded, 1, 0, Multiples(kTokens, 7));
  ExpectNear(folded.Layer(1)[0].state, Truth(1, 0, 7));
  // The other head loses its newest entries first.
  for (uint32_t end = kTokens; end > 0;) {
    const uint32_t begin = end > 40 ? end - 40 : 0;
    std::vector<uint32_t> kept;
    for (uint32_t i = 0; i < cache_->num_entries(1, 1); ++i) {
      if (i < begin || i % 7 == 0 || i >= end) kept.push_back(i);
    }
    // What lies behind `end` are multiples of 7 that stayed.
    Drop(*cache_, &folded, 1, 1, kept);
    end = begin;
  }
  ASSERT_EQ(cache_->num_entries(1, 1), Multiples(kTokens, 7).size());
  ExpectNear(folded.Layer(1)[1].state, Truth(1, 1, 7));
  EXPECT_EQ(folded.Layer(0)[0].state, nullptr);
  EXPECT_EQ(folded.bytes(), 2 * kRank * (1 + kValueDim) * sizeof(float));
}

TEST_F(Folding, NothingDropped_MakesNoState) {
  FoldedEntries folded(networks_, spec_);
  EXPECT_EQ(folded.Fold(*cache_, 0, 0, Multiples(kTokens, 1))->state, nullptr);
  EXPECT_EQ(folded.Layer(0)[0].state, nullptr);
}

// Entries that could not be dropped after all are not counted twice.
TEST_F(Folding, NothingChanges_UntilItIsSaid) {
  FoldedEntries folded(networks_, spec_);
  Drop(*cache_, &folded, 0, 0, Multiples(kTokens, 2));
  const float* const before = folded.Layer(0)[0].state;
  EXPECT_NE(folded.Fold(*cache_, 0, 0, {{0, 1}})->state, nullptr);
  EXPECT_EQ(folded.Layer(0)[0].state, before);
}

TEST_F(Folding, NumbersTooLargeToBeSaved_AreRefused) {
  HeadProfile huge = MadeNetworks();
  for (float& sigma : huge.fold_sigma1) sigma = 1e30f;
  for (float& weight : huge.fold_key_out) weight *= 1e4f;
  const FoldedEntries folded(std::make_shared<const FoldNetworks>(huge), spec_);
  const auto next = folded.Fold(*cache_, 0, 0, Multiples(kTokens, 2));
  ASSERT_FALSE(next);
  EXPECT_THAT(next.error().Message(), testing::HasSubstr("too large"));
}

TEST_F(Folding, Copies_GoTheirOwnWays) {
  FoldedEntries original(networks_, spec_);
  Drop(*cache_, &original, 0, 0, Multiples(kTokens, 2));
  const float before = original.Layer(0)[0].state[0];
  FoldedEntries copy = original;
  EXPECT_EQ(copy.Layer(0)[0].state, original.Layer(0)[0].state);  // shared
  SequenceCache fork = cache_->Fork();
  Drop(fork, &copy, 0, 0, {0, 1});
  EXPECT_EQ(original.Layer(0)[0].state[0], before);
  EXPECT_GT(copy.Layer(0)[0].state[0], before);
}

TEST_F(Folding, Truncate_ForgetsStatesWithLaterEntries) {
  FoldedEntries folded(networks_, spec_);
  std::vector<uint32_t> all_but_early = Multiples(kTokens, 1);
  all_but_early.erase(all_but_early.begin() + 10, all_but_early.begin() + 20);
  Drop(*cache_, &folded, 0, 0, all_but_early);
  Drop(*cache_, &folded, 0, 1, Multiples(kTokens, 2));
  folded.Truncate(20);
  EXPECT_NE(folded.Layer(0)[0].state, nullptr);
  EXPECT_EQ(folded.Layer(0)[1].state, nullptr);
  folded.Truncate(19);  // the newest that was folded is at 19
  EXPECT_EQ(folded.Layer(0)[0].state, nullptr);
}

TEST_F(Folding, SavedAndLoaded_IsTheSame) {
  FoldedEntries folded(networks_, spec_);
  Drop(*cache_, &folded, 1, 1, Multiples(kTokens, 3));
  std::vector<std::byte> bytes;
  ByteWriter writer(&bytes);
  folded.Save(&writer);
  const Error damaged{ErrorKind::kInput, "damaged", "a file", ""};
  FoldedEntries loaded(networks_, spec_);
  ByteReader reader(bytes, damaged);
  ASSERT_TRUE(loaded.Load(&reader, "a file"));
  EXPECT_EQ(reader.remaining(), 0u);
  EXPECT_TRUE(loaded.Fits(*cache_, kTokens));
  EXPECT_FALSE(loaded.Fits(*cache_, kTokens - 1));  // more entries than the text has tokens
  for (size_t i = 0; i < kRank * (1 + kValueDim); ++i) {
    EXPECT_EQ(loaded.Layer(1)[1].state[i], folded.Layer(1)[1].state[i]);
  }
  EXPECT_EQ(loaded.Layer(0)[0].state, nullptr);

  HeadProfile other = MadeNetworks();
  other.fold_key_in[3] += 1;
  FoldedEntries elsewhere(std::make_shared<FoldNetworks>(other), spec_);
  ByteReader again(bytes, damaged);
  const Status refused = elsewhere.Load(&again, "a file");
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().Message(), HasSubstr("other networks"));
  // Cut short anywhere, it is refused.
  for (size_t size = 0; size < bytes.size(); size += 5) {
    FoldedEntries part(networks_, spec_);
    const std::span<const std::byte> front(bytes.data(), size);
    ByteReader short_reader(front, damaged);
    EXPECT_FALSE(part.Load(&short_reader, "a file")) << size;
  }
}

TEST_F(Folding, StatesThatNoTextCanLeave_DoNotFit) {
  FoldedEntries folded(networks_, spec_);
  Drop(*cache_, &folded, 0, 0, Multiples(kTokens, 3));
  std::vector<std::byte> bytes;
  ByteWriter writer(&bytes);
  folded.Save(&writer);
  constexpr size_t kFirst = 8 + 8 + 4;  // hash, count, newest position
  for (const float bad : {std::nanf(""), HUGE_VALF, -1.0f, 1e31f}) {
    std::vector<std::byte> forged = bytes;
    std::memcpy(&forged[kFirst], &bad, sizeof bad);
    FoldedEntries loaded(networks_, spec_);
    ByteReader reader(forged, Error{});
    ASSERT_TRUE(loaded.Load(&reader, ""));
    EXPECT_FALSE(loaded.Fits(*cache_, kTokens)) << bad;
  }
}

TEST(FoldShapes, OfTablesThatDoNotFit_AreNothing) {
  const HeadProfile good = MadeNetworks();
  EXPECT_EQ(FoldShapeOf(good), (FoldShape{kKeyDim, kHidden, kRank}));
  for (const auto table :
       {&HeadProfile::fold_query_in, &HeadProfile::fold_query_out, &HeadProfile::fold_key_in,
        &HeadProfile::fold_key_out, &HeadProfile::fold_mix, &HeadProfile::fold_sigma1,
        &HeadProfile::fold_sigma2}) {
    HeadProfile bad = good;
    (bad.*table).resize((bad.*table).size() / 2);
    EXPECT_EQ(FoldShapeOf(bad), std::nullopt);
    (bad.*table).clear();
    EXPECT_EQ(FoldShapeOf(bad), std::nullopt);
  }
}

// ---- With a model.

class FoldingEngine : public testing::Test {
 protected:
  static constexpr uint32_t kPrompt = 201;

  // The engine whose profile's networks `change` was let at.
  static std::unique_ptr<Engine> Make(const std::function<void(HeadProfile&)>& change = {}) {
    const std::string path = testing::TempDir() + "pith_fold_" + std::to_string(::getpid());
    EXPECT_TRUE(MakeModel({.layers = 3, .kv_heads = 2}, path));
    const GgufFile file = GgufFile::Open(path).value();
    const ModelIdentity model = IdentifyModel(file).value();
    Profile profile = MakeProfile(model, ReadModelShape(file)->key_dim);
    if (change) change(profile.heads);
    EXPECT_TRUE(AddToProfile(ProfileBeside(path), model, profile));
    auto engine = Engine::Create({.model_path = path, .num_threads = 1, .repack = false});
    std::filesystem::remove(path);
    std::filesystem::remove(ProfileBeside(path));
    EXPECT_TRUE(engine);
    return std::move(*engine);
  }

  static PlannedRun Planned(const char* recipe, const char* budget) {
    return {ParseRecipe(recipe).value(), ParseBudget(budget).value()};
  }

  static std::vector<int32_t> Text(uint32_t count) {
    std::vector<int32_t> tokens(count);
    for (uint32_t i = 0; i < count; ++i) tokens[i] = static_cast<int32_t>((i * i * 7 + i) % 251);
    return tokens;
  }

  // A compressed prompt.
  static Sequence Read(Engine& engine, const PlannedRun& kv) {
    Sequence sequence = engine.NewSequence(kv).value();
    EXPECT_TRUE(engine.Feed(sequence, Text(kPrompt)));
    EXPECT_TRUE(engine.Compress(sequence));
    return sequence;
  }

  static std::vector<float> Next(Engine& engine, Sequence& sequence) {
    Sequence* const one[] = {&sequence};
    const int32_t token = 17;
    const auto logits = engine.Step(one, {&token, 1}).value();
    return {logits.begin(), logits.end()};
  }
};

TEST_F(FoldingEngine, WhatWasFolded_IsSeen) {
  const auto engine = Make();
  Sequence plain = Read(*engine, Planned("streaming", "40"));
  Sequence folded = Read(*engine, Planned("streaming + fold=less", "40"));
  const std::vector<float> a = Next(*engine, plain), b = Next(*engine, folded);
  double change = 0;
  for (size_t i = 0; i < a.size(); ++i) change = std::max<double>(change, std::abs(a[i] - b[i]));
  EXPECT_GT(change, 1e-3);
}

TEST_F(FoldingEngine, FeaturesOfZero_ArePlainEvictionBitForBit) {
  const auto engine = Make([](HeadProfile& heads) {
    std::ranges::fill(heads.fold_sigma1, 0.0f);
    std::ranges::fill(heads.fold_query_out, 0.0f);
  });
  Sequence plain = Read(*engine, Planned("h2o", "40"));
  Sequence folded = Read(*engine, Planned("less", "40"));
  for (int i = 0; i < 5; ++i) EXPECT_EQ(Next(*engine, plain), Next(*engine, folded));
}

TEST_F(FoldingEngine, StatesAreCounted_AndTruncateForgetsThem) {
  const auto engine = Make();
  Sequence plain = Read(*engine, Planned("h2o", "40"));
  Sequence folded = Read(*engine, Planned("less", "40"));
  const uint64_t value_dim = engine->model().shape().value_dim;
  EXPECT_EQ(folded.Usage().metadata - plain.Usage().metadata,
            3 * 2 * kRank * (1 + value_dim) * sizeof(float));
  EXPECT_EQ(folded.Usage().held - plain.Usage().held,
            folded.Usage().metadata - plain.Usage().metadata);
  folded.Truncate(100);
  EXPECT_EQ(folded.folded.bytes(), 0u);
}

TEST_F(FoldingEngine, Budgets_HaveTheStatesTakenOff) {
  const auto engine = Make();
  const ModelShape& s = engine->model().shape();
  const uint64_t state = kRank * (1 + s.value_dim) * sizeof(float);  // of a head
  const uint64_t entry = 2 * (s.key_dim + s.value_dim);
  Sequence plain = Read(*engine, Planned("h2o", "30%f16"));
  Sequence folded = Read(*engine, Planned("less", "30%f16"));
  const uint64_t plain_entries = plain.cache.num_entries(0, 0);
  EXPECT_EQ(plain_entries, kPrompt * 30 / 100);
  EXPECT_EQ(folded.cache.num_entries(0, 0), (kPrompt * 30 * entry / 100 - state) / entry);
  Sequence short_prompt = engine->NewSequence(Planned("less", "1%f16")).value();
  ASSERT_TRUE(engine->Feed(short_prompt, Text(kPrompt)));
  const Status refused = engine->Compress(short_prompt);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().Message(), HasSubstr("beside the entries"));

  Sequence bytes = engine->NewSequence(Planned("less", "64KiB")).value();
  ASSERT_TRUE(engine->Feed(bytes, Text(kPrompt)));
  ASSERT_TRUE(engine->Compress(bytes));
  EXPECT_GT(bytes.folded.bytes(), 0u);
  EXPECT_LE(bytes.cache.Usage().held_peak + bytes.folded.bytes(), 64u << 10);
  EXPECT_FALSE(engine->NewSequence(Planned("less", "3KiB")));
}

TEST_F(FoldingEngine, SeveralSequences_SeeTheirOwnStates) {
  const auto engine = Make();
  Sequence a = Read(*engine, Planned("streaming + fold=less", "40"));
  Sequence b = Read(*engine, Planned("streaming", "40"));
  Sequence a_alone = a.Fork(), b_alone = b.Fork();
  Sequence* const both[] = {&a, &b};
  const int32_t tokens[] = {17, 17};
  const auto logits = engine->Step(both, tokens).value();
  const std::vector<float> of_both(logits.begin(), logits.end());
  std::vector<float> alone = Next(*engine, a_alone);
  const std::vector<float> second = Next(*engine, b_alone);
  alone.insert(alone.end(), second.begin(), second.end());
  ASSERT_EQ(of_both.size(), alone.size());
  for (size_t i = 0; i < alone.size(); ++i) EXPECT_NEAR(of_both[i], alone[i], 1e-4);
}

TEST_F(FoldingEngine, NetworksForOtherKeys_AreRefused) {
  const auto engine = Make([](HeadProfile& heads) { FillFold({"", 0, 3, 4, 2}, 10, &heads); });
  const auto refused = engine->NewSequence(Planned("less", "40"));
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().Message(), HasSubstr("for keys of 10 numbers"));
}

}  // namespace
}  // namespace pith
