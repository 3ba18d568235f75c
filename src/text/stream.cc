#include "text/stream.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "text/utf8.h"

namespace pith {
namespace {

// Where the text ends if a stop string is complete in it, else npos. The stop string that is
// completed first counts, because later text may not have been seen yet; of several completed by
// the same byte, the longest.
size_t FindStop(std::string_view text, const std::vector<std::string>& stops) {
  size_t best_begin = std::string_view::npos;
  size_t best_end = std::string_view::npos;
  for (const std::string& stop : stops) {
    const size_t begin = text.find(stop);
    if (begin == std::string_view::npos) continue;
    const size_t end = begin + stop.size();
    if (end < best_end || (end == best_end && begin < best_begin)) {
      best_begin = begin;
      best_end = end;
    }
  }
  return best_begin;
}

// Bytes at the end of `text` that may become a stop string.
size_t PartialStop(std::string_view text, const std::vector<std::string>& stops) {
  size_t longest = 0;
  for (const std::string& stop : stops) {
    size_t length = std::min(stop.size() - 1, text.size());
    while (length > longest && !text.ends_with(std::string_view(stop).substr(0, length))) --length;
    longest = std::max(longest, length);
  }
  return longest;
}

}  // namespace

TextStream::TextStream(std::vector<std::string> stop_strings) : stops_(std::move(stop_strings)) {
  for (const std::string& stop : stops_) PITH_CHECK(!stop.empty());
}

std::string TextStream::Add(std::string_view piece) {
  if (stopped_) return {};
  held_ += piece;
  const size_t stop = FindStop(held_, stops_);
  if (stop != std::string::npos) {
    stopped_ = true;
    held_.resize(stop);
    return ReplaceInvalidUtf8(std::exchange(held_, {}));
  }
  std::string_view ready(held_);
  ready.remove_suffix(PartialStop(ready, stops_));
  ready.remove_suffix(IncompleteUtf8Tail(ready));
  std::string shown = ReplaceInvalidUtf8(ready);
  held_.erase(0, ready.size());
  return shown;
}

std::string TextStream::Finish() { return ReplaceInvalidUtf8(std::exchange(held_, {})); }

}  // namespace pith
