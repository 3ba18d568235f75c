#include "engine/step.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace pith {

// What the operations of one layer need while the graph runs. The graph keeps pointers to it across
// steps.
struct StepRunner::LayerState {
  StepRunner* runner = nullptr;
  uint32_t layer = 0;
  std::vector<AttendSequence> sequences;
  struct Reader {
    EntryReader* reader = nullptr;  // null: everything is read
    SequenceCache* cache = nullptr;
  };
  std::vector<Reader> readers;  // of the sequences
  std::optional<AttendPlan> plan;
  std::atomic<uint32_t> next_item{0}, next_selection{0};

  bool selects() const {
    return std::ranges::any_of(readers, [](const Reader& r) { return r.reader != nullptr; });
  }
};

namespace {

constexpr size_t kNodesPerLayer = 64;  // with room to spare
constexpr size_t kScratchAlignment = 64;

size_t GraphNodes(const HyperParams& p) {
  return (kNodesPerLayer + 4ull * p.num_experts_used) * p.num_layers + 64;
}

float* RowData(const ggml_tensor* t, size_t head, size_t row) {
  return reinterpret_cast<float*>(static_cast<char*>(t->data) + head * t->nb[1] + row * t->nb[2]);
}

AttendShape ShapeOf(const HyperParams& p) {
  return {.num_query_heads = p.num_query_heads,
          .num_kv_heads = p.num_kv_heads,
          .key_dim = p.key_dim,
          .value_dim = p.value_dim,
          .scale = 1.0f / std::sqrt(static_cast<float>(p.key_dim)),
          .window = static_cast<int32_t>(p.window)};
}

}  // namespace

StepRunner::StepRunner(const Model& model, int num_threads)
    : model_(model), num_threads_(num_threads), backend_(ggml_backend_cpu_init()) {
  PITH_CHECK(backend_ != nullptr);
  ggml_threadpool_params params = ggml_threadpool_params_default(num_threads);
  pool_ = ggml_threadpool_new(&params);
  PITH_CHECK(pool_ != nullptr);
  ggml_backend_cpu_set_n_threads(backend_.get(), num_threads);
  ggml_backend_cpu_set_threadpool(backend_.get(), pool_);
  allocator_.reset(ggml_gallocr_new(ggml_backend_cpu_buffer_type()));
  const size_t nodes = GraphNodes(model.params());
  ctx_memory_.resize(ggml_tensor_overhead() * nodes + ggml_graph_overhead_custom(nodes, false));
  for (uint32_t i = 0; i < model.params().num_layers; ++i) {
    layers_.push_back(std::make_unique<LayerState>());
    layers_.back()->runner = this;
    layers_.back()->layer = i;
  }
}

StepRunner::~StepRunner() {
  backend_.reset();
  ggml_threadpool_free(pool_);
}

void StepRunner::Pause() { ggml_threadpool_pause(pool_); }

Status StepRunner::Reserve(uint32_t rows) {
  return Build({rows, 1, false, false, 0, model_.params().num_layers});
}

namespace {

using Work = std::function<void(int thread, int num_threads)>;

void WorkOp(ggml_tensor*, int thread, int num_threads, void* work) {
  (*static_cast<const Work*>(work))(thread, num_threads);
}

}  // namespace

void StepRunner::Parallel(const Work& work) {
  std::vector<uint8_t> memory(4096 + 4 * ggml_tensor_overhead() +
                              ggml_graph_overhead_custom(4, false));
  const ggml_context_ptr ctx(ggml_init({memory.size(), memory.data(), false}));
  ggml_cgraph* graph = ggml_new_graph_custom(ctx.get(), 4, false);
  ggml_build_forward_expand(graph,
                            ggml_custom_4d(ctx.get(), GGML_TYPE_F32, 1, 1, 1, 1, nullptr, 0, WorkOp,
                                           GGML_N_TASKS_MAX, const_cast<Work*>(&work)));
  PITH_CHECK(ggml_backend_graph_compute(backend_.get(), graph) == GGML_STATUS_SUCCESS);
}

