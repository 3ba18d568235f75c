// What a rule looks at instead of the keys of a head: bounds of pages, labels, codes. It is derived
// from the stored keys, decoded, and kept beside them. Keys that are stored as codes themselves are
// looked at as they are instead of codes beside them.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "cache/view.h"
#include "kernel/key_bounds.h"
#include "kernel/key_codes.h"
#include "kernel/read_rule.h"

namespace pith {

// Whether a rule guesses at the attention of the candidates.
inline bool Guesses(const ReadRule& rule) { return rule.top_p > 0 && rule.top_p < 1; }

class KeyIndex {
 public:
  // `labels`: the channels of kLabels, else empty. `small_keys`: there need be no codes.
  KeyIndex(const ReadRule& rule, uint32_t dim, std::vector<uint16_t> labels,
           bool small_keys = false);

  // Follows the head, of whose keys the first `unchanged` are what they were the last time.
  void Update(const HeadView& head, uint64_t unchanged);

  uint64_t num_entries() const { return num_entries_; }
  const KeyBounds* bounds() const { return bounds_ ? &*bounds_ : nullptr; }
  const KeyCodes* labels() const { return labels_ ? &*labels_ : nullptr; }
  // nullptr: the rule wants no guess, or the keys are small.
  const KeyCodes* codes() const { return codes_ ? &*codes_ : nullptr; }
  size_t bytes() const;

 private:
  uint32_t dim_;
  uint64_t num_entries_ = 0;
  std::optional<KeyBounds> bounds_;
  std::optional<KeyCodes> labels_, codes_;
};

// The `count` channels that count most, ascending; of equal ones the lower comes first.
std::vector<uint16_t> LargestChannels(std::span<const float> weights, size_t count);

}  // namespace pith
