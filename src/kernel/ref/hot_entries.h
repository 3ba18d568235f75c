// Made-up keys to which attention is concentrated, as it is in long texts: what chooses entries can
// be measured only where there is something to choose. A few entries are hot: their keys lean
// towards the queries so far that they get most of the attention.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/rng.h"

namespace pith {

inline constexpr double kHotShare = 0.02;  // of the entries
inline constexpr double kHotMass = 0.9;    // of the attention
inline constexpr uint32_t kHotRun = 16;    // entries that lie together, from a multiple of that on

// Which of `count` entries are hot, [count]: the share above, in runs of `run` (1: singly), at
// least one run. Precondition: count >= run.
std::vector<bool> HotEntries(uint32_t count, uint32_t run, Rng& rng);

// The share of its attention that a query gives to the hot entries if it gives them `share` while
// their keys are noise, and each of their scores grows by `growth`.
double HotMassOf(double share, double growth);

// How far the hot keys lean so that they get kHotMass of the attention as a mean over queries:
// query i gives them shares[i] while they are noise, and their scores grow by slopes[i] for each
// unit of the result. The slopes have a positive mean.
double LeanOf(std::span<const double> shares, std::span<const double> slopes);

}  // namespace pith
