// InfiniteBench's generated tasks and their kin: what infinite.cc's rows are made of.
#pragma once

#include <string_view>
#include <vector>

#include "eval/task/noise.h"
#include "eval/task/task.h"

namespace pith {

// infinite_noise.cc: "infinite/passkey", "infinite/number_string", "infinite/landmark".
Result<std::vector<Item>> GeneratePasskey(const TaskInfo& task, const TaskRequest& request);
Result<std::vector<Item>> GenerateNumberString(const TaskInfo& task, const TaskRequest& request);
Result<std::vector<Item>> GenerateLandmark(const TaskInfo& task, const TaskRequest& request);

// infinite_kv.cc
Result<std::vector<Item>> GenerateKvRetrieval(const TaskInfo& task, const TaskRequest& request);
Result<std::vector<Item>> GenerateLostInMiddle(const TaskInfo& task, const TaskRequest& request);

// infinite_math.cc
Result<std::vector<Item>> GenerateMathFind(const TaskInfo& task, const TaskRequest& request);
Result<std::vector<Item>> GenerateMathCalc(const TaskInfo& task, const TaskRequest& request);
Result<std::vector<Item>> GenerateCodeRun(const TaskInfo& task, const TaskRequest& request);

}  // namespace pith
