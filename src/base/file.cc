#include "base/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace pith {
namespace {

tl::unexpected<Error> CannotOpen(const std::string& path) {
  return InputError("the file cannot be opened: " + std::string(std::strerror(errno)), path,
                    "Check the path and its permissions.");
}

tl::unexpected<Error> CannotWrite(const std::string& path) {
  return Failure("the file cannot be written: " + std::string(std::strerror(errno)), path,
                 "Check the folder, its permissions and the free space.");
}

// Opens for reading and refuses everything that is not a regular file or a pipe.
Result<int> OpenForReading(const std::string& path, struct stat* info) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return CannotOpen(path);
  if (::fstat(fd, info) != 0) {
    ::close(fd);
    return CannotOpen(path);
  }
  if (S_ISDIR(info->st_mode)) {
    ::close(fd);
    return InputError("this is a directory, not a file", path, "Name a file inside it.");
  }
  return fd;
}

}  // namespace

Result<MappedFile> MappedFile::Open(const std::string& path) {
  struct stat info{};
  PITH_ASSIGN(const int fd, OpenForReading(path, &info));
  if (info.st_size == 0) {
    ::close(fd);
    return InputError("the file is empty", path, "Check that it was copied or downloaded whole.");
  }
  const auto size = static_cast<size_t>(info.st_size);
  void* data = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, fd, 0);
  ::close(fd);
  if (data == MAP_FAILED) return CannotOpen(path);
  MappedFile file;
  file.data_ = static_cast<std::byte*>(data);
  file.size_ = size;
  file.path_ = path;
  return file;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(data_, size_);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      path_(std::move(other.path_)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(path_, other.path_);
  return *this;
}

void MappedFile::DropResident(size_t offset, size_t size) const {
  const auto page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  const size_t begin = (offset + page - 1) / page * page;
  const size_t end = (offset + size) / page * page;
  if (begin < end && end <= size_) ::madvise(data_ + begin, end - begin, MADV_DONTNEED);
}

Result<std::string> ReadText(const std::string& path) {
  int fd = STDIN_FILENO;
  if (path != "-") {
    struct stat info{};
    PITH_ASSIGN(fd, OpenForReading(path, &info));
  }
  std::string text;
  char buffer[65536];
  ssize_t got = 0;
  while ((got = ::read(fd, buffer, sizeof buffer)) > 0)
    text.append(buffer, static_cast<size_t>(got));
  const bool failed = got < 0;
  if (path != "-") ::close(fd);
  if (failed) return CannotOpen(path);
  return text;
}

Result<AtomicFile> AtomicFile::Create(const std::string& path) {
  struct stat there{};
  if (::stat(path.c_str(), &there) == 0 && !S_ISREG(there.st_mode)) {
    // Found out now, because Commit comes after the work, and would put a file over a device.
    return InputError("this is not a file that can be replaced", path, "Name a file.");
  }
  AtomicFile file;
  file.path_ = path;
  file.temp_path_ = path + ".tmp-XXXXXX";
  file.fd_ = ::mkostemp(file.temp_path_.data(), O_CLOEXEC);
  if (file.fd_ < 0) {
    return InputError("the file cannot be created: " + std::string(std::strerror(errno)), path,
                      "Check that its folder exists and may be written.");
  }
  return file;
}

AtomicFile::AtomicFile(AtomicFile&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      path_(std::move(other.path_)),
      temp_path_(std::move(other.temp_path_)) {}

AtomicFile::~AtomicFile() {
  if (fd_ < 0) return;
  ::close(fd_);
  ::unlink(temp_path_.c_str());
}

Status AtomicFile::Write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t wrote = ::write(fd_, bytes.data(), bytes.size());
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote <= 0) return CannotWrite(path_);
    bytes = bytes.subspan(static_cast<size_t>(wrote));
  }
  return {};
}

Status AtomicFile::Commit() {
  // mkostemp makes the file private; give it the mode that an ordinary new file would get.
  const mode_t mask = ::umask(0);
  ::umask(mask);
  if (::fchmod(fd_, 0666 & ~mask) != 0 || ::fsync(fd_) != 0) return CannotWrite(path_);
  if (::rename(temp_path_.c_str(), path_.c_str()) != 0) return CannotWrite(path_);
  ::close(std::exchange(fd_, -1));
  return {};
}

Status WriteText(const std::string& path, std::string_view text) {
  PITH_ASSIGN(AtomicFile file, AtomicFile::Create(path));
  PITH_TRY(file.Write(text.data(), text.size()));
  return file.Commit();
}

}  // namespace pith
