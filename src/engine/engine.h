// The engine: a model, a pool of pages, and sequences that are fed tokens.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "cache/cache.h"
#include "cache/page.h"
#include "engine/admission.h"
#include "engine/compensation.h"
#include "engine/entry_reader.h"
#include "engine/fold.h"
#include "engine/move_sinks.h"
#include "engine/observations.h"
#include "gguf/gguf.h"
#include "model/model.h"
#include "recipe/budget.h"
#include "text/tokenizer.h"

namespace pith {

struct EngineOptions {
  std::string model_path;
  uint32_t context = 0;            // tokens; 0: what the model was trained for
  int num_threads = 0;             // 0: all cores
  uint32_t chunk = 512;            // prompt tokens per step
  const Form* key_form = nullptr;  // of NewSequence() without a recipe; nullptr: f16
  const Form* value_form = nullptr;
  uint64_t cache_limit_bytes = 0;  // of the page pool; 0: no limit
  bool repack = true;              // let ggml rearrange weights where that is faster
  std::string profile_path;        // empty: the one beside the model, if there is one (profile.h)
};

// Positions [first, second) of a text.
using PositionRange = std::pair<int32_t, int32_t>;

// One text being read or written: its tokens, its cache, and how that is kept.
struct Sequence {
  SequenceCache cache;
  std::vector<int32_t> tokens;  // all tokens fed so far; the next position is tokens.size()
  PlannedRun kv;
  std::vector<PositionRange> pinned;  // never dropped, whatever the recipe: a system prompt, say

  // The engine's: what the recipe gathers, and where its compression stands.
  Observations observations;
  uint64_t entries_per_head = 0;    // what the budget came to at the end of the prompt; 0: not yet
  uint32_t since_compression = 0;   // tokens generated
  std::vector<double> head_memory;  // [layer][kv_head], HeadInput::memory
  SinkKeys sink_keys;               // of a recipe that moves them
  // Tokens that are going to be generated, for which a budget in bytes leaves room at the end of
  // the prompt, as far as a quarter of it goes. It holds without, but may compress again sooner.
  uint64_t tokens_to_come = 0;
  Compensation compensation;  // the means of what the recipe has dropped
  FoldedEntries folded;       // what it has folded
  Admission admission;        // of a recipe that drops tokens while they are read
  EntryReader reader;         // what the recipe reads for a new token

  // Looks on while tokens are fed, if the recipe gathers nothing; not owned, and no fork's.
  StepObserver* watcher = nullptr;

  // The cache's, what is kept beside it included (as metadata).
  CacheUsage Usage() const;
  // Tokens that each layer was computed for.
  std::vector<uint64_t> ComputedTokens() const;
  Sequence Fork() const;
  // Goes back to the first `num_tokens` tokens. What was evicted does not come back.
  void Truncate(size_t num_tokens);
};

// Whether the two runs read a prompt in the same way, so that one reading serves both: they differ
// at most in what happens after it. Budgets in bytes hold while a prompt is read. If each two of
// several share it, one reading serves them all.
bool SharesPrefill(const PlannedRun& a, const PlannedRun& b);

struct CompressionReport;  // compress.h

// Called after every chunk of a prompt with tokens done and in all. Return false to stop: Feed then
// fails with kFailure "interrupted" and the sequence holds the chunks done so far.
using FeedProgress = std::function<bool(size_t done, size_t total)>;

class Engine {
 public:
  static Result<std::unique_ptr<Engine>> Create(const EngineOptions& options);
  ~Engine();

  const Model& model() const;
  const GgufFile& file() const;
  const Tokenizer& tokenizer() const;
  const EngineOptions& options() const;  // with the defaults filled in
  PagePool& pool();
  CacheSpec cache_spec() const;
  uint64_t model_hash()
      const;  // architecture, hyper-parameters, vocabulary, norm tensors (design 8.4)

  // Tokens that the sequence may have in all: the context, and more where its recipe keeps
  // positions in the cache (streaming) and a window and a chunk fit the context.
  uint64_t MaxTokens(const Sequence& sequence) const;

  // A sequence that keeps everything, in the options' forms.
  Sequence NewSequence();
  // One that is kept as `kv` says: its forms, stages and budget.
  Result<Sequence> NewSequence(const PlannedRun& kv);
  // One prompt for several runs that share their prefill; input error if two of them do not. It is
  // fed and then forked with ForkAs for each of them.
  Result<Sequence> NewSequence(std::span<const PlannedRun> kvs);
  // A fork of a fed prompt, kept as `kv` from now on; not compressed yet. Input error if `kv` was
  // none of the runs that the prompt was made for, or if the prompt is compressed already.
  Result<Sequence> ForkAs(const Sequence& prompt, const PlannedRun& kv);

  // The end of a prompt, or of a turn: compresses the cache as the sequence's recipe says. A share
  // counts all tokens so far. Nothing happens to a recipe that keeps everything. Logits stay valid.
  // Input error if the recipe protects more than the budget has room for. `progress` is told of
  // tokens that have to be read for the scores, and can stop it: then it fails with kFailure
  // "interrupted" and the cache stays as it is. `report`, if given, gets what was
  // seen and decided.
  Status Compress(Sequence& sequence, CompressionReport* report = nullptr,
                  const FeedProgress& progress = {});

  // Feeds `tokens` in chunks (layer by layer where the recipe says which of them go on to the next
  // layer; then they are read to the end or not at all), and compresses between them if the recipe
  // says so or a budget in bytes would be exceeded; the logits of the last one, [vocabulary], valid
  // until the next call. Input error if they do not fit the context or are not in the vocabulary;
  // kFailure if the cache has no memory for them.
  Result<std::span<const float>> Feed(Sequence& sequence, std::span<const int32_t> tokens,
                                      const FeedProgress& progress = {});

  // One token for each sequence in one step, and compression after it where the recipe says so;
  // logits [sequences.size()][vocabulary], valid until the next call. Input error for several
  // sequences if the tokens of one of them may come back (Plan::revives).
  Result<std::span<const float>> Step(std::span<Sequence* const> sequences,
                                      std::span<const int32_t> tokens);

  // Puts the threads to sleep until the next call, so that something else can be measured
  // undisturbed.
  void Pause();

  // Like Feed, but gives the logits of every token: [tokens.size()][vocabulary]. Input error if not
  // all of them go through all layers.
  Result<std::vector<float>> FeedAll(Sequence& sequence, std::span<const int32_t> tokens);

 private:
  Engine();
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace pith
