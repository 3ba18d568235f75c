// The choice of the entries that one new token reads of a head. All query heads that share it read
// the same: what each counts on most, as shares of its own attention. Only how much of that is
// enough (top_p) each says for itself, and what one of them needs is read for all.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernel/attend.h"
#include "kernel/key_index.h"
#include "kernel/read_rule.h"
#include "kernel/score_runs.h"
#include "kernel/top.h"

namespace pith {

// One thread's memory. It grows with the entries of a head and the query heads that share it.
struct SelectScratch {
  TopScratch top;
  ScoreRunsScratch score;
  std::vector<EntryRun> runs;
  std::vector<float> scores;
  std::vector<uint32_t> blocks;
  std::vector<uint8_t> bits;
};

struct Selection {
  // One bit for each entry of the head: those to be read.
  std::vector<uint8_t> chosen;
  std::vector<EntryRun> runs;  // the same, as ascending and disjoint runs
  uint64_t num_chosen = 0;
  // With top_p: the share of the attention among its candidates that a query head keeps, by the
  // guess, as a mean over those that share the head. Else 1.
  double kept = 1;
};

// `queries` are those that share the head, [key_dim] each, and see all of its entries; attention is
// softmax(scale * q . k). The index follows the head. Deterministic.
void SelectEntries(const ReadRule& rule, const KeyIndex& index, const HeadView& head,
                   std::span<const float* const> queries, float scale, SelectScratch* scratch,
                   Selection* selection);

}  // namespace pith
