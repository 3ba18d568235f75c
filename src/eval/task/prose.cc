#include "eval/task/prose.h"

#include <algorithm>
#include <cctype>

#include "base/hash.h"
#include "eval/task/word_list.h"

namespace pith {
namespace {

constexpr uint64_t kSentenceSeed = 0x70726f73, kParagraphSeed = 0x70617261;

const std::vector<std::string_view>& Frames() {
  static const std::vector<std::string_view> frames = [] {
    std::vector<std::string_view> lines;
    const std::string_view text = kProseFrames;
    for (size_t begin = 1; begin < text.size();) {
      const size_t end = text.find('\n', begin);
      lines.push_back(text.substr(begin, end - begin));
      begin = end + 1;
    }
    return lines;
  }();
  return frames;
}

bool IsLetter(char c) { return std::isalpha(static_cast<unsigned char>(c)) != 0; }

bool IsBlank(std::string_view frame, size_t i) {
  if (frame[i] < 'B' || frame[i] > 'Z' || frame[i] == 'I') return false;
  return (i == 0 || !IsLetter(frame[i - 1])) && (i + 1 == frame.size() || !IsLetter(frame[i + 1]));
}

// "a" before a vowel becomes "an"; no word of the categories begins with a vowel letter that is not
// spoken as one, or the other way round.
bool WantsAn(const std::string& text, char next) {
  const size_t n = text.size();
  if (n < 2 || text[n - 1] != ' ' || (text[n - 2] != 'a' && text[n - 2] != 'A')) return false;
  const bool is_article = n == 2 || text[n - 3] == ' ';
  return is_article && std::string_view("aeiou").find(next) != std::string_view::npos;
}

std::string Fill(std::string_view frame, Rng& rng) {
  std::string text;
  for (size_t i = 0; i < frame.size(); ++i) {
    if (!IsBlank(frame, i)) {
      text += frame[i];
      continue;
    }
    const std::vector<std::string>& words = ProseCategory(frame[i]);
    const std::string& word = words[rng.Below(static_cast<uint32_t>(words.size()))];
    if (WantsAn(text, word[0])) text.insert(text.size() - 1, "n");
    text += word;
  }
  text[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(text[0])));
  return text;
}

void AddWords(std::string_view text, std::vector<std::string>& words) {
  std::string word;
  for (const char c : std::string(text) + ' ') {
    if (IsLetter(c)) {
      word += c;
    } else if (!word.empty()) {
      words.push_back(LowerCase(word));
      word.clear();
    }
  }
}

std::vector<std::string> AllWords() {
  std::vector<std::string> words;
  for (std::string_view frame : Frames()) {
    std::string fixed(frame);
    for (size_t i = 0; i < frame.size(); ++i) {
      if (IsBlank(frame, i)) fixed[i] = ' ';
    }
    AddWords(fixed, words);
  }
  words.push_back("an");
  for (char letter = 'A'; letter <= 'Z'; ++letter) {
    for (const std::string& phrase : ProseCategory(letter)) AddWords(phrase, words);
  }
  std::sort(words.begin(), words.end());
  words.erase(std::unique(words.begin(), words.end()), words.end());
  return words;
}

uint64_t HashOf(const std::string& text) {
  Hasher hasher;
  hasher.Add(text.data(), text.size());
  return hasher.Finish();
}

}  // namespace

ProseWriter::ProseWriter(uint64_t stream)
    : sentences_(kSentenceSeed, stream), paragraphs_(kParagraphSeed, stream) {}

std::string ProseWriter::NextSentence() {
  const auto& frames = Frames();
  for (;;) {
    const uint32_t frame = sentences_.Below(static_cast<uint32_t>(frames.size()));
    std::string sentence = Fill(frames[frame], sentences_);
    if (written_.insert(HashOf(sentence)).second) return sentence;
  }
}

uint32_t ProseWriter::NextParagraph() { return 3 + paragraphs_.Below(5); }

std::span<const std::string_view> ProseWords() {
  static const std::vector<std::string> words = AllWords();
  static const std::vector<std::string_view> views(words.begin(), words.end());
  return views;
}

}  // namespace pith
