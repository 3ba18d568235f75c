// Word lists as blocks of text, and the words of the built-in prose.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace pith {

// The words of `text`, which stand between spaces and line ends; they live as long as it does.
std::vector<std::string_view> SplitWords(std::string_view text);
std::vector<std::string_view> SortedWords(std::string_view text);

std::string LowerCase(std::string_view word);  // ASCII

// Every word that stands in the prose, lower-case, sorted, distinct.
std::span<const std::string_view> ProseWords();

}  // namespace pith
