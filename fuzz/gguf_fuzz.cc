// Any bytes at all into the GGUF reader, and whatever it accepts through every getter. What we
// accept must also be safe to give to ggml's own reader, which libllama calls for the tokenizer.
#include <gguf.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

#include "gguf/gguf.h"

namespace {

// Everything read ends in here, so that no read is optimised away.
volatile uint64_t sink;

void Require(bool holds) {
  if (!holds) std::abort();
}

void ReadValue(const pith::GgufFile& file, const pith::GgufValue& value) {
  uint64_t sum = 0;
  sum += file.Integer(value.key).value_or(1);
  sum += file.Float(value.key).has_value();
  sum += file.String(value.key).value_or("").size();
  sum += file.BoolOr(value.key, false).value_or(true);
  if (const auto numbers = file.Integers(value.key)) sum += numbers->size();
  if (const auto numbers = file.Floats(value.key)) sum += numbers->size();
  if (const auto texts = file.Strings(value.key)) {
    for (const auto text : *texts) {
      for (const char c : text) sum += static_cast<unsigned char>(c);
    }
  }
  sink = sink + sum;
}

void ReadTensor(const pith::GgufFile& file, const pith::GgufTensor& tensor) {
  const auto bytes = file.TensorBytes(tensor);
  Require(!bytes.empty() && bytes.size() == tensor.size);
  sink = sink + static_cast<uint64_t>(bytes.front()) + static_cast<uint64_t>(bytes.back());
  Require(file.FindTensor(tensor.name) == &tensor);
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  ggml_log_set([](ggml_log_level, const char*, void*) {}, nullptr);
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto file = pith::GgufFile::Parse(std::as_bytes(std::span(data, size)), "fuzz.gguf");
  if (!file) {
    Require(file.error().kind == pith::ErrorKind::kInput);
    Require(file.error().Message().find('\n') == std::string::npos);
    return 0;
  }
  for (const pith::GgufValue& value : file->values()) ReadValue(*file, value);
  for (const pith::GgufTensor& tensor : file->tensors()) ReadTensor(*file, tensor);
  gguf_free(gguf_init_from_buffer(data, size, {true, nullptr}));
  return 0;
}