MeanRotation StepRunner::RotationOf(int32_t first, uint32_t count) {
  const HyperParams& p = model_.params();
  const uint32_t pairs = p.rope.dims / 2;
  std::vector<uint8_t> memory(8 * ggml_tensor_overhead() + ggml_graph_overhead_custom(8, false));
  const ggml_context_ptr ctx(ggml_init({memory.size(), memory.data(), true}));
  ggml_cgraph* graph = ggml_new_graph_custom(ctx.get(), 8, false);
  ggml_tensor* positions = ggml_new_tensor_1d(ctx.get(), GGML_TYPE_I32, count);
  ggml_tensor* x = ggml_new_tensor_3d(ctx.get(), GGML_TYPE_F32, p.key_dim, 1, count);
  ggml_set_input(positions);
  ggml_set_input(x);
  ggml_tensor* turned =
      BuildRope({ctx.get(), graph, &p, positions, model_.common().rope_factors}, x);
  ggml_set_output(turned);
  ggml_build_forward_expand(graph, turned);
  const ggml_gallocr_ptr allocator(ggml_gallocr_new(ggml_backend_cpu_buffer_type()));
  PITH_CHECK(ggml_gallocr_alloc_graph(allocator.get(), graph));

  // Every pair begins as (1, 0).
  const auto first_of = [&](uint32_t pair) { return p.rope.interleaved ? 2 * pair : pair; };
  const uint32_t second = p.rope.interleaved ? 1 : pairs;
  std::vector<float> rows(size_t{count} * p.key_dim);
  std::vector<int32_t> numbers(count);
  for (uint32_t i = 0; i < count; ++i) {
    numbers[i] = first + static_cast<int32_t>(i);
    for (uint32_t pair = 0; pair < pairs; ++pair) rows[i * p.key_dim + first_of(pair)] = 1;
  }
  ggml_backend_tensor_set(x, rows.data(), 0, rows.size() * sizeof(float));
  ggml_backend_tensor_set(positions, numbers.data(), 0, numbers.size() * sizeof(int32_t));
  PITH_CHECK(ggml_backend_graph_compute(backend_.get(), graph) == GGML_STATUS_SUCCESS);
  ggml_backend_tensor_get(turned, rows.data(), 0, rows.size() * sizeof(float));

  MeanRotation mean;
  for (uint32_t pair = 0; pair < pairs; ++pair) {
    double cosine = 0, sine = 0;
    for (uint32_t i = 0; i < count; ++i) {
      cosine += rows[i * p.key_dim + first_of(pair)];
      sine += rows[i * p.key_dim + first_of(pair) + second];
    }
    mean.cosine.push_back(static_cast<float>(cosine / count));
    mean.sine.push_back(static_cast<float>(sine / count));
  }
  return mean;
}

