#include "eval/llama_peer.h"

#include <ggml-cpu.h>
#include <llama.h>

#include <cstring>
#include <utility>

#include "base/check.h"
#include "base/log.h"
#include "eval/synthetic_fill.h"

namespace pith {
namespace {

void ForwardLog(ggml_log_level level, const char* text, void*) {
  if (level == GGML_LOG_LEVEL_WARN || level == GGML_LOG_LEVEL_ERROR) Log(LogLevel::kInfo, text);
}

// A sequence's state as libllama writes it (llama-kv-cache.cpp, state_write), all little-endian:
//   header      u32 magic, i32 sequence            taken from the context itself, see Header()
//   u32 streams = 1, u32 cells
//   per cell    i32 position, u32 sequences = 1, i32 sequence
//   u32 values transposed?, u32 layers
//   per layer   i32 key type, u64 bytes per row, rows [cell][kv_heads * key_dim]
//   per layer   i32 value type, then
//     plain       u64 bytes per row, rows [cell][kv_heads * value_dim]
//     transposed  u32 bytes per number, u32 kv_heads * value_dim, numbers [kv_heads *
//     value_dim][cell]
// Values are transposed exactly when flash attention is off.
class StateWriter {
 public:
  explicit StateWriter(std::vector<uint8_t> header) : bytes_(std::move(header)) {}

  template <class T>
  void Put(T value) {
    const size_t at = bytes_.size();
    bytes_.resize(at + sizeof value);
    std::memcpy(bytes_.data() + at, &value, sizeof value);
  }
  uint8_t* Grow(size_t size) {
    bytes_.resize(bytes_.size() + size);
    return bytes_.data() + bytes_.size() - size;
  }
  std::vector<uint8_t> Take() { return std::move(bytes_); }

