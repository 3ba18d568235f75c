#include "engine/snapshot.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <type_traits>

#include "base/bytes.h"
#include "base/check.h"
#include "base/file.h"
#include "base/hash.h"
#include "engine/state.h"

namespace pith {
namespace {

constexpr char kMagic[8] = {'P', 'I', 'T', 'H', 'S', 'N', 'A', 'P'};
constexpr uint32_t kVersion = 5;
constexpr size_t kChecksumBytes = sizeof(uint64_t);

// Everything that is known before the parts of varying length.
struct Header {
  char magic[8];
  uint32_t version;
  uint32_t vocabulary;
  uint64_t model_hash;
  uint64_t num_tokens;
  uint64_t num_recent;  // tokens that the sampler remembers
  uint64_t recipe_bytes, budget_bytes;
  uint64_t cache_bytes, state_bytes;
  uint64_t note_bytes;
  uint64_t rng_state, rng_increment;
};
static_assert(sizeof(Header) == 96 && std::is_trivially_copyable_v<Header>);

tl::unexpected<Error> Damaged(const std::string& path) {
  return InputError("the session file is damaged or was cut short", path,
                    "Use another copy, or start without it.");
}

// Walks the part behind the header; the sizes were checked together before.
class Reader {
 public:
  explicit Reader(std::span<const std::byte> bytes) : bytes_(bytes) {}

  std::span<const std::byte> Take(size_t size) {
    PITH_CHECK(size <= bytes_.size());
    const auto part = bytes_.first(size);
    bytes_ = bytes_.subspan(size);
    return part;
  }
  std::string TakeText(size_t size) {
    const auto part = Take(size);
    return {reinterpret_cast<const char*>(part.data()), part.size()};
  }
  template <class T>
  std::vector<T> TakeAll(size_t count) {
    std::vector<T> values(count);
    const auto part = Take(count * sizeof(T));
    if (count > 0) std::memcpy(values.data(), part.data(), part.size());
    return values;
  }

