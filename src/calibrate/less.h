// LESS's networks, taught (arXiv 2402.09398, section 4): each layer by itself learns to fold what a
// window drops, so that its attention gives what it gives over the whole text.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/status.h"
#include "calibrate/fold_loss.h"
#include "calibrate/texts.h"
#include "engine/engine.h"
#include "engine/profile.h"

namespace pith {

// The paper has 512 hidden numbers and 512 texts of the model's whole length; these are what a
// small model learns in minutes.
struct LessSettings {
  uint32_t hidden = 64, rank = 8;
  uint32_t epochs = 40;
  uint64_t seed = 1;
};

inline constexpr uint32_t kLeastLessLength = 32;
inline constexpr uint32_t kLessSinks = 4;

// The part of a text of `length` tokens that stays: a tenth, sinks included.
uint32_t LessRecent(uint32_t length);

// Where a training stands: together with the settings, the texts and the model all that the rest
// depends on.
struct LessState {
  uint32_t layer = 0;               // the first one that is not done
  uint32_t epoch = 0;               // epochs that it and the layers taught with it have behind them
  std::vector<float> parameters;    // [layer], each as FoldLayer has them
  std::vector<float> mean, square;  // Adam's moments, like the parameters
  std::vector<double> losses;       // [layer], means over the last epoch
};

// Step `step` (from 0) of Adam, at 0.001, halved after every quarter of the epochs.
double LessRate(uint32_t epoch, uint32_t epochs);
void AdamStep(std::span<const float> gradient, double rate, uint64_t step, std::span<float> values,
              std::span<float> mean, std::span<float> square);

// The state in a file, and back; refuses what is damaged or of another training. `num_layers` and
// `layer_size` are of the model that is taught.
struct LessTerms {
  uint64_t model_hash = 0;
  LessSettings settings;
  uint64_t texts_hash = 0;
  uint32_t num_layers = 0;
  size_t layer_size = 0;  // parameters
};
Status SaveLessState(const std::string& path, const LessTerms& terms, const LessState& state);
Result<LessState> ReadLessState(const std::string& path, const LessTerms& terms);

// The whole of it: a profile with the fold networks alone. Goes on from the file `checkpoint` if it
// is there, and keeps it up to date; the caller deletes it when the profile is safe. If `progress`
// returns false, the state after the last whole epoch is saved and this fails with kFailure
// "interrupted". The result is the same for any number of threads, and whether it was interrupted
// or not. Input error for texts that are too short, or a checkpoint of another training.
Result<Profile> TeachLess(Engine& engine, const TextRequest& request, const LessSettings& settings,
                          const std::string& checkpoint, const FeedProgress& progress);

}  // namespace pith
