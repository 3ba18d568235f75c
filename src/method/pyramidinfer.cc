#include <algorithm>
#include <cmath>
#include <numbers>

#include "method/support.h"

namespace pith {
namespace {

constexpr ParameterInfo Share(std::string_view name, std::string_view default_value,
                              std::string_view meaning) {
  return {.name = name,
          .type = ParameterType::kNumber,
          .default_value = default_value,
          .min = 0,
          .max = 1,
          .meaning = meaning};
}
constexpr ParameterInfo Count(std::string_view name, std::string_view default_value, double min,
                              std::string_view meaning) {
  return {.name = name,
          .type = ParameterType::kInteger,
          .default_value = default_value,
          .min = min,
          .max = 65536,
          .meaning = meaning};
}

enum Parameter : uint8_t {
  kRecent,
  kDecay,
  kLeast,
  kInterval,
  kSinks,
  kWeight,
  kBlock,
  kBlockKeep,
  kBlockDecay
};
constexpr ParameterInfo kParameters[] = {
    Share("recent", "0.2", "newest part of the prompt, which is kept and judges the rest"),
    Share("decay", "0.9",
          "share of the rest that the last layer hands on; the first one hands on all, and in "
          "between it falls along a cosine"),
    Count("least", "64", 0, "tokens of the rest that always go on"),
    Count("interval", "1", 1, "layers from one choice to the next"),
    SinksParameter("4"),
    {.name = "weight",
     .type = ParameterType::kNumber,
     .default_value = "1.2",
     .min = 0,
     .max = 1000,
     .meaning = "of the newest judge, where the oldest has 1"},
    Count("block", "16", 0, "generated tokens from one compression to the next; 0: none"),
    Share("block_keep", "0.9", "share of a block that stays in the first layer"),
    Share("block_decay", "0.1", "part of that share which the last layer keeps"),
};

// From 1 at the first layer along a cosine towards `last` at the end.
double Cosine(double last, uint32_t layer, uint32_t num_layers) {
  const double angle = std::numbers::pi * layer / num_layers;
  return (1 - last) * (std::cos(angle) + 1) / 2 + last;
}

AdmitJudges Judges(Parameters p, uint64_t num_tokens) {
  const auto recent = static_cast<uint64_t>(static_cast<double>(num_tokens) * p[kRecent].number);
  return {.rows = std::min(1 + recent, num_tokens), .newest_weight = p[kWeight].number};
}

bool Drops(Parameters p, uint32_t layer, uint32_t num_layers) {
  return layer % static_cast<uint32_t>(p[kInterval].number) == 0 &&
         Cosine(p[kDecay].number, layer, num_layers) < 1;
}

void Admit(const AdmitInput& input, Parameters p, std::vector<uint32_t>* kept) {
  const size_t n = input.positions.size();
  const uint64_t judges = Judges(p, input.num_tokens).rows;
  const size_t context = n - std::min<size_t>(n, judges);
  const uint64_t least =
      std::min(static_cast<uint64_t>(p[kLeast].number), input.num_tokens - judges);
  const double share = Cosine(p[kDecay].number, input.layer, input.num_layers);
  const auto count = static_cast<size_t>(static_cast<double>(context) * share);
  size_t best = context;
  if (count > least) best = count;

  std::vector<float> scores(input.scores.begin(),
                            input.scores.begin() + static_cast<std::ptrdiff_t>(context));
  for (size_t i = 0; i < context; ++i) {
    if (input.positions[i] < static_cast<int32_t>(p[kSinks].number)) scores[i] = kProtected;
  }
  *kept = TopIndices(scores, best);
  for (auto i = static_cast<uint32_t>(context); i < n; ++i) kept->push_back(i);
}

AdmitBlock Block(Parameters p, uint32_t layer, uint32_t num_layers) {
  const double share = Cosine(p[kBlockDecay].number, layer, num_layers);
  const auto kept = static_cast<uint32_t>(p[kBlock].number * p[kBlockKeep].number * share);
  return {.size = static_cast<uint32_t>(p[kBlock].number), .kept = std::max(kept, 1u)};
}

}  // namespace

const MethodInfo& PyramidInferMethod() {
  static constexpr Part kParts[] = {
      {.stage = Stage::kAdmit,
       .name = "pyramidinfer",
       .summary = "what the newest part of the prompt hardly looks at in a layer is dropped behind "
                  "it; generated entries are thinned out block by block",
       .parameters = kParameters,
       .needs = "the attention of the newest part of the prompt",
       .judges = Judges,
       .drops = Drops,
       .admit = Admit,
       .block = Block},
  };
  static constexpr MethodInfo kInfo = {
      .name = "pyramidinfer",
      .summary =
          "What deeper layers need of a prompt shows in the attention of its newest tokens. Layer "
          "by layer a growing part of the older ones is dropped, and neither computed nor cached "
          "in any later layer: the cache becomes a pyramid while the prompt is read, not after. "
          "What is generated is thinned out in the same way, a block at a time, once it is older "
          "than the judges.",
      .paper = "PyramidInfer: Pyramid KV Cache Compression for High-throughput LLM Inference",
      .arxiv = "2405.12532",
      .parts = kParts,
      .recipe = "admit=pyramidinfer",
      .identity = "decay=1, block=0",
  };
  return kInfo;
}

}  // namespace pith
