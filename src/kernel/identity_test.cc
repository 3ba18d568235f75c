// Identities that attention over any cache must hold, whatever is dropped from it.
#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <numeric>
#include <span>
#include <vector>

#include "base/rng.h"
#include "kernel/attend.h"
#include "kernel/ref/page_builder.h"

namespace pith {
namespace {

constexpr uint32_t kEntries = 77, kDim = 32, kHeads = 6, kKvHeads = 2;
constexpr AttendShape kShape{.num_query_heads = kHeads,
                             .num_kv_heads = kKvHeads,
                             .key_dim = kDim,
                             .value_dim = kDim,
                             .scale = 0.2f};

struct Entries {
  std::vector<float> keys, values;  // [entry][dim]
};

std::vector<float> RandomRows(Rng& rng, size_t size) {
  std::vector<float> rows(size);
  for (float& x : rows) x = static_cast<float>(rng.Below(2001)) / 1000.0f - 1.0f;
  return rows;
}

// One row, behind all entries, over the entries in this order; [query_head][dim].
std::vector<float> Attend(const AttendShape& shape, std::span<const Entries> heads,
                          const std::vector<uint32_t>& order, std::span<const float> q) {
  std::vector<BuiltList> lists;
  std::vector<HeadView> views;
  lists.reserve(2 * heads.size());
  const auto count = static_cast<uint32_t>(order.size());
  for (const Entries& head : heads) {
    std::vector<float> keys, values;
    for (const uint32_t i : order) {
      keys.insert(keys.end(), &head.keys[i * kDim], &head.keys[i * kDim] + kDim);
      values.insert(values.end(), &head.values[i * kDim], &head.values[i * kDim] + kDim);
    }
    for (const Side side : {Side::kKeys, Side::kValues}) {
      lists.emplace_back(side, kDim);
      lists.back().AddPage(*FindForm(FormId::kF32), 128, count,
                           side == Side::kKeys ? keys.data() : values.data(), 0, nullptr);
    }
    views.push_back({lists[lists.size() - 2].pages(), lists.back().pages(), count});
  }
  const int32_t position = kEntries;
  const AttendSequence sequence{.first_row = 0, .positions = {&position, 1}, .heads = views};
  const AttendPlan plan(shape, {&sequence, 1}, 1);
  std::vector<float> out(q.size());
  std::vector<std::byte> memory(plan.scratch_bytes() + 64);
  const auto misfit = reinterpret_cast<uintptr_t>(memory.data()) % 64;
  std::atomic<uint32_t> next_item{0};
  const AttendCall call{.plan = &plan,
                        .sequences = {&sequence, 1},
                        .q = q.data(),
                        .q_row_stride = q.size(),
                        .out = out.data(),
                        .out_row_stride = out.size(),
                        .scratch = memory.data() + (64 - misfit) % 64,
                        .next_item = &next_item};
  AttendPartial(call, 0, 1);
  AttendMerge(call, 0, 1);
  return out;
}

struct RandomCase {
  Rng rng{5, 1};
  std::vector<Entries> heads;
  std::vector<float> q = RandomRows(rng, kHeads* kDim);
  std::vector<uint32_t> all = std::vector<uint32_t>(kEntries);

  RandomCase() {
    for (uint32_t h = 0; h < kKvHeads; ++h) {
      heads.push_back({RandomRows(rng, kEntries * kDim), RandomRows(rng, kEntries * kDim)});
    }
    std::iota(all.begin(), all.end(), 0u);
  }
};

TEST(AttendIdentity, OrderOfEntries_ChangesNothing) {
  RandomCase s;
  std::vector<uint32_t> order = s.all;
  for (uint32_t i = kEntries - 1; i > 0; --i) std::swap(order[i], order[s.rng.Below(i + 1)]);
  const auto out = Attend(kShape, s.heads, s.all, s.q),
             shuffled = Attend(kShape, s.heads, order, s.q);
  for (size_t i = 0; i < out.size(); ++i) EXPECT_NEAR(out[i], shuffled[i], 1e-5);
}

// Without entry j the output moves by p_j / (1 - p_j) * (o - v_j).
TEST(AttendIdentity, LeavingOneOut_MovesTheOutputByItsShare) {
  RandomCase s;
  const auto full = Attend(kShape, s.heads, s.all, s.q);
  for (const uint32_t left_out : {0u, 31u, kEntries - 1}) {
    std::vector<uint32_t> others = s.all;
    others.erase(others.begin() + left_out);
    const auto without = Attend(kShape, s.heads, others, s.q);
    for (uint32_t h = 0; h < kHeads; ++h) {
      const Entries& head = s.heads[h / (kHeads / kKvHeads)];
      double sum = 0, mine = 0;
      for (uint32_t j = 0; j < kEntries; ++j) {
        double score = 0;
        for (uint32_t c = 0; c < kDim; ++c) score += s.q[h * kDim + c] * head.keys[j * kDim + c];
        sum += std::exp(kShape.scale * score);
        if (j == left_out) mine = std::exp(kShape.scale * score);
      }
      const double p = mine / sum;
      for (uint32_t c = 0; c < kDim; ++c) {
        const double o = full[h * kDim + c], v = head.values[left_out * kDim + c];
        EXPECT_NEAR(without[h * kDim + c] - o, p / (1 - p) * (o - v), 1e-5) << h << " " << c;
      }
    }
  }
}

// A group of one query head is attention without groups, bit for bit.
TEST(AttendIdentity, EveryHeadWithItsOwnKeys_IsTheSameAsSharedOnes) {
  RandomCase s;
  const auto shared = Attend(kShape, s.heads, s.all, s.q);
  AttendShape one = kShape;
  one.num_query_heads = one.num_kv_heads = 1;
  for (uint32_t h = 0; h < kHeads; ++h) {
    const auto alone = Attend(one, {&s.heads[h / (kHeads / kKvHeads)], 1}, s.all,
                              std::span(s.q).subspan(h * kDim, kDim));
    for (uint32_t c = 0; c < kDim; ++c) EXPECT_EQ(alone[c], shared[h * kDim + c]) << h << " " << c;
  }
}

}  // namespace
}  // namespace pith
