// The grammar of recipes; what the names mean is decided in recipe.cc.
//
//   recipe    = item { "+" item }
//   item      = [ word "=" ] word [ "(" [ parameter { "," parameter } ] ")" ]
//   parameter = word "=" word
//
// A word is made of letters, digits and _ . % -; spaces, line breaks and comments (# to the end of
// the line) may stand between words and signs.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace pith {

// A word and where it stands. All words are views into the recipe's text.
struct Word {
  std::string_view text;
  size_t offset = 0;
};

struct WrittenParameter {
  Word name, value;
};

struct WrittenItem {
  Word stage;  // empty text: a preset
  Word name;
  std::vector<WrittenParameter> parameters;
};

// A recipe's text and where it comes from, for errors.
struct RecipeSource {
  std::string_view text;
  std::string file;  // empty: the command line

  std::string Where(size_t offset) const;  // "recipe, column 5" or "FILE, line 2, column 5"
  tl::unexpected<Error> Bad(size_t offset, std::string what, std::string hint) const;
};

// At least one item.
Result<std::vector<WrittenItem>> ParseItems(const RecipeSource& source);

// A word in quotation marks, shortened if it is very long.
std::string Quote(std::string_view word);

}  // namespace pith
