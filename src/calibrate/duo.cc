#include "calibrate/duo.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <memory>
#include <utility>

#include "base/check.h"

namespace pith {
namespace {

constexpr double kPeakRate = 0.02;
constexpr double kSparsity = 0.05;  // what the mean gate costs
constexpr double kMeanDecay = 0.9, kSquareDecay = 0.999, kEpsilon = 1e-8;  // AdamW's usual ones
constexpr double kLossDecay = 0.98;
constexpr std::chrono::seconds kBetweenSaves{30};
constexpr uint32_t kTokensPerWord = 4;  // of a passkey, at most, for a first guess at the memory

Result<uint32_t> ContextOf(const DuoSettings& settings, const GgufFile& file,
                           const ModelShape& shape) {
  if (shape.context < kDuoLeastContext) {
    return InputError(fmt::format("gates are learnt from texts of {} tokens or more, and the model "
                                  "was trained for {}",
                                  kDuoLeastContext, shape.context),
                      file.path(), "Take a model with a longer context.");
  }
  if (settings.context == 0) return std::min(shape.context, kDuoUsualContext);
  const uint32_t most = std::min(shape.context, kDuoMostContext);
  if (settings.context >= kDuoLeastContext && settings.context <= most) return settings.context;
  return InputError(fmt::format("gates cannot be learnt from texts of {} tokens", settings.context),
                    file.path(), fmt::format("Take {} to {}.", kDuoLeastContext, most));
}

Result<DuoState> StateToBeginWith(const std::string& checkpoint, uint64_t model_hash,
                                  const DuoSettings& settings, size_t num_gates) {
  std::error_code error;
  if (!std::filesystem::exists(checkpoint, error)) return DuoState(num_gates);
  return ReadDuoState(checkpoint, model_hash, settings, num_gates);
}

Profile GatesProfile(const DuoState& state, const DuoSettings& settings, DuoWindow window) {
  Profile profile;
  profile.heads.gates.assign(state.gates.begin(), state.gates.end());
  profile.origins[1] = fmt::format(
      "learnt in {} steps, seed {}, texts of up to {} tokens, window {} + {}, loss {:.3g}",
      settings.steps, settings.seed, settings.context, window.sinks, window.recent, state.loss);
  return profile;
}

}  // namespace

double DuoRate(uint32_t step, uint32_t steps) {
  const double ramp = std::max(1u, steps / 5);
  const double up = (step + 1) / ramp, down = (steps - step) / ramp;
  return std::min({1.0, std::max(up, 0.1), std::max(down, 0.1)});
}

void DuoUpdate(const DuoLoss& loss, uint32_t steps, DuoState* state) {
  const size_t count = state->gates.size();
  PITH_CHECK(loss.gradient.size() == count);
  const double rate = kPeakRate * DuoRate(state->step, steps);
  const double updates = state->step + 1;
  for (size_t i = 0; i < count; ++i) {
    double& gate = state->gates[i];
    // The mean of |gate| has no slope at 0.
    const double slope = gate > 0 ? kSparsity / static_cast<double>(count) : 0.0;
    const double gradient = double{loss.gradient[i]} + slope;
    double &mean = state->mean[i], &square = state->square[i];
    mean = kMeanDecay * mean + (1 - kMeanDecay) * gradient;
    square = kSquareDecay * square + (1 - kSquareDecay) * gradient * gradient;
    const double unbiased_mean = mean / (1 - std::pow(kMeanDecay, updates));
    const double unbiased_square = square / (1 - std::pow(kSquareDecay, updates));
    gate -= rate * unbiased_mean / (std::sqrt(unbiased_square) + kEpsilon);
    gate = std::clamp(gate, 0.0, 1.0);
  }
  const double weight = state->step == 0 ? 0.0 : kLossDecay;
  state->loss = weight * state->loss + (1 - weight) * loss.loss;
  ++state->step;
}

Status TrainGates(DuoStreams& streams, const DuoTexts& texts, uint32_t steps, DuoState* state,
                  const DuoStepDone& done) {
  while (state->step < steps) {
    PITH_ASSIGN(const DuoText text, texts(state->step));
    const std::vector<float> gates(state->gates.begin(), state->gates.end());
    PITH_ASSIGN(const DuoLoss loss, streams.Run(text, gates));
    if (!std::isfinite(loss.loss)) {
      return Failure(fmt::format("step {} gave no finite loss", state->step + 1), "gates",
                     "The model's numbers overflow; nothing can be learnt from it.");
    }
    DuoUpdate(loss, steps, state);
    PITH_ASSIGN(const bool go_on, done(*state));
    if (!go_on) break;
  }
  return {};
}

std::string GatesText(std::span<const float> gates, uint32_t kv_heads) {
  std::string text;
  for (size_t i = 0; i < gates.size(); ++i) {
    text += fmt::format("{}{}", gates[i], (i + 1) % kv_heads == 0 ? '\n' : '\t');
  }
  return text;
}

Result<Profile> LearnGates(const GgufFile& file, const DuoSettings& settings, int num_threads,
                           const std::string& checkpoint,
                           const std::function<bool(const DuoProgress&)>& progress) {
  PITH_ASSIGN(const std::unique_ptr<Model> model, Model::Load(file, {.repack = false}));
  PITH_TRY(CheckCanLearnGates(*model));
  DuoSettings used = settings;
  PITH_ASSIGN(used.context, ContextOf(settings, file, model->shape()));
  PITH_ASSIGN(const uint64_t model_hash, HashModel(file, model->params()));
  const size_t num_gates = size_t{model->shape().num_layers} * model->shape().num_kv_heads;
  PITH_ASSIGN(DuoState state, StateToBeginWith(checkpoint, model_hash, used, num_gates));
  PITH_ASSIGN(const std::unique_ptr<Tokenizer> tokenizer, Tokenizer::Load(file));
  const DuoSchedule schedule(used.context, used.seed);
  PITH_TRY(schedule.Check(*tokenizer));
  DuoStreams streams(*model, schedule.window(), num_threads);
  PITH_TRY(streams.Reserve(used.context, size_t{DuoSchedule::Passkeys(used.context)} *
                                             DuoSchedule::PasskeyWords(used.context) *
                                             kTokensPerWord));

  DuoProgress now{state.step, state.loss};
  for (uint32_t step = state.step; step < used.steps; ++step) now.total += schedule.Length(step);
  bool stopped = !progress(now);
  auto saved = std::chrono::steady_clock::now();
  const auto done = [&](const DuoState& reached) -> Result<bool> {
    now.steps_done = reached.step;
    now.loss = reached.loss;
    now.tokens += schedule.Length(reached.step - 1);
    stopped = !progress(now);
    if (stopped || std::chrono::steady_clock::now() - saved >= kBetweenSaves) {
      PITH_TRY(SaveDuoState(checkpoint, model_hash, used, reached));
      saved = std::chrono::steady_clock::now();
    }
    return !stopped;
  };
  const auto texts = [&](uint32_t step) { return schedule.MakeText(*tokenizer, step); };
  if (!stopped) PITH_TRY(TrainGates(streams, texts, used.steps, &state, done));
  if (state.step < used.steps) {
    return Failure("interrupted", checkpoint, "The same command goes on from there.");
  }
  return GatesProfile(state, used, schedule.window());
}

}  // namespace pith
