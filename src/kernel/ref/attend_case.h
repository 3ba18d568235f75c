// Random and chosen cases for tests of attention: pages, rows and queries, the engine's way of
// calling, and the comparison with the slow reference.
#pragma once

#include <gtest/gtest.h>
#include <hwy/highway.h>

#include <algorithm>
#include <atomic>
#include <barrier>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/rng.h"
#include "codec/kivi.h"
#include "kernel/ref/attend_ref.h"
#include "kernel/ref/page_builder.h"

namespace pith {

inline constexpr uint32_t kPageClasses[] = {8, 16, 24, 32, 48, 64, 96, 128};

inline const std::vector<const Form*>& AllForms() {
  static const std::vector<const Form*> forms = [] {
    std::vector<const Form*> all(Forms().begin(), Forms().end());
    all.insert(all.end(), KiviForms().begin(), KiviForms().end());
    return all;
  }();
  return forms;
}

// Plain forms as often as all others together.
inline const Form* AnyForm(Rng& rng, uint32_t dim) {
  while (true) {
    const auto range = static_cast<uint32_t>(rng.Below(2) == 0 ? 3 : AllForms().size());
    const Form* form = AllForms()[rng.Below(range)];
    if (dim % form->dim_multiple == 0) return form;
  }
}

// ---- Cases: everything a call needs, made from a few choices and a generator.

struct HeadSpec {
  uint32_t entries = 0;
  bool explicit_positions = false;  // with gaps
  uint32_t key_class = 0;           // 0: random capacity classes
  uint32_t value_class = 0;
  const Form* key_form = nullptr;  // nullptr: any, from page to page
  const Form* value_form = nullptr;
  // So many entries at the front are rotated: sealed ones, the tail behind them is not.
  uint32_t rotated_keys = 0, rotated_values = 0;
  const Form* form_of_rotated = nullptr;  // nullptr: as of others; else others are in f16
  bool any_rotated = false;               // instead: any page may be
  // So many entries at the front have some channels of their keys only, the same ones.
  uint32_t pruned_keys = 0;
  // So many keys, and values, at the front are stored as directions; or any page may be.
  uint32_t key_directions = 0, value_directions = 0;
  bool any_directions = false;
};

// At least one channel of `dim`, as many as `form` can hold, with means of the others or without.
inline ChannelList AnyChannels(Rng& rng, const Form& form, uint32_t dim) {
  ChannelList list{.dim = dim};
  const uint32_t units = dim / form.dim_multiple;
  const uint32_t num_kept = (1 + rng.Below(units)) * form.dim_multiple;
  for (uint32_t c = 0; c < dim; ++c) {  // each of those left with the same chance
    const auto missing = static_cast<uint32_t>(num_kept - list.kept.size());
    if (rng.Below(dim - c) < missing) list.kept.push_back(static_cast<uint16_t>(c));
  }
  if (rng.Below(2) == 0) return list;
  list.means.resize(dim);
  for (float& mean : list.means) mean = rng.Normal();
  for (const uint16_t c : list.kept) list.means[c] = 0;
  return list;
}

// Runs of up to `longest` entries behind gaps of up to `widest`, of which either may be 1 or 0.
inline std::vector<EntryRun> MakeRuns(Rng& rng, uint64_t entries, uint32_t longest,
                                      uint32_t widest) {
  std::vector<EntryRun> runs;
  uint64_t at = rng.Below(widest + 1);
  while (at < entries) {
    const auto count =
        static_cast<uint32_t>(std::min<uint64_t>(1 + rng.Below(longest), entries - at));
    runs.push_back({at, count});
    at += count + rng.Below(widest + 1);
  }
  return runs;
}

inline std::vector<EntryRun> AnyRuns(Rng& rng, uint64_t entries) {
  constexpr uint32_t kLongest[] = {1, 1, 3, 16, 40, 300}, kWidest[] = {0, 3, 20, 100, 400};
  if (rng.Below(8) == 0) return {};
  if (rng.Below(8) == 0 && entries > 0) return {{0, static_cast<uint32_t>(entries)}};
  return MakeRuns(rng, entries, kLongest[rng.Below(std::size(kLongest))],
                  kWidest[rng.Below(std::size(kWidest))]);
}

enum class Rows { kLast, kAnywhere };  // where the rows of a sequence sit

class Case {
 public:
  explicit Case(const AttendShape& s) : shape(s) {}

