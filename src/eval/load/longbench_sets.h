// LongBench's data sets: how each is asked and measured.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace pith {

struct LongBenchSet {
  std::string_view name, metric;
  uint32_t max_new_tokens = 0;
  std::string_view prompt;     // in our own wording
  bool few_shot = false;       // examples in the context: no chat template
  bool first_line = false;     // only the answer's first line counts
  bool in_e = false;           // LongBench-E has it
  std::string_view stop = {};  // generation ends before it
};

std::span<const LongBenchSet> LongBenchSets();

}  // namespace pith
