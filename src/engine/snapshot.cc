#include "engine/snapshot.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <type_traits>

#include "base/check.h"
#include "base/file.h"
#include "base/hash.h"

namespace pith {
namespace {

static_assert(std::endian::native == std::endian::little, "the file is little-endian");

constexpr char kMagic[8] = {'P', 'I', 'T', 'H', 'S', 'N', 'A', 'P'};
constexpr uint32_t kVersion = 1;
constexpr size_t kChecksumBytes = sizeof(uint64_t);

// Everything that is known before the parts of varying length.
struct Header {
  char magic[8];
  uint32_t version;
  uint32_t vocabulary;
  uint64_t model_hash;
  uint32_t key_form, key_form_version;
  uint32_t value_form, value_form_version;
  uint64_t num_tokens;
  uint64_t num_recent;  // tokens that the sampler remembers
  uint64_t cache_bytes;
  uint64_t note_bytes;
  uint64_t rng_state, rng_increment;
};
static_assert(sizeof(Header) == 88 && std::is_trivially_copyable_v<Header>);

tl::unexpected<Error> Damaged(const std::string& path) {
  return InputError("the session file is damaged or was cut short", path,
                    "Use another copy, or start without it.");
}

tl::unexpected<Error> OtherForms(const std::string& path, const char* side, uint32_t saved_id,
                                 uint32_t saved_version, const Form& form) {
  const Form* saved = FindForm(static_cast<FormId>(saved_id));
  const std::string name =
      saved != nullptr ? std::string(saved->name) : "form number " + std::to_string(saved_id);
  return InputError("the session holds " + std::string(side) + " as " + name + " version " +
                        std::to_string(saved_version) + ", this run as " + std::string(form.name) +
                        " version " + std::to_string(form.version),
                    path, "Load it with the same forms as it was saved with.");
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
         take(header.cache_bytes, 1) && take(header.vocabulary, sizeof(float)) &&
         take(header.note_bytes, 1) && rest == 0;
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
  const CacheSpec spec = engine.cache_spec();
  const Form& keys = *spec.keys.form;
  const Form& values = *spec.values.form;
  if (header.key_form != static_cast<uint32_t>(keys.id) ||
      header.key_form_version != keys.version) {
    return OtherForms(path, "keys", header.key_form, header.key_form_version, keys);
  }
  if (header.value_form != static_cast<uint32_t>(values.id) ||
      header.value_form_version != values.version) {
    return OtherForms(path, "values", header.value_form, header.value_form_version, values);
  }
  if (header.num_tokens > engine.options().context) {
    return InputError("the session has " + std::to_string(header.num_tokens) +
                          " tokens, the context only " + std::to_string(engine.options().context),
                      path, "Give a longer --ctx.");
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

bool EveryHeadHolds(const SequenceCache& cache, uint64_t entries) {
  for (uint32_t layer = 0; layer < cache.spec().num_layers; ++layer) {
    for (uint32_t head = 0; head < cache.spec().num_kv_heads; ++head) {
      if (cache.num_entries(layer, head) != entries) return false;
    }
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

Status CheckCanSave(const PlannedRun& kv) {
  if (kv.plan.keeps_all()) return {};
  return InputError(
      "sessions cannot be saved or loaded with the recipe \"" + kv.plan.canonical + "\" yet",
      "recipe", "Use a recipe that keeps every entry.");
}

Status SaveSnapshot(const Engine& engine, const Sequence& sequence, const SamplerState& sampler,
                    std::span<const float> logits, std::string_view note, const std::string& path) {
  PITH_CHECK(logits.size() == engine.tokenizer().vocabulary_size());
  PITH_TRY(CheckCanSave(sequence.kv));
  std::vector<std::byte> cache;
  sequence.cache.Save(&cache);

  const CacheSpec spec = engine.cache_spec();
  Header header{};
  std::memcpy(header.magic, kMagic, sizeof kMagic);
  header.version = kVersion;
  header.vocabulary = static_cast<uint32_t>(logits.size());
  header.model_hash = engine.model_hash();
  header.key_form = static_cast<uint32_t>(spec.keys.form->id);
  header.key_form_version = spec.keys.form->version;
  header.value_form = static_cast<uint32_t>(spec.values.form->id);
  header.value_form_version = spec.values.form->version;
  header.num_tokens = sequence.tokens.size();
  header.num_recent = sampler.recent.size();
  header.cache_bytes = cache.size();
  header.note_bytes = note.size();
  header.rng_state = sampler.rng.first;
  header.rng_increment = sampler.rng.second;

  PITH_ASSIGN(AtomicFile target, AtomicFile::Create(path));
  HashedFile file(&target);
  PITH_TRY(file.Write(&header, sizeof header));
  PITH_TRY(file.Write(sequence.tokens.data(), sequence.tokens.size() * sizeof(int32_t)));
  PITH_TRY(file.Write(sampler.recent.data(), sampler.recent.size() * sizeof(int32_t)));
  PITH_TRY(file.Write(cache.data(), cache.size()));
  PITH_TRY(file.Write(logits.data(), logits.size_bytes()));
  PITH_TRY(file.Write(note.data(), note.size()));
  return file.Finish();
}

Result<Snapshot> LoadSnapshot(Engine& engine, const std::string& path) {
  PITH_ASSIGN(const MappedFile file, MappedFile::Open(path));
  const auto bytes = file.bytes();
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

  Reader reader(body.subspan(sizeof header));
  std::vector<int32_t> tokens = reader.TakeAll<int32_t>(header.num_tokens);
  SamplerState sampler{{header.rng_state, header.rng_increment},
                       reader.TakeAll<int32_t>(header.num_recent)};
  const auto cache_bytes = reader.Take(header.cache_bytes);
  std::vector<float> logits = reader.TakeAll<float>(header.vocabulary);
  const std::vector<char> note = reader.TakeAll<char>(header.note_bytes);
  if (!InVocabulary(tokens, header.vocabulary) ||
      !InVocabulary(sampler.recent, header.vocabulary) || !AllFinite(logits)) {
    return Damaged(path);
  }
  PITH_ASSIGN(SequenceCache cache,
              SequenceCache::Load(&engine.pool(), engine.cache_spec(), cache_bytes, path));
  if (!EveryHeadHolds(cache, tokens.size())) return Damaged(path);
  Sequence sequence = engine.NewSequence();
  sequence.cache = std::move(cache);
  sequence.tokens = std::move(tokens);
  return Snapshot{std::move(sequence), std::move(sampler), std::move(logits),
                  std::string(note.begin(), note.end())};
}

}  // namespace pith
