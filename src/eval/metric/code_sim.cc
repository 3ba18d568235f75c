// Likeness of one line of code to the reference, as whole percents: by difflib's matching blocks
// (Ratcliff and Obershelp), or by edit distance without substitutions.
#include <cmath>
#include <unordered_map>

#include "eval/metric/scores.h"

namespace pith {
namespace {

// The first line that looks like code rather than like a comment or the fence around a block.
CharsView FirstCodeLine(CharsView text) {
  text = StripNewlines(text);
  while (true) {
    const size_t end = std::min(text.find(U'\n'), text.size());
    const CharsView line = text.substr(0, end);
    if (!Contains(line, U"`") && !Contains(line, U"#") && !Contains(line, U"//")) return line;
    if (end == text.size()) return {};
    text.remove_prefix(end + 1);
  }
}

// Matching blocks of `a` and `b`. In a long `b`, frequent characters begin no block ("autojunk").
class BlockMatcher {
 public:
  BlockMatcher(CharsView a, CharsView b) : a_(a), b_(b), lengths_(b.size() + 1) {
    for (size_t j = 0; j < b.size(); ++j) places_[b[j]].push_back(j);
    if (b.size() < 200) return;
    const size_t limit = b.size() / 100 + 1;
    std::erase_if(places_, [limit](const auto& place) { return place.second.size() > limit; });
  }

  size_t TotalMatched() {
    std::vector<Area> areas = {{0, a_.size(), 0, b_.size()}};
    size_t total = 0;
    while (!areas.empty()) {
      const Area area = areas.back();
      areas.pop_back();
      const Block block = LongestBlock(area);
      if (block.size == 0) continue;
      total += block.size;
      areas.push_back({area.a_begin, block.a, area.b_begin, block.b});
      areas.push_back({block.a + block.size, area.a_end, block.b + block.size, area.b_end});
    }
    return total;
  }

 private:
  struct Area {
    size_t a_begin, a_end, b_begin, b_end;
  };
  struct Block {
    size_t a, b, size;
  };

  // The longest; among equals the one that begins first in `a`, then first in `b`.
  Block LongestBlock(const Area& area) {
    Block best{area.a_begin, area.b_begin, 0};
    std::vector<std::pair<size_t, size_t>> row, next;  // (place in b, matches ending there)
    for (size_t i = area.a_begin; i < area.a_end; ++i) {
      next.clear();
      const auto places = places_.find(a_[i]);
      if (places != places_.end()) {
        for (const size_t j : places->second) {
          if (j < area.b_begin) continue;
          if (j >= area.b_end) break;
          const size_t size = (j > 0 ? lengths_[j - 1] : 0) + 1;
          next.emplace_back(j, size);
          if (size > best.size) best = {i + 1 - size, j + 1 - size, size};
        }
      }
      for (const auto& [j, size] : row) lengths_[j] = 0;
      for (const auto& [j, size] : next) lengths_[j] = size;
      row.swap(next);
    }
    for (const auto& [j, size] : row) lengths_[j] = 0;
    return Extend(area, best);
  }

  // Over characters that begin no block themselves; also from nothing, at the area's beginning.
  Block Extend(const Area& area, Block block) const {
    while (block.a > area.a_begin && block.b > area.b_begin && a_[block.a - 1] == b_[block.b - 1]) {
      block = {block.a - 1, block.b - 1, block.size + 1};
    }
    while (block.a + block.size < area.a_end && block.b + block.size < area.b_end &&
           a_[block.a + block.size] == b_[block.b + block.size]) {
      ++block.size;
    }
    return block;
  }

  CharsView a_, b_;
  std::unordered_map<char32_t, std::vector<size_t>> places_;  // in b, ascending
  std::vector<size_t> lengths_;  // of the matches that end at [place in b] and the row before
};

size_t CommonSubsequence(CharsView a, CharsView b) {
  std::vector<size_t> row(b.size() + 1);
  for (const char32_t c : a) {
    size_t diagonal = 0;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t above = row[j];
      row[j] = c == b[j - 1] ? diagonal + 1 : std::max(above, row[j - 1]);
      diagonal = above;
    }
  }
  return row.back();
}

// Whole percents, half to even.
double Percent(CharsView line, CharsView reference, size_t (*matched)(CharsView, CharsView)) {
  if (line == reference) return 1;
  if (line.empty() || reference.empty()) return 0;
  const auto sum = static_cast<double>(line.size() + reference.size());
  const double ratio = 2.0 * static_cast<double>(matched(line, reference)) / sum;
  return std::nearbyint(100 * ratio) / 100;
}

double Score(std::string_view prediction, const Item& item,
             size_t (*matched)(CharsView, CharsView)) {
  const Chars text = DecodeUtf8(prediction);
  const CharsView line = FirstCodeLine(text);
  return BestOverAnswers(item,
                         [&](const Chars& reference) { return Percent(line, reference, matched); });
}

}  // namespace

double CodeSimDifflib(std::string_view prediction, const Item& item) {
  return Score(prediction, item,
               [](CharsView a, CharsView b) { return BlockMatcher(a, b).TotalMatched(); });
}

double CodeSimIndel(std::string_view prediction, const Item& item) {
  return Score(prediction, item, CommonSubsequence);
}

}  // namespace pith
