// Private to the room: one file's worth of GGUF bytes into keys and tensors, everything checked.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "gguf/gguf.h"

namespace pith {

struct ParsedGguf {
  std::vector<GgufValue> values;    // views into the bytes
  std::vector<GgufTensor> tensors;  // all with `file` 0
};

// `where` names the file in errors.
Result<ParsedGguf> ParseGguf(std::span<const std::byte> bytes, const std::string& where);

// Bytes of one element as stored; 0 for strings and arrays, which have no fixed size.
uint64_t GgufTypeSize(GgufType type);

// A name out of a file, fit for an error line: in quotes, shortened, without control characters.
std::string QuoteName(std::string_view name);

}  // namespace pith
