#include "engine/generate.h"

#include <chrono>
#include <limits>

#include "base/check.h"
#include "text/stream.h"

namespace pith {
namespace {

using Clock = std::chrono::steady_clock;

std::vector<int32_t> EndOfGenerationTokens(const Tokenizer& tokenizer) {
  std::vector<int32_t> tokens;
  for (uint32_t id = 0; id < tokenizer.vocabulary_size(); ++id) {
    const auto token = static_cast<int32_t>(id);
    if (tokenizer.IsEndOfGeneration(token)) tokens.push_back(token);
  }
  return tokens;
}

// Draws tokens; with `barred` tokens their logits count as minus infinity.
class Drawer {
 public:
  Drawer(Sampler& sampler, std::vector<int32_t> barred)
      : sampler_(sampler), barred_(std::move(barred)) {}

  int32_t Draw(std::span<const float> logits) {
    if (barred_.empty()) return sampler_.Sample(logits);
    masked_.assign(logits.begin(), logits.end());
    for (const int32_t token : barred_) {
      masked_[static_cast<size_t>(token)] = -std::numeric_limits<float>::infinity();
    }
    return sampler_.Sample(masked_);
  }

 private:
  Sampler& sampler_;
  std::vector<int32_t> barred_;
  std::vector<float> masked_;
};

}  // namespace

std::string_view StopReasonName(StopReason reason) {
  switch (reason) {
    case StopReason::kEos:
      return "eos";
    case StopReason::kLength:
      return "length";
    case StopReason::kString:
      return "string";
    case StopReason::kInterrupt:
      return "interrupt";
  }
  CheckFailed("a stop reason", __FILE__, __LINE__);
}

Result<std::span<const float>> FeedPrompt(Engine& engine, Sequence& sequence, Sampler& sampler,
                                          std::span<const int32_t> prompt,
                                          const FeedProgress& progress) {
  PITH_ASSIGN(const std::span<const float> logits, engine.Feed(sequence, prompt, progress));
  // What is read for scores is not counted, but may be interrupted.
  PITH_TRY(engine.Compress(sequence, nullptr, [&](size_t, size_t) {
    return !progress || progress(prompt.size(), prompt.size());
  }));
  for (const int32_t token : prompt) sampler.Accept(token);
  return logits;
}

Result<Generation> Generate(Engine& engine, Sequence& sequence, Sampler& sampler,
                            std::span<const float> logits, const GenerateOptions& options,
                            const std::function<void(std::string_view)>& on_text,
                            const std::atomic<bool>* interrupted) {
  const Tokenizer& tokenizer = engine.tokenizer();
  PITH_CHECK(logits.size() >= tokenizer.vocabulary_size());
  const uint64_t context = engine.MaxTokens(sequence);
  const auto begin = Clock::now();

  Generation result;
  result.logits = logits;
  TextStream stream(options.stop_strings);
  Drawer drawer(sampler,
                options.ignore_eos ? EndOfGenerationTokens(tokenizer) : std::vector<int32_t>());
  const auto show = [&](const std::string& text) {
    result.text += text;
    if (on_text && !text.empty()) on_text(text);
  };

  for (;;) {
    const size_t length = sequence.tokens.size() + (result.pending ? 1 : 0);
    if (result.tokens.size() >= options.max_tokens || length >= context) {
      result.stop = StopReason::kLength;
      break;
    }
    if (interrupted != nullptr && *interrupted) {
      result.stop = StopReason::kInterrupt;
      break;
    }
    if (result.pending) {
      PITH_ASSIGN(result.logits, FeedPending(engine, sequence, result));
      result.pending.reset();
      ++result.steps;
    }
    const int32_t token = drawer.Draw(result.logits);
    if (!options.ignore_eos && tokenizer.IsEndOfGeneration(token)) {
      result.stop = StopReason::kEos;
      break;
    }
    sampler.Accept(token);
    result.tokens.push_back(token);
    result.pending = token;
    show(stream.Add(tokenizer.Piece(token)));
    if (stream.stopped()) {
      result.stop = StopReason::kString;
      break;
    }
  }
  if (!stream.stopped()) show(stream.Finish());
  result.decode_ms = std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
  return result;
}

Result<std::span<const float>> FeedPending(Engine& engine, Sequence& sequence,
                                           const Generation& generation) {
  if (!generation.pending) return generation.logits;
  Sequence* const sequences[] = {&sequence};
  return engine.Step(sequences, {&*generation.pending, 1});
}

}  // namespace pith
