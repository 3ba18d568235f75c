#include "model/binder.h"

#include <ggml-cpu.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <unordered_set>

namespace pith {
namespace {

constexpr size_t kMaxTensors = 65536;

std::string ShapeText(const int64_t* ne, size_t dims) {
  std::string text = "[";
  for (size_t i = 0; i < dims; ++i) text += (i ? ", " : "") + std::to_string(ne[i]);
  return text + "]";
}

ggml_context_ptr NewHeaderContext() {
  return ggml_context_ptr(ggml_init({ggml_tensor_overhead() * kMaxTensors, nullptr, true}));
}

// ggml's layout for faster products, or nullptr if this build or processor has none.
ggml_backend_buffer_type_t RepackBufferType() {
  ggml_backend_dev_t cpu = ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU);
  if (cpu == nullptr) return nullptr;
  auto get = reinterpret_cast<ggml_backend_dev_get_extra_bufts_t>(ggml_backend_reg_get_proc_address(
      ggml_backend_dev_backend_reg(cpu), "ggml_backend_dev_get_extra_bufts"));
  if (get == nullptr) return nullptr;
  ggml_backend_buffer_type_t* types = get(cpu);
  return types != nullptr ? types[0] : nullptr;
}

// Tensors that files of supported architectures carry and that no computation reads.
bool IsHarmless(std::string_view name) {
  return name == "rope_freqs.weight" || name.ends_with(".attn_rot_embd") ||
         name.ends_with("rope_factors_long.weight") || name.ends_with("rope_factors_short.weight");
}

}  // namespace

Binder::Binder(const GgufFile& file, bool repack)
    : file_(file),
      repack_(repack),
      mapped_ctx_(NewHeaderContext()),
      repacked_ctx_(NewHeaderContext()) {}
Binder::~Binder() = default;
Binder::Binder(Binder&&) noexcept = default;

Result<ggml_tensor*> Binder::Require(const std::string& name, std::initializer_list<int64_t> shape,
                                     TensorUse use) {
  PITH_ASSIGN(ggml_tensor * tensor, Optional(name, shape, use));
  if (tensor == nullptr) {
    return InputError("the tensor " + name + " is missing", file_.path(),
                      "The file is damaged or incomplete.");
  }
  return tensor;
}

Result<ggml_tensor*> Binder::Optional(const std::string& name, std::initializer_list<int64_t> shape,
                                      TensorUse use) {
  const GgufTensor* source = file_.FindTensor(name);
  if (source == nullptr) return nullptr;
  std::array<int64_t, 4> wanted = {1, 1, 1, 1};
  std::copy(shape.begin(), shape.end(), wanted.begin());
  if (source->ne != wanted) {
    return InputError("the tensor " + name + " has shape " +
                          ShapeText(source->ne.data(), source->num_dims) + ", but " +
                          ShapeText(wanted.data(), shape.size()) + " is needed",
                      file_.path(), "The file is damaged or its keys do not fit its tensors.");
  }
  PITH_TRY(CheckType(*source, use));
  if (use == TensorUse::kVector) PITH_TRY(CheckFinite(*source));
  if (bound_.size() >= kMaxTensors) {
    return InputError("the model has too many tensors", file_.path(), "The file is damaged.");
  }
  const bool repacked = CanRepack(*source, use);
  ggml_context* ctx = repacked ? repacked_ctx_.get() : mapped_ctx_.get();
  ggml_tensor* tensor =
      ggml_new_tensor(ctx, source->type, static_cast<int>(shape.size()), wanted.data());
  ggml_set_name(tensor, name.c_str());
  bound_.push_back({tensor, source, repacked});
  return tensor;
}

Status Binder::CheckType(const GgufTensor& source, TensorUse use) const {
  bool usable = false;
  if (use == TensorUse::kVector) {
    usable = source.type == GGML_TYPE_F32;
  } else {
    usable =
        source.type == GGML_TYPE_F32 ||
        (ggml_get_type_traits(source.type)->to_float != nullptr &&
         (use == TensorUse::kRows || ggml_get_type_traits_cpu(source.type)->vec_dot != nullptr));
  }
  if (usable) return {};
  return InputError("the tensor " + source.name + " has type " + ggml_type_name(source.type) +
                        ", which cannot be used there",
                    file_.path(), "Convert the model again with another type.");
}

