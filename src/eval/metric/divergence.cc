#include "eval/metric/divergence.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace pith {

double LogSum(std::span<const float> logits) {
  const double highest = std::ranges::max(logits);
  double sum = 0;
  for (const float logit : logits) sum += std::exp(double{logit} - highest);
  return highest + std::log(sum);
}

double Divergence(std::span<const float> p_logits, std::span<const float> q_logits) {
  const double p_sum = LogSum(p_logits), q_sum = LogSum(q_logits);
  double divergence = 0;
  for (size_t i = 0; i < p_logits.size(); ++i) {
    const double log_p = double{p_logits[i]} - p_sum, log_q = double{q_logits[i]} - q_sum;
    divergence += std::exp(log_p) * (log_p - log_q);
  }
  return std::max(0.0, divergence);
}

}  // namespace pith
