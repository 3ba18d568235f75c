#include "kernel/select_bench.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <memory>
#include <vector>

#include "base/rng.h"
#include "kernel/attend.h"
#include "kernel/ref/hot_entries.h"
#include "kernel/ref/page_builder.h"
#include "kernel/select_entries.h"

namespace pith {
namespace {

constexpr uint32_t kPage = 128;
constexpr int kRounds = 21;

using Clock = std::chrono::steady_clock;
double Since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

class Layer {
 public:
  Layer(const AttendShape& shape, const Form& form, uint32_t context, uint32_t run)
      : shape_(shape), form_(form), run_(run), position_{static_cast<int32_t>(context)} {
    Rng rng(1);
    queries_.resize(size_t{shape.num_query_heads} * shape.key_dim);
    out_.resize(size_t{shape.num_query_heads} * shape.value_dim);
    for (uint32_t h = 0; h < shape.num_kv_heads; ++h) AddHead(rng, h, context);
    sequence_ = {.first_row = 0, .positions = position_, .heads = heads_};
    full_ = std::make_unique<AttendPlan>(shape, std::span(&sequence_, 1), 1);
    selected_ = sequence_;
    selections_.resize(shape.num_kv_heads);
    runs_.resize(shape.num_kv_heads);
    selected_.runs = runs_;
    cut_ = std::make_unique<AttendPlan>(shape, std::span(&selected_, 1), 1);
    cut_->ReserveRuns({&selected_, 1});
    scratch_.resize(std::max(full_->scratch_bytes(), cut_->scratch_bytes()) + 64);
  }

  // Of all but as many entries as there will be rounds.
  void MakeIndices(const ReadRule& rule) {
    rule_ = rule;
    indices_.clear();
    for (HeadView head : heads_) {
      num_indexed_ = head.num_entries -= kRounds + 1;
      indices_.emplace_back(rule, shape_.key_dim, std::vector<uint16_t>(),
                            form_.packing != nullptr);
      indices_.back().Update(head, 0);
    }
  }

  double TimeFull() {
    const auto start = Clock::now();
    Attend(*full_, sequence_);
    return Since(start);
  }

  // Of the choice alone, and with attention.
  struct Times {
    double choice, all;
  };
  Times TimeSelected() {
    const auto start = Clock::now();
    std::vector<const float*> queries(shape_.group());
    for (uint32_t h = 0; h < shape_.num_kv_heads; ++h) {
      HeadView head = heads_[h];
      head.num_entries = num_indexed_ + 1;  // one more
      indices_[h].Update(head, num_indexed_);
      for (uint32_t i = 0; i < shape_.group(); ++i) queries[i] = Query(h * shape_.group() + i);
      SelectEntries(rule_, indices_[h], head, queries, shape_.scale, &select_scratch_,
                    &selections_[h]);
      runs_[h] = selections_[h].runs;
    }
    const double choice = Since(start);
    ++num_indexed_;
    cut_->Recut({&selected_, 1});
    Attend(*cut_, selected_);
    return {choice, Since(start)};
  }

  double IndexBytes() const {
    double bytes = 0;
    for (const KeyIndex& index : indices_) bytes += static_cast<double>(index.bytes());
    return bytes;
  }

  double ReadShare() const {
    double read = 0, held = 0;
    for (size_t h = 0; h < heads_.size(); ++h) {
      read += static_cast<double>(selections_[h].num_chosen);
      held += static_cast<double>(heads_[h].num_entries);
    }
    return read / held;
  }

  // The attention that the last choice keeps, as means over query heads: by its guess, of the
  // candidates (1 if it makes no guess), and in truth, of all entries, since what one query head
  // has chosen is read for all that share its KV head.
  struct Kept {
    double guessed = 0, true_share = 0;
  };
  Kept KeptAttention() const {
    Kept kept;
    for (uint32_t h = 0; h < shape_.num_query_heads; ++h) {
      const uint32_t kv_head = h / shape_.group();
      kept.guessed += selections_[kv_head].kept / shape_.num_query_heads;
      kept.true_share += TrueShare(h, selections_[kv_head]) / shape_.num_query_heads;
    }
    return kept;
  }

 private:
  double TrueShare(uint32_t query_head, const Selection& selection) const {
    const uint32_t dim = shape_.key_dim;
    const std::vector<float>& keys = keys_[query_head / shape_.group()];
    const float* query = &queries_[size_t{query_head} * dim];
    double kept = 0, all = 0;
    for (size_t i = 0; i < keys.size() / dim; ++i) {
      double dot = 0;
      for (size_t c = 0; c < dim; ++c) dot += double{keys[i * dim + c]} * query[c];
      const double weight = std::exp(dot * shape_.scale);
      all += weight;
      if ((selection.chosen[i / 8] >> i % 8 & 1) != 0) kept += weight;
    }
    return kept / all;
  }

  float* Query(uint32_t head) { return &queries_[size_t{head} * shape_.key_dim]; }

