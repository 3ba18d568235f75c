#include "kernel/select_entries.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <numbers>
#include <numeric>

#include "base/check.h"

namespace pith {
namespace {

uint64_t DivUp(uint64_t a, uint64_t b) { return (a + b - 1) / b; }

// Calls visit(index) for every byte that is not zero, most of which are.
template <class Visit>
void ForEachByte(std::span<const uint8_t> bytes, const Visit& visit) {
  size_t first = 0;
  for (; first + 8 <= bytes.size(); first += 8) {
    uint64_t word;
    std::memcpy(&word, &bytes[first], sizeof(word));
    if (word == 0) continue;
    for (size_t i = first; i < first + 8; ++i) {
      if (bytes[i] != 0) visit(i);
    }
  }
  for (; first < bytes.size(); ++first) {
    if (bytes[first] != 0) visit(first);
  }
}

// Entries behind those of the runs, of which touching ones are one.
void AddRun(uint64_t first, uint32_t count, std::vector<EntryRun>* runs) {
  if (!runs->empty() && runs->back().first + runs->back().count == first) {
    runs->back().count += count;
  } else {
    runs->push_back({first, count});
  }
}

class Selector {
 public:
  Selector(const ReadRule& rule, const KeyIndex& index, const HeadView& head,
           std::span<const float* const> queries, float scale, SelectScratch* scratch,
           Selection* selection)
      : rule_(rule),
        index_(index),
        head_(head),
        queries_(queries),
        attend_scale_(scale),
        scale_(scale * std::numbers::log2e_v<float>),
        num_entries_(index.num_entries()),
        scratch_(*scratch),
        selection_(*selection) {}

  void Run() {
    selection_.kept = 1;
    num_blocks_ = DivUp(num_entries_, 8);
    ChooseBase();
    if (Guesses(rule_)) ChooseTopP();
    MakeRuns();
  }

 private:
  void ChooseBase() {
    selection_.chosen.assign(num_blocks_, 0);
    const uint64_t budget = rule_.BudgetOf(num_entries_);
    if (budget >= num_entries_ || rule_.base == ReadRule::Base::kAll) return ChooseAll();
    rule_.base == ReadRule::Base::kPages ? ChoosePages(budget) : ChooseByLabels(budget);
  }

  void ChooseAll() {
    std::ranges::fill(selection_.chosen, uint8_t{0xFF});
    DropPadding();
  }

  void DropPadding() {
    if (num_entries_ % 8 == 0) return;
    selection_.chosen.back() &= static_cast<uint8_t>((1u << num_entries_ % 8) - 1);
  }

  // A row of scores for each query.
  std::span<float> Scores(size_t stride) {
    scratch_.scores.resize(stride * queries_.size());
    return scratch_.scores;
  }

  void ChoosePages(uint64_t budget) {
    const KeyBounds& bounds = *index_.bounds();
    const uint64_t num_pages = bounds.num_pages();
    const uint64_t wanted = std::max<uint64_t>(rule_.least_pages, DivUp(budget, rule_.page));
    if (wanted >= num_pages) return ChooseAll();
    const size_t stride = bounds.padded_pages();
    const std::span<float> scores = Scores(stride);
    bounds.Score(queries_, scale_, scores.data(), stride);
    JoinAsSoftmax(scores, queries_.size());
    scratch_.bits.assign(stride / 8, 0);
    ChooseLargest(scores.first(stride), wanted, &scratch_.top, scratch_.bits);
    uint8_t& newest = scratch_.bits[(num_pages - 1) / 8];
    newest = static_cast<uint8_t>(newest | 1u << (num_pages - 1) % 8);
    const size_t page_blocks = rule_.page / 8;
    ForEachByte(scratch_.bits, [&](size_t byte) {
      for (uint32_t bits = scratch_.bits[byte]; bits != 0; bits &= bits - 1) {
        const size_t page = byte * 8 + static_cast<size_t>(std::countr_zero(bits));
        const auto rest = std::span(selection_.chosen).subspan(page * page_blocks);
        std::ranges::fill(rest.first(std::min(rest.size(), page_blocks)), uint8_t{0xFF});
      }
    });
    DropPadding();
  }

