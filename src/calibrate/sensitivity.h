// What it costs to store the keys or the values of a single layer in few bits, and which bits to
// give to which layer (in the place of KVTuner's search, arXiv 2502.04420).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "calibrate/texts.h"
#include "engine/profile.h"

namespace pith {

// Of a text: shorter ones have nothing to store in few bits, or nothing to score.
inline constexpr uint32_t kLeastSensitivityLength = 65;

// For every layer and every one of kSensitivityBits: the Kullback-Leibler divergence of the
// next-token distributions, in nats, from those with an exact cache, when this side of this layer
// alone is stored in that many bits (KIVI's forms, groups of 32, all but the newest 32 entries).
// Texts are read up to their last eighth with an exact cache; the mean is over the tokens of that
// eighth. Pieces have kLeastSensitivityLength tokens or more.
struct Sensitivity {
  std::vector<float> keys, values;  // [layer][kSensitivityBits]
};
Result<Sensitivity> MeasureSensitivity(Engine& engine,
                                       const std::vector<std::vector<int32_t>>& pieces,
                                       const FeedProgress& progress = {});

// [layer], each 8, 4 or 2.
struct LayerBits {
  std::vector<float> keys, values;
};
// From 2 bits everywhere, step by step the change that lowers the sum of divergences most per bit,
// as long as numbers have at most `average` bits on average (keys have key_dim of them, values
// value_dim). Nothing is spent where it does not help; of equal changes keys and lower layers are
// first.
LayerBits ChooseBits(const Sensitivity& sensitivity, uint32_t key_dim, uint32_t value_dim,
                     double average);

// The sections "sensitivity" and "bits" of the model's profile.
Result<Profile> CalibrateSensitivity(Engine& engine, const TextRequest& request, double average,
                                     const FeedProgress& progress = {});

}  // namespace pith
