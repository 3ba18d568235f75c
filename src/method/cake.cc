#include <algorithm>
#include <cmath>
#include <functional>

#include "method/support.h"

namespace pith {
namespace {

constexpr ParameterInfo QueriesParameter(std::string_view name, std::string_view meaning) {
  return {.name = name,
          .type = ParameterType::kInteger,
          .default_value = "32",
          .min = 2,
          .max = 512,
          .meaning = meaning};
}

constexpr ParameterInfo kScoreParameters[] = {
    QueriesParameter("window", "newest entries, which are kept and whose queries judge the others"),
    {.name = "gamma",
     .type = ParameterType::kNumber,
     .default_value = "200",
     .min = 0,
     .max = 1e6,
     .meaning = "what the variance of an entry's attention counts beside its mean"},
    KernelParameter("5", "entries that are pooled by the mean, so that neighbours stay together"),
};

constexpr ParameterInfo TemperatureParameter(std::string_view name, std::string_view meaning) {
  return {.name = name,
          .type = ParameterType::kNumber,
          .default_value = "1",
          .min = 0.1,
          .max = 10,
          .meaning = meaning};
}

constexpr ParameterInfo kAllocParameters[] = {
    TemperatureParameter("tau1",
                         "the smaller, the more the spread of attention over the entries "
                         "decides; what suits depends on model and budget"),
    TemperatureParameter("tau2", "likewise for its change from query to query"),
    QueriesParameter("queries",
                     "last queries whose attention to what came before them is measured"),
};

// Of the probabilities that the window's queries give to the entries before it, over the queries.
struct WindowMoments {
  std::vector<double> mean, variance;  // variance of a sample; 0 if there is one query only
  double entropy = 0;                  // the sum of -p log p, if it is asked for
};

enum class Entropy : bool { kLeaveOut, kSum };

// Visits the query heads of the group in order.
void VisitMoments(const HeadInput& head, uint32_t window, Entropy entropy,
                  const std::function<void(const WindowMoments&)>& visit) {
  const size_t body = head.num_entries() - std::min<size_t>(head.num_entries(), window);
  const uint32_t rows = WindowRows(head, window);
  std::vector<double> squares(body);
  WindowMoments moments;
  VisitWindow(head, window, [&](uint32_t, uint32_t row, std::span<const float> probabilities) {
    if (row == 0) {
      moments = {std::vector<double>(body), std::vector<double>(body), 0};
      std::ranges::fill(squares, 0.0);
    }
    for (size_t j = 0; j < body; ++j) {
      const double p = probabilities[j];
      moments.mean[j] += p / rows;
      squares[j] += p * p;
      if (entropy == Entropy::kSum) moments.entropy -= p * std::log(p + 1e-10);
    }
    if (row + 1 < rows) return;
    for (size_t j = 0; j < body && rows > 1; ++j) {
      const double around_mean = squares[j] - rows * moments.mean[j] * moments.mean[j];
      moments.variance[j] = std::max(0.0, around_mean / (rows - 1));
    }
    visit(moments);
  });
}

void Score(const HeadInput& head, Parameters p, std::span<float> scores) {
  const auto window = static_cast<uint32_t>(p[0].number);
  const auto out = scores.first(scores.size() - std::min<size_t>(scores.size(), window));
  std::vector<float> sums(out.size());
  VisitMoments(head, window, Entropy::kLeaveOut, [&](const WindowMoments& moments) {
    for (size_t j = 0; j < sums.size(); ++j) {
      sums[j] +=
          static_cast<float>((moments.mean[j] + p[1].number * moments.variance[j]) / head.group);
    }
  });
  MeanPool(sums, static_cast<uint32_t>(p[2].number), out);
  Protect(head, 0, window, scores);
}

enum Statistic : size_t { kEntropy, kVariance, kNumStatistics };

void Measure(const HeadInput& head, Parameters p, std::span<double> statistics) {
  std::ranges::fill(statistics, 0.0);
  VisitMoments(head, static_cast<uint32_t>(p[2].number), Entropy::kSum,
               [&](const WindowMoments& moments) {
                 statistics[kEntropy] += moments.entropy;
                 for (const double v : moments.variance) statistics[kVariance] += v;
               });
}

// By the sums over a layer's heads. All alike if nothing was measured.
std::vector<double> Preferences(const AllocInput& input, double tau1, double tau2) {
  std::vector<double> preferences(input.num_layers);
  double total = 0;
  for (uint32_t layer = 0; layer < input.num_layers; ++layer) {
    double entropy = 0, variance = 0;
    for (uint32_t head = 0; head < input.num_kv_heads; ++head) {
      const size_t at = (size_t{layer} * input.num_kv_heads + head) * kNumStatistics;
      entropy += input.statistics[at + kEntropy];
      variance += input.statistics[at + kVariance];
    }
    preferences[layer] = std::pow(entropy, 1 / tau1) * std::pow(variance, 1 / tau2);
    total += preferences[layer];
  }
  if (!std::isfinite(total) || total <= 0) std::ranges::fill(preferences, 1.0);
  return preferences;
}

// Adds `amount` in equal parts to what is below its cap; of what does not divide, the first ones
// get one each.
void AddEqually(uint64_t amount, std::span<const uint64_t> caps, std::span<uint64_t> shares) {
  while (amount > 0) {
    std::vector<size_t> open;
    for (size_t i = 0; i < shares.size(); ++i) {
      if (shares[i] < caps[i]) open.push_back(i);
    }
    if (open.empty()) return;
    const uint64_t part = amount / open.size(), rest = amount % open.size();
    for (size_t i = 0; i < open.size(); ++i) {
      uint64_t& share = shares[open[i]];
      const uint64_t added = std::min(part + (i < rest ? 1 : 0), caps[open[i]] - share);
      share += added;
      amount -= added;
    }
  }
}

std::vector<uint64_t> ShareOut(uint64_t total, std::span<const double> preferences,
                               std::span<const uint64_t> caps) {
  double sum = 0;
  for (const double p : preferences) sum += p;
  std::vector<uint64_t> shares(preferences.size());
  uint64_t excess = 0, given = 0;
  for (size_t i = 0; i < shares.size(); ++i) {
    const auto share =
        static_cast<uint64_t>(std::floor(preferences[i] / sum * static_cast<double>(total)));
    shares[i] = std::min(share, caps[i]);
    given += share;
    excess += share - shares[i];
  }
  AddEqually(excess, caps, shares);
  AddEqually(total - std::min(total, given), caps, shares);
  return shares;
}

void Allocate(const AllocInput& input, Parameters p, std::span<uint64_t> entries) {
  size_t protected_entries = 0;
  for (const auto& scores : input.scores) {
    protected_entries = std::max(protected_entries, CountProtected(scores));
  }
  const uint64_t w = std::min<uint64_t>(input.budget, protected_entries);
  std::vector<uint64_t> caps(input.num_layers);
  for (size_t i = 0; i < entries.size(); ++i) {
    uint64_t& cap = caps[i / input.num_kv_heads];
    cap = std::max<uint64_t>(cap, input.scores[i].size() - std::min(w, input.scores[i].size()));
  }
  const std::vector<uint64_t> shares = ShareOut((input.budget - w) * input.num_layers,
                                                Preferences(input, p[0].number, p[1].number), caps);
  for (size_t i = 0; i < entries.size(); ++i) entries[i] = shares[i / input.num_kv_heads] + w;
}

}  // namespace

const MethodInfo& CakeMethod() {
  static constexpr Part kParts[] = {
      {.stage = Stage::kScore,
       .name = "cake",
       .summary = "mean and variance of the last queries' attention, pooled over neighbours",
       .parameters = kScoreParameters,
       .needs = "the queries of the window",
       .protects = "the window",
       .gather = [](Parameters p) { return Needs{.window = static_cast<uint32_t>(p[0].number)}; },
       .num_protected = [](Parameters p, uint64_t) { return static_cast<uint64_t>(p[0].number); },
       .score = Score},
      {.stage = Stage::kAlloc,
       .name = "cake",
       .summary = "layers whose attention is spread wide and changes much keep more",
       .parameters = kAllocParameters,
       .needs = "the queries of the window",
       .gather = [](Parameters p) { return Needs{.window = static_cast<uint32_t>(p[2].number)}; },
       .allocate = Allocate,
       .num_statistics = kNumStatistics,
       .measure = Measure},
  };
  static constexpr MethodInfo kInfo = {
      .name = "cake",
      .summary =
          "Each layer gets a share of the whole budget by the entropy and the variance of its last "
          "queries' attention, and keeps the entries with much or changing attention. The shares "
          "are worked out when all layers have read the prompt; when=chunks bounds the peak, which "
          "the paper does layer by layer.",
      .paper = "CAKE: Cascading and Adaptive KV Cache Eviction with Layer Preferences",
      .arxiv = "2503.12491",
      .parts = kParts,
      .recipe = "score=cake + alloc=cake",
      .identity = "a budget of at least the prompt's length",
  };
  return kInfo;
}

}  // namespace pith
