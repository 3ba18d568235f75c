// The store stage: in which form entries are kept. New ones live in a tail at full precision; where
// a sealed form is given, older ones are moved into it, once.
#pragma once

#include <span>
#include <string_view>

#include "base/status.h"
#include "codec/codec.h"
#include "method/method.h"
#include "method/profile.h"

namespace pith {

struct Storage {
  const Form* key_tail = nullptr;
  const Form* value_tail = nullptr;
  // nullptr: all entries stay in the tail.
  const Form* key_sealed = nullptr;
  const Form* value_sealed = nullptr;
  uint32_t residual = 0;  // newest entries that stay in the tail
  // Whether keys and values are rotated before they are sealed (codec/hadamard.h).
  bool keys_rotated = false, values_rotated = false;
  uint32_t num_sinks = 0;  // entries at positions below this are never sealed
  // Not 0: each layer is sealed in KIVI's forms with groups of so many, in as many bits as the
  // model's profile says of its keys and of its values.
  uint32_t tuned_group = 0;
  // Keys lose channels as they are sealed; then they are sealed in any case, in the form of the
  // tail if there is no other. See Pruned().
  ChannelRule channels;

  // Of most entries; of the tail where layers differ.
  const Form* key_form() const { return key_sealed != nullptr ? key_sealed : key_tail; }
  const Form* value_form() const { return value_sealed != nullptr ? value_sealed : value_tail; }
  // What of them is printed.
  std::string_view key_name() const { return tuned_group > 0 ? "tuned" : key_form()->name; }
  std::string_view value_name() const { return tuned_group > 0 ? "tuned" : value_form()->name; }
  bool seals_keys() const { return key_sealed != nullptr || tuned_group > 0; }
  bool prunes() const { return channels.drop > 0; }
  bool seals() const { return seals_keys() || value_sealed != nullptr; }
  ProfileSections profile() const { return tuned_group > 0 ? kProfileBits : 0; }  // that it needs
  bool operator==(const Storage&) const = default;
};

// The same with keys that lose channels by this rule.
Storage Pruned(Storage storage, const ChannelRule& rule);

// What may follow `store=`, and is a preset by itself.
struct StoreInfo {
  std::string_view name;
  std::string_view summary;
  std::span<const ParameterInfo> parameters;
  Storage (*make)(Parameters);
  // What is wrong with the parameters taken together; empty: nothing.
  std::string_view (*problem)(Parameters) = nullptr;
  std::string_view base;  // the row that takes the same parameters and is written instead
};
std::span<const StoreInfo> Stores();                // in the order in which they are printed
const StoreInfo* FindStore(std::string_view name);  // nullptr if there is none

inline constexpr std::string_view kDefaultStore = "f16";

}  // namespace pith
