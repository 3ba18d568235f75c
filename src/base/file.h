// Files: a read-only mapping, and a writer that leaves either the whole new file or nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/status.h"

namespace pith {

// A whole file mapped read-only. Refuses what cannot be mapped (missing, a directory, empty) as bad
// input.
class MappedFile {
 public:
  static Result<MappedFile> Open(const std::string& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  const std::string& path() const { return path_; }

  // Tells the system that bytes [offset, offset + size) are not needed in memory for now (whole
  // pages inside the range are dropped; a later read brings them back from the file).
  void DropResident(size_t offset, size_t size) const;

 private:
  MappedFile() = default;
  std::byte* data_ = nullptr;
  size_t size_ = 0;
  std::string path_;
};

// Reads a whole file (for prompts and recipes) or standard input ("-").
Result<std::string> ReadText(const std::string& path);

// Makes this text the whole of a file, or leaves the file as it was.
Status WriteText(const std::string& path, std::string_view text);

// Writes to a temporary name beside `path`; Commit() syncs and renames. Without Commit nothing is
// left behind.
class AtomicFile {
 public:
  static Result<AtomicFile> Create(const std::string& path);
  ~AtomicFile();
  AtomicFile(AtomicFile&& other) noexcept;
  AtomicFile& operator=(AtomicFile&&) = delete;

  Status Write(std::span<const std::byte> bytes);
  Status Write(const void* data, size_t size) {
    return Write({static_cast<const std::byte*>(data), size});
  }
  Status Commit();

 private:
  AtomicFile() = default;
  int fd_ = -1;
  std::string path_, temp_path_;
};

}  // namespace pith
