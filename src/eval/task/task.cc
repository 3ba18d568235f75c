#include "eval/task/task.h"

#include "base/check.h"
#include "base/hash.h"

namespace pith {

size_t TaskRequest::Count(std::string_view text) const {
  const auto tokens = tokenizer->Tokenize(text, /*add_special=*/false, /*parse_special=*/false);
  PITH_CHECK(tokens.has_value());
  return tokens->size();
}

Rng SampleRng(const TaskRequest& request, std::string_view task, uint64_t sample) {
  Hasher hasher;
  for (const uint64_t part : {request.seed, uint64_t{request.length}, sample}) {
    uint8_t bytes[8];  // little-endian on every machine
    for (int i = 0; i < 8; ++i) bytes[i] = static_cast<uint8_t>(part >> (8 * i));
    hasher.Add(bytes, sizeof bytes);
  }
  hasher.Add(task.data(), task.size());
  return Rng(hasher.Finish(), sample);
}

}  // namespace pith
