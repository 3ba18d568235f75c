// Attention over runs of entries.
#include <gtest/gtest.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <stdexcept>
#include <vector>

#include "base/rng.h"
#include "kernel/attend.h"
#include "kernel/ref/attend_case.h"

namespace pith {
namespace {

class AttendRunsTargets : public AttendTargets {};

INSTANTIATE_TEST_SUITE_P(All, AttendRunsTargets,
                         testing::ValuesIn(hwy::SupportedAndGeneratedTargets()), NameOfTarget);

TEST_P(AttendRunsTargets, RandomShapes_MatchReference) {
  for (uint64_t seed = 1; seed <= 150; ++seed) {
    Case c = AnyCase(seed);
    Rng rng(seed, 23);
    c.AddRuns(rng);
    if (rng.Below(3) == 0) c.AddExtras(rng);
    ASSERT_LE(WorstError(c, Attend(c, 1)), 1.0)
        << "seed " << seed << " on " << hwy::TargetName(GetParam());
  }
}

TEST_P(AttendRunsTargets, EveryFormPair_MatchesReference) {
  Rng rng(1, 23);
  for (const Form* key_form : AllForms()) {
    for (const Form* value_form : AllForms()) {
      for (const uint32_t longest : {1u, 16u, 100u}) {
        HeadSpec spec;
        spec.entries = 600;
        spec.key_form = key_form;
        spec.value_form = value_form;
        Case c = OneHead(3, 4, 64, 1, spec);
        const std::vector<EntryRun> runs = MakeRuns(rng, spec.entries, longest, 20);
        const std::span<const EntryRun> heads[] = {runs};
        c.sequences[0].runs = heads;
        ASSERT_LE(WorstError(c, Attend(c, 1)), 1.0)
            << key_form->name << " keys, " << value_form->name << " values, runs up to " << longest;
      }
    }
  }
}

// As with dense reading: the border between rotated entries and the tail lies elsewhere in keys
// than in values, and may fall into a run.
TEST_P(AttendRunsTargets, RotatedSealedEntriesAndTail_MatchReference) {
  Rng rng(2, 23);
  for (const Form* form : AllForms()) {
    for (const uint32_t dim : {32u, 80u, 128u}) {
      if (dim % form->dim_multiple != 0) continue;
      HeadSpec spec;
      spec.entries = 500;
      spec.rotated_keys = 256;
      spec.rotated_values = 172;
      spec.form_of_rotated = form;
      Case c = OneHead(5, 4, dim, 2, spec);
      c.AddRuns(rng);
      ASSERT_LE(WorstError(c, Attend(c, 1)), 1.0) << form->name << " of " << dim;
    }
  }
}

TEST_P(AttendRunsTargets, PrunedSealedKeysAndTail_MatchReference) {
  for (const Form* form : AllForms()) {
    for (const uint32_t dim : {64u, 128u}) {
      HeadSpec spec;
      spec.entries = 700;
      spec.key_form = form;
      spec.pruned_keys = 500;
      Case c = OneHead(dim, 4, dim, 2, spec);
      Rng rng(dim);
      c.AddRuns(rng);
      ASSERT_LE(WorstError(c, Attend(c, 1)), 1.0) << form->name;
    }
  }
}

TEST_P(AttendRunsTargets, DirectionsAndTail_MatchReference) {
  for (const Form* form : AllForms()) {
    for (const uint32_t dim : {64u, 128u}) {
      HeadSpec spec;
      spec.entries = 700;
      spec.key_form = spec.value_form = form;
      spec.key_directions = 500;
      spec.value_directions = 530;
      Case c = OneHead(dim, 4, dim, 2, spec);
      Rng rng(dim);
      c.AddRuns(rng);
      ASSERT_LE(WorstError(c, Attend(c, 1)), 1.0) << form->name;
    }
  }
}

TEST_P(AttendRunsTargets, EverythingSelected_SameBitsAsWithoutRuns) {
  for (uint64_t seed = 300; seed < 340; ++seed) {
    Case c = AnyCase(seed);
    Rng rng(seed, 23);
    if (seed % 2 == 0) c.AddExtras(rng);
    const std::vector<float> whole = Attend(c, 1);
    for (const uint32_t longest : {1u, 30u, 5000u}) {
      std::vector<std::vector<std::span<const EntryRun>>> spans;
      std::vector<std::vector<EntryRun>> runs;
      for (const AttendSequence& sequence : c.sequences) {
        for (const HeadView& head : sequence.heads) {
          runs.push_back(MakeRuns(rng, head.num_entries, longest, 0));
        }
      }
      size_t next = 0;
      for (AttendSequence& sequence : c.sequences) {
        spans.emplace_back(runs.begin() + static_cast<ptrdiff_t>(next),
                           runs.begin() + static_cast<ptrdiff_t>(next + sequence.heads.size()));
        next += sequence.heads.size();
        sequence.runs = spans.back();
      }
      const std::vector<float> all = Attend(c, 1);
      ASSERT_EQ(0, std::memcmp(all.data(), whole.data(), whole.size() * sizeof(float)))
          << "seed " << seed << ", runs up to " << longest;
      for (AttendSequence& sequence : c.sequences) sequence.runs = {};
    }
  }
}

TEST_P(AttendRunsTargets, ThreadCounts_SameBits) {
  for (uint64_t seed = 500; seed < 512; ++seed) {
    Case c = AnyCase(seed);
    Rng rng(seed, 23);
    c.AddRuns(rng);
    const std::vector<float> one = Attend(c, 1);
    for (const int threads : {2, 5}) {
      const std::vector<float> many = Attend(c, threads);
      ASSERT_EQ(0, std::memcmp(one.data(), many.data(), one.size() * sizeof(float)))
          << "seed " << seed << ", threads " << threads;
    }
  }
}

// ---- On the best target.

// Long enough that heads are split over items; heads differ by a factor of ten and more.
TEST(AttendRuns, RaggedSelectionsOfLongHeads_MatchReference) {
  for (const uint32_t rows : {1u, 3u, 9u}) {
    Rng rng(rows, 23);
    AttendShape shape{.num_query_heads = 8, .num_kv_heads = 2, .key_dim = 32, .value_dim = 32};
    shape.scale = 0.2f;
    Case c(shape);
    HeadSpec spec;
    spec.entries = 6000;
    spec.key_class = spec.value_class = 128;
    const HeadSpec specs[] = {spec, spec};
    c.AddSequence(rng, rows, Rows::kAnywhere, specs);
    c.MakeQueries(rng);
    const std::vector<EntryRun> few = MakeRuns(rng, spec.entries, 4, 200),
                                many = MakeRuns(rng, spec.entries, 16, 10);
    const std::span<const EntryRun> heads[] = {few, many};
    c.sequences[0].runs = heads;
    EXPECT_LE(WorstError(c, Attend(c, 3)), 1.0) << rows << " rows";
  }
}

// What is not selected cannot reach the output, not even as a NaN.
TEST(AttendRuns, UnselectedEntries_HaveNoInfluence) {
  constexpr uint32_t kDim = 64, kEntries = 700;
  Rng rng(9);
  for (const FormId id : {FormId::kF32, FormId::kF16, FormId::kBF16}) {
    for (const uint32_t longest : {1u, 16u}) {
      const std::vector<EntryRun> runs = MakeRuns(rng, kEntries, longest, 30);
      const std::span<const EntryRun> heads[] = {runs};
      std::vector<float> rows(size_t{kEntries} * kDim);
      for (float& x : rows) x = rng.Normal();
      std::vector<float> poisoned(rows.size(), std::nanf(""));
      for (const EntryRun& run : runs) {
        const auto at = static_cast<ptrdiff_t>(run.first * kDim);
        std::copy_n(rows.begin() + at, size_t{run.count} * kDim, poisoned.begin() + at);
      }
      const auto attend = [&](const std::vector<float>& entries) {
        Case c = OneHead(4, 4, kDim, 1, HeadSpec{});
        BuiltList keys(Side::kKeys, kDim), values(Side::kValues, kDim);
        for (uint32_t first = 0; first < kEntries; first += 128) {
          const uint32_t count = std::min(128u, kEntries - first);
          const float* at = entries.data() + size_t{first} * kDim;
          keys.AddPage(*FindForm(id), 128, count, at, static_cast<int32_t>(first), nullptr);
          values.AddPage(*FindForm(id), 128, count, at, static_cast<int32_t>(first), nullptr);
        }
        const HeadView head{keys.pages(), values.pages(), kEntries};
        const int32_t position = kEntries;
        c.sequences[0] = {.positions = {&position, 1}, .heads = {&head, 1}, .runs = heads};
        return Attend(c, 1);
      };
      EXPECT_EQ(attend(rows), attend(poisoned)) << longest;
    }
  }
}

TEST(AttendRuns, NothingSelected_IsZero) {
  HeadSpec spec;
  spec.entries = 300;
  Case c = OneHead(1, 4, 64, 2, spec);
  const std::span<const EntryRun> heads[] = {{}};
  c.sequences[0].runs = heads;
  for (const float x : Attend(c, 2)) ASSERT_EQ(x, 0.0f);
}

// ---- The plan.

struct PlannedStep {
  AttendShape shape{.num_query_heads = 32, .num_kv_heads = 8, .key_dim = 64, .value_dim = 64};
  std::vector<HeadView> heads;
  int32_t position = 0;
  AttendSequence sequence;
  std::vector<std::vector<EntryRun>> runs;
  std::vector<std::span<const EntryRun>> spans;

