// Running text of a wanted number of tokens out of a haystack, and needles put in at its sentence
// ends.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "eval/task/fit.h"
#include "eval/task/task.h"

namespace pith {

struct Needle {
  std::string text;
  size_t sentence = 0;  // so many sentences of the passage stand before it
};

// Whole sentences in a row.
class Passage {
 public:
  struct Piece {
    std::string sentence;
    std::string_view separator;  // from the sentence before: a space or a blank line
    size_t tokens_before = 0;    // in this passage
  };

  Passage(std::vector<Piece> pieces, size_t tokens) : pieces_(std::move(pieces)), tokens_(tokens) {}

  size_t num_sentences() const { return pieces_.size(); }
  size_t tokens() const { return tokens_; }
  size_t TokensBefore(size_t sentence) const {
    return sentence < pieces_.size() ? pieces_[sentence].tokens_before : tokens_;
  }

  // Sentences before the sentence end that is nearest to `depth` (0 to 1) of the tokens.
  size_t SentenceAt(double depth) const;
  // The part of the tokens that stands before a sentence: what became of the wanted depth.
  double MeasuredDepth(size_t sentence) const;

  // The text with the needles (sorted by sentence) in it, `around` between them and what is beside
  // them; a paragraph's blank line is kept.
  std::string WithNeedles(std::span<const Needle> needles, std::string_view around = " ") const;

 private:
  std::vector<Piece> pieces_;
  size_t tokens_;
};

// Counts each sentence of a haystack once, however many items take it.
class PassageSource {
 public:
  explicit PassageSource(const TaskRequest& request);

  // The sentence with which text `round` begins: another place for another seed, length and round.
  size_t FirstSentence(uint64_t round) const;
  // As many sentences from `first` on as fit into `max_tokens`.
  Passage Take(size_t first, size_t max_tokens);
  size_t SentenceTokens(size_t index);               // with the separator before it
  std::string Text(size_t begin, size_t end) const;  // of the sentences [begin, end)

 private:
  const TaskRequest& request_;
  size_t base_;
  std::unordered_map<size_t, size_t> tokens_;
};

// The item with the longest passage that keeps the length rule; `make` puts a passage into it.
// Input error if not even `least` sentences fit.
Result<Item> FitPassage(const TaskInfo& task, const TaskRequest& request, PassageSource& source,
                        uint64_t round, size_t least,
                        const std::function<Item(const Passage&)>& make);

}  // namespace pith