ggml_tensor* StepRunner::BuildLayer(const SegmentContext& s, uint32_t layer, ggml_tensor* x,
                                    GraphKey key) {
  const HyperParams& p = model_.params();
  const LayerWeights& w = model_.layer(layer);
  const bool last = layer + 1 == p.num_layers;
  // The last layer writes all rows to the cache but works on only for the rows whose logits are
  // wanted.
  const bool attends = !last || key.outputs > 0;
  Qkv qkv = BuildQkv(s, w, BuildNorm(s, x, w.attn_norm), attends || key.observed);
  LayerState* state = layers_[layer].get();

  ggml_tensor* write_args[] = {qkv.k, qkv.v};
  ggml_tensor* written = ggml_custom_4d(s.ctx, GGML_TYPE_F32, 1, 1, 1, 1, write_args, 2, WriteOp,
                                        GGML_N_TASKS_MAX, state);
  ggml_build_forward_expand(s.graph, written);
  if (key.observed) BuildObserve(s, layer, qkv, written);
  if (!attends) return nullptr;

  if (last && key.outputs < key.rows) {
    const int64_t q_size = static_cast<int64_t>(p.key_dim) * p.num_query_heads;
    ggml_tensor* flat = ggml_reshape_2d(s.ctx, qkv.q, q_size, static_cast<int64_t>(key.rows));
    flat = ggml_get_rows(s.ctx, flat, outputs_);
    qkv.q = ggml_reshape_3d(s.ctx, flat, p.key_dim, p.num_query_heads,
                            static_cast<int64_t>(key.outputs));
    x = ggml_get_rows(s.ctx, x, outputs_);
  }
  ggml_tensor* ready = key.selects ? BuildSelect(s, layer, qkv.q, written) : written;
  ggml_tensor* attend_args[] = {
      qkv.q, ready};  // `written` is an edge: the cache is filled before it is read
  const int64_t mixed_size = static_cast<int64_t>(p.value_dim) * p.num_query_heads;
  ggml_tensor* partial = ggml_custom_4d(s.ctx, GGML_TYPE_F32, mixed_size, qkv.q->ne[2], 1, 1,
                                        attend_args, 2, PartialOp, GGML_N_TASKS_MAX, state);
  // Extra entries are looked at when partial results merge, so that the queries must still be
  // there.
  ggml_tensor* merge_args[] = {qkv.q};
  ggml_tensor* merged =
      ggml_custom_inplace(s.ctx, partial, merge_args, 1, MergeOp, GGML_N_TASKS_MAX, state);
  return BuildLayerOutput(s, w, merged, x);
}

// Observers see the queries of all rows, once the layer's keys are written.
void StepRunner::BuildObserve(const SegmentContext& s, uint32_t layer, const Qkv& qkv,
                              ggml_tensor* written) {
  ggml_tensor* args[] = {qkv.q, qkv.q_before_rope, written};
  ggml_build_forward_expand(s.graph,
                            ggml_custom_4d(s.ctx, GGML_TYPE_F32, 1, 1, 1, 1, args, 3, ObserveOp,
                                           GGML_N_TASKS_MAX, layers_[layer].get()));
}

Status StepRunner::Build(GraphKey key) {
  const HyperParams& p = model_.params();
  ctx_.reset(ggml_init({ctx_memory_.size(), ctx_memory_.data(), true}));
  graph_ = ggml_new_graph_custom(ctx_.get(), GraphNodes(p), false);
  const auto input = [this](size_t n) {
    ggml_tensor* t = ggml_new_tensor_1d(ctx_.get(), GGML_TYPE_I32, static_cast<int64_t>(n));
    ggml_set_input(t);
    return t;
  };
  logits_ = hidden_in_ = hidden_out_ = nullptr;
  tokens_ = key.first_layer == 0 ? input(key.rows) : nullptr;
  positions_ = input(key.rows);
  outputs_ = key.outputs > 0 && key.outputs < key.rows ? input(key.outputs) : nullptr;
  const SegmentContext s{ctx_.get(), graph_, &p, positions_, model_.common().rope_factors};
  ggml_tensor* x = nullptr;
  if (key.first_layer == 0) {
    x = ggml_get_rows(ctx_.get(), model_.common().embedding, tokens_);
  } else {
    x = ggml_new_tensor_2d(ctx_.get(), GGML_TYPE_F32, p.width, static_cast<int64_t>(key.rows));
    ggml_set_input(x);
    hidden_in_ = x;
  }
  for (uint32_t i = key.first_layer; i < key.end_layer; ++i) x = BuildLayer(s, i, x, key);
  if (x != nullptr) {
    const bool last = key.end_layer == p.num_layers;
    ggml_tensor*& result = last ? logits_ : hidden_out_;
    result = last ? BuildLogits(s, model_.common(), x) : x;
    ggml_set_output(result);
    ggml_build_forward_expand(graph_, result);
  }
  key_ = {};
  if (!ggml_gallocr_alloc_graph(allocator_.get(), graph_)) {
    return Failure(
        "there is no memory for the work space of a step of " + std::to_string(key.rows) + " rows",
        model_.params().architecture, "Take smaller chunks of the prompt.");
  }
  key_ = key;
  return {};
}

