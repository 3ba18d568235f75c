// What pages of a list hold of a key, as save files have it (docs/save_format.md).
#pragma once

#include <cstdint>
#include <memory>

#include "base/bytes.h"
#include "base/status.h"
#include "cache/channel_list.h"
#include "cache/save_spec.h"

namespace pith {

void WriteChannels(const ChannelList& list, ByteWriter* out);

// Of a list whose entries have `dim` channels, of which so many numbers are stored. Bad bytes are
// an error.
Result<std::shared_ptr<const ChannelList>> ReadChannels(uint32_t dim, uint32_t num_stored,
                                                        bool mixed, SavedReader* in);

}  // namespace pith
