// Any bytes at all as the lists of a saved cache, behind a head and before a checksum that are
// right: they are refused, or they are a cache that saves to the very same bytes.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>
#include <vector>

#include "base/hash.h"
#include "cache/cache.h"
#include "cache/page.h"
#include "codec/kivi.h"

namespace {

void Require(bool holds) {
  if (!holds) std::abort();
}

// One layer and head: plain with side blocks, sealed in groups behind sinks, sealed one by one
// and rotated; or two layers that share directions.
pith::CacheSpec SpecOf(uint8_t choice) {
  const pith::Form* plain = pith::FindForm("f16");
  const pith::Form* kivi = pith::FindKivi(4, 32);
  pith::CacheSpec spec{.num_layers = 1,
                       .num_kv_heads = 1,
                       .keys = {.form = plain, .dim = 4},
                       .values = {.form = plain, .dim = 2}};
  switch (choice % 4) {
    case 0:
      spec.side_blocks = {
          {.name = "unit", .side = pith::Side::kKeys, .bytes = 2},
          {.name = "block", .side = pith::Side::kValues, .bytes = 1, .entries_per_unit = 4}};
      break;
    case 1:
      spec.keys.sealed = spec.values.sealed = kivi;
      spec.num_sinks = 2;
      break;
    case 3:
      spec.num_layers = 2;
      spec.merged_with = {0, 0};
      spec.keys.sealed = kivi;
      break;
    default:
      spec.keys.sealed = pith::FindForm("bf16");
      spec.keys.rotated = true;
  }
  return spec;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const pith::CacheSpec spec = SpecOf(data[0]);
  pith::PagePool pool(size_t{1} << 24);
  std::vector<std::byte> bytes;
  pith::SequenceCache(&pool, spec).Save(&bytes);
  bytes.resize(bytes.size() - 2 * sizeof(uint64_t) - sizeof(uint64_t));  // two lists, the checksum
  const auto lists = std::as_bytes(std::span(data, size)).subspan(1);
  bytes.insert(bytes.end(), lists.begin(), lists.end());
  const uint64_t total = bytes.size() + sizeof(uint64_t);
  std::memcpy(bytes.data() + 8, &total, sizeof(total));
  pith::Hasher hasher;
  hasher.Add(bytes);
  const uint64_t checksum = hasher.Finish();
  bytes.resize(total);
  std::memcpy(bytes.data() + total - sizeof(checksum), &checksum, sizeof(checksum));

  const auto cache = pith::SequenceCache::Load(&pool, spec, bytes, "fuzz.pith");
  if (!cache) {
    Require(cache.error().Message().find('\n') == std::string::npos);
    return 0;
  }
  std::vector<std::byte> saved;
  cache->Save(&saved);
  Require(saved == bytes);
  return 0;
}
