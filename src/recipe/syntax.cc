#include "recipe/syntax.h"

#include <fmt/format.h>

#include <algorithm>

namespace pith {
namespace {

bool IsWordCharacter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '.' || c == '%' || c == '-';
}

class Parser {
 public:
  explicit Parser(const RecipeSource& source) : source_(source), text_(source.text) {}

  Result<std::vector<WrittenItem>> Run() {
    SkipSpace();
    if (AtEnd()) {
      return source_.Bad(at_, "the recipe is empty", "Write a preset, for instance \"full\".");
    }
    std::vector<WrittenItem> items;
    do {
      PITH_ASSIGN(WrittenItem item, ParseItem());
      items.push_back(std::move(item));
    } while (Take('+'));
    if (!AtEnd()) return Unexpected();
    return items;
  }

 private:
  bool AtEnd() const { return at_ == text_.size(); }

  void SkipSpace() {
    for (; !AtEnd(); ++at_) {
      const char c = text_[at_];
      if (c == '#') {
        at_ = std::min(text_.find('\n', at_), text_.size());
        if (AtEnd()) return;
      } else if (c != ' ' && (c < '\t' || c > '\r')) {
        return;
      }
    }
  }

  bool Take(char sign) {
    if (AtEnd() || text_[at_] != sign) return false;
    ++at_;
    SkipSpace();
    return true;
  }

  std::string Here() const {
    if (AtEnd()) return "the end";
    const char c = text_[at_];
    return c > ' ' && c < 127 ? fmt::format("\"{}\"", c)
                              : fmt::format("the byte {:#04x}", static_cast<unsigned char>(c));
  }

  tl::unexpected<Error> Unexpected() const {
    const char c = text_[at_];
    if (IsWordCharacter(c)) {
      return source_.Bad(at_, "two items of the recipe have no + between them",
                         "Write + between presets and stages.");
    }
    if (c == ')') return source_.Bad(at_, "a bracket is closed that was not opened", "Remove it.");
    return source_.Bad(at_, Here() + " has no meaning here",
                       "After a name come (parameters), + or the end.");
  }

  // `what` is missing if there is no word here.
  Result<Word> ParseWord(std::string_view what) {
    const size_t begin = at_;
    while (!AtEnd() && IsWordCharacter(text_[at_])) ++at_;
    if (at_ == begin) {
      return source_.Bad(begin, fmt::format("{} is missing before {}", what, Here()),
                         "Write it there or remove the sign before it.");
    }
    const Word word{text_.substr(begin, at_ - begin), begin};
    SkipSpace();
    return word;
  }

  Result<WrittenItem> ParseItem() {
    WrittenItem item;
    PITH_ASSIGN(item.name, ParseWord("a name"));
    if (Take('=')) {
      item.stage = item.name;
      PITH_ASSIGN(item.name, ParseWord(fmt::format("the name for {}=", item.stage.text)));
    }
    const size_t bracket = at_;
    if (Take('(') && !Take(')')) PITH_TRY(ParseParameters(bracket, &item.parameters));
    return item;
  }

  Status ParseParameters(size_t bracket, std::vector<WrittenParameter>* parameters) {
    do {
      if (AtEnd()) break;
      WrittenParameter parameter;
      PITH_ASSIGN(parameter.name, ParseWord("a parameter"));
      if (AtEnd()) break;
      if (!Take('=')) {
        return source_.Bad(at_,
                           fmt::format("the parameter {} has no value", Quote(parameter.name.text)),
                           "Write NAME=VALUE.");
      }
      if (AtEnd()) break;
      PITH_ASSIGN(parameter.value,
                  ParseWord(fmt::format("the value of {}", Quote(parameter.name.text))));
      parameters->push_back(parameter);
    } while (Take(','));
    if (Take(')')) return {};
    if (AtEnd()) return source_.Bad(bracket, "a bracket is not closed", "Close it with ).");
    return source_.Bad(at_, Here() + " has no meaning between brackets",
                       "Write NAME=VALUE, separated by commas.");
  }

  const RecipeSource& source_;
  std::string_view text_;
  size_t at_ = 0;
};

}  // namespace

std::string RecipeSource::Where(size_t offset) const {
  const std::string_view before = text.substr(0, offset);
  const size_t line_begin = before.rfind('\n') + 1;  // npos + 1 is 0
  const size_t column = offset - line_begin + 1;
  const auto line = std::ranges::count(before, '\n') + 1;
  if (file.empty() && line == 1) return fmt::format("recipe, column {}", column);
  return fmt::format("{}, line {}, column {}", file.empty() ? "recipe" : file, line, column);
}

tl::unexpected<Error> RecipeSource::Bad(size_t offset, std::string what, std::string hint) const {
  return InputError(std::move(what), Where(offset), std::move(hint));
}

Result<std::vector<WrittenItem>> ParseItems(const RecipeSource& source) {
  return Parser(source).Run();
}

std::string Quote(std::string_view word) {
  constexpr size_t kShown = 40;
  return word.size() <= kShown ? fmt::format("\"{}\"", word)
                               : fmt::format("\"{}...\"", word.substr(0, kShown));
}

}  // namespace pith
