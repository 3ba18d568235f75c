// What the speed measurement asks of an engine, so that ours and libllama go through the very same
// steps.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "base/status.h"
#include "engine/engine.h"

namespace pith {

// One engine with one text in its cache, one entry per position.
class Contestant {
 public:
  virtual ~Contestant() = default;
  virtual std::string_view name() const = 0;

  // Feeds tokens in one step (at most one chunk); the logits of the last one, [vocabulary], valid
  // until the next call.
  virtual Result<std::span<const float>> Feed(std::span<const int32_t> tokens) = 0;
  // Forgets everything at `position` and behind.
  virtual Status Rewind(uint32_t position) = 0;
  // Makes the cache hold the synthetic entries (synthetic_fill.h) of positions 0 .. count-1 and
  // nothing else.
  virtual Status Fill(uint32_t count) = 0;
  // Puts worker threads to sleep until the next Feed.
  virtual void Rest() = 0;
};

inline constexpr std::string_view kPithName = "pith";

// Our engine as a contestant. The engine outlives it.
class PithContestant : public Contestant {
 public:
  explicit PithContestant(Engine* engine) : engine_(engine), sequence_(engine->NewSequence()) {}

  std::string_view name() const override { return kPithName; }
  Result<std::span<const float>> Feed(std::span<const int32_t> tokens) override;
  Status Rewind(uint32_t position) override;
  Status Fill(uint32_t count) override;
  void Rest() override { engine_->Pause(); }

  CacheUsage Usage() const { return sequence_.cache.Usage(); }

 private:
  Engine* engine_;
  Sequence sequence_;
};

}  // namespace pith
