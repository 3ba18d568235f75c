// 64-bit hashes of bytes: checksums of save files and the identity of a model. XXH3, fixed by its
// specification.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

namespace pith {

class Hasher {
 public:
  Hasher();
  ~Hasher();
  Hasher(Hasher&&) noexcept;
  Hasher& operator=(Hasher&&) noexcept;

  void Add(std::span<const std::byte> bytes);
  void Add(const void* data, size_t size) { Add({static_cast<const std::byte*>(data), size}); }
  uint64_t Finish() const;  // of everything added so far

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace pith
