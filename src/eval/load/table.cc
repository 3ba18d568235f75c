#include <algorithm>
#include <array>

#include "eval/load/load.h"
#include "eval/load/loaders.h"

namespace pith {
namespace {

constexpr std::array kLoaders = std::to_array<LoaderInfo>({
    {"ruler-jsonl",
     "RULER's files as its generators write them: NAME.jsonl or NAME/validation.jsonl", LoadRuler},
    {"longbench", "LongBench: NAME.jsonl, 21 data sets", LoadLongBench},
    {"longbench-e", "LongBench-E: NAME_e.jsonl, 13 data sets in three classes of length",
     LoadLongBenchE},
    {"longbench-v2", "LongBench v2: one file of multiple-choice questions", LoadLongBenchV2},
    {"infinitebench", "InfiniteBench: NAME.jsonl, 12 data sets", LoadInfiniteBench},
    {"gsm8k", "GSM8K: any NAME.jsonl with question and answer, without worked examples", LoadGsm8k},
    {"items", "items as --dump writes them or in the same fields (docs/evaluation.md)",
     LoadPlainItems},
});

}  // namespace

std::span<const LoaderInfo> Loaders() { return kLoaders; }

const LoaderInfo* FindLoader(std::string_view name) {
  const auto found = std::find_if(kLoaders.begin(), kLoaders.end(),
                                  [name](const LoaderInfo& loader) { return loader.name == name; });
  return found == kLoaders.end() ? nullptr : &*found;
}

}  // namespace pith
