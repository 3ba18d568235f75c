#include "eval/load/files.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "base/file.h"

namespace pith {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kRulerFile = "validation.jsonl";

std::string KnownNames(const FileNames& names) {
  return fmt::format("Known: {}.", fmt::join(names.known, ", "));
}

// A file and its name without ".jsonl"; the suite's ending is still there.
DataFile Named(const fs::path& path) {
  const bool ruler = path.filename() == kRulerFile && path.has_parent_path();
  return {(ruler ? path.parent_path().filename() : path.stem()).string(), path.string()};
}

Result<std::vector<DataFile>> ListFolder(const std::string& folder) {
  std::vector<DataFile> files;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    std::error_code ignored;  // what cannot be looked at is no data file
    const fs::path& path = entry->path();
    if (fs::is_directory(path, ignored)) {
      if (fs::is_regular_file(path / kRulerFile, ignored))
        files.push_back(Named(path / kRulerFile));
    } else if (path.extension() == ".jsonl") {
      files.push_back(Named(path));
    }
  }
  if (error) return InputError("the folder cannot be read: " + error.message(), folder);
  std::sort(files.begin(), files.end(),
            [](const DataFile& a, const DataFile& b) { return a.path < b.path; });
  return files;
}

bool IsKnown(const FileNames& names, std::string_view name) {
  return names.known.empty() ||
         std::find(names.known.begin(), names.known.end(), name) != names.known.end();
}

// The files by the names of their data sets. `strict`: an unknown name is an error.
Result<std::vector<DataFile>> KnownFiles(std::vector<DataFile> files, const FileNames& names,
                                         bool strict) {
  std::vector<DataFile> known;
  for (DataFile& file : files) {
    const bool fits = std::string_view(file.name).ends_with(names.ending);
    const std::string name =
        fits ? file.name.substr(0, file.name.size() - names.ending.size()) : file.name;
    if (fits && IsKnown(names, name)) {
      known.push_back({name, std::move(file.path)});
    } else if (strict) {
      return InputError(fmt::format("no data set is called \"{}\"", name), file.path,
                        KnownNames(names));
    }
  }
  return known;
}

Result<std::vector<DataFile>> Wanted(const std::vector<DataFile>& files, const FileNames& names,
                                     const LoadRequest& request) {
  std::vector<DataFile> wanted;
  for (const std::string& task : request.tasks) {
    if (!IsKnown(names, task)) {
      return InputError(fmt::format("no data set is called \"{}\"", task), {}, KnownNames(names));
    }
    const auto file = std::find_if(files.begin(), files.end(),
                                   [&](const DataFile& file) { return file.name == task; });
    if (file == files.end()) {
      return InputError(fmt::format("the data of \"{}\" are not there", task), request.path,
                        fmt::format("The file is called {}{}.jsonl.", task, names.ending));
    }
    wanted.push_back(*file);
  }
  return wanted;
}

}  // namespace

Result<std::vector<DataFile>> FindDataFiles(const LoadRequest& request, const FileNames& names) {
  std::error_code error;
  const fs::file_status status = fs::status(request.path, error);
  if (!fs::exists(status)) {
    return InputError("there is no such file or folder", request.path,
                      "Name the data file, or the folder that holds NAME.jsonl.");
  }
  const bool folder = fs::is_directory(status);
  std::vector<DataFile> files = {Named(request.path)};
  if (folder) {
    PITH_ASSIGN(files, ListFolder(request.path));
    std::erase_if(files, [&](const DataFile& file) { return names.is_other(file.name); });
  }
  PITH_ASSIGN(files, KnownFiles(std::move(files), names, !folder || request.tasks.empty()));
  if (!request.tasks.empty()) return Wanted(files, names, request);
  if (files.empty()) {
    return InputError("the folder holds no data file of this suite", request.path,
                      fmt::format("Their names are NAME{}.jsonl.", names.ending));
  }
  const auto place = [&](const DataFile& file) {
    return std::find(names.known.begin(), names.known.end(), file.name) - names.known.begin();
  };
  std::stable_sort(files.begin(), files.end(),
                   [&](const DataFile& a, const DataFile& b) { return place(a) < place(b); });
  return files;
}

Result<LoadedTask> LoadItems(const DataFile& file, const std::string& task, uint32_t samples,
                             const std::function<Result<Item>(const Row&)>& make) {
  PITH_ASSIGN(const MappedFile mapped, MappedFile::Open(file.path));
  const std::string_view text(reinterpret_cast<const char*>(mapped.bytes().data()),
                              mapped.bytes().size());
  LoadedTask loaded{task, SourceName(file.path, text), "data", {}};
  std::set<std::string> ids;
  PITH_TRY(ForEachRow(text, file.path, [&](const Row& row) -> Result<bool> {
    PITH_ASSIGN(Item item, make(row));
    item.task = task;
    if (!ids.insert(item.id).second) {
      item.id += fmt::format("#{}", row.number());
      ids.insert(item.id);
    }
    loaded.items.push_back(std::move(item));
    return samples == 0 || loaded.items.size() < samples;
  }));
  return loaded;
}

Status RefusePrompts(const LoadRequest& request) {
  if (request.prompts_file.empty() && request.max_new_file.empty()) return {};
  const bool prompts = !request.prompts_file.empty();
  return InputError("the items of this suite come with their prompts and lengths",
                    prompts ? request.prompts_file : request.max_new_file,
                    "Leave the file out, or change the items.");
}

}  // namespace pith
