// Forms: how the entries of a page are stored. One form is one file here plus one row in table.cc.
//
// A page holds `capacity` entries (a capacity class, see cache/page.h) of one side, keys or values,
// of one list. Its in-memory layout belongs to the form and serves the kernels; the canonical
// layout (export/import) is the one that save files carry, so that saves move between machines.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace pith {

enum class Side : uint8_t { kKeys = 0, kValues = 1 };

// Stored in save files: numbers are permanent. KIVI's forms (kivi.h) have the numbers
// 0x10000 + 0x100 * bits + group.
enum class FormId : uint32_t { kF32 = 1, kF16 = 2, kBF16 = 3, kQ8_0 = 4, kQ4_0 = 5 };

// Entries are grouped in blocks of this many inside a page; capacity classes are multiples of it.
inline constexpr uint32_t kBlockEntries = 8;

struct PageShape {
  uint32_t dim = 0;       // values per entry
  uint32_t capacity = 0;  // entries the page has room for, a multiple of kBlockEntries
};

struct Packing;  // packed.h

// All functions are thread-safe on disjoint blocks of kBlockEntries entries of a page. `rows` are
// f32, [count][dim] with `row_stride` floats from one row to the next.
//
// Entries of most forms stand alone: each can be stored, moved and appended at any time. Where a
// form measures several entries together (keys per channel), its pages are *sealed*: group() > 0,
// all entries of a page, at most that many, are stored by one call, share what was measured over
// them, and from then on only leave. Sealed entries are never quantised again.
struct Form {
  std::string_view name;
  FormId id;
  uint32_t version;
  std::string_view summary;          // one line for `pith methods`
  double bits_per_value;             // stored bits per key or value number, side data included
  uint32_t dim_multiple = 1;         // entries must have a multiple of this many numbers
  const Packing* packing = nullptr;  // how codes lie in a page; null: plain numbers

  // Bytes of a page's entries. 64-byte aligned memory is expected; blocks may be added at the end
  // without moving earlier ones (a page grows into the next capacity class by copying its bytes).
  size_t (*page_bytes)(Side side, PageShape shape);
  void (*store)(Side side, std::byte* page, PageShape shape, uint32_t first, uint32_t count,
                const float* rows, size_t row_stride);
  void (*load)(Side side, const std::byte* page, PageShape shape, uint32_t first, uint32_t count,
               float* rows, size_t row_stride);

  // Canonical layout: entry after entry, little-endian, `canonical_bytes(dim)` bytes each; exact in
  // both directions.
  size_t (*canonical_bytes)(uint32_t dim);
  void (*export_entries)(Side side, const std::byte* page, PageShape shape, uint32_t first,
                         uint32_t count, std::byte* out);
  void (*import_entries)(Side side, std::byte* page, PageShape shape, uint32_t first,
                         uint32_t count, const std::byte* in);

  // Sealed pages; 0 and nullptr where entries stand alone.
  uint32_t key_group = 0, value_group = 0;
  // Copies the entries at these ascending indices to the front of `to`, with what they share, codes
  // unchanged. `to` may be `from` with the same shape; else it has room for them.
  void (*keep_entries)(Side side, const std::byte* from, PageShape from_shape,
                       std::span<const uint32_t> kept, std::byte* to, PageShape to_shape) = nullptr;
  // Canonical layout of a whole sealed page with `count` entries.
  size_t (*canonical_page_bytes)(Side side, uint32_t dim, uint32_t count) = nullptr;
  void (*export_page)(Side side, const std::byte* page, PageShape shape, uint32_t count,
                      std::byte* out) = nullptr;
  void (*import_page)(Side side, std::byte* page, PageShape shape, uint32_t count,
                      const std::byte* in) = nullptr;

  uint32_t group(Side side) const { return side == Side::kKeys ? key_group : value_group; }
};

// The forms that are presets by themselves, in the order in which they are printed. Forms with
// parameters (kivi.h) are not among them.
std::span<const Form* const> Forms();
// Among all forms; nullptr if there is none.
const Form* FindForm(std::string_view name);
const Form* FindForm(FormId id);

// Plain forms (f32, f16, bf16) share one layout, which kernels read directly:
//   keys   [capacity / 8][dim][8]: eight entries side by side, so that the scores of eight entries
//          come out in one vector
//   values [capacity][dim]
inline size_t PlainKeyOffset(PageShape shape, uint32_t entry, uint32_t channel) {
  return (static_cast<size_t>(entry / kBlockEntries) * shape.dim + channel) * kBlockEntries +
         entry % kBlockEntries;
}
inline size_t PlainValueOffset(PageShape shape, uint32_t entry, uint32_t channel) {
  return static_cast<size_t>(entry) * shape.dim + channel;
}

}  // namespace pith
