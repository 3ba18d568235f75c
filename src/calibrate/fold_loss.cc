#include "calibrate/fold_loss.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

#include "base/check.h"

namespace pith {
namespace {

template <class T>
T Gelu(T x) {
  return x / 2 * (1 + std::erf(x / std::numbers::sqrt2_v<T>));
}

template <class T>
T GeluSlope(T x) {
  const T density = std::exp(-x * x / 2) * std::numbers::inv_sqrtpi_v<T> / std::numbers::sqrt2_v<T>;
  return (1 + std::erf(x / std::numbers::sqrt2_v<T>)) / 2 + x * density;
}

template <class T>
T Sign(T x) {
  return static_cast<T>(x > 0) - static_cast<T>(x < 0);
}

template <class T>
T Dot(const T* a, const T* b, size_t count) {
  T sum = 0;
  for (size_t i = 0; i < count; ++i) sum += a[i] * b[i];
  return sum;
}

template <class T>
void AddScaled(T factor, const T* x, size_t count, T* sum) {
  for (size_t i = 0; i < count; ++i) sum[i] += factor * x[i];
}

// y = x W, x [rows], W [rows][columns].
template <class T>
void Multiply(const T* x, const T* w, size_t rows, size_t columns, T* y) {
  std::fill_n(y, columns, T{0});
  for (size_t i = 0; i < rows; ++i) AddScaled(x[i], w + i * columns, columns, y);
}

void FillUniform(Rng& rng, size_t rows, size_t columns, float* weights) {
  const float limit = std::sqrt(6.0f / static_cast<float>(rows + columns));
  for (size_t i = 0; i < rows * columns; ++i) weights[i] = limit * (2 * rng.Float() - 1);
}

// Softmax over the entries that `sees`; the log of its sum of exponentials.
template <class T, class Sees>
T Attend(const FoldLayer& layer, const FoldSample<T>& sample, size_t row, uint32_t head,
         const Sees& sees, std::vector<T>* scores, T* out) {
  const uint32_t kv_head = head / layer.group();
  const T* q = &sample.queries[(head * sample.num_rows + row) * layer.key_dim];
  const T* keys = &sample.keys[kv_head * sample.num_rows * layer.key_dim];
  const T* values = &sample.values[kv_head * sample.num_rows * layer.value_dim];
  T most = -std::numeric_limits<T>::infinity(), sum = 0;
  for (size_t j = 0; j <= row; ++j) {
    if (!sees(j)) continue;
    (*scores)[j] = static_cast<T>(layer.scale) * Dot(q, keys + j * layer.key_dim, layer.key_dim);
    most = std::max(most, (*scores)[j]);
  }
  std::fill_n(out, layer.value_dim, T{0});
  for (size_t j = 0; j <= row; ++j) {
    if (!sees(j)) continue;
    const T weight = std::exp((*scores)[j] - most);
    sum += weight;
    AddScaled(weight, values + j * layer.value_dim, layer.value_dim, out);
  }
  for (uint32_t c = 0; c < layer.value_dim; ++c) out[c] /= sum;
  return most + std::log(sum);
}

}  // namespace

std::vector<float> FirstParameters(const FoldLayer& layer, Rng& rng) {
  constexpr float kSigma = 1e-4f;
  std::vector<float> all(layer.num_parameters());
  const auto network = [&](float* at) {
    FillUniform(rng, layer.key_dim, layer.hidden, at);
    FillUniform(rng, layer.hidden, layer.rank, at + layer.in_size());
  };
  for (uint32_t head = 0; head < layer.num_query_heads; ++head) network(&all[layer.QueryAt(head)]);
  for (uint32_t head = 0; head < layer.num_kv_heads; ++head) {
    float* const at = &all[layer.KeyAt(head)];
    network(at);
    FillUniform(rng, layer.rank, layer.rank, at + layer.network_size());
    std::fill_n(at + layer.network_size() + size_t{layer.rank} * layer.rank, 2 * layer.rank,
                kSigma);
  }
  return all;
}

template <class T>
void AttendFully(const FoldLayer& layer, FoldSample<T>* sample) {
  const size_t n = sample->num_rows;
  sample->full.resize(n * layer.width());
  sample->kept.resize(n * layer.width());
  sample->log_sum.resize(n * layer.num_query_heads);
  sample->log_full.resize(n * layer.num_query_heads);
  std::vector<T> scores(n);
  for (size_t row = 0; row < n; ++row) {
    for (uint32_t head = 0; head < layer.num_query_heads; ++head) {
      const size_t at = row * layer.num_query_heads + head;
      sample->log_full[at] = Attend(
          layer, *sample, row, head, [](size_t) { return true; }, &scores,
          &sample->full[at * layer.value_dim]);
      const auto kept = [&](size_t j) { return j < layer.sinks || j + layer.recent > row; };
      sample->log_sum[at] =
          Attend(layer, *sample, row, head, kept, &scores, &sample->kept[at * layer.value_dim]);
    }
  }
}

template void AttendFully(const FoldLayer& layer, FoldSample<float>* sample);
template void AttendFully(const FoldLayer& layer, FoldSample<double>* sample);

template <class T>
FoldLoss<T>::FoldLoss(const FoldLayer& layer, std::vector<T> gram)
    : layer_(layer),
      gram_(std::move(gram)),
      queries_(layer.num_query_heads),
      keys_(layer.num_kv_heads),
      states_(layer.num_kv_heads * layer.rank * (size_t{1} + layer.value_dim)),
      outputs_(layer.width()),
      slopes_(layer.width()),
      sums_(layer.num_query_heads) {
  PITH_CHECK(gram_.size() == layer.width() * layer.width());
}

template <class T>
void FoldLoss<T>::Forward(const T* weights, const T* x, size_t rows, Network* network) const {
  const size_t hidden = layer_.hidden, rank = layer_.rank;
  network->before.resize(rows * hidden);
  network->hidden.resize(rows * hidden);
  network->outer.resize(rows * rank);
  network->features.resize(rows * rank);
  for (size_t row = 0; row < rows; ++row) {
    T* const before = &network->before[row * hidden];
    Multiply(x + row * layer_.key_dim, weights, layer_.key_dim, hidden, before);
    std::transform(before, before + hidden, &network->hidden[row * hidden], Gelu<T>);
    T* const outer = &network->outer[row * rank];
    Multiply(&network->hidden[row * hidden], weights + layer_.in_size(), hidden, rank, outer);
    std::transform(outer, outer + rank, &network->features[row * rank], Gelu<T>);
  }
}

// Adds what the features' `slopes` [row][rank] come to for the weights.
template <class T>
void FoldLoss<T>::Backward(const T* weights, const T* x, const Network& network, const T* slopes,
                           T* gradient) const {
  const size_t hidden = layer_.hidden, rank = layer_.rank;
  const T* const out = weights + layer_.in_size();
  T* const out_gradient = gradient + layer_.in_size();
  std::vector<T> outer(rank), before(hidden);
  for (size_t row = 0; row < network.outer.size() / rank; ++row) {
    const T* const slope = slopes + row * rank;
    if (std::all_of(slope, slope + rank, [](T s) { return s == 0; })) continue;
    for (size_t r = 0; r < rank; ++r)
      outer[r] = slope[r] * GeluSlope(network.outer[row * rank + r]);
    for (size_t j = 0; j < hidden; ++j) {
      before[j] =
          Dot(out + j * rank, outer.data(), rank) * GeluSlope(network.before[row * hidden + j]);
      AddScaled(network.hidden[row * hidden + j], outer.data(), rank, out_gradient + j * rank);
    }
    for (size_t c = 0; c < layer_.key_dim; ++c) {
      AddScaled(x[row * layer_.key_dim + c], before.data(), hidden, gradient + c * hidden);
    }
  }
}

template <class T>
void FoldLoss<T>::MakeFeatures(std::span<const T> parameters, const FoldSample<T>& sample) {
  const size_t n = sample.num_rows, rank = layer_.rank;
  for (uint32_t head = 0; head < layer_.num_query_heads; ++head) {
    Forward(&parameters[layer_.QueryAt(head)], &sample.queries[head * n * layer_.key_dim], n,
            &queries_[head]);
  }
  psi_.resize(layer_.num_kv_heads * n * rank);
  for (uint32_t head = 0; head < layer_.num_kv_heads; ++head) {
    const T* const at = &parameters[layer_.KeyAt(head)];
    Forward(at, &sample.keys[head * n * layer_.key_dim], n, &keys_[head]);
    const T* const mix = at + layer_.network_size();
    const T* const sigma1 = mix + rank * rank;
    const T* const sigma2 = sigma1 + rank;
    for (size_t row = 0; row < n; ++row) {
      const T* const f = &keys_[head].features[row * rank];
      for (size_t r = 0; r < rank; ++r) {
        T mixed = 0;
        for (size_t i = 0; i < rank; ++i) mixed += std::abs(sigma1[i]) * f[i] * mix[i * rank + r];
        psi_[(head * n + row) * rank + r] = std::abs(sigma1[r]) * f[r] + mixed * sigma2[r];
      }
    }
  }
}

// The square of what the output matrix makes of an error; half its slope goes to slopes_.
template <class T>
double FoldLoss<T>::AddError(const T* error) {
  const size_t width = layer_.width();
  Multiply(error, gram_.data(), width, width, slopes_.data());
  return static_cast<double>(Dot(error, slopes_.data(), width));
}

template <class T>
double FoldLoss<T>::Baseline(const FoldSample<T>& sample) {
  const size_t width = layer_.width();
  std::vector<T> error(width);
  double sum = 0;
  for (size_t row = layer_.first_row(); row < sample.num_rows; ++row) {
    for (size_t i = 0; i < width; ++i) {
      error[i] = sample.kept[row * width + i] - sample.full[row * width + i];
    }
    sum += AddError(error.data());
  }
  return sum;
}

// Adds an entry to its heads' states.
template <class T>
void FoldLoss<T>::Fold(const FoldSample<T>& sample, size_t entry) {
  const size_t dim = layer_.value_dim, stride = dim + 1, n = sample.num_rows;
  for (uint32_t head = 0; head < layer_.num_kv_heads; ++head) {
    for (size_t r = 0; r < layer_.rank; ++r) {
      T* const state = &states_[(head * layer_.rank + r) * stride];
      const T psi = std::abs(psi_[(head * n + entry) * layer_.rank + r]);
      state[0] += psi;
      AddScaled(psi, &sample.values[(head * n + entry) * dim], dim, state + 1);
    }
  }
}

// The output of a head, into outputs_.
template <class T>
void FoldLoss<T>::Answer(const FoldSample<T>& sample, size_t row, uint32_t head) {
  const size_t dim = layer_.value_dim, stride = dim + 1;
  const T* const f = &queries_[head].features[row * layer_.rank];
  const T* const state = &states_[head / layer_.group() * layer_.rank * stride];
  std::vector<T> sums(stride);
  for (size_t r = 0; r < layer_.rank; ++r) {
    AddScaled(std::abs(f[r]), state + r * stride, stride, sums.data());
  }
  const size_t at = row * layer_.num_query_heads + head;
  const double kept = std::exp(static_cast<double>(sample.log_sum[at]));
  const double sum = static_cast<double>(sums[0]) + kept;
  sums_[head] = sum;
  for (size_t c = 0; c < dim; ++c) {
    const double output =
        static_cast<double>(sums[1 + c]) + kept * static_cast<double>(sample.kept[at * dim + c]);
    outputs_[head * dim + c] = static_cast<T>(output / sum);
  }
}

// From the slope of the loss by a head's output [value_dim] to those by its sums and its features.
template <class T>
void FoldLoss<T>::Spread(size_t row, uint32_t head, const T* slope) {
  const size_t dim = layer_.value_dim, stride = dim + 1, rank = layer_.rank;
  const size_t n = phi_slopes_.size() / (layer_.num_query_heads * rank);
  T* const sums = &sum_slopes_[(row * layer_.num_query_heads + head) * stride];
  const auto inverse = static_cast<T>(1 / sums_[head]);
  sums[0] = -inverse * Dot(slope, &outputs_[head * dim], dim);
  for (size_t c = 0; c < dim; ++c) sums[1 + c] = inverse * slope[c];
  const T* const f = &queries_[head].features[row * rank];
  const T* const state = &states_[head / layer_.group() * rank * stride];
  for (size_t r = 0; r < rank; ++r) {
    phi_slopes_[(head * n + row) * rank + r] = Sign(f[r]) * Dot(sums, state + r * stride, stride);
  }
}

// Goes through the rows with the states as they grow. `factor` is that of the loss.
template <class T>
double FoldLoss<T>::Rows(const FoldSample<T>& sample, T factor) {
  const size_t n = sample.num_rows, dim = layer_.value_dim, width = layer_.width();
  std::ranges::fill(states_, T{0});
  phi_slopes_.assign(layer_.num_query_heads * n * layer_.rank, T{0});
  sum_slopes_.assign(n * layer_.num_query_heads * (dim + 1), T{0});
  std::vector<T> error(width);
  double loss = 0;
  for (size_t row = layer_.first_row(); row < n; ++row) {
    Fold(sample, row - layer_.recent);
    for (uint32_t head = 0; head < layer_.num_query_heads; ++head) Answer(sample, row, head);
    for (size_t i = 0; i < width; ++i) error[i] = outputs_[i] - sample.full[row * width + i];
    loss += AddError(error.data());
    for (T& slope : slopes_) slope *= 2 * factor;
    for (uint32_t head = 0; head < layer_.num_query_heads; ++head) {
      Spread(row, head, &slopes_[head * dim]);
    }
  }
  return loss;
}

// Backwards: an entry gets the slopes of all states that it is in.
template <class T>
void FoldLoss<T>::Unfold(const FoldSample<T>& sample) {
  const size_t n = sample.num_rows, dim = layer_.value_dim, stride = dim + 1, rank = layer_.rank;
  std::ranges::fill(states_, T{0});  // now the slopes by them
  psi_slopes_.assign(psi_.size(), T{0});
  for (size_t row = n; row-- > layer_.first_row();) {
    for (uint32_t head = 0; head < layer_.num_query_heads; ++head) {
      const T* const f = &queries_[head].features[row * rank];
      T* const slopes = &states_[head / layer_.group() * rank * stride];
      const T* const sums = &sum_slopes_[(row * layer_.num_query_heads + head) * stride];
      for (size_t r = 0; r < rank; ++r) {
        AddScaled(std::abs(f[r]), sums, stride, slopes + r * stride);
      }
    }
    const size_t entry = row - layer_.recent;
    for (uint32_t head = 0; head < layer_.num_kv_heads; ++head) {
      const T* const value = &sample.values[(head * n + entry) * dim];
      for (size_t r = 0; r < rank; ++r) {
        const T* const slopes = &states_[(head * rank + r) * stride];
        const size_t at = (head * n + entry) * rank + r;
        psi_slopes_[at] = Sign(psi_[at]) * (slopes[0] + Dot(value, slopes + 1, dim));
      }
    }
  }
}

// Turns the slopes by psi into those by the network's features, and adds those by mix and sigmas.
// Features beyond the network: y = a + (a C) sigma2, a = |sigma1| f.
template <class T>
void FoldLoss<T>::KeyGradient(const T* weights, uint32_t head, size_t rows, T* gradient) {
  const size_t rank = layer_.rank;
  const T* const mix = weights + layer_.network_size();
  const T* const sigma1 = mix + rank * rank;
  const T* const sigma2 = sigma1 + rank;
  T* const mix_gradient = gradient + layer_.network_size();
  std::vector<T> a(rank), mixed(rank), mixed_slopes(rank), a_slopes(rank);
  for (size_t row = 0; row < rows; ++row) {
    const T* const f = &keys_[head].features[row * rank];
    T* const slopes = &psi_slopes_[(head * rows + row) * rank];
    for (size_t r = 0; r < rank; ++r) a[r] = std::abs(sigma1[r]) * f[r];
    Multiply(a.data(), mix, rank, rank, mixed.data());
    for (size_t r = 0; r < rank; ++r) mixed_slopes[r] = slopes[r] * sigma2[r];
    for (size_t i = 0; i < rank; ++i) {
      a_slopes[i] = slopes[i] + Dot(mix + i * rank, mixed_slopes.data(), rank);
      AddScaled(a[i], mixed_slopes.data(), rank, mix_gradient + i * rank);
    }
    for (size_t r = 0; r < rank; ++r) {
      mix_gradient[rank * rank + r] += Sign(sigma1[r]) * f[r] * a_slopes[r];
      mix_gradient[rank * rank + rank + r] += slopes[r] * mixed[r];
      slopes[r] = a_slopes[r] * std::abs(sigma1[r]);
    }
  }
}

template <class T>
double FoldLoss<T>::Run(std::span<const T> parameters, const FoldSample<T>& sample,
                        std::span<T> gradient) {
  PITH_CHECK(parameters.size() == layer_.num_parameters() && gradient.size() == parameters.size());
  const double baseline = Baseline(sample);
  if (!(baseline > 0)) return 0;
  const size_t n = sample.num_rows, rank = layer_.rank, dim = layer_.key_dim;
  MakeFeatures(parameters, sample);
  const double loss = Rows(sample, static_cast<T>(1 / baseline)) / baseline;
  Unfold(sample);
  for (uint32_t head = 0; head < layer_.num_query_heads; ++head) {
    const size_t at = layer_.QueryAt(head);
    Backward(&parameters[at], &sample.queries[head * n * dim], queries_[head],
             &phi_slopes_[head * n * rank], &gradient[at]);
  }
  for (uint32_t head = 0; head < layer_.num_kv_heads; ++head) {
    const size_t at = layer_.KeyAt(head);
    KeyGradient(&parameters[at], head, n, &gradient[at]);
    Backward(&parameters[at], &sample.keys[head * n * dim], keys_[head],
             &psi_slopes_[head * n * rank], &gradient[at]);
  }
  return loss;
}

template <class T>
void FoldLoss<T>::ScaleSigmas(const FoldSample<T>& sample, std::span<T> parameters) {
  const size_t rank = layer_.rank, stride = size_t{layer_.value_dim} + 1;
  const auto sigma1 = [&](uint32_t head) {
    return &parameters[layer_.KeyAt(head) + layer_.network_size() + rank * rank];
  };
  for (uint32_t head = 0; head < layer_.num_kv_heads; ++head) std::fill_n(sigma1(head), rank, T{1});
  MakeFeatures(parameters, sample);
  std::ranges::fill(states_, T{0});
  std::vector<double> sums(layer_.num_kv_heads), shares(layer_.num_kv_heads);
  for (size_t row = layer_.first_row(); row < sample.num_rows; ++row) {
    Fold(sample, row - layer_.recent);
    for (uint32_t head = 0; head < layer_.num_query_heads; ++head) {
      const uint32_t kv_head = head / layer_.group();
      double features = 0;
      for (size_t r = 0; r < rank; ++r) {
        features += std::abs(static_cast<double>(queries_[head].features[row * rank + r])) *
                    static_cast<double>(states_[(kv_head * rank + r) * stride]);
      }
      const size_t at = row * layer_.num_query_heads + head;
      const auto log_full = static_cast<double>(sample.log_full[at]);
      const double share = 1 - std::exp(static_cast<double>(sample.log_sum[at]) - log_full);
      if (!(share > 0 && features > 0)) continue;
      sums[kv_head] += share * (log_full + std::log(share) - std::log(features));
      shares[kv_head] += share;
    }
  }
  for (uint32_t head = 0; head < layer_.num_kv_heads; ++head) {
    if (shares[head] == 0) continue;
    // Within what a profile may hold.
    std::fill_n(sigma1(head), rank,
                static_cast<T>(std::exp(std::min(sums[head] / shares[head], 60.0))));
  }
}

template class FoldLoss<float>;
template class FoldLoss<double>;

}  // namespace pith
