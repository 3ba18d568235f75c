// Snapshots: a sequence with its sampler in one file, and back (docs/save_format.md, "Snapshot
// file").
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/engine.h"
#include "text/sampler.h"

namespace pith {

struct Snapshot {
  Sequence sequence;
  SamplerState sampler;
  std::vector<float> logits;  // [vocabulary], those that the next token is drawn from
  std::string note;           // what the program wanted to remember beside it, as it was given
};

// Input error for a recipe whose sequences cannot be saved.
Status CheckCanSave(const Plan& plan, const std::string& path);

// `logits` are those of the last token in `sequence`, so that a loaded sequence continues bit for
// bit. The file is there whole or not at all.
Status SaveSnapshot(const Engine& engine, const Sequence& sequence, const SamplerState& sampler,
                    std::span<const float> logits, std::string_view note, const std::string& path);

// The sequence is kept as it was when it was saved. Refuses, as bad input that names `path`, what
// is damaged, of another model, longer than the context, or of another recipe or budget than `kv`,
// if that is given.
Result<Snapshot> LoadSnapshot(Engine& engine, const std::string& path,
                              const std::optional<PlannedRun>& kv = std::nullopt);

}  // namespace pith
