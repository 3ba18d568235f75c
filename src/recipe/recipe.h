// Recipes: a short text that says how the cache is kept, checked before a model is loaded
// (docs/recipes.md).
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "codec/codec.h"
#include "method/method.h"
#include "recipe/store.h"

namespace pith {

// A part with the values of its parameters.
struct PartUse {
  const Part* part = nullptr;
  std::vector<ParameterValue> values;  // in the order of part->parameters
};

// A recipe whose names, parameters and stages are all known to fit together.
struct Plan {
  std::string canonical;  // parses to the same plan; the same for every way of writing it
  PartUse score, alloc, select, when;  // only `select` if every entry stays
  PartUse fold;                        // no part if dropped entries are gone
  PartUse admit;                       // no part if every token goes through every layer
  PartUse channels;                    // no part if keys keep all channels
  PartUse merge;                       // no part if every layer has its own entries
  PartUse read;
  Storage storage;
  std::string store_text;  // as in `canonical`, without "store="; empty for the default

  // Whether every entry stays; what is read of them is another question.
  bool keeps_all() const { return select.part->select == nullptr; }
  // Some tokens go through some layers only; every entry that comes to be is kept then.
  bool admits() const { return admit.part != nullptr; }
  bool revives() const { return admits() && admit.part->revives; }
  Needs needs() const;                            // if it keeps all, what storage and reading need
  uint64_t num_protected(uint64_t budget) const;  // entries of each head that are never dropped
  bool takes_budget() const;  // keeps_all() does not, and some ways of sharing it out do not
  bool compensates() const;   // dropped entries are folded into one
  bool folds() const { return fold.part != nullptr; }  // dropped entries live on in a state
  uint32_t num_moved() const;        // first entries that change their positions (Part::num_moved)
  bool between_chunks() const;       // compressed between the chunks of a prompt
  uint32_t decode_interval() const;  // 0: not after a number of tokens
  double decode_drop() const;        // 0: not when the budget is exceeded
  MergeRule merge_rule() const;
  ReadRule read_rule() const;
};

// `text` is a recipe, or "@file" for one in a file. Errors are input errors that give the position.
Result<Plan> ParseRecipe(std::string_view text);

// What a recipe may name by itself: methods, and the ways to store (store.h). Parts are in the
// methods' table.
struct PresetInfo {
  std::string_view name;
  std::span<const Stage> stages;              // that it sets
  std::span<const ParameterInfo> parameters;  // with the preset's defaults
  std::string_view summary;
};
std::span<const PresetInfo> Presets();  // in the order in which they are printed

}  // namespace pith
