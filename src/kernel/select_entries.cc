#include "kernel/select_entries.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <functional>
#include <numbers>
#include <numeric>

#include "base/check.h"

namespace pith {
namespace {

uint64_t DivUp(uint64_t a, uint64_t b) { return (a + b - 1) / b; }

class Selector {
 public:
  Selector(const ReadRule& rule, const KeyIndex& index, std::span<const float* const> queries,
           float scale, SelectScratch* scratch, Selection* selection)
      : rule_(rule),
        index_(index),
        queries_(queries),
        scale_(scale * std::numbers::log2e_v<float>),
        num_entries_(index.num_entries()),
        scratch_(*scratch),
        selection_(*selection) {}

  void Run() {
    selection_.kept = 1;
    num_blocks_ = DivUp(num_entries_, 8);
    scratch_.own.assign(num_blocks_ * queries_.size(), 0);
    ChooseBase();
    Join();
    if (index_.codes() != nullptr) {
      ChooseTopP();
      Join();
    }
    MakeRuns();
  }

 private:
  // The bits of one query's choice.
  std::span<uint8_t> Own(size_t query) {
    return std::span(scratch_.own).subspan(query * num_blocks_, num_blocks_);
  }

  void Join() {
    selection_.chosen.assign(num_blocks_, 0);
    for (size_t r = 0; r < queries_.size(); ++r) {
      std::ranges::transform(Own(r), selection_.chosen, selection_.chosen.begin(),
                             std::bit_or<uint8_t>());
    }
  }

  void ChooseBase() {
    const uint64_t budget = rule_.BudgetOf(num_entries_);
    if (budget >= num_entries_ || rule_.base == ReadRule::Base::kAll) return ChooseAll();
    rule_.base == ReadRule::Base::kPages ? ChoosePages(budget) : ChooseByLabels(budget);
  }

  void ChooseAll() {
    std::ranges::fill(scratch_.own, uint8_t{0xFF});
    DropPadding();
  }

  void DropPadding() {
    if (num_entries_ % 8 == 0) return;
    for (size_t r = 0; r < queries_.size(); ++r) {
      Own(r).back() &= static_cast<uint8_t>((1u << num_entries_ % 8) - 1);
    }
  }

  // A row of scores for each query.
  float* Scores(size_t stride) {
    scratch_.scores.resize(stride * queries_.size());
    return scratch_.scores.data();
  }

  void ChoosePages(uint64_t budget) {
    const KeyBounds& bounds = *index_.bounds();
    const uint64_t num_pages = bounds.num_pages();
    const uint64_t wanted = std::max<uint64_t>(rule_.least_pages, DivUp(budget, rule_.page));
    if (wanted >= num_pages) return ChooseAll();
    const size_t stride = bounds.padded_pages();
    float* scores = Scores(stride);
    bounds.Score(queries_, scores, stride);
    const size_t page_blocks = rule_.page / 8;
    for (size_t r = 0; r < queries_.size(); ++r) {
      scratch_.bits.assign(stride / 8, 0);
      ChooseLargest({scores + r * stride, stride}, wanted, &scratch_.top, scratch_.bits);
      if (rule_.newest_page) SetBit(scratch_.bits, num_pages - 1);
      const auto own = Own(r);
      for (uint64_t page = 0; page < num_pages; ++page) {
        if (!HasBit(scratch_.bits, page)) continue;
        const auto rest = own.subspan(page * page_blocks);
        std::ranges::fill(rest.first(std::min(rest.size(), page_blocks)), uint8_t{0xFF});
      }
    }
    DropPadding();
  }

  static bool HasBit(std::span<const uint8_t> bits, uint64_t i) {
    return (bits[i / 8] >> i % 8 & 1) != 0;
  }
  static void SetBit(std::span<uint8_t> bits, uint64_t i) {
    bits[i / 8] = static_cast<uint8_t>(bits[i / 8] | 1u << i % 8);
  }

