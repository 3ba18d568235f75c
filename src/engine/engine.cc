#include "engine/engine.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <optional>
#include <thread>

#include "base/check.h"
#include "base/log.h"
#include "engine/compress.h"
#include "engine/profile.h"
#include "engine/step.h"
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

  Status FindProfile();
  Status CheckProfile(const Plan& plan) const;
  CacheSpec SpecFor(const Plan& plan) const;
  Status CheckCanRun(const PlannedRun& kv) const;
  Status CheckBytes(const PlannedRun& kv) const;
  uint64_t EntriesFor(const Sequence& sequence, size_t num_tokens, uint64_t room) const;
  Status CompressTo(Sequence& sequence, uint64_t entries, uint64_t room,
                    CompressionReport* report = nullptr);
  Status MakeRoom(Sequence& sequence, uint64_t num_tokens);
  size_t ChunkOf(const Sequence& sequence) const;
  Status CompressBetween(Sequence& sequence, size_t to_come);
  Status CompressWhileGenerating(Sequence& sequence);

  // What one step of Feed, Step and FeedAll has in common.
  struct Rows {
    std::vector<int32_t> tokens, positions, outputs;
    std::vector<StepSequence> sequences;
  } rows;

  Status CheckTokens(const Sequence& sequence, std::span<const int32_t> tokens) const;
  Status CheckMemory(const Sequence& sequence, size_t num_tokens) const;
  Status AddRows(Sequence& sequence, std::span<const int32_t> tokens);
  Result<std::span<const float>> RunRows(std::span<Sequence* const> sequences);
  Result<std::span<const float>> RunChunk(Sequence& sequence, std::span<const int32_t> tokens,
                                          size_t num_outputs);
};