 private:
  std::span<const std::byte> bytes_;
};

// What is behind the header has exactly the sizes that the header gives; none of the sums can
// overflow.
bool SizesFit(const Header& header, uint64_t body_bytes) {
  uint64_t rest = body_bytes;
  const auto take = [&rest](uint64_t count, uint64_t size) {
    if (count > rest / size) return false;
    rest -= count * size;
    return true;
  };
  return take(header.num_tokens, sizeof(int32_t)) && take(header.num_recent, sizeof(int32_t)) &&
         take(header.recipe_bytes, 1) && take(header.budget_bytes, 1) &&
         take(header.cache_bytes, 1) && take(header.state_bytes, 1) &&
         take(header.vocabulary, sizeof(float)) && take(header.note_bytes, 1) && rest == 0;
}

Status CheckKind(const Header& header, const std::string& path) {
  if (std::memcmp(header.magic, kMagic, sizeof kMagic) != 0) {
    return InputError("this is not a session file of pith", path,
                      "Name a file that --save-session or /save has written.");
  }
  if (header.version != kVersion) {
    return InputError("the session file has version " + std::to_string(header.version) +
                          ", this program reads version " + std::to_string(kVersion),
                      path, "Load it with the program that saved it.");
  }
  return {};
}

Status CheckOrigin(const Engine& engine, const Header& header, const std::string& path) {
  if (header.model_hash != engine.model_hash() ||
      header.vocabulary != engine.tokenizer().vocabulary_size()) {
    return InputError("the session was saved with another model", path,
                      "Load it with the model that it was saved with.");
  }
  return {};
}

bool InVocabulary(std::span<const int32_t> tokens, uint32_t vocabulary) {
  for (const int32_t token : tokens) {
    if (token < 0 || static_cast<uint32_t>(token) >= vocabulary) return false;
  }
  return true;
}

bool AllFinite(std::span<const float> values) {
  for (const float value : values) {
    if (!std::isfinite(value)) return false;
  }
  return true;
}

std::string BudgetText(const PlannedRun& kv) { return kv.budget ? kv.budget->text : ""; }

// What the file says about recipe and budget; nothing but canonical text is accepted.
Result<PlannedRun> ReadRun(const std::string& recipe, const std::string& budget,
                           const std::string& path) {
  const auto printable = [](char c) { return c >= ' ' && c <= '~'; };
  // "@" would read another file.
  if (recipe.starts_with('@') || !std::ranges::all_of(recipe, printable)) return Damaged(path);
  const auto plan = ParseRecipe(recipe);
  if (!plan) {
    return InputError(fmt::format("the session's recipe is not known here: {}", plan.error().what),
                      path, "Load it with the program that saved it.");
  }
  if (plan->canonical != recipe) return Damaged(path);
  std::vector<Budget> budgets;
  if (!budget.empty()) {
    auto parsed = ParseBudget(budget);
    if (!parsed) return Damaged(path);
    budgets.push_back(std::move(*parsed));
  }
  if (plan->admits()) return Damaged(path);  // no such session is ever saved
  auto runs = PlanRuns({&*plan, 1}, budgets);
  if (!runs) return Damaged(path);
  return std::move(runs->front());
}

bool SameBudget(const std::optional<Budget>& a, const std::optional<Budget>& b) {
  if (!a || !b) return a.has_value() == b.has_value();
  return a->kind == b->kind && a->amount == b->amount && a->share == b->share &&
         a->divisor == b->divisor;
}

std::string RunName(const PlannedRun& kv) {
  return fmt::format("\"{}\"{}", kv.plan.canonical,
                     kv.budget ? " with a budget of " + kv.budget->text : "");
}

Status CheckSameRun(const PlannedRun& saved, const PlannedRun& wanted, const std::string& path) {
  if (saved.plan.canonical == wanted.plan.canonical && SameBudget(saved.budget, wanted.budget)) {
    return {};
  }
  return InputError(
      fmt::format("the session is kept as {}, this run as {}", RunName(saved), RunName(wanted)),
      path, "Leave out --kv and --kv-budget to go on as it was saved.");
}

// Whether a text of `num_tokens` can have left these entries.
bool CacheFits(const SequenceCache& cache, const Plan& plan, uint64_t num_tokens) {
  const CacheSpec& spec = cache.spec();
  std::vector<int32_t> positions;
  for (uint32_t i = 0; i < spec.num_layers * spec.num_kv_heads; ++i) {
    const uint32_t layer = i / spec.num_kv_heads, head = i % spec.num_kv_heads;
    const uint64_t entries = cache.num_entries(layer, head);
    if (entries > num_tokens || (plan.keeps_all() && entries != num_tokens)) return false;
    positions.resize(entries);
    cache.Positions(layer, head, positions);
    const auto last = std::ranges::max_element(positions);
    if (entries > 0 && static_cast<uint64_t>(*last) >= num_tokens) return false;
  }
  return true;
}

// Writes and hashes in one go.
class HashedFile {
 public:
  explicit HashedFile(AtomicFile* file) : file_(file) {}
  Status Write(const void* data, size_t size) {
    hasher_.Add(data, size);
    return file_->Write(data, size);
  }
  Status Finish() {
    const uint64_t checksum = hasher_.Finish();
    PITH_TRY(file_->Write(&checksum, sizeof checksum));
    return file_->Commit();
  }

