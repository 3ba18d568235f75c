#include "eval/task/infinite.h"

namespace pith {

std::span<const TaskInfo> InfiniteTasks() {
  static const std::vector<TaskInfo> tasks = {
      {"infinite/passkey",
       "five digits in repeated lines",
       6,
       {"first_digits"},
       GeneratePasskey,
       {"--depths"}},
      {"infinite/number_string",
       "ten digits with repeats in repeated lines",
       12,
       {"first_digits"},
       GenerateNumberString,
       {"--depths"}},
      {"infinite/kv_retrieval",
       "the value of a random key in one line of JSON",
       50,
       {"kv_word"},
       GenerateKvRetrieval,
       {"--depths"}},
      {"infinite/lost_in_middle",
       "the same in printed JSON, at five depths",
       50,
       {"value_substring"},
       GenerateLostInMiddle,
       {"--depths"}},
      {"infinite/math_find",
       "the largest, second smallest ... median of a list",
       3,
       {"first_integer"},
       GenerateMathFind},
      {"infinite/math_calc",
       "every partial result of a long sum (generates as many tokens as they "
       "take)",
       0,
       {"math_calc"},
       GenerateMathCalc},
      {"infinite/code_run",
       "what one of many chained functions returns",
       5,
       {"last_integer"},
       GenerateCodeRun},
      {"infinite/landmark",
       "a number in repeated text cut by characters",
       10,
       {"first_integer"},
       GenerateLandmark,
       {"--depths"}},
  };
  return tasks;
}

}  // namespace pith
