// What a sequence with a read stage read of its cache while text was generated, as means.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "engine/entry_reader.h"

namespace pith {

// Means over generated tokens and those heads that choose; layers that read everything are left
// out.
struct ReadSummary {
  double entries_held = 0, entries_read = 0;  // of a KV head
  double attention_kept = 0;                  // Selection::kept
  uint64_t index_bytes = 0;
  std::vector<std::optional<double>> entries_read_by_head;  // [layer][kv_head]; none: all

  double Share() const { return entries_held > 0 ? entries_read / entries_held : 0; }
};

// None if the reader reads everything; zeros if nothing was generated yet.
std::optional<ReadSummary> SummarizeReads(const EntryReader& reader);

// As `kv.read` of `pith run --json` (docs/commands.md), to three decimals.
nlohmann::ordered_json ToJson(const ReadSummary& reads);

}  // namespace pith
