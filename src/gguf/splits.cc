// GgufFile::Open: one file, or the parts of a model that was split (NAME-00001-of-00003.gguf and so
// on).
#include <fmt/format.h>

#include <unordered_set>
#include <utility>

#include "base/log.h"
#include "gguf/gguf.h"
#include "gguf/parse.h"

namespace pith {
namespace {

constexpr uint64_t kMaxParts = 65535;  // split.count is 16 bits wide

std::string PartSuffix(uint64_t part, uint64_t count) {
  return fmt::format("-{:05}-of-{:05}.gguf", part + 1, count);
}

// Checks that the first part was named and returns the name without its number.
Result<std::string> PartPrefix(const GgufFile& first, uint64_t count) {
  const std::string& path = first.path();
  PITH_ASSIGN(const uint64_t number, first.Integer("split.no"));
  if (count > kMaxParts || number >= count) {
    return InputError(
        "the file says it is part " + std::to_string(number + 1) + " of " + std::to_string(count),
        path, "The file is damaged; copy or download it again.");
  }
  const std::string suffix = PartSuffix(number, count);
  if (!path.ends_with(suffix)) {
    return InputError("the model is split into " + std::to_string(count) +
                          " files, but this name does not end in " + suffix,
                      path, "Give the parts their original names.");
  }
  std::string prefix = path.substr(0, path.size() - suffix.size());
  if (number != 0) {
    return InputError("this is part " + std::to_string(number + 1) + " of a split model", path,
                      "Name the first part: " + prefix + PartSuffix(0, count));
  }
  return prefix;
}

Status CheckPart(const GgufFile& part, uint64_t number, uint64_t count) {
  PITH_ASSIGN(const uint64_t own_number, part.Integer("split.no"));
  PITH_ASSIGN(const uint64_t own_count, part.Integer("split.count"));
  if (own_number != number || own_count != count) {
    return InputError("the file says it is part " + std::to_string(own_number + 1) + " of " +
                          std::to_string(own_count) + ", not part " + std::to_string(number + 1) +
                          " of " + std::to_string(count),
                      part.path(), "It belongs to another model or was renamed.");
  }
  return {};
}

// Only the first part's keys describe the model; a later part that carries some of its own is not
// silently read past.
void ReportUnusedKeys(const GgufFile& part) {
  for (const GgufValue& value : part.values()) {
    if (value.key.starts_with("split.") || value.key.starts_with("general.")) continue;
    Log(LogLevel::kWarning, "the key " + QuoteName(value.key) + " of " + part.path() +
                                " is not used; the first part describes the model");
  }
}

}  // namespace

Result<GgufFile> GgufFile::Open(const std::string& path) {
  PITH_ASSIGN(MappedFile mapped, MappedFile::Open(path));
  PITH_ASSIGN(GgufFile model, Parse(mapped.bytes(), path));
  model.files_.push_back(std::move(mapped));
  PITH_ASSIGN(const uint64_t count, model.IntegerOr("split.count", 1));
  if (count <= 1) return model;

  PITH_ASSIGN(const std::string prefix, PartPrefix(model, count));
  PITH_ASSIGN(const uint64_t expected_tensors, model.Integer("split.tensors.count"));
  for (uint64_t number = 1; number < count; ++number) {
    const std::string part_path = prefix + PartSuffix(number, count);
    auto part_mapped = MappedFile::Open(part_path);
    if (!part_mapped) {
      Error error = std::move(part_mapped).error();
      error.what = "part " + std::to_string(number + 1) + " of " + std::to_string(count) +
                   " of the split model " + path + " is missing or unreadable: " + error.what;
      error.hint = "Put all parts into one folder.";
      return tl::unexpected<Error>(std::move(error));
    }
    PITH_ASSIGN(GgufFile part, Parse(part_mapped->bytes(), part_path));
    PITH_TRY(CheckPart(part, number, count));
    ReportUnusedKeys(part);
    for (GgufTensor& tensor : part.tensors_) {
      tensor.file = static_cast<uint32_t>(number);
      model.tensors_.push_back(std::move(tensor));
    }
    model.bytes_.push_back(part_mapped->bytes());
    model.files_.push_back(std::move(*part_mapped));
  }

  std::unordered_set<std::string_view> seen;
  for (const GgufTensor& tensor : model.tensors_) {
    if (!seen.insert(tensor.name).second) {
      return InputError("the tensor " + QuoteName(tensor.name) + " appears in two parts", path,
                        "The parts do not belong together; download them again.");
    }
  }
  if (model.tensors_.size() != expected_tensors) {
    return InputError("the parts hold " + std::to_string(model.tensors_.size()) +
                          " tensors where " + std::to_string(expected_tensors) + " are expected",
                      path, "The parts do not belong together; download them again.");
  }
  return model;
}

}  // namespace pith
