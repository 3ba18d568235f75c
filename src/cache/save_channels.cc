#include "cache/save_channels.h"

#include <cmath>
#include <span>
#include <vector>

namespace pith {
namespace {

void WriteFloats(std::span<const float> numbers, ByteWriter* out) {
  for (const float number : numbers) out->Number(number);
}

Status ReadFloats(size_t count, SavedReader* in, std::vector<float>* numbers) {
  for (size_t i = 0; i < count; ++i) {
    PITH_ASSIGN(const float number, in->Number<float>());
    if (!std::isfinite(number)) return in->Damaged("a number of the channels");
    numbers->push_back(number);
  }
  return {};
}

Status ReadKept(uint32_t num_kept, SavedReader* in, ChannelList* list) {
  for (uint32_t i = 0; i < num_kept; ++i) {
    PITH_ASSIGN(const uint16_t channel, in->Number<uint16_t>());
    if (channel >= list->dim || (i > 0 && channel <= list->kept.back())) {
      return in->Damaged("channels that do not ascend");
    }
    list->kept.push_back(channel);
  }
  return {};
}

}  // namespace

void WriteChannels(const ChannelList& list, ByteWriter* out) {
  if (list.mixed()) {
    WriteFloats(list.encode, out);
    WriteFloats(list.decode, out);
  } else {
    for (const uint16_t channel : list.kept) out->Number(channel);
  }
  out->Number(static_cast<uint32_t>(list.means.size()));
  WriteFloats(list.means, out);
}

Result<std::shared_ptr<const ChannelList>> ReadChannels(uint32_t dim, uint32_t num_stored,
                                                        bool mixed, SavedReader* in) {
  ChannelList list{.dim = dim};
  if (mixed) {
    PITH_TRY(ReadFloats(size_t{num_stored} * dim, in, &list.encode));
    PITH_TRY(ReadFloats(size_t{num_stored} * dim, in, &list.decode));
  } else {
    PITH_TRY(ReadKept(num_stored, in, &list));
  }
  PITH_ASSIGN(const uint32_t num_means, in->Number<uint32_t>());
  if (num_means != dim && (mixed || num_means != 0)) return in->Damaged("means of other channels");
  PITH_TRY(ReadFloats(num_means, in, &list.means));
  for (const uint16_t channel : list.kept) {
    if (num_means > 0 && list.means[channel] != 0) return in->Damaged("a mean of a channel");
  }
  return std::make_shared<const ChannelList>(std::move(list));
}

}  // namespace pith
