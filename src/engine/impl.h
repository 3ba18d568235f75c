// What engine.cc (models, steps) and keep.cc (sequences and how they are kept) share.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "engine/compress.h"
#include "engine/engine.h"
#include "engine/fold.h"
#include "engine/profile.h"
#include "engine/replay.h"
#include "engine/step.h"
#include "engine/token_kinds.h"
#include "model/weights.h"

namespace pith {

struct Engine::Impl {
  EngineOptions options;
  std::unique_ptr<GgufFile> file;
  std::unique_ptr<Tokenizer> tokenizer;
  std::unique_ptr<Model> model;
  std::unique_ptr<PagePool> pool;
  std::unique_ptr<StepRunner> runner;
  uint64_t model_hash = 0;
  PlannedRun keep_all;  // `full` in the options' forms
  std::optional<HeadProfile> profile;
  Status profile_found;  // the error of a profile beside the model that cannot be used
  std::optional<ReplayText> replay_text;  // these two once a recipe needs them
  std::vector<TokenKind> token_kinds;
  std::shared_ptr<const FoldNetworks> fold_networks;

  Status FindProfile();
  Status CheckProfile(const Plan& plan) const;
  CacheSpec SpecFor(const Plan& plan) const;  // after CheckProfile
  // Refuses what cannot be run, and makes ready what its scores need.
  Status PrepareFor(const PlannedRun& kv);
  Status CheckReading(const PlannedRun& kv) const;
  Status CheckBytes(const PlannedRun& kv) const;
  Status CheckChannels(const PlannedRun& kv) const;
  Status PrepareFold(const PlannedRun& kv);
  Status CheckBesideFits(const Sequence& sequence) const;
  FoldedEntries FoldedFor(const Plan& plan) const;  // after PrepareFold
  // Of all heads: states that entries are folded into (after PrepareFold), matrices of mixed keys.
  uint64_t BesideBytes(const Plan& plan) const;
  ByteBudget BytesOf(const PlannedRun& kv, const CacheSpec& spec) const;
  uint64_t EntriesFor(const Sequence& sequence, size_t num_tokens, uint64_t room) const;
  Status DropEntries(Sequence& sequence, CompressionReport* report, const FeedProgress& progress);
  Status CompressTo(Sequence& sequence, uint64_t entries, uint64_t room,
                    CompressionReport* report = nullptr, const FeedProgress& progress = {});
  Status MakeRoom(Sequence& sequence, uint64_t num_tokens);
  size_t ChunkOf(const Sequence& sequence) const;
  Status CompressBetween(Sequence& sequence, size_t to_come, const FeedProgress& progress = {});
  Status CheckMerge(const PlannedRun& kv) const;
  Status Seal(Sequence& sequence, bool prompt_read);
  Status Merge(Sequence& sequence, bool prompt_read);
  Status SealRead(Sequence& sequence, bool prompt);
  Status CompressWhileGenerating(Sequence& sequence);
  Status ThinOut(Sequence& sequence);
  Result<std::span<const float>> FeedByLayers(Sequence& sequence, std::span<const int32_t> tokens,
                                              const FeedProgress& progress);

  // What one step of Feed, Step and FeedAll has in common.
  struct Rows {
    std::vector<int32_t> tokens, positions, outputs;
    std::vector<StepSequence> sequences;
  } rows;

  uint64_t MaxTokens(const Sequence& sequence) const;
  Status CheckTokens(const Sequence& sequence, std::span<const int32_t> tokens) const;
  Status CheckMemory(const Sequence& sequence, size_t num_tokens) const;
  // `generated`: the sequence reads as its recipe says; a text is read with all that is stored.
  Status AddRows(Sequence& sequence, std::span<const int32_t> tokens, bool generated);
  EntryReader ReaderFor(const Plan& plan) const;  // after CheckProfile
  Result<std::span<const float>> RunRows(std::span<Sequence* const> sequences);
  Result<std::span<const float>> RunChunk(Sequence& sequence, std::span<const int32_t> tokens,
                                          size_t num_outputs);
};

// Refuses forms that cannot hold this model's heads.
Status CheckForms(const CacheSpec& spec, const std::string& model);

}  // namespace pith
