// What the query of one new token reads of each head: everything, or what a quick guess chooses.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace pith {

struct ReadRule {
  // What chooses first: nothing; bounds of pages (Quest, arXiv 2406.10774); a few channels in four
  // bits (Double Sparsity, arXiv 2408.07092).
  enum class Base : uint8_t { kAll, kPages, kLabels };
  Base base = Base::kAll;
  // How many entries are chosen: that share of them, `budget` at least.
  double share = 0;
  uint64_t budget = 0;
  uint32_t page = 16;        // kPages: entries of a page, a multiple of 8
  uint32_t least_pages = 1;  // kPages: chosen whatever the budget, and the newest besides
  uint32_t label_part = 8;   // kLabels: of so many channels, one is a label
  // Of what was chosen, the fewest whose attention, as keys in four bits let it be guessed, comes
  // to this share of it (Twilight, arXiv 2502.02770); 0: all of it is read.
  double top_p = 0;
  uint32_t dense_layers = 0;  // the first so many, which read everything

  bool reads_all() const { return base == Base::kAll && (top_p == 0 || top_p == 1); }
  uint64_t BudgetOf(uint64_t entries) const {
    const double part = std::ceil(share * static_cast<double>(entries));
    return std::max(budget, static_cast<uint64_t>(part));
  }
  uint32_t NumLabels(uint32_t dim) const { return (dim + label_part - 1) / label_part; }
  bool operator==(const ReadRule&) const = default;
};

}  // namespace pith
