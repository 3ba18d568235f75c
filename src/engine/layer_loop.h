// The layer-major loop: all rows of a text go through a layer, chunk by chunk, before any goes
// through the next, so that the recipe's admit stage can say which of them go on.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "base/status.h"
#include "engine/engine.h"
#include "engine/step.h"
#include "model/weights.h"

namespace pith {

class LayerLoop {
 public:
  // Both outlive the loop. A chunk has as many rows as it has in the loop that runs all layers for
  // a chunk, so that products give the same bits.
  LayerLoop(const Model& model, StepRunner& runner, size_t chunk, Sequence& sequence);

  // Reads `tokens`, behind those that the sequence has; the logits of the last one, valid until the
  // runner's next step. If it fails, the sequence has the tokens that it had, and those of them
  // that had begun to go on wait where they got to. `progress` is told of shares of all tokens.
  Result<std::span<const float>> Run(std::span<const int32_t> tokens, const FeedProgress& progress);

 private:
  class Watch;

  Result<std::span<const float>> RunLayer();
  Result<std::span<const float>> RunChunk(size_t first_row, size_t count);
  void TakeWaiting();
  void LookAt(std::span<const int32_t> there);
  std::vector<float> Judge(const QueryRows& queries, bool wants_scores);
  void Choose(std::span<const float> scores);
  Status Forget(std::span<const int32_t> positions);
  void GoBack();

  const Model& model_;
  StepRunner& runner_;
  size_t chunk_;
  Sequence& sequence_;
  Admission& state_;
  const Part& part_;
  Parameters parameters_;
  uint32_t num_layers_;
  size_t width_;

  std::span<const int32_t> tokens_;  // that are read
  AdmitJudges judges_;
  uint32_t layer_ = 0;           // that rows go through
  size_t num_done_ = 0;          // of them, the first ones that have
  TokenRows rows_;               // on their way
  std::vector<int32_t> active_;  // tokens that the layer looks at; only where they may come back
  std::vector<float> queries_;   // [judges][query head][head size] of the layer
  std::vector<EntryRun> runs_;   // what the layer looks at, if that is not all that it has
};

}  // namespace pith
