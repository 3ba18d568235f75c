// The loading functions behind the rows of table.cc, and what several of them share.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "eval/load/load.h"

namespace pith {

Result<std::vector<LoadedTask>> LoadRuler(const LoadRequest& request);
Result<std::vector<LoadedTask>> LoadLongBench(const LoadRequest& request);
Result<std::vector<LoadedTask>> LoadLongBenchE(const LoadRequest& request);
Result<std::vector<LoadedTask>> LoadLongBenchV2(const LoadRequest& request);
Result<std::vector<LoadedTask>> LoadInfiniteBench(const LoadRequest& request);
Result<std::vector<LoadedTask>> LoadGsm8k(const LoadRequest& request);
Result<std::vector<LoadedTask>> LoadPlainItems(const LoadRequest& request);

// How a published data set is measured, for items that do not say it themselves.
struct Measure {
  std::string_view metric;
  uint32_t max_new_tokens = 0;
};
std::optional<Measure> RulerMeasure(std::string_view name);
std::optional<Measure> LongBenchMeasure(std::string_view name);
std::optional<Measure> InfiniteBenchMeasure(std::string_view name);

}  // namespace pith
