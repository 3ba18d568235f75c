#include "cache/page.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <iterator>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "base/check.h"

namespace pith {

uint32_t CapacityClass(uint32_t entries) {
  PITH_CHECK(entries >= 1 && entries <= kMaxPageEntries);
  return *std::lower_bound(std::begin(kCapacityClasses), std::end(kCapacityClasses), entries);
}

namespace {

constexpr size_t kSlabBytes = size_t{4} << 20;  // address space, not memory
constexpr size_t kMinBlocksPerSlab = 8;

size_t SystemPageBytes() {
  static const auto bytes = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  return bytes;
}

size_t RoundUp(size_t value, size_t unit) { return (value + unit - 1) / unit * unit; }

// A stretch of address space cut into blocks of one size. The system gives memory page by page as
// blocks are handed out, and takes back the pages that only free blocks touch, so the stretch may
// be large without costing anything.
class Slab {
 public:
  // base() is null afterwards if the system gives no address space.
  explicit Slab(size_t block_bytes)
      : block_bytes_(block_bytes),
        bytes_(RoundUp(std::max(kSlabBytes, kMinBlocksPerSlab * block_bytes), SystemPageBytes())) {
    void* memory = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) return;
    // With huge pages the system would hold more than what is counted here.
    madvise(memory, bytes_, MADV_NOHUGEPAGE);
    base_ = static_cast<std::byte*>(memory);
    num_blocks_ = bytes_ / block_bytes_;
    free_.assign((num_blocks_ + 63) / 64, ~uint64_t{0});
    if (num_blocks_ % 64 != 0) free_.back() = (uint64_t{1} << (num_blocks_ % 64)) - 1;
    live_.assign(bytes_ / SystemPageBytes(), 0);
    held_.assign(live_.size(), false);
  }
  ~Slab() {
    if (base_ != nullptr) munmap(base_, bytes_);
  }
  Slab(const Slab&) = delete;
  Slab& operator=(const Slab&) = delete;

  std::byte* base() const { return base_; }
  bool full() const { return num_used_ == num_blocks_; }
  bool empty() const { return num_used_ == 0; }
  size_t held_bytes() const { return num_held_ * SystemPageBytes(); }
  bool Contains(const std::byte* block) const { return block >= base_ && block < base_ + bytes_; }

  // The lowest free block; the slab must not be full.
  size_t FindFree() {
    while (free_[first_free_word_] == 0) ++first_free_word_;
    return first_free_word_ * 64 + std::countr_zero(free_[first_free_word_]);
  }

  // Bytes that the system would have to add for this block.
  size_t MissingBytes(size_t block) const {
    size_t missing = 0;
    for (size_t p = FirstPage(block); p <= LastPage(block); ++p) missing += held_[p] ? 0 : 1;
    return missing * SystemPageBytes();
  }

  // Hands the block out, zeroed.
  std::byte* Take(size_t block) {
    const size_t page_bytes = SystemPageBytes();
    std::byte* const begin = base_ + block * block_bytes_;
    for (size_t p = FirstPage(block); p <= LastPage(block); ++p) {
      if (held_[p]) {  // may hold bytes of an earlier block; the system's own pages come zeroed
        std::byte* const from = std::max(begin, base_ + p * page_bytes);
        std::byte* const to = std::min(begin + block_bytes_, base_ + (p + 1) * page_bytes);
        std::memset(from, 0, static_cast<size_t>(to - from));
        if (live_[p] == 0) --num_idle_;
      } else {
        held_[p] = true;
        ++num_held_;
      }
      ++live_[p];
    }
    free_[block / 64] &= ~(uint64_t{1} << (block % 64));
    ++num_used_;
    return begin;
  }

  void Free(const std::byte* address) {
    const auto offset = static_cast<size_t>(address - base_);
    const size_t block = offset / block_bytes_;
    PITH_CHECK(offset % block_bytes_ == 0 && (free_[block / 64] >> (block % 64) & 1) == 0);
    free_[block / 64] |= uint64_t{1} << (block % 64);
    first_free_word_ = std::min(first_free_word_, block / 64);
    --num_used_;
    for (size_t p = FirstPage(block); p <= LastPage(block); ++p) {
      if (--live_[p] == 0) ++num_idle_;
    }
  }

  // Gives back the system pages that are held and that no block in use touches.
  void Trim() {
    if (num_idle_ == 0) return;
    for (size_t p = 0; p < held_.size();) {
      size_t end = p;
      while (end < held_.size() && held_[end] && live_[end] == 0) ++end;
      if (end == p) {
        ++p;
        continue;
      }
      Release(p, end);
      p = end;
    }
  }

 private:
  size_t FirstPage(size_t block) const { return block * block_bytes_ / SystemPageBytes(); }
  size_t LastPage(size_t block) const {
    return ((block + 1) * block_bytes_ - 1) / SystemPageBytes();
  }

