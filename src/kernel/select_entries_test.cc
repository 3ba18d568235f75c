#include "kernel/select_entries.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <memory>
#include <numeric>
#include <set>
#include <vector>

#include "base/rng.h"
#include "codec/kivi.h"
#include "kernel/ref/attend_ref.h"
#include "kernel/ref/page_builder.h"
#include "kernel/ref/select_ref.h"

namespace pith {
namespace {

using Base = ReadRule::Base;
using Entries = std::vector<uint32_t>;

// One head in f32, and the queries that share it.
struct Case {
  uint32_t dim, count, group;
  std::vector<float> keys, values, queries;
  std::unique_ptr<BuiltList> key_list, value_list;
  HeadView head;

  Case(uint32_t dim_of, uint32_t count_of, uint32_t group_of, uint64_t seed)
      : dim(dim_of), count(count_of), group(group_of) {
    Rng rng(seed);
    const auto random = [&](size_t size, float spread) {
      std::vector<float> numbers(size);
      for (float& x : numbers) x = spread * (2 * rng.Float() - 1);
      return numbers;
    };
    keys = random(size_t{count} * dim, 1);
    values = random(size_t{count} * dim, 1);
    queries = random(size_t{group} * dim, 4);
    Build();
  }

  void Build(const Form& key_form = *FindForm("f32")) {
    key_list = std::make_unique<BuiltList>(Side::kKeys, dim);
    value_list = std::make_unique<BuiltList>(Side::kValues, dim);
    constexpr uint32_t kPage = 32;
    for (uint32_t first = 0; first < count; first += kPage) {
      const uint32_t here = std::min(kPage, count - first);
      const auto position = static_cast<int32_t>(first);
      key_list->AddPage(key_form, kPage, here, &keys[size_t{first} * dim], position, nullptr);
      value_list->AddPage(*FindForm("f32"), kPage, here, &values[size_t{first} * dim], position,
                          nullptr);
    }
    head = {key_list->pages(), value_list->pages(), count};
  }

  float scale() const { return 1 / std::sqrt(static_cast<float>(dim)); }
  std::vector<const float*> Queries() const {
    std::vector<const float*> all;
    for (uint32_t i = 0; i < group; ++i) all.push_back(&queries[size_t{i} * dim]);
    return all;
  }
  std::vector<uint16_t> Labels(uint32_t number) const {
    std::vector<uint16_t> labels(number);
    std::iota(labels.begin(), labels.end(), uint16_t{0});
    return labels;
  }

  KeyIndex Index(const ReadRule& rule) const {
    const bool by_labels = rule.base == Base::kLabels;
    KeyIndex index(rule, dim, Labels(by_labels ? rule.NumLabels(dim) : 0));
    index.Update(head, 0);
    return index;
  }

  Selection Select(const ReadRule& rule, std::span<const float* const> asked) const {
    SelectScratch scratch;
    Selection selection;
    SelectEntries(rule, Index(rule), head, asked, scale(), &scratch, &selection);
    return selection;
  }
  Selection Select(const ReadRule& rule) const { return Select(rule, Queries()); }

