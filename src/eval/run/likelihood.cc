#include "eval/run/likelihood.h"

#include <algorithm>
#include <cmath>

#include "eval/metric/divergence.h"

namespace pith {
namespace {

constexpr size_t kMaxParts = 32;
constexpr uint64_t kMaxReferenceBytes = uint64_t{4} << 30;

// Linear interpolation between the sorted values' order statistics.
double Quantile(const std::vector<double>& sorted, double q) {
  const double at = q * static_cast<double>(sorted.size() - 1);
  const auto low = static_cast<size_t>(at);
  const size_t high = std::min(low + 1, sorted.size() - 1);
  return sorted[low] + (at - static_cast<double>(low)) * (sorted[high] - sorted[low]);
}

double Mean(std::span<const double> values) {
  double sum = 0;
  for (const double value : values) sum += value;
  return sum / static_cast<double>(values.size());
}

size_t TopToken(std::span<const float> values) {  // the lower one of equals
  return static_cast<size_t>(std::ranges::max_element(values) - values.begin());
}

std::vector<double> MeansOfParts(std::span<const double> values) {
  const size_t parts = std::min(kMaxParts, values.size());
  std::vector<double> means;
  for (size_t i = 0; i < parts; ++i) {
    const size_t begin = i * values.size() / parts;
    means.push_back(Mean(values.subspan(begin, (i + 1) * values.size() / parts - begin)));
  }
  return means;
}

}  // namespace

void LogSoftmax(std::span<const float> logits, std::span<float> out) {
  const double shift = LogSum(logits);
  for (size_t i = 0; i < logits.size(); ++i) out[i] = static_cast<float>(logits[i] - shift);
}

void LikelihoodSums::Add(std::span<const float> log_probabilities, int32_t token,
                         std::span<const float> reference) {
  const double log_p = log_probabilities[token];
  nll_sum_ -= log_p;
  nll_sum_squares_ += log_p * log_p;
  ++tokens_;
  if (reference.empty()) return;
  divergence_.push_back(Divergence(reference, log_probabilities));
  same_top_ += TopToken(reference) == TopToken(log_probabilities);
  const double change = std::exp(log_p) - std::exp(static_cast<double>(reference[token]));
  change_sum_ += change;
  change_sum_squares_ += change * change;
}

RecordedLikelihood LikelihoodSums::Finish() const {
  RecordedLikelihood result;
  result.tokens = tokens_;
  result.nll_sum = nll_sum_;
  result.nll_sum_squares = nll_sum_squares_;
  if (divergence_.empty()) return result;
  std::vector<double> sorted = divergence_;
  std::ranges::sort(sorted);
  const auto count = static_cast<double>(divergence_.size());
  RecordedLikelihood::Divergence& d = result.divergence.emplace();
  d.mean = Mean(divergence_);
  d.median = Quantile(sorted, 0.5);
  d.p90 = Quantile(sorted, 0.9);
  d.p99 = Quantile(sorted, 0.99);
  d.p999 = Quantile(sorted, 0.999);
  d.max = sorted.back();
  d.same_top = static_cast<double>(same_top_) / count;
  d.p_true_change = change_sum_ / count;
  d.p_true_rms = std::sqrt(change_sum_squares_ / count);
  d.by_position = MeansOfParts(divergence_);
  return result;
}

Result<RecordedLikelihood> ScoreText(Engine& engine, Sequence& sequence,
                                     std::span<const float> logits, std::span<const int32_t> scored,
                                     ReferenceDistributions* reference,
                                     const std::atomic<bool>* interrupted) {
  const size_t vocabulary = logits.size();
  const bool fill = reference != nullptr && reference->log_probabilities.empty();
  if (fill) {
    const uint64_t numbers = static_cast<uint64_t>(scored.size()) * vocabulary;
    if (numbers * sizeof(float) > kMaxReferenceBytes) {
      return InputError("the full cache's distributions over " + std::to_string(scored.size()) +
                            " tokens would take more than 4 GiB",
                        "--score-tokens", "Score fewer tokens.");
    }
    reference->vocabulary = static_cast<uint32_t>(vocabulary);
    reference->log_probabilities.resize(numbers);
  }
  std::vector<float> own(vocabulary);
  LikelihoodSums sums;
  for (size_t i = 0; i < scored.size(); ++i) {
    if (interrupted != nullptr && *interrupted) return Failure("interrupted");
    LogSoftmax(logits, own);
    std::span<float> kept;
    if (reference != nullptr) {
      kept = std::span(reference->log_probabilities).subspan(i * vocabulary, vocabulary);
    }
    if (fill) std::ranges::copy(own, kept.begin());
    sums.Add(own, scored[i], fill ? std::span<const float>() : kept);
    if (i + 1 == scored.size()) break;  // nothing is scored after the last one
    Sequence* const one[] = {&sequence};
    PITH_ASSIGN(logits, engine.Step(one, scored.subspan(i, 1)));
  }
  return sums.Finish();
}

}  // namespace pith
