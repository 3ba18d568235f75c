#include "calibrate/duo_graph.h"

#include <fmt/format.h>
#include <ggml-cpu.h>

#include <algorithm>
#include <cstddef>
#include <numeric>

#include "base/check.h"

namespace pith {
namespace {

size_t RoundUp(size_t n, size_t unit) { return (n + unit - 1) / unit * unit; }

tl::unexpected<Error> NoMemory(size_t rows) {
  return Failure(fmt::format("there is no memory for training on {} tokens", rows), "gates",
                 "Take shorter texts (--ctx), or free memory.");
}

// Room for a graph's tensors and nodes, where `layers` layers have about 50 nodes each and ten more
// per chunk of the text, and four times as many with the way back.
size_t MostNodes(size_t layers, size_t rows) { return 1024 + layers * (512 + rows / 16); }

ggml_context_ptr NewContext(size_t nodes) {
  return ggml_context_ptr(
      ggml_init({2 * (nodes * ggml_tensor_overhead() + ggml_graph_overhead_custom(nodes, true)),
                 nullptr, true}));
}

// A tensor of another graph as an input of this one; its memory is the other's.
ggml_tensor* Borrow(ggml_context* ctx, const ggml_tensor* from) {
  ggml_tensor* tensor = ggml_new_tensor(ctx, from->type, GGML_MAX_DIMS, from->ne);
  PITH_CHECK(ggml_is_contiguous(from));
  ggml_backend_tensor_alloc(from->buffer, tensor, from->data);
  return tensor;
}

template <class T>
void SetTensor(ggml_tensor* tensor, const std::vector<T>& values) {
  PITH_CHECK(values.size() * sizeof(T) == ggml_nbytes(tensor));
  ggml_backend_tensor_set(tensor, values.data(), 0, ggml_nbytes(tensor));
}

std::vector<float> GetTensor(const ggml_tensor* tensor) {
  PITH_CHECK(tensor->type == GGML_TYPE_F32 && ggml_is_contiguous(tensor));
  std::vector<float> values(static_cast<size_t>(ggml_nelements(tensor)));
  ggml_backend_tensor_get(tensor, values.data(), 0, ggml_nbytes(tensor));
  return values;
}

}  // namespace

// What all graphs of a text read.
struct DuoStreams::Inputs {
  ggml_context_ptr ctx;
  ggml_backend_buffer_ptr buffer;
  size_t rows = 0;
  ggml_tensor* tokens = nullptr;     // i32 [rows]
  ggml_tensor* positions = nullptr;  // i32 [rows]
  ggml_tensor* answers = nullptr;    // i32 [answers]: rows that predict them
  WindowInputs window;
};

struct DuoStreams::Forward {
  ggml_context_ptr ctx;
  ggml_cgraph* graph = nullptr;
  std::vector<ggml_tensor*> mixed;      // per layer: what goes into it, [width, rows]
  std::vector<ggml_tensor*> attention;  // per layer: of the full stream, [value_dim, heads, rows]
  ggml_tensor* hidden = nullptr;        // [width, answers], of the full stream
};

struct DuoStreams::Backward {
  ggml_context_ptr ctx;
  ggml_cgraph* layer = nullptr;          // with ggml's bookkeeping of gradients
  ggml_cgraph* graph = nullptr;          // what is computed
  ggml_tensor* loss = nullptr;           // [1], of the last layer
  ggml_tensor* above = nullptr;          // the gradient of the layer's output; none for the last
  ggml_tensor* gate_gradient = nullptr;  // [1, KV heads]
  ggml_tensor* gradient = nullptr;       // of the layer's input; none for the first
};

Status CheckCanLearnGates(const Model& model) {
  const LayerWeights& layer = model.layer(0);
  const char* reason = nullptr;
  if (layer.router != nullptr) reason = "its experts";
  if (layer.wqkv != nullptr || (layer.router == nullptr && layer.gate == nullptr)) {
    reason = "its fused matrices";
  }
  if (reason == nullptr) return {};
  return InputError(fmt::format("gates cannot be learnt for a model of architecture {}: {} have no "
                                "gradient here",
                                model.shape().architecture, reason),
                    model.file().path(),
                    "Import published ones with pith calibrate import --gates. They can be learnt "
                    "for llama (Mistral too), qwen2 and qwen3 without experts.");
}

DuoStreams::DuoStreams(const Model& model, DuoWindow window, int num_threads)
    : model_(model),
      window_(window),
      backend_(ggml_backend_cpu_init()),
      forward_memory_(ggml_gallocr_new(ggml_backend_cpu_buffer_type())),
      backward_memory_(ggml_gallocr_new(ggml_backend_cpu_buffer_type())) {
  PITH_CHECK(CheckCanLearnGates(model).has_value() && model.repacked_bytes() == 0);
  PITH_CHECK(window.recent > 0);
  ggml_backend_cpu_set_n_threads(backend_.get(), num_threads);
  const HyperParams& p = model.params();
  gate_context_.reset(ggml_init({ggml_tensor_overhead() * p.num_layers, nullptr, true}));
  for (uint32_t i = 0; i < p.num_layers; ++i) {
    gates_.push_back(ggml_new_tensor_2d(gate_context_.get(), GGML_TYPE_F32, 1, p.num_kv_heads));
    ggml_set_param(gates_.back());
  }
  gate_buffer_.reset(ggml_backend_alloc_ctx_tensors(gate_context_.get(), backend_.get()));
  PITH_CHECK(gate_buffer_ != nullptr);
}

Result<std::unique_ptr<DuoStreams::Inputs>> DuoStreams::MakeInputs(size_t num_rows,
                                                                   size_t num_answers) const {
  PITH_CHECK(num_rows % kDuoBlock == 0 && num_answers > 0);
  const HyperParams& p = model_.params();
  const auto rows = static_cast<int64_t>(num_rows);
  auto inputs = std::make_unique<Inputs>();
  inputs->rows = num_rows;
  inputs->ctx.reset(ggml_init({ggml_tensor_overhead() * 8, nullptr, true}));
  ggml_context* ctx = inputs->ctx.get();
  inputs->tokens = ggml_new_tensor_1d(ctx, GGML_TYPE_I32, rows);
  inputs->positions = ggml_new_tensor_1d(ctx, GGML_TYPE_I32, rows);
  inputs->answers = ggml_new_tensor_1d(ctx, GGML_TYPE_I32, static_cast<int64_t>(num_answers));
  inputs->window = MakeWindowInputs(ctx, window_, rows, p.num_query_heads / p.num_kv_heads);
  inputs->buffer.reset(ggml_backend_alloc_ctx_tensors(ctx, backend_.get()));
  if (inputs->buffer == nullptr) return NoMemory(num_rows);
  return inputs;
}

void DuoStreams::SetInputs(const Inputs& inputs, const DuoText& text) const {
  // Nothing before the padding sees it.
  std::vector<int32_t> tokens = text.tokens;
  tokens.resize(inputs.rows, tokens.back());
  SetTensor(inputs.tokens, tokens);
  std::vector<int32_t> positions(inputs.rows);
  std::iota(positions.begin(), positions.end(), 0);
  SetTensor(inputs.positions, positions);
  std::vector<int32_t> predicting = text.answers;
  for (int32_t& row : predicting) {
    --row;
    PITH_CHECK(row >= 0 && static_cast<size_t>(row) + 1 < text.tokens.size());
  }
  SetTensor(inputs.answers, predicting);
  const WindowValues window = ValuesOf(inputs.window, window_);
  SetTensor(inputs.window.rows, window.rows);
  SetTensor(inputs.window.mask, window.mask);
}

Result<std::unique_ptr<DuoStreams::Forward>> DuoStreams::BuildForward(const Inputs& inputs) const {
  const HyperParams& p = model_.params();
  auto forward = std::make_unique<Forward>();
  const size_t nodes = MostNodes(p.num_layers, inputs.rows);
  forward->ctx = NewContext(nodes);
  ggml_context* ctx = forward->ctx.get();
  forward->graph = ggml_new_graph_custom(ctx, nodes, false);
  const SegmentContext s{ctx, forward->graph, &p, inputs.positions, model_.common().rope_factors};
  ggml_tensor* full = ggml_get_rows(ctx, model_.common().embedding, inputs.tokens);
  ggml_tensor* mixed = full;
  for (uint32_t i = 0; i < p.num_layers; ++i) {
    const LayerWeights& w = model_.layer(i);
    const bool is_last = i + 1 == p.num_layers;
    ggml_tensor* attention =
        FullAttention(ctx, BuildQkv(s, w, BuildNorm(s, full, w.attn_norm), true));
    forward->mixed.push_back(mixed);
    forward->attention.push_back(attention);
    full = FinishLayer(s, w, attention, full, is_last ? inputs.answers : nullptr);
    if (!is_last) mixed = MixedLayer(s, w, inputs.window, mixed, attention, gates_[i], nullptr);
  }
  forward->hidden = BuildNorm(s, full, model_.common().output_norm);
  std::vector<ggml_tensor*> kept = forward->mixed;
  kept.insert(kept.end(), forward->attention.begin(), forward->attention.end());
  kept.push_back(forward->hidden);
  for (ggml_tensor* tensor : kept) {
    ggml_set_output(tensor);
    ggml_build_forward_expand(forward->graph, tensor);
  }
  if (!ggml_gallocr_alloc_graph(forward_memory_.get(), forward->graph)) {
    return NoMemory(inputs.rows);
  }
  return forward;
}

Result<std::unique_ptr<DuoStreams::Backward>> DuoStreams::BuildBackward(const Inputs& inputs,
                                                                        const Forward& forward,
                                                                        uint32_t layer) const {
  const HyperParams& p = model_.params();
  const bool is_last = layer + 1 == p.num_layers;
  auto backward = std::make_unique<Backward>();
  const size_t nodes = MostNodes(1, inputs.rows);
  backward->ctx = NewContext(nodes);
  ggml_context* ctx = backward->ctx.get();
  backward->layer = ggml_new_graph_custom(ctx, nodes, true);
  backward->graph = ggml_new_graph_custom(ctx, nodes, false);
  const SegmentContext s{ctx, backward->layer, &p, inputs.positions, model_.common().rope_factors};
  ggml_tensor* x = Borrow(ctx, forward.mixed[layer]);
  if (layer > 0) ggml_set_param(x);
  ggml_tensor* out =
      MixedLayer(s, model_.layer(layer), inputs.window, x, Borrow(ctx, forward.attention[layer]),
                 gates_[layer], is_last ? inputs.answers : nullptr);
  ggml_tensor* scalar = nullptr;  // whose gradient is asked for
  if (is_last) {
    ggml_tensor* difference =
        ggml_sub(ctx, BuildNorm(s, out, model_.common().output_norm), Borrow(ctx, forward.hidden));
    const auto count = static_cast<float>(ggml_nelements(difference));
    scalar = ggml_scale(ctx, ggml_sum(ctx, ggml_sqr(ctx, difference)), 1.0f / count);
    backward->loss = scalar;
  } else {
    backward->above = ggml_new_tensor(ctx, GGML_TYPE_F32, GGML_MAX_DIMS, out->ne);
    ggml_set_input(backward->above);
    scalar = ggml_sum(ctx, ggml_mul(ctx, out, backward->above));
  }
  ggml_set_loss(scalar);
  ggml_build_forward_expand(backward->layer, scalar);
  ggml_build_backward_expand(ctx, backward->layer, nullptr);
  MakeMatrixProducts(ctx, backward->layer);
  backward->gate_gradient = ggml_graph_get_grad(backward->layer, gates_[layer]);
  if (layer > 0) backward->gradient = ggml_graph_get_grad(backward->layer, x);
  for (ggml_tensor* tensor : {backward->loss, backward->gate_gradient, backward->gradient}) {
    if (tensor == nullptr) continue;
    ggml_set_output(tensor);
    ggml_build_forward_expand(backward->graph, tensor);
  }
  if (!ggml_gallocr_alloc_graph(backward_memory_.get(), backward->graph)) {
    return NoMemory(inputs.rows);
  }
  return backward;
}

Status DuoStreams::Reserve(size_t tokens, size_t answers) {
  PITH_ASSIGN(const auto inputs, MakeInputs(RoundUp(tokens, kDuoBlock), answers));
  PITH_ASSIGN(const auto forward, BuildForward(*inputs));
  for (uint32_t i = 0; i < model_.params().num_layers; ++i) {
    PITH_TRY(BuildBackward(*inputs, *forward, i));
  }
  return {};
}

uint64_t DuoStreams::memory_bytes() const {
  return ggml_gallocr_get_buffer_size(forward_memory_.get(), 0) +
         ggml_gallocr_get_buffer_size(backward_memory_.get(), 0);
}

Status DuoStreams::Compute(ggml_cgraph* graph, size_t rows) const {
  if (ggml_backend_graph_compute(backend_.get(), graph) == GGML_STATUS_SUCCESS) return {};
  return NoMemory(rows);
}

Result<DuoLoss> DuoStreams::Run(const DuoText& text, std::span<const float> gates) {
  const HyperParams& p = model_.params();
  PITH_CHECK(!text.tokens.empty() && gates.size() == size_t{p.num_layers} * p.num_kv_heads);
  for (uint32_t i = 0; i < p.num_layers; ++i) {
    ggml_backend_tensor_set(gates_[i], gates.data() + size_t{i} * p.num_kv_heads, 0,
                            ggml_nbytes(gates_[i]));
  }
  PITH_ASSIGN(const auto inputs,
              MakeInputs(RoundUp(text.tokens.size(), kDuoBlock), text.answers.size()));
  SetInputs(*inputs, text);
  PITH_ASSIGN(const auto forward, BuildForward(*inputs));
  PITH_TRY(Compute(forward->graph, inputs->rows));

  DuoLoss result;
  result.hidden = GetTensor(forward->hidden);
  result.gradient.resize(gates.size());
  std::vector<float> above;
  for (uint32_t i = p.num_layers; i-- > 0;) {
    PITH_ASSIGN(const auto backward, BuildBackward(*inputs, *forward, i));
    if (backward->above != nullptr) SetTensor(backward->above, above);
    ggml_graph_reset(backward->layer);  // the scalar's own gradient is 1
    PITH_TRY(Compute(backward->graph, inputs->rows));
    if (backward->loss != nullptr) result.loss = double{GetTensor(backward->loss).front()};
    if (backward->gradient != nullptr) above = GetTensor(backward->gradient);
    std::ranges::copy(GetTensor(backward->gate_gradient),
                      result.gradient.begin() + std::ptrdiff_t{i} * p.num_kv_heads);
  }
  return result;
}

}  // namespace pith
