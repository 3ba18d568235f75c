#include "eval/load/rows.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "base/hash.h"
#include "text/utf8.h"

namespace pith {
namespace {

constexpr std::string_view kBlanks = " \t\r\n";

std::string_view Trimmed(std::string_view text) {
  const size_t begin = text.find_first_not_of(kBlanks);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kBlanks) + 1 - begin);
}

// Follows JSON's brackets and texts, byte by byte.
class Nesting {
 public:
  void Take(char c) {
    if (escaped_) {
      escaped_ = false;
    } else if (in_text_) {
      escaped_ = c == '\\';
      in_text_ = c != '"';
    } else if (c == '"') {
      in_text_ = true;
    } else if (c == '[' || c == '{') {
      ++depth_;
    } else if ((c == ']' || c == '}') && depth_ > 0) {
      --depth_;
    }
  }
  size_t depth() const { return depth_; }
  bool outside() const { return depth_ == 0 && !in_text_; }

 private:
  size_t depth_ = 0;
  bool in_text_ = false, escaped_ = false;
};

bool IsTooDeep(std::string_view text) {
  Nesting nesting;
  for (const char c : text) {
    nesting.Take(c);
    if (nesting.depth() > kMaxRowDepth) return true;
  }
  return false;
}

Result<Row> ParseRow(std::string_view text, std::string where, size_t number) {
  if (text.size() > kMaxRowBytes) {
    return InputError(fmt::format("a row is longer than {} MiB", kMaxRowBytes >> 20), where,
                      "A data file has one JSON object on each line.");
  }
  PITH_ASSIGN(Json json, ParseJson(text, where));
  if (!json.is_object()) {
    return InputError("this is no JSON object", where,
                      "A data file has one JSON object on each line.");
  }
  return Row(std::move(json), std::move(where), number);
}

using TakeRow = std::function<Result<bool>(const Row&)>;

Status ForEachLine(std::string_view text, const std::string& name, const TakeRow& take) {
  bool any = false;
  for (size_t number = 1; !text.empty(); ++number) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = Trimmed(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.empty()) continue;
    any = true;
    PITH_ASSIGN(const Row row, ParseRow(line, fmt::format("{}:{}", name, number), number));
    PITH_ASSIGN(const bool more, take(row));
    if (!more) return {};
  }
  if (!any) return InputError("the file has no rows", name, "Check that it was copied whole.");
  return {};
}

// Bytes of the list element at the beginning of `text`, up to the comma or bracket behind it.
size_t ElementSize(std::string_view text) {
  Nesting nesting;
  for (size_t i = 0; i < text.size(); ++i) {
    if (nesting.outside() && (text[i] == ',' || text[i] == ']')) return i;
    nesting.Take(text[i]);
  }
  return text.size();
}

Status ForEachElement(std::string_view text, const std::string& name, const TakeRow& take) {
  text.remove_prefix(1);  // the opening bracket
  for (size_t number = 1;; ++number) {
    const std::string where = fmt::format("{}, element {}", name, number);
    const size_t size = ElementSize(text);
    PITH_ASSIGN(const Row row, ParseRow(Trimmed(text.substr(0, size)), where, number));
    if (size == text.size()) {
      return InputError("the list is not closed", where, "Check that the file was copied whole.");
    }
    PITH_ASSIGN(const bool more, take(row));
    if (!more) return {};
    const bool last = text[size] == ']';
    text.remove_prefix(size + 1);
    if (last) break;
  }
  if (!Trimmed(text).empty()) return InputError("something follows the list", name);
  return {};
}

}  // namespace

Result<Json> ParseJson(std::string_view text, const std::string& where) {
  const size_t invalid = FindInvalidUtf8(text);
  if (invalid != std::string_view::npos) {
    return InputError(fmt::format("byte {} of the JSON text is not UTF-8", invalid), where,
                      "Save the file as UTF-8.");
  }
  if (IsTooDeep(text)) {
    return InputError(fmt::format("JSON nested more than {} deep", kMaxRowDepth), where);
  }
  Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) {
    return InputError("this is not JSON", where, "Check that the file was copied whole.");
  }
  return json;
}

Status ForEachRow(std::string_view text, const std::string& name, const TakeRow& take) {
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);  // a byte order mark says nothing
  const std::string_view trimmed = Trimmed(text);
  if (trimmed.starts_with('[')) return ForEachElement(trimmed, name, take);
  return ForEachLine(text, name, take);
}

std::string SourceName(const std::string& path, std::string_view bytes) {
  Hasher hasher;
  hasher.Add(bytes.data(), bytes.size());
  return fmt::format("{} xxh3:{:016x}", std::filesystem::path(path).filename().string(),
                     hasher.Finish());
}

const Json* Row::Find(const char* name) const {
  const auto field = json_.find(name);
  return field == json_.end() || field->is_null() ? nullptr : &*field;
}

Result<const Json*> Row::Require(const char* name) const {
  const Json* field = Find(name);
  if (field != nullptr) return field;
  return InputError(fmt::format("the field \"{}\" is missing", name), where_,
                    "Check that this is the right kind of data file.");
}

tl::unexpected<Error> Row::Refuse(const char* name, const std::string& wanted) const {
  return InputError(fmt::format("the field \"{}\" is not {}", name, wanted), where_,
                    "Check that this is the right kind of data file.");
}

Result<std::string> Row::Text(const char* name) const {
  PITH_ASSIGN(const Json* field, Require(name));
  if (!field->is_string()) return Refuse(name, "a text");
  return field->get<std::string>();
}

Result<std::string> Row::TextOrNumber(const char* name) const {
  PITH_ASSIGN(const Json* field, Require(name));
  if (field->is_number_integer()) return field->dump();
  if (!field->is_string()) return Refuse(name, "a text or a whole number");
  return field->get<std::string>();
}

Result<std::vector<std::string>> Row::Texts(const char* name) const {
  PITH_ASSIGN(const Json* field, Require(name));
  if (!field->is_array()) return Refuse(name, "a list of texts");
  std::vector<std::string> texts;
  for (const Json& text : *field) {
    if (!text.is_string()) return Refuse(name, "a list of texts");
    texts.push_back(text.get<std::string>());
  }
  return texts;
}

Result<std::vector<std::string>> Row::Values(const char* name) const {
  PITH_ASSIGN(const Json* field, Require(name));
  std::vector<std::string> values;
  const std::function<bool(const Json&)> add = [&](const Json& value) {
    if (value.is_array()) return std::all_of(value.begin(), value.end(), add);
    if (!value.is_string() && !value.is_number()) return false;
    values.push_back(value.is_string() ? value.get<std::string>() : value.dump());
    return true;
  };
  if (!add(*field)) return Refuse(name, "a text, a number or a list of those");
  return values;
}

Result<uint64_t> Row::Count(const char* name) const {
  const Json* field = Find(name);
  if (field == nullptr) return 0;
  if (!field->is_number_unsigned()) return Refuse(name, "a whole number that is not negative");
  return field->get<uint64_t>();
}

}  // namespace pith
