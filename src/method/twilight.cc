#include "method/read.h"

namespace pith {
namespace {

constexpr std::string_view kBases[] = {"quest", "ds", "all"};
constexpr ParameterInfo kParameters[] = {
    {.name = "p",
     .type = ParameterType::kNumber,
     .default_value = "0.95",
     .min = 0.01,
     .max = 1,
     .meaning = "share of the attention that is read"},
    {.name = "base",
     .type = ParameterType::kWord,
     .default_value = "quest",
     .words = kBases,
     .meaning = "what chooses the candidates"},
    {.name = "share",
     .type = ParameterType::kNumber,
     .default_value = "25%",
     .min = 0.001,
     .max = 1,
     .meaning = "candidates of each KV head, of its entries; all with base=all"},
    PageParameter(),
    PartParameter(),
    DenseParameter(),
};

ReadRule::Base BaseOf(Parameters p) {
  if (p[1].word == "quest") return ReadRule::Base::kPages;
  return p[1].word == "ds" ? ReadRule::Base::kLabels : ReadRule::Base::kAll;
}

ReadRule FromParameters(Parameters p) {
  return {.base = BaseOf(p),
          .share = p[2].number,
          .page = PageOf(p[3]),
          .label_part = static_cast<uint32_t>(p[4].number),
          .top_p = p[0].number,
          .dense_layers = static_cast<uint32_t>(p[5].number)};
}

}  // namespace

const MethodInfo& TwilightMethod() {
  static constexpr Part kParts[] = {
      {.stage = Stage::kRead,
       .name = "twilight",
       .summary = "of the candidates of another choice, the fewest that hold most of the attention",
       .parameters = kParameters,
       .needs = "with base=ds the channels of a profile (pith calibrate labels)",
       .gather =
           [](Parameters p) {
             const bool labels = BaseOf(p) == ReadRule::Base::kLabels;
             return Needs{.profile = labels ? kProfileChannels : ProfileSections{0}};
           },
       .read = FromParameters},
  };
  static constexpr MethodInfo kInfo = {
      .name = "twilight",
      .summary =
          "The whole cache stays, and each new token reads as much of it as it needs. A generous "
          "choice comes first; what each candidate weighs is guessed from its key in four bits, "
          "and "
          "the fewest whose weights add up to the share p are read. Heads that look at one thing "
          "read little, heads that look everywhere much; no number of entries has to be chosen.",
      .paper = "Twilight: Adaptive Attention Sparsity with Hierarchical Top-p Pruning",
      .arxiv = "2502.02770",
      .parts = kParts,
      .recipe = "read=twilight",
      .identity = "p=1 and share=100%",
  };
  return kInfo;
}

}  // namespace pith
