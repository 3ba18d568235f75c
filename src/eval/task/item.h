// An evaluation item: a long context, a short question about it, and what counts as an answer.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/status.h"

namespace pith {

using Json = nlohmann::ordered_json;

// The fields on disk have these names (docs/evaluation.md); what is empty or has its default is
// left out there.
struct Item {
  std::string task;     // "ruler/niah_single_2"
  std::string id;       // unique within (task, length)
  std::string context;  // the long part, which is compressed
  std::string question;
  std::string answer_prefix;         // after the generation prompt, so that the model continues it
  std::vector<std::string> answers;  // references
  std::vector<std::string> all_classes;  // classification only
  std::vector<std::string> metrics;      // names in the metric table; the first is the score
  uint64_t length = 0;                   // as the data set states it; 0: it does not
  uint32_t max_new_tokens = 0;
  std::string stop;           // generation also ends before this text; empty: only at end tokens
  bool chat_template = true;  // false: fed as it stands even if the model has a template
  // What the item is made of: "length" (wanted tokens), "depth" (0 to 1), "seed" ...
  Json meta = Json::object();
};

Json ToJson(const Item& item);
// Input error naming `where` (file and line) and the field that is missing or of a wrong type.
Result<Item> ItemFromJson(const Json& json, const std::string& where);

}  // namespace pith