void StepRunner::ObserveOp(ggml_tensor* dst, int thread, int num_threads, void* data) {
  const auto* state = static_cast<LayerState*>(data);
  const auto rows_of = [](const ggml_tensor* q, const StepSequence& sequence) {
    return QueryRows{RowData(q, 0, sequence.first_row), q->nb[2] / sizeof(float),
                     q->nb[1] / sizeof(float), sequence.num_rows};
  };
  for (const StepSequence& sequence : state->runner->sequences_) {
    if (sequence.observer == nullptr) continue;
    sequence.observer->Observe(state->layer, *sequence.cache, rows_of(dst->src[0], sequence),
                               rows_of(dst->src[1], sequence), thread, num_threads);
  }
}

// Once keys are written, every sequence with a reader chooses what it reads, and attention is cut
// for it.
ggml_tensor* StepRunner::BuildSelect(const SegmentContext& s, uint32_t layer, ggml_tensor* q,
                                     ggml_tensor* written) {
  LayerState* state = layers_[layer].get();
  ggml_tensor* select_args[] = {q, written};
  ggml_tensor* selected = ggml_custom_4d(s.ctx, GGML_TYPE_F32, 1, 1, 1, 1, select_args, 2, SelectOp,
                                         GGML_N_TASKS_MAX, state);
  return ggml_custom_4d(s.ctx, GGML_TYPE_F32, 1, 1, 1, 1, &selected, 1, CutOp, 1, state);
}

void StepRunner::SelectOp(ggml_tensor* dst, int thread, int /*num_threads*/, void* data) {
  auto* state = static_cast<LayerState*>(data);
  if (!state->selects()) return;
  StepRunner& runner = *state->runner;
  const ggml_tensor* q = dst->src[0];
  const AttendShape shape = ShapeOf(runner.model_.params());
  std::vector<const float*> queries(shape.group());
  while (true) {
    const uint32_t i = state->next_selection.fetch_add(1, std::memory_order_relaxed);
    const uint32_t sequence = i / shape.num_kv_heads, kv_head = i % shape.num_kv_heads;
    if (sequence >= state->readers.size()) return;
    const LayerState::Reader& reading = state->readers[sequence];
    if (reading.reader == nullptr) continue;
    for (uint32_t h = 0; h < shape.group(); ++h) {
      queries[h] = RowData(q, kv_head * shape.group() + h, state->sequences[sequence].first_row);
    }
    reading.reader->Select(state->layer, kv_head, *reading.cache, queries, shape.scale,
                           &runner.select_scratch_[static_cast<size_t>(thread)],
                           &runner.selections_[i]);
  }
}

void StepRunner::CutOp(ggml_tensor* /*dst*/, int thread, int /*num_threads*/, void* data) {
  auto* state = static_cast<LayerState*>(data);
  if (thread != 0 || !state->selects()) return;
  StepRunner& runner = *state->runner;
  for (size_t i = 0; i < runner.runs_.size(); ++i) runner.runs_[i] = runner.selections_[i].runs;
  state->plan->Recut(state->sequences);
}

namespace {

// Calls visit(first entry, first row, count) for rows whose entries lie side by side: all of them,
// from `last` on, unless the sequence says otherwise.
template <class Visit>
void ForEachRun(const StepSequence& sequence, uint64_t last, const Visit& visit) {
  const auto& entries = sequence.entries;
  if (entries.empty()) return visit(last, sequence.first_row, sequence.num_rows);
  for (uint32_t row = 0; row < sequence.num_rows;) {
    uint32_t count = 1;
    while (row + count < sequence.num_rows && entries[row + count] == entries[row] + count) ++count;
    visit(entries[row], sequence.first_row + row, count);
    row += count;
  }
}

}  // namespace

