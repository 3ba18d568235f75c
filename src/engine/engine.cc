#include "engine/engine.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <numeric>
#include <thread>

#include "base/check.h"
#include "base/log.h"
#include "engine/impl.h"
#include "engine/layer_loop.h"

namespace pith {
namespace {

constexpr uint32_t kMaxChunk = 8192;
constexpr int kMaxThreads = 512;  // ggml's own bound

// Bytes of memory that the system can still give, from MemAvailable and the address-space limit;
// "unknown" is no limit.
uint64_t AvailableMemory() {
  uint64_t available = UINT64_MAX;
  std::ifstream info("/proc/meminfo");
  std::string word;
  while (info >> word) {
    uint64_t kib = 0;
    if (word == "MemAvailable:" && info >> kib) available = kib * 1024;
  }
  rlimit limit{};
  uint64_t used_pages = 0;
  std::ifstream statm("/proc/self/statm");
  if (getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY && statm >> used_pages) {
    const uint64_t used = used_pages * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
    available = std::min<uint64_t>(available, limit.rlim_cur > used ? limit.rlim_cur - used : 0);
  }
  return available;
}

Status FillDefaults(EngineOptions* o, const ModelShape& shape) {
  if (o->context == 0) o->context = shape.context;
  if (o->num_threads == 0) {
    o->num_threads = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  }
  if (o->num_threads < 1 || o->num_threads > kMaxThreads) {
    return InputError("the number of threads must be 1.." + std::to_string(kMaxThreads),
                      std::to_string(o->num_threads), "Leave it out to use all cores.");
  }
  if (o->chunk < 1 || o->chunk > kMaxChunk) {
    return InputError("the chunk must be 1.." + std::to_string(kMaxChunk) + " tokens",
                      std::to_string(o->chunk), "512 is a good value.");
  }
  if (o->context > (1u << 30)) {
    return InputError("the context is absurd", std::to_string(o->context) + " tokens",
                      "The model was trained for " + std::to_string(shape.context) + ".");
  }
  if (o->key_form == nullptr) o->key_form = FindForm(FormId::kF16);
  if (o->value_form == nullptr) o->value_form = FindForm(FormId::kF16);
  return {};
}

}  // namespace

Status Engine::Impl::CheckTokens(const Sequence& sequence, std::span<const int32_t> tokens) const {
  const uint64_t total = sequence.tokens.size() + tokens.size();
  if (total > MaxTokens(sequence)) {
    return InputError(std::to_string(total) + " tokens do not fit the context of " +
                          std::to_string(MaxTokens(sequence)),
                      options.model_path, "Shorten the text, or give a larger --ctx.");
  }
  const auto vocabulary = static_cast<int32_t>(model->params().vocabulary);
  for (const int32_t token : tokens) {
    if (token < 0 || token >= vocabulary) {
      return InputError("token " + std::to_string(token) + " is not in the vocabulary of " +
                            std::to_string(vocabulary),
                        options.model_path, "Use the tokenizer of this model.");
    }
  }
  return {};
}

// Refuses growth that would make the system run out of memory: pages are handed out lazily, so that
// the system would say yes now and kill the process later.
Status Engine::Impl::CheckMemory(const Sequence& sequence, size_t num_tokens) const {
  const ModelShape& s = model->shape();
  const CacheSpec& spec = sequence.cache.spec();
  const double bits =
      s.key_dim * spec.keys.form->bits_per_value + s.value_dim * spec.values.form->bits_per_value;
  const auto bytes = static_cast<uint64_t>(bits / 8.0 * s.num_layers * s.num_kv_heads *
                                           static_cast<double>(num_tokens));
  const uint64_t spare = pool->allocated_bytes() - pool->used_bytes();
  if (bytes <= spare || bytes - spare < AvailableMemory()) return {};
  return Failure("there is no memory for the cache: " + std::to_string(bytes >> 20) +
                     " MiB are needed for " + std::to_string(num_tokens) + " tokens",
                 options.model_path, "Shorten the text, or store the cache in a smaller form.");
}

Status Engine::Impl::AddRows(Sequence& sequence, std::span<const int32_t> tokens, bool generated) {
  const auto first_row = static_cast<uint32_t>(rows.tokens.size());
  const size_t first_position = sequence.tokens.size();
  rows.tokens.insert(rows.tokens.end(), tokens.begin(), tokens.end());
  for (size_t i = 0; i < tokens.size(); ++i) {
    rows.positions.push_back(static_cast<int32_t>(first_position + i));
  }
  PITH_TRY(sequence.cache.Extend(std::span(rows.positions).subspan(first_row)));
  StepObserver* observer = sequence.watcher;
  if (sequence.observations.needs().queries()) {
    sequence.observations.Begin(sequence.cache, std::span(rows.positions).subspan(first_row));
    observer = &sequence.observations;
  }
  if (sequence.admission.blocks.active()) {
    sequence.admission.blocks.Begin();
    observer = &sequence.admission.blocks;
  }
  const bool selects = generated && !sequence.reader.rule().reads_all();
  rows.sequences.push_back({.cache = &sequence.cache,
                            .first_row = first_row,
                            .num_rows = static_cast<uint32_t>(tokens.size()),
                            .observer = observer,
                            .compensation = &sequence.compensation,
                            .folded = &sequence.folded,
                            .reader = selects ? &sequence.reader : nullptr});
  return {};
}

// Runs the collected rows; on failure the caches are what they were.
Result<std::span<const float>> Engine::Impl::RunRows(std::span<Sequence* const> sequences) {
  auto logits = runner->Run({rows.tokens, rows.positions, rows.sequences, rows.outputs});
  for (size_t i = 0; i < sequences.size(); ++i) {
    Sequence& sequence = *sequences[i];
    if (!logits) {
      sequence.Truncate(sequence.tokens.size());
      continue;
    }
    const auto first = rows.tokens.begin() + rows.sequences[i].first_row;
    sequence.tokens.insert(sequence.tokens.end(), first, first + rows.sequences[i].num_rows);
    for (uint64_t& count : sequence.admission.computed) count += rows.sequences[i].num_rows;
  }
  return logits;
}

// One chunk of one sequence; the logits of its last `num_outputs` rows.
Result<std::span<const float>> Engine::Impl::RunChunk(Sequence& sequence,
                                                      std::span<const int32_t> tokens,
                                                      size_t num_outputs) {
  rows = {};
  PITH_TRY(AddRows(sequence, tokens, false));
  rows.outputs.resize(num_outputs);
  std::iota(rows.outputs.begin(), rows.outputs.end(),
            static_cast<int32_t>(tokens.size() - num_outputs));
  Sequence* const one[] = {&sequence};
  return RunRows(one);
}

// The whole of a text, layer by layer.
Result<std::span<const float>> Engine::Impl::FeedByLayers(Sequence& sequence,
                                                          std::span<const int32_t> tokens,
                                                          const FeedProgress& progress) {
  if (!sequence.pinned.empty()) {
    return InputError("\"" + sequence.kv.plan.canonical +
                          "\" drops tokens before they have entries that could be pinned",
                      "recipe", "Pin nothing.");
  }
  return LayerLoop(*model, *runner, options.chunk, sequence).Run(tokens, progress);
}

// After a generated token.
Status Engine::Impl::ThinOut(Sequence& sequence) {
  if (!sequence.admission.blocks.active()) return {};
  const PartUse& admit = sequence.kv.plan.admit;
  const uint32_t num_layers = model->shape().num_layers;
  std::vector<AdmitBlock> blocks;
  for (uint32_t layer = 0; layer < num_layers; ++layer) {
    blocks.push_back(admit.part->block(admit.values, layer, num_layers));
  }
  return sequence.admission.blocks.Age(
      blocks, [this](const auto& work) { runner->Parallel(work); }, sequence.cache);
}

Engine::Engine() : impl_(std::make_unique<Impl>()) {}
Engine::~Engine() = default;

Result<std::unique_ptr<Engine>> Engine::Create(const EngineOptions& options) {
  std::unique_ptr<Engine> engine(new Engine());
  Impl& e = *engine->impl_;
  e.options = options;
  PITH_ASSIGN(GgufFile file, GgufFile::Open(options.model_path));
  e.file = std::make_unique<GgufFile>(std::move(file));
  PITH_ASSIGN(const ModelShape shape, ReadModelShape(*e.file));
  PITH_TRY(FillDefaults(&e.options, shape));
  if (e.options.context > shape.context) {
    Log(LogLevel::kWarning, "a context of " + std::to_string(e.options.context) +
                                " tokens is beyond the " + std::to_string(shape.context) +
                                " that the model was trained for: expect worse text there");
  }
  PITH_ASSIGN(e.tokenizer, Tokenizer::Load(*e.file));
  if (e.tokenizer->vocabulary_size() != shape.vocabulary) {
    return InputError("the tokenizer has " + std::to_string(e.tokenizer->vocabulary_size()) +
                          " tokens but the embedding has " + std::to_string(shape.vocabulary),
                      options.model_path, "The file is damaged.");
  }
  PITH_ASSIGN(e.model, Model::Load(*e.file, {e.options.repack, e.options.context}));
  PITH_ASSIGN(e.model_hash, HashModel(*e.file, e.model->params()));
  PITH_TRY(e.FindProfile());
  PITH_ASSIGN(e.keep_all.plan, ParseRecipe("full"));
  e.keep_all.plan.storage = {e.options.key_form, e.options.value_form};
  PITH_TRY(CheckForms(e.SpecFor(e.keep_all.plan), options.model_path));
  e.pool = std::make_unique<PagePool>(e.options.cache_limit_bytes);
  e.runner = std::make_unique<StepRunner>(*e.model, e.options.num_threads);
  PITH_TRY(e.runner->Reserve(std::min(e.options.chunk, e.options.context)));
  return engine;
}

const Model& Engine::model() const { return *impl_->model; }
const GgufFile& Engine::file() const { return *impl_->file; }
const Tokenizer& Engine::tokenizer() const { return *impl_->tokenizer; }
const EngineOptions& Engine::options() const { return impl_->options; }
PagePool& Engine::pool() { return *impl_->pool; }
uint64_t Engine::model_hash() const { return impl_->model_hash; }
uint64_t Engine::MaxTokens(const Sequence& sequence) const { return impl_->MaxTokens(sequence); }
void Engine::Pause() { impl_->runner->Pause(); }

Result<std::span<const float>> Engine::Feed(Sequence& sequence, std::span<const int32_t> tokens,
                                            const FeedProgress& progress) {
  if (tokens.empty()) return InputError("there is nothing to read", "", "Give a text.");
  PITH_TRY(impl_->CheckTokens(sequence, tokens));
  PITH_TRY(impl_->CheckMemory(sequence, tokens.size()));
  if (sequence.kv.plan.admits()) return impl_->FeedByLayers(sequence, tokens, progress);
  sequence.observations.Expect(sequence.tokens.size() + tokens.size());
  std::span<const float> logits;
  for (size_t done = 0; done < tokens.size();) {
    const size_t count = std::min(impl_->ChunkOf(sequence), tokens.size() - done);
    PITH_TRY(impl_->MakeRoom(sequence, count));
    const size_t outputs = done + count == tokens.size() ? 1 : 0;
    PITH_ASSIGN(logits, impl_->RunChunk(sequence, tokens.subspan(done, count), outputs));
    done += count;
    PITH_TRY(impl_->SealRead(sequence, true));
    // What is read for scores is not counted, but may be interrupted.
    const auto still = [&](size_t, size_t) { return !progress || progress(done, tokens.size()); };
    PITH_TRY(impl_->CompressBetween(sequence, tokens.size() - done, still));
    if (progress && !progress(done, tokens.size()) && done < tokens.size()) {
      return Failure("interrupted");
    }
  }
  return logits;
}

Result<std::span<const float>> Engine::Step(std::span<Sequence* const> sequences,
                                            std::span<const int32_t> tokens) {
  if (sequences.empty() || sequences.size() != tokens.size()) {
    return InputError("each sequence of a step needs one token", "", "Give as many tokens.");
  }
  for (size_t i = 0; i < sequences.size(); ++i) {
    PITH_TRY(impl_->CheckTokens(*sequences[i], tokens.subspan(i, 1)));
  }
  for (Sequence* sequence : sequences) {
    if (!sequence->kv.plan.revives()) continue;
    if (sequences.size() == 1) return impl_->FeedByLayers(*sequence, tokens, {});
    return InputError("\"" + sequence->kv.plan.canonical +
                          "\" has other tokens to go on with in every sequence and layer, and "
                          "a step goes through a layer with one sequence",
                      "recipe", "Take a step for each sequence.");
  }
  for (Sequence* sequence : sequences) PITH_TRY(impl_->MakeRoom(*sequence, 1));
  impl_->rows = {};
  for (size_t i = 0; i < sequences.size(); ++i) {
    if (Status added = impl_->AddRows(*sequences[i], tokens.subspan(i, 1), true); !added) {
      // What has been extended for this step is taken back, so that every cache is what it was.
      for (size_t j = 0; j < i; ++j) {
        sequences[j]->Truncate(sequences[j]->tokens.size());
      }
      return tl::unexpected<Error>(std::move(added).error());
    }
  }
  impl_->rows.outputs.resize(sequences.size());
  std::iota(impl_->rows.outputs.begin(), impl_->rows.outputs.end(), 0);
  PITH_ASSIGN(const std::span<const float> logits, impl_->RunRows(sequences));
  for (Sequence* sequence : sequences) {
    PITH_TRY(impl_->CompressWhileGenerating(*sequence));
    PITH_TRY(impl_->ThinOut(*sequence));
    PITH_TRY(impl_->SealRead(*sequence, false));
  }
  return logits;
}

Result<std::vector<float>> Engine::FeedAll(Sequence& sequence, std::span<const int32_t> tokens) {
  if (sequence.kv.plan.admits()) {
    return InputError("\"" + sequence.kv.plan.canonical +
                          "\" takes the last token alone through all layers, and the others have "
                          "no logits",
                      "recipe", "Feed the tokens one by one.");
  }
  PITH_TRY(impl_->CheckTokens(sequence, tokens));
  PITH_TRY(impl_->CheckMemory(sequence, tokens.size()));
  sequence.observations.Expect(sequence.tokens.size() + tokens.size());
  std::vector<float> all;
  for (size_t done = 0; done < tokens.size();) {
    const size_t count = std::min(impl_->ChunkOf(sequence), tokens.size() - done);
    PITH_TRY(impl_->MakeRoom(sequence, count));
    PITH_ASSIGN(const std::span<const float> logits,
                impl_->RunChunk(sequence, tokens.subspan(done, count), count));
    all.insert(all.end(), logits.begin(), logits.end());
    done += count;
    PITH_TRY(impl_->SealRead(sequence, true));
    PITH_TRY(impl_->CompressBetween(sequence, tokens.size() - done));
  }
  return all;
}

}  // namespace pith
