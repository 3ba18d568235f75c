#include "eval/task/task.h"

namespace pith {

std::span<const TaskInfo> RulerTasks() { return {}; }

}  // namespace pith
