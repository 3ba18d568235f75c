// From tensors of a file to ggml tensors of a model: names, shapes and types are checked, and each
// tensor gets its place, in the mapped file or in one of ggml's repacked layouts.
#pragma once

#include <ggml-backend.h>
#include <ggml-cpp.h>
#include <ggml.h>

#include <cstdint>
#include <initializer_list>
#include <string>
#include <vector>

#include "base/status.h"
#include "gguf/gguf.h"

namespace pith {

// What a tensor is used for decides its place: only matrices of products can be repacked.
enum class TensorUse {
  kVector,   // norms, biases, rope factors: f32, checked to be finite
  kRows,     // rows are picked by index
  kProduct,  // left side of a matrix product
  kExperts,  // left side of a product with a choice of experts
};

class Binder {
 public:
  // `repack`: let ggml rearrange matrices where it has a faster layout. The file must outlive the
  // tensors.
  Binder(const GgufFile& file, bool repack);
  ~Binder();
  Binder(Binder&&) noexcept;

  // The tensor of that name with exactly this shape (fastest first), as an input error otherwise.
  Result<ggml_tensor*> Require(const std::string& name, std::initializer_list<int64_t> shape,
                               TensorUse use);
  // Likewise, but nullptr if the file has none of that name.
  Result<ggml_tensor*> Optional(const std::string& name, std::initializer_list<int64_t> shape,
                                TensorUse use);

  // Places all tensors: maps or repacks. Call once, after all of them are bound; refuses tensors
  // that nobody bound.
  Status Place();

  const GgufFile& file() const { return file_; }
  uint64_t repacked_bytes() const { return repacked_bytes_; }

 private:
  struct Bound {
    ggml_tensor* tensor;
    const GgufTensor* source;
    bool repacked;
  };
  bool CanRepack(const GgufTensor& source, TensorUse use) const;
  Status CheckType(const GgufTensor& source, TensorUse use) const;
  Status CheckFinite(const GgufTensor& source) const;

  const GgufFile& file_;
  bool repack_;
  uint64_t repacked_bytes_ = 0;
  ggml_context_ptr mapped_ctx_, repacked_ctx_;
  std::vector<ggml_backend_buffer_ptr> buffers_;
  std::vector<Bound> bound_;
};

}  // namespace pith
