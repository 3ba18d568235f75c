#include "recipe/parameters.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <numeric>
#include <optional>

#include "base/check.h"

namespace pith {
namespace {

// Levenshtein's distance.
size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 0; i < a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i + 1);
    for (size_t j = 0; j < b.size(); ++j) {
      const size_t replaced = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, diagonal + 1, row[j] + 1});
    }
  }
  return row.back();
}

std::optional<double> ParseNumber(std::string_view text) {
  const bool percent = text.ends_with('%');
  if (percent) text.remove_suffix(1);
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(number)) return {};
  return percent ? number / 100 : number;
}

Result<ParameterValue> CheckValue(const RecipeSource& source, const ParameterInfo& info,
                                  const Word& value) {
  const auto bad = [&](std::string_view expected) {
    return source.Bad(
        value.offset,
        fmt::format("the parameter \"{}\" cannot be {}", info.name, Quote(value.text)),
        fmt::format("It must be {}.", expected));
  };
  if (info.type == ParameterType::kWord) {
    const auto word = std::ranges::find(info.words, value.text);
    if (word == info.words.end()) {
      return bad(fmt::format("one of {}", fmt::join(info.words, ", ")));
    }
    return ParameterValue{*word, 0};
  }
  const bool integer = info.type == ParameterType::kInteger;
  const std::optional<double> number = ParseNumber(value.text);
  if (!number || *number < info.min || *number > info.max ||
      (integer && (value.text.ends_with('%') || *number != std::floor(*number)))) {
    return bad(fmt::format("{} from {} to {}", integer ? "a whole number" : "a number", info.min,
                           info.max));
  }
  if (info.odd && std::fmod(*number, 2) == 0) return bad("an odd number");
  return ParameterValue{{}, *number};
}

tl::unexpected<Error> UnknownParameter(const RecipeSource& source, const WrittenItem& item,
                                       const Word& name, std::span<const ParameterInfo> table) {
  std::vector<std::string_view> names;
  for (const ParameterInfo& info : table) names.push_back(info.name);
  return source.Bad(
      name.offset, fmt::format("\"{}\" has no parameter {}", item.name.text, Quote(name.text)),
      names.empty() ? std::string("It takes no parameters.") : SuggestName(name.text, names));
}

}  // namespace

Result<std::vector<ParameterValue>> CheckParameters(const RecipeSource& source,
                                                    const WrittenItem& item,
                                                    std::span<const ParameterInfo> table) {
  std::vector<const Word*> written(table.size());
  for (const WrittenParameter& parameter : item.parameters) {
    const auto row = std::ranges::find(table, parameter.name.text, &ParameterInfo::name);
    if (row == table.end()) return UnknownParameter(source, item, parameter.name, table);
    const Word*& value = written[static_cast<size_t>(row - table.begin())];
    if (value != nullptr) {
      return source.Bad(parameter.name.offset,
                        fmt::format("the parameter \"{}\" is given twice", row->name),
                        "Leave one of them out.");
    }
    value = &parameter.value;
  }
  std::vector<ParameterValue> values;
  for (size_t i = 0; i < table.size(); ++i) {
    const Word value =
        written[i] != nullptr ? *written[i] : Word{table[i].default_value, item.name.offset};
    PITH_ASSIGN(const ParameterValue checked, CheckValue(source, table[i], value));
    values.push_back(checked);
  }
  return values;
}

std::vector<ParameterValue> DefaultValues(std::span<const ParameterInfo> table) {
  const auto values = CheckParameters({}, {}, table);
  PITH_CHECK(values.has_value());
  return *values;
}

std::string SuggestName(std::string_view word, std::span<const std::string_view> names) {
  std::string_view nearest;
  size_t nearest_distance = 1 + std::min<size_t>(word.size(), 6) / 3 + 1;  // must stay below
  constexpr size_t kLongest = 64;
  for (const std::string_view name : names) {
    if (word.size() > kLongest) break;
    const size_t distance = EditDistance(word, name);
    if (distance < nearest_distance) {
      nearest = name;
      nearest_distance = distance;
    }
  }
  const std::string all = fmt::format("There are: {}.", fmt::join(names, ", "));
  return nearest.empty() ? all : fmt::format("Did you mean \"{}\"? {}", nearest, all);
}

}  // namespace pith
