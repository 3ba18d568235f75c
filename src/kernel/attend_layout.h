// Sizes that the plan and the kernels agree on.
#pragma once

#include <cstddef>
#include <cstdint>

#include "codec/codec.h"

namespace pith {

inline constexpr uint32_t kMaxDim = 256;
inline constexpr uint32_t kTileLines =
    96;  // lines of a work item: a decoded tile serves all of them
inline constexpr uint32_t kDirectLines = 12;  // up to here pages are read straight from their form
inline constexpr uint32_t kRunLines = kDirectLines;  // lines of a work item that reads runs
inline constexpr uint32_t kTileEntries = 128;        // entries of a tile, edges of blocks included
inline constexpr uint32_t kSubLines = 6;             // lines that share registers
inline constexpr uint32_t kValueColumns = 16;        // channels per column of a decoded value tile
inline constexpr uint32_t kMaxKeyGroups = kMaxDim / 32;  // of a key's channels, each with a scale
// Entries of whole blocks of values that a tile may touch.
inline constexpr uint32_t kWeightEntries = kTileEntries + 2 * kBlockEntries;

constexpr size_t RoundUp(size_t value, size_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

// One thread's work area; offsets in floats, each a multiple of 16.
struct ThreadLayout {
  ThreadLayout(uint32_t key_dim, uint32_t value_dim)
      : output_stride(RoundUp(value_dim, kValueColumns)) {
    queries = Take(size_t{kTileLines} * key_dim);
    outputs = Take(kTileLines * output_stride);
    scores = Take(size_t{kTileLines} * kTileEntries);
    sums = Take(size_t{kTileLines} * kBlockEntries);
    maxima = Take(kTileLines);
    factors = Take(kTileLines);
    biases = Take(kTileLines);
    norms = Take(kTileEntries + kBlockEntries);
    ranges = Take(size_t{kTileLines} * 2);
    keys = Take(size_t{kTileEntries} * key_dim);
    values = Take(kTileEntries * RoundUp(value_dim, kValueColumns));
    packed = Take(PackedFloats());
  }

  size_t output_stride;  // floats per line
  size_t queries;        // [sub][key_dim][lines of sub], scaled
  size_t outputs;        // [line][output_stride]
  size_t scores;         // [line][kTileEntries]
  size_t sums;           // [line][8] partial sums of the weights
  size_t maxima;         // [line]
  size_t factors;        // [line] what the tile's new maximum multiplies earlier results with
  size_t biases;         // [line] what channels that are not stored add to a score
  size_t norms;          // [kTileEntries] by slot: what keys, then values are multiplied with
  size_t ranges;         // [line][2] uint32: the visible slots of the tile, half open
  size_t keys;           // [kTileEntries / 8][key_dim][8]
  size_t values;         // [columns][kTileEntries][kValueColumns]
  size_t packed;         // see packed_lines-inl.h
  size_t floats = 0;

  // Per line: queries in f32 and in 16 bits, the same for weights, and what belongs to them; once:
  // scales and minima of the tile's values.
  static constexpr size_t PackedFloats() {
    return kDirectLines * (kMaxDim * 3 / 2 + kMaxKeyGroups + 2 + kWeightEntries * 3 / 2 + 3) +
           size_t{2} * kWeightEntries;
  }

 private:
  size_t Take(size_t count) {
    const size_t at = floats;
    floats += RoundUp(count, 16);
    return at;
  }
};

}  // namespace pith
