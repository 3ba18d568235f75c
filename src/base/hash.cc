#include "base/hash.h"

#define XXH_STATIC_LINKING_ONLY  // the state by value
#include <xxhash.h>

namespace pith {

struct Hasher::State {
  XXH3_state_t xxh;
};

Hasher::Hasher() : state_(std::make_unique<State>()) { XXH3_64bits_reset(&state_->xxh); }
Hasher::~Hasher() = default;
Hasher::Hasher(Hasher&&) noexcept = default;
Hasher& Hasher::operator=(Hasher&&) noexcept = default;

void Hasher::Add(std::span<const std::byte> bytes) {
  XXH3_64bits_update(&state_->xxh, bytes.data(), bytes.size());
}

uint64_t Hasher::Finish() const { return XXH3_64bits_digest(&state_->xxh); }

}  // namespace pith
