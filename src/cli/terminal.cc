#include "cli/terminal.h"

#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>

namespace pith {
namespace {

std::atomic<bool> interrupt_flag{false};
static_assert(std::atomic<bool>::is_always_lock_free, "the flag is set by a signal handler");

void SetHandler(void (*handler)(int)) {
  struct sigaction action{};
  action.sa_handler = handler;
  sigemptyset(&action.sa_mask);  // no SA_RESTART: a waiting read shall notice
  ::sigaction(SIGINT, &action, nullptr);
}

void OnInterrupt(int) {
  if (interrupt_flag.exchange(true)) {
    SetHandler(SIG_DFL);
    ::raise(SIGINT);
  }
}

}  // namespace

void Say(std::string_view message) {
  std::fprintf(stderr, "pith: %.*s\n", static_cast<int>(message.size()), message.data());
}

void PrintError(const Error& error) { Say("error: " + error.Message()); }

InterruptGuard::InterruptGuard() {
  interrupt_flag = false;
  SetHandler(OnInterrupt);
}

InterruptGuard::~InterruptGuard() { SetHandler(SIG_DFL); }

const std::atomic<bool>& InterruptGuard::flag() { return interrupt_flag; }
void InterruptGuard::Raise() { interrupt_flag = true; }
void InterruptGuard::Lower() { interrupt_flag = false; }

void Output::Write(std::string_view text) {
  while (!text.empty() && !gone_) {
    const ssize_t wrote = ::write(STDOUT_FILENO, text.data(), text.size());
    if (wrote >= 0) {
      text.remove_prefix(static_cast<size_t>(wrote));
    } else if (errno != EINTR) {
      gone_ = true;
      error_ = errno;
      InterruptGuard::Raise();
    }
  }
}

Status Output::status() const {
  if (error_ == 0 || error_ == EPIPE) return {};
  return Failure("the result cannot be written: " + std::string(std::strerror(error_)),
                 "standard output");
}

LineReader::Event LineReader::Next(std::string* line) {
  for (;;) {
    const size_t end = buffer_.find('\n');
    if (end != std::string::npos || (at_end_ && !buffer_.empty())) {
      *line = buffer_.substr(0, end);
      buffer_.erase(0, end == std::string::npos ? end : end + 1);
      if (!line->empty() && line->back() == '\r') line->pop_back();
      return Event::kLine;
    }
    if (at_end_) return Event::kEnd;
    char bytes[4096];
    const ssize_t got = ::read(STDIN_FILENO, bytes, sizeof bytes);
    if (got > 0) {
      buffer_.append(bytes, static_cast<size_t>(got));
    } else if (got < 0 && errno == EINTR) {
      if (interrupt_flag) return Event::kInterrupt;
    } else {
      at_end_ = true;
    }
  }
}

bool InputIsTerminal() { return ::isatty(STDIN_FILENO) == 1; }

}  // namespace pith
