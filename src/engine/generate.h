// Generation: sample, show, stop.
#pragma once

#include <atomic>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/engine.h"
#include "text/sampler.h"

namespace pith {

enum class StopReason { kEos, kLength, kString, kInterrupt };
std::string_view StopReasonName(StopReason reason);  // "eos", "length", "string", "interrupt"

struct GenerateOptions {
  uint32_t max_tokens = 128;
  std::vector<std::string> stop_strings;
  bool ignore_eos = false;
};

struct Generation {
  std::string text;
  std::vector<int32_t> tokens;  // generated, the end-of-generation token left out
  StopReason stop = StopReason::kLength;
  double decode_ms = 0;
};

// Feeds `prompt` (progress as in Engine::Feed; may be empty if `sequence` was restored together with `pending`) and then
// generates. `on_text` gets text as it comes. Stops cleanly, keeping what there is, when *interrupted becomes true.
// The prompt plus max_tokens must fit the context; generation that reaches its end stops with kLength.
Result<Generation> Generate(Engine& engine, Sequence& sequence, Sampler& sampler, std::span<const float> logits,
                            const GenerateOptions& options, const std::function<void(std::string_view)>& on_text = {},
                            const std::atomic<bool>* interrupted = nullptr);

// A sequence with its sampler in a file, and back (docs/save_format.md). `last_logits` are those that the next token is
// sampled from, so that a loaded sequence continues bit for bit.
struct Snapshot {
  Sequence sequence;
  SamplerState sampler;
  std::vector<float> logits;
};
Status SaveSnapshot(const Engine& engine, const Sequence& sequence, const SamplerState& sampler,
                    std::span<const float> logits, const std::string& path);
Result<Snapshot> LoadSnapshot(Engine& engine, const std::string& path);

}  // namespace pith