void StepRunner::WriteOp(ggml_tensor* dst, int thread, int num_threads, void* data) {
  const auto* state = static_cast<LayerState*>(data);
  const ggml_tensor* k = dst->src[0];
  const ggml_tensor* v = dst->src[1];
  const auto num_heads = static_cast<uint32_t>(k->ne[1]);
  uint32_t item = 0;
  for (const StepSequence& sequence : state->runner->sequences_) {
    for (uint32_t head = 0; head < num_heads; ++head) {
      const bool keys = item++ % num_threads == static_cast<uint32_t>(thread);
      const bool values = item++ % num_threads == static_cast<uint32_t>(thread);
      if (!keys && !values) continue;
      const uint64_t last = sequence.cache->num_entries(state->layer, head) - sequence.num_rows;
      ForEachRun(sequence, last, [&](uint64_t first, uint32_t row, uint32_t count) {
        if (keys) {
          sequence.cache->WriteKeys(state->layer, head, first, count, RowData(k, head, row),
                                    k->nb[2] / sizeof(float));
        }
        if (values) {
          sequence.cache->WriteValues(state->layer, head, first, count, RowData(v, head, row),
                                      v->nb[2] / sizeof(float));
        }
      });
    }
  }
}

namespace {

AttendCall CallFor(const AttendPlan& plan, std::span<const AttendSequence> sequences,
                   const ggml_tensor* q, ggml_tensor* out, std::byte* scratch,
                   std::atomic<uint32_t>* next_item) {
  return {.plan = &plan,
          .sequences = sequences,
          .q = static_cast<const float*>(q->data),
          .q_row_stride = q->nb[2] / sizeof(float),
          .out = static_cast<float*>(out->data),
          .out_row_stride = out->nb[1] / sizeof(float),
          .scratch = scratch,
          .next_item = next_item};
}

}  // namespace

void StepRunner::PartialOp(ggml_tensor* dst, int thread, int num_threads, void* data) {
  auto* state = static_cast<LayerState*>(data);
  AttendPartial(CallFor(*state->plan, state->sequences, dst->src[0], dst, state->runner->scratch_,
                        &state->next_item),
                thread, num_threads);
}

void StepRunner::MergeOp(ggml_tensor* dst, int thread, int num_threads, void* data) {
  auto* state = static_cast<LayerState*>(data);
  AttendMerge(CallFor(*state->plan, state->sequences, dst->src[1], dst, state->runner->scratch_,
                      &state->next_item),
              thread, num_threads);
}

void StepRunner::PlanReading(uint32_t layer, const StepSequence& from, AttendSequence* sequence) {
  LayerState& state = *layers_[layer];
  const bool selects = from.reader != nullptr && from.reader->SelectsIn(layer);
  PITH_CHECK(!selects || from.num_rows == 1);
  if (selects) {
    const uint32_t num_kv_heads = model_.params().num_kv_heads;
    sequence->runs = std::span(runs_).subspan(state.readers.size() * num_kv_heads, num_kv_heads);
  }
  state.readers.push_back({selects ? from.reader : nullptr, from.cache});
}

