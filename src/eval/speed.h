// Speed of our engine, alone or against libllama: same file, same threads, same tokens, same
// process, taking turns. docs/performance.md describes the method.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "cache/cache.h"
#include "eval/contestant.h"

namespace pith {

// Recipe and budget as people read them.
std::string RunText(const PlannedRun& kv);

// Refuses what cannot be measured chunk by chunk, or, of recipes that say which tokens go on to the
// next layer, otherwise than as whole prompts.
Status CheckCanMeasure(const PlannedRun& kv, bool prompts_alone);

// Whether our full cache takes turns with the recipe.
bool ComparesWithFull(const Plan& plan);

// How the entries lie to which attention is concentrated while decoding (hot_keys.h).
enum class HotLayout : uint8_t { kNone, kRuns, kSingle };

struct SpeedOptions {
  std::string model_path;
  std::string profile_path;         // empty: the one beside the model, if there is one
  std::vector<uint32_t> contexts;   // tokens; empty: those of 128, 1024, 4096, 16384 that fit what
                                    // the model was trained for
  std::vector<int> threads;         // empty: all cores
  std::vector<PlannedRun> recipes;  // empty: `full`
  bool versus_llama = false;
  bool prefill = true;
  bool decode = true;
  bool prefill_full = false;  // really prefill beyond kLongestFullPrefill too
  uint32_t decode_tokens = 32;
  uint32_t repeats = 5;  // after one that is not counted
  uint32_t chunk = 512;  // prompt tokens per step, in both engines
  // Unset: kRuns for recipes that keep every entry and choose what they read, kNone for others.
  std::optional<HotLayout> hot;
  // Decoding goes on behind the entries of this text, repeated (text_entries.h); its last tokens
  // are decoded. The recipes keep every entry. Empty: synthetic entries.
  std::string text_path;
};

// The attention of the decoded tokens, if it was concentrated.
struct HotAttention {
  uint32_t run = 0;                      // hot entries that lie together
  double share = 0;                      // of the entries, that are hot
  double mean_mass = 0, least_mass = 0;  // HotKeys
};

// A prompt longer than this is not fed as a whole unless asked for: its time is put together from
// chunk times at a few depths of a synthetic cache.
inline constexpr uint32_t kLongestFullPrefill = 4096;

struct Spread {
  double min = 0, median = 0, max = 0;
};
Spread SpreadOf(std::vector<double> samples);  // not empty

struct Timing {
  std::string contestant;
  Spread ms;                     // prefill: of the whole prompt; decode: per token
  Spread cpu_ms;                 // the same in processor time, of all threads
  double tokens_per_second = 0;  // from the median
};

// One measured quantity; ours comes first.
struct Comparison {
  std::vector<Timing> timings;
  std::vector<uint32_t>
      depths;  // prefill from chunk times at these depths; empty: measured as a whole

  const Timing* Full() const;           // our full cache; nullptr if the recipe is that already
  const Timing* BestPeer() const;       // nullptr without libllama
  std::optional<double> Ratio() const;  // our tokens per second over the best peer's
  std::optional<double> RatioToFull() const;
  std::optional<double> CpuRatioToFull() const;  // by processor time
};

// What a prompt took that was read layer by layer.
struct PromptWork {
  std::vector<uint64_t> computed;  // [layer], tokens
  uint64_t full_peak = 0;          // bytes of our full cache, as SpeedPoint::cache.held_peak
  uint64_t hidden_bytes = 0;       // of the hidden states between layers, beside the cache
};

struct SpeedPoint {
  uint32_t context = 0;
  std::optional<Comparison> prefill, decode;
  std::optional<Spread> compress_ms;    // at the end of the prompt, if the recipe drops entries
  CacheUsage cache;                     // of ours, as a prompt of `context` tokens leaves it
  uint64_t cache_full_f16 = 0;          // the full-precision reference, in bytes
  std::optional<PromptWork> work;       // if not all tokens of the prompt go through all layers
  std::optional<HotAttention> hot;      // while decoding
  std::optional<uint32_t> text_tokens;  // while decoding: of the text that was repeated
  std::optional<ReadSummary> reads;     // while decoding, if the recipe chooses what it reads

  std::optional<double> CompressShare() const;  // of the time that reading the prompt takes
};

struct SpeedRun {
  int threads = 0;
  PlannedRun recipe;
  std::string llama_key_type, llama_value_type;  // empty without libllama
  double load_ms = 0;
  double llama_load_ms = 0;
  std::vector<SpeedPoint> points;
};

struct SpeedReport {
  SpeedOptions options;  // defaults filled in
  std::string architecture, model_name;
  uint64_t model_hash = 0, model_parameters = 0, model_bytes = 0;
  std::vector<SpeedRun> runs;
};

// `progress` gets a line for people now and then.
Result<SpeedReport> MeasureSpeed(SpeedOptions options,
                                 const std::function<void(std::string_view)>& progress = {});

// Pseudo-random token ids, the same for the same arguments.
std::vector<int32_t> BenchTokens(uint32_t count, uint32_t vocabulary);

// The pieces, for tests.
struct Cost {
  double ms = 0, cpu_ms = 0;  // by the clock; of the processor, over all threads of the process
};
// [contestant][repeat], the first repeat left out.
using Samples = std::vector<std::vector<Cost>>;
// Per token, over `tokens` steps of one token from `context` tokens on.
Result<Samples> MeasureDecode(std::span<Contestant* const> contestants, uint32_t context,
                              std::span<const int32_t> tokens, uint32_t repeats);
// Of what happens at the end of a prompt, [repeat].
Result<std::vector<double>> MeasureCompression(Contestant& contestant, uint32_t context,
                                               uint32_t repeats);
// Whole prompts, chunk by chunk; as a whole if a contestant wants that.
Result<Samples> MeasurePrefill(std::span<Contestant* const> contestants,
                               std::span<const int32_t> tokens, uint32_t chunk, uint32_t repeats);
// Prompts put together from chunk times at `depths` (ascending; the first is 0, the last that of
// the last chunk).
Result<Samples> MeasurePrefillAtDepths(std::span<Contestant* const> contestants,
                                       std::span<const int32_t> tokens, uint32_t chunk,
                                       std::span<const uint32_t> depths, uint32_t repeats);
// The sum of chunk times of a prompt of `length`, those between `depths` by linear interpolation.
double SumOfChunks(std::span<const uint32_t> depths, std::span<const double> ms, uint32_t length,
                   uint32_t chunk);

}  // namespace pith
