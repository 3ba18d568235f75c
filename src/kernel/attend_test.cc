#include "kernel/attend.h"

#include <gtest/gtest.h>
#include <hwy/highway.h>

#include <atomic>
#include <barrier>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/rng.h"
#include "codec/kivi.h"
#include "kernel/ref/attend_ref.h"
#include "kernel/ref/page_builder.h"

namespace pith {
namespace {

constexpr uint32_t kClasses[] = {8, 16, 24, 32, 48, 64, 96, 128};

const std::vector<const Form*>& AllForms() {
  static const std::vector<const Form*> forms = [] {
    std::vector<const Form*> all(Forms().begin(), Forms().end());
    all.insert(all.end(), KiviForms().begin(), KiviForms().end());
    return all;
  }();
  return forms;
}

// Plain forms as often as all others together.
const Form* AnyForm(Rng& rng, uint32_t dim) {
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
};

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
    for (uint32_t first = 0; first < spec.entries;) {
      const uint32_t num_rotated = side == Side::kKeys ? spec.rotated_keys : spec.rotated_values;
      const Form* border_form = first < num_rotated ? spec.form_of_rotated : FindForm(FormId::kF16);
      if (spec.form_of_rotated != nullptr) fixed_form = border_form;
      const Form& form = fixed_form != nullptr ? *fixed_form : *AnyForm(rng, dim);
      uint32_t capacity = fixed_class > 0 ? fixed_class : kClasses[rng.Below(std::size(kClasses))];
      if (form.group(side) > 0) capacity = std::min(capacity, form.group(side));
      // Pages of sealed lists may have room anywhere.
      const uint32_t full =
          fixed_class > 0 || rng.Below(3) > 0 ? capacity : 1 + rng.Below(capacity);
      const bool rotated = first < num_rotated || (spec.any_rotated && rng.Below(2) == 0);
      const uint32_t end = first < num_rotated ? num_rotated : spec.entries;
      const uint32_t count = std::min(full, end - first);
      std::vector<float> rows(size_t{count} * dim);
      for (float& x : rows) x = rng.Normal();
      const int32_t span = positions[first + count - 1] - positions[first];
      const bool has_gap = span != static_cast<int32_t>(count) - 1;
      const bool write_out = spec.explicit_positions && (has_gap || rng.Below(4) == 0);
      list->AddPage(form, capacity, count, rows.data(), positions[first],
                    write_out ? &positions[first] : nullptr, rotated);
      first += count;
    }
    return list->pages();
  }

  uint32_t num_rows_ = 0;
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

// The engine's way of calling: all threads, a barrier, all threads. Output rows are padded; the
// pads stay NaN.
std::vector<float> Attend(const Case& c, int num_threads) {
  const AttendPlan plan(c.shape, c.sequences, num_threads);
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
double WorstError(const Case& c, const std::vector<float>& out) {
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

INSTANTIATE_TEST_SUITE_P(All, AttendTargets, testing::ValuesIn(hwy::SupportedAndGeneratedTargets()),
                         [](const testing::TestParamInfo<int64_t>& info) {
                           return std::string(hwy::TargetName(info.param));
                         });

uint32_t AnyDim(Rng& rng) {
  constexpr uint32_t kDims[] = {16, 32, 64, 80, 96, 112, 128, 192, 256};
  return rng.Below(4) == 0 ? 1 + rng.Below(256) : kDims[rng.Below(std::size(kDims))];
}

uint32_t AnyCount(Rng& rng) {
  constexpr uint32_t kEdges[] = {0, 1, 7, 8, 9, 127, 128, 129, 511, 512, 513, 640, 1025};
  return rng.Below(3) == 0 ? rng.Below(900) : kEdges[rng.Below(std::size(kEdges))];
}

Case AnyCase(uint64_t seed) {
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

// One sequence with one KV head.
Case OneHead(uint64_t seed, uint32_t group, uint32_t dim, uint32_t rows, const HeadSpec& spec,
             int32_t window = 0, Rows where = Rows::kLast) {
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

TEST_P(AttendTargets, EveryClassAndEdge_MatchesReference) {
  for (const uint32_t key_class : kClasses) {
    for (const uint32_t value_class : kClasses) {
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
