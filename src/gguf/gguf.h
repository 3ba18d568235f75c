// Checked reading of GGUF files (versions 2 and 3, also split into several files). The only parser
// of untrusted model files: every count, type, shape and offset is checked here, before ggml sees
// anything, because ggml aborts.
#pragma once

#include <ggml.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/file.h"
#include "base/status.h"

namespace pith {

// The numbers of the file format.
enum class GgufType : uint32_t {
  kU8 = 0,
  kI8 = 1,
  kU16 = 2,
  kI16 = 3,
  kU32 = 4,
  kI32 = 5,
  kF32 = 6,
  kBool = 7,
  kString = 8,
  kArray = 9,
  kU64 = 10,
  kI64 = 11,
  kF64 = 12
};
std::string_view GgufTypeName(GgufType type);
const char* TensorTypeName(ggml_type type);  // "f16", "q4_K", ...

// An array's elements stay in the mapped file; strings are found by walking, so they are collected
// once on request.
struct GgufArray {
  GgufType type;
  uint64_t count;
  std::span<const std::byte> bytes;
};

struct GgufValue {
  std::string key;
  GgufType type;
  // unsigned kinds, signed kinds, float kinds, bool, string, array
  std::variant<uint64_t, int64_t, double, bool, std::string_view, GgufArray> value;
};

struct GgufTensor {
  std::string name;
  ggml_type type;
  uint32_t num_dims;
  std::array<int64_t, 4> ne;  // ggml's order, fastest first; 1 beyond num_dims
  uint32_t file;              // index into files()
  uint64_t offset;            // from the beginning of that file
  uint64_t size;              // bytes
};

class GgufFile {
 public:
  // Opens `path`; if the file says it is the first of several (split.count), the others beside it
  // too.
  static Result<GgufFile> Open(const std::string& path);
  // Reads one file's worth of bytes that the caller keeps alive (for fuzzing and tests). `where`
  // names it in errors.
  static Result<GgufFile> Parse(std::span<const std::byte> bytes, const std::string& where);

  const std::string& path() const { return path_; }
  std::span<const MappedFile> files() const { return files_; }
  std::span<const GgufValue> values() const { return values_; }
  std::span<const GgufTensor> tensors() const { return tensors_; }
  uint64_t total_bytes() const;  // of all files

  const GgufValue* Find(std::string_view key) const;
  const GgufTensor* FindTensor(std::string_view name) const;
  std::span<const std::byte> TensorBytes(const GgufTensor& tensor) const;

  // Checked access: a missing key or a wrong type is an input error that names file, key and what
  // was expected. Integers of any width are accepted where they fit; a float key also takes an f64.
  Result<uint64_t> Integer(std::string_view key) const;
  Result<double> Float(std::string_view key) const;
  Result<std::string_view> String(std::string_view key) const;
  // Like the above, but a missing key gives `fallback`; a wrong type is still an error.
  Result<uint64_t> IntegerOr(std::string_view key, uint64_t fallback) const;
  Result<double> FloatOr(std::string_view key, double fallback) const;
  Result<std::string_view> StringOr(std::string_view key, std::string_view fallback) const;
  Result<bool> BoolOr(std::string_view key, bool fallback) const;
  // Arrays; `count`, if given, must be met. A missing key is an error.
  Result<std::vector<std::string_view>> Strings(std::string_view key,
                                                std::optional<uint64_t> count = {}) const;
  Result<std::vector<float>> Floats(std::string_view key, std::optional<uint64_t> count = {}) const;
  Result<std::vector<int64_t>> Integers(std::string_view key,
                                        std::optional<uint64_t> count = {}) const;

 private:
  std::string path_;
  std::vector<MappedFile> files_;
  std::vector<std::span<const std::byte>> bytes_;  // of each file
  std::vector<GgufValue> values_;
  std::vector<GgufTensor> tensors_;
};

}  // namespace pith