 private:
  AtomicFile* file_;
  Hasher hasher_;
};

}  // namespace

Status CheckCanSave(const Plan& plan, const std::string& path) {
  if (!plan.admits()) return {};
  return InputError(
      "\"" + plan.canonical + "\" keeps more about its tokens than a session file holds", path,
      "Save sessions with another recipe.");
}

Status SaveSnapshot(const Engine& engine, const Sequence& sequence, const SamplerState& sampler,
                    std::span<const float> logits, std::string_view note, const std::string& path) {
  PITH_CHECK(logits.size() == engine.tokenizer().vocabulary_size());
  if (!sequence.kv.plan.needs().Covers(sequence.observations.needs())) {
    return Failure("a prompt that was read for several recipes cannot be saved", path);
  }
  PITH_TRY(CheckCanSave(sequence.kv.plan, path));
  std::vector<std::byte> cache, state;
  sequence.cache.Save(&cache);
  ByteWriter writer(&state);
  SaveState(sequence, &writer);
  const std::string& recipe = sequence.kv.plan.canonical;
  const std::string budget = BudgetText(sequence.kv);

  Header header{};
  std::memcpy(header.magic, kMagic, sizeof kMagic);
  header.version = kVersion;
  header.vocabulary = static_cast<uint32_t>(logits.size());
  header.model_hash = engine.model_hash();
  header.num_tokens = sequence.tokens.size();
  header.num_recent = sampler.recent.size();
  header.recipe_bytes = recipe.size();
  header.budget_bytes = budget.size();
  header.cache_bytes = cache.size();
  header.state_bytes = state.size();
  header.note_bytes = note.size();
  header.rng_state = sampler.rng.first;
  header.rng_increment = sampler.rng.second;

  PITH_ASSIGN(AtomicFile target, AtomicFile::Create(path));
  HashedFile file(&target);
  PITH_TRY(file.Write(&header, sizeof header));
  PITH_TRY(file.Write(sequence.tokens.data(), sequence.tokens.size() * sizeof(int32_t)));
  PITH_TRY(file.Write(sampler.recent.data(), sampler.recent.size() * sizeof(int32_t)));
  PITH_TRY(file.Write(recipe.data(), recipe.size()));
  PITH_TRY(file.Write(budget.data(), budget.size()));
  PITH_TRY(file.Write(cache.data(), cache.size()));
  PITH_TRY(file.Write(state.data(), state.size()));
  PITH_TRY(file.Write(logits.data(), logits.size_bytes()));
  PITH_TRY(file.Write(note.data(), note.size()));
  return file.Finish();
}

namespace {

// The header of a whole file whose checksum is right and whose parts have the sizes it gives.
Result<Header> ReadHeader(const Engine& engine, std::span<const std::byte> bytes,
                          const std::string& path) {
  Header header{};
  std::memcpy(&header, bytes.data(), std::min(sizeof header, bytes.size()));
  PITH_TRY(CheckKind(header, path));
  if (bytes.size() < sizeof header + kChecksumBytes) return Damaged(path);
  const auto body = bytes.first(bytes.size() - kChecksumBytes);
  uint64_t checksum = 0;
  std::memcpy(&checksum, bytes.data() + body.size(), sizeof checksum);
  Hasher hasher;
  hasher.Add(body);
  if (hasher.Finish() != checksum) return Damaged(path);
  PITH_TRY(CheckOrigin(engine, header, path));
  if (!SizesFit(header, body.size() - sizeof header)) return Damaged(path);
  return header;
}

}  // namespace

Result<Snapshot> LoadSnapshot(Engine& engine, const std::string& path,
                              const std::optional<PlannedRun>& kv) {
  PITH_ASSIGN(const MappedFile file, MappedFile::Open(path));
  PITH_ASSIGN(const Header header, ReadHeader(engine, file.bytes(), path));

  Reader reader(file.bytes().subspan(sizeof header));
  std::vector<int32_t> tokens = reader.TakeAll<int32_t>(header.num_tokens);
  SamplerState sampler{{header.rng_state, header.rng_increment},
                       reader.TakeAll<int32_t>(header.num_recent)};
  const std::string recipe = reader.TakeText(header.recipe_bytes);
  const std::string budget = reader.TakeText(header.budget_bytes);
  const auto cache_bytes = reader.Take(header.cache_bytes);
  const auto state_bytes = reader.Take(header.state_bytes);
  std::vector<float> logits = reader.TakeAll<float>(header.vocabulary);
  std::string note = reader.TakeText(header.note_bytes);
  if (!InVocabulary(tokens, header.vocabulary) ||
      !InVocabulary(sampler.recent, header.vocabulary) || !AllFinite(logits)) {
    return Damaged(path);
  }
  PITH_ASSIGN(const PlannedRun run, ReadRun(recipe, budget, path));
  if (kv) PITH_TRY(CheckSameRun(run, *kv, path));

  PITH_ASSIGN(Sequence sequence, engine.NewSequence(run));
  PITH_ASSIGN(sequence.cache,
              SequenceCache::Load(&engine.pool(), sequence.cache.spec(), cache_bytes, path));
  if (tokens.size() > engine.MaxTokens(sequence)) {
    return InputError("the session has " + std::to_string(tokens.size()) +
                          " tokens, the context only " + std::to_string(engine.options().context),
                      path, "Give a longer --ctx.");
  }
  if (!CacheFits(sequence.cache, run.plan, tokens.size())) return Damaged(path);
  sequence.tokens = std::move(tokens);
  const Error damaged = Damaged(path).value();
  ByteReader state(state_bytes, damaged);
  PITH_TRY(LoadState(&state, damaged, &sequence));
  if (state.remaining() > 0) return Damaged(path);
  return Snapshot{std::move(sequence), std::move(sampler), std::move(logits), std::move(note)};
}

}  // namespace pith
