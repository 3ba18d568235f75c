// What `run` and `chat` tell about a generation: the object of --json and the summary on standard
// error.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "cli/options.h"
#include "eval/read_summary.h"

namespace pith {

struct RunReport {
  uint64_t prompt_tokens = 0;  // before the generated ones, those of a loaded session included
  uint64_t fed_tokens = 0;     // of them, read in this run
  double load_ms = 0, prefill_ms = 0;
  Generation generation;
  CacheUsage cache;
  uint64_t entries_full = 0;              // what a full cache holds for the same tokens
  uint64_t bytes_full_f16 = 0;            // and its size at 16 bits
  std::vector<uint64_t> tokens_computed;  // [layer]
  bool context_full = false;
  std::optional<ReadSummary> reads;  // none: everything
};

// Fills in what the cache says now.
void DescribeCache(const Engine& engine, const Sequence& sequence, RunReport* report);

nlohmann::ordered_json ReportJson(const RunReport& report, const PlannedRun& kv);
void SaySummary(const RunReport& report);

// One line of JSON, whatever bytes its strings hold.
std::string JsonLine(const nlohmann::ordered_json& json);

}  // namespace pith
