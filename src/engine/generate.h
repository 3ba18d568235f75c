// Generation: sample, show, stop.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
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
  bool ignore_eos = false;  // end-of-generation tokens are never drawn
};

struct Generation {
  std::string text;
  std::vector<int32_t> tokens;  // generated, the end-of-generation token left out
  StopReason stop = StopReason::kLength;
  uint32_t steps =
      0;  // decode steps taken; the first token needs none, it comes from the prompt's logits
  double decode_ms = 0;
  // The last token is drawn, accepted and shown, but nothing follows it, so it is not fed. Whoever
  // goes on with the sequence feeds it first; whoever saves it too.
  std::optional<int32_t> pending;
  // Those of the last token that was fed; valid until the engine's next call.
  std::span<const float> logits;
};

// Feeds a prompt, compresses the cache as its recipe says, and lets the sampler see the prompt, as
// its repetition penalty wants. Results and errors are those of Engine::Feed and Engine::Compress.
Result<std::span<const float>> FeedPrompt(Engine& engine, Sequence& sequence, Sampler& sampler,
                                          std::span<const int32_t> prompt,
                                          const FeedProgress& progress = {});

// Generates from `logits`, those of the last token fed to `sequence`. `on_text` gets text as it
// comes. Stops cleanly, keeping what there is, when *interrupted becomes true; a context that fills
// up ends with kLength, never an error.
Result<Generation> Generate(Engine& engine, Sequence& sequence, Sampler& sampler,
                            std::span<const float> logits, const GenerateOptions& options,
                            const std::function<void(std::string_view)>& on_text = {},
                            const std::atomic<bool>* interrupted = nullptr);

// Feeds what `generation` left pending; the logits of the sequence's last token then.
Result<std::span<const float>> FeedPending(Engine& engine, Sequence& sequence,
                                           const Generation& generation);

}  // namespace pith