Status Binder::CheckFinite(const GgufTensor& source) const {
  const std::span<const std::byte> bytes = file_.TensorBytes(source);
  for (size_t at = 0; at + sizeof(float) <= bytes.size(); at += sizeof(float)) {
    float value = 0;
    std::memcpy(&value, bytes.data() + at, sizeof value);
    if (!std::isfinite(value)) {
      return InputError("the tensor " + source.name + " holds a value that is not a finite number",
                        file_.path(), "The file is damaged.");
    }
  }
  return {};
}

bool Binder::CanRepack(const GgufTensor& source, TensorUse use) const {
  if (!repack_ || (use != TensorUse::kProduct && use != TensorUse::kExperts)) return false;
  ggml_backend_buffer_type_t type = RepackBufferType();
  if (type == nullptr) return false;
  // ggml answers for a whole operation, so a product with this matrix is made up, without any data.
  ggml_context_ptr ctx(ggml_init({ggml_tensor_overhead() * 8, nullptr, true}));
  const int dims = use == TensorUse::kExperts ? 3 : 2;
  ggml_tensor* weight = ggml_new_tensor(ctx.get(), source.type, dims, source.ne.data());
  ggml_tensor* op = nullptr;
  if (use == TensorUse::kExperts) {
    ggml_tensor* rows = ggml_new_tensor_3d(ctx.get(), GGML_TYPE_F32, source.ne[0], 1, 1);
    ggml_tensor* ids = ggml_new_tensor_2d(ctx.get(), GGML_TYPE_I32, 1, 1);
    op = ggml_mul_mat_id(ctx.get(), weight, rows, ids);
  } else {
    op = ggml_mul_mat(ctx.get(), weight,
                      ggml_new_tensor_2d(ctx.get(), GGML_TYPE_F32, source.ne[0], 1));
  }
  ggml_backend_buffer_ptr empty(ggml_backend_buft_alloc_buffer(type, 0));
  weight->buffer = empty.get();
  return ggml_backend_dev_supports_op(ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU), op);
}

Status Binder::Place() {
  std::unordered_set<std::string_view> used;
  for (const Bound& bound : bound_) used.insert(bound.source->name);
  for (const GgufTensor& tensor : file_.tensors()) {
    if (!used.contains(tensor.name) && !IsHarmless(tensor.name)) {
      return InputError("the tensor " + tensor.name + " belongs to a feature that is not supported",
                        file_.path(), "Use a model without it.");
    }
  }
  std::vector<ggml_backend_buffer_t> mapped;
  for (const MappedFile& file : file_.files()) {
    auto* base = const_cast<std::byte*>(file.bytes().data());  // ggml has no read-only buffers
    buffers_.emplace_back(ggml_backend_cpu_buffer_from_ptr(base, file.bytes().size()));
    ggml_backend_buffer_set_usage(buffers_.back().get(), GGML_BACKEND_BUFFER_USAGE_WEIGHTS);
    mapped.push_back(buffers_.back().get());
  }
  const bool any_repacked =
      std::any_of(bound_.begin(), bound_.end(), [](const Bound& b) { return b.repacked; });
  if (any_repacked) {
    buffers_.emplace_back(
        ggml_backend_alloc_ctx_tensors_from_buft(repacked_ctx_.get(), RepackBufferType()));
    if (buffers_.back() == nullptr) {
      return Failure("there is no memory for the rearranged weights", file_.path(),
                     "Free memory, or use a smaller model.");
    }
    ggml_backend_buffer_set_usage(buffers_.back().get(), GGML_BACKEND_BUFFER_USAGE_WEIGHTS);
  }
  for (const Bound& bound : bound_) {
    const std::span<const std::byte> bytes = file_.TensorBytes(*bound.source);
    if (bound.repacked) {
      ggml_backend_tensor_set(bound.tensor, bytes.data(), 0, bytes.size());
      repacked_bytes_ += bytes.size();
      // The original is not read again: its pages need not stay in memory.
      file_.files()[bound.source->file].DropResident(bound.source->offset, bytes.size());
    } else {
      ggml_backend_tensor_alloc(mapped[bound.source->file], bound.tensor,
                                const_cast<std::byte*>(bytes.data()));
    }
  }
  return {};
}

}  // namespace pith