namespace {

constexpr uint32_t kMaxChunk = 8192;

// Many tokens are read between two compressions for a budget in bytes: one part of so many.
constexpr uint64_t kRoomShare = 16;

bool InBytes(const PlannedRun& kv) { return kv.budget && kv.budget->kind == Budget::Kind::kBytes; }

ByteBudget BytesOf(const PlannedRun& kv, const CacheSpec& spec) {
  return {spec, kv.budget->amount};
}
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

Status CheckForm(const Form& form, const char* side, uint32_t dim, const std::string& model) {
  if (dim % form.dim_multiple == 0) return {};
  return InputError("the form " + std::string(form.name) + " holds multiples of " +
                        std::to_string(form.dim_multiple) + " numbers, and a " + side + " has " +
                        std::to_string(dim),
                    model, "Use f16 for it.");
}

Status CheckForms(const Plan& plan, const ModelShape& shape, const std::string& model) {
  PITH_TRY(CheckForm(*plan.key_form, "key", shape.key_dim, model));
  return CheckForm(*plan.value_form, "value", shape.value_dim, model);
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

// A profile that was named must be fit for use; one that merely lies there only once a recipe asks
// for it.
Status Engine::Impl::FindProfile() {
  const bool named = !options.profile_path.empty();
  std::error_code error;
  if (!named) options.profile_path = ProfileBeside(options.model_path);
  if (!named && !std::filesystem::exists(options.profile_path, error)) return {};
  const ModelShape& s = model->shape();
  const ModelIdentity identity{options.model_path, model_hash, s.num_layers, s.num_query_heads,
                               s.num_kv_heads};
  const auto read = [&]() -> Status {
    PITH_ASSIGN(Profile found, ReadProfile(options.profile_path));
    PITH_TRY(CheckProfileIsFor(found, options.profile_path, identity));
    profile = std::move(found.heads);
    return {};
  };
  profile_found = read();
  return named ? profile_found : Status();
}

Status Engine::Impl::CheckProfile(const Plan& plan) const {
  if (plan.needs().profile == 0) return {};
  PITH_TRY(profile_found);
  return CheckHasSections(profile ? &*profile : nullptr, plan, options.profile_path,
                          options.model_path);
}

Status Engine::Impl::CheckTokens(const Sequence& sequence, std::span<const int32_t> tokens) const {
  const uint64_t total = sequence.tokens.size() + tokens.size();
  if (total > options.context) {
    return InputError(std::to_string(total) + " tokens do not fit the context of " +
                          std::to_string(options.context),
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

Status Engine::Impl::AddRows(Sequence& sequence, std::span<const int32_t> tokens) {
  const auto first_row = static_cast<uint32_t>(rows.tokens.size());
  const size_t first_position = sequence.tokens.size();
  rows.tokens.insert(rows.tokens.end(), tokens.begin(), tokens.end());
  for (size_t i = 0; i < tokens.size(); ++i) {
    rows.positions.push_back(static_cast<int32_t>(first_position + i));
  }
  PITH_TRY(sequence.cache.Extend(std::span(rows.positions).subspan(first_row)));
  Observations* observations =
      sequence.observations.needs().queries() ? &sequence.observations : nullptr;
  if (observations != nullptr) {
    observations->Begin(sequence.cache, std::span(rows.positions).subspan(first_row));
  }
  rows.sequences.push_back({&sequence.cache, first_row, static_cast<uint32_t>(tokens.size()),
                            observations, &sequence.compensation});
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
  }
  return logits;
}

// One chunk of one sequence; the logits of its last `num_outputs` rows.
Result<std::span<const float>> Engine::Impl::RunChunk(Sequence& sequence,
                                                      std::span<const int32_t> tokens,
                                                      size_t num_outputs) {
  rows = {};
  PITH_TRY(AddRows(sequence, tokens));
  rows.outputs.resize(num_outputs);
  std::iota(rows.outputs.begin(), rows.outputs.end(),
            static_cast<int32_t>(tokens.size() - num_outputs));
  Sequence* const one[] = {&sequence};
  return RunRows(one);
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
  PITH_ASSIGN(e.keep_all.plan, ParseRecipe("mixed(k=" + std::string(e.options.key_form->name) +
                                           ",v=" + std::string(e.options.value_form->name) + ")"));
  PITH_TRY(CheckForms(e.keep_all.plan, shape, options.model_path));
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
void Engine::Pause() { impl_->runner->Pause(); }

CacheSpec Engine::Impl::SpecFor(const Plan& plan) const {
  const ModelShape& s = model->shape();
  CacheSpec spec;
  spec.num_layers = s.num_layers;
  spec.num_kv_heads = s.num_kv_heads;
  spec.keys = {plan.key_form, s.key_dim, OwnerScope::kHead};
  spec.values = {plan.value_form, s.value_dim, OwnerScope::kHead};
  return spec;
}

CacheSpec Engine::cache_spec() const { return impl_->SpecFor(impl_->keep_all.plan); }

Sequence Sequence::Fork() const {
  return {cache.Fork(),
          tokens,
          kv,
          pinned,
          observations,
          entries_per_head,
          since_compression,
          head_memory,
          tokens_to_come,
          compensation};
}

CacheUsage Sequence::Usage() const {
  CacheUsage usage = cache.Usage();
  const uint64_t beside = compensation.bytes();
  usage.metadata += beside;
  usage.held += beside;
  usage.held_peak += beside;  // which never shrinks
  return usage;
}

void Sequence::Truncate(size_t num_tokens) {
  cache.Truncate(static_cast<int32_t>(num_tokens));
  observations.Truncate(static_cast<int32_t>(num_tokens));
  compensation.Truncate(static_cast<int32_t>(num_tokens));
  tokens.resize(num_tokens);
}

bool SharesPrefill(const PlannedRun& a, const PlannedRun& b) {
  return !InBytes(a) && !InBytes(b) && a.plan.key_form == b.plan.key_form &&
         a.plan.value_form == b.plan.value_form && !a.plan.between_chunks() &&
         !b.plan.between_chunks();
}

Sequence Engine::NewSequence() {
  return Sequence{SequenceCache(impl_->pool.get(), cache_spec()), {}, impl_->keep_all};
}

Result<Sequence> Engine::NewSequence(const PlannedRun& kv) { return NewSequence({&kv, 1}); }

Result<Sequence> Engine::NewSequence(std::span<const PlannedRun> kvs) {
  PITH_CHECK(!kvs.empty());
  Needs needs;
  for (const PlannedRun& kv : kvs) {
    if (&kv != &kvs[0] && !SharesPrefill(kv, kvs[0])) {
      return InputError("\"" + kv.plan.canonical + "\" and \"" + kvs[0].plan.canonical +
                            "\" do not read a prompt in the same way",
                        "recipe", "Give each of them its own sequence.");
    }
    PITH_TRY(impl_->CheckCanRun(kv));
    needs.Add(kv.plan.needs());
  }
  Sequence sequence{SequenceCache(impl_->pool.get(), impl_->SpecFor(kvs[0].plan)), {}, kvs[0]};
  sequence.observations = Observations(impl_->model->shape(), needs);
  return sequence;
}

Result<Sequence> Engine::ForkAs(const Sequence& prompt, const PlannedRun& kv) {
  const std::string names =
      "\"" + prompt.kv.plan.canonical + "\", not for \"" + kv.plan.canonical + "\"";
  if (prompt.entries_per_head > 0) {
    return InputError("the prompt was compressed for " + names, "recipe",
                      "Fork it before it is compressed.");
  }
  const bool same = prompt.kv.plan.canonical == kv.plan.canonical &&
                    InBytes(prompt.kv) == InBytes(kv) &&
                    (!InBytes(kv) || prompt.kv.budget->amount == kv.budget->amount);
  if ((!same && !SharesPrefill(prompt.kv, kv)) ||
      !prompt.observations.needs().Covers(kv.plan.needs())) {
    return InputError("the prompt was read for " + names, "recipe",
                      "Read it again for this recipe.");
  }
  PITH_TRY(impl_->CheckCanRun(kv));
  Sequence fork = prompt.Fork();
  fork.kv = kv;
  return fork;
}

Status Engine::Compress(Sequence& sequence, CompressionReport* report) {
  if (sequence.kv.plan.keeps_all() || sequence.tokens.empty()) return {};
  uint64_t room = 0;
  if (InBytes(sequence.kv)) {
    const uint64_t most = BytesOf(sequence.kv, sequence.cache.spec()).MaxChunk();
    room = std::clamp<uint64_t>(sequence.tokens_to_come, 1, most);
  }
  const uint64_t entries = impl_->EntriesFor(sequence, sequence.tokens.size(), room);
  PITH_TRY(impl_->CompressTo(sequence, entries, room, report));
  sequence.entries_per_head = entries;
  return {};
}

Status Engine::Impl::CheckCanRun(const PlannedRun& kv) const {
  PITH_TRY(CheckForms(kv.plan, model->shape(), options.model_path));
  if (kv.plan.keeps_all()) return {};
  if (!kv.budget && kv.plan.takes_budget()) {
    return InputError("\"" + kv.plan.canonical + "\" needs a budget", "recipe",
                      "Give entries per head (512) or a share of the prompt (10%).");
  }
  if (kv.budget) PITH_TRY(CheckBudget(kv.plan, *kv.budget));
  PITH_TRY(CheckBytes(kv));
  PITH_TRY(CheckProfile(kv.plan));
  if (model->shape().window == 0) return {};
  return InputError("the model attends to the last " + std::to_string(model->shape().window) +
                        " tokens only, and \"" + kv.plan.canonical +
                        "\" is not built for such models",
                    options.model_path, "Use the recipe \"full\".");
}

// What a budget in bytes must hold at least: a chunk beside what is protected.
Status Engine::Impl::CheckBytes(const PlannedRun& kv) const {
  if (!InBytes(kv)) return {};
  const ByteBudget bytes = BytesOf(kv, SpecFor(kv.plan));
  const uint64_t entries = bytes.MaxEntries(bytes.MaxChunk());
  const std::string where = "budget \"" + kv.budget->text + "\"";
  if (entries == 0) {
    return InputError("the budget does not hold one token of every head", where,
                      "Give a larger budget.");
  }
  return CheckProtected(kv.plan, entries, where);
}

uint64_t Engine::Impl::EntriesFor(const Sequence& sequence, size_t num_tokens,
                                  uint64_t room) const {
  if (!InBytes(sequence.kv)) return BudgetEntries(sequence.kv, num_tokens);
  return BytesOf(sequence.kv, sequence.cache.spec()).MaxEntries(room);
}

Status Engine::Impl::CompressTo(Sequence& sequence, uint64_t entries, uint64_t room,
                                CompressionReport* report) {
  sequence.since_compression = 0;
  const CompressTools tools{*model, *runner, profile ? &*profile : nullptr, report};
  if (!InBytes(sequence.kv)) return CompressCache(tools, sequence, {entries});
  const ByteBudget bytes = BytesOf(sequence.kv, sequence.cache.spec());
  return CompressCache(tools, sequence, {entries, &bytes, room});
}

// Before tokens are read: a budget in bytes holds at every moment.
Status Engine::Impl::MakeRoom(Sequence& sequence, uint64_t num_tokens) {
  if (!InBytes(sequence.kv)) return {};
  const ByteBudget bytes = BytesOf(sequence.kv, sequence.cache.spec());
  if (bytes.Holds(sequence.cache, num_tokens)) return {};
  const uint64_t room = std::max(num_tokens, bytes.MaxEntries(0) / kRoomShare);
  return CompressTo(sequence, bytes.MaxEntries(room), room);
}

size_t Engine::Impl::ChunkOf(const Sequence& sequence) const {
  if (!InBytes(sequence.kv)) return options.chunk;
  return std::min<size_t>(options.chunk, BytesOf(sequence.kv, sequence.cache.spec()).MaxChunk());
}

// Between chunks: to what the budget is for the whole of the text, `to_come` tokens included.
Status Engine::Impl::CompressBetween(Sequence& sequence, size_t to_come) {
  if (to_come == 0 || !sequence.kv.plan.between_chunks()) return {};
  const uint64_t room = std::min(to_come, ChunkOf(sequence));
  return CompressTo(sequence, EntriesFor(sequence, sequence.tokens.size() + to_come, room), room);
}

Status Engine::Impl::CompressWhileGenerating(Sequence& sequence) {
  if (sequence.entries_per_head == 0) return {};
  if (const double drop = sequence.kv.plan.decode_drop(); drop > 0) {
    const auto budget = static_cast<double>(sequence.entries_per_head);
    const auto left = static_cast<uint64_t>(std::floor(budget * (1 - drop) + 1e-6));
    if (!IsOverBudget(sequence.cache, sequence.entries_per_head)) return {};
    return CompressTo(sequence, std::max<uint64_t>(1, left), 1);
  }
  const uint32_t interval = sequence.kv.plan.decode_interval();
  if (interval == 0) return {};
  if (++sequence.since_compression < interval) return {};
  return CompressTo(sequence, sequence.entries_per_head, 1);
}

Result<std::span<const float>> Engine::Feed(Sequence& sequence, std::span<const int32_t> tokens,
                                            const FeedProgress& progress) {
  if (tokens.empty()) return InputError("there is nothing to read", "", "Give a text.");
  PITH_TRY(impl_->CheckTokens(sequence, tokens));
  PITH_TRY(impl_->CheckMemory(sequence, tokens.size()));
  std::span<const float> logits;
  for (size_t done = 0; done < tokens.size();) {
    const size_t count = std::min(impl_->ChunkOf(sequence), tokens.size() - done);
    PITH_TRY(impl_->MakeRoom(sequence, count));
    const size_t outputs = done + count == tokens.size() ? 1 : 0;
    PITH_ASSIGN(logits, impl_->RunChunk(sequence, tokens.subspan(done, count), outputs));
    done += count;
    PITH_TRY(impl_->CompressBetween(sequence, tokens.size() - done));
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
  for (Sequence* sequence : sequences) PITH_TRY(impl_->MakeRoom(*sequence, 1));
  impl_->rows = {};
  for (size_t i = 0; i < sequences.size(); ++i) {
    if (Status added = impl_->AddRows(*sequences[i], tokens.subspan(i, 1)); !added) {
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
  for (Sequence* sequence : sequences) PITH_TRY(impl_->CompressWhileGenerating(*sequence));
  return logits;
}

Result<std::vector<float>> Engine::FeedAll(Sequence& sequence, std::span<const int32_t> tokens) {
  PITH_TRY(impl_->CheckTokens(sequence, tokens));
  PITH_TRY(impl_->CheckMemory(sequence, tokens.size()));
  std::vector<float> all;
  for (size_t done = 0; done < tokens.size();) {
    const size_t count = std::min(impl_->ChunkOf(sequence), tokens.size() - done);
    PITH_TRY(impl_->MakeRoom(sequence, count));
    PITH_ASSIGN(const std::span<const float> logits,
                impl_->RunChunk(sequence, tokens.subspan(done, count), count));
    all.insert(all.end(), logits.begin(), logits.end());
    done += count;
    PITH_TRY(impl_->CompressBetween(sequence, tokens.size() - done));
  }
  return all;
}

}  // namespace pith