  void Release(size_t begin, size_t end) {
    const size_t page_bytes = SystemPageBytes();
    // Refused for locked memory: then the pages stay held, and counted.
    if (madvise(base_ + begin * page_bytes, (end - begin) * page_bytes, MADV_DONTNEED) != 0) return;
    std::fill(held_.begin() + static_cast<ptrdiff_t>(begin),
              held_.begin() + static_cast<ptrdiff_t>(end), false);
    num_held_ -= end - begin;
    num_idle_ -= end - begin;
  }

  size_t block_bytes_, bytes_;
  std::byte* base_ = nullptr;
  size_t num_blocks_ = 0, num_used_ = 0;
  std::vector<uint64_t> free_;  // one bit per block
  size_t first_free_word_ = 0;  // no free block lies before
  std::vector<uint32_t> live_;  // per system page: blocks in use that touch it
  std::vector<bool> held_;      // per system page: may be resident
  size_t num_held_ = 0;         // pages with held_
  size_t num_idle_ = 0;         // pages with held_ and live_ == 0
};

}  // namespace

struct PagePool::Impl {
  // All slabs of one block size, by address.
  struct SizeClass {
    std::map<const std::byte*, std::unique_ptr<Slab>> slabs;
    Slab* current = nullptr;  // where the next block is looked for first
  };

  // A slab of the class with a free block, a new one if need be; nullptr if the system gives none.
  static Slab* SlabWithRoom(SizeClass* size_class, size_t block_bytes);

  uint64_t limit = 0, allocated = 0, used = 0, peak = 0;
  std::map<size_t, SizeClass> classes;  // by block size
};

Slab* PagePool::Impl::SlabWithRoom(SizeClass* size_class, size_t block_bytes) {
  Slab*& current = size_class->current;
  if (current != nullptr && !current->full()) return current;
  for (auto& [base, slab] : size_class->slabs) {
    if (!slab->full()) return current = slab.get();
  }
  auto slab = std::make_unique<Slab>(block_bytes);
  if (slab->base() == nullptr) return nullptr;
  current = slab.get();
  size_class->slabs.emplace(current->base(), std::move(slab));
  return current;
}

PagePool::PagePool(uint64_t limit_bytes) : impl_(std::make_unique<Impl>()) {
  impl_->limit = limit_bytes;
}
PagePool::~PagePool() = default;

std::byte* PagePool::Allocate(size_t bytes) {
  PITH_CHECK(bytes > 0);
  const size_t block_bytes = BlockBytes(bytes);
  for (bool trimmed = false;; trimmed = true) {
    Slab* slab = Impl::SlabWithRoom(&impl_->classes[block_bytes], block_bytes);
    if (slab == nullptr) return nullptr;
    const size_t block = slab->FindFree();
    const size_t missing = slab->MissingBytes(block);
    if (impl_->limit == 0 || impl_->allocated + missing <= impl_->limit) {
      impl_->allocated += missing;
      impl_->peak = std::max(impl_->peak, impl_->allocated);
      impl_->used += block_bytes;
      return slab->Take(block);
    }
    if (trimmed) return nullptr;
    Trim();  // free blocks of other sizes may make room
  }
}

void PagePool::Free(std::byte* block, size_t bytes) {
  const size_t block_bytes = BlockBytes(bytes);
  const auto found = impl_->classes.find(block_bytes);
  PITH_CHECK(found != impl_->classes.end());
  Impl::SizeClass& size_class = found->second;
  auto next = size_class.slabs.upper_bound(block);
  PITH_CHECK(next != size_class.slabs.begin());
  Slab& slab = *std::prev(next)->second;
  PITH_CHECK(slab.Contains(block));
  slab.Free(block);
  impl_->used -= block_bytes;
  // Low addresses first, so that the slabs behind become empty.
  if (size_class.current == nullptr || slab.base() < size_class.current->base()) {
    size_class.current = &slab;
  }
}

void PagePool::Trim() {
  for (auto& [block_bytes, size_class] : impl_->classes) {
    for (auto it = size_class.slabs.begin(); it != size_class.slabs.end();) {
      Slab& slab = *it->second;
      impl_->allocated -= slab.held_bytes();
      if (slab.empty()) {
        if (size_class.current == &slab) size_class.current = nullptr;
        it = size_class.slabs.erase(it);
        continue;
      }
      slab.Trim();
      impl_->allocated += slab.held_bytes();
      ++it;
    }
  }
}

uint64_t PagePool::allocated_bytes() const { return impl_->allocated; }
uint64_t PagePool::used_bytes() const { return impl_->used; }
uint64_t PagePool::peak_bytes() const { return impl_->peak; }
uint64_t PagePool::limit_bytes() const { return impl_->limit; }

}  // namespace pith
