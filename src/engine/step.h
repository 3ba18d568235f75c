// One step through the model: rows of one or several sequences, as one ggml graph in which writing
// to the cache and attention are our own operations, run by ggml's threads.
#pragma once

#include <ggml-backend.h>
#include <ggml-cpp.h>
#include <ggml-cpu.h>
#include <ggml.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/status.h"
#include "cache/cache.h"
#include "engine/compensation.h"
#include "engine/observer.h"
#include "kernel/attend.h"
#include "model/segments.h"
#include "model/weights.h"

namespace pith {

// The rows that one sequence brings to a step. Its cache has been extended by num_rows entries
// already.
struct StepSequence {
  SequenceCache* cache = nullptr;
  uint32_t first_row = 0;
  uint32_t num_rows = 0;
  StepObserver* observer = nullptr;            // null if nobody looks
  const Compensation* compensation = nullptr;  // null if nothing was ever dropped
};

struct StepInput {
  std::span<const int32_t> tokens;     // [rows]
  std::span<const int32_t> positions;  // [rows]
  std::span<const StepSequence> sequences;
  std::span<const int32_t> outputs;  // ascending rows whose logits are wanted; may be empty
};

// By rope, channel pair i of a query turns by (cosine[i], sine[i]), on average over some positions.
struct MeanRotation {
  std::vector<float> cosine, sine;  // [rope dims / 2]
};

class StepRunner {
 public:
  StepRunner(const Model& model, int num_threads);
  ~StepRunner();

  // Builds the graph for `rows` rows once and sets the memory for it aside, so that later steps
  // only shrink.
  Status Reserve(uint32_t rows);

  // Logits [outputs][vocabulary], valid until the next call that wants some.
  Result<std::span<const float>> Run(const StepInput& input);

  // Calls work(thread, num_threads) on all threads, and waits for them.
  void Parallel(const std::function<void(int thread, int num_threads)>& work);

  // Over the positions [first, first + count).
  MeanRotation RotationOf(int32_t first, uint32_t count);

  // While paused, the pool's threads sleep and another engine can be measured undisturbed.
  void Pause();

 private:
  struct LayerState;
  struct GraphKey {
    size_t rows = 0, outputs = 0;
    bool observed = false;  // at least one sequence has an observer
    bool operator==(const GraphKey&) const = default;
  };

  Status Build(GraphKey key);
  ggml_tensor* BuildLayer(const SegmentContext& s, uint32_t layer, ggml_tensor* x, GraphKey key);
  void PlanAttention(const StepInput& input);
  void SetInputs(const StepInput& input);

  void BuildObserve(const SegmentContext& s, uint32_t layer, const Qkv& qkv, ggml_tensor* written);
  static void ObserveOp(ggml_tensor* dst, int thread, int num_threads, void* state);
  static void WriteOp(ggml_tensor* dst, int thread, int num_threads, void* state);
  static void PartialOp(ggml_tensor* dst, int thread, int num_threads, void* state);
  static void MergeOp(ggml_tensor* dst, int thread, int num_threads, void* state);

  const Model& model_;
  int num_threads_;
  ggml_threadpool_t pool_ = nullptr;
  ggml_backend_ptr backend_;
  ggml_gallocr_ptr allocator_;
  ggml_context_ptr ctx_;
  std::vector<uint8_t> ctx_memory_;
  ggml_cgraph* graph_ = nullptr;
  GraphKey key_;
  ggml_tensor *tokens_ = nullptr, *positions_ = nullptr, *outputs_ = nullptr, *logits_ = nullptr;
  std::vector<std::unique_ptr<LayerState>> layers_;
  std::vector<StepSequence> sequences_;
  std::vector<int32_t> output_positions_;
  std::vector<std::byte> scratch_memory_;
  std::byte* scratch_ = nullptr;
  std::vector<float> result_;
};

}  // namespace pith
