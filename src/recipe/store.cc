#include "recipe/store.h"

#include <algorithm>
#include <charconv>

#include "base/check.h"
#include "codec/kivi.h"

namespace pith {
namespace {

constexpr ParameterInfo ResidualParameter(std::string_view default_value) {
  return {.name = "residual",
          .type = ParameterType::kInteger,
          .default_value = default_value,
          .min = 0,
          .max = 65536,
          .meaning = "newest entries that stay in f16"};
}

const Form* Tail() { return FindForm(FormId::kF16); }

template <FormId kId>
Storage Plain(Parameters) {
  return {FindForm(kId), FindForm(kId)};
}

constexpr std::string_view kRotations[] = {"none", "keys", "values", "both"};
constexpr ParameterInfo kRotateParameter = {
    .name = "rotate",
    .type = ParameterType::kWord,
    .default_value = "none",
    .words = kRotations,
    .meaning = "what is turned by a Hadamard matrix first, so that no channel stands out"};

bool RotatesKeys(const ParameterValue& rotate) {
  return rotate.word == "keys" || rotate.word == "both";
}
bool RotatesValues(const ParameterValue& rotate) {
  return rotate.word == "values" || rotate.word == "both";
}

Storage Rotated(Storage storage, const ParameterValue& rotate) {
  storage.keys_rotated = RotatesKeys(rotate);
  storage.values_rotated = RotatesValues(rotate);
  return storage;
}

constexpr ParameterInfo kSinksParameter = {.name = "sinks",
                                           .type = ParameterType::kInteger,
                                           .default_value = "0",
                                           .min = 0,
                                           .max = 128,
                                           .meaning = "first tokens of the text that stay in f16"};

Storage WithSinks(Storage storage, const ParameterValue& sinks) {
  if (storage.seals()) storage.num_sinks = static_cast<uint32_t>(sinks.number);
  return storage;
}

constexpr ParameterInfo kSealedParameters[] = {ResidualParameter("32"), kRotateParameter,
                                               kSinksParameter};

template <FormId kId>
Storage Sealed(Parameters p) {
  const Storage storage{Tail(), Tail(), FindForm(kId), FindForm(kId),
                        static_cast<uint32_t>(p[0].number)};
  return WithSinks(Rotated(storage, p[1]), p[2]);
}

// KIVI's parameters, with 4 or 2 bits by default.
constexpr std::string_view kBits[] = {"8", "4", "2"};
constexpr std::string_view kValueBits[] = {"same", "8", "4", "2"};
constexpr std::string_view kGroups[] = {"32", "64", "128"};
constexpr size_t kNumKiviParameters = 6;
struct KiviParameters {
  ParameterInfo rows[kNumKiviParameters];
};
constexpr KiviParameters MakeKiviParameters(std::string_view bits) {
  return {{{.name = "bits",
            .type = ParameterType::kWord,
            .default_value = bits,
            .words = kBits,
            .meaning = "of a number"},
           {.name = "values",
            .type = ParameterType::kWord,
            .default_value = "same",
            .words = kValueBits,
            .meaning = "bits of a value's numbers, if not as many as a key's"},
           {.name = "group",
            .type = ParameterType::kWord,
            .default_value = "32",
            .words = kGroups,
            .meaning = "numbers that share a scale and a minimum"},
           ResidualParameter("128"),
           kRotateParameter,
           kSinksParameter}};
}
constexpr KiviParameters kKivi4 = MakeKiviParameters("4"), kKivi2 = MakeKiviParameters("2");

uint32_t NumberOf(std::string_view word) {
  uint32_t number = 0;
  std::from_chars(word.data(), word.data() + word.size(), number);
  return number;
}

Storage Kivi(Parameters p) {
  const uint32_t group = NumberOf(p[2].word);
  const std::string_view value_bits = p[1].word == "same" ? p[0].word : p[1].word;
  const Storage storage{Tail(), Tail(), FindKivi(NumberOf(p[0].word), group),
                        FindKivi(NumberOf(value_bits), group), static_cast<uint32_t>(p[3].number)};
  return WithSinks(Rotated(storage, p[4]), p[5]);
}

// Of the parameters group and residual.
std::string_view GroupProblem(Parameters p) {
  const bool whole = static_cast<uint32_t>(p[1].number) % NumberOf(p[0].word) == 0;
  return whole ? "" : "residual must be a multiple of group";
}

std::string_view KiviProblem(Parameters p) { return GroupProblem(p.subspan(2)); }

constexpr ParameterInfo kTunedParameters[] = {kKivi4.rows[2], kKivi4.rows[3]};

Storage Tuned(Parameters p) {
  return {.key_tail = Tail(),
          .value_tail = Tail(),
          .residual = static_cast<uint32_t>(p[1].number),
          .tuned_group = NumberOf(p[0].word)};
}

constexpr std::string_view kMixedForms[] = {"f32",  "f16",   "bf16",  "q8_0",
                                            "q4_0", "kivi8", "kivi4", "kivi2"};
constexpr ParameterInfo FormParameter(std::string_view name, std::string_view meaning) {
  return {.name = name,
          .type = ParameterType::kWord,
          .default_value = kDefaultStore,
          .words = kMixedForms,
          .meaning = meaning};
}
constexpr ParameterInfo kMixedParameters[] = {
    FormParameter("k", "the form of the keys"), FormParameter("v", "the form of the values"),
    ResidualParameter("32"), kRotateParameter, kSinksParameter};
constexpr uint32_t kMixedGroup = 32;

const Form* MixedForm(std::string_view name) {
  constexpr std::string_view kKivi = "kivi";
  if (!name.starts_with(kKivi)) return FindForm(name);
  return FindKivi(NumberOf(name.substr(kKivi.size())), kMixedGroup);
}

bool IsPlain(const Form& form) { return form.packing == nullptr; }

Storage Mixed(Parameters p) {
  const Form* keys = MixedForm(p[0].word);
  const Form* values = MixedForm(p[1].word);
  Storage storage{.key_tail = IsPlain(*keys) ? keys : Tail(),
                  .value_tail = IsPlain(*values) ? values : Tail()};
  if (!IsPlain(*keys)) storage.key_sealed = keys;
  if (!IsPlain(*values)) storage.value_sealed = values;
  if (storage.seals()) storage.residual = static_cast<uint32_t>(p[2].number);
  return WithSinks(Rotated(storage, p[3]), p[4]);
}

std::string_view MixedProblem(Parameters p) {
  const bool whole = static_cast<uint32_t>(p[2].number) % kMixedGroup == 0;
  const bool groups = p[0].word.starts_with("kivi") || p[1].word.starts_with("kivi");
  if (groups && !whole) return "residual must be a multiple of 32";
  if ((RotatesKeys(p[3]) && IsPlain(*MixedForm(p[0].word))) ||
      (RotatesValues(p[3]) && IsPlain(*MixedForm(p[1].word)))) {
    return "rotate is for a form of 8 bits or fewer";
  }
  return "";
}

}  // namespace

Storage Pruned(Storage storage, const ChannelRule& rule) {
  storage.channels = rule;
  if (storage.prunes() && !storage.seals_keys()) storage.key_sealed = storage.key_tail;
  return storage;
}

std::span<const StoreInfo> Stores() {
  static constexpr StoreInfo kStores[] = {
      {.name = "f32", .summary = "32 bits, exact", .make = Plain<FormId::kF32>},
      {.name = "f16",
       .summary = "16 bits with 11 of precision, up to 65504; what you get without a store stage",
       .make = Plain<FormId::kF16>},
      {.name = "bf16",
       .summary = "16 bits with 8 of precision and the range of f32",
       .make = Plain<FormId::kBF16>},
      {.name = "q8_0",
       .summary = "older entries in ggml's 8 bits: a scale for 32 channels",
       .parameters = kSealedParameters,
       .make = Sealed<FormId::kQ8_0>},
      {.name = "q4_0",
       .summary = "older entries in ggml's 4 bits: a scale for 32 channels",
       .parameters = kSealedParameters,
       .make = Sealed<FormId::kQ4_0>},
      {.name = "kivi",
       .summary =
           "older keys per channel, older values per entry, in 8, 4 or 2 bits with scale and "
           "minimum",
       .parameters = kKivi4.rows,
       .make = Kivi,
       .problem = KiviProblem},
      {.name = "kivi4",
       .summary = "kivi with 4 bits",
       .parameters = kKivi4.rows,
       .make = Kivi,
       .problem = KiviProblem,
       .base = "kivi"},
      {.name = "kivi2",
       .summary = "kivi with 2 bits",
       .parameters = kKivi2.rows,
       .make = Kivi,
       .problem = KiviProblem,
       .base = "kivi"},
      {.name = "tuned",
       .summary = "kivi with the bits that the model's profile says of each layer (KVTuner)",
       .parameters = kTunedParameters,
       .make = Tuned,
       .problem = GroupProblem},
      {.name = "mixed",
       .summary = "keys and values in different forms",
       .parameters = kMixedParameters,
       .make = Mixed,
       .problem = MixedProblem},
  };
  return kStores;
}

const StoreInfo* FindStore(std::string_view name) {
  const auto found = std::ranges::find(Stores(), name, &StoreInfo::name);
  return found == Stores().end() ? nullptr : &*found;
}

}  // namespace pith
