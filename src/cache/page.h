// Pages and the pool they come from.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "base/status.h"
#include "cache/view.h"

namespace pith {

inline constexpr uint32_t kCapacityClasses[] = {8, 16, 24, 32, 48, 64, 96, 128};
inline constexpr uint32_t kMaxPageEntries = 128;

// The smallest capacity class for `entries` (1..128).
uint32_t CapacityClass(uint32_t entries);

// Hands out blocks of memory for pages: 64-byte aligned, cut from slabs that come from the system
// and go back to it. Not thread-safe: the engine's main thread owns it.
class PagePool {
 public:
  // At most `limit_bytes` are held from the system at any time; 0: no limit.
  explicit PagePool(uint64_t limit_bytes = 0);
  ~PagePool();
  PagePool(const PagePool&) = delete;
  PagePool& operator=(const PagePool&) = delete;

  // What a block of `bytes` takes in the pool.
  static size_t BlockBytes(size_t bytes) { return (bytes + 63) / 64 * 64; }

  // nullptr if the limit or the system forbids it. The memory is zeroed.
  std::byte* Allocate(size_t bytes);
  void Free(std::byte* block, size_t bytes);

  // Gives memory of free blocks back to the system, as far as whole slabs or system pages are free.
  void Trim();

  uint64_t allocated_bytes() const;  // held from the system now, free blocks included
  uint64_t used_bytes() const;       // in blocks handed out
  uint64_t peak_bytes() const;
  uint64_t limit_bytes() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace pith
