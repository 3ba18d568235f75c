#include "method/fastgen.h"

#include <algorithm>
#include <cmath>

#include "method/support.h"
#include "method/window_score.h"

namespace pith {
namespace {

constexpr std::string_view kShares[] = {"fixed", "growing"};
constexpr ParameterInfo kParameters[] = {
    {.name = "recovery",
     .type = ParameterType::kNumber,
     .default_value = "0.95",
     .min = 0,
     .max = 2,
     .meaning = "share of the attention that a head's policy must keep; above 1: all is kept"},
    {.name = "frequent",
     .type = ParameterType::kNumber,
     .default_value = "0.3",
     .min = 0,
     .max = 1,
     .meaning = "share of the text that the most attended entries make up"},
    {.name = "local",
     .type = ParameterType::kNumber,
     .default_value = "0.3",
     .min = 0,
     .max = 1,
     .meaning = "share of the text that the newest tokens make up"},
    {.name = "shares",
     .type = ParameterType::kWord,
     .default_value = "fixed",
     .words = kShares,
     .meaning = "fixed: of the text when the head was profiled; growing: of the text so far"},
    SinksParameter("4"),
};

// What HeadInput::memory holds: the policy, and the length of the text when it was chosen.
struct Profile {
  FastGenPolicy policy = FastGenPolicy::kUnknown;
  uint64_t length = 0;
};

Profile FromMemory(double memory) {
  if (!(memory >= 0 && memory < 0x1p53)) return {};  // none of ours: from a damaged session
  const auto number = static_cast<uint64_t>(memory);
  return {static_cast<FastGenPolicy>(number % kNumFastGenPolicies), number / kNumFastGenPolicies};
}

double ToMemory(const Profile& profile) {
  return static_cast<double>(profile.length * kNumFastGenPolicies +
                             static_cast<uint64_t>(profile.policy));
}

FastGenSets SetsFor(Parameters p, uint64_t length) {
  return {.sinks = static_cast<uint64_t>(p[4].number),
          .frequent = CeilShare(p[1].number, length),
          .local = CeilShare(p[2].number, length)};
}

FastGenPolicy ChoosePolicy(const HeadInput& head, std::span<const FastGenPolicy> cheapest,
                           double recovery) {
  for (const FastGenPolicy policy : {FastGenPolicy::kSpecial, FastGenPolicy::kPunctuation,
                                     FastGenPolicy::kFrequent, FastGenPolicy::kLocal}) {
    // Sums that should be 1 may come out a little larger.
    if (std::min(Recovery(head, cheapest, policy), 1.0) >= recovery) return policy;
  }
  return FastGenPolicy::kFull;
}

// Entries that the head's policy does not keep get minus infinity.
void Score(const HeadInput& head, Parameters p, std::span<float> scores) {
  const auto length = static_cast<uint64_t>(head.length);
  Profile profile = FromMemory(*head.memory);
  const bool known = profile.policy != FastGenPolicy::kUnknown;
  const uint64_t of = known && p[3].word == "fixed" ? profile.length : length;
  const std::vector<FastGenPolicy> cheapest = CheapestPolicies(head, SetsFor(p, of));
  if (!known) {
    profile = {ChoosePolicy(head, cheapest, p[0].number), length};
    *head.memory = ToMemory(profile);
  }
  ScoreByMeanAttention(head, scores);
  for (size_t j = 0; j < scores.size(); ++j) {
    if (cheapest[j] > profile.policy) {
      scores[j] = -kProtected;
    } else if (cheapest[j] <= FastGenPolicy::kPunctuation) {
      scores[j] = kProtected;
    }
  }
}

void Allocate(const AllocInput& input, Parameters, std::span<uint64_t> entries) {
  for (size_t h = 0; h < entries.size(); ++h) {
    entries[h] = static_cast<uint64_t>(
        std::ranges::count_if(input.scores[h], [](float score) { return score > -kProtected; }));
  }
}

}  // namespace

std::vector<FastGenPolicy> CheapestPolicies(const HeadInput& head, const FastGenSets& sets) {
  const size_t n = head.num_entries();
  std::vector<FastGenPolicy> cheapest(n, FastGenPolicy::kFull);
  std::vector<float> attention(n);
  ScoreByMeanAttention(head, attention);
  for (size_t j = 0; j < n; ++j) {
    if (static_cast<uint64_t>(head.positions[j]) < sets.sinks ||
        head.token_kinds[j] == TokenKind::kSpecial) {
      cheapest[j] = FastGenPolicy::kSpecial;
    } else if (head.token_kinds[j] == TokenKind::kPunctuation) {
      cheapest[j] = FastGenPolicy::kPunctuation;
    } else {
      if (static_cast<uint64_t>(head.length - head.positions[j]) <= sets.local) {
        cheapest[j] = FastGenPolicy::kLocal;
      }
      continue;
    }
    attention[j] = -HUGE_VALF;  // the frequent ones are chosen from the others
  }
  for (const uint32_t j : TopIndices(attention, sets.frequent)) {
    cheapest[j] = std::min(cheapest[j], FastGenPolicy::kFrequent);
  }
  return cheapest;
}

double Recovery(const HeadInput& head, std::span<const FastGenPolicy> cheapest,
                FastGenPolicy policy) {
  if (policy == FastGenPolicy::kFull) return 1;
  const FastGenPolicy columns = std::min(policy, FastGenPolicy::kFrequent);
  const bool band = policy == FastGenPolicy::kLocal && !head.band_sums.empty();
  double least = HUGE_VAL;
  for (size_t q = 0; q < head.group; ++q) {
    double sum = 0;
    for (size_t j = 0; j < cheapest.size(); ++j) {
      if (cheapest[j] <= columns) {
        sum += head.column_sums[q][j];
      } else if (band) {
        sum += head.band_sums[q][j];
      }
    }
    least = std::min(least, sum / head.length);
  }
  return least;
}

const MethodInfo& FastGenMethod() {
  static constexpr Part kParts[] = {
      {.stage = Stage::kScore,
       .name = "fastgen",
       .summary = "each head drops what the cheapest policy drops that keeps enough attention",
       .parameters = kParameters,
       .needs = "column sums and band sums: a second pass over the scores of attention",
       .protects =
           "the first sinks tokens and special tokens, and punctuation where the policy has "
           "it",
       .gather =
           [](Parameters p) {
             return Needs{.column_sums = true, .band = p[2].number, .token_kinds = true};
           },
       .num_protected = [](Parameters p, uint64_t) { return static_cast<uint64_t>(p[4].number); },
       .score = Score},
      {.stage = Stage::kAlloc,
       .name = "fastgen",
       .summary = "each head keeps what its policy keeps",
       .goes_with = "fastgen",
       .allocate = Allocate,
       .ragged = true,
       .takes_budget = false},
  };
  static constexpr MethodInfo kInfo = {
      .name = "fastgen",
      .summary =
          "Heads differ in what they look at. At the end of the first prompt each of them gets the "
          "cheapest policy that keeps enough of its attention: special tokens; punctuation too; "
          "the most attended entries too; the newest tokens too; or everything. It goes on with "
          "that policy while text is generated, and takes no budget.",
      .paper = "Model Tells You What to Discard: Adaptive KV Cache Compression for LLMs",
      .arxiv = "2310.01801",
      .parts = kParts,
      .recipe = "score=fastgen + alloc=fastgen + when=decode",
      .identity = "recovery=2",
  };
  return kInfo;
}

}  // namespace pith
