#include "kernel/key_index.h"

#include <algorithm>
#include <numeric>

#include "base/check.h"

namespace pith {
namespace {

std::vector<uint16_t> AllChannels(uint32_t dim) {
  std::vector<uint16_t> channels(dim);
  std::iota(channels.begin(), channels.end(), uint16_t{0});
  return channels;
}

}  // namespace

KeyIndex::KeyIndex(const ReadRule& rule, uint32_t dim, std::vector<uint16_t> labels,
                   bool small_keys)
    : dim_(dim) {
  PITH_CHECK((rule.base == ReadRule::Base::kLabels) == !labels.empty());
  if (rule.base == ReadRule::Base::kPages) bounds_.emplace(dim, rule.page);
  if (!labels.empty()) labels_.emplace(dim, std::move(labels));
  if (Guesses(rule) && !small_keys) codes_.emplace(dim, AllChannels(dim));
}

void KeyIndex::Update(const HeadView& head, uint64_t unchanged) {
  constexpr uint64_t kRows = 64;  // decoded at a time
  uint64_t first = std::min({unchanged, num_entries_, head.num_entries});
  for (KeyCodes* codes : {labels_ ? &*labels_ : nullptr, codes_ ? &*codes_ : nullptr}) {
    if (codes != nullptr) codes->Truncate(first);
  }
  uint64_t first_bound = first;
  if (bounds_) {
    bounds_->Truncate(first);
    first_bound = bounds_->num_entries();
  }
  num_entries_ = head.num_entries;
  std::vector<float> rows(kRows * dim_);
  for (uint64_t entry = first_bound; entry < num_entries_; entry += kRows) {
    const uint64_t count = std::min(kRows, num_entries_ - entry);
    ReadRows(head, Side::kKeys, entry, static_cast<uint32_t>(count), rows.data());
    if (bounds_) bounds_->Append(rows.data(), count);
    // Codes of entries before `first` still hold.
    const uint64_t skipped = std::min(count, first - std::min(first, entry));
    for (KeyCodes* codes : {labels_ ? &*labels_ : nullptr, codes_ ? &*codes_ : nullptr}) {
      if (codes != nullptr) codes->Append(rows.data() + skipped * dim_, count - skipped);
    }
  }
}

size_t KeyIndex::bytes() const {
  return (bounds_ ? bounds_->bytes() : 0) + (labels_ ? labels_->bytes() : 0) +
         (codes_ ? codes_->bytes() : 0);
}

std::vector<uint16_t> LargestChannels(std::span<const float> weights, size_t count) {
  std::vector<uint16_t> channels = AllChannels(static_cast<uint32_t>(weights.size()));
  std::ranges::stable_sort(channels,
                           [&](uint16_t a, uint16_t b) { return weights[a] > weights[b]; });
  channels.resize(std::min(count, channels.size()));
  std::ranges::sort(channels);
  return channels;
}

}  // namespace pith
