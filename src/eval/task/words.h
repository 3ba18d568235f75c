// The word lists that tasks and the built-in prose draw from. Needle keys and prose share no word,
// and neither has a word of the spelling alphabet (alpha to zulu), so that a needle is never in the
// hay by chance.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace pith {

std::span<const std::string_view> KeyAdjectives();  // sorted, distinct
std::span<const std::string_view> KeyNouns();
std::span<const std::string_view> KeyVerbs();  // for common-word lists
std::span<const std::string_view> PersonNames();
std::span<const std::string_view> CityNames();
std::span<const std::string_view> SpellingAlphabet();  // alpha, bravo, ... xray, yankee, zulu

// Distinct pseudo-words of 2 to 4 consonant-vowel syllables that are no word of the lists, for
// tasks that need more words than there are. The same for the same index everywhere.
std::string PseudoWord(uint32_t index);

}  // namespace pith
