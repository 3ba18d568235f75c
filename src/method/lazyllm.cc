#include <algorithm>
#include <cmath>
#include <vector>

#include "method/support.h"

namespace pith {
namespace {

constexpr ParameterInfo kParameters[] = {
    {.name = "prune",
     .type = ParameterType::kNumber,
     .default_value = "0.3",
     .min = 0,
     .max = 0.99,
     .meaning = "share of the tokens that are dropped each time, those with the lowest scores"},
    {.name = "depth",
     .type = ParameterType::kNumber,
     .default_value = "0.3",
     .min = 0.001,
     .max = 1,
     .meaning = "share of the layers between two times"},
    {.name = "times",
     .type = ParameterType::kInteger,
     .default_value = "3",
     .min = 0,
     .max = 1000,
     .meaning = "how often"},
};

// Behind as many layers as `depth` comes to once, twice, ... `times` times. Behind the last one
// there is nothing to go on to.
bool Drops(Parameters p, uint32_t layer, uint32_t num_layers) {
  if (p[0].number == 0 || layer + 1 >= num_layers) return false;
  for (int time = 1; time <= static_cast<int>(p[2].number); ++time) {
    const double layers = p[1].number * time * num_layers;
    if (layers >= num_layers) break;
    if (std::lround(layers) == static_cast<long>(layer) + 1) return true;
  }
  return false;
}

// The value below which the share `p` of all lies, linear between two of them.
double Percentile(std::vector<float> values, double p) {
  const double rank = p * static_cast<double>(values.size() - 1);
  const auto below = static_cast<std::ptrdiff_t>(rank);
  const auto at = values.begin() + below;
  std::ranges::nth_element(values, at);
  const double low = *at;
  const double part = rank - static_cast<double>(below);
  if (part == 0) return low;
  const double high = *std::min_element(at + 1, values.end());
  return std::isinf(high) ? high : low + part * (high - low);
}

void Admit(const AdmitInput& input, Parameters p, std::vector<uint32_t>* kept) {
  std::vector<float> scores(input.scores.begin(), input.scores.end());
  scores.back() = kProtected;
  const double least = Percentile(scores, p[0].number);
  kept->clear();
  for (uint32_t i = 0; i < scores.size(); ++i) {
    if (scores[i] >= least) kept->push_back(i);
  }
}

}  // namespace

const MethodInfo& LazyLlmMethod() {
  static constexpr Part kParts[] = {
      {.stage = Stage::kAdmit,
       .name = "lazyllm",
       .summary = "a token that the newest one hardly looks at waits behind the layer where that "
                  "shows, until a later step wants it",
       .parameters = kParameters,
       .needs = "the attention of the last token where tokens are dropped",
       .judges = [](Parameters, uint64_t) { return AdmitJudges{}; },
       .drops = Drops,
       .admit = Admit,
       .revives = true},
  };
  static constexpr MethodInfo kInfo = {
      .name = "lazyllm",
      .summary =
          "The next token depends on few tokens of the prompt, on fewer the deeper the layer. A "
          "few times on the way through the layers, the tokens that the last one attends to least "
          "are dropped: they are neither computed nor cached behind that layer, and the first "
          "token comes sooner. Their hidden states wait where they stopped, and every generated "
          "token chooses anew: what it wants goes on from there, at its own position. No token "
          "is computed twice in a layer.",
      .paper = "LazyLLM: Dynamic Token Pruning for Efficient Long Context LLM Inference",
      .arxiv = "2407.14057",
      .parts = kParts,
      .recipe = "admit=lazyllm",
      .identity = "prune=0",
  };
  return kInfo;
}

}  // namespace pith
