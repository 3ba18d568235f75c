// Work items of attention that read ranges of entries and scores by the same code, once per SIMD
// target, and what draws items of any kind.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernel/attend.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernel/attend.h"
#include "kernel/item-inl.h"

HWY_BEFORE_NAMESPACE();
namespace pith {
namespace HWY_NAMESPACE {

void ReadRange(const AttendCall& call, const AttendPlan::Item& item, float* area) {
  RangeItem(call, item, area).Run();
}

void ScoreRunsOf(const AttendCall& call, const AttendPlan::Item& item, float* area, float* scores,
                 size_t stride) {
  RangeItem(call, item, area).ScoreRuns(scores, stride);
}

int64_t Target() { return HWY_TARGET; }

}  // namespace HWY_NAMESPACE
}  // namespace pith
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <limits>
#include <memory>

#include "base/check.h"
#include "kernel/attend_items.h"
#include "kernel/score_runs.h"

namespace pith {

HWY_EXPORT(ReadRange);
HWY_EXPORT(ScoreRunsOf);
HWY_EXPORT(Target);

void AttendPartial(const AttendCall& call, int thread, int num_threads) {
  const AttendPlan& plan = *call.plan;
  PITH_CHECK(thread >= 0 && thread < num_threads && num_threads <= plan.num_threads());
  auto* const area = reinterpret_cast<float*>(plan.ThreadArea(call.scratch, thread));
  const auto items = plan.items();
  while (true) {
    const uint32_t i = call.next_item->fetch_add(1, std::memory_order_relaxed);
    if (i >= items.size()) return;
    if (items[i].runs.empty()) {
      HWY_DYNAMIC_DISPATCH(ReadRange)(call, items[i], area);
    } else {
      RunGatherItem(call, items[i], area);
    }
  }
}

void ScoreRuns(const HeadView& head, std::span<const EntryRun> runs,
               std::span<const float* const> queries, float scale, ScoreRunsScratch* scratch,
               float* scores, size_t stride) {
  if (runs.empty()) return;
  const uint32_t dim = head.keys.front().dim();
  uint64_t num_entries = 0;
  for (const EntryRun& run : runs) num_entries += run.count;
  PITH_CHECK(stride >= num_entries);
  // Values are not looked at: a walk over keys alone.
  const HeadView keys{head.keys, head.keys, head.num_entries};
  const int32_t newest = std::numeric_limits<int32_t>::max();
  const AttendSequence sequence{.positions = {&newest, 1}, .heads = {&keys, 1}};
  for (size_t first = 0; first < queries.size(); first += kDirectLines) {
    const auto lines =
        static_cast<uint32_t>(std::min<size_t>(kDirectLines, queries.size() - first));
    scratch->queries.clear();
    for (const float* query : queries.subspan(first, lines)) {
      scratch->queries.insert(scratch->queries.end(), query, query + dim);
    }
    const AttendPlan plan({lines, 1, dim, dim, scale}, {}, 1);
    scratch->area.resize(plan.thread_bytes() + 64);
    const AttendPlan::Item item{
        0, 0, 0, lines, runs.front().first, num_entries, runs, AttendPlan::kNoPartial};
    const AttendCall call{.plan = &plan,
                          .sequences = {&sequence, 1},
                          .q = scratch->queries.data(),
                          .q_row_stride = scratch->queries.size()};
    void* area = scratch->area.data();
    size_t room = scratch->area.size();
    HWY_DYNAMIC_DISPATCH(ScoreRunsOf)
    (call, item, static_cast<float*>(std::align(64, plan.thread_bytes(), area, room)),
     scores + first * stride, stride);
  }
}

int64_t AttendTarget() { return HWY_DYNAMIC_DISPATCH(Target)(); }

}  // namespace pith
#endif  // HWY_ONCE
