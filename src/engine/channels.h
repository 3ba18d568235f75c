// Which channels of the keys are dropped once a prompt has been read (recipe stage `channels`).
#pragma once

#include <cstdint>
#include <memory>

#include "cache/cache.h"
#include "engine/engine.h"
#include "method/stage.h"

namespace pith {

// How many channels sealed keys keep by this rule, where layers are sealed as `keys` says: as many
// as the rule leaves, or a few more, since forms hold them in eights, sixteens or thirty-twos. 0 if
// the rule drops none.
uint32_t NumChannelsKept(const ChannelRule& rule, const ListSpec& keys);

// Those of one KV head: the ones that the recipe's part scores best, of equal ones the lower. Reads
// all keys of the head and the queries of the last tokens; if none were gathered, keys alone
// decide.
std::shared_ptr<const ChannelList> ChooseChannels(const Sequence& sequence, uint32_t layer,
                                                  uint32_t kv_head);

}  // namespace pith
