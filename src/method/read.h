// What the methods of the read stage share.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "method/method.h"

namespace pith {

inline constexpr std::array<std::string_view, 5> kReadPages = {"8", "16", "32", "64", "128"};

constexpr ParameterInfo PageParameter() {
  return {.name = "page",
          .type = ParameterType::kWord,
          .default_value = "16",
          .words = kReadPages,
          .meaning = "entries that share bounds"};
}
inline uint32_t PageOf(const ParameterValue& value) {
  uint32_t page = 0;
  for (const char digit : value.word) page = page * 10 + static_cast<uint32_t>(digit - '0');
  return page;
}

constexpr ParameterInfo PartParameter() {
  return {.name = "part",
          .type = ParameterType::kInteger,
          .default_value = "4",
          .min = 1,
          .max = 256,
          .meaning = "of so many channels of a key, one is a label"};
}

constexpr ParameterInfo DenseParameter() {
  return {.name = "dense",
          .type = ParameterType::kInteger,
          .default_value = "2",
          .min = 0,
          .max = 65536,
          .meaning = "first layers, which read everything"};
}

}  // namespace pith
