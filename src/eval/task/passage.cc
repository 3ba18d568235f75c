#include "eval/task/passage.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace pith {
namespace {

std::string_view Separator(const Haystack& haystack, size_t sentence) {
  return haystack.BeginsParagraph(sentence) ? "\n\n" : " ";
}

}  // namespace

// On text instead of tokens, unlike the original, which cuts and splices token lists: a list that
// is turned into text and tokenized again may come out different. At a sentence end it does not.
// The original moves back to a sentence end; the nearest one is closer to what was wanted.
size_t Passage::SentenceAt(double depth) const {
  const double wanted = static_cast<double>(tokens_) * depth;
  const auto distance = [&](size_t sentence) {
    return std::abs(static_cast<double>(TokensBefore(sentence)) - wanted);
  };
  const auto beyond = std::partition_point(pieces_.begin(), pieces_.end(), [&](const Piece& piece) {
    return static_cast<double>(piece.tokens_before) < wanted;
  });
  const auto after = static_cast<size_t>(beyond - pieces_.begin());
  return after > 0 && distance(after - 1) <= distance(after) ? after - 1 : after;
}

double Passage::MeasuredDepth(size_t sentence) const {
  return tokens_ == 0 ? 0.0
                      : static_cast<double>(TokensBefore(sentence)) / static_cast<double>(tokens_);
}

std::string Passage::WithNeedles(std::span<const Needle> needles, std::string_view around) const {
  std::string text;
  size_t next = 0;
  bool after_needle = false;
  for (size_t sentence = 0; sentence <= pieces_.size(); ++sentence) {
    for (; next < needles.size() && needles[next].sentence == sentence; ++next) {
      if (!text.empty()) text += around;
      text += needles[next].text;
      after_needle = true;
    }
    if (sentence == pieces_.size()) break;
    const Piece& piece = pieces_[sentence];
    if (!text.empty()) {
      const bool wider = after_needle && around.size() > piece.separator.size();
      text += wider ? around : piece.separator;
    }
    text += piece.sentence;
    after_needle = false;
  }
  PITH_CHECK(next == needles.size());
  return text;
}

PassageSource::PassageSource(const TaskRequest& request) : request_(request) {
  constexpr uint32_t kBeginnings = 4096;
  base_ = SampleRng(request, "passage", 0).Below(kBeginnings);
}

size_t PassageSource::FirstSentence(uint64_t round) const {
  constexpr uint64_t kApart = 97;  // texts overlap, so that few sentences need be counted
  return base_ + static_cast<size_t>(round * kApart);
}

size_t PassageSource::SentenceTokens(size_t index) {
  const auto [entry, is_new] = tokens_.try_emplace(index);
  if (is_new) {
    const Haystack& haystack = *request_.haystack;
    entry->second =
        request_.Count(std::string(Separator(haystack, index)) + haystack.Sentence(index));
  }
  return entry->second;
}

std::string PassageSource::Text(size_t begin, size_t end) const {
  std::string text;
  for (size_t index = begin; index < end; ++index) {
    if (index > begin) text += Separator(*request_.haystack, index);
    text += request_.haystack->Sentence(index);
  }
  return text;
}

Passage PassageSource::Take(size_t first, size_t max_tokens) {
  std::vector<Passage::Piece> pieces;
  size_t tokens = 0;
  for (size_t index = first;; ++index) {
    const size_t more = SentenceTokens(index);
    if (tokens + more > max_tokens) break;
    pieces.push_back(
        {request_.haystack->Sentence(index), Separator(*request_.haystack, index), tokens});
    tokens += more;
  }
  return {std::move(pieces), tokens};
}

Result<Item> FitPassage(const TaskInfo& task, const TaskRequest& request, PassageSource& source,
                        uint64_t round, size_t least,
                        const std::function<Item(const Passage&)>& make) {
  const size_t first = source.FirstSentence(round);
  const size_t frame = ItemTokens(request, make(source.Take(first, 0)));
  size_t smallest = frame;
  for (size_t i = 0; i < least; ++i) smallest += source.SentenceTokens(first + i);
  if (smallest > request.length) return TooShort(task, request, smallest);

  // Sums over sentences and the count of the whole may differ by a few tokens.
  for (size_t budget = request.length - frame;;) {
    const Passage passage = source.Take(first, budget);
    if (passage.num_sentences() < least) return TooShort(task, request, smallest + 1);
    Item item = make(passage);
    const size_t tokens = ItemTokens(request, item);
    if (tokens <= request.length) return item;
    budget = passage.tokens() - std::min(passage.tokens(), tokens - request.length);
    if (passage.num_sentences() == 0) return TooShort(task, request, tokens);
  }
}

}  // namespace pith