  // Queries of a group lie around a common one; keys are noise, and hot ones lean towards it.
  void AddHead(Rng& rng, uint32_t kv_head, uint32_t context) {
    const uint32_t dim = shape_.key_dim;
    std::vector<float> common(dim);
    float norm = 0;
    for (float& x : common) {
      x = 4 * rng.Float() - 2;
      norm += x * x;
    }
    for (uint32_t i = 0; i < shape_.group(); ++i) {
      float* query = Query(kv_head * shape_.group() + i);
      for (uint32_t c = 0; c < dim; ++c) query[c] = common[c] + 0.2f * (2 * rng.Float() - 1);
    }
    std::vector<float> keys(size_t{context} * dim);
    for (float& x : keys) x = 2 * rng.Float() - 1;
    const std::vector<bool> hot = HotEntries(context, run_, rng);
    double hot_sum = 0, cold_sum = 0;
    for (uint32_t i = 0; i < context; ++i) {
      double dot = 0;
      for (uint32_t c = 0; c < dim; ++c) dot += double{keys[size_t{i} * dim + c]} * common[c];
      (hot[i] ? hot_sum : cold_sum) += std::exp(dot * shape_.scale);
    }
    const double share = hot_sum / (hot_sum + cold_sum);
    const double slope = double{norm} * shape_.scale;
    const auto lean = static_cast<float>(LeanOf({&share, 1}, {&slope, 1}));
    for (uint32_t i = 0; i < context; ++i) {
      for (uint32_t c = 0; hot[i] && c < dim; ++c) keys[size_t{i} * dim + c] += lean * common[c];
    }
    AddList(Side::kKeys, keys, context);
    keys_.push_back(keys);
    for (float& x : keys) x = 2 * rng.Float() - 1;
    AddList(Side::kValues, keys, context);
    const size_t n = lists_.size();
    heads_.push_back({lists_[n - 2]->pages(), lists_[n - 1]->pages(), context});
  }

  void AddList(Side side, const std::vector<float>& rows, uint32_t context) {
    lists_.push_back(std::make_unique<BuiltList>(side, shape_.key_dim));
    const uint32_t group = form_.group(side), page = group > 0 ? group : kPage;
    for (uint32_t first = 0; first < context; first += page) {
      lists_.back()->AddPage(form_, page, std::min(page, context - first),
                             &rows[size_t{first} * shape_.key_dim], static_cast<int32_t>(first),
                             nullptr);
    }
  }

  void Attend(const AttendPlan& plan, const AttendSequence& sequence) {
    std::atomic<uint32_t> next_item{0};
    void* scratch = scratch_.data();
    size_t room = scratch_.size();
    const AttendCall call{&plan,
                          std::span(&sequence, 1),
                          queries_.data(),
                          queries_.size(),
                          out_.data(),
                          out_.size(),
                          static_cast<std::byte*>(std::align(64, 1, scratch, room)),
                          &next_item};
    AttendPartial(call, 0, 1);
    AttendMerge(call, 0, 1);
  }

  AttendShape shape_;
  const Form& form_;
  uint32_t run_;
  std::vector<int32_t> position_;
  std::vector<std::unique_ptr<BuiltList>> lists_;
  std::vector<std::vector<float>> keys_;  // [kv_head][context][dim]
  std::vector<HeadView> heads_;
  AttendSequence sequence_, selected_;
  std::unique_ptr<AttendPlan> full_, cut_;
  ReadRule rule_;
  std::vector<KeyIndex> indices_;
  uint64_t num_indexed_ = 0;
  std::vector<Selection> selections_;
  std::vector<std::span<const EntryRun>> runs_;
  SelectScratch select_scratch_;
  std::vector<float> queries_, out_;
  std::vector<std::byte> scratch_;
};

struct Row {
  const char* name;
  ReadRule rule;
};

double MedianOf(std::vector<double> times) {
  std::ranges::nth_element(times, times.begin() + kRounds / 2);
  return times[kRounds / 2];
}

void Report(const Row& row, const Form& form, uint32_t dim, uint32_t context, uint32_t run,
            Layer& layer) {
  layer.MakeIndices(row.rule);
  std::vector<double> full, choice, all;
  for (int i = -1; i < kRounds; ++i) {  // the first round only warms up
    const double a = layer.TimeFull();
    const auto b = layer.TimeSelected();
    if (i < 0) continue;
    full.push_back(a);
    choice.push_back(b.choice);
    all.push_back(b.all);
  }
  const Layer::Kept kept = layer.KeptAttention();
  const double a = MedianOf(full), b = MedianOf(choice), c = MedianOf(all);
  fmt::print(
      "{}, {}, head size {}, context {}, hot entries in runs of {}: full {:.3f} ms; choice {:.3f} "
      "ms, {:.3f} of full; {:.1f} % read, all {:.3f} ms, {:.1f} times as fast; keeps {:.1f} % of "
      "the attention; index {:.1f} MiB",
      row.name, form.name, dim, context, run, a, b, b / a, 100 * layer.ReadShare(), c, a / c,
      100 * kept.true_share, layer.IndexBytes() / (1 << 20));
  if (row.rule.top_p > 0) {
    fmt::print(", by its guess {:.1f} % of that of the candidates", 100 * kept.guessed);
  }
  fmt::print("\n");
  std::fflush(stdout);
}

}  // namespace

void ReportSelection(uint32_t query_heads, uint32_t kv_heads, uint32_t dim, uint32_t context,
                     const Form& form) {
  const AttendShape shape{
      query_heads, kv_heads, dim, dim, 1.0f / std::sqrt(static_cast<float>(dim)), 0};
  using Base = ReadRule::Base;
  const Row rows[] = {
      {"quest(budget=1024)", {.base = Base::kPages, .budget = 1024, .least_pages = 3}},
      {"twilight(p=0.85,base=quest)", {.base = Base::kPages, .share = 0.25, .top_p = 0.85}},
      {"twilight(p=0.85,base=all)", {.base = Base::kAll, .top_p = 0.85}}};
  for (const uint32_t run : {kHotRun, 1u}) {
    Layer layer(shape, form, context, run);
    for (const Row& row : rows) Report(row, form, dim, context, run, layer);
  }
}

}  // namespace pith
