#include "eval/metric/chars.h"

#include <algorithm>
#include <array>

#include "text/utf8.h"

namespace pith {
namespace {

struct Range {
  char32_t first, last;
};

template <size_t N>
bool IsIn(const std::array<Range, N>& ranges, char32_t c) {
  return std::any_of(ranges.begin(), ranges.end(),
                     [c](const Range& range) { return c >= range.first && c <= range.last; });
}

template <class Keep>
std::vector<Chars> SplitRuns(CharsView text, Keep keep) {
  std::vector<Chars> runs;
  bool inside = false;
  for (const char32_t c : text) {
    if (keep(c)) {
      if (!inside) runs.emplace_back();
      runs.back().push_back(c);
    }
    inside = keep(c);
  }
  return runs;
}

}  // namespace

Chars DecodeUtf8(std::string_view text) {
  const std::string valid = ReplaceInvalidUtf8(text);
  Chars chars;
  chars.reserve(valid.size());
  for (size_t i = 0; i < valid.size();) {
    const auto lead = static_cast<unsigned char>(valid[i]);
    const size_t size = lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    char32_t c = size == 1 ? lead : lead & (0x7Fu >> size);
    for (size_t k = 1; k < size; ++k) {
      c = c << 6 | (static_cast<unsigned char>(valid[i + k]) & 0x3Fu);
    }
    chars.push_back(c);
    i += size;
  }
  return chars;
}

bool IsSpaceChar(char32_t c) {
  static constexpr std::array<Range, 9> kSpaces = {{{0x09, 0x0D},
                                                    {0x1C, 0x20},
                                                    {0x85, 0x85},
                                                    {0xA0, 0xA0},
                                                    {0x1680, 0x1680},
                                                    {0x2000, 0x200A},
                                                    {0x2028, 0x2029},
                                                    {0x202F, 0x202F},
                                                    {0x205F, 0x205F}}};
  return c == 0x3000 || IsIn(kSpaces, c);
}

bool IsAsciiPunctuation(char32_t c) {
  static constexpr std::array<Range, 4> kMarks = {
      {{0x21, 0x2F}, {0x3A, 0x40}, {0x5B, 0x60}, {0x7B, 0x7E}}};
  return IsIn(kMarks, c);
}

bool IsCjkPunctuation(char32_t c) {
  static constexpr std::array<Range, 13> kMarks = {{{0x2013, 0x2014},
                                                    {0x2018, 0x201F},
                                                    {0x2026, 0x2027},
                                                    {0x3001, 0x3003},
                                                    {0x3008, 0x3011},
                                                    {0x3014, 0x301F},
                                                    {0x3030, 0x3030},
                                                    {0x303E, 0x303F},
                                                    {0xFE4F, 0xFE4F},
                                                    {0xFF01, 0xFF0F},
                                                    {0xFF1A, 0xFF20},
                                                    {0xFF3B, 0xFF40},
                                                    {0xFF5B, 0xFF65}}};
  return IsIn(kMarks, c);
}

bool IsWordChar(char32_t c) {
  if (c < 0x80) {
    return IsDigitChar(c) || c == U'_' || (c >= U'a' && c <= U'z') || (c >= U'A' && c <= U'Z');
  }
  static constexpr std::array<Range, 21> kOthers = {{
      {0x80, 0xA9},       {0xAB, 0xB1},     {0xB4, 0xB4},     {0xB6, 0xB8},     {0xBB, 0xBB},
      {0xBF, 0xBF},       {0xD7, 0xD7},     {0xF7, 0xF7},     {0x300, 0x36F},   {0x2000, 0x206F},
      {0x20A0, 0x20F0},   {0x2190, 0x245F}, {0x2500, 0x2775}, {0x2794, 0x2BFF}, {0x2E00, 0x3004},
      {0x3008, 0x3020},   {0xD800, 0xF8FF}, {0xFE00, 0xFE6F}, {0xFFE0, 0xFFFF}, {0x1F000, 0x1F0FF},
      {0x1F10D, 0x1FAFF},
  }};
  return !IsSpaceChar(c) && !IsCjkPunctuation(c) && !IsIn(kOthers, c);
}

char32_t LowerChar(char32_t c) {
  const auto in = [c](char32_t first, char32_t last) { return c >= first && c <= last; };
  if (in(U'A', U'Z') || (in(0xC0, 0xDE) && c != 0xD7)) return c + 32;
  if (c == 0x178) return 0xFF;
  // Latin Extended-A: capitals are even up to U+0137 and from U+014A on, odd between. Without the
  // dotted and dotless i, which have no partner of one character here.
  if (in(0x100, 0x12F) || in(0x132, 0x137) || in(0x14A, 0x177)) return c | 1u;
  if ((in(0x139, 0x148) || in(0x179, 0x17E)) && c % 2 == 1) return c + 1;
  if (in(0x391, 0x3A1) || in(0x3A3, 0x3AB)) return c + 32;
  if (in(0x400, 0x40F)) return c + 80;
  if (in(0x410, 0x42F) || in(0xFF21, 0xFF3A)) return c + 32;
  return c;
}

Chars Lower(Chars text) {
  for (char32_t& c : text) c = LowerChar(c);
  return text;
}

CharsView Strip(CharsView text) {
  while (!text.empty() && IsSpaceChar(text.front())) text.remove_prefix(1);
  while (!text.empty() && IsSpaceChar(text.back())) text.remove_suffix(1);
  return text;
}

CharsView StripNewlines(CharsView text) {
  while (text.starts_with(U'\n')) text.remove_prefix(1);
  return text;
}

std::vector<Chars> SplitAtSpaces(CharsView text) {
  return SplitRuns(text, [](char32_t c) { return !IsSpaceChar(c); });
}

std::vector<Chars> SplitWords(CharsView text) { return SplitRuns(text, IsWordChar); }

std::vector<Chars> SplitDigitRuns(CharsView text) { return SplitRuns(text, IsDigitChar); }

bool Contains(CharsView text, CharsView part) { return text.find(part) != CharsView::npos; }

}  // namespace pith
