#include "eval/text_entries.h"

#include <algorithm>

#include "base/check.h"

namespace pith {

Result<TextEntries> TextEntries::Make(Engine& engine, std::span<const int32_t> text,
                                      uint32_t count) {
  PITH_CHECK(!text.empty() && count > 0);
  text = text.last(std::min<size_t>(text.size(), count));
  Sequence sequence = engine.NewSequence();
  sequence.tokens.resize(count - text.size(), 0);  // no entries; the text begins behind them
  PITH_TRY(engine.Feed(sequence, text));
  engine.Pause();

  const CacheSpec& spec = sequence.cache.spec();
  const uint32_t num_heads = spec.num_kv_heads;
  TextEntries entries;
  entries.count_ = count;
  entries.length_ = static_cast<uint32_t>(text.size());
  entries.key_width_ = size_t{num_heads} * spec.keys.dim;
  entries.value_width_ = size_t{num_heads} * spec.values.dim;
  entries.keys_.resize(spec.num_layers * text.size() * entries.key_width_);
  entries.values_.resize(spec.num_layers * text.size() * entries.value_width_);
  std::vector<float> rows(text.size() * std::max(spec.keys.dim, spec.values.dim));
  const auto take = [&](uint32_t dim, uint32_t layer, uint32_t head, std::vector<float>* to) {
    for (size_t i = 0; i < text.size(); ++i) {
      std::copy_n(rows.begin() + static_cast<std::ptrdiff_t>(i * dim), dim,
                  to->begin() + static_cast<std::ptrdiff_t>(
                                    ((layer * text.size() + i) * num_heads + head) * dim));
    }
  };
  for (uint32_t layer = 0; layer < spec.num_layers; ++layer) {
    for (uint32_t head = 0; head < num_heads; ++head) {
      sequence.cache.ReadKeys(layer, head, 0, entries.length_, rows.data());
      take(spec.keys.dim, layer, head, &entries.keys_);
      sequence.cache.ReadValues(layer, head, 0, entries.length_, rows.data());
      take(spec.values.dim, layer, head, &entries.values_);
    }
  }
  return entries;
}

void TextEntries::Row(Side side, uint32_t layer, uint32_t position, std::span<float> row) const {
  PITH_CHECK(position < count_);
  const size_t token = length_ - 1 - (count_ - 1 - position) % length_;
  const bool is_key = side == Side::kKeys;
  const size_t width = is_key ? key_width_ : value_width_;
  const auto& rows = is_key ? keys_ : values_;
  std::copy_n(rows.begin() + static_cast<std::ptrdiff_t>((layer * length_ + token) * width), width,
              row.begin());
}

}  // namespace pith
