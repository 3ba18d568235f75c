// Perplexity and divergence: a text scored token by token after a compressed context.
#pragma once

#include <atomic>
#include <cstdint>
#include <span>
#include <vector>

#include "base/status.h"
#include "engine/engine.h"
#include "eval/report/record.h"

namespace pith {

// The next-token log-probabilities (natural logarithms) of the full cache at every scored token, as
// f32: [tokens][vocabulary].
struct ReferenceDistributions {
  uint32_t vocabulary = 0;
  std::vector<float> log_probabilities;
};

// Log-softmax in double precision. out: [logits.size()].
void LogSoftmax(std::span<const float> logits, std::span<float> out);

// Adds up what one scored token says; the order of tokens is kept.
class LikelihoodSums {
 public:
  // `log_probabilities` [vocabulary] of the next token, which is `token`; `reference` likewise of
  // the full cache, or empty.
  void Add(std::span<const float> log_probabilities, int32_t token,
           std::span<const float> reference);
  RecordedLikelihood Finish() const;

 private:
  double nll_sum_ = 0, nll_sum_squares_ = 0;
  uint64_t tokens_ = 0, same_top_ = 0;
  std::vector<double> divergence_;
  double change_sum_ = 0, change_sum_squares_ = 0;
};

// Feeds `scored` one token at a time, as in decoding, and scores each; the first is scored by
// `logits`, those of the context's last token. With `reference` empty of numbers, it is filled;
// else the divergence from it is measured. `reference` may be null. Fails with "interrupted" when
// *interrupted becomes true.
Result<RecordedLikelihood> ScoreText(Engine& engine, Sequence& sequence,
                                     std::span<const float> logits, std::span<const int32_t> scored,
                                     ReferenceDistributions* reference,
                                     const std::atomic<bool>* interrupted = nullptr);

}  // namespace pith