  void ChooseByLabels(uint64_t budget) {
    const KeyCodes& labels = *index_.labels();
    scratch_.blocks.resize(num_blocks_);
    std::iota(scratch_.blocks.begin(), scratch_.blocks.end(), 0u);
    const size_t stride = num_blocks_ * 8;
    float* scores = Scores(stride);
    labels.Score(queries_, scale_, scratch_.blocks, scores, stride);
    for (size_t r = 0; r < queries_.size(); ++r) {
      ChooseLargest({scores + r * stride, stride}, budget, &scratch_.top, Own(r));
    }
  }

  void ChooseTopP() {
    scratch_.blocks.clear();
    for (uint32_t block = 0; block < num_blocks_; ++block) {
      if (selection_.chosen[block] != 0) scratch_.blocks.push_back(block);
    }
    const size_t stride = scratch_.blocks.size() * 8;
    float* scores = Scores(stride);
    index_.codes()->Score(queries_, scale_, scratch_.blocks, scores, stride);
    double kept = 0;
    for (size_t r = 0; r < queries_.size(); ++r) kept += ChooseShareOf(r, scores + r * stride);
    selection_.kept = kept / static_cast<double>(queries_.size());
  }

  // Of what the query has chosen; `scores` are those of the blocks that any query has chosen.
  // Returns the share that is kept.
  double ChooseShareOf(size_t query, float* scores) {
    const auto own = Own(query);
    size_t count = 0;  // of its own blocks: their scores move to the front
    for (size_t j = 0; j < scratch_.blocks.size(); ++j) {
      const uint8_t lanes = own[scratch_.blocks[j]];
      if (lanes == 0) continue;
      if (lanes == 0xFF) {
        std::copy_n(scores + j * 8, 8, scores + count++ * 8);
        continue;
      }
      for (uint32_t lane = 0; lane < 8; ++lane) {
        const bool chosen = (lanes >> lane & 1) != 0;
        scores[count * 8 + lane] = chosen ? scores[j * 8 + lane] : -HUGE_VALF;
      }
      ++count;
    }
    scratch_.bits.assign(count, 0);
    const TopShare top =
        ChooseShare({scores, count * 8}, rule_.top_p, &scratch_.top, scratch_.bits);
    size_t next = 0;
    for (const uint32_t block : scratch_.blocks) {
      if (own[block] != 0) own[block] = scratch_.bits[next++];
    }
    return top.kept;
  }

  void MakeRuns() {
    std::vector<EntryRun>& runs = selection_.runs;
    runs.clear();
    selection_.num_chosen = 0;
    uint64_t end = 0;  // of the last run
    const auto add = [&](uint64_t first, uint32_t count) {
      if (!runs.empty() && end == first) {
        runs.back().count += count;
      } else {
        runs.push_back({first, count});
      }
      end = first + count;
      selection_.num_chosen += count;
    };
    for (uint64_t block = 0; block < selection_.chosen.size(); ++block) {
      uint32_t bits = selection_.chosen[block];
      while (bits != 0) {
        const auto first = static_cast<uint32_t>(std::countr_zero(bits));
        const auto count = static_cast<uint32_t>(std::countr_one(bits >> first));
        add(block * 8 + first, count);
        bits &= ~(((1u << count) - 1) << first);
      }
    }
  }

  const ReadRule& rule_;
  const KeyIndex& index_;
  std::span<const float* const> queries_;
  float scale_;  // to scores of which 2^ is taken
  uint64_t num_entries_, num_blocks_ = 0;
  SelectScratch& scratch_;
  Selection& selection_;
};

}  // namespace

void SelectEntries(const ReadRule& rule, const KeyIndex& index,
                   std::span<const float* const> queries, float scale, SelectScratch* scratch,
                   Selection* selection) {
  PITH_CHECK(!queries.empty() && index.num_entries() > 0 && rule.page % 8 == 0);
  Selector(rule, index, queries, scale, scratch, selection).Run();
}

}  // namespace pith
