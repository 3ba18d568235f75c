// Forms that store numbers as codes of 2, 4 or 8 bits with scales in F16: the layout that they and
// the kernels share, and the functions that they have in common.
//
// A page is
//   header   keys with a scale per channel only: scales and minima, F16 [2][channels]
//   blocks   of eight entries:
//     cells    of 16 channels, 16 * bits bytes each
//     scales   F16 [groups][8]: groups of channels of an entry share one
//     minima   F16 [groups][8], if the form has them
// where channels are padded to whole cells.
//
// A cell is made so that codes unpack with a shift and a mask into vectors of eight 32-bit lanes,
// each a pair of 16-bit numbers, as a multiply-add of pairs wants them. It has bits / 2 vectors of
// eight 32-bit words. A word has two halves, a half has 16 / bits fields; shifting by
// bits * field and masking gives one *slice*. A cell has eight slices, slice s in vector
// s / (16 / bits), field s % (16 / bits):
//   keys    lane: entry;       slice s, half h: channel 2 s + h
//   values  lane: channel % 8; slice s, half h: channel / 8 = s / 4, entry 2 (s % 4) + h
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "codec/codec.h"
#include "simd/types.h"

namespace pith {

struct Packing {
  uint32_t bits;           // of a code: 2, 4 or 8
  uint32_t channel_group;  // channels of an entry that share a scale; a multiple of 16
  // Affine: a number is code * scale + minimum, and keys have these per channel for all entries of
  // a page. Else it is (code - 2^(bits - 1)) * scale.
  bool affine;
  // Not affine: encodes channel_group numbers, returns the scale.
  F16 (*encode)(const float* numbers, uint8_t* codes);

  uint32_t max_code() const { return (1u << bits) - 1; }
  uint32_t zero_code() const { return affine ? 0 : 1u << (bits - 1); }
};

inline constexpr uint32_t kCellChannels = 16;

struct PackedLayout {
  PackedLayout(const Packing& packing, Side side, uint32_t dim);

  static constexpr size_t CellBytes(uint32_t bits) { return size_t{16} * bits; }

  bool per_channel;     // scales and minima are in the header, one per channel
  uint32_t num_cells;   // of a block
  uint32_t num_groups;  // of an entry; 0 if per_channel
  size_t header_bytes;
  size_t block_bytes;
  size_t scales;  // where they begin in a block
  size_t minima;  // where they begin in a block; block_bytes if there are none

  const std::byte* Block(const std::byte* page, uint32_t block) const {
    return page + header_bytes + block * block_bytes;
  }
  uint32_t header_channels() const { return per_channel ? num_cells * kCellChannels : 0; }
};

// What numbers become before they are encoded: a NaN is 0, others lie within the range of F16. So
// one bad number spoils the precision of its own group and nothing else.
float Contained(float number);

// The functions of a Form, for any packing.
size_t PackedPageBytes(const Packing& packing, Side side, PageShape shape);
void PackedStore(const Packing& packing, Side side, std::byte* page, PageShape shape,
                 uint32_t first, uint32_t count, const float* rows, size_t row_stride);
void PackedLoad(const Packing& packing, Side side, const std::byte* page, PageShape shape,
                uint32_t first, uint32_t count, float* rows, size_t row_stride);
size_t PackedCanonicalBytes(const Packing& packing, uint32_t dim);
void PackedExport(const Packing& packing, Side side, const std::byte* page, PageShape shape,
                  uint32_t first, uint32_t count, std::byte* out);
void PackedImport(const Packing& packing, Side side, std::byte* page, PageShape shape,
                  uint32_t first, uint32_t count, const std::byte* in);
void PackedKeep(const Packing& packing, Side side, const std::byte* from, PageShape from_shape,
                std::span<const uint32_t> kept, std::byte* to, PageShape to_shape);
size_t PackedCanonicalPageBytes(const Packing& packing, Side side, uint32_t dim, uint32_t count);
void PackedExportPage(const Packing& packing, Side side, const std::byte* page, PageShape shape,
                      uint32_t count, std::byte* out);
void PackedImportPage(const Packing& packing, Side side, std::byte* page, PageShape shape,
                      uint32_t count, const std::byte* in);

// A Form with these functions; the caller adds what it is called.
template <const Packing& kPacking>
constexpr Form MakePackedForm() {
  Form form{};
  form.version = 1;
  form.packing = &kPacking;
  form.page_bytes = [](Side side, PageShape shape) {
    return PackedPageBytes(kPacking, side, shape);
  };
  form.store = [](Side side, std::byte* page, PageShape shape, uint32_t first, uint32_t count,
                  const float* rows, size_t row_stride) {
    PackedStore(kPacking, side, page, shape, first, count, rows, row_stride);
  };
  form.load = [](Side side, const std::byte* page, PageShape shape, uint32_t first, uint32_t count,
                 float* rows, size_t row_stride) {
    PackedLoad(kPacking, side, page, shape, first, count, rows, row_stride);
  };
  form.canonical_bytes = [](uint32_t dim) { return PackedCanonicalBytes(kPacking, dim); };
  form.export_entries = [](Side side, const std::byte* page, PageShape shape, uint32_t first,
                           uint32_t count, std::byte* out) {
    PackedExport(kPacking, side, page, shape, first, count, out);
  };
  form.import_entries = [](Side side, std::byte* page, PageShape shape, uint32_t first,
                           uint32_t count, const std::byte* in) {
    PackedImport(kPacking, side, page, shape, first, count, in);
  };
  return form;
}

// The same, with keys in sealed pages of `group` entries.
template <const Packing& kPacking>
constexpr Form MakeSealedForm(uint32_t group) {
  Form form = MakePackedForm<kPacking>();
  form.key_group = group;
  form.keep_entries = [](Side side, const std::byte* from, PageShape from_shape,
                         std::span<const uint32_t> kept, std::byte* to, PageShape to_shape) {
    PackedKeep(kPacking, side, from, from_shape, kept, to, to_shape);
  };
  form.canonical_page_bytes = [](Side side, uint32_t dim, uint32_t count) {
    return PackedCanonicalPageBytes(kPacking, side, dim, count);
  };
  form.export_page = [](Side side, const std::byte* page, PageShape shape, uint32_t count,
                        std::byte* out) {
    PackedExportPage(kPacking, side, page, shape, count, out);
  };
  form.import_page = [](Side side, std::byte* page, PageShape shape, uint32_t count,
                        const std::byte* in) {
    PackedImportPage(kPacking, side, page, shape, count, in);
  };
  return form;
}

}  // namespace pith
