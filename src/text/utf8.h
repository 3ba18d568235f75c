// UTF-8 as Unicode defines it: no surrogates, no overlong forms, nothing above U+10FFFF.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace pith {

// Byte offset of the first sequence that is not UTF-8; npos if there is none.
size_t FindInvalidUtf8(std::string_view text);

// Bytes at the end of `text` that begin a character and lack only its rest: 0 to 3.
size_t IncompleteUtf8Tail(std::string_view text);

// `text` with U+FFFD in place of every sequence that is not UTF-8 (one for each maximal part of a
// character).
std::string ReplaceInvalidUtf8(std::string_view text);

}  // namespace pith
