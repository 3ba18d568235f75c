// From pieces of tokens to text that may be shown: holds back half UTF-8 characters and beginnings
// of stop strings.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace pith {

class TextStream {
 public:
  explicit TextStream(std::vector<std::string> stop_strings);

  // Adds a token's bytes and returns what may be shown now (possibly nothing). After a stop string
  // was met, stopped() is true, the text ends before it, and nothing more is returned.
  std::string Add(std::string_view piece);
  // What is still held back, when generation ends for another reason; a half character becomes
  // U+FFFD.
  std::string Finish();
  bool stopped() const { return stopped_; }

 private:
  std::vector<std::string> stops_;
  std::string held_;
  bool stopped_ = false;
};

}  // namespace pith
