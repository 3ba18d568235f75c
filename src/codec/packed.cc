#include "codec/packed.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <vector>

#include "base/check.h"
#include "simd/half.h"

namespace pith {
namespace {

// Words and scales are copied as they lie in memory.
static_assert(std::endian::native == std::endian::little);

uint32_t DivUp(uint32_t a, uint32_t b) { return (a + b - 1) / b; }

// Where a code lies in its cell. The fields of one byte never reach into the next.
struct CodePlace {
  uint8_t byte, shift;
};
using CellPlaces = std::array<std::array<CodePlace, kCellChannels>, kBlockEntries>;

constexpr CodePlace PlaceOf(uint32_t bits, uint32_t lane, uint32_t slice, uint32_t half) {
  const uint32_t fields = 16 / bits;
  const uint32_t bit = 16 * half + bits * (slice % fields);
  return {static_cast<uint8_t>((slice / fields * 8 + lane) * 4 + bit / 8),
          static_cast<uint8_t>(bit % 8)};
}

template <uint32_t kBits, Side kSide>
constexpr CellPlaces kCellPlaces = [] {
  CellPlaces places{};
  for (uint32_t e = 0; e < kBlockEntries; ++e) {
    for (uint32_t c = 0; c < kCellChannels; ++c) {
      places[e][c] = kSide == Side::kKeys ? PlaceOf(kBits, e, c / 2, c % 2)
                                          : PlaceOf(kBits, c % 8, c / 8 * 4 + e / 2, e % 2);
    }
  }
  return places;
}();

const CellPlaces& PlacesOf(uint32_t bits, Side side) {
  const bool keys = side == Side::kKeys;
  if (bits == 2) return keys ? kCellPlaces<2, Side::kKeys> : kCellPlaces<2, Side::kValues>;
  if (bits == 4) return keys ? kCellPlaces<4, Side::kKeys> : kCellPlaces<4, Side::kValues>;
  return keys ? kCellPlaces<8, Side::kKeys> : kCellPlaces<8, Side::kValues>;
}

// The codes of one entry in its place in a block, and back.
void PutCodes(uint32_t bits, Side side, std::byte* block, uint32_t entry,
              std::span<const uint8_t> codes) {
  const auto& places = PlacesOf(bits, side)[entry % kBlockEntries];
  const std::byte mask{static_cast<uint8_t>((1u << bits) - 1)};
  for (size_t c = 0; c < codes.size(); ++c) {
    const CodePlace place = places[c % kCellChannels];
    std::byte& byte = block[c / kCellChannels * PackedLayout::CellBytes(bits) + place.byte];
    byte = (byte & ~(mask << place.shift)) | (std::byte{codes[c]} << place.shift);
  }
}

void GetCodes(uint32_t bits, Side side, const std::byte* block, uint32_t entry,
              std::span<uint8_t> codes) {
  const auto& places = PlacesOf(bits, side)[entry % kBlockEntries];
  const uint32_t mask = (1u << bits) - 1;
  for (size_t c = 0; c < codes.size(); ++c) {
    const CodePlace place = places[c % kCellChannels];
    const std::byte byte = block[c / kCellChannels * PackedLayout::CellBytes(bits) + place.byte];
    codes[c] = static_cast<uint8_t>(std::to_integer<uint32_t>(byte) >> place.shift & mask);
  }
}

void PutHalf(std::byte* at, size_t index, F16 half) {
  std::memcpy(at + index * sizeof(F16), &half, sizeof(F16));
}

F16 GetHalf(const std::byte* at, size_t index) {
  F16 half;
  std::memcpy(&half, at + index * sizeof(F16), sizeof(F16));
  return half;
}

// ---- Affine groups.

struct Affine {
  F16 scale, minimum;
};

// Scale and minimum as they are stored; a range that F16 cannot tell from zero is a constant.
Affine Measure(float lowest, float highest, uint32_t max_code) {
  return {F16FromF32((highest - lowest) / static_cast<float>(max_code)), F16FromF32(lowest)};
}

// With the stored scale and minimum, so that encoder and decoder agree; ties to even.
uint8_t AffineCode(float number, float scale, float minimum, uint32_t max_code) {
  if (!(scale > 0)) return 0;
  const float code = std::nearbyint((number - minimum) / scale);
  return static_cast<uint8_t>(std::clamp(code, 0.0f, static_cast<float>(max_code)));
}

// ---- One page.

class Page {
 public:
  Page(const Packing& packing, Side side, uint32_t dim)
      : packing_(packing),
        side_(side),
        dim_(dim),
        layout_(packing, side, dim),
        codes_(dim),
        numbers_(dim) {}

