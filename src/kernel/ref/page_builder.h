// Heads for tests and benchmarks: pages made with Form::store in memory of their own.
#pragma once

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "base/check.h"
#include "cache/view.h"

namespace pith {

class BuiltList {
 public:
  BuiltList(Side side, uint32_t dim) : side_(side), dim_(dim) {}

  // Adds a page with the next `count` entries: rows [count][dim], positions [count] or nullptr with
  // first_position; of `channels`, which outlive the list, if given; as directions and norms, if
  // asked for. Room that is not used holds NaNs, which no kernel may let through.
  void AddPage(const Form& form, uint32_t capacity, uint32_t count, const float* rows,
               int32_t first_position, const int32_t* positions, bool rotated = false,
               const ChannelList* channels = nullptr, bool directions = false) {
    const uint32_t stored_dim = channels != nullptr ? channels->num_stored() : dim_;
    const PageShape shape{stored_dim, capacity};
    const size_t bytes = (form.page_bytes(side_, shape) + 63) / 64 * 64;
    auto* data = static_cast<std::byte*>(std::aligned_alloc(64, bytes));
    PITH_CHECK(data != nullptr);
    memory_.emplace_back(data, &std::free);
    std::memset(data, 0xFF, bytes);
    std::vector<float> stored(rows, rows + size_t{count} * dim_);
    const F16* const norms = directions ? TakeNorms(capacity, stored) : nullptr;
    if (rotated) RotateRows(stored, dim_);
    for (uint32_t i = 0; channels != nullptr && i < count; ++i) {
      channels->Narrow(stored.data() + size_t{i} * dim_);
    }
    form.store(side_, data, shape, 0, count, stored.data(), dim_);
    PageView page{data, &form, shape, count, first_position, nullptr, rotated, channels, norms};
    if (positions != nullptr) {
      positions_.push_back(std::make_unique<std::vector<int32_t>>(positions, positions + count));
      page.positions = positions_.back()->data();
    }
    pages_.push_back(page);
  }

  std::span<const PageView> pages() const { return pages_; }

 private:
  // Leaves directions in `rows`.
  const F16* TakeNorms(uint32_t capacity, std::vector<float>& rows) {
    constexpr F16 kNaN{0xFFFF};
    norms_.push_back(std::make_unique<std::vector<F16>>(capacity, kNaN));
    for (size_t i = 0; i < rows.size() / dim_; ++i) {
      float squares = 0;
      for (uint32_t c = 0; c < dim_; ++c) squares += rows[i * dim_ + c] * rows[i * dim_ + c];
      const float length = std::sqrt(squares);
      for (uint32_t c = 0; c < dim_ && length > 0; ++c) rows[i * dim_ + c] /= length;
      (*norms_.back())[i] = StoredNorm(length);
    }
    return norms_.back()->data();
  }

  Side side_;
  uint32_t dim_;
  std::vector<PageView> pages_;
  std::vector<std::unique_ptr<std::byte, decltype(&std::free)>> memory_;
  std::vector<std::unique_ptr<std::vector<int32_t>>> positions_;
  std::vector<std::unique_ptr<std::vector<F16>>> norms_;
};

}  // namespace pith