// Lengths differ from step to step (and, once entries are evicted, from layer to layer), so each
// layer has its plan.
void StepRunner::PlanAttention(const StepInput& input) {
  const HyperParams& p = model_.params();
  sequences_.assign(input.sequences.begin(), input.sequences.end());
  output_positions_.clear();
  runs_.assign(input.sequences.size() * p.num_kv_heads, {});
  selections_.resize(runs_.size());
  select_scratch_.resize(static_cast<size_t>(num_threads_));
  for (const int32_t row : input.outputs) output_positions_.push_back(input.positions[row]);
  size_t scratch_bytes = 0;
  for (uint32_t layer = key_.first_layer; layer < key_.end_layer; ++layer) {
    LayerState& state = *layers_[layer];
    const bool only_outputs =
        layer + 1 == p.num_layers && input.outputs.size() < input.positions.size();
    state.sequences.clear();
    state.readers.clear();
    size_t next_output = 0;
    for (const StepSequence& sequence : input.sequences) {
      AttendSequence rows;
      rows.heads = sequence.cache->Heads(layer);
      rows.runs = sequence.runs;
      if (sequence.compensation != nullptr) rows.extras = sequence.compensation->Layer(layer);
      if (sequence.folded != nullptr) rows.folds = sequence.folded->Layer(layer);
      if (only_outputs) {
        const size_t begin = next_output;
        const size_t end_row = sequence.first_row + sequence.num_rows;
        while (next_output < input.outputs.size() &&
               static_cast<size_t>(input.outputs[next_output]) < end_row) {
          ++next_output;
        }
        rows.first_row = static_cast<uint32_t>(begin);
        rows.positions = std::span(output_positions_).subspan(begin, next_output - begin);
      } else {
        rows.first_row = sequence.first_row;
        rows.positions = input.positions.subspan(sequence.first_row, sequence.num_rows);
      }
      if (rows.positions.empty()) continue;
      PlanReading(layer, sequence, &rows);
      state.sequences.push_back(rows);
    }
    state.plan.emplace(ShapeOf(p), state.sequences, num_threads_);
    if (state.selects()) state.plan->ReserveRuns(state.sequences);
    state.next_item.store(0, std::memory_order_relaxed);
    state.next_selection.store(0, std::memory_order_relaxed);
    scratch_bytes = std::max(scratch_bytes, state.plan->scratch_bytes());
  }
  if (scratch_memory_.size() < scratch_bytes + kScratchAlignment) {
    scratch_memory_.resize(scratch_bytes + kScratchAlignment);
    const auto address = reinterpret_cast<uintptr_t>(scratch_memory_.data());
    scratch_ = scratch_memory_.data() + (kScratchAlignment - address % kScratchAlignment);
  }
}

void StepRunner::SetInputs(const StepInput& input) {
  if (tokens_ != nullptr) {
    ggml_backend_tensor_set(tokens_, input.tokens.data(), 0, input.tokens.size_bytes());
  } else {
    ggml_backend_tensor_set(hidden_in_, input.part->hidden.data(), 0,
                            input.part->hidden.size_bytes());
  }
  ggml_backend_tensor_set(positions_, input.positions.data(), 0, input.positions.size_bytes());
  if (outputs_ != nullptr) {
    ggml_backend_tensor_set(outputs_, input.outputs.data(), 0, input.outputs.size_bytes());
  }
}

Result<std::span<const float>> StepRunner::Run(const StepInput& input) {
  const bool observed = std::ranges::any_of(
      input.sequences, [](const StepSequence& s) { return s.observer != nullptr; });
  const bool selects = std::ranges::any_of(
      input.sequences, [](const StepSequence& s) { return s.reader != nullptr; });
  const uint32_t num_layers = model_.params().num_layers;
  const uint32_t layer = input.part ? input.part->layer : 0;
  const GraphKey key{input.positions.size(),
                     input.outputs.size(),
                     observed,
                     selects,
                     layer,
                     input.part ? layer + 1 : num_layers};
  // Decoding repeats one shape: its graph and the places of its tensors are kept.
  if (!(key == key_)) PITH_TRY(Build(key));
  PlanAttention(input);
  SetInputs(input);
  if (ggml_backend_graph_compute(backend_.get(), graph_) != GGML_STATUS_SUCCESS) {
    return Failure("a step of the model failed", model_.params().architecture);
  }
  if (hidden_out_ != nullptr) {
    ggml_backend_tensor_get(hidden_out_, input.part->hidden.data(), 0,
                            input.part->hidden.size_bytes());
  }
  if (logits_ == nullptr) return std::span<const float>();
  result_.resize(input.outputs.size() * model_.params().vocabulary);
  ggml_backend_tensor_get(logits_, result_.data(), 0, result_.size() * sizeof(float));
  if (!std::all_of(result_.begin(), result_.end(), [](float x) { return std::isfinite(x); })) {
    return Failure("the model computes values that are not numbers", model_.params().architecture,
                   "Its file is probably damaged.");
  }
  return std::span<const float>(result_);
}

}  // namespace pith
