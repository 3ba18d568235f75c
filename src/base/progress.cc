#include "base/progress.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <utility>

namespace pith {
namespace {

constexpr double kShortWork_s = 2.0;  // what is done sooner gets no bar
constexpr double kFirstLook_s = 0.3;  // before that, no estimate is worth anything
constexpr double kRedraw_s = 0.1;
constexpr size_t kMaxBar = 30, kMinBar = 8;

double Seconds(std::chrono::steady_clock::duration time) {
  return std::chrono::duration<double>(time).count();
}

size_t TerminalWidth() {
  winsize size{};
  if (::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return 80;
  return size.ws_col;
}

}  // namespace

std::string FormatProgress(std::string_view label, std::string_view unit, size_t done, size_t total,
                           double elapsed_s, size_t width) {
  const double share = static_cast<double>(done) / static_cast<double>(total);
  const double rate = static_cast<double>(done) / elapsed_s;
  const auto left_s = static_cast<size_t>(static_cast<double>(total - done) / rate + 0.5);
  const std::string numbers = fmt::format("{:3.0f} %{:7.0f} {}/s {:>3}:{:02} left", 100.0 * share,
                                          rate, unit, left_s / 60, left_s % 60);
  const size_t taken = label.size() + numbers.size() + 5;  // " [", "]  "
  if (taken + kMinBar > width) return fmt::format("{} {}", label, numbers).substr(0, width);
  const size_t bar = std::min(width - taken, kMaxBar);
  const auto filled = static_cast<size_t>(static_cast<double>(bar) * share);
  return fmt::format("{} [{:<{}}]  {}", label, std::string(filled, '#'), bar, numbers);
}

Progress::Progress(std::string label, std::string unit)
    : label_(std::move(label)),
      unit_(std::move(unit)),
      begin_(std::chrono::steady_clock::now()),
      last_drawn_(begin_),
      terminal_(::isatty(STDERR_FILENO) == 1) {}

Progress::~Progress() {
  if (drawn_) std::fputs("\r\x1b[K", stderr);
}

void Progress::Update(size_t done, size_t total) {
  if (!terminal_ || done == 0 || done > total) return;
  const auto now = std::chrono::steady_clock::now();
  const double elapsed_s = Seconds(now - begin_);
  if (!drawn_) {
    const double expected_s = elapsed_s * static_cast<double>(total) / static_cast<double>(done);
    if (elapsed_s < kFirstLook_s || expected_s < kShortWork_s) return;
  } else if (Seconds(now - last_drawn_) < kRedraw_s) {
    return;
  }
  // One column stays free: a full line would wrap on some terminals.
  const std::string line =
      FormatProgress(label_, unit_, done, total, elapsed_s, TerminalWidth() - 1);
  std::fprintf(stderr, "\r%s\x1b[K", line.c_str());
  std::fflush(stderr);
  last_drawn_ = now;
  drawn_ = true;
}

}  // namespace pith