  const PackedLayout& layout() const { return layout_; }
  std::span<uint8_t> codes() { return codes_; }
  uint32_t GroupSize(uint32_t group) const {
    return std::min(packing_.channel_group, dim_ - group * packing_.channel_group);
  }

  std::byte* Block(std::byte* page, uint32_t entry) const {
    return page + layout_.header_bytes + entry / kBlockEntries * layout_.block_bytes;
  }
  const std::byte* Block(const std::byte* page, uint32_t entry) const {
    return layout_.Block(page, entry / kBlockEntries);
  }

  void PutEntry(std::byte* page, uint32_t entry) const {
    PutCodes(packing_.bits, side_, Block(page, entry), entry, codes_);
  }
  void GetEntry(const std::byte* page, uint32_t entry) {
    GetCodes(packing_.bits, side_, Block(page, entry), entry, codes_);
  }
  void PutAffine(std::byte* page, uint32_t entry, uint32_t group, Affine affine) const {
    std::byte* block = Block(page, entry);
    const size_t index = size_t{group} * kBlockEntries + entry % kBlockEntries;
    PutHalf(block + layout_.scales, index, affine.scale);
    if (packing_.affine) PutHalf(block + layout_.minima, index, affine.minimum);
  }
  Affine GetAffine(const std::byte* page, uint32_t entry, uint32_t group) const {
    const std::byte* block = Block(page, entry);
    const size_t index = size_t{group} * kBlockEntries + entry % kBlockEntries;
    return {GetHalf(block + layout_.scales, index),
            packing_.affine ? GetHalf(block + layout_.minima, index) : F16{0}};
  }
  void PutChannel(std::byte* page, uint32_t channel, Affine affine) const {
    PutHalf(page, channel, affine.scale);
    PutHalf(page, layout_.header_channels() + channel, affine.minimum);
  }
  Affine GetChannel(const std::byte* page, uint32_t channel) const {
    return {GetHalf(page, channel), GetHalf(page, layout_.header_channels() + channel)};
  }

  void StoreEntry(std::byte* page, uint32_t entry, const float* row);
  void StoreChannels(std::byte* page, uint32_t count, const float* rows, size_t row_stride);
  void LoadEntry(const std::byte* page, uint32_t entry, float* row);
  // `header`: scales and minima of all channels, f32 [2][dim].
  void LoadChannels(const std::byte* page, uint32_t entry, const float* header, float* row);

  size_t code_bytes() const { return DivUp(dim_ * packing_.bits, 8); }
  // The codes of codes(), little end first.
  void ExportCodes(std::byte* out) const;
  void ImportCodes(const std::byte* in);

