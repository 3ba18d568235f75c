// Prompts of published data sets: one text with {context} and {input}, cut into what is compressed,
// what is asked and what the answer begins with.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "eval/load/load.h"

namespace pith {

// Joined, the three are the whole prompt.
struct PromptParts {
  std::string context;        // up to {context} and the instruction behind it
  std::string question;       // from the line of {input} on; empty if there is no {input}
  std::string answer_prefix;  // the last line ("Answer:"), or that of {input} if it comes last
};

class PromptTemplate {
 public:
  // As Python's str.format reads it: {{ and }} are braces. Input error for another field, and for
  // none or several {context}.
  static Result<PromptTemplate> Parse(std::string_view text, const std::string& where);
  PromptParts Fill(std::string_view context, std::string_view input) const;

 private:
  struct Piece {
    std::string text;
    bool is_input = false;  // then {input} follows the text
  };
  std::vector<Piece> before_, after_;  // around {context}
};

// The prompts and caps of a request: those of its files, or the built-in ones.
class PromptPack {
 public:
  static Result<PromptPack> Load(const LoadRequest& request);

  Result<PromptTemplate> Template(std::string_view data_set, std::string_view builtin) const;
  Result<uint32_t> MaxNewTokens(std::string_view data_set, uint32_t builtin) const;
  const std::string& source() const { return source_; }  // for LoadedTask::prompts

 private:
  std::string prompts_file_, max_new_file_, source_ = "builtin";
  std::optional<std::map<std::string, std::string, std::less<>>> prompts_;
  std::optional<std::map<std::string, uint32_t, std::less<>>> max_new_;
};

}  // namespace pith