  void AddSequence(Rng& rng, uint32_t num_rows, Rows where, std::span<const HeadSpec> specs) {
    PITH_CHECK(specs.size() == shape.num_kv_heads);
    AttendSequence sequence;
    sequence.first_row = num_rows_;
    int32_t last = 0;
    auto& heads = heads_.emplace_back(std::make_unique<std::vector<HeadView>>());
    for (const HeadSpec& spec : specs) heads->push_back(MakeHead(rng, spec, &last));
    sequence.heads = *heads;
    auto& positions = positions_.emplace_back(std::make_unique<std::vector<int32_t>>());
    for (uint32_t r = 0; r < num_rows; ++r) {
      const auto from_end = static_cast<int32_t>(num_rows - 1 - r);
      positions->push_back(where == Rows::kLast
                               ? last - from_end
                               : static_cast<int32_t>(rng.Below(static_cast<uint32_t>(last) + 9)) -
                                     4);
    }
    sequence.positions = *positions;
    sequences.push_back(sequence);
    num_rows_ += num_rows;
  }

  // Gives most heads an extra entry.
  void AddExtras(Rng& rng) {
    for (AttendSequence& sequence : sequences) {
      auto& extras = extras_.emplace_back(std::make_unique<std::vector<AttendExtra>>());
      for (uint32_t h = 0; h < shape.num_kv_heads; ++h) {
        constexpr uint64_t kCounts[] = {0, 1, 2, 17, 4000, 1'000'000};
        AttendExtra extra{.count = kCounts[rng.Below(std::size(kCounts))]};
        for (const auto& [dim, at] :
             {std::pair(shape.key_dim, &extra.key), std::pair(shape.value_dim, &extra.value)}) {
          auto& numbers = numbers_.emplace_back(std::make_unique<std::vector<float>>(dim));
          for (float& x : *numbers) x = rng.Normal();
          *at = numbers->data();
        }
        extras->push_back(extra);
      }
      sequence.extras = *extras;
    }
  }

  // Selects entries of every head: none, all, or runs of several kinds.
  void AddRuns(Rng& rng) {
    for (AttendSequence& sequence : sequences) {
      auto& spans = spans_.emplace_back(std::make_unique<std::vector<std::span<const EntryRun>>>());
      for (const HeadView& head : sequence.heads) {
        auto& runs = runs_.emplace_back(std::make_unique<std::vector<EntryRun>>());
        *runs = AnyRuns(rng, head.num_entries);
        spans->push_back(*runs);
      }
      sequence.runs = *spans;
    }
  }

  void MakeQueries(Rng& rng) {
    q_stride = size_t{shape.num_query_heads} * shape.key_dim + 3;
    q.resize(num_rows_ * q_stride);
    for (float& x : q) x = 1.5f * rng.Normal();
  }

  uint32_t num_rows() const { return num_rows_; }

  AttendShape shape;
  std::vector<AttendSequence> sequences;
  std::vector<float> q;
  size_t q_stride = 0;

 private:
  HeadView MakeHead(Rng& rng, const HeadSpec& spec, int32_t* last) {
    std::vector<int32_t> positions(spec.entries);
    // Gaps all over, or so few that most pages are contiguous.
    const uint32_t gap_every = rng.Below(2) == 0 ? 1 : 100;
    int32_t next = 0;
    for (int32_t& position : positions) {
      if (spec.explicit_positions && rng.Below(gap_every) == 0) {
        next += static_cast<int32_t>(rng.Below(4));
      }
      position = next++;
    }
    *last = std::max(*last, next - 1);
    HeadView head;
    head.num_entries = spec.entries;
    head.keys = MakeList(rng, Side::kKeys, shape.key_dim, spec, positions);
    head.values = MakeList(rng, Side::kValues, shape.value_dim, spec, positions);
    return head;
  }

