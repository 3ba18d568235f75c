#include <cmath>

#include "method/support.h"

namespace pith {
namespace {

constexpr std::string_view kBiases[] = {"none", "mean"};
constexpr ParameterInfo kParameters[] = {
    {.name = "ratio",
     .type = ParameterType::kNumber,
     .default_value = "0.4",
     .min = 0,
     .max = 0.95,
     .meaning = "share of a key's channels that are dropped"},
    {.name = "window",
     .type = ParameterType::kInteger,
     .default_value = "32",
     .min = 1,
     .max = 512,
     .meaning = "newest entries, which keep all channels and whose queries judge them"},
    {.name = "bias",
     .type = ParameterType::kWord,
     .default_value = "none",
     .words = kBiases,
     .meaning = "what dropped channels add to scores: nothing, or the query times their mean"},
};

// The squared Frobenius norm of what a channel adds to the products of queries and keys is the
// product of two sums of squares, here of two means.
void Score(const ChannelInput& head, std::span<float> scores) {
  const size_t dim = scores.size(), rows = head.queries.size() / dim;
  for (size_t c = 0; c < dim; ++c) {
    double squares = 0;
    for (size_t row = 0; row < rows; ++row) {
      const double q = head.queries[row * dim + c];
      squares += q * q;
    }
    const double mean = rows > 0 ? squares / static_cast<double>(rows) : 1;
    scores[c] = static_cast<float>(mean * head.key_squares[c]);
  }
}

ChannelRule FromParameters(Parameters p) {
  return {.drop = p[0].number,
          .window = static_cast<uint32_t>(p[1].number),
          .queries = static_cast<uint32_t>(p[1].number),
          .means = p[2].word == "mean"};
}

}  // namespace

const MethodInfo& ThinkMethod() {
  static constexpr Part kParts[] = {
      {.stage = Stage::kChannels,
       .name = "think",
       .summary = "keys lose the channels that add least to their products with the last queries",
       .parameters = kParameters,
       .needs = "the queries of the window",
       .gather =
           [](Parameters p) {
             return Needs{.window = p[0].number > 0 ? static_cast<uint32_t>(p[1].number) : 0};
           },
       .channel_rule = FromParameters,
       .score_channels = Score},
  };
  static constexpr MethodInfo kInfo = {
      .name = "think",
      .summary =
          "ThinK: every entry stays, and its key becomes shorter. For one prompt most of the "
          "products of queries and keys lies in part of the channels. When the prompt has been "
          "read, each KV head drops the channels in which the window's queries and the keys are "
          "smallest; the window and what is generated keep all of them. Goes with any eviction, "
          "which comes first, and with any store that does not rotate keys, which comes after.",
      .paper = "ThinK: Thinner Key Cache by Query-Driven Pruning",
      .arxiv = "2407.21018",
      .parts = kParts,
      .recipe = "channels=think",
      .identity = "ratio=0",
  };
  return kInfo;
}

}  // namespace pith
