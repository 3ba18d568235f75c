// Texts as code points, with the character classes that the published metrics (Python programs)
// rely on. Only metrics use this; what a model reads stays UTF-8.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace pith {

using Chars = std::u32string;
using CharsView = std::u32string_view;

// Code points of UTF-8 text; what is not UTF-8 becomes U+FFFD.
Chars DecodeUtf8(std::string_view text);

// White space as Python's str.split() and str.strip() see it.
bool IsSpaceChar(char32_t c);
// Letters, digits and the underscore, as \w. Outside ASCII everything but spaces, combining marks
// and the blocks of punctuation, symbols and private use counts as a letter.
bool IsWordChar(char32_t c);
inline bool IsDigitChar(char32_t c) { return c >= U'0' && c <= U'9'; }
bool IsAsciiPunctuation(char32_t c);
bool IsCjkPunctuation(char32_t c);  // and its full-width forms

// Lower case of Latin (ASCII, Latin-1, Latin Extended-A), Greek, Cyrillic and full-width letters;
// others stay.
char32_t LowerChar(char32_t c);
Chars Lower(Chars text);

CharsView Strip(CharsView text);
CharsView StripNewlines(CharsView text);  // leading ones only
std::vector<Chars> SplitAtSpaces(CharsView text);
std::vector<Chars> SplitWords(CharsView text);      // maximal runs of word characters
std::vector<Chars> SplitDigitRuns(CharsView text);  // maximal runs of ASCII digits
bool Contains(CharsView text, CharsView part);

}  // namespace pith
