#include "method/read.h"

namespace pith {
namespace {

constexpr ParameterInfo kParameters[] = {
    {.name = "budget",
     .type = ParameterType::kInteger,
     .default_value = "256",
     .min = 1,
     .max = 1 << 30,
     .meaning = "entries that are read of each KV head"},
    PartParameter(),
    DenseParameter(),
};

ReadRule FromParameters(Parameters p) {
  return {.base = ReadRule::Base::kLabels,
          .budget = static_cast<uint64_t>(p[0].number),
          .label_part = static_cast<uint32_t>(p[1].number),
          .dense_layers = static_cast<uint32_t>(p[2].number)};
}

}  // namespace

const MethodInfo& DsMethod() {
  static constexpr Part kParts[] = {
      {.stage = Stage::kRead,
       .name = "ds",
       .summary = "the entries whose label channels promise the best products with the query",
       .parameters = kParameters,
       .needs = "the channels of a profile (pith calibrate labels)",
       .gather = [](Parameters) { return Needs{.profile = kProfileChannels}; },
       .read = FromParameters},
  };
  static constexpr MethodInfo kInfo = {
      .name = "ds",
      .summary =
          "Double Sparsity: the whole cache stays, and each new token reads little of it. A few "
          "channels of a key, found once for each KV head of a model, make up most of its products "
          "with queries. These labels are kept in four bits beside the cache; the entries that "
          "look best by them alone are read.",
      .paper = "Post-Training Sparse Attention with Double Sparsity",
      .arxiv = "2408.07092",
      .parts = kParts,
      .recipe = "read=ds",
      .identity = "a budget of at least the entries that a head holds",
  };
  return kInfo;
}

}  // namespace pith
