// The program's ways out and in: results to standard output, everything else to standard error,
// Ctrl-C.
#pragma once

#include <atomic>
#include <string>
#include <string_view>

#include "base/status.h"

namespace pith {

// One line on standard error: "pith: MESSAGE".
void Say(std::string_view message);
void PrintError(const Error& error);  // "pith: error: WHAT (WHERE). HINT"

// While one is alive, the first Ctrl-C only raises the flag; the second ends the program as usual.
// One at a time.
class InterruptGuard {
 public:
  InterruptGuard();
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;

  static const std::atomic<bool>& flag();
  static void Raise();  // as if Ctrl-C had been pressed
  static void Lower();
};

// Standard output, unbuffered, so that text is seen as it comes. A reader that has gone away (`|
// head`) is no error: it raises the interrupt flag, and what comes later is dropped.
class Output {
 public:
  void Write(std::string_view text);
  bool gone() const { return gone_; }
  Status status() const;  // an error if the text did not get out for another reason

 private:
  bool gone_ = false;
  int error_ = 0;
};

// Lines of standard input. Reads no more than it needs to see the end of a line.
class LineReader {
 public:
  enum class Event { kLine, kEnd, kInterrupt };
  Event Next(std::string* line);

 private:
  std::string buffer_;
  bool at_end_ = false;
};

bool InputIsTerminal();

}  // namespace pith
