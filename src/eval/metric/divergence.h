// How far apart two distributions of the next token are.
#pragma once

#include <span>

namespace pith {

// log of the sum of exp(logits), in double precision. Not for empty spans.
double LogSum(std::span<const float> logits);

// The Kullback-Leibler divergence sum p ln(p / q), in nats, of the distributions that logits stand
// for; logarithms of probabilities are logits, too. 0 or more: what rounding leaves below is cut.
double Divergence(std::span<const float> p_logits, std::span<const float> q_logits);

}  // namespace pith
