// A results file that is only ever appended to: whole lines, one writer at a time.
#pragma once

#include <optional>
#include <string>
#include <unordered_set>
#include <utility>

#include "base/status.h"
#include "eval/report/record.h"

namespace pith {

class ResultLog {
 public:
  // Creates the file or goes on with it. A last line that an interrupted write left without its end
  // is cut off, and a warning says so. Input error for a line that is no record, for a directory,
  // and while another process writes to the same file.
  static Result<ResultLog> Open(const std::string& path);
  static ResultLog InMemory() { return {}; }
  ~ResultLog();
  ResultLog(ResultLog&& other) noexcept { *this = std::move(other); }
  ResultLog& operator=(ResultLog&& other) noexcept;

  // The records that were there, and since then.
  const ResultFile& results() const { return results_; }
  bool Has(const std::string& config) const { return done_.contains(config); }

  // The run that the next items belong to; written with the first of them, so that a run with
  // nothing left to do leaves no trace.
  void BeginRun(RunRecord record) { next_run_ = std::move(record); }

  // One line, in the file or not at all: when the disk is full the beginning of the line is taken
  // back, and the error says that what was finished is kept.
  Status Append(const ItemRecord& record);

 private:
  ResultLog() = default;
  Status Write(const std::string& line);

  std::string path_;
  int fd_ = -1;  // -1: in memory only
  ResultFile results_;
  std::unordered_set<std::string> done_;
  std::optional<RunRecord> next_run_;
};

}  // namespace pith
