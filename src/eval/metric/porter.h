// Porter's stemmer (1980) with the departures of NLTK, which Google's ROUGE uses.
#pragma once

#include <string>
#include <string_view>

namespace pith {

// The stem of a word of lower-case letters and digits.
std::string PorterStem(std::string_view word);

}  // namespace pith
