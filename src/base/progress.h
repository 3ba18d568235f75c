// A progress bar on standard error: only on a terminal, only for work that takes longer than two
// seconds, gone when the work ends.
#pragma once

#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

namespace pith {

class Progress {
 public:
  // `label` says what is going on ("reading the prompt"), `unit` what is counted ("tok").
  Progress(std::string label, std::string unit);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void Update(size_t done, size_t total);
  // Another label from the next update on.
  void Relabel(std::string label) { label_ = std::move(label); }

 private:
  std::string label_, unit_;
  std::chrono::steady_clock::time_point begin_, last_drawn_;
  bool terminal_;
  bool drawn_ = false;
};

// The bar's one line, at most `width` columns: "LABEL [####    ]  42 %  123 tok/s  0:07 left". What
// does not fit is left out, the bar first.
std::string FormatProgress(std::string_view label, std::string_view unit, size_t done, size_t total,
                           double elapsed_s, size_t width);

}  // namespace pith
