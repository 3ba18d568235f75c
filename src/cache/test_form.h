// For tests: a form that seals entries in groups, as plain as it can be: 8 bits per number, scaled
// per channel over the entries of a page. 32 keys or 20 values to a group.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <span>
#include <vector>

#include "codec/codec.h"

namespace pith::testing {

// Page: [dim] least numbers, [dim] steps, codes [dim][capacity]. Canonical: the same with codes
// [dim][count].
struct GroupForm {
  static size_t PageBytes(Side, PageShape shape) {
    return size_t{shape.dim} * (2 * sizeof(float) + shape.capacity);
  }
  static float Scale(const std::byte* page, uint32_t index) {
    float value;
    std::memcpy(&value, page + index * sizeof(float), sizeof(float));
    return value;
  }
  static size_t CodeOffset(PageShape shape, uint32_t channel) {
    return size_t{shape.dim} * 2 * sizeof(float) + size_t{channel} * shape.capacity;
  }

  static void Store(Side, std::byte* page, PageShape shape, uint32_t first, uint32_t count,
                    const float* rows, size_t row_stride) {
    if (first != 0 || count > shape.capacity) std::abort();  // in one go
    for (uint32_t c = 0; c < shape.dim; ++c) {
      float least = rows[c], most = rows[c];
      for (uint32_t i = 0; i < count; ++i) {
        least = std::min(least, rows[i * row_stride + c]);
        most = std::max(most, rows[i * row_stride + c]);
      }
      const float step = most > least ? (most - least) / 255 : 1.0f;
      std::memcpy(page + c * sizeof(float), &least, sizeof(float));
      std::memcpy(page + (shape.dim + c) * sizeof(float), &step, sizeof(float));
      for (uint32_t i = 0; i < count; ++i) {
        const float code = std::nearbyint((rows[i * row_stride + c] - least) / step);
        page[CodeOffset(shape, c) + i] = static_cast<std::byte>(std::min(code, 255.0f));
      }
    }
  }

  static void Load(Side, const std::byte* page, PageShape shape, uint32_t first, uint32_t count,
                   float* rows, size_t row_stride) {
    for (uint32_t c = 0; c < shape.dim; ++c) {
      const float least = Scale(page, c), step = Scale(page, shape.dim + c);
      const std::byte* codes = page + CodeOffset(shape, c) + first;
      for (uint32_t i = 0; i < count; ++i) {
        rows[i * row_stride + c] =
            least + step * static_cast<float>(std::to_integer<int>(codes[i]));
      }
    }
  }

  static void Keep(Side, const std::byte* from, PageShape from_shape,
                   std::span<const uint32_t> kept, std::byte* to, PageShape to_shape) {
    std::memmove(to, from, CodeOffset(from_shape, 0));
    for (uint32_t c = 0; c < from_shape.dim; ++c) {
      for (size_t i = 0; i < kept.size(); ++i) {
        to[CodeOffset(to_shape, c) + i] = from[CodeOffset(from_shape, c) + kept[i]];
      }
    }
  }

  static size_t CanonicalBytes(Side side, uint32_t dim, uint32_t count) {
    return PageBytes(side, {.dim = dim, .capacity = count});
  }
  static void Export(Side side, const std::byte* page, PageShape shape, uint32_t count,
                     std::byte* out) {
    Copy(side, page, shape, count, out, {.dim = shape.dim, .capacity = count});
  }
  static void Import(Side side, std::byte* page, PageShape shape, uint32_t count,
                     const std::byte* in) {
    Copy(side, in, {.dim = shape.dim, .capacity = count}, count, page, shape);
  }
  static void Copy(Side side, const std::byte* from, PageShape from_shape, uint32_t count,
                   std::byte* to, PageShape to_shape) {
    std::vector<uint32_t> all(count);
    for (uint32_t i = 0; i < count; ++i) all[i] = i;
    Keep(side, from, from_shape, all, to, to_shape);
  }
};

inline const Form kGroupForm = {
    .name = "test_group",
    .id = static_cast<FormId>(0x7E570001),
    .version = 3,
    .summary = "8 bits per number, scaled per channel over a group",
    .bits_per_value = 10,
    .page_bytes = GroupForm::PageBytes,
    .store = GroupForm::Store,
    .load = GroupForm::Load,
    .canonical_bytes = nullptr,  // no entry stands alone
    .export_entries = nullptr,
    .import_entries = nullptr,
    .key_group = 32,
    .value_group = 20,
    .keep_entries = GroupForm::Keep,
    .canonical_page_bytes = GroupForm::CanonicalBytes,
    .export_page = GroupForm::Export,
    .import_page = GroupForm::Import,
};

}  // namespace pith::testing
