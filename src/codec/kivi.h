// KIVI's forms (arXiv 2402.02750): keys per channel over a group of entries, values per entry over
// a group of channels; asymmetric, scale and minimum in F16. Keys have outliers in fixed channels,
// which a scale per channel keeps apart; values have none.
#pragma once

#include <cstdint>
#include <span>

#include "codec/codec.h"

namespace pith {

// bits: 2, 4 or 8. group: 32, 64 or 128 entries of keys, which are one sealed page, and as many
// channels of values (the last group of an entry takes what is left). Their name is, for example,
// "kivi4_g32"; nullptr for others.
const Form* FindKivi(uint32_t bits, uint32_t group);

std::span<const Form* const> KiviForms();

}  // namespace pith
