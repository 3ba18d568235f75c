// HeadKV's head scores (arXiv 2410.19258): how much each query head looks at the answer to a
// question while the model gives it.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "calibrate/needle.h"
#include "engine/engine.h"
#include "engine/observer.h"
#include "engine/profile.h"

namespace pith {

// With N tokens of the answer, a step adds to a head's score
//   kCopy (HeadKV-R, Eq. 1): 1/N if its highest probability is on a token of the answer that is
//     also the token generated;
//   kMass (HeadKV-R2, Eq. 2): 1/N of the probabilities among its N highest that are on the answer.
// Samples count if ROUGE-1's recall (R) or the token F1 (R2) is above one half.
enum class RetrievalRule { kCopy, kMass };

// The entry with the highest probability; of equal ones the first.
size_t HighestEntry(std::span<const float> probabilities);
// The sum of those of the (end - begin) highest entries (of equal ones the first) that lie in
// [begin, end).
double MassOnTarget(std::span<const float> probabilities, size_t begin, size_t end);
// Whether a response is right enough to count.
bool IsAnswered(RetrievalRule rule, std::string_view response, std::string_view answer);

// Notes of the last row that each head has given.
class TargetRows : public StepObserver {
 public:
  TargetRows(const ModelShape& shape, size_t begin, size_t end);
  void Observe(uint32_t layer, const SequenceCache& cache, const QueryRows& queries,
               const QueryRows& before_rope, int thread, int num_threads) override;

  struct Row {
    size_t highest = 0;  // HighestEntry
    double mass = 0;     // MassOnTarget
  };
  std::span<const Row> rows() const { return rows_; }  // [layer][query_head]

 private:
  uint32_t num_query_heads_;
  size_t begin_, end_;
  std::vector<Row> rows_;
};

// What one sample says of the heads.
struct SampleScores {
  std::vector<double> scores;  // [layer][query_head]
  std::string response;
};
// Reads the prompt, then generates greedily until a line end, an end token or max_steps; the rows
// of the last prompt token and of what is generated count.
Result<SampleScores> ScoreSample(Engine& engine, const NeedleSample& sample, RetrievalRule rule,
                                 const FeedProgress& progress = {});

struct RetrievalScores {
  std::vector<float> scores;  // [layer][query_head] with the sum 1; empty if `answered` is 0
  size_t answered = 0;        // samples that count
};
// Input error if no head has looked at an answer.
Result<RetrievalScores> ScoreHeads(Engine& engine, std::span<const NeedleSample> samples,
                                   RetrievalRule rule, const FeedProgress& progress = {});

// The section "retrieval" of the model's profile. Input error if the model answers fewer than half
// of the questions.
Result<Profile> CalibrateRetrieval(Engine& engine, const NeedleRequest& request, RetrievalRule rule,
                                   const FeedProgress& progress = {});

}  // namespace pith
