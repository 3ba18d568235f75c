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
#include "engine/entry_reader.h"
#include "engine/fold.h"
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
  const FoldedEntries* folded = nullptr;       // likewise
  // Of a step through one layer: the entries that the rows write, ascending and the same in every
  // head, [num_rows], if these are not the last ones; and what they attend to, [num_kv_heads], if
  // that is not all that the cache holds in the layer.
  std::span<const uint32_t> entries;
  std::span<const std::span<const EntryRun>> runs;
  EntryReader* reader = nullptr;  // of a sequence with one row; null: it reads every entry
};

// A layer by itself, for a prompt that goes through the model layer by layer.
struct LayerStep {
  uint32_t layer = 0;
  // Its input, [rows][width], but for the first layer, whose input are the tokens; its output takes
  // its place, but for the last layer, which gives logits.
  std::span<float> hidden;
};

struct StepInput {
  std::span<const int32_t> tokens;     // [rows]
  std::span<const int32_t> positions;  // [rows]
  std::span<const StepSequence> sequences;
  std::span<const int32_t> outputs;  // ascending rows whose logits are wanted; may be empty
  std::optional<LayerStep> part;     // if set, the step goes through this layer alone
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
    bool selects = false;   // or a reader
    uint32_t first_layer = 0, end_layer = 0;
    bool operator==(const GraphKey&) const = default;
  };

  Status Build(GraphKey key);
  ggml_tensor* BuildLayer(const SegmentContext& s, uint32_t layer, ggml_tensor* x, GraphKey key);
  void PlanAttention(const StepInput& input);
  void SetInputs(const StepInput& input);

  void BuildObserve(const SegmentContext& s, uint32_t layer, const Qkv& qkv, ggml_tensor* written);
  ggml_tensor* BuildSelect(const SegmentContext& s, uint32_t layer, ggml_tensor* q,
                           ggml_tensor* written);
  void PlanReading(uint32_t layer, const StepSequence& from, AttendSequence* sequence);
  static void SelectOp(ggml_tensor* dst, int thread, int num_threads, void* state);
  static void CutOp(ggml_tensor* dst, int thread, int num_threads, void* state);
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
  ggml_tensor *hidden_in_ = nullptr, *hidden_out_ = nullptr;  // of a step through one layer
  std::vector<std::unique_ptr<LayerState>> layers_;
  std::vector<StepSequence> sequences_;
  std::vector<int32_t> output_positions_;
  // Of the layer that runs, [sequence][kv_head].
  std::vector<Selection> selections_;
  std::vector<std::span<const EntryRun>> runs_;
  std::vector<SelectScratch> select_scratch_;  // [thread]
  std::vector<std::byte> scratch_memory_;
  std::byte* scratch_ = nullptr;
  std::vector<float> result_;
};

}  // namespace pith
