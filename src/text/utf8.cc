#include "text/utf8.h"

#include <algorithm>
#include <cstdint>

namespace pith {
namespace {

struct Character {
  size_t size = 0;        // bytes read: a whole character, or the longest part of one
  bool complete = false;  // a whole character
  bool cut = false;       // the text ends before the character does
};

// The bytes that may follow a lead byte: how many, and the range of the first of them (Unicode,
// table 3-7).
struct Lead {
  size_t followers;
  uint8_t low, high;
};

Lead LeadOf(uint8_t byte) {
  if (byte >= 0xC2 && byte <= 0xDF) return {1, 0x80, 0xBF};
  if (byte == 0xE0) return {2, 0xA0, 0xBF};
  if (byte == 0xED) return {2, 0x80, 0x9F};
  if (byte >= 0xE1 && byte <= 0xEF) return {2, 0x80, 0xBF};
  if (byte == 0xF0) return {3, 0x90, 0xBF};
  if (byte >= 0xF1 && byte <= 0xF3) return {3, 0x80, 0xBF};
  if (byte == 0xF4) return {3, 0x80, 0x8F};
  return {0, 0, 0};
}

Character ReadCharacter(std::string_view text) {
  const auto first = static_cast<uint8_t>(text[0]);
  if (first < 0x80) return {1, true, false};
  const Lead lead = LeadOf(first);
  if (lead.followers == 0) return {1, false, false};
  for (size_t i = 1; i <= lead.followers; ++i) {
    if (i == text.size()) return {i, false, true};
    const auto byte = static_cast<uint8_t>(text[i]);
    if (byte < (i == 1 ? lead.low : 0x80) || byte > (i == 1 ? lead.high : 0xBF)) {
      return {i, false, false};
    }
  }
  return {lead.followers + 1, true, false};
}

}  // namespace

size_t FindInvalidUtf8(std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    const Character character = ReadCharacter(text.substr(at));
    if (!character.complete) return at;
    at += character.size;
  }
  return std::string_view::npos;
}

size_t IncompleteUtf8Tail(std::string_view text) {
  for (size_t length = 1; length <= std::min<size_t>(3, text.size()); ++length) {
    const Character character = ReadCharacter(text.substr(text.size() - length));
    if (character.cut && character.size == length) return length;
  }
  return 0;
}

std::string ReplaceInvalidUtf8(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const Character character = ReadCharacter(text.substr(at));
    result += character.complete ? text.substr(at, character.size) : "\xEF\xBF\xBD";
    at += character.size;
  }
  return result;
}

}  // namespace pith
