// Work items of attention that read ranges of entries, once per SIMD target, and what draws items
// of any kind.
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

int64_t Target() { return HWY_TARGET; }

}  // namespace HWY_NAMESPACE
}  // namespace pith
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "base/check.h"
#include "kernel/attend_items.h"

namespace pith {

HWY_EXPORT(ReadRange);
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

int64_t AttendTarget() { return HWY_DYNAMIC_DISPATCH(Target)(); }

}  // namespace pith
#endif  // HWY_ONCE
