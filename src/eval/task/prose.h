// The built-in prose: sentences from a fixed grammar with freely drawn words.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_set>
#include <vector>

#include "base/rng.h"

namespace pith {

// One per line; blanks are letters of categories.
extern const char kProseFrames[];

// The words (or phrases) of a category, 'B' to 'Z'; empty for a letter that is none.
const std::vector<std::string>& ProseCategory(char letter);

class ProseWriter {
 public:
  explicit ProseWriter(uint64_t stream);

  // The next sentence; none comes twice.
  std::string NextSentence();
  // Sentences of the next paragraph: 3 to 7.
  uint32_t NextParagraph();

 private:
  Rng sentences_, paragraphs_;
  std::unordered_set<uint64_t> written_;  // hashes of all sentences so far
};

}  // namespace pith
