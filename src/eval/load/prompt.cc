#include "eval/load/prompt.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "base/file.h"
#include "eval/load/rows.h"

namespace pith {
namespace {

// Where the line that holds byte `at` of `text` begins.
size_t LineBegin(std::string_view text, size_t at) {
  const size_t newline = at == 0 ? std::string_view::npos : text.rfind('\n', at - 1);
  return newline == std::string_view::npos ? 0 : newline + 1;
}

// Where the last line that is not blank begins.
size_t LastLine(std::string_view text) {
  const size_t last = text.find_last_not_of(" \t\r\n");
  return last == std::string_view::npos ? 0 : LineBegin(text, last);
}

Result<std::pair<Json, std::string>> ReadObject(const std::string& path) {
  PITH_ASSIGN(const std::string text, ReadText(path));
  PITH_ASSIGN(Json json, ParseJson(text, path));
  if (!json.is_object()) return InputError("this is no JSON object", path);
  return std::pair(std::move(json), SourceName(path, text));
}

tl::unexpected<Error> NotInPack(std::string_view data_set, const std::string& file) {
  return InputError(fmt::format("the file has nothing for \"{}\"", data_set), file,
                    "Add it, or leave the file out to use the built-in text.");
}

}  // namespace

Result<PromptTemplate> PromptTemplate::Parse(std::string_view text, const std::string& where) {
  PromptTemplate result;
  std::vector<Piece>* pieces = &result.before_;
  pieces->emplace_back();
  for (size_t i = 0; i < text.size();) {
    const std::string_view rest = text.substr(i);
    constexpr std::string_view kContext = "{context}", kInput = "{input}";
    if (rest.starts_with("{{") || rest.starts_with("}}")) {
      pieces->back().text.push_back(rest[0]);
      i += 2;
    } else if (rest.starts_with(kInput)) {
      pieces->back().is_input = true;
      pieces->emplace_back();
      i += kInput.size();
    } else if (rest.starts_with(kContext) && pieces == &result.before_) {
      pieces = &result.after_;
      pieces->emplace_back();
      i += kContext.size();
    } else if (rest[0] == '{' || rest[0] == '}') {
      return InputError("a prompt has a brace that opens neither its one {context} nor {input}",
                        where, "Write {{ and }} for braces of the text.");
    } else {
      pieces->back().text.push_back(rest[0]);
      ++i;
    }
  }
  if (pieces == &result.before_) return InputError("a prompt lacks {context}", where);
  return result;
}

PromptParts PromptTemplate::Fill(std::string_view context, std::string_view input) const {
  PromptParts parts;
  for (const Piece& piece : before_) {
    parts.context += piece.text;
    if (piece.is_input) parts.context += input;
  }
  parts.context += context;

  std::string tail;
  bool asked = false;
  size_t first_input = 0, input_begin = 0, input_end = 0;  // of the first and the last {input}
  for (const Piece& piece : after_) {
    tail += piece.text;
    if (!piece.is_input) continue;
    input_begin = tail.size();
    if (!asked) first_input = input_begin;
    asked = true;
    tail += input;
    input_end = tail.size();
  }
  size_t prefix = LastLine(tail), question = prefix;
  if (asked) {
    question = LineBegin(tail, first_input);
    if (tail.find_first_not_of(" \t\r\n", input_end) != std::string::npos) {
      prefix = std::max(prefix, input_end);
    } else if (prefix <= input_begin) {
      prefix = tail.size();  // one line that asks; nothing begins the answer
    }
  }
  parts.context += tail.substr(0, question);
  parts.question = tail.substr(question, prefix - question);
  parts.answer_prefix = tail.substr(prefix);
  return parts;
}

Result<PromptPack> PromptPack::Load(const LoadRequest& request) {
  PromptPack pack;
  pack.prompts_file_ = request.prompts_file;
  pack.max_new_file_ = request.max_new_file;
  if (!request.prompts_file.empty()) {
    PITH_ASSIGN(const auto object, ReadObject(request.prompts_file));
    pack.source_ = object.second;
    pack.prompts_.emplace();
    for (const auto& [name, prompt] : object.first.items()) {
      if (!prompt.is_string()) {
        return InputError(fmt::format("the prompt of \"{}\" is no text", name), pack.prompts_file_);
      }
      pack.prompts_->emplace(name, prompt.get<std::string>());
    }
  }
  if (!request.max_new_file.empty()) {
    PITH_ASSIGN(const auto object, ReadObject(request.max_new_file));
    pack.max_new_.emplace();
    for (const auto& [name, tokens] : object.first.items()) {
      if (!tokens.is_number_unsigned() || tokens == 0u ||
          tokens.get<uint64_t>() > std::numeric_limits<uint32_t>::max()) {
        return InputError(fmt::format("the tokens of \"{}\" are no whole number above 0", name),
                          pack.max_new_file_);
      }
      pack.max_new_->emplace(name, tokens.get<uint32_t>());
    }
  }
  return pack;
}

Result<PromptTemplate> PromptPack::Template(std::string_view data_set,
                                            std::string_view builtin) const {
  if (!prompts_) return PromptTemplate::Parse(builtin, "built-in prompt");
  const auto found = prompts_->find(data_set);
  if (found == prompts_->end()) return NotInPack(data_set, prompts_file_);
  return PromptTemplate::Parse(found->second, fmt::format("{}, {}", prompts_file_, data_set));
}

Result<uint32_t> PromptPack::MaxNewTokens(std::string_view data_set, uint32_t builtin) const {
  if (!max_new_) return builtin;
  const auto found = max_new_->find(data_set);
  if (found == max_new_->end()) return NotInPack(data_set, max_new_file_);
  return found->second;
}

}  // namespace pith
