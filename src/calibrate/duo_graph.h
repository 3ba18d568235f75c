// DuoAttention's two streams over one text (arXiv 2410.10819, section 3.2) and the gradient of the
// gates, as ggml graphs out of the model's own segments. What a layer computes is thrown away and
// computed again on the way back, so that the memory is that of one layer and a few rows of each.
#pragma once

#include <ggml-backend.h>
#include <ggml-cpp.h>
#include <ggml.h>

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/status.h"
#include "calibrate/duo_layers.h"
#include "model/weights.h"

namespace pith {

// A training text.
struct DuoText {
  std::vector<int32_t> tokens;
  std::vector<int32_t> answers;  // tokens that count: they must be predicted as without gates
};

struct DuoLoss {
  // Between the final normalised hidden states of both streams, at the rows that predict the
  // answers: the mean squared difference.
  double loss = 0;
  std::vector<float> gradient;  // of the loss: [layer][kv_head]
  std::vector<float> hidden;    // of the full stream: [answer][width]
};

// Input error for a model whose graph ggml cannot differentiate: experts, fused matrices.
Status CheckCanLearnGates(const Model& model);

// The full stream is the model itself. In the mixed stream each KV head gives, for the query heads
// of its group, gate x (what attention gave in the full stream) + (1 - gate) x (attention to the
// window, in the mixed stream); everything else is the model's. No gradient goes into the full
// stream.
class DuoStreams {
 public:
  // The model outlives it, must be one that CheckCanLearnGates accepts, and must be loaded without
  // repacking.
  DuoStreams(const Model& model, DuoWindow window, int num_threads);

  // Takes the memory for texts of up to so many tokens and answers; kFailure if there is none.
  Status Reserve(size_t tokens, size_t answers);

  // The same result for any number of threads. `gates` [layer][kv_head], 0 to 1. kFailure if there
  // is no memory. Answers are neither the first token nor beyond the last.
  Result<DuoLoss> Run(const DuoText& text, std::span<const float> gates);

  uint64_t memory_bytes() const;  // of the graphs; weights and inputs not counted

 private:
  struct Inputs;
  struct Forward;
  struct Backward;
  // For `rows` rows, a multiple of the block, of which `answers` are compared.
  Result<std::unique_ptr<Inputs>> MakeInputs(size_t rows, size_t answers) const;
  void SetInputs(const Inputs& inputs, const DuoText& text) const;
  // Both streams through all layers, and all that the way back needs of them.
  Result<std::unique_ptr<Forward>> BuildForward(const Inputs& inputs) const;
  // One layer of the mixed stream again, and its gradients.
  Result<std::unique_ptr<Backward>> BuildBackward(const Inputs& inputs, const Forward& forward,
                                                  uint32_t layer) const;
  Status Compute(ggml_cgraph* graph, size_t rows) const;

  const Model& model_;
  DuoWindow window_;
  ggml_backend_ptr backend_;
  ggml_gallocr_ptr forward_memory_, backward_memory_;
  ggml_context_ptr gate_context_;
  ggml_backend_buffer_ptr gate_buffer_;
  std::vector<ggml_tensor*> gates_;  // per layer: [1, KV heads]
};

}  // namespace pith
