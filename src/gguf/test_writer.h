// For tests only: GGUF bytes, well-formed or not, written from the format's description.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "gguf/gguf.h"

namespace pith {

template <class T>
inline std::string Raw(T value) {
  return {reinterpret_cast<const char*>(&value), sizeof value};
}
inline std::string Text(std::string_view text) {
  return Raw(static_cast<uint64_t>(text.size())) + std::string(text);
}

// Writes GGUF byte by byte from the format's description, well-formed or not.
class GgufWriter {
 public:
  uint32_t magic = 0x46554747, version = 3;
  int64_t extra_keys = 0, extra_tensors = 0;  // announced but not written
  uint64_t alignment = 32;

  GgufWriter& Key(std::string_view name, GgufType type, const std::string& value) {
    keys_ += Text(name) + Raw(type) + value;
    ++num_keys_;
    return *this;
  }
  GgufWriter& Array(std::string_view name, GgufType type, uint64_t count,
                    const std::string& elements) {
    return Key(name, GgufType::kArray, Raw(type) + Raw(count) + elements);
  }
  // Places the tensor after those before it, filled with `fill`; `bytes` is its size.
  GgufWriter& Tensor(std::string_view name, const std::vector<int64_t>& ne, int type, size_t bytes,
                     char fill = 'x') {
    TensorInfo(name, ne, type, data_.size());
    data_.append(bytes, fill);
    data_.resize((data_.size() + alignment - 1) / alignment * alignment);
    return *this;
  }
  GgufWriter& TensorInfo(std::string_view name, const std::vector<int64_t>& ne, int type,
                         uint64_t offset) {
    infos_ += Text(name) + Raw(static_cast<uint32_t>(ne.size()));
    for (const int64_t n : ne) infos_ += Raw(n);
    infos_ += Raw(static_cast<uint32_t>(type)) + Raw(offset);
    ++num_tensors_;
    return *this;
  }
  std::string Bytes() const {
    std::string bytes = Raw(magic) + Raw(version) + Raw(num_tensors_ + extra_tensors) +
                        Raw(num_keys_ + extra_keys) + keys_ + infos_;
    if (data_.empty()) return bytes;
    bytes.resize((bytes.size() + alignment - 1) / alignment * alignment);
    return bytes + data_;
  }

 private:
  int64_t num_keys_ = 0, num_tensors_ = 0;
  std::string keys_, infos_, data_;
};

}  // namespace pith
