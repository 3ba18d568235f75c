// Writing small GGUF files of our own, such as profiles: numbers, texts and tensors of f32.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"

namespace pith {

class GgufBuilder {
 public:
  GgufBuilder();
  ~GgufBuilder();
  GgufBuilder(const GgufBuilder&) = delete;
  GgufBuilder& operator=(const GgufBuilder&) = delete;

  void Integer(const std::string& key, uint64_t value);
  void Text(const std::string& key, const std::string& value);
  // values [rows][columns]; the name has at most 63 bytes.
  void Tensor(const std::string& name, uint32_t rows, uint32_t columns,
              std::span<const float> values);

  // Puts the file there as a whole, synced, or leaves what was there.
  Status Write(const std::string& path) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace pith
