// DuoAttention's gates, learnt (arXiv 2410.10819, section 3.2): how much each KV head must see of
// the whole text so that the model answers as it does with all of it.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "calibrate/duo_graph.h"
#include "calibrate/duo_text.h"
#include "engine/profile.h"

namespace pith {

// What a training depends on besides the model.
struct DuoSettings {
  uint32_t steps = 2000;
  uint64_t seed = 1;
  uint32_t context = 0;  // tokens of the longest text; 0: the model's, at most kDuoUsualContext
};

// Where a training stands: together with the settings and the model all that the rest depends on.
struct DuoState {
  uint32_t step = 0;                 // steps done
  double loss = 0;                   // of the hidden states, averaged over about the last 50 steps
  std::vector<double> gates;         // [layer][kv_head], 0 to 1; 1 at first
  std::vector<double> mean, square;  // AdamW's moments, like the gates

  explicit DuoState(size_t num_gates = 0)
      : gates(num_gates, 1.0), mean(num_gates), square(num_gates) {}
};

// The rate of a step as a part of the peak rate: up over the first fifth, down over the last.
double DuoRate(uint32_t step, uint32_t steps);

// One step of AdamW on the loss and 0.05 x the mean gate, without weight decay; gates stay within 0
// and 1.
void DuoUpdate(const DuoLoss& loss, uint32_t steps, DuoState* state);

// The state in a file: whole, or as it was before. Reading trusts nothing; a file of another
// training is an input error that says what differs.
Status SaveDuoState(const std::string& path, uint64_t model_hash, const DuoSettings& settings,
                    const DuoState& state);
Result<DuoState> ReadDuoState(const std::string& path, uint64_t model_hash,
                              const DuoSettings& settings, size_t num_gates);

// The text of a step.
using DuoTexts = std::function<Result<DuoText>(uint32_t step)>;
// Called after each step. Return false to stop.
using DuoStepDone = std::function<Result<bool>(const DuoState& state)>;

// From where `state` stands to the end, or until it is stopped.
Status TrainGates(DuoStreams& streams, const DuoTexts& texts, uint32_t steps, DuoState* state,
                  const DuoStepDone& done);

// The gates as DuoAttention's own code writes them (full_attention_heads.tsv): a line per layer, a
// number per KV head, separated by tabs.
std::string GatesText(std::span<const float> gates, uint32_t kv_heads);

struct DuoProgress {
  uint32_t steps_done = 0;
  double loss = 0;               // DuoState::loss
  size_t tokens = 0, total = 0;  // of the texts of this run: done, and in all
};

// The whole of it for a model's file: a profile with the gates alone. Goes on from the file
// `checkpoint` if it is there, and keeps it up to date; the caller deletes it when the gates are
// safe. `progress` is called before the first step and after each; if it returns false, the state
// is saved and this fails with kFailure "interrupted". The result is the same for any number of
// threads, and whether it was interrupted or not. Input error for a model that cannot be
// differentiated, a context out of range, or a checkpoint of another training.
Result<Profile> LearnGates(const GgufFile& file, const DuoSettings& settings, int num_threads,
                           const std::string& checkpoint,
                           const std::function<bool(const DuoProgress&)>& progress);

}  // namespace pith
