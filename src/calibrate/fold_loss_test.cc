#include "calibrate/fold_loss.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

namespace pith {
namespace {

constexpr FoldLayer kLayer{.num_query_heads = 4,
                           .num_kv_heads = 2,
                           .key_dim = 3,
                           .value_dim = 2,
                           .hidden = 5,
                           .rank = 3,
                           .sinks = 2,
                           .recent = 3,
                           .scale = 0.7f};
constexpr size_t kRows = 13;

std::vector<double> AnyNumbers(Rng& rng, size_t count, double size = 1) {
  std::vector<double> numbers(count);
  for (double& x : numbers) x = size * rng.Normal();
  return numbers;
}

FoldSample<double> AnySample(uint64_t seed, size_t rows = kRows) {
  Rng rng(seed, 1);
  FoldSample<double> sample{.num_rows = rows,
                            .queries = AnyNumbers(rng, 4 * rows * 3),
                            .keys = AnyNumbers(rng, 2 * rows * 3),
                            .values = AnyNumbers(rng, 2 * rows * 2)};
  AttendFully(kLayer, &sample);
  return sample;
}

// W W^T of any W with 5 columns.
std::vector<double> AnyGram(uint64_t seed) {
  Rng rng(seed, 2);
  const size_t width = kLayer.width();
  const std::vector<double> w = AnyNumbers(rng, width * 5);
  std::vector<double> gram(width * width);
  for (size_t i = 0; i < width; ++i) {
    for (size_t j = 0; j < width; ++j) {
      for (size_t c = 0; c < 5; ++c) gram[i * width + j] += w[i * 5 + c] * w[j * 5 + c];
    }
  }
  return gram;
}

std::vector<double> AnyParameters(uint64_t seed) {
  Rng rng(seed, 3);
  return AnyNumbers(rng, kLayer.num_parameters(), 0.8);
}

double Gelu(double x) { return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0))); }

// gelu(gelu(x A) B), as the paper writes it.
std::vector<double> Features(const double* weights, const double* x) {
  std::vector<double> hidden(kLayer.hidden), out(kLayer.rank);
  for (size_t j = 0; j < kLayer.hidden; ++j) {
    for (size_t c = 0; c < kLayer.key_dim; ++c) hidden[j] += x[c] * weights[c * kLayer.hidden + j];
    hidden[j] = Gelu(hidden[j]);
  }
  for (size_t r = 0; r < kLayer.rank; ++r) {
    for (size_t j = 0; j < kLayer.hidden; ++j) {
      out[r] += hidden[j] * weights[kLayer.in_size() + j * kLayer.rank + r];
    }
    out[r] = Gelu(out[r]);
  }
  return out;
}

std::vector<double> Psi(const double* weights, const double* key) {
  std::vector<double> a = Features(weights, key), psi(kLayer.rank);
  const double* const mix = weights + kLayer.network_size();
  const double* const sigma1 = mix + size_t{kLayer.rank} * kLayer.rank;
  const double* const sigma2 = sigma1 + kLayer.rank;
  for (size_t r = 0; r < kLayer.rank; ++r) a[r] *= std::abs(sigma1[r]);
  for (size_t r = 0; r < kLayer.rank; ++r) {
    double mixed = 0;
    for (size_t i = 0; i < kLayer.rank; ++i) mixed += a[i] * mix[i * kLayer.rank + r];
    psi[r] = std::abs(a[r] + mixed * sigma2[r]);
  }
  return psi;
}

// The outputs of a row, entry by entry: folded entries weigh phi . psi instead of an exponential.
// With `fold` 0 they weigh nothing, with 2 what they weigh in full attention.
std::vector<double> Outputs(const std::vector<double>& parameters, const FoldSample<double>& sample,
                            size_t row, int fold) {
  std::vector<double> out(kLayer.width());
  for (uint32_t head = 0; head < kLayer.num_query_heads; ++head) {
    const uint32_t kv_head = head / kLayer.group();
    const double* const q = &sample.queries[(head * sample.num_rows + row) * kLayer.key_dim];
    const std::vector<double> phi = Features(&parameters[kLayer.QueryAt(head)], q);
    double sum = 0;
    std::vector<double> sums(kLayer.value_dim);
    for (size_t j = 0; j <= row; ++j) {
      const double* const key = &sample.keys[(kv_head * sample.num_rows + j) * kLayer.key_dim];
      double score = 0, weight = 0;
      for (size_t c = 0; c < kLayer.key_dim; ++c) score += double{kLayer.scale} * q[c] * key[c];
      if (j < kLayer.sinks || row - j < kLayer.recent || fold == 2) {
        weight = std::exp(score);
      } else if (fold == 1) {
        const std::vector<double> psi = Psi(&parameters[kLayer.KeyAt(kv_head)], key);
        for (size_t r = 0; r < kLayer.rank; ++r) weight += std::abs(phi[r]) * psi[r];
      }
      sum += weight;
      for (size_t c = 0; c < kLayer.value_dim; ++c) {
        sums[c] += weight * sample.values[(kv_head * sample.num_rows + j) * kLayer.value_dim + c];
      }
    }
    for (size_t c = 0; c < kLayer.value_dim; ++c) out[head * kLayer.value_dim + c] = sums[c] / sum;
  }
  return out;
}

