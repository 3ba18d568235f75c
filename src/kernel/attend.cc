// Work items of attention, once per SIMD target.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernel/attend.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernel/attend.h"
#include "kernel/item-inl.h"

HWY_BEFORE_NAMESPACE();
namespace pith {
namespace HWY_NAMESPACE {

void RunItems(const AttendCall& call, int thread) {
  const AttendPlan& plan = *call.plan;
  auto* area = reinterpret_cast<float*>(plan.ThreadArea(call.scratch, thread));
  const auto items = plan.items();
  while (true) {
    const uint32_t i = call.next_item->fetch_add(1, std::memory_order_relaxed);
    if (i >= items.size()) return;
    ItemRun(call, items[i], area).Run();
  }
}

int64_t Target() { return HWY_TARGET; }

}  // namespace HWY_NAMESPACE
}  // namespace pith
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "base/check.h"

namespace pith {

HWY_EXPORT(RunItems);
HWY_EXPORT(Target);

void AttendPartial(const AttendCall& call, int thread, int num_threads) {
  PITH_CHECK(thread >= 0 && thread < num_threads && num_threads <= call.plan->num_threads());
  HWY_DYNAMIC_DISPATCH(RunItems)(call, thread);
}

int64_t AttendTarget() { return HWY_DYNAMIC_DISPATCH(Target)(); }

}  // namespace pith
#endif  // HWY_ONCE
