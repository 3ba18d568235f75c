// The text in which needles are hidden: the built-in prose (made up by a grammar, no sentence
// twice) or the user's files.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace pith {

class Haystack {
 public:
  // Sentences of the built-in prose, made as they are asked for. `stream` 0 is the one that tests
  // and evaluations use; others are other texts (training data takes 1 and up).
  static Haystack Builtin(uint64_t stream = 0);
  // The files' text in order, whitespace collapsed; repeated when more is asked for than there is.
  // Input error for a missing, empty or non-UTF-8 file.
  static Result<Haystack> FromFiles(const std::vector<std::string>& paths);
  static Haystack FromText(std::string_view text, std::string source);

  // Sentence `index` of the endless text, without surrounding space.
  const std::string& Sentence(size_t index) const;
  // The first `count` words, joined by single spaces (sentences are not kept whole).
  std::string Words(size_t count) const;
  // Whether sentence `index` begins a paragraph.
  bool BeginsParagraph(size_t index) const;

  // "builtin", or "NAMES (xxh3 HASH)": recorded with results.
  const std::string& source() const;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

// Ends of sentences in running text: at . ! ? before a space and an upper-case letter, quote or
// digit, common abbreviations left out.
std::vector<std::string> SplitSentences(std::string_view text);

}  // namespace pith
