// What the speed measurement asks of an engine, so that ours and libllama go through the very same
// steps.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "base/status.h"
#include "engine/engine.h"
#include "eval/read_summary.h"
#include "eval/synthetic_fill.h"

namespace pith {

// One engine with one text in its cache, one entry per position.
class Contestant {
 public:
  virtual ~Contestant() = default;
  virtual std::string_view name() const = 0;

  // Whether prompts have to be fed as a whole, whatever their length.
  virtual bool reads_whole_prompts() const { return false; }
  // Feeds tokens in one step (at most one chunk, if it does not read whole prompts); the logits of
  // the last one, [vocabulary], valid until the next call.
  virtual Result<std::span<const float>> Feed(std::span<const int32_t> tokens) = 0;
  // Forgets everything at `position` and behind.
  virtual Status Rewind(uint32_t position) = 0;
  // What Fill takes from now on.
  void UseEntries(std::shared_ptr<const SyntheticEntries> entries) {
    entries_ = std::move(entries);
  }
  // Makes the cache hold synthetic entries (synthetic_fill.h) at positions 0 .. count-1 and nothing
  // else, as in the middle of a prompt.
  virtual Status Fill(uint32_t count) = 0;
  // The prompt is read: drops what is not going to be kept.
  virtual Status EndPrompt() { return {}; }
  // Puts worker threads to sleep until the next Feed.
  virtual void Rest() = 0;

 protected:
  std::shared_ptr<const SyntheticEntries> entries_ = std::make_shared<SyntheticEntries>();
};

inline constexpr std::string_view kPithName = "pith";
inline constexpr std::string_view kPithFullName = "pith full";  // beside one that drops entries

// Our engine as a contestant.
class PithContestant : public Contestant {
 public:
  // Its cache is kept as `kv` says. The engine outlives it.
  static Result<std::unique_ptr<PithContestant>> Create(Engine* engine, const PlannedRun& kv,
                                                        std::string_view name = kPithName);

  std::string_view name() const override { return name_; }
  bool reads_whole_prompts() const override { return sequence_.kv.plan.admits(); }
  Result<std::span<const float>> Feed(std::span<const int32_t> tokens) override;
  Status Rewind(uint32_t position) override;
  // The last tokens are really read, as many as the recipe looks back to.
  Status Fill(uint32_t count) override;
  Status EndPrompt() override;
  void Rest() override { engine_->Pause(); }

  CacheUsage Usage() const { return sequence_.Usage(); }
  std::vector<uint64_t> ComputedTokens() const { return sequence_.ComputedTokens(); }
  // Since the cache was filled; none if everything is read.
  std::optional<ReadSummary> Reads() const { return SummarizeReads(sequence_.reader); }

 private:
  PithContestant(Engine* engine, Sequence sequence, std::string_view name)
      : engine_(engine), sequence_(std::move(sequence)), name_(name) {}
  Status Restart();

  Engine* engine_;
  Sequence sequence_;
  std::string_view name_;
  bool prompt_ended_ = false;
};

}  // namespace pith