  // Of one query, over all entries.
  std::vector<double> Probabilities(uint32_t query) const {
    std::vector<double> p(count);
    double sum = 0;
    for (uint32_t i = 0; i < count; ++i) {
      double dot = 0;
      for (uint32_t c = 0; c < dim; ++c) {
        dot += double{keys[size_t{i} * dim + c]} * queries[size_t{query} * dim + c];
      }
      sum += p[i] = std::exp(dot * scale());
    }
    for (double& x : p) x /= sum;
    return p;
  }
};

// What the bits say and, as a check, what the runs say.
Entries Chosen(const Selection& selection) {
  Entries entries, from_runs;
  for (uint32_t i = 0; i < selection.chosen.size() * 8; ++i) {
    if ((selection.chosen[i / 8] >> i % 8 & 1) != 0) entries.push_back(i);
  }
  uint64_t end = 0;
  for (const EntryRun& run : selection.runs) {
    EXPECT_GT(run.count, 0u);
    EXPECT_TRUE(from_runs.empty() || run.first > end) << "runs that touch are one";
    end = run.first + run.count;
    for (uint64_t i = run.first; i < end; ++i) from_runs.push_back(static_cast<uint32_t>(i));
  }
  EXPECT_EQ(entries, from_runs);
  EXPECT_EQ(entries.size(), selection.num_chosen);
  return entries;
}

Entries All(uint32_t count) {
  Entries all(count);
  std::iota(all.begin(), all.end(), 0u);
  return all;
}

TEST(SelectEntries, BudgetOfAllEntries_ChoosesAll) {
  for (const uint32_t count : {1u, 7u, 8u, 130u}) {
    const Case c(16, count, 3, count);
    for (const ReadRule& rule :
         {ReadRule{.base = Base::kPages, .budget = count},
          ReadRule{.base = Base::kPages, .share = 1},
          ReadRule{.base = Base::kLabels, .budget = count},
          ReadRule{.base = Base::kAll, .top_p = 1},
          ReadRule{.base = Base::kPages, .share = 1, .top_p = 1},
          ReadRule{.base = Base::kPages, .budget = 1, .least_pages = 1000}}) {
      EXPECT_EQ(Chosen(c.Select(rule)), All(count)) << count;
    }
  }
}

// Of rows of logits: for each column the greatest of the rows' softmax weights.
std::vector<float> JointWeights(const std::vector<std::vector<double>>& rows) {
  std::vector<float> joint(rows.front().size());
  for (const std::vector<double>& row : rows) {
    const double most = *std::ranges::max_element(row);
    double sum = 0;
    for (const double logit : row) sum += std::exp(logit - most);
    for (size_t i = 0; i < row.size(); ++i) {
      joint[i] = std::max(joint[i], static_cast<float>(std::exp(row[i] - most) / sum));
    }
  }
  return joint;
}

TEST(SelectEntries, Pages_ThoseOfWhichAnyQueryExpectsMostAndTheNewest) {
  for (const uint32_t page : {8u, 16u, 32u}) {
    const Case c(32, 501, 4, page);
    const ReadRule rule{.base = Base::kPages, .budget = 96, .page = page, .least_pages = 3};
    const uint32_t num_pages = (c.count + page - 1) / page;
    const KeyIndex index = c.Index(rule);
    std::vector<std::vector<double>> rows;
    for (const float* query : c.Queries()) {
      std::vector<float> scores(index.bounds()->padded_pages());
      index.bounds()->Score({&query, 1}, c.scale(), scores.data(), scores.size());
      rows.emplace_back(scores.begin(), scores.begin() + num_pages);
    }
    const auto best = LargestReference(JointWeights(rows), std::max(3u, 96 / page));
    std::set<uint32_t> expected(best.begin(), best.end());
    expected.insert(num_pages - 1);
    Entries entries;
    for (const uint32_t p : expected) {
      for (uint32_t i = p * page; i < std::min(c.count, (p + 1) * page); ++i) entries.push_back(i);
    }
    EXPECT_EQ(Chosen(c.Select(rule)), entries);
    EXPECT_LE(entries.size(), 96u + page);
  }
}

// Keys of two values are stored without loss in four bits.
TEST(SelectEntries, AllChannelsWithoutLoss_TheExactTopEntries) {
  Case c(16, 203, 2, 5);
  Rng rng(9);
  std::vector<float> sizes(c.count);
  for (uint32_t i = 0; i < c.count; ++i) sizes[i] = static_cast<float>(i + 1) / 256;
  for (uint32_t i = c.count; i > 1; --i) std::swap(sizes[i - 1], sizes[rng.Below(i)]);
  for (size_t i = 0; i < c.keys.size(); ++i) {
    c.keys[i] = sizes[i / c.dim] * (i % c.dim % 2 == 0 ? 1.0f : -1.0f);
  }
  for (uint32_t k = 0; k < c.dim; ++k) {
    c.queries[k] = k % 2 == 0 ? 1.0f : -1.0f;
    c.queries[c.dim + k] = -c.queries[k];
  }
  c.Build();
  const ReadRule rule{.base = Base::kLabels, .budget = 20, .label_part = 1};
  for (uint32_t query = 0; query < 2; ++query) {
    std::vector<float> products = sizes;
    for (float& x : products) x *= query == 0 ? 1.0f : -1.0f;
    const float* const one[] = {c.Queries()[query]};
    EXPECT_EQ(Chosen(c.Select(rule, one)), LargestReference(products, 20)) << query;
  }
  std::vector<std::vector<double>> rows(2);
  for (const float size : sizes) {
    const double logit = double{size} * c.dim * c.scale();
    rows[0].push_back(logit);
    rows[1].push_back(-logit);
  }
  EXPECT_EQ(Chosen(c.Select(rule)), LargestReference(JointWeights(rows), 20));
}

TEST(SelectEntries, TopP_IsTheUnionOfWhatEachQueryNeeds_AndGrowsWithP) {
  const Case c(32, 333, 4, 3);
  for (const auto& [base, share] : {std::pair(Base::kAll, 0.0), std::pair(Base::kPages, 1.0),
                                    std::pair(Base::kPages, 0.3), std::pair(Base::kLabels, 0.3)}) {
    Entries before;
    for (const double p : {0.2, 0.5, 0.85, 0.95, 0.999, 1.0}) {
      const ReadRule rule{.base = base, .share = share, .top_p = p};
      const Selection together = c.Select(rule);
      const Entries chosen = Chosen(together);
      EXPECT_GE(together.kept, p - 1e-6);
      std::set<uint32_t> expected;
      double kept = 0;
      for (const float* query : c.Queries()) {
        const float* const one[] = {query};
        const Selection alone = c.Select(rule, one);
        for (const uint32_t i : Chosen(alone)) expected.insert(i);
        kept += alone.kept / c.group;
      }
      if (share != 0.3) {  // else candidates are those of all queries together
        EXPECT_EQ(chosen, Entries(expected.begin(), expected.end()));
        EXPECT_NEAR(together.kept, kept, 1e-9);
      }
      EXPECT_TRUE(std::ranges::includes(chosen, before));
      before = chosen;
    }
    EXPECT_EQ(before == All(c.count), share != 0.3);
  }
}

TEST(SelectEntries, TopP_ChoosesAmongTheCandidates) {
  const Case c(32, 640, 2, 4);
  for (const Base base : {Base::kPages, Base::kLabels}) {
    ReadRule rule{.base = base, .share = 0.25};
    const Entries candidates = Chosen(c.Select(rule));
    EXPECT_LT(candidates.size(), c.count);
    if (base == Base::kPages) {
      EXPECT_EQ(candidates.back(), c.count - 1);
    }
    rule.top_p = 1;
    EXPECT_EQ(Chosen(c.Select(rule)), candidates);
    rule.top_p = 0.7;
    const Entries chosen = Chosen(c.Select(rule));
    EXPECT_LT(chosen.size(), candidates.size());
    EXPECT_TRUE(std::ranges::includes(candidates, chosen));
  }
}

TEST(SelectEntries, GuessedAttention_NearTheTrueOne) {
  const Case c(64, 400, 4, 8);
  const ReadRule rule{.base = Base::kAll, .top_p = 0.9};
  for (uint32_t query = 0; query < c.group; ++query) {
    const float* const one[] = {c.Queries()[query]};
    const Selection selection = c.Select(rule, one);
    const std::vector<double> truth = c.Probabilities(query);
    double kept = 0;
    for (const uint32_t i : Chosen(selection)) kept += truth[i];
    EXPECT_NEAR(kept, selection.kept, 0.02);
  }
}

// Keys that are stored as codes are looked at themselves: the choice is that of their own
// attention.
TEST(SelectEntries, KeysStoredAsCodes_TheExactTopPOfThose) {
  Case c(32, 333, 3, 12);
  for (const Form* form : {FindForm("q4_0"), FindKivi(4, 32), FindKivi(2, 32)}) {
    c.Build(*form);
    std::vector<float> decoded(c.keys.size());
    ReadRows(c.head, Side::kKeys, 0, c.count, decoded.data());
    c.keys = decoded;  // what the truth is about
    for (const auto& [base, share] : {std::pair(Base::kAll, 0.0), std::pair(Base::kPages, 0.5)}) {
      const ReadRule candidates{.base = base, .share = share};
      ReadRule rule = candidates;
      rule.top_p = 0.8;
      KeyIndex index(rule, c.dim, {}, true);
      index.Update(c.head, 0);
      EXPECT_EQ(index.codes(), nullptr);
      EXPECT_EQ(index.bytes(), index.bounds() != nullptr ? index.bounds()->bytes() : 0);
      const std::vector<const float*> queries = c.Queries();
      SelectScratch scratch;
      Selection selection;
      SelectEntries(rule, index, c.head, queries, c.scale(), &scratch, &selection);
      std::set<uint32_t> expected;
      const Entries among = base == Base::kAll ? All(c.count) : Chosen(c.Select(candidates));
      for (uint32_t query = 0; query < c.group; ++query) {
        const std::vector<double> truth = c.Probabilities(query);
        std::vector<double> weights;
        for (const uint32_t i : among) weights.push_back(truth[i]);
        for (const uint32_t i : ShareReference(weights, rule.top_p)) expected.insert(among[i]);
      }
      EXPECT_EQ(Chosen(selection), Entries(expected.begin(), expected.end())) << form->name;
      EXPECT_LT(selection.num_chosen, among.size());
    }
  }
}

// With the share P of the attention kept, and it made up to 1 again, the output moves by at most
// 2 (1 - P) of the largest value.
TEST(SelectEntries, Attention_OffByNoMoreThanWhatWasLeftOut) {
  for (const double p : {0.3, 0.6, 0.9}) {
    const Case c(32, 300, 2, 21);
    const Selection selection = c.Select({.base = Base::kAll, .top_p = p});
    const Entries chosen = Chosen(selection);
    const AttendShape shape{c.group, 1, c.dim, c.dim, c.scale()};
    const int32_t position = static_cast<int32_t>(c.count);
    const std::span<const EntryRun> runs[] = {selection.runs};
    AttendSequence part{.positions = {&position, 1}, .heads = {&c.head, 1}, .runs = runs};
    AttendPlan plan(shape, {&part, 1}, 1);
    std::vector<std::byte> memory(plan.scratch_bytes() + 64);
    void* scratch = memory.data();
    size_t room = memory.size();
    std::vector<float> out(c.queries.size());
    std::atomic<uint32_t> next_item{0};
    const AttendCall call{&plan,
                          {&part, 1},
                          c.queries.data(),
                          c.queries.size(),
                          out.data(),
                          out.size(),
                          static_cast<std::byte*>(std::align(64, 1, scratch, room)),
                          &next_item};
    AttendPartial(call, 0, 1);
    AttendMerge(call, 0, 1);
    double largest = 0;
    for (uint32_t i = 0; i < c.count; ++i) {
      double norm = 0;
      for (uint32_t k = 0; k < c.dim; ++k) norm += std::pow(c.values[i * c.dim + k], 2);
      largest = std::max(largest, std::sqrt(norm));
    }
    for (uint32_t query = 0; query < c.group; ++query) {
      const std::vector<double> truth = c.Probabilities(query);
      double kept = 0;
      for (const uint32_t i : chosen) kept += truth[i];
      double off = 0;
      for (uint32_t k = 0; k < c.dim; ++k) {
        double exact = 0;
        for (uint32_t i = 0; i < c.count; ++i) exact += truth[i] * c.values[i * c.dim + k];
        off += std::pow(exact - out[query * c.dim + k], 2);
      }
      EXPECT_LE(std::sqrt(off), 2 * (1 - kept) * largest + 1e-5);
      EXPECT_LT(kept, 0.999);
    }
  }
}

TEST(LargestChannels, AscendingAndTiesByNumber) {
  const std::vector<float> weights = {0.5f, 1, 0.25f, 1, 0.5f};
  EXPECT_EQ(LargestChannels(weights, 3), (std::vector<uint16_t>{0, 1, 3}));
  EXPECT_EQ(LargestChannels(weights, 9).size(), 5u);
}

}  // namespace
}  // namespace pith
