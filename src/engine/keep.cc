// Sequences, and how the engine keeps their caches within what the recipe and the budget say.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <iterator>

#include "base/check.h"
#include "codec/kivi.h"
#include "engine/budget_entries.h"
#include "engine/channels.h"
#include "engine/impl.h"
#include "engine/merging.h"
#include "engine/sealing.h"

namespace pith {
namespace {

// Many tokens are read between two compressions for a budget in bytes: one part of so many.
constexpr uint64_t kRoomShare = 16;

constexpr uint64_t kMaxPositions = 1 << 20;  // beyond, rope in f32 becomes inexact

Status CheckForm(const Form* form, const char* side, uint32_t dim, const std::string& model) {
  if (form == nullptr || dim % form->dim_multiple == 0) return {};
  return InputError("the form " + std::string(form->name) + " holds multiples of " +
                        std::to_string(form->dim_multiple) + " numbers, and a " + side + " has " +
                        std::to_string(dim),
                    model, "Use f16 for it.");
}

}  // namespace

// What is kept beside the entries takes its part of the budget from the start.
ByteBudget Engine::Impl::BytesOf(const PlannedRun& kv, const CacheSpec& spec) const {
  const uint64_t beside = BesideBytes(kv.plan), amount = kv.budget->amount;
  return {spec, kv.plan.storage.residual, amount - std::min(amount, beside)};
}

Status CheckForms(const CacheSpec& spec, const std::string& model) {
  for (uint32_t layer = 0; layer < spec.num_layers; ++layer) {
    for (const Form* form : {spec.keys.form, spec.keys.SealedIn(layer)}) {
      PITH_TRY(CheckForm(form, "key", spec.keys.dim, model));
    }
    for (const Form* form : {spec.values.form, spec.values.SealedIn(layer)}) {
      PITH_TRY(CheckForm(form, "value", spec.values.dim, model));
    }
  }
  return {};
}

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

// Where sinks move, queries and keys never lie farther apart than what the cache holds, a chunk
// included.
uint64_t Engine::Impl::MaxTokens(const Sequence& sequence) const {
  const Plan& plan = sequence.kv.plan;
  if (plan.num_moved() == 0 || !plan.between_chunks() || plan.decode_interval() == 0 ||
      !sequence.kv.budget || IsShare(*sequence.kv.budget)) {
    return options.context;
  }
  const uint64_t most =
      EntriesFor(sequence, 0, 0) + std::max<uint64_t>(ChunkOf(sequence), plan.decode_interval());
  return most <= options.context ? kMaxPositions : options.context;
}

CacheSpec Engine::Impl::SpecFor(const Plan& plan) const {
  const ModelShape& s = model->shape();
  CacheSpec spec;
  spec.num_layers = s.num_layers;
  spec.num_kv_heads = s.num_kv_heads;
  const Storage& store = plan.storage;
  spec.keys = {store.key_tail, s.key_dim, OwnerScope::kHead, store.key_sealed, store.keys_rotated};
  spec.values = {store.value_tail, s.value_dim, OwnerScope::kHead, store.value_sealed,
                 store.values_rotated};
  spec.num_sinks = store.num_sinks;
  if (store.tuned_group > 0) {
    PITH_CHECK(profile && (profile->sections() & kProfileBits) != 0);
    const auto add = [&](const std::vector<float>& layers, const Form* exact, ListSpec* list) {
      for (const float bits : layers) {
        list->sealed_by_layer.push_back(
            bits == 16 ? exact : FindKivi(static_cast<uint32_t>(bits), store.tuned_group));
      }
    };
    // Keys that stay in f16 still lose channels.
    add(profile->key_bits, store.prunes() ? store.key_tail : nullptr, &spec.keys);
    add(profile->value_bits, nullptr, &spec.values);
  }
  spec.keys.sealed_dim = NumChannelsKept(store.channels, spec.keys);
  spec.keys.sealed_mixed = store.channels.mixes && spec.keys.pruned();
  spec.merged_with = MergedLayers(plan, s.num_layers, profile ? &*profile : nullptr);
  return spec;
}

CacheSpec Engine::cache_spec() const { return impl_->SpecFor(impl_->keep_all.plan); }

Sequence Sequence::Fork() const {
  return {cache.Fork(),      tokens,      kv,        pinned,         observations, entries_per_head,
          since_compression, head_memory, sink_keys, tokens_to_come, compensation, folded,
          admission,         reader};
}

CacheUsage Sequence::Usage() const {
  CacheUsage usage = cache.Usage();
  const uint64_t beside =
      compensation.bytes() + folded.bytes() + admission.bytes() + reader.bytes();
  usage.metadata += beside;
  usage.held += beside;
  usage.held_peak += beside;
  // Channels of keys are metadata of the cache, but no block of its pool.
  for (uint32_t layer = 0; layer < cache.spec().num_layers; ++layer) {
    for (uint32_t head = 0; head < cache.spec().num_kv_heads; ++head) {
      const ChannelList* const channels = cache.KeyChannels(layer, head);
      if (channels == nullptr) continue;
      usage.held += channels->bytes();
      usage.held_peak += channels->bytes();
    }
  }
  return usage;
}

std::vector<uint64_t> Sequence::ComputedTokens() const {
  if (kv.plan.admits()) return admission.computed;
  return std::vector<uint64_t>(cache.spec().num_layers, tokens.size());
}

void Sequence::Truncate(size_t num_tokens) {
  cache.Truncate(static_cast<int32_t>(num_tokens));
  observations.Truncate(static_cast<int32_t>(num_tokens));
  compensation.Truncate(static_cast<int32_t>(num_tokens));
  folded.Truncate(static_cast<int32_t>(num_tokens));
  admission.Truncate(static_cast<int32_t>(num_tokens));
  tokens.resize(num_tokens);
}

bool SharesPrefill(const PlannedRun& a, const PlannedRun& b) {
  const double a_band = a.plan.needs().band, b_band = b.plan.needs().band;
  return !InBytes(a) && !InBytes(b) && a.plan.storage == b.plan.storage &&
         a.plan.merge_rule() == b.plan.merge_rule() &&
         (!a.plan.storage.seals() || a.plan.keeps_all() == b.plan.keeps_all()) &&
         (a_band == b_band || a_band == 0 || b_band == 0) && !a.plan.between_chunks() &&
         !b.plan.between_chunks() && !a.plan.admits() && !b.plan.admits();
}

Sequence Engine::NewSequence() {
  return Sequence{SequenceCache(impl_->pool.get(), cache_spec()), {}, impl_->keep_all};
}

Result<Sequence> Engine::NewSequence(const PlannedRun& kv) { return NewSequence({&kv, 1}); }

Result<Sequence> Engine::NewSequence(std::span<const PlannedRun> kvs) {
  PITH_CHECK(!kvs.empty());
  Needs needs;
  for (const PlannedRun& kv : kvs) {
    for (const PlannedRun& other : kvs) {
      if (&kv == &other || SharesPrefill(kv, other)) continue;
      return InputError("\"" + kv.plan.canonical + "\" and \"" + other.plan.canonical +
                            "\" do not read a prompt in the same way",
                        "recipe", "Give each of them its own sequence.");
    }
    PITH_TRY(impl_->PrepareFor(kv));
    needs.Add(kv.plan.needs());
  }
  Sequence sequence{SequenceCache(impl_->pool.get(), impl_->SpecFor(kvs[0].plan)), {}, kvs[0]};
  sequence.observations = Observations(impl_->model->shape(), needs);
  sequence.admission = Admission(sequence.kv.plan, impl_->model->shape());
  sequence.reader = impl_->ReaderFor(kvs[0].plan);
  sequence.folded = impl_->FoldedFor(kvs[0].plan);
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
  PITH_TRY(impl_->PrepareFor(kv));
  Sequence fork = prompt.Fork();
  fork.kv = kv;
  fork.reader = impl_->ReaderFor(kv.plan);
  if (!same) fork.folded = impl_->FoldedFor(kv.plan);
  return fork;
}

EntryReader Engine::Impl::ReaderFor(const Plan& plan) const {
  return {plan.read_rule(), SpecFor(plan), profile ? &*profile : nullptr};
}

Status Engine::Compress(Sequence& sequence, CompressionReport* report,
                        const FeedProgress& progress) {
  if (sequence.tokens.empty()) return {};
  if (!sequence.kv.plan.keeps_all()) {
    PITH_TRY(impl_->DropEntries(sequence, report, progress));
  }
  if (sequence.kv.plan.storage.prunes()) PITH_TRY(impl_->Seal(sequence, true));
  return impl_->Merge(sequence, true);
}

// At the end of a prompt.
Status Engine::Impl::DropEntries(Sequence& sequence, CompressionReport* report,
                                 const FeedProgress& progress) {
  PITH_TRY(CheckBesideFits(sequence));
  uint64_t room = 0;
  if (InBytes(sequence.kv)) {
    const uint64_t most = BytesOf(sequence.kv, sequence.cache.spec()).MaxChunk();
    room = std::clamp<uint64_t>(sequence.tokens_to_come, 1, most);
  }
  const uint64_t entries = EntriesFor(sequence, sequence.tokens.size(), room);
  PITH_TRY(CompressTo(sequence, entries, room, report, progress));
  sequence.entries_per_head = entries;
  return {};
}

Status Engine::Impl::PrepareFor(const PlannedRun& kv) {
  PITH_TRY(CheckProfile(kv.plan));
  PITH_TRY(CheckForms(SpecFor(kv.plan), options.model_path));
  PITH_TRY(CheckReading(kv));
  PITH_TRY(CheckChannels(kv));
  PITH_TRY(PrepareFold(kv));
  PITH_TRY(CheckMerge(kv));
  if (kv.plan.keeps_all() && !kv.plan.admits()) return {};
  if (!kv.budget && kv.plan.takes_budget()) {
    return InputError("\"" + kv.plan.canonical + "\" needs a budget", "recipe",
                      "Give entries per head (512) or a share of the prompt (10%).");
  }
  if (kv.budget) PITH_TRY(CheckBudget(kv.plan, *kv.budget));
  PITH_TRY(CheckBytes(kv));
  if (model->shape().window != 0) {
    return InputError("the model attends to the last " + std::to_string(model->shape().window) +
                          " tokens only, and \"" + kv.plan.canonical +
                          "\" is not built for such models",
                      options.model_path, "Use the recipe \"full\".");
  }
  const Needs needs = kv.plan.needs();
  if (needs.replay > 0 && !replay_text) {
    PITH_ASSIGN(replay_text, MakeReplayText(*tokenizer));
  }
  if (needs.token_kinds && token_kinds.empty()) token_kinds = TokenKinds(*tokenizer);
  return {};
}

Status Engine::Impl::CheckReading(const PlannedRun& kv) const {
  if (kv.plan.read_rule().reads_all()) return {};
  if (InBytes(kv)) {
    return InputError("\"" + kv.plan.canonical +
                          "\" keeps an index of the keys beside the cache, for which a budget in "
                          "bytes leaves no memory",
                      "budget \"" + kv.budget->text + "\"",
                      "Give entries per head (512) or a share of the prompt (10%).");
  }
  if (model->shape().window == 0) return {};
  return InputError("the model attends to the last " + std::to_string(model->shape().window) +
                        " tokens only, of which \"" + kv.plan.canonical + "\" knows nothing",
                    options.model_path, "Use read=all.");
}

Status Engine::Impl::CheckChannels(const PlannedRun& kv) const {
  if (!kv.plan.storage.prunes()) return {};
  if (InBytes(kv)) {
    return InputError("\"" + kv.plan.canonical +
                          "\" drops channels when the prompt has been read, and a budget in bytes "
                          "holds at every moment before",
                      "budget \"" + kv.budget->text + "\"",
                      "Give entries per head (512) or a share of the prompt (10%).");
  }
  const CacheSpec spec = SpecFor(kv.plan);
  if (spec.keys.pruned()) return {};
  return InputError("\"" + kv.plan.canonical + "\" would drop none of the " +
                        std::to_string(spec.keys.dim) + " channels of a key, which " +
                        std::string(kv.plan.storage.key_name()) + " holds in larger groups",
                    options.model_path, "Give a larger ratio, or another store.");
}

Status Engine::Impl::PrepareFold(const PlannedRun& kv) {
  if (!kv.plan.folds() || fold_networks != nullptr) return {};
  const std::optional<FoldShape> shape = FoldShapeOf(*profile);
  PITH_CHECK(shape.has_value());
  if (shape->key_dim != model->shape().key_dim) {
    return InputError(fmt::format("the fold networks of the profile are for keys of {} numbers, "
                                  "and those of the model have {}",
                                  shape->key_dim, model->shape().key_dim),
                      options.profile_path, "Train them again: pith calibrate less.");
  }
  fold_networks = std::make_shared<const FoldNetworks>(*profile);
  return {};
}

FoldedEntries Engine::Impl::FoldedFor(const Plan& plan) const {
  return plan.folds() ? FoldedEntries(fold_networks, SpecFor(plan)) : FoldedEntries();
}

uint64_t Engine::Impl::BesideBytes(const Plan& plan) const {
  const ModelShape& s = model->shape();
  uint64_t floats = plan.folds() ? fold_networks->state_floats(s.value_dim) : 0;
  if (const ListSpec keys = SpecFor(plan).keys; keys.sealed_mixed) {
    floats += (uint64_t{2} * keys.sealed_dim + 1) * keys.dim;
  }
  return uint64_t{s.num_layers} * s.num_kv_heads * floats * sizeof(float);
}

// Of a share of the bytes something must be left for entries.
Status Engine::Impl::CheckBesideFits(const Sequence& sequence) const {
  const std::optional<Budget>& budget = sequence.kv.budget;
  if (!budget || budget->kind != Budget::Kind::kShareOfF16) return {};
  const uint64_t beside = BesideBytes(sequence.kv.plan);
  const ModelShape& s = model->shape();
  const auto full = static_cast<double>(uint64_t{2} * s.num_layers * s.num_kv_heads *
                                        (s.key_dim + s.value_dim) * sequence.tokens.size());
  const double share =
      full * static_cast<double>(budget->amount) / static_cast<double>(budget->divisor);
  if (beside == 0 || static_cast<double>(beside) < share) return {};
  return InputError(fmt::format("what \"{}\" keeps beside the entries, {} bytes, is more than the "
                                "budget has for a prompt of {} tokens",
                                sequence.kv.plan.canonical, beside, sequence.tokens.size()),
                    "budget \"" + budget->text + "\"", "Give a larger budget or a longer prompt.");
}

Status Engine::Impl::CheckMerge(const PlannedRun& kv) const {
  if (!kv.plan.merge_rule().merges() || !SpecFor(kv.plan).merged_with.empty()) return {};
  return InputError("\"" + kv.plan.canonical + "\" finds no two of the " +
                        std::to_string(model->shape().num_layers) + " layers to merge",
                    options.model_path, "Give a smaller start or tau, or leave the merge out.");
}

// What a budget in bytes must hold at least: a chunk beside what is protected.
Status Engine::Impl::CheckBytes(const PlannedRun& kv) const {
  if (!InBytes(kv)) return {};
  if (kv.plan.needs().replay > 0) {
    return InputError("\"" + kv.plan.canonical +
                          "\" repeats the text beside the cache, and a "
                          "budget in bytes leaves no memory for that",
                      "budget \"" + kv.budget->text + "\"",
                      "Give entries per head (512) or a share of the prompt (10%).");
  }
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
  const CacheSpec& spec = sequence.cache.spec();
  if (!InBytes(sequence.kv)) {
    return BudgetEntries(sequence.kv, spec, num_tokens, BesideBytes(sequence.kv.plan));
  }
  return BytesOf(sequence.kv, spec).MaxEntries(room);
}

Status Engine::Impl::CompressTo(Sequence& sequence, uint64_t entries, uint64_t room,
                                CompressionReport* report, const FeedProgress& progress) {
  const uint32_t num_moved = sequence.kv.plan.num_moved();
  if (num_moved > 0 && !sequence.pinned.empty()) {
    return InputError("\"" + sequence.kv.plan.canonical +
                          "\" moves entries, and pinned ones would stay far behind",
                      "recipe", "Pin nothing, or use positions=text.");
  }
  sequence.since_compression = 0;
  const CompressTools tools{.model = *model,
                            .runner = *runner,
                            .profile = profile ? &*profile : nullptr,
                            .report = report,
                            .replay_text = replay_text ? &*replay_text : nullptr,
                            .token_kinds = token_kinds,
                            .context = options.context,
                            .chunk = options.chunk,
                            .progress = progress};
  if (!InBytes(sequence.kv)) {
    PITH_TRY(CompressCache(tools, sequence, {entries}));
    PITH_TRY(Seal(sequence, false));
  } else {
    const ByteBudget bytes = BytesOf(sequence.kv, sequence.cache.spec());
    PITH_TRY(CompressCache(tools, sequence, {entries, &bytes, room}));
    PITH_TRY(Seal(sequence, false));
    // Sealed groups that have lost entries take more than what is left in them.
    while (entries > 0 && !bytes.Holds(sequence.cache, room)) {
      entries -= 1 + (entries - 1) / 16;
      PITH_TRY(CompressCache(tools, sequence, {entries, &bytes, room}));
    }
  }
  if (num_moved == 0) return {};
  return MoveSinks(*model, *runner, num_moved, sequence.cache, sequence.sink_keys);
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

Status Engine::Impl::Seal(Sequence& sequence, bool prompt_read) {
  return SealTails(
      sequence.kv.plan.storage, prompt_read, [this](const auto& work) { runner->Parallel(work); },
      sequence);
}

// After a step. Where a prompt is going to be scored, or channels are chosen by its end, it stays
// exact until then.
Status Engine::Impl::SealRead(Sequence& sequence, bool prompt) {
  const bool scored_later = prompt || sequence.entries_per_head == 0;
  if (scored_later && !sequence.kv.plan.keeps_all() && !InBytes(sequence.kv)) return {};
  if (prompt && sequence.kv.plan.storage.prunes()) return {};
  PITH_TRY(Seal(sequence, false));
  return prompt ? Status() : Merge(sequence, false);
}

// Layers are merged when the prompt has been read, and then in blocks.
Status Engine::Impl::Merge(Sequence& sequence, bool prompt_read) {
  return MergeTails(
      sequence.kv.plan, prompt_read, [this](const auto& work) { runner->Parallel(work); },
      sequence.cache);
}

// Between chunks: to what the budget is for the whole of the text, `to_come` tokens included.
Status Engine::Impl::CompressBetween(Sequence& sequence, size_t to_come,
                                     const FeedProgress& progress) {
  if (to_come == 0 || !sequence.kv.plan.between_chunks()) return {};
  const uint64_t room = std::min(to_come, ChunkOf(sequence));
  return CompressTo(sequence, EntriesFor(sequence, sequence.tokens.size() + to_come, room), room,
                    nullptr, progress);
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

}  // namespace pith
