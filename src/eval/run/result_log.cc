#include "eval/run/result_log.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/log.h"

namespace pith {
namespace {

// Bytes up to and with the last line end.
Result<off_t> WholeLines(int fd, off_t size, const std::string& path) {
  char buffer[4096];
  for (off_t end = size; end > 0;) {
    const off_t begin = std::max<off_t>(0, end - static_cast<off_t>(sizeof(buffer)));
    const ssize_t got = pread(fd, buffer, static_cast<size_t>(end - begin), begin);
    if (got != end - begin) return Failure("the results cannot be read", path, strerror(errno));
    for (off_t at = end; at > begin; --at) {
      if (buffer[at - 1 - begin] == '\n') return at;
    }
    end = begin;
  }
  return 0;
}

}  // namespace

Result<ResultLog> ResultLog::Open(const std::string& path) {
  ResultLog log;
  log.path_ = path;
  log.fd_ = open(path.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (log.fd_ < 0) {
    return InputError("the results cannot be written: " + std::string(strerror(errno)), path,
                      "Name another file with --results.");
  }
  if (flock(log.fd_, LOCK_EX | LOCK_NB) != 0) {
    return InputError("another run is writing these results", path,
                      "Wait for it, or name another file with --results.");
  }
  struct stat status{};
  if (fstat(log.fd_, &status) != 0 || !S_ISREG(status.st_mode)) {
    return InputError("this is not a file", path, "Name a file with --results.");
  }
  if (status.st_size == 0) return log;
  PITH_ASSIGN(const off_t whole, WholeLines(log.fd_, status.st_size, path));
  PITH_ASSIGN(log.results_, ReadResults(path));
  if (whole < status.st_size) {
    Log(LogLevel::kWarning, "the last line of " + path +
                                " was cut off when an earlier run broke off; its item runs again");
    if (ftruncate(log.fd_, whole) != 0) {
      return Failure("the results cannot be mended", path, strerror(errno));
    }
  }
  for (const ItemRecord& item : log.results_.items) log.done_.insert(item.config);
  return log;
}

ResultLog::~ResultLog() {
  if (fd_ >= 0) close(fd_);
}

ResultLog& ResultLog::operator=(ResultLog&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(fd_, other.fd_);
  std::swap(results_, other.results_);
  std::swap(done_, other.done_);
  std::swap(next_run_, other.next_run_);
  return *this;
}

Status ResultLog::Write(const std::string& line) {
  if (fd_ < 0) return {};
  struct stat before{};
  if (fstat(fd_, &before) != 0) return Failure("the results are gone", path_, strerror(errno));
  const ssize_t written = write(fd_, line.data(), line.size());
  if (written == static_cast<ssize_t>(line.size())) return {};
  const std::string why = written < 0 ? strerror(errno) : "the disk is full";
  const bool mended = written <= 0 || ftruncate(fd_, before.st_size) == 0;
  return Failure("the results cannot be written: " + why, path_,
                 mended ? "What was finished is kept; make room and run the same command again."
                        : "Its last line is broken off; the same command mends it.");
}

Status ResultLog::Append(const ItemRecord& record) {
  if (next_run_) {
    PITH_TRY(Write(ToLine(ToJson(*next_run_))));
    results_.runs.push_back(*std::exchange(next_run_, std::nullopt));
  }
  PITH_TRY(Write(ToLine(ToJson(record))));
  results_.items.push_back(record);
  done_.insert(record.config);
  return {};
}

}  // namespace pith
