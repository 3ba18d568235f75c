// FastGen's policies (arXiv 2310.01801) and how much attention each of them keeps.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "method/stage.h"

namespace pith {

// The cheapest first; each keeps what the one before it keeps, and more.
enum class FastGenPolicy : uint8_t {
  kUnknown,      // the head has not been profiled yet
  kSpecial,      // special tokens and sinks
  kPunctuation,  // and punctuation
  kFrequent,     // and the entries with the highest attention on average
  kLocal,        // and the newest tokens
  kFull,
};
inline constexpr uint32_t kNumFastGenPolicies = 6;

struct FastGenSets {
  uint64_t sinks = 4;
  uint64_t frequent = 0, local = 0;  // entries and tokens
};

// The cheapest policy that keeps each entry, [n]. Of equal attention the lower index counts as more
// frequent.
std::vector<FastGenPolicy> CheapestPolicies(const HeadInput& head, const FastGenSets& sets);

// The share of all attention so far that went to what `policy` keeps, 0..1: of the query head in
// the group that has the least of it. `cheapest` is what CheapestPolicies gave. For kLocal, what a
// token gave to those less than head.band_width before it counts.
double Recovery(const HeadInput& head, std::span<const FastGenPolicy> cheapest,
                FastGenPolicy policy);

}  // namespace pith
