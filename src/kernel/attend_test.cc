#include "kernel/attend.h"

#include <gtest/gtest.h>
#include <hwy/highway.h>

#include <cmath>
#include <vector>

#include "base/rng.h"
#include "kernel/ref/attend_case.h"

namespace pith {
namespace {

INSTANTIATE_TEST_SUITE_P(All, AttendTargets, testing::ValuesIn(hwy::SupportedAndGeneratedTargets()),
                         NameOfTarget);

TEST_P(AttendTargets, RandomShapes_MatchReference) {
  for (uint64_t seed = 1; seed <= 120; ++seed) {
    const Case c = AnyCase(seed);
    ASSERT_LE(WorstError(c, Attend(c, 1)), 1.0)
        << "seed " << seed << " on " << hwy::TargetName(GetParam());
  }
}

TEST_P(AttendTargets, ExtraEntries_MatchReference) {
  for (uint64_t seed = 1; seed <= 120; ++seed) {
    Case c = AnyCase(seed);
    Rng rng(seed, 19);
    c.AddExtras(rng);
    ASSERT_LE(WorstError(c, Attend(c, 1)), 1.0)
        << "seed " << seed << " on " << hwy::TargetName(GetParam());
  }
}

TEST_P(AttendTargets, EveryFormPair_MatchesReference) {
  for (const Form* key_form : AllForms()) {
    for (const Form* value_form : AllForms()) {
      for (const uint32_t rows : {1u, 2u, 40u}) {
        HeadSpec spec;
        spec.entries = 300;
        spec.key_form = key_form;
        spec.value_form = value_form;
        const Case c = OneHead(3, 4, 64, rows, spec);
        ASSERT_LE(WorstError(c, Attend(c, 1)), 1.0)
            << key_form->name << " keys, " << value_form->name << " values, rows " << rows;
      }
    }
  }
}

// Rotated pages and a tail in f16, whose border lies elsewhere in keys than in values, as with
// KIVI's counters. 80 channels are five blocks of the matrix; q8_0 and q4_0 do not take them.
TEST_P(AttendTargets, RotatedSealedEntriesAndTail_MatchReference) {
  struct Border {
    uint32_t keys, values;
  };
  for (const Form* form : AllForms()) {
    for (const uint32_t dim : {32u, 64u, 80u, 96u, 128u}) {
      if (dim % form->dim_multiple != 0) continue;
      for (const Border border :
           {Border{256, 0}, Border{0, 172}, Border{256, 172}, Border{300, 300}}) {
        for (const uint32_t rows : {1u, 14u}) {
          HeadSpec spec;
          spec.entries = 300;
          spec.rotated_keys = border.keys;
          spec.rotated_values = border.values;
          spec.form_of_rotated = form;
          const Case c = OneHead(5, 4, dim, rows, spec);
          ASSERT_LE(WorstError(c, Attend(c, 1)), 1.0)
              << form->name << " of " << dim << ", " << border.keys << " keys and " << border.values
              << " values rotated, rows " << rows;
        }
      }
    }
  }
}

// Sealed keys of some channels in front of a tail of all of them; keys and values are cut
// elsewhere.
TEST_P(AttendTargets, PrunedSealedKeysAndTail_MatchReference) {
  for (const Form* form : AllForms()) {
    for (const uint32_t rows : {1u, 3u, 40u}) {
      for (const uint32_t dim : {64u, 128u}) {
        HeadSpec spec;
        spec.entries = 300;
        spec.key_form = form;
        spec.pruned_keys = 200 + rows;
        const Case c = OneHead(rows + dim, 4, dim, rows, spec);
        ASSERT_LE(WorstError(c, Attend(c, 1)), 1.0) << form->name << ", rows " << rows;
      }
    }
  }
}

// Directions with norms in front of entries as they are, whose border lies elsewhere in keys than
// in values.
TEST_P(AttendTargets, DirectionsAndTail_MatchReference) {
  for (const Form* form : AllForms()) {
    for (const uint32_t rows : {1u, 3u, 40u}) {
      for (const uint32_t dim : {64u, 128u}) {
        HeadSpec spec;
        spec.entries = 300;
        spec.key_form = spec.value_form = form;
        spec.key_directions = 200 + rows;
        spec.value_directions = 231;
        const Case c = OneHead(rows + dim, 4, dim, rows, spec);
        ASSERT_LE(WorstError(c, Attend(c, 1)), 1.0) << form->name << ", rows " << rows;
      }
    }
  }
}

TEST_P(AttendTargets, EveryClassAndEdge_MatchesReference) {
  for (const uint32_t key_class : kPageClasses) {
    for (const uint32_t value_class : kPageClasses) {
      for (const uint32_t entries : {1u, 7u, 8u, 9u, 127u, 128u, 129u}) {
        for (const uint32_t rows : {1u, 20u}) {
          HeadSpec spec;
          spec.entries = entries;
          spec.key_class = key_class;
          spec.value_class = value_class;
          const Case c = OneHead(entries, 2, 16, rows, spec);
          ASSERT_LE(WorstError(c, Attend(c, 1)), 1.0)
              << entries << " entries, classes " << key_class << " and " << value_class;
        }
      }
    }
  }
}

TEST_P(AttendTargets, ThreadCounts_SameBits) {
  for (uint64_t seed = 500; seed < 516; ++seed) {
    Case c = AnyCase(seed);
    Rng rng(seed, 19);
    if (seed % 2 == 0) c.AddExtras(rng);
    const std::vector<float> one = Attend(c, 1);
    for (const int threads : {2, 3, 5}) {
      const std::vector<float> many = Attend(c, threads);
      ASSERT_EQ(0, std::memcmp(one.data(), many.data(), one.size() * sizeof(float)))
          << "seed " << seed << ", threads " << threads;
    }
  }
}

// ---- On the best target.

TEST(Attend, EntriesSplitOverItems_MatchReference) {
  for (const uint32_t rows : {1u, 3u, 60u}) {
    HeadSpec spec;
    spec.entries = 5000;
    spec.key_class = spec.value_class = 128;
    const Case c = OneHead(rows, 4, 64, rows, spec);
    const AttendPlan plan(c.shape, c.sequences, 1);
    EXPECT_GT(plan.merges().size(), 0u);
    EXPECT_LE(WorstError(c, Attend(c, 3)), 1.0) << rows << " rows";
  }
}

TEST(Attend, Scratch_DoesNotGrowWithEntriesBeyondAFixedNumberOfSplits) {
  const auto scratch = [](uint64_t entries) {
    AttendShape shape{32, 8, 128, 128, 0.1f, 0};
    const std::vector<HeadView> heads(8, HeadView{{}, {}, entries});
    const std::vector<int32_t> positions(1, 0);
    const AttendSequence sequence{0, positions, heads};
    return AttendPlan(shape, {&sequence, 1}, 2).scratch_bytes();
  };
  EXPECT_LE(scratch(10'000'000), scratch(100'000));
}

TEST(Attend, ChunkedPrompt_MatchesReferenceForEveryChunk) {
  for (const uint32_t chunk : {1u, 7u, 64u}) {
    for (const uint32_t end : {64u, 130u, 259u}) {
      HeadSpec spec;
      spec.entries = end;
      const Case c = OneHead(chunk, 7, 80, std::min(chunk, end), spec);
      EXPECT_LE(WorstError(c, Attend(c, 2)), 1.0) << "chunk " << chunk << " ending at " << end;
    }
  }
}

TEST(Attend, RowsBeforeAllEntries_AreZero) {
  HeadSpec spec;
  spec.entries = 50;
  Case c = OneHead(1, 4, 64, 30, spec);
  const std::vector<int32_t> before(30, -1);
  c.sequences[0].positions = before;
  for (const float x : Attend(c, 1)) ASSERT_EQ(x, 0.0f);
}

TEST(Attend, EmptyHead_IsZero) {
  const Case c = OneHead(1, 4, 64, 3, HeadSpec{});
  for (const float x : Attend(c, 2)) ASSERT_EQ(x, 0.0f);
}

TEST(Attend, EmptyHeadWithAnExtra_GivesItsValue) {
  Case c = OneHead(1, 4, 64, 3, HeadSpec{});
  Rng rng(3);
  std::vector<float> key(64), value(64);
  for (float& x : key) x = rng.Normal();
  for (float& x : value) x = rng.Normal();
  const AttendExtra extra{5, key.data(), value.data()};
  c.sequences[0].extras = {&extra, 1};
  const std::vector<float> out = Attend(c, 2);
  for (size_t i = 0; i < out.size(); ++i) ASSERT_EQ(out[i], value[i % 64]);
}

TEST(Attend, ExtraThatStandsForNothing_ChangesNoBit) {
  HeadSpec spec;
  spec.entries = 777;
  Case c = OneHead(1, 4, 64, 3, spec);
  const std::vector<float> without = Attend(c, 2);
  const AttendExtra none;
  c.sequences[0].extras = {&none, 1};
  EXPECT_EQ(Attend(c, 2), without);
}

// The mean of equal keys, weighed by how many there were, takes their place exactly: what they give
// together is the mean of their values (RazorAttention, arXiv 2407.15891).
TEST(AttendReference, ExtraForEqualKeys_EqualsTheKeysThemselves) {
  constexpr uint32_t kDim = 8, kDropped = 6;
  Rng rng(4);
  const AttendShape shape{2, 1, kDim, kDim, 0.4f, 0};
  std::vector<float> equal_key(kDim), kept(size_t{3} * kDim), values(size_t{3 + kDropped} * kDim);
  for (auto* rows : {&equal_key, &kept, &values}) {
    for (float& x : *rows) x = rng.Normal();
  }
  std::vector<float> all = kept, mean(kDim);
  for (uint32_t i = 0; i < kDropped; ++i) {
    all.insert(all.end(), equal_key.begin(), equal_key.end());
    for (uint32_t c = 0; c < kDim; ++c) mean[c] += values[(3 + i) * kDim + c] / kDropped;
  }
  const auto truth = [&](const std::vector<float>& key_rows, const AttendExtra& extra) {
    const auto count = static_cast<uint32_t>(key_rows.size() / kDim);
    BuiltList keys(Side::kKeys, kDim), value_list(Side::kValues, kDim);
    keys.AddPage(*FindForm(FormId::kF32), 16, count, key_rows.data(), 0, nullptr);
    value_list.AddPage(*FindForm(FormId::kF32), 16, count, values.data(), 0, nullptr);
    const HeadView head{keys.pages(), value_list.pages(), count};
    const int32_t position = 20;
    const AttendSequence sequence{0, {&position, 1}, {&head, 1}, {&extra, 1}};
    std::vector<float> q(size_t{2} * kDim);
    Rng queries(5);
    for (float& x : q) x = queries.Normal();
    return AttendReference(shape, {&sequence, 1}, q.data(), q.size(), 1).out;
  };
  const auto full = truth(all, {});
  const auto folded = truth(kept, {kDropped, equal_key.data(), mean.data()});
  const auto forgotten = truth(kept, {});
  double change = 0;
  for (size_t i = 0; i < full.size(); ++i) {
    EXPECT_NEAR(folded[i], full[i], 1e-6);
    change = std::max(change, std::abs(forgotten[i] - full[i]));
  }
  EXPECT_GT(change, 0.01);
}

// Pages of some channels, and pages of all with the others set to what they stand for.
float LargestChange(const ChannelList& list, const std::vector<float>& stored) {
  constexpr uint32_t kEntries = 300;
  Case c = OneHead(7, 4, list.dim, 3, HeadSpec{});
  const std::vector<int32_t> positions(3, static_cast<int32_t>(kEntries));
  c.sequences[0].positions = positions;
  BuiltList pruned(Side::kKeys, list.dim), whole(Side::kKeys, list.dim),
      values(Side::kValues, list.dim);
  std::vector<float> widened = stored;
  for (uint32_t e = 0; e < kEntries; ++e) {
    list.Narrow(&widened[size_t{e} * list.dim]);
    list.Widen(&widened[size_t{e} * list.dim]);
  }
  const Form& form = *FindForm(FormId::kF32);
  for (uint32_t first = 0; first < kEntries; first += 128) {
    const uint32_t count = std::min(128u, kEntries - first);
    const size_t at = size_t{first} * list.dim;
    const auto position = static_cast<int32_t>(first);
    pruned.AddPage(form, 128, count, &stored[at], position, nullptr, false, &list);
    whole.AddPage(form, 128, count, &widened[at], position, nullptr);
    values.AddPage(form, 128, count, &stored[at], position, nullptr);
  }
  const auto attend = [&](const BuiltList& keys) {
    const HeadView head{keys.pages(), values.pages(), kEntries};
    c.sequences[0].heads = {&head, 1};
    return Attend(c, 1);
  };
  const std::vector<float> a = attend(pruned), b = attend(whole);
  float change = 0;
  for (size_t i = 0; i < a.size(); ++i) change = std::max(change, std::abs(a[i] - b[i]));
  return change;
}

TEST(Attend, PrunedKeys_AreKeysWithWhatTheirChannelsStandFor) {
  constexpr uint32_t kDim = 64;
  Rng rng(21);
  std::vector<float> rows(size_t{300} * kDim);
  for (float& x : rows) x = rng.Normal();
  ChannelList list{.dim = kDim};
  for (uint16_t c = 1; c < kDim; c += 2) list.kept.push_back(c);
  EXPECT_LT(LargestChange(list, rows), 2e-6);
  list.means.resize(kDim);
  for (uint32_t c = 0; c < kDim; c += 2) list.means[c] = rng.Normal();
  EXPECT_LT(LargestChange(list, rows), 2e-6);
}

TEST(Attend, MixedKeys_AreKeysAsTheirMixturesRead) {
  constexpr uint32_t kDim = 64, kStored = 24;
  Rng rng(22);
  std::vector<float> rows(size_t{300} * kDim);
  for (float& x : rows) x = rng.Normal();
  ChannelList list{.dim = kDim};
  const auto fill = [&](std::vector<float>* numbers, size_t count) {
    for (size_t i = 0; i < count; ++i) numbers->push_back(rng.Normal() / 8);
  };
  fill(&list.means, kDim);
  fill(&list.encode, size_t{kStored} * kDim);
  fill(&list.decode, size_t{kStored} * kDim);
  EXPECT_LT(LargestChange(list, rows), 2e-6);
}

TEST(Attend, NoRows_WritesNothing) {
  HeadSpec spec;
  spec.entries = 50;
  const Case c = OneHead(1, 4, 64, 0, spec);
  EXPECT_TRUE(Attend(c, 2).empty());
}

// What a row may not see cannot reach its output, not even as a NaN.
TEST(Attend, InvisibleEntries_HaveNoInfluence) {
  constexpr uint32_t kDim = 64, kEntries = 260;
  const Form& form = *FindForm(FormId::kF32);
  Rng rng(9);
  std::vector<float> rows(size_t{kEntries} * kDim);
  for (float& x : rows) x = rng.Normal();
  std::vector<float> poisoned = rows;
  constexpr int32_t kPosition = 150, kWindow = 70;
  for (int32_t e = 0; e < static_cast<int32_t>(kEntries); ++e) {
    if (e > kPosition - kWindow && e <= kPosition) continue;
    std::fill_n(poisoned.begin() + e * static_cast<int>(kDim), kDim, std::nanf(""));
  }
  const auto attend = [&](const std::vector<float>& entries, uint32_t num_rows) {
    Case c = OneHead(4, 4, kDim, num_rows, HeadSpec{}, kWindow);
    BuiltList keys(Side::kKeys, kDim), values(Side::kValues, kDim);
    for (uint32_t first = 0; first < kEntries; first += 128) {
      const uint32_t count = std::min(128u, kEntries - first);
      const float* at = entries.data() + size_t{first} * kDim;
      keys.AddPage(form, 128, count, at, static_cast<int32_t>(first), nullptr);
      values.AddPage(form, 128, count, at, static_cast<int32_t>(first), nullptr);
    }
    const HeadView head{keys.pages(), values.pages(), kEntries};
    const std::vector<int32_t> positions(num_rows, kPosition);
    c.sequences[0].heads = {&head, 1};
    c.sequences[0].positions = positions;
    return Attend(c, 1);
  };
  for (const uint32_t num_rows : {1u, 30u}) {
    EXPECT_EQ(attend(rows, num_rows), attend(poisoned, num_rows)) << num_rows;
  }
}

TEST(AttendReference, TwoEntriesByHand) {
  AttendShape shape{1, 1, 1, 1, 1.0f, 0};
  BuiltList keys(Side::kKeys, 1), values(Side::kValues, 1);
  const float k[] = {0.0f, std::log(3.0f)}, v[] = {8.0f, 4.0f};
  keys.AddPage(*FindForm(FormId::kF32), 8, 2, k, 0, nullptr);
  values.AddPage(*FindForm(FormId::kF32), 8, 2, v, 0, nullptr);
  const HeadView head{keys.pages(), values.pages(), 2};
  const int32_t positions[] = {0, 1};
  const AttendSequence sequence{0, positions, {&head, 1}};
  const float q[] = {1.0f, 1.0f};
  const AttendTruth truth = AttendReference(shape, {&sequence, 1}, q, 1, 2);
  EXPECT_EQ(truth.out[0], 8.0);          // sees the first entry only
  EXPECT_NEAR(truth.out[1], 5.0, 1e-6);  // weights 1/4 and 3/4
}

}  // namespace
}  // namespace pith
