// Maps of a model's heads: what a profile says of each, as layers x heads.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace pith {

struct HeadMap {
  std::string name, meaning, origin;  // "induction", what it is for, how it was made
  uint32_t heads = 0;                 // of a layer
  uint32_t group = 1;                 // heads that stand together: those that share a KV head
  bool per_query_head = false;
  std::vector<float> values;  // [layer][head], 0 or more
};

// What else there is to say of a profile.
struct HeadFact {
  std::string name, value;
};

// One page with everything in it: a heat map each, and a table of all heads. Light and dark.
std::string HtmlHeadMaps(const std::string& title, std::span<const HeadFact> facts,
                         std::span<const HeadMap> maps);

}  // namespace pith
