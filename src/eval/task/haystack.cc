#include "eval/task/haystack.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <deque>
#include <filesystem>
#include <unordered_set>

#include "base/check.h"
#include "base/file.h"
#include "base/hash.h"
#include "eval/task/prose.h"
#include "eval/task/word_list.h"
#include "text/utf8.h"

namespace pith {
namespace {

bool IsSpace(char c) { return std::isspace(static_cast<unsigned char>(c)) != 0; }

std::string CollapseSpace(std::string_view text) {
  std::string collapsed;
  for (const char c : text) {
    if (!IsSpace(c)) {
      collapsed += c;
    } else if (!collapsed.empty() && collapsed.back() != ' ') {
      collapsed += ' ';
    }
  }
  if (!collapsed.empty() && collapsed.back() == ' ') collapsed.pop_back();
  return collapsed;
}

// Parts between blank lines, whitespace collapsed, empty ones left out.
std::vector<std::string> Paragraphs(std::string_view text) {
  std::vector<std::string> paragraphs;
  size_t begin = 0;  // of the paragraph
  const auto add = [&](size_t end) {
    if (auto part = CollapseSpace(text.substr(begin, end - begin)); !part.empty()) {
      paragraphs.push_back(std::move(part));
    }
  };
  for (size_t line = 0; line < text.size();) {
    const size_t end = std::min(text.find('\n', line), text.size());
    if (std::all_of(text.begin() + static_cast<ptrdiff_t>(line),
                    text.begin() + static_cast<ptrdiff_t>(end), IsSpace)) {
      add(line);
      begin = end;
    }
    line = end + 1;
  }
  add(text.size());
  return paragraphs;
}

bool IsAbbreviation(std::string_view word) {
  static constexpr std::array<std::string_view, 20> kAbbreviations = {
      "Mr.", "Mrs.", "Ms.", "Dr.",  "St.", "Prof.", "Rev.", "Gen.", "Col.", "Capt.",
      "Lt.", "Jr.",  "Sr.", "Inc.", "Co.", "Corp.", "vs.",  "e.g.", "i.e.", "No."};
  const size_t start = word.find_first_not_of("(\"'[");
  if (start == std::string_view::npos) return false;
  word = word.substr(start);
  const bool initial = word.size() == 2 && std::isupper(static_cast<unsigned char>(word[0])) != 0 &&
                       word[0] != 'I' && word[1] == '.';
  return initial ||
         std::find(kAbbreviations.begin(), kAbbreviations.end(), word) != kAbbreviations.end();
}

bool MayBegin(std::string_view rest) {
  const auto c = static_cast<unsigned char>(rest[0]);
  return std::isupper(c) != 0 || std::isdigit(c) != 0 || c == '"' || c == '\'' || c == '(' ||
         rest.starts_with("\u201c") || rest.starts_with("\u2018");
}

// `word` with closing quotes and brackets taken off its end.
std::string_view WithoutClosers(std::string_view word) {
  for (;;) {
    const size_t before = word.size();
    for (const std::string_view closer : {"\"", "'", ")", "]", "\u201d", "\u2019"}) {
      if (word.ends_with(closer)) word.remove_suffix(closer.size());
    }
    if (word.size() == before) return word;
  }
}

}  // namespace

std::vector<std::string> SplitSentences(std::string_view text) {
  std::vector<std::string> sentences;
  const std::string collapsed = CollapseSpace(text);
  const std::string_view all = collapsed;
  size_t begin = 0;
  for (size_t word = 0; word < all.size();) {
    const size_t end = std::min(all.find(' ', word), all.size());
    const std::string_view bare = WithoutClosers(all.substr(word, end - word));
    const bool stop =
        !bare.empty() && std::string_view(".!?").find(bare.back()) != std::string_view::npos;
    if (end == all.size() || (stop && MayBegin(all.substr(end + 1)) && !IsAbbreviation(bare))) {
      sentences.emplace_back(all.substr(begin, end - begin));
      begin = end + 1;
    }
    word = end + 1;
  }
  return sentences;
}

struct Haystack::Impl {
  std::string source;
  std::unique_ptr<ProseWriter> writer;  // null: `sentences` is all there is, and repeats
  std::deque<std::string> sentences;    // a deque, since references to them are handed out
  std::vector<bool> begins;             // of a paragraph, for each sentence
  uint32_t left_in_paragraph = 0;

  size_t Find(size_t index) {
    if (!writer) return index % sentences.size();
    while (sentences.size() <= index) {
      begins.push_back(left_in_paragraph == 0);
      if (left_in_paragraph == 0) left_in_paragraph = writer->NextParagraph();
      --left_in_paragraph;
      sentences.push_back(writer->NextSentence());
    }
    return index;
  }
};

Haystack Haystack::Builtin(uint64_t stream) {
  Haystack haystack;
  haystack.impl_ = std::make_shared<Impl>();
  haystack.impl_->source = stream == 0 ? "builtin" : fmt::format("builtin (stream {})", stream);
  haystack.impl_->writer = std::make_unique<ProseWriter>(stream);
  return haystack;
}

Haystack Haystack::FromText(std::string_view text, std::string source) {
  Haystack haystack;
  haystack.impl_ = std::make_shared<Impl>();
  haystack.impl_->source = std::move(source);
  for (const std::string& paragraph : Paragraphs(text)) {
    bool first = true;
    for (std::string& sentence : SplitSentences(paragraph)) {
      haystack.impl_->sentences.push_back(std::move(sentence));
      haystack.impl_->begins.push_back(std::exchange(first, false));
    }
  }
  PITH_CHECK(!haystack.impl_->sentences.empty());
  return haystack;
}

Result<Haystack> Haystack::FromFiles(const std::vector<std::string>& paths) {
  std::string all, names;
  Hasher hasher;
  for (const std::string& path : paths) {
    PITH_ASSIGN(const std::string text, ReadText(path));
    if (const size_t bad = FindInvalidUtf8(text); bad != std::string::npos) {
      return InputError(fmt::format("the haystack is not UTF-8 at byte {}", bad), path,
                        "Convert it to UTF-8.");
    }
    if (std::all_of(text.begin(), text.end(), IsSpace)) {
      return InputError("the haystack file is empty", path, "Give a file with running text.");
    }
    hasher.Add(text.data(), text.size());
    names += (names.empty() ? "" : " ") + std::filesystem::path(path).filename().string();
    all += text + "\n\n";
  }
  if (all.empty())
    return InputError("no haystack file is named", "--haystack", "Name one or more.");
  return FromText(all, fmt::format("{} (xxh3 {:016x})", names, hasher.Finish()));
}

const std::string& Haystack::Sentence(size_t index) const {
  const size_t found = impl_->Find(index);
  return impl_->sentences[found];
}

bool Haystack::BeginsParagraph(size_t index) const {
  const size_t found = impl_->Find(index);
  return impl_->begins[found];
}

std::string Haystack::Words(size_t count) const {
  std::string text;
  for (size_t index = 0; count > 0; ++index) {
    const std::string& sentence = Sentence(index);
    size_t end = 0;  // of the words taken from this sentence
    while (count > 0 && end < sentence.size()) {
      end = std::min(sentence.find(' ', end + 1), sentence.size());
      --count;
    }
    if (index > 0) text += ' ';
    text.append(sentence, 0, end);
  }
  return text;
}

const std::string& Haystack::source() const { return impl_->source; }

}  // namespace pith