  std::span<const PageView> MakeList(Rng& rng, Side side, uint32_t dim, const HeadSpec& spec,
                                     const std::vector<int32_t>& positions) {
    auto& list = lists_.emplace_back(std::make_unique<BuiltList>(side, dim));
    const uint32_t fixed_class = side == Side::kKeys ? spec.key_class : spec.value_class;
    const Form* fixed_form = side == Side::kKeys ? spec.key_form : spec.value_form;
    const uint32_t num_pruned = side == Side::kKeys ? spec.pruned_keys : 0;
    const Form* const pruned_form = fixed_form != nullptr ? fixed_form : AnyForm(rng, dim);
    const ChannelList* channels = nullptr;
    if (num_pruned > 0) {
      channels_.push_back(std::make_unique<ChannelList>(AnyChannels(rng, *pruned_form, dim)));
      channels = channels_.back().get();
    }
    const uint32_t num_directions =
        side == Side::kKeys ? spec.key_directions : spec.value_directions;
    for (uint32_t first = 0; first < spec.entries;) {
      const uint32_t num_rotated = side == Side::kKeys ? spec.rotated_keys : spec.rotated_values;
      const Form* border_form = first < num_rotated ? spec.form_of_rotated : FindForm(FormId::kF16);
      if (spec.form_of_rotated != nullptr) fixed_form = border_form;
      const bool pruned = first < num_pruned;
      const Form& form = pruned                  ? *pruned_form
                         : fixed_form != nullptr ? *fixed_form
                                                 : *AnyForm(rng, dim);
      uint32_t capacity =
          fixed_class > 0 ? fixed_class : kPageClasses[rng.Below(std::size(kPageClasses))];
      if (form.group(side) > 0) capacity = std::min(capacity, form.group(side));
      // Pages of sealed lists may have room anywhere.
      const uint32_t full =
          fixed_class > 0 || rng.Below(3) > 0 ? capacity : 1 + rng.Below(capacity);
      const bool rotated =
          !pruned && (first < num_rotated || (spec.any_rotated && rng.Below(2) == 0));
      const bool directions = first < num_directions || (spec.any_directions && rng.Below(2) == 0);
      const uint32_t end = pruned                   ? num_pruned
                           : first < num_rotated    ? num_rotated
                           : first < num_directions ? num_directions
                                                    : spec.entries;
      const uint32_t count = std::min(full, end - first);
      std::vector<float> rows(size_t{count} * dim);
      for (float& x : rows) x = rng.Normal();
      const int32_t span = positions[first + count - 1] - positions[first];
      const bool has_gap = span != static_cast<int32_t>(count) - 1;
      const bool write_out = spec.explicit_positions && (has_gap || rng.Below(4) == 0);
      list->AddPage(form, capacity, count, rows.data(), positions[first],
                    write_out ? &positions[first] : nullptr, rotated, pruned ? channels : nullptr,
                    directions);
      first += count;
    }
    return list->pages();
  }