  void ChooseByLabels(uint64_t budget) {
    scratch_.blocks.resize(num_blocks_);
    std::iota(scratch_.blocks.begin(), scratch_.blocks.end(), 0u);
    const size_t stride = num_blocks_ * 8;
    const std::span<float> scores = Scores(stride);
    index_.labels()->Score(queries_, scale_, scratch_.blocks, scores.data(), stride);
    JoinAsSoftmax(scores, queries_.size());
    ChooseLargest(scores.first(stride), budget, &scratch_.top, selection_.chosen);
  }

  // Of the candidates, each query for itself.
  void ChooseTopP() {
    scratch_.blocks.clear();
    ForEachByte(selection_.chosen,
                [this](size_t block) { scratch_.blocks.push_back(static_cast<uint32_t>(block)); });
    const size_t stride = scratch_.blocks.size() * 8;
    const std::span<float> scores = Scores(stride);
    Guess(scores, stride);
    for (size_t j = 0; j < scratch_.blocks.size(); ++j) {
      const uint8_t lanes = selection_.chosen[scratch_.blocks[j]];
      for (uint32_t others = static_cast<uint8_t>(~lanes); others != 0; others &= others - 1) {
        const size_t i = j * 8 + static_cast<size_t>(std::countr_zero(others));
        for (size_t r = 0; r < queries_.size(); ++r) scores[r * stride + i] = -HUGE_VALF;
      }
    }
    scratch_.bits.assign(scratch_.blocks.size(), 0);
    double kept = 0;
    for (size_t r = 0; r < queries_.size(); ++r) {
      kept +=
          ChooseShare(scores.subspan(r * stride, stride), rule_.top_p, &scratch_.top, scratch_.bits)
              .kept;
    }
    selection_.kept = kept / static_cast<double>(queries_.size());
    for (size_t j = 0; j < scratch_.blocks.size(); ++j) {
      selection_.chosen[scratch_.blocks[j]] = scratch_.bits[j];
    }
  }

  // The scores of the candidates' blocks; those behind the last entry may be anything.
  void Guess(std::span<float> scores, size_t stride) {
    if (index_.codes() != nullptr) {
      return index_.codes()->Score(queries_, scale_, scratch_.blocks, scores.data(), stride);
    }
    scratch_.runs.clear();
    for (const uint32_t block : scratch_.blocks) {
      const uint64_t first = uint64_t{block} * 8;
      const auto count = static_cast<uint32_t>(std::min<uint64_t>(8, num_entries_ - first));
      AddRun(first, count, &scratch_.runs);
    }
    ScoreRuns(head_, scratch_.runs, queries_, attend_scale_, &scratch_.score, scores.data(),
              stride);
  }

  void MakeRuns() {
    std::vector<EntryRun>& runs = selection_.runs;
    runs.clear();
    selection_.num_chosen = 0;
    ForEachByte(selection_.chosen, [&](uint64_t block) {
      uint32_t bits = selection_.chosen[block];
      while (bits != 0) {
        const auto first = static_cast<uint32_t>(std::countr_zero(bits));
        const auto count = static_cast<uint32_t>(std::countr_one(bits >> first));
        AddRun(block * 8 + first, count, &runs);
        selection_.num_chosen += count;
        bits &= ~(((1u << count) - 1) << first);
      }
    });
  }

  const ReadRule& rule_;
  const KeyIndex& index_;
  const HeadView& head_;
  std::span<const float* const> queries_;
  float attend_scale_;
  float scale_;  // to scores of which 2^ is taken
  uint64_t num_entries_, num_blocks_ = 0;
  SelectScratch& scratch_;
  Selection& selection_;
};

}  // namespace

void SelectEntries(const ReadRule& rule, const KeyIndex& index, const HeadView& head,
                   std::span<const float* const> queries, float scale, SelectScratch* scratch,
                   Selection* selection) {
  PITH_CHECK(!queries.empty() && index.num_entries() > 0 && rule.page % 8 == 0);
  PITH_CHECK(head.num_entries == index.num_entries());
  Selector(rule, index, head, queries, scale, scratch, selection).Run();
}

}  // namespace pith
