#include "method/support.h"

namespace pith {
namespace {

constexpr ParameterInfo kParameters[] = {
    {.name = "seed",
     .type = ParameterType::kInteger,
     .default_value = "0",
     .min = 0,
     .max = 1e9,
     .meaning = "start of the random numbers"},
    SinksParameter("0"),
    RecentParameter("0"),
};

// A step of SplitMix64: a number that looks random for each x.
uint64_t Mix(uint64_t x) {
  x += 0x9E3779B97F4A7C15ULL;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ULL;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBULL;
  return x ^ (x >> 31);
}

// Of seed, layer, head and position alone, so that an entry's score never changes.
void Score(const HeadInput& head, Parameters parameters, std::span<float> scores) {
  const uint64_t seed = Mix(Mix(static_cast<uint64_t>(parameters[0].number)) + head.layer);
  for (size_t j = 0; j < scores.size(); ++j) {
    const uint64_t bits = Mix(Mix(seed + head.kv_head) + static_cast<uint64_t>(head.positions[j]));
    scores[j] = static_cast<float>(bits >> 40) * (1.0f / 16777216.0f);
  }
  ProtectSinksAndRecent(head, parameters.subspan(1), scores);
}

}  // namespace

const MethodInfo& RandomMethod() {
  static constexpr Part kParts[] = {
      {.stage = Stage::kScore,
       .name = "random",
       .summary = "entries by chance",
       .parameters = kParameters,
       .protects = "sinks and recent entries, as far as asked for",
       .num_protected = [](Parameters p,
                           uint64_t budget) { return NumSinksAndRecent(p.subspan(1), budget); },
       .score = Score},
  };
  static constexpr MethodInfo kInfo = {
      .name = "random",
      .summary =
          "Entries drawn by chance, each head by itself: the control that every other method "
          "must beat.",
      .parts = kParts,
      .recipe = "score=random",
      .identity = "a budget of at least the prompt's length",
  };
  return kInfo;
}

}  // namespace pith
