// What the plain forms (f32, f16, bf16) share and what needs no vectors: sizes and the canonical
// layout, which is the stored numbers of an entry one after the other. The layout of pages is
// described in codec.h.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "codec/codec.h"

namespace pith {

// Canonical numbers are copied as they lie in memory.
static_assert(std::endian::native == std::endian::little);

template <class T>
size_t PlainPageBytes(Side /*side*/, PageShape shape) {
  return sizeof(T) * shape.dim * static_cast<size_t>(shape.capacity);
}

template <class T>
size_t PlainCanonicalBytes(uint32_t dim) {
  return sizeof(T) * dim;
}

template <class T>
void PlainExport(Side side, const std::byte* page, PageShape shape, uint32_t first, uint32_t count,
                 std::byte* out) {
  const size_t entry_bytes = PlainCanonicalBytes<T>(shape.dim);
  if (side == Side::kValues) {
    std::memcpy(out, page + first * entry_bytes, count * entry_bytes);
    return;
  }
  for (uint32_t entry = first; entry < first + count; ++entry, out += entry_bytes) {
    const std::byte* in = page + PlainKeyOffset(shape, entry, 0) * sizeof(T);
    for (uint32_t channel = 0; channel < shape.dim; ++channel) {
      std::memcpy(out + channel * sizeof(T), in + channel * sizeof(T) * kBlockEntries, sizeof(T));
    }
  }
}

template <class T>
void PlainImport(Side side, std::byte* page, PageShape shape, uint32_t first, uint32_t count,
                 const std::byte* in) {
  const size_t entry_bytes = PlainCanonicalBytes<T>(shape.dim);
  if (side == Side::kValues) {
    std::memcpy(page + first * entry_bytes, in, count * entry_bytes);
    return;
  }
  for (uint32_t entry = first; entry < first + count; ++entry, in += entry_bytes) {
    std::byte* out = page + PlainKeyOffset(shape, entry, 0) * sizeof(T);
    for (uint32_t channel = 0; channel < shape.dim; ++channel) {
      std::memcpy(out + channel * sizeof(T) * kBlockEntries, in + channel * sizeof(T), sizeof(T));
    }
  }
}

}  // namespace pith
