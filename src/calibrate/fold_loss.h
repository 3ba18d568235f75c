// What LESS's networks are taught by (arXiv 2402.09398, section 4): one text in one layer, and how
// far attention with the folded state is from full attention.
//
// The policy that is imitated keeps the first `sinks` and the newest `recent` entries (the paper's
// Lambda shape), so that every row has a state of its own: row t sees entries t - recent + 1 .. t
// and the sinks; those between are folded. Networks that were taught so serve other policies, too.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/rng.h"

namespace pith {

struct FoldLayer {
  uint32_t num_query_heads = 0, num_kv_heads = 0;
  uint32_t key_dim = 0, value_dim = 0;
  uint32_t hidden = 0, rank = 0;
  uint32_t sinks = 0, recent = 0;
  float scale = 1;  // scores are scale * (q . k)

  uint32_t group() const { return num_query_heads / num_kv_heads; }
  size_t width() const { return size_t{num_query_heads} * value_dim; }
  // The first row that has anything folded.
  size_t first_row() const { return size_t{sinks} + recent; }

  // Where a layer's parameters lie in one vector: for each query head, in [key_dim][hidden] and out
  // [hidden][rank]; then for each KV head the same, mix [rank][rank], sigma1 and sigma2 [rank].
  size_t in_size() const { return size_t{key_dim} * hidden; }
  size_t network_size() const { return in_size() + size_t{hidden} * rank; }
  size_t key_size() const { return network_size() + size_t{rank} * (rank + 2); }
  size_t QueryAt(uint32_t head) const { return head * network_size(); }
  size_t KeyAt(uint32_t head) const { return num_query_heads * network_size() + head * key_size(); }
  size_t num_parameters() const { return KeyAt(num_kv_heads); }
};

// As the paper begins: networks uniform within sqrt(6 / (rows + columns)), sigmas 1e-4. Layers
// whose kept entries have large exponentials would not notice a state that small: see
// ScaleSigmas().
std::vector<float> FirstParameters(const FoldLayer& layer, Rng& rng);

// One text in one layer, after rope. `full` and `kept` are outputs of attention before the output
// matrix, over all entries and over the kept ones; `log_sum` is the log of the kept ones' sum of
// exponentials, `log_full` that of all.
template <class T>
struct FoldSample {
  size_t num_rows = 0;
  std::vector<T> queries;            // [query_head][row][key_dim]
  std::vector<T> keys;               // [kv_head][row][key_dim]
  std::vector<T> values;             // [kv_head][row][value_dim]
  std::vector<T> full, kept;         // [row][query_head][value_dim]
  std::vector<T> log_sum, log_full;  // [row][query_head]
};

// Fills full, kept and log_sum of a sample that has the rest.
template <class T>
void AttendFully(const FoldLayer& layer, FoldSample<T>* sample);

template <class T>
class FoldLoss {
 public:
  // `gram` [width][width] is W W^T for the layer's output matrix W [width][model width]: it
  // measures an error of attention's output by the square of what the matrix makes of it.
  FoldLoss(const FoldLayer& layer, std::vector<T> gram);

  // The loss over the rows from first_row() on, divided by that of dropping without folding (so
  // that 1 is no better). Its gradient is added to `gradient`. A sample in which dropping costs
  // nothing teaches nothing: 0.
  double Run(std::span<const T> parameters, const FoldSample<T>& sample, std::span<T> gradient);

  // Sets sigma1 of every KV head so that the states' sums are as large as those of what was folded:
  // the logs agree in the mean over rows and query heads, weighted by the folded share.
  void ScaleSigmas(const FoldSample<T>& sample, std::span<T> parameters);

 private:
  // Of one head, over all rows.
  struct Network {
    std::vector<T> before, hidden;   // [row][hidden]: what the GELU gets and gives
    std::vector<T> outer, features;  // [row][rank]: likewise behind the second layer
  };

  void Forward(const T* weights, const T* x, size_t rows, Network* network) const;
  void Backward(const T* weights, const T* x, const Network& network, const T* slopes,
                T* gradient) const;
  void MakeFeatures(std::span<const T> parameters, const FoldSample<T>& sample);
  double Baseline(const FoldSample<T>& sample);
  double AddError(const T* error);
  double Rows(const FoldSample<T>& sample, T factor);
  void Fold(const FoldSample<T>& sample, size_t entry);
  void Answer(const FoldSample<T>& sample, size_t row, uint32_t head);
  void Spread(size_t row, uint32_t head, const T* slope);
  void Unfold(const FoldSample<T>& sample);
  void KeyGradient(const T* weights, uint32_t head, size_t rows, T* gradient);

  FoldLayer layer_;
  std::vector<T> gram_;
  std::vector<Network> queries_, keys_;  // [head]
  std::vector<T> psi_, psi_slopes_;      // [kv_head][row][rank]
  std::vector<T> phi_slopes_;            // [query_head][row][rank]
  std::vector<T> states_;                // [kv_head][rank][1 + value_dim], of the row at hand
  std::vector<T> outputs_, slopes_;      // [width] of the row at hand, and of its loss by them
  std::vector<double> sums_;             // [query_head] of the row at hand: phi z + kept
  std::vector<T> sum_slopes_;            // [row][query_head][1 + value_dim]: by phi z and phi H
};

extern template class FoldLoss<float>;
extern template class FoldLoss<double>;

}  // namespace pith
