#include "cache/channel_list.h"

#include <algorithm>
#include <cstddef>

namespace pith {
void ChannelList::Narrow(float* row) const {
  if (!mixed()) {
    for (size_t i = 0; i < kept.size(); ++i) row[i] = row[kept[i]];
    return;
  }
  std::vector<float> numbers(num_stored());
  for (size_t i = 0; i < numbers.size(); ++i) {
    double sum = 0;
    for (size_t c = 0; c < dim; ++c) sum += double{encode[i * dim + c]} * (row[c] - means[c]);
    numbers[i] = static_cast<float>(sum);
  }
  std::ranges::copy(numbers, row);
}

void ChannelList::Widen(float* row) const {
  if (mixed()) {
    const std::vector<float> numbers(row, row + num_stored());
    const float* of_channel = decode.data();
    for (size_t c = 0; c < dim; ++c, of_channel += numbers.size()) {
      float sum = means[c];
      for (size_t i = 0; i < numbers.size(); ++i) sum += of_channel[i] * numbers[i];
      row[c] = sum;
    }
    return;
  }
  size_t next = kept.size();
  for (size_t c = dim; c-- > 0;) {
    const bool stored = next > 0 && kept[next - 1] == c;
    row[c] = stored ? row[--next] : means.empty() ? 0 : means[c];
  }
}

void ChannelList::NarrowQuery(const float* query, float* out) const {
  const size_t count = num_stored();
  if (!mixed()) {
    for (size_t i = 0; i < count; ++i) out[i] = query[kept[i]];
    return;
  }
  std::fill_n(out, count, 0.0f);
  const float* of_channel = decode.data();
  for (size_t c = 0; c < dim; ++c, of_channel += count) {
    for (size_t i = 0; i < count; ++i) out[i] += query[c] * of_channel[i];
  }
}

}  // namespace pith
