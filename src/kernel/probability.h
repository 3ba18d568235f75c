// Attention probabilities of a few queries over all entries of a head, row by row: what scores are
// made of. Attention itself never writes them down; these are computed again, from the keys as they
// are stored, and no more than kProbabilityRows rows exist at a time.
//
// Results depend on the query and the keys alone, not on which queries are asked together.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace pith {

// So many that reading the keys again for each handful does not cost more than the products.
inline constexpr size_t kProbabilityRows = 12;

// The keys of one head, rearranged for products with many queries.
class PackedKeys {
 public:
  // From rows [count][dim].
  PackedKeys(std::span<const float> rows, uint32_t dim);

  uint32_t dim() const { return dim_; }
  size_t count() const { return count_; }
  size_t padded_count() const { return (count_ + kBlock - 1) / kBlock * kBlock; }
  const float* block(size_t index) const { return blocks_.data() + index * kBlock * dim_; }

  static constexpr size_t kBlock = 16;  // keys

 private:
  uint32_t dim_;
  size_t count_;
  std::vector<float> blocks_;  // [ceil(count / kBlock)][dim][kBlock], zeros behind the last key
};

struct ProbabilityQuery {
  const float* values = nullptr;  // [dim]
  size_t visible = 0;             // it sees the keys [0, visible)
};

// Row i of `out`, [count] floats at `out + i * stride`, becomes softmax(scale * query_i . key) over
// what query i sees and 0 elsewhere; a query that sees nothing gets zeros. At most kProbabilityRows
// queries; `stride` is at least the keys' padded count.
void Probabilities(const PackedKeys& keys, std::span<const ProbabilityQuery> queries, float scale,
                   float* out, size_t stride);

// Likewise, but row i becomes query_i . key for all keys; a query is [dim] floats.
void Products(const PackedKeys& keys, std::span<const float* const> queries, float* out,
              size_t stride);

}  // namespace pith