 private:
  const Packing& packing_;
  const Side side_;
  const uint32_t dim_;
  const PackedLayout layout_;
  std::vector<uint8_t> codes_;  // of one entry
  std::vector<float> numbers_;  // of one entry
};

void Page::StoreEntry(std::byte* page, uint32_t entry, const float* row) {
  std::transform(row, row + dim_, numbers_.begin(), Contained);
  for (uint32_t g = 0; g < layout_.num_groups; ++g) {
    const uint32_t first = g * packing_.channel_group, size = GroupSize(g);
    const float* x = numbers_.data() + first;
    if (!packing_.affine) {
      PutAffine(page, entry, g, {packing_.encode(x, codes_.data() + first), {}});
      continue;
    }
    const auto [lowest, highest] = std::minmax_element(x, x + size);
    const Affine affine = Measure(*lowest, *highest, packing_.max_code());
    PutAffine(page, entry, g, affine);
    const float scale = F32FromF16(affine.scale), minimum = F32FromF16(affine.minimum);
    for (uint32_t i = 0; i < size; ++i) {
      codes_[first + i] = AffineCode(x[i], scale, minimum, packing_.max_code());
    }
  }
  PutEntry(page, entry);
}

void Page::StoreChannels(std::byte* page, uint32_t count, const float* rows, size_t row_stride) {
  std::vector<float> lowest(dim_, HUGE_VALF), highest(dim_, -HUGE_VALF);
  for (uint32_t i = 0; i < count; ++i) {
    for (uint32_t c = 0; c < dim_; ++c) {
      const float x = Contained(rows[i * row_stride + c]);
      lowest[c] = std::min(lowest[c], x);
      highest[c] = std::max(highest[c], x);
    }
  }
  std::fill_n(page, layout_.header_bytes, std::byte{0});
  std::vector<float>&scale = lowest, &minimum = highest;  // what was measured is not needed again
  for (uint32_t c = 0; c < dim_; ++c) {
    const Affine affine = Measure(lowest[c], highest[c], packing_.max_code());
    PutChannel(page, c, affine);
    scale[c] = F32FromF16(affine.scale);
    minimum[c] = F32FromF16(affine.minimum);
  }
  for (uint32_t i = 0; i < count; ++i) {
    for (uint32_t c = 0; c < dim_; ++c) {
      const float x = Contained(rows[i * row_stride + c]);
      codes_[c] = AffineCode(x, scale[c], minimum[c], packing_.max_code());
    }
    PutEntry(page, i);
  }
}

void Page::LoadEntry(const std::byte* page, uint32_t entry, float* row) {
  GetEntry(page, entry);
  const auto zero = static_cast<int32_t>(packing_.zero_code());
  for (uint32_t g = 0; g < layout_.num_groups; ++g) {
    const Affine affine = GetAffine(page, entry, g);
    const float scale = F32FromF16(affine.scale), minimum = F32FromF16(affine.minimum);
    const uint32_t first = g * packing_.channel_group;
    for (uint32_t c = first; c < first + GroupSize(g); ++c) {
      row[c] = static_cast<float>(codes_[c] - zero) * scale;
      if (packing_.affine) row[c] += minimum;
    }
  }
}

void Page::LoadChannels(const std::byte* page, uint32_t entry, const float* header, float* row) {
  GetEntry(page, entry);
  for (uint32_t c = 0; c < dim_; ++c) {
    row[c] = static_cast<float>(codes_[c]) * header[c] + header[dim_ + c];
  }
}

void Page::ExportCodes(std::byte* out) const {
  std::fill_n(out, code_bytes(), std::byte{0});
  const uint32_t per_byte = 8 / packing_.bits;
  for (uint32_t c = 0; c < dim_; ++c) {
    out[c / per_byte] |= std::byte{codes_[c]} << (packing_.bits * (c % per_byte));
  }
}

void Page::ImportCodes(const std::byte* in) {
  const uint32_t per_byte = 8 / packing_.bits;
  for (uint32_t c = 0; c < dim_; ++c) {
    const auto byte = std::to_integer<uint32_t>(in[c / per_byte]);
    codes_[c] =
        static_cast<uint8_t>(byte >> (packing_.bits * (c % per_byte)) & packing_.max_code());
  }
}

// ---- ggml's blocks: the scale, then signed bytes (q8_0), or 16 bytes with code j in the low and
// code j + 16 in the high nibble (q4_0).

size_t GgmlBlockBytes(const Packing& packing) {
  return sizeof(F16) + packing.channel_group * packing.bits / 8;
}

void ExportGgmlBlock(const Packing& packing, F16 scale, const uint8_t* codes, std::byte* out) {
  PutHalf(out, 0, scale);
  out += sizeof(F16);
  const uint32_t half = packing.channel_group / 2;
  if (packing.bits == 8) {
    for (uint32_t i = 0; i < 2 * half; ++i) out[i] = std::byte{codes[i]} ^ std::byte{0x80};
  } else {
    for (uint32_t i = 0; i < half; ++i)
      out[i] = std::byte{codes[i]} | std::byte{codes[i + half]} << 4;
  }
}

F16 ImportGgmlBlock(const Packing& packing, const std::byte* in, uint8_t* codes) {
  const F16 scale = GetHalf(in, 0);
  in += sizeof(F16);
  const uint32_t half = packing.channel_group / 2;
  for (uint32_t i = 0; i < (packing.bits == 8 ? 2 * half : half); ++i) {
    const auto byte = std::to_integer<uint8_t>(in[i]);
    if (packing.bits == 8) {
      codes[i] = byte ^ 0x80;
    } else {
      codes[i] = byte & 0x0F;
      codes[i + half] = byte >> 4;
    }
  }
  return scale;
}

}  // namespace

PackedLayout::PackedLayout(const Packing& packing, Side side, uint32_t dim)
    : per_channel(packing.affine && side == Side::kKeys),
      num_cells(DivUp(dim, kCellChannels)),
      num_groups(per_channel ? 0 : DivUp(dim, packing.channel_group)),
      header_bytes(per_channel ? 2 * sizeof(F16) * size_t{num_cells} * kCellChannels : 0),
      scales(num_cells * CellBytes(packing.bits)) {
  const size_t side_bytes = size_t{num_groups} * kBlockEntries * sizeof(F16);
  minima = scales + side_bytes;
  block_bytes = packing.affine ? minima + side_bytes : minima;
}

float Contained(float number) {
  constexpr float kLargest = 65504.0f;
  return std::isnan(number) ? 0.0f : std::clamp(number, -kLargest, kLargest);
}

size_t PackedPageBytes(const Packing& packing, Side side, PageShape shape) {
  const PackedLayout layout(packing, side, shape.dim);
  return layout.header_bytes + shape.capacity / kBlockEntries * layout.block_bytes;
}

void PackedStore(const Packing& packing, Side side, std::byte* bytes, PageShape shape,
                 uint32_t first, uint32_t count, const float* rows, size_t row_stride) {
  PITH_CHECK(first + count <= shape.capacity);
  Page page(packing, side, shape.dim);
  if (page.layout().per_channel) {
    PITH_CHECK(first == 0 && count > 0);
    return page.StoreChannels(bytes, count, rows, row_stride);
  }
  for (uint32_t i = 0; i < count; ++i) page.StoreEntry(bytes, first + i, rows + i * row_stride);
}

void PackedLoad(const Packing& packing, Side side, const std::byte* bytes, PageShape shape,
                uint32_t first, uint32_t count, float* rows, size_t row_stride) {
  PITH_CHECK(first + count <= shape.capacity);
  Page page(packing, side, shape.dim);
  std::vector<float> header;
  if (page.layout().per_channel) {
    header.resize(size_t{2} * shape.dim);
    for (uint32_t c = 0; c < shape.dim; ++c) {
      const Affine affine = page.GetChannel(bytes, c);
      header[c] = F32FromF16(affine.scale);
      header[shape.dim + c] = F32FromF16(affine.minimum);
    }
  }
  for (uint32_t i = 0; i < count; ++i) {
    float* row = rows + i * row_stride;
    if (page.layout().per_channel) {
      page.LoadChannels(bytes, first + i, header.data(), row);
    } else {
      page.LoadEntry(bytes, first + i, row);
    }
  }
}

size_t PackedCanonicalBytes(const Packing& packing, uint32_t dim) {
  const uint32_t num_groups = DivUp(dim, packing.channel_group);
  if (!packing.affine) return num_groups * GgmlBlockBytes(packing);
  return 2 * sizeof(F16) * num_groups + DivUp(dim * packing.bits, 8);
}

void PackedExport(const Packing& packing, Side side, const std::byte* bytes, PageShape shape,
                  uint32_t first, uint32_t count, std::byte* out) {
  Page page(packing, side, shape.dim);
  PITH_CHECK(!page.layout().per_channel);
  const uint32_t num_groups = page.layout().num_groups;
  for (uint32_t i = first; i < first + count; ++i) {
    page.GetEntry(bytes, i);
    if (packing.affine) {
      for (uint32_t g = 0; g < num_groups; ++g) {
        const Affine affine = page.GetAffine(bytes, i, g);
        PutHalf(out, g, affine.scale);
        PutHalf(out, num_groups + g, affine.minimum);
      }
      page.ExportCodes(out + 2 * sizeof(F16) * num_groups);
    } else {
      for (uint32_t g = 0; g < num_groups; ++g) {
        ExportGgmlBlock(packing, page.GetAffine(bytes, i, g).scale,
                        page.codes().data() + g * packing.channel_group,
                        out + g * GgmlBlockBytes(packing));
      }
    }
    out += PackedCanonicalBytes(packing, shape.dim);
  }
}

void PackedImport(const Packing& packing, Side side, std::byte* bytes, PageShape shape,
                  uint32_t first, uint32_t count, const std::byte* in) {
  Page page(packing, side, shape.dim);
  PITH_CHECK(!page.layout().per_channel);
  const uint32_t num_groups = page.layout().num_groups;
  for (uint32_t i = first; i < first + count; ++i) {
    if (packing.affine) {
      for (uint32_t g = 0; g < num_groups; ++g) {
        page.PutAffine(bytes, i, g, {GetHalf(in, g), GetHalf(in, num_groups + g)});
      }
      page.ImportCodes(in + 2 * sizeof(F16) * num_groups);
    } else {
      for (uint32_t g = 0; g < num_groups; ++g) {
        const F16 scale = ImportGgmlBlock(packing, in + g * GgmlBlockBytes(packing),
                                          page.codes().data() + g * packing.channel_group);
        page.PutAffine(bytes, i, g, {scale, {}});
      }
    }
    page.PutEntry(bytes, i);
    in += PackedCanonicalBytes(packing, shape.dim);
  }
}

void PackedKeep(const Packing& packing, Side side, const std::byte* from, PageShape from_shape,
                std::span<const uint32_t> kept, std::byte* to, PageShape to_shape) {
  PITH_CHECK(from_shape.dim == to_shape.dim && kept.size() <= to_shape.capacity);
  Page page(packing, side, from_shape.dim);
  const PackedLayout& layout = page.layout();
  PITH_CHECK(layout.per_channel);
  if (to != from) std::memcpy(to, from, layout.header_bytes);
  // In a block of keys an entry has every eighth word.
  const size_t num_words = layout.scales / (kBlockEntries * sizeof(uint32_t));
  for (uint32_t i = 0; i < kept.size(); ++i) {
    const std::byte* source =
        page.Block(from, kept[i]) + kept[i] % kBlockEntries * sizeof(uint32_t);
    std::byte* target = page.Block(to, i) + i % kBlockEntries * sizeof(uint32_t);
    for (size_t w = 0; w < num_words; ++w) {
      const size_t at = w * kBlockEntries * sizeof(uint32_t);
      std::memmove(target + at, source + at, sizeof(uint32_t));
    }
  }
}

size_t PackedCanonicalPageBytes(const Packing& packing, Side side, uint32_t dim, uint32_t count) {
  const Page page(packing, side, dim);
  PITH_CHECK(page.layout().per_channel);
  return 2 * sizeof(F16) * dim + count * page.code_bytes();
}

void PackedExportPage(const Packing& packing, Side side, const std::byte* bytes, PageShape shape,
                      uint32_t count, std::byte* out) {
  Page page(packing, side, shape.dim);
  PITH_CHECK(page.layout().per_channel && count <= shape.capacity);
  for (uint32_t c = 0; c < shape.dim; ++c) {
    const Affine affine = page.GetChannel(bytes, c);
    PutHalf(out, c, affine.scale);
    PutHalf(out, shape.dim + c, affine.minimum);
  }
  out += 2 * sizeof(F16) * shape.dim;
  for (uint32_t i = 0; i < count; ++i, out += page.code_bytes()) {
    page.GetEntry(bytes, i);
    page.ExportCodes(out);
  }
}

void PackedImportPage(const Packing& packing, Side side, std::byte* bytes, PageShape shape,
                      uint32_t count, const std::byte* in) {
  Page page(packing, side, shape.dim);
  PITH_CHECK(page.layout().per_channel && count <= shape.capacity);
  std::fill_n(bytes, page.layout().header_bytes, std::byte{0});
  for (uint32_t c = 0; c < shape.dim; ++c) {
    page.PutChannel(bytes, c, {GetHalf(in, c), GetHalf(in, shape.dim + c)});
  }
  in += 2 * sizeof(F16) * shape.dim;
  for (uint32_t i = 0; i < count; ++i, in += page.code_bytes()) {
    page.ImportCodes(in);
    page.PutEntry(bytes, i);
  }
}

}  // namespace pith
