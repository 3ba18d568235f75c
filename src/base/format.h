// Numbers as people read them.
#pragma once

#include <cstdint>
#include <string>

namespace pith {

std::string FormatBytes(uint64_t bytes);  // "1.5 GiB"
std::string FormatCount(uint64_t count);  // "1,234,567"

}  // namespace pith
