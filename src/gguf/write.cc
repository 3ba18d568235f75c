#include "gguf/write.h"

#include <ggml-cpp.h>
#include <ggml.h>
#include <gguf.h>

#include <cstring>

#include "base/check.h"
#include "base/file.h"

namespace pith {

struct GgufBuilder::Impl {
  struct Data {
    ggml_context_ptr ctx;
    ggml_tensor* tensor;
  };
  gguf_context_ptr gguf{gguf_init_empty()};
  std::vector<Data> tensors;
};

GgufBuilder::GgufBuilder() : impl_(std::make_unique<Impl>()) {}
GgufBuilder::~GgufBuilder() = default;

void GgufBuilder::Integer(const std::string& key, uint64_t value) {
  gguf_set_val_u64(impl_->gguf.get(), key.c_str(), value);
}

void GgufBuilder::Text(const std::string& key, const std::string& value) {
  gguf_set_val_str(impl_->gguf.get(), key.c_str(), value.c_str());
}

void GgufBuilder::Tensor(const std::string& name, uint32_t rows, uint32_t columns,
                         std::span<const float> values) {
  PITH_CHECK(rows > 0 && columns > 0 && values.size() == size_t{rows} * columns);
  PITH_CHECK(name.size() < GGML_MAX_NAME);
  const size_t bytes = values.size_bytes() + ggml_tensor_overhead() + GGML_MEM_ALIGN;
  ggml_context_ptr ctx(ggml_init({bytes, nullptr, false}));
  ggml_tensor* tensor = ggml_new_tensor_2d(ctx.get(), GGML_TYPE_F32, columns, rows);
  ggml_set_name(tensor, name.c_str());
  std::memcpy(tensor->data, values.data(), values.size_bytes());
  gguf_add_tensor(impl_->gguf.get(), tensor);
  impl_->tensors.push_back({std::move(ctx), tensor});
}

Status GgufBuilder::Write(const std::string& path) const {
  const gguf_context* gguf = impl_->gguf.get();
  std::vector<std::byte> bytes(gguf_get_meta_size(gguf));
  gguf_get_meta_data(gguf, bytes.data());
  const size_t begin = bytes.size();
  for (size_t i = 0; i < impl_->tensors.size(); ++i) {
    const ggml_tensor* tensor = impl_->tensors[i].tensor;
    const size_t at = begin + gguf_get_tensor_offset(gguf, static_cast<int64_t>(i));
    bytes.resize(at + GGML_PAD(ggml_nbytes(tensor), gguf_get_alignment(gguf)));
    std::memcpy(bytes.data() + at, tensor->data, ggml_nbytes(tensor));
  }
  PITH_ASSIGN(AtomicFile file, AtomicFile::Create(path));
  PITH_TRY(file.Write(bytes));
  return file.Commit();
}

}  // namespace pith
