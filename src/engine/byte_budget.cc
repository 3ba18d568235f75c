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
    : spec_(std::move(spec)), residual_(residual), bytes_(bytes - SetAside(bytes)) {
  for (uint32_t layer = 0; layer < spec_.num_layers; ++layer) {
    const auto same = std::ranges::find_if(kinds_, [&](const LayerKind& kind) {
      return spec_.keys.SealedIn(layer) == spec_.keys.SealedIn(kind.first_layer) &&
             spec_.values.SealedIn(layer) == spec_.values.SealedIn(kind.first_layer);
    });
    if (same == kinds_.end()) {
      kinds_.push_back({layer, 1});
    } else {
      ++same->num_layers;
    }
  }
}

uint64_t ByteBudget::BytesWith(uint64_t entries, uint64_t room) const {
  uint64_t bytes = 0, sealing = 0;
  for (const auto& [layer, num_layers] : kinds_) {
    bytes += num_layers * HeadBytes(spec_, layer, entries, room, residual_);
    sealing = std::max(sealing, SealingBytes(spec_, layer, entries, room, residual_));
  }
  return (bytes + sealing) * spec_.num_kv_heads;
}

uint64_t ByteBudget::MaxEntries(uint64_t room) const {
  const auto fits = [&](uint64_t entries) { return BytesWith(entries, room) <= bytes_; };
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
  uint64_t bytes = 0, sealing = 0;
  for (uint32_t layer = 0; layer < spec_.num_layers; ++layer) {
    uint64_t sealing_here = 0;
    for (const uint64_t n :
         entries.subspan(size_t{layer} * spec_.num_kv_heads, spec_.num_kv_heads)) {
      bytes += HeadBytes(spec_, layer, n, room, residual_);
      sealing_here += SealingBytes(spec_, layer, n, room, residual_);
    }
    sealing = std::max(sealing, sealing_here);
  }
  return bytes + sealing <= bytes_;
}

}  // namespace pith
