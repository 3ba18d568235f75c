#include <algorithm>
#include <cmath>

#include "kernel/probability.h"
#include "method/support.h"

namespace pith {
namespace {

constexpr std::string_view kValues[] = {"norm", "none"};
constexpr ParameterInfo kParameters[] = {
    SinksParameter("4"),
    {.name = "future",
     .type = ParameterType::kInteger,
     .default_value = "512",
     .min = 1,
     .max = 16384,
     .meaning = "coming positions whose rotations are averaged"},
    {.name = "eps",
     .type = ParameterType::kNumber,
     .default_value = "0",
     .min = 0,
     .max = 1,
     .meaning = "added to the expected attention, so that large values count by themselves; "
                "alloc=ada wants 0.01"},
    {.name = "values",
     .type = ParameterType::kWord,
     .default_value = "norm",
     .words = kValues,
     .meaning = "norm: multiply by the length of the value; select=critical wants none"},
};

// Turns `v` [key_dim] by the mean rotation of the coming positions.
void Rotate(const HeadInput& head, std::span<float> v) {
  const size_t pairs = head.mean_cosine.size();
  for (size_t i = 0; i < pairs; ++i) {
    float& first = v[head.interleaved ? 2 * i : i];
    float& second = v[head.interleaved ? 2 * i + 1 : i + pairs];
    const float x = first, y = second;
    first = head.mean_cosine[i] * x - head.mean_sine[i] * y;
    second = head.mean_sine[i] * x + head.mean_cosine[i] * y;
  }
}

// R S R' for the symmetric S: its rows are turned, then its columns.
void RotateBothSides(const HeadInput& head, std::span<float> matrix) {
  const size_t dim = head.key_dim;
  for (int side = 0; side < 2; ++side) {
    for (size_t a = 0; a < dim; ++a) Rotate(head, matrix.subspan(a * dim, dim));
    for (size_t a = 0; a < dim; ++a) {
      for (size_t b = 0; b < a; ++b) std::swap(matrix[a * dim + b], matrix[b * dim + a]);
    }
  }
}

// The logarithm of the mean of exp(scale * q . k), over queries q of a normal distribution.
std::vector<double> ExpectedLogits(const HeadInput& head, const PackedKeys& keys, uint32_t query) {
  const size_t n = head.num_entries(), dim = head.key_dim;
  const auto mean_in = head.query_mean.subspan(query * dim, dim);
  const auto covariance_in = head.query_covariance.subspan(query * dim * dim, dim * dim);
  std::vector<float> mean(mean_in.begin(), mean_in.end());
  std::vector<float> covariance(covariance_in.begin(), covariance_in.end());
  Rotate(head, mean);
  RotateBothSides(head, covariance);

  const size_t stride = keys.padded_count();
  std::vector<float> products(kProbabilityRows * stride);
  const float* const of_mean[] = {mean.data()};
  Products(keys, of_mean, products.data(), stride);
  std::vector<double> logits(n);
  for (size_t j = 0; j < n; ++j) logits[j] = double{head.scale} * products[j];
  const double half = 0.5 * head.scale * head.scale;
  for (size_t first = 0; first < dim; first += kProbabilityRows) {
    const float* rows[kProbabilityRows];
    const size_t count = std::min(kProbabilityRows, dim - first);
    for (size_t i = 0; i < count; ++i) rows[i] = covariance.data() + (first + i) * dim;
    Products(keys, {rows, count}, products.data(), stride);
    for (size_t i = 0; i < count; ++i) {
      for (size_t j = 0; j < n; ++j) {
        logits[j] += half * head.keys[j * dim + first + i] * products[i * stride + j];
      }
    }
  }
  return logits;
}

// Adds the softmax of `logits` to `sum`.
void AddSoftmax(std::span<const double> logits, std::span<double> sum) {
  const double highest = *std::ranges::max_element(logits);
  double total = 0;
  for (const double z : logits) total += std::exp(z - highest);
  for (size_t j = 0; j < sum.size(); ++j) sum[j] += std::exp(logits[j] - highest) / total;
}

void Score(const HeadInput& head, Parameters p, std::span<float> scores) {
  const auto sinks = static_cast<int32_t>(p[0].number);
  const auto first =
      static_cast<size_t>(std::ranges::lower_bound(head.positions, sinks) - head.positions.begin());
  const PackedKeys keys(head.keys, head.key_dim);
  std::vector<double> attention(scores.size() - first);
  for (uint32_t q = 0; q < head.group && !attention.empty(); ++q) {
    AddSoftmax(std::span<const double>(ExpectedLogits(head, keys, q)).subspan(first), attention);
  }
  for (size_t j = first; j < scores.size(); ++j) {
    double squares = 1;
    if (p[3].word == "norm") {
      squares = 0;
      for (const float x : head.values.subspan(j * head.value_dim, head.value_dim))
        squares += double{x} * x;
    }
    scores[j] =
        static_cast<float>((attention[j - first] / head.group + p[2].number) * std::sqrt(squares));
  }
  Protect(head, static_cast<uint64_t>(sinks), 0, scores);
}

Needs Gather(Parameters p) {
  return {.query_moments = true,
          .future = static_cast<uint32_t>(p[1].number),
          .keys = true,
          .values = p[3].word == "norm"};
}

}  // namespace

const MethodInfo& ExpectedMethod() {
  static constexpr Part kParts[] = {
      {.stage = Stage::kScore,
       .name = "expected",
       .summary =
           "the attention that coming queries are expected to give, times the value's length",
       .parameters = kParameters,
       .needs = "keys, values, mean and covariance of the queries before rope",
       .protects = "the sinks",
       .gather = Gather,
       .num_protected = [](Parameters p, uint64_t) { return static_cast<uint64_t>(p[0].number); },
       .score = Score},
  };
  static constexpr MethodInfo kInfo = {
      .name = "expected",
      .summary =
          "Models the queries to come as a normal distribution, with the mean and covariance of "
          "those seen so far (all but the first 4), turned by the mean rotation of the coming "
          "positions. Each entry is scored by the attention that such a query is expected to give, "
          "times the length of its value. It needs no window, so it may serve before the question "
          "is known.",
      .paper =
          "Expected Attention: KV Cache Compression by Estimating Attention from Future Queries "
          "Distribution",
      .arxiv = "2510.00636",
      .parts = kParts,
      .recipe = "score=expected",
      .identity = "a budget of at least the prompt's length",
  };
  return kInfo;
}

}  // namespace pith