  explicit PlannedStep(uint64_t entries) : heads(8, HeadView{{}, {}, entries}) {
    sequence.positions = {&position, 1};
    sequence.heads = heads;
  }
  AttendPlan Reserved() {
    AttendPlan plan(shape, {&sequence, 1}, 2);
    plan.ReserveRuns({&sequence, 1});
    return plan;
  }
  void Select(std::vector<std::vector<EntryRun>> selected) {
    runs = std::move(selected);
    spans.assign(runs.begin(), runs.end());
    sequence.runs = spans;
  }
};

// Every selected entry is in exactly one item of its head, in order.
void ExpectCovered(const AttendPlan& plan, const PlannedStep& step) {
  for (uint32_t h = 0; h < 8; ++h) {
    std::vector<uint64_t> selected, planned;
    for (const EntryRun& run : step.runs[h]) {
      for (uint32_t i = 0; i < run.count; ++i) selected.push_back(run.first + i);
    }
    for (const AttendPlan::Item& item : plan.items()) {
      if (item.kv_head != h) continue;
      if (item.runs.empty()) {
        for (uint64_t i = 0; i < item.num_entries; ++i) planned.push_back(item.first_entry + i);
        continue;
      }
      uint64_t left = item.num_entries;
      for (const EntryRun& run : item.runs) {
        for (uint64_t e = std::max(run.first, item.first_entry); e < run.first + run.count; ++e) {
          if (left == 0) break;
          planned.push_back(e);
          --left;
        }
      }
    }
    EXPECT_EQ(planned, selected) << "head " << h;
  }
}

TEST(AttendPlanRuns, AnySelection_IsCoveredWithinTheRoomReserved) {
  for (const uint64_t entries : {1ull, 700ull, 5000ull, 40'000ull}) {
    PlannedStep step(entries);
    AttendPlan plan = step.Reserved();
    const size_t scratch = plan.scratch_bytes();
    Rng rng(entries, 3);
    for (int i = 0; i < 40; ++i) {
      std::vector<std::vector<EntryRun>> runs;
      for (int h = 0; h < 8; ++h) runs.push_back(AnyRuns(rng, entries));
      step.Select(std::move(runs));
      plan.Recut({&step.sequence, 1});  // checks that nothing had to grow
      EXPECT_EQ(plan.scratch_bytes(), scratch);
      ExpectCovered(plan, step);
    }
  }
}

TEST(AttendPlanRuns, HeadsThatDifferTenfold_GiveItemsOfAboutTheSameSize) {
  PlannedStep step(131'072);
  AttendPlan plan = step.Reserved();
  Rng rng(4);
  std::vector<std::vector<EntryRun>> runs;
  uint64_t total = 0;
  for (uint32_t h = 0; h < 8; ++h) {
    runs.push_back(MakeRuns(rng, 131'072, 16, h == 3 ? 20 : 600));
    for (const EntryRun& run : runs.back()) total += run.count;
  }
  step.Select(std::move(runs));
  plan.Recut({&step.sequence, 1});
  uint64_t largest = 0;
  for (const AttendPlan::Item& item : plan.items()) largest = std::max(largest, item.num_entries);
  EXPECT_LE(largest, total / 64 + 512);
}

TEST(AttendPlanRuns, ReservedScratch_DoesNotGrowWithEntries) {
  EXPECT_LE(PlannedStep(10'000'000).Reserved().scratch_bytes(),
            PlannedStep(100'000).Reserved().scratch_bytes());
}

TEST(AttendPlanRuns, RunsOutOfOrderOrBeyondTheEnd_AreRefused) {
  PlannedStep step(100);
  AttendPlan plan = step.Reserved();
  const std::vector<std::vector<EntryRun>> bad = {
      {{50, 10}, {40, 5}}, {{50, 10}, {59, 5}}, {{90, 11}}, {{5, 0}}};
  for (const std::vector<EntryRun>& runs : bad) {
    step.Select(std::vector<std::vector<EntryRun>>(8, runs));
    EXPECT_THROW(plan.Recut({&step.sequence, 1}), std::logic_error);
  }
}

}  // namespace
}  // namespace pith
