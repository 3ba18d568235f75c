// For tests: damage that the checksum of a saved cache does not keep out.
#pragma once

#include <cstddef>
#include <cstring>
#include <span>
#include <vector>

#include "base/hash.h"

namespace pith::testing {

// Puts the right checksum behind changed bytes, so that the reader gets to see what lies inside.
inline void FixChecksum(std::vector<std::byte>* bytes) {
  Hasher hasher;
  hasher.Add(std::span(*bytes).first(bytes->size() - 8));
  const uint64_t checksum = hasher.Finish();
  std::memcpy(bytes->data() + bytes->size() - 8, &checksum, 8);
}

}  // namespace pith::testing
