// The map of a compressed cache: which entries of a text each head has kept.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace pith {

struct KeptEntries {
  std::string model, recipe, budget;  // budget: empty if there is none
  uint32_t num_layers = 0, num_kv_heads = 0;
  std::vector<std::string> pieces;  // the text, token by token; maybe parts of characters
  std::vector<std::vector<int32_t>> positions;  // [layer][kv_head] ascending, below pieces.size()
  std::vector<uint64_t> allocated;              // [layer][kv_head]; empty if nothing had to go
  uint64_t bytes = 0, bytes_full_f16 = 0;       // of the cache; of a full one at 16 bits

  uint64_t Kept() const;      // entries, over all heads
  uint64_t KeptFull() const;  // those of a full cache
};

// One page with everything in it: a map of heads x positions, the text with the tokens that most
// heads have kept, and a table of heads. Light and dark; only the map needs scripts.
std::string HtmlKeptMap(const KeptEntries& kept);

extern const char* const kKeptMapStyle;   // CSS, after kReportStyle
extern const char* const kKeptMapScript;  // draws the map

}  // namespace pith