  uint32_t num_rows_ = 0;
  std::vector<std::unique_ptr<std::vector<EntryRun>>> runs_;
  std::vector<std::unique_ptr<std::vector<std::span<const EntryRun>>>> spans_;
  std::vector<std::unique_ptr<ChannelList>> channels_;
  std::vector<std::unique_ptr<BuiltList>> lists_;
  std::vector<std::unique_ptr<std::vector<HeadView>>> heads_;
  std::vector<std::unique_ptr<std::vector<int32_t>>> positions_;
  std::vector<std::unique_ptr<std::vector<AttendExtra>>> extras_;
  std::vector<std::unique_ptr<std::vector<float>>> numbers_;
};

// ---- Running.

struct FreeDeleter {
  void operator()(void* p) const { std::free(p); }
};

// The plan as the engine has it: runs are known once the graph runs.
inline AttendPlan MakePlan(const AttendShape& shape, std::span<const AttendSequence> sequences,
                           int num_threads) {
  std::vector<AttendSequence> whole(sequences.begin(), sequences.end());
  for (AttendSequence& sequence : whole) sequence.runs = {};
  AttendPlan plan(shape, whole, num_threads);
  if (std::ranges::all_of(sequences, [](const auto& s) { return s.runs.empty(); })) return plan;
  plan.ReserveRuns(whole);
  plan.Recut(sequences);
  return plan;
}

// The engine's way of calling: all threads, a barrier, all threads. Output rows are padded; the
// pads stay NaN.
inline std::vector<float> Attend(const Case& c, int num_threads) {
  const AttendPlan plan = MakePlan(c.shape, c.sequences, num_threads);
  const size_t bytes = (plan.scratch_bytes() + 63) / 64 * 64;
  std::unique_ptr<std::byte, FreeDeleter> scratch(
      static_cast<std::byte*>(std::aligned_alloc(64, bytes)));
  std::memset(scratch.get(), 0xFF, bytes);
  const size_t width = size_t{c.shape.num_query_heads} * c.shape.value_dim;
  std::vector<float> out(c.num_rows() * (width + 5), std::nanf(""));
  std::atomic<uint32_t> next_item{0};
  AttendCall call;
  call.plan = &plan;
  call.sequences = c.sequences;
  call.q = c.q.data();
  call.q_row_stride = c.q_stride;
  call.out = out.data();
  call.out_row_stride = width + 5;
  call.scratch = scratch.get();
  call.next_item = &next_item;
  std::barrier phase(num_threads);
  std::vector<std::thread> threads;
  for (int t = 0; t < num_threads; ++t) {
    threads.emplace_back([&, t] {
      AttendPartial(call, t, num_threads);
      phase.arrive_and_wait();
      AttendMerge(call, t, num_threads);
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (size_t row = 0; row < c.num_rows(); ++row) {
    for (size_t i = width; i < width + 5; ++i) EXPECT_TRUE(std::isnan(out[row * (width + 5) + i]));
    std::copy_n(out.begin() + static_cast<ptrdiff_t>(row * (width + 5)), width,
                out.begin() + static_cast<ptrdiff_t>(row * width));
  }
  out.resize(c.num_rows() * width);
  return out;
}

// The largest error over its bound; above 1 the kernel is wrong.
inline double WorstError(const Case& c, const std::vector<float>& out) {
  const AttendTruth truth =
      AttendReference(c.shape, c.sequences, c.q.data(), c.q_stride, c.num_rows());
  double worst = 0;
  for (size_t i = 0; i < out.size(); ++i) {
    const double error = std::abs(out[i] - truth.out[i]);
    if (error == 0) continue;
    const double ratio = error / truth.bound[i];
    if (!(ratio <= worst)) worst = ratio;  // a NaN is kept
  }
  return worst;
}

// ---- Every SIMD target of the machine.

class AttendTargets : public testing::TestWithParam<int64_t> {
 protected:
  void SetUp() override {
    hwy::SetSupportedTargetsForTest(GetParam());
    ASSERT_EQ(AttendTarget(), GetParam()) << hwy::TargetName(AttendTarget());
  }
  void TearDown() override { hwy::SetSupportedTargetsForTest(0); }
};

inline std::string NameOfTarget(const testing::TestParamInfo<int64_t>& info) {
  return hwy::TargetName(info.param);
}

inline uint32_t AnyDim(Rng& rng) {
  constexpr uint32_t kDims[] = {16, 32, 64, 80, 96, 112, 128, 192, 256};
  return rng.Below(4) == 0 ? 1 + rng.Below(256) : kDims[rng.Below(std::size(kDims))];
}

inline uint32_t AnyCount(Rng& rng) {
  constexpr uint32_t kEdges[] = {0, 1, 7, 8, 9, 127, 128, 129, 511, 512, 513, 640, 1025};
  return rng.Below(3) == 0 ? rng.Below(900) : kEdges[rng.Below(std::size(kEdges))];
}

inline Case AnyCase(uint64_t seed) {
  Rng rng(seed, 7);
  constexpr uint32_t kGroups[] = {1, 1, 2, 3, 4, 5, 7, 8, 13, 32, 100};
  const uint32_t group = kGroups[rng.Below(std::size(kGroups))];
  AttendShape shape;
  shape.num_kv_heads = group > 8 ? 1 : 1 + rng.Below(3);
  shape.num_query_heads = shape.num_kv_heads * group;
  shape.key_dim = AnyDim(rng);
  shape.value_dim = rng.Below(2) == 0 ? shape.key_dim : AnyDim(rng);
  shape.scale = 1.0f / std::sqrt(static_cast<float>(shape.key_dim));
  shape.window = rng.Below(3) == 0 ? static_cast<int32_t>(1 + rng.Below(400)) : 0;
  Case c(shape);
  const uint32_t num_sequences = 1 + rng.Below(3);
  for (uint32_t s = 0; s < num_sequences; ++s) {
    std::vector<HeadSpec> specs(shape.num_kv_heads);
    const bool ragged = rng.Below(3) == 0;
    const uint32_t entries = AnyCount(rng);
    for (HeadSpec& spec : specs) {
      spec.entries = ragged ? AnyCount(rng) : entries;
      spec.explicit_positions = rng.Below(3) == 0;
      spec.any_rotated = rng.Below(4) == 0;
      spec.any_directions = rng.Below(4) == 0;
      if (rng.Below(3) == 0) spec.pruned_keys = rng.Below(spec.entries + 1);
      if (rng.Below(2) == 0) spec.key_class = spec.value_class = 128;
      if (rng.Below(2) == 0) {
        spec.key_form = AnyForm(rng, shape.key_dim);
        spec.value_form = AnyForm(rng, shape.value_dim);
      }
    }
    const uint32_t max_rows = std::max(1u, 120 / group);
    const uint32_t rows = rng.Below(2) == 0 ? 1 + rng.Below(3) : 1 + rng.Below(max_rows);
    c.AddSequence(rng, rows, rng.Below(3) == 0 ? Rows::kAnywhere : Rows::kLast, specs);
  }
  c.MakeQueries(rng);
  return c;
}

// One sequence with one KV head.
inline Case OneHead(uint64_t seed, uint32_t group, uint32_t dim, uint32_t rows,
                    const HeadSpec& spec, int32_t window = 0, Rows where = Rows::kLast) {
  Rng rng(seed, 11);
  AttendShape shape;
  shape.num_kv_heads = 1;
  shape.num_query_heads = group;
  shape.key_dim = shape.value_dim = dim;
  shape.scale = 1.0f / std::sqrt(static_cast<float>(dim));
  shape.window = window;
  Case c(shape);
  c.AddSequence(rng, rows, where, {{spec}});
  c.MakeQueries(rng);
  return c;
}

}  // namespace pith
