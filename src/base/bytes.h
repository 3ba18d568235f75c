// Values one after the other as little-endian bytes without padding, and back from bytes that
// nobody vouches for. Field() looks the same on both sides, so that one list of fields serves
// saving and loading:
//
//   template <class Archive, class T>
//   Status Fields(Archive& archive, T& thing) {  // T is const when saving
//     PITH_TRY(archive.Field(thing.count));
//     return archive.Field(thing.rows);
//   }
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/status.h"

namespace pith {

static_assert(std::endian::native == std::endian::little, "saved bytes are little-endian");

template <class T>
concept PlainNumber = std::is_arithmetic_v<T> && !std::is_same_v<T, bool>;

class ByteWriter {
 public:
  explicit ByteWriter(std::vector<std::byte>* out) : out_(out) {}

  // `bytes` more bytes to be filled, valid until the next call.
  std::byte* Grow(size_t bytes) {
    out_->resize(out_->size() + bytes);
    return out_->data() + out_->size() - bytes;
  }
  void Add(const void* data, size_t bytes) {
    if (bytes > 0) std::memcpy(Grow(bytes), data, bytes);
  }
  template <PlainNumber T>
  void Number(T value) {
    Add(&value, sizeof(value));
  }
  void Text(std::string_view text) {
    Number(static_cast<uint32_t>(text.size()));
    Add(text.data(), text.size());
  }

  // A vector is its size as a u64 and its elements. Never fails.
  template <PlainNumber T>
  Status Field(const T& value) {
    Number(value);
    return {};
  }
  template <class A, class B>
  Status Field(const std::pair<A, B>& pair) {
    PITH_TRY(Field(pair.first));
    return Field(pair.second);
  }
  template <class T>
  Status Field(const std::vector<T>& values) {
    Number(uint64_t{values.size()});
    if constexpr (PlainNumber<T>) {
      Add(values.data(), values.size() * sizeof(T));
    } else {
      for (const T& value : values) PITH_TRY(Field(value));
    }
    return {};
  }

 private:
  std::vector<std::byte>* out_;
};

class ByteReader {
 public:
  // `too_short` is what a read beyond the end comes to.
  ByteReader(std::span<const std::byte> bytes, Error too_short)
      : bytes_(bytes), too_short_(std::move(too_short)) {}

  size_t remaining() const { return bytes_.size(); }

  Result<std::span<const std::byte>> Take(uint64_t bytes) {
    if (bytes > bytes_.size()) return tl::unexpected<Error>(too_short_);
    const auto taken = bytes_.first(static_cast<size_t>(bytes));
    bytes_ = bytes_.subspan(taken.size());
    return taken;
  }
  template <PlainNumber T>
  Result<T> Number() {
    PITH_ASSIGN(const auto bytes, Take(sizeof(T)));
    T value;
    std::memcpy(&value, bytes.data(), sizeof(T));
    return value;
  }

  template <PlainNumber T>
  Status Field(T& value) {
    PITH_ASSIGN(value, Number<T>());
    return {};
  }
  template <class A, class B>
  Status Field(std::pair<A, B>& pair) {
    PITH_TRY(Field(pair.first));
    return Field(pair.second);
  }
  template <class T>
  Status Field(std::vector<T>& values) {
    PITH_ASSIGN(const uint64_t count, Number<uint64_t>());
    // Before anything of that size is allocated; no element takes less.
    constexpr size_t kLeastBytes = PlainNumber<T> ? sizeof(T) : sizeof(uint64_t);
    if (count > remaining() / kLeastBytes) return tl::unexpected<Error>(too_short_);
    values.resize(static_cast<size_t>(count));
    if constexpr (PlainNumber<T>) {
      PITH_ASSIGN(const auto bytes, Take(count * sizeof(T)));
      if (count > 0) std::memcpy(values.data(), bytes.data(), bytes.size());
    } else {
      for (T& value : values) PITH_TRY(Field(value));
    }
    return {};
  }

 private:
  std::span<const std::byte> bytes_;
  Error too_short_;
};

}  // namespace pith
