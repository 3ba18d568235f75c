// A speed report as the JSON of `pith bench --json` (docs/performance.md).
#pragma once

#include <nlohmann/json.hpp>

#include "eval/memory_peak.h"
#include "eval/speed.h"

namespace pith {

// Peaks of the engines that were measured at one context.
struct MemoryComparison {
  uint32_t context = 0;
  int threads = 0;
  std::string recipe;
  std::vector<std::pair<MemoryEngine, MemoryPeak>> peaks;  // ours first

  const std::pair<MemoryEngine, MemoryPeak>* BestPeer()
      const;                                  // least peak; nullptr without libllama
  std::optional<double> Ratio() const;        // our peak over the best peer's
  std::optional<double> RatioToFull() const;  // the same over that of our full cache
};

// What ran the measurement: processor, libraries, load of the machine.
struct Surroundings {
  std::string pith_version;
  std::string cpu;  // model name, or "unknown"
  unsigned cores = 0;
  std::string ggml_version, ggml_features;
  double load_average = 0;  // of the last minute, at the beginning
  std::string time_utc;     // ISO 8601
};
Surroundings DescribeSurroundings(std::string_view pith_version);

nlohmann::ordered_json ToJson(const SpeedReport& report, const Surroundings& surroundings,
                              const std::vector<MemoryComparison>& memory);

}  // namespace pith
