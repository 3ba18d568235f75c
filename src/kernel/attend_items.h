// Work items of attention by what they read; `area` is the thread's.
#pragma once

#include "kernel/attend.h"

namespace pith {

void RunGatherItem(const AttendCall& call, const AttendPlan::Item& item, float* area);

}  // namespace pith
