// The rotation that spreads outliers over all channels before numbers are quantised (QuaRot, arXiv
// 2404.00456).
#pragma once

#include <cstddef>
#include <span>

namespace pith {

// The order of the blocks: the largest power of two that divides `size`.
constexpr size_t HadamardOrder(size_t size) { return size & (~size + 1); }

// Multiplies with the normalised Hadamard matrix in Sylvester's order, in place; blocks of
// HadamardOrder(size) one after the other, so that every size works (96: three of 32). The matrix
// is symmetric and its own inverse, products of two rotated vectors are those of the vectors.
void RotateHadamard(std::span<float> vector);

// Every row of [rows][dim].
void RotateRows(std::span<float> rows, size_t dim);

}  // namespace pith