double Loss(const std::vector<double>& parameters, const FoldSample<double>& sample,
            const std::vector<double>& gram) {
  double folded = 0, dropped = 0;
  for (size_t row = kLayer.first_row(); row < sample.num_rows; ++row) {
    const std::vector<double> full = Outputs(parameters, sample, row, 2);
    const auto square = [&](const std::vector<double>& out) {
      double sum = 0;
      for (size_t i = 0; i < out.size(); ++i) {
        for (size_t j = 0; j < out.size(); ++j) {
          sum += (out[i] - full[i]) * gram[i * out.size() + j] * (out[j] - full[j]);
        }
      }
      return sum;
    };
    folded += square(Outputs(parameters, sample, row, 1));
    dropped += square(Outputs(parameters, sample, row, 0));
  }
  return folded / dropped;
}

TEST(FoldLoss, IsThatOfFoldingEntryByEntry) {
  for (uint64_t seed = 1; seed < 6; ++seed) {
    const FoldSample<double> sample = AnySample(seed);
    const std::vector<double> gram = AnyGram(seed), parameters = AnyParameters(seed);
    std::vector<double> gradient(parameters.size());
    const double loss = FoldLoss<double>(kLayer, gram).Run(parameters, sample, gradient);
    EXPECT_NEAR(loss, Loss(parameters, sample, gram), 1e-9);
  }
}

TEST(FoldLoss, Gradient_IsThatOfCentralDifferences) {
  const FoldSample<double> sample = AnySample(7);
  const std::vector<double> gram = AnyGram(7);
  std::vector<double> parameters = AnyParameters(7), gradient(parameters.size());
  FoldLoss<double> loss(kLayer, gram);
  loss.Run(parameters, sample, gradient);
  double largest = 0;
  for (size_t i = 0; i < parameters.size(); ++i) {
    constexpr double kStep = 1e-5;
    std::vector<double> unused(parameters.size());
    const double before = parameters[i];
    parameters[i] = before + kStep;
    const double above = loss.Run(parameters, sample, unused);
    parameters[i] = before - kStep;
    const double below = loss.Run(parameters, sample, unused);
    parameters[i] = before;
    EXPECT_NEAR(gradient[i], (above - below) / (2 * kStep), 1e-7 + 1e-5 * std::abs(gradient[i]))
        << i;
    largest = std::max(largest, std::abs(gradient[i]));
  }
  EXPECT_GT(largest, 1e-3);  // there is a slope at all
}

TEST(FoldLoss, GradientIsAddedTo) {
  const FoldSample<double> sample = AnySample(3);
  const std::vector<double> parameters = AnyParameters(3);
  std::vector<double> once(parameters.size()), twice(parameters.size());
  FoldLoss<double> loss(kLayer, AnyGram(3));
  loss.Run(parameters, sample, once);
  loss.Run(parameters, sample, twice);
  loss.Run(parameters, sample, twice);
  for (size_t i = 0; i < once.size(); ++i) EXPECT_NEAR(twice[i], 2 * once[i], 1e-12);
}

TEST(FoldLoss, FeaturesOfZero_AreNoBetterThanDropping) {
  const FoldSample<double> sample = AnySample(4);
  const std::vector<double> parameters(kLayer.num_parameters(), 0.0);
  std::vector<double> gradient(parameters.size());
  EXPECT_DOUBLE_EQ(FoldLoss<double>(kLayer, AnyGram(4)).Run(parameters, sample, gradient), 1);
}

TEST(FoldLoss, TextWithinTheWindow_TeachesNothing) {
  const FoldSample<double> sample = AnySample(5, kLayer.first_row());
  const std::vector<double> parameters = AnyParameters(5);
  std::vector<double> gradient(parameters.size());
  EXPECT_EQ(FoldLoss<double>(kLayer, AnyGram(5)).Run(parameters, sample, gradient), 0);
  EXPECT_TRUE(std::ranges::all_of(gradient, [](double x) { return x == 0; }));
}

// One KV head whose folded entries weigh e^3 times what they did: sigma1 grows by that.
TEST(FoldLoss, ScaledSigmas_FollowTheFoldedSum) {
  FoldSample<double> sample = AnySample(8);
  std::vector<double> parameters = AnyParameters(8);
  FoldLoss<double> loss(kLayer, AnyGram(8));
  const size_t sigma1 = kLayer.KeyAt(1) + kLayer.network_size() + size_t{kLayer.rank} * kLayer.rank;
  loss.ScaleSigmas(sample, parameters);
  const double before = parameters[sigma1];
  EXPECT_GT(before, 0);
  EXPECT_EQ(parameters[sigma1 + 1], before);
  for (double& x : sample.log_sum) x += 3;
  for (double& x : sample.log_full) x += 3;
  loss.ScaleSigmas(sample, parameters);
  EXPECT_NEAR(parameters[sigma1] / before, std::exp(3.0), 1e-9);
}

TEST(FoldLoss, InFloat_IsNear) {
  const FoldSample<double> sample = AnySample(6);
  const auto narrow = [](const std::vector<double>& x) {
    return std::vector<float>(x.begin(), x.end());
  };
  const FoldSample<float> small{sample.num_rows,        narrow(sample.queries), narrow(sample.keys),
                                narrow(sample.values),  narrow(sample.full),    narrow(sample.kept),
                                narrow(sample.log_sum), narrow(sample.log_full)};
  const std::vector<double> parameters = AnyParameters(6);
  std::vector<double> gradient(parameters.size());
  std::vector<float> small_gradient(parameters.size());
  const double loss = FoldLoss<double>(kLayer, AnyGram(6)).Run(parameters, sample, gradient);
  EXPECT_NEAR(
      FoldLoss<float>(kLayer, narrow(AnyGram(6))).Run(narrow(parameters), small, small_gradient),
      loss, 1e-4);
  for (size_t i = 0; i < gradient.size(); ++i) EXPECT_NEAR(small_gradient[i], gradient[i], 1e-3);
}

}  // namespace
}  // namespace pith
