// Data files as rows: one JSON object a line, or one list of objects. What is wrong with a row is
// an input error that names file, line and field.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "eval/task/item.h"

namespace pith {

// A row may be this long, and its values nested this deep.
inline constexpr size_t kMaxRowBytes = size_t{64} << 20;
inline constexpr size_t kMaxRowDepth = 64;

// One object of a file. Getters take a field that is null for one that is not there.
class Row {
 public:
  Row(Json json, std::string where, size_t number)
      : json_(std::move(json)), where_(std::move(where)), number_(number) {}

  bool Has(const char* name) const { return Find(name) != nullptr; }
  Result<std::string> Text(const char* name) const;
  Result<std::string> TextOrNumber(const char* name) const;
  Result<std::vector<std::string>> Texts(const char* name) const;  // a list
  // A text, a number or a list of those (lists in it are joined into one, as InfiniteBench nests).
  Result<std::vector<std::string>> Values(const char* name) const;
  Result<uint64_t> Count(const char* name) const;  // not negative; 0 if it is not there

  tl::unexpected<Error> Refuse(const char* name, const std::string& wanted) const;

  const Json& json() const { return json_; }
  const std::string& where() const { return where_; }  // "FILE:12"
  size_t number() const { return number_; }            // of the line or list element, from 1

 private:
  const Json* Find(const char* name) const;
  Result<const Json*> Require(const char* name) const;

  Json json_;
  std::string where_;
  size_t number_;
};

// Calls `take` for the rows of `text` until it returns false. Blank lines are passed over; a text
// without rows is an error. `name` is the file's, for messages.
Status ForEachRow(std::string_view text, const std::string& name,
                  const std::function<Result<bool>(const Row&)>& take);

// One JSON value that is as checked as rows are: UTF-8, not too deep. `where` is for messages.
Result<Json> ParseJson(std::string_view text, const std::string& where);

// "FILE xxh3:HEX", the file's name without folders and the hash of its bytes.
std::string SourceName(const std::string& path, std::string_view bytes);

}  // namespace pith
