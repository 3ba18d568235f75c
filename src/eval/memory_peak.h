// How much memory an engine needs at most to load a model, hold a context, take in a chunk and
// decode. Measured in a process of its own, because a peak belongs to a process.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "eval/speed.h"

namespace pith {

enum class MemoryEngine { kPith, kPithFull, kLlamaFlash, kLlamaPlain };
inline constexpr MemoryEngine kMemoryEngines[] = {MemoryEngine::kPith, MemoryEngine::kPithFull,
                                                  MemoryEngine::kLlamaFlash,
                                                  MemoryEngine::kLlamaPlain};
// "pith", "pith full", "llama.cpp fa=on", "llama.cpp fa=off"
std::string_view MemoryEngineName(MemoryEngine engine);

// Bytes, from the system's figures.
struct MemoryPeak {
  uint64_t peak = 0;       // VmHWM: the most that was resident at any time
  uint64_t anonymous = 0;  // RssAnon at the end: own memory
  uint64_t file = 0;       // RssFile at the end: mapped files, above all weights
};

struct MemoryTask {
  MemoryEngine engine = MemoryEngine::kPith;
  std::string model_path, profile_path;
  PlannedRun recipe;
  uint32_t context = 0;
  int threads = 1;
  uint32_t chunk = 512;
};

// In this process: load, one chunk, then a synthetic context with one chunk at its end, its
// compression if the recipe has one, then a few decoded tokens. What the filling itself needs is
// left out of the peak.
Result<MemoryPeak> MeasureMemoryHere(const MemoryTask& task);

// Runs this very program with `arguments`, which make it call MeasureMemoryHere and print the peak
// as ToLine gives it.
Result<MemoryPeak> MeasureMemoryInChild(const std::vector<std::string>& arguments);
std::string ToLine(const MemoryPeak& peak);

}  // namespace pith
