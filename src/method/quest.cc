#include "method/read.h"

namespace pith {
namespace {

constexpr ParameterInfo kParameters[] = {
    {.name = "budget",
     .type = ParameterType::kInteger,
     .default_value = "1024",
     .min = 1,
     .max = 1 << 30,
     .meaning = "entries that are read of each KV head, in whole pages, three at least"},
    PageParameter(),
    DenseParameter(),
};

ReadRule FromParameters(Parameters p) {
  return {.base = ReadRule::Base::kPages,
          .budget = static_cast<uint64_t>(p[0].number),
          .page = PageOf(p[1]),
          .least_pages = 3,
          .dense_layers = static_cast<uint32_t>(p[2].number)};
}

}  // namespace

const MethodInfo& QuestMethod() {
  static constexpr Part kParts[] = {
      {.stage = Stage::kRead,
       .name = "quest",
       .summary = "the pages that can hold the best answers to the query, and the newest one",
       .parameters = kParameters,
       .read = FromParameters},
  };
  static constexpr MethodInfo kInfo = {
      .name = "quest",
      .summary =
          "The whole cache stays, and each new token reads little of it. Of every page of entries "
          "the least and the greatest number of each channel of the keys are known; they bound the "
          "best product with the query, and the pages with the highest bounds are read. Of query "
          "heads that share a KV head each counts what it expects of a page as a share of its own "
          "attention.",
      .paper = "Quest: Query-Aware Sparsity for Efficient Long-Context LLM Inference",
      .arxiv = "2406.10774",
      .parts = kParts,
      .recipe = "read=quest",
      .identity = "a budget of at least the entries that a head holds",
  };
  return kInfo;
}

}  // namespace pith
