// RazorAttention's search for the heads that look back (arXiv 2407.15891): random tokens are read
// four times over, and a head is judged by what it gives to where they stood before.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/status.h"
#include "engine/engine.h"
#include "engine/observer.h"
#include "engine/profile.h"

namespace pith {

// Adds up, for each query head, what the rows behind the first copy give to earlier copies of
// their own token (echo) and to what followed those (induction). Sees single rows of probabilities,
// in any order of heads, those of different heads from any threads.
class RepetitionScores : public StepObserver {
 public:
  // The text is `first` tokens, then `length` others again and again.
  RepetitionScores(const ModelShape& shape, size_t first, size_t length);

  void Observe(uint32_t layer, const SequenceCache& cache, const QueryRows& queries,
               const QueryRows& before_rope, int thread, int num_threads) override;
  // The row of the text's token number probabilities.size() - 1.
  void See(size_t head, std::span<const float> probabilities);

  // [layer][query_head], 0 to 1: means over the rows.
  std::vector<float> Echo() const { return Means(&Sums::echo); }
  std::vector<float> Induction() const { return Means(&Sums::induction); }

 private:
  struct Sums {
    double echo = 0, induction = 0;
    uint64_t rows = 0;
  };
  std::vector<float> Means(double Sums::* sum) const;

  uint32_t num_query_heads_;
  size_t first_, length_;
  std::vector<Sums> sums_;  // [layer][query_head]
};

// [BOS] and different ordinary tokens in a random order, repeated: 2,500 of them, or as many as a
// context of `context` tokens or the vocabulary has room for.
struct RepeatedTokens {
  std::vector<int32_t> tokens;
  size_t first = 0;   // 1 if there is a BOS
  size_t length = 0;  // of a copy
};
Result<RepeatedTokens> MakeRepeatedTokens(const Tokenizer& tokenizer, uint64_t seed,
                                          uint32_t context);

// The section "echo" of the model's profile, from texts of at most `context` tokens.
Result<Profile> CalibrateEcho(Engine& engine, uint64_t seed, uint32_t context,
                              const FeedProgress& progress = {});

}  // namespace pith
