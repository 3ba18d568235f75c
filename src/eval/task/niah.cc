#include "eval/task/task.h"

namespace pith {

std::span<const TaskInfo> NiahTasks() { return {}; }

}  // namespace pith
