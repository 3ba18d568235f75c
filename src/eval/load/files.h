// Which files of a folder belong to a suite, and reading the items of one.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "eval/load/load.h"
#include "eval/load/rows.h"

namespace pith {

struct DataFile {
  std::string name;  // of the data set: "hotpotqa"
  std::string path;
};

// What files of a suite are called.
struct FileNames {
  std::vector<std::string_view> known;  // data sets; empty: any name
  std::string_view ending;              // behind the name: "_e"
  // Of another suite's files that lie in the same folder; passed over there.
  std::function<bool(std::string_view stem)> is_other = [](std::string_view) { return false; };
};

// The request's file, or those of its folder: NAME.jsonl, or NAME/validation.jsonl as RULER writes.
// Only the wanted tasks if some are named, in that order; else all, in the order of the known names
// or of the alphabet. An unknown name is an input error that lists the known ones.
Result<std::vector<DataFile>> FindDataFiles(const LoadRequest& request, const FileNames& names);

// The first `samples` rows as items (0: all). `make` need not fill `task`. An id that came before
// in the file gets "#" and the row's number behind it.
Result<LoadedTask> LoadItems(const DataFile& file, const std::string& task, uint32_t samples,
                             const std::function<Result<Item>(const Row&)>& make);

// Input error if the request has prompts though the suite's data hold theirs.
Status RefusePrompts(const LoadRequest& request);

}  // namespace pith
