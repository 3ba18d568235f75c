// Feature networks, once per SIMD target.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernel/features.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernel/features.h"
#include "kernel/octet-inl.h"

HWY_BEFORE_NAMESPACE();
namespace pith {
namespace HWY_NAMESPACE {

// gelu(x) = max(x, 0) - |x| / 2 * erfc(|x| / sqrt(2)). The error function is 7.1.26 of Abramowitz
// and Stegun's handbook, a polynomial in t = 1 / (1 + p |x| / sqrt(2)) times exp(-x^2 / 2), which
// is off by 1.5e-7 at most.
HWY_INLINE Octet Gelu(const Octet& x) {
  const Octet zero = Broadcast(0.0f), one = Broadcast(1.0f);
  const Octet size = Max(x, Sub(zero, x));
  const Octet t = Div(one, MulAdd(size, Broadcast(0.23164189f), one));  // p / sqrt(2)
  Octet p = Broadcast(1.061405429f);
  p = MulAdd(p, t, Broadcast(-1.453152027f));
  p = MulAdd(p, t, Broadcast(1.421413741f));
  p = MulAdd(p, t, Broadcast(-0.284496736f));
  p = MulAdd(p, t, Broadcast(0.254829592f));
  constexpr float kHalfLog2E = 0.72134752f;
  const Octet power = Exp2(Mul(Mul(size, Broadcast(-kHalfLog2E)), size));
  const Octet half = Mul(size, Broadcast(0.5f));
  return Sub(Max(x, zero), Mul(half, Mul(Mul(p, t), power)));
}

constexpr size_t kOctets = FeatureNetwork::kBlock / 8;

void RunNetwork(const FeatureNetwork& network, const float* x, float* features) {
  float hidden[kMaxHidden];
  for (uint32_t block = 0; block < network.num_blocks(); ++block) {
    const F16* weights = network.in_block(block);
    Octet sums[kOctets];
    PITH_UNROLL for (size_t i = 0; i < kOctets; ++i) sums[i] = Broadcast(0.0f);
    for (uint32_t c = 0; c < network.dim(); ++c, weights += FeatureNetwork::kBlock) {
      const Octet channel = Broadcast(x[c]);
      PITH_UNROLL for (size_t i = 0; i < kOctets; ++i) {
        sums[i] = MulAdd(channel, LoadOctet(weights + 8 * i), sums[i]);
      }
    }
    float* out = hidden + block * FeatureNetwork::kBlock;
    PITH_UNROLL for (size_t i = 0; i < kOctets; ++i) StoreOctet(Gelu(sums[i]), out + 8 * i);
  }
  const uint32_t num_hidden = network.num_blocks() * FeatureNetwork::kBlock;
  for (uint32_t r = 0; r < network.rank(); ++r) {
    const F16* weights = network.out_row(r);
    Octet sums[2] = {Broadcast(0.0f), Broadcast(0.0f)};
    for (uint32_t j = 0; j < num_hidden; j += 16) {
      sums[0] = MulAdd(LoadOctet(hidden + j), LoadOctet(weights + j), sums[0]);
      sums[1] = MulAdd(LoadOctet(hidden + j + 8), LoadOctet(weights + j + 8), sums[1]);
    }
    features[r] = SumLanes(Add(sums[0], sums[1]));
  }
  for (uint32_t r = 0; r < network.rank(); r += 8) {
    const size_t count = network.rank() - r < 8 ? network.rank() - r : 8;
    StoreOctetN(Gelu(LoadOctetN(features + r, count)), features + r, count);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace pith
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <algorithm>
#include <cmath>
#include <limits>

#include "base/check.h"
#include "kernel/attend_layout.h"
#include "simd/half.h"

namespace pith {

HWY_EXPORT(RunNetwork);

FeatureNetwork::FeatureNetwork(uint32_t dim, uint32_t hidden, uint32_t rank,
                               std::span<const float> in, std::span<const float> out)
    : dim_(dim), rank_(rank), num_blocks_((hidden + kBlock - 1) / kBlock) {
  PITH_CHECK(dim > 0 && dim <= kMaxDim && hidden > 0 && hidden <= kMaxHidden);
  PITH_CHECK(rank > 0 && rank <= kMaxFeatures);
  PITH_CHECK(in.size() == size_t{dim} * hidden && out.size() == size_t{hidden} * rank);
  in_.resize(size_t{num_blocks_} * dim * kBlock);
  out_.resize(size_t{rank} * num_blocks_ * kBlock);
  for (uint32_t j = 0; j < hidden; ++j) {
    F16* const column = &in_[size_t{j / kBlock} * dim * kBlock + j % kBlock];
    for (uint32_t c = 0; c < dim; ++c) {
      column[size_t{c} * kBlock] = F16FromF32(in[size_t{c} * hidden + j]);
    }
    for (uint32_t r = 0; r < rank; ++r) {
      out_[size_t{r} * num_blocks_ * kBlock + j] = F16FromF32(out[size_t{j} * rank + r]);
    }
  }
}

void FeatureNetwork::Run(const float* x, float* features) const {
  HWY_DYNAMIC_DISPATCH(RunNetwork)(*this, x, features);
}

void KeyFeatures::Run(const float* key, float* psi) const {
  const uint32_t rank = network.rank();
  float a[kMaxFeatures];
  network.Run(key, a);
  for (uint32_t r = 0; r < rank; ++r) a[r] *= std::abs(sigma1[r]);
  for (uint32_t r = 0; r < rank; ++r) {
    float mixed = 0;
    for (uint32_t i = 0; i < rank; ++i) mixed += a[i] * mix[size_t{i} * rank + r];
    psi[r] = std::abs(a[r] + mixed * sigma2[r]);
  }
}

float FoldedEntry(const AttendFold& fold, const FeatureNetwork& network, const float* q,
                  uint32_t value_dim, float* value) {
  float phi[kMaxFeatures];
  network.Run(q, phi);
  const size_t stride = size_t{1} + value_dim;
  float sum = 0;
  std::fill_n(value, value_dim, 0.0f);
  for (uint32_t r = 0; r < network.rank(); ++r) {
    const float* row = fold.state + r * stride;
    const float feature = std::abs(phi[r]);
    sum += feature * row[0];
    for (uint32_t c = 0; c < value_dim; ++c) value[c] += feature * row[1 + c];
  }
  if (sum <= 0) return std::numeric_limits<float>::lowest();
  for (uint32_t c = 0; c < value_dim; ++c) value[c] /= sum;
  return std::log2(sum);
}

}  // namespace pith
#endif  // HWY_ONCE
