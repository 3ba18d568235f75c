// Work items of attention that read runs, once per SIMD target. Apart from those that read ranges
// (attend.cc), because either takes a compiler minutes.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernel/attend_runs.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernel/attend_items.h"
#include "kernel/gather-inl.h"

HWY_BEFORE_NAMESPACE();
namespace pith {
namespace HWY_NAMESPACE {

void GatherRuns(const AttendCall& call, const AttendPlan::Item& item, float* area) {
  GatherItem(call, item, area).Run();
}

}  // namespace HWY_NAMESPACE
}  // namespace pith
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pith {

HWY_EXPORT(GatherRuns);

void RunGatherItem(const AttendCall& call, const AttendPlan::Item& item, float* area) {
  HWY_DYNAMIC_DISPATCH(GatherRuns)(call, item, area);
}

}  // namespace pith
#endif  // HWY_ONCE