 private:
  std::vector<uint8_t> bytes_;
};

void Convert(ggml_type type, std::span<const float> from, uint8_t* to) {
  const auto count = static_cast<int64_t>(from.size());
  switch (type) {
    case GGML_TYPE_F32:
      std::memcpy(to, from.data(), from.size_bytes());
      return;
    case GGML_TYPE_F16:
      ggml_fp32_to_fp16_row(from.data(), reinterpret_cast<ggml_fp16_t*>(to), count);
      return;
    case GGML_TYPE_BF16:
      ggml_fp32_to_bf16_row(from.data(), reinterpret_cast<ggml_bf16_t*>(to), count);
      return;
    default:
      ggml_quantize_chunk(type, from.data(), to, 0, 1, count, nullptr);
  }
}

// Rows of one layer and side, [count][width], in `type`.
void PutRows(StateWriter* out, ggml_type type, const SyntheticEntries& entries, Side side,
             uint32_t layer, uint32_t count, uint32_t width) {
  std::vector<float> row(width);
  const size_t row_bytes = ggml_row_size(type, width);
  uint8_t* to = out->Grow(count * row_bytes);
  for (uint32_t i = 0; i < count; ++i, to += row_bytes) {
    entries.Row(side, layer, i, row);
    Convert(type, row, to);
  }
}

// Values of one layer, [width][count].
void PutColumns(StateWriter* out, ggml_type type, const SyntheticEntries& entries, uint32_t layer,
                uint32_t count, uint32_t width) {
  std::vector<float> row(width), columns(size_t{count} * width);
  for (uint32_t i = 0; i < count; ++i) {
    entries.Row(Side::kValues, layer, i, row);
    for (uint32_t j = 0; j < width; ++j) columns[size_t{j} * count + i] = row[j];
  }
  Convert(type, columns, out->Grow(ggml_row_size(type, width) * count));
}

// Magic number and sequence, as this libllama writes them.
std::vector<uint8_t> Header(llama_context* context) {
  std::vector<uint8_t> state(llama_state_seq_get_size(context, 0));
  PITH_CHECK(state.size() >= 8);
  llama_state_seq_get_data(context, state.data(), state.size(), 0);
  state.resize(8);
  return state;
}

}  // namespace

Result<std::unique_ptr<LlamaModel>> LlamaModel::Load(const std::string& path,
                                                     const ModelShape& shape) {
  llama_log_set(ForwardLog, nullptr);
  llama_backend_init();
  llama_model_params params = llama_model_default_params();
  params.n_gpu_layers = 0;  // we measure the CPU
  std::unique_ptr<LlamaModel> model(new LlamaModel);
  model->shape_ = shape;
  model->model_ = llama_model_load_from_file(path.c_str(), params);
  if (model->model_ == nullptr) {
    return Failure("libllama cannot load the model", path, "Measure without --vs llama.");
  }
  return model;
}

LlamaModel::~LlamaModel() {
  if (model_ != nullptr) llama_model_free(model_);
}

ggml_type LlamaCacheType(const Form* form) {
  if (form == nullptr) return GGML_TYPE_F16;
  switch (form->id) {
    case FormId::kF32:
      return GGML_TYPE_F32;
    case FormId::kBF16:
      return GGML_TYPE_BF16;
    case FormId::kF16:
      return GGML_TYPE_F16;
    default:
      return form->bits_per_value > 8 ? GGML_TYPE_Q8_0 : GGML_TYPE_Q4_0;
  }
}

std::string_view LlamaName(bool flash_attention) {
  return flash_attention ? "llama.cpp fa=on" : "llama.cpp fa=off";
}

Result<std::unique_ptr<LlamaContestant>> LlamaContestant::Create(const LlamaModel& model,
                                                                 const LlamaSettings& settings) {
  llama_context_params params = llama_context_default_params();
  params.n_ctx = settings.context;
  params.n_batch = settings.chunk;
  params.n_ubatch = settings.chunk;
  params.n_threads = settings.num_threads;
  params.n_threads_batch = settings.num_threads;
  params.flash_attn_type =
      settings.flash_attention ? LLAMA_FLASH_ATTN_TYPE_ENABLED : LLAMA_FLASH_ATTN_TYPE_DISABLED;
  params.type_k = settings.key_type;
  params.type_v = settings.value_type;

  std::unique_ptr<LlamaContestant> peer(new LlamaContestant);
  peer->settings_ = settings;
  peer->model_ = &model;
  peer->context_ = llama_init_from_model(model.get(), params);
  if (peer->context_ == nullptr) {
    return Failure("libllama cannot make a context", std::string(peer->name()),
                   "Measure without --vs llama.");
  }
  ggml_threadpool_params pool = ggml_threadpool_params_default(settings.num_threads);
  peer->threads_ = ggml_threadpool_new(&pool);
  if (peer->threads_ == nullptr) return Failure("libllama's threads cannot be started");
  llama_attach_threadpool(peer->context_, peer->threads_, peer->threads_);
  return peer;
}

LlamaContestant::~LlamaContestant() {
  if (context_ != nullptr) llama_free(context_);
  if (threads_ != nullptr) ggml_threadpool_free(threads_);
}

Result<std::span<const float>> LlamaContestant::Feed(std::span<const int32_t> tokens) {
  std::vector<llama_token> batch(tokens.begin(), tokens.end());
  if (llama_decode(context_,
                   llama_batch_get_one(batch.data(), static_cast<int32_t>(batch.size()))) != 0) {
    return Failure("libllama cannot process a step", std::string(name()));
  }
  const float* logits = llama_get_logits_ith(context_, -1);
  if (logits == nullptr) return Failure("libllama gave no logits", std::string(name()));
  return std::span(logits, model_->shape().vocabulary);
}

Status LlamaContestant::Rewind(uint32_t position) {
  if (!llama_memory_seq_rm(llama_get_memory(context_), 0, static_cast<llama_pos>(position), -1)) {
    return Failure("libllama cannot take back tokens", std::string(name()));
  }
  return {};
}

void LlamaContestant::Rest() { ggml_threadpool_pause(threads_); }

std::vector<uint8_t> LlamaContestant::SyntheticState(uint32_t count) const {
  const ModelShape& shape = model_->shape();
  const bool transposed = !settings_.flash_attention;
  StateWriter state(Header(context_));
  state.Put<uint32_t>(1);
  state.Put(count);
  for (uint32_t position = 0; position < count; ++position) {
    state.Put(static_cast<int32_t>(position));
    state.Put<uint32_t>(1);
    state.Put<int32_t>(0);
  }
  state.Put<uint32_t>(transposed);
  state.Put(shape.num_layers);
  const uint32_t key_width = shape.num_kv_heads * shape.key_dim;
  for (uint32_t layer = 0; layer < shape.num_layers; ++layer) {
    state.Put(static_cast<int32_t>(settings_.key_type));
    state.Put<uint64_t>(ggml_row_size(settings_.key_type, key_width));
    PutRows(&state, settings_.key_type, *entries_, Side::kKeys, layer, count, key_width);
  }
  const uint32_t value_width = shape.num_kv_heads * shape.value_dim;
  for (uint32_t layer = 0; layer < shape.num_layers; ++layer) {
    state.Put(static_cast<int32_t>(settings_.value_type));
    if (transposed) {
      state.Put(static_cast<uint32_t>(ggml_type_size(settings_.value_type)));
      state.Put(value_width);
      PutColumns(&state, settings_.value_type, *entries_, layer, count, value_width);
    } else {
      state.Put<uint64_t>(ggml_row_size(settings_.value_type, value_width));
      PutRows(&state, settings_.value_type, *entries_, Side::kValues, layer, count, value_width);
    }
  }
  return state.Take();
}

Status LlamaContestant::Fill(uint32_t count) {
  PITH_TRY(Rewind(0));
  if (count == 0) return {};
  const std::vector<uint8_t> state = SyntheticState(count);
  const bool taken =
      llama_state_seq_set_data(context_, state.data(), state.size(), 0) == state.size();
  std::vector<uint8_t> back(taken ? llama_state_seq_get_size(context_, 0) : 0);
  if (back.size() != state.size() ||
      llama_state_seq_get_data(context_, back.data(), back.size(), 0) != back.size() ||
      back != state) {
    return Failure("libllama does not hold the synthetic cache it was given", std::string(name()),
                   "Measure a shorter context, or without --vs llama.");
  }
  return {};
}

}  // namespace pith
