#include "engine/byte_budget.h"

#include <algorithm>
#include <utility>

namespace pith {
namespace {

// The system gives memory in pages of its own, which the blocks of the pool do not fill quite: a
// few pages for each size of a block, and a share of all.
uint64_t SetAside(uint64_t bytes) {
  constexpr uint64_t kPages = 32 << 10;
  return bytes / 32 + std::min(kPages, bytes / 8);
}

}  // namespace

ByteBudget::ByteBudget(CacheSpec spec, uint64_t residual, uint64_t bytes)
    : spec_(std::move(spec)), residual_(residual), bytes_(bytes - SetAside(bytes)) {}

uint64_t ByteBudget::MaxEntries(uint64_t room) const {
  const uint64_t per_head = bytes_ / (uint64_t{spec_.num_layers} * spec_.num_kv_heads);
  const auto fits = [&](uint64_t entries) {
    return HeadBytes(spec_, entries, room, residual_) <= per_head;
  };
  if (!fits(0)) return 0;
  uint64_t low = 0, high = 1;  // low fits
  while (fits(high)) low = high, high *= 2;
  while (high - low > 1) {
    const uint64_t middle = low + (high - low) / 2;
    (fits(middle) ? low : high) = middle;
  }
  return low;
}

uint64_t ByteBudget::MaxChunk() const {
  const uint64_t most = MaxEntries(0);
  uint64_t chunk = std::max<uint64_t>(1, most / 4);
  // In the tail a token takes more than it will when it is sealed.
  while (chunk > 1 && MaxEntries(chunk) < most / 2) chunk /= 2;
  return chunk;
}

bool ByteBudget::Holds(std::span<const uint64_t> entries, uint64_t room) const {
  uint64_t bytes = 0;
  for (const uint64_t n : entries) bytes += HeadBytes(spec_, n, room, residual_);
  return bytes <= bytes_;
}

}  // namespace pith
