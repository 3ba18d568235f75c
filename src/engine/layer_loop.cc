#include "engine/layer_loop.h"

#include <algorithm>
#include <numeric>

#include "base/check.h"
#include "engine/attention_rows.h"
#include "engine/sealing.h"

namespace pith {

// Keeps the queries of the judges while a chunk goes through a layer.
class LayerLoop::Watch : public StepObserver {
 public:
  // `first_row` is the chunk's first among the layer's rows, `first_judge` the first judge.
  Watch(LayerLoop* loop, size_t first_row, size_t first_judge)
      : loop_(*loop), first_row_(first_row), first_judge_(first_judge) {}

  void Observe(uint32_t, const SequenceCache&, const QueryRows& queries, const QueryRows&,
               int thread, int num_threads) override {
    const HyperParams& p = loop_.model_.params();
    const auto step = static_cast<size_t>(num_threads);
    for (auto row = static_cast<size_t>(thread); row < queries.count; row += step) {
      if (first_row_ + row < first_judge_) continue;
      float* out =
          loop_.queries_.data() + (first_row_ + row - first_judge_) * p.num_query_heads * p.key_dim;
      for (uint32_t head = 0; head < p.num_query_heads; ++head, out += p.key_dim) {
        std::copy_n(queries.Row(head, row), p.key_dim, out);
      }
    }
  }

 private:
  LayerLoop& loop_;
  size_t first_row_, first_judge_;
};

LayerLoop::LayerLoop(const Model& model, StepRunner& runner, size_t chunk, Sequence& sequence)
    : model_(model),
      runner_(runner),
      chunk_(chunk),
      sequence_(sequence),
      state_(sequence.admission),
      part_(*sequence.kv.plan.admit.part),
      parameters_(sequence.kv.plan.admit.values),
      num_layers_(model.params().num_layers),
      width_(model.params().width) {}

Result<std::span<const float>> LayerLoop::Run(std::span<const int32_t> tokens,
                                              const FeedProgress& progress) {
  tokens_ = tokens;
  judges_ = part_.judges(parameters_, tokens.size());
  const size_t old = sequence_.tokens.size();
  rows_.positions.resize(tokens.size());
  std::iota(rows_.positions.begin(), rows_.positions.end(), static_cast<int32_t>(old));
  rows_.hidden.resize(tokens.size() * width_);
  if (part_.revives) {
    active_.resize(old + tokens.size());
    std::iota(active_.begin(), active_.end(), 0);
  }
  const auto end = static_cast<int32_t>(old + tokens.size());
  const AdmitBlock block = part_.block == nullptr ? AdmitBlock{} : part_.block(parameters_, 0, 1);
  state_.blocks = block.size == 0 ? GeneratedBlocks()
                                  : GeneratedBlocks(model_.shape(), judges_, block.size, end);

  std::span<const float> logits;
  for (layer_ = 0; layer_ < num_layers_; ++layer_) {
    auto result = RunLayer();
    if (!result) {
      GoBack();
      return result;
    }
    logits = *result;
    const size_t done = tokens.size() * (layer_ + 1) / num_layers_;
    if (progress && !progress(done, tokens.size()) && layer_ + 1 < num_layers_) {
      GoBack();
      return Failure("interrupted");
    }
  }
  sequence_.tokens.insert(sequence_.tokens.end(), tokens.begin(), tokens.end());
  return logits;
}

Result<std::span<const float>> LayerLoop::RunLayer() {
  num_done_ = 0;
  if (part_.revives && layer_ > 0) TakeWaiting();
  const size_t num_rows = rows_.positions.size();
  const bool drops = layer_ + 1 < num_layers_ && part_.drops(parameters_, layer_, num_layers_);
  const bool judged = drops || state_.blocks.active();
  const size_t first_judge = judged ? num_rows - judges_.rows : num_rows;
  const HyperParams& p = model_.params();
  const size_t query_size = size_t{p.num_query_heads} * p.key_dim;
  queries_.resize((num_rows - first_judge) * query_size);

  std::span<const float> logits;
  while (num_done_ < num_rows) {
    const size_t count = std::min(chunk_, num_rows - num_done_);
    PITH_TRY(
        sequence_.cache.InsertLayer(layer_, std::span(rows_.positions).subspan(num_done_, count)));
    auto result = RunChunk(num_done_, count);
    if (!result) {
      PITH_TRY(Forget(std::span(rows_.positions).subspan(num_done_, count)));
      return result;
    }
    logits = *result;
    num_done_ += count;
    state_.computed[layer_] += count;
  }
  if (judged) {
    const auto scores =
        Judge({queries_.data(), query_size, p.key_dim, num_rows - first_judge}, drops);
    if (drops) Choose(scores);
  }
  PITH_TRY(SealTails(
      sequence_.kv.plan.storage, false, [this](const auto& work) { runner_.Parallel(work); },
      sequence_));
  return logits;
}

// The rows of a chunk, whose entries are declared.
Result<std::span<const float>> LayerLoop::RunChunk(size_t first_row, size_t count) {
  const SequenceCache& cache = sequence_.cache;
  const auto positions = std::span<const int32_t>(rows_.positions).subspan(first_row, count);
  std::vector<int32_t> there(cache.num_entries(layer_, 0));
  cache.Positions(layer_, 0, there);
  std::vector<uint32_t> entries;  // of the rows, if they are not the last ones
  if (there.size() < count || there[there.size() - count] != positions.front()) {
    for (const int32_t position : positions) {
      const auto entry = std::ranges::lower_bound(there, position) - there.begin();
      entries.push_back(static_cast<uint32_t>(entry));
    }
  }
  LookAt(there);

  const size_t first_judge =
      rows_.positions.size() -
      queries_.size() / (size_t{model_.params().num_query_heads} * model_.params().key_dim);
  Watch watch(this, first_row, first_judge);
  const bool watched = first_row + count > first_judge;
  const std::vector<std::span<const EntryRun>> runs(runs_.empty() ? 0 : cache.spec().num_kv_heads,
                                                    runs_);
  const StepSequence sequence{.cache = &sequence_.cache,
                              .num_rows = static_cast<uint32_t>(count),
                              .observer = watched ? &watch : nullptr,
                              .entries = entries,
                              .runs = runs};
  std::vector<int32_t> outputs;
  const bool at_end = first_row + count == rows_.positions.size();
  if (layer_ + 1 == num_layers_ && at_end) outputs.push_back(static_cast<int32_t>(count) - 1);
  const std::span<float> hidden =
      std::span(rows_.hidden).subspan(first_row * width_, count * width_);
  return runner_.Run({.tokens = layer_ == 0 ? tokens_.subspan(first_row, count) : tokens_.first(0),
                      .positions = positions,
                      .sequences = {&sequence, 1},
                      .outputs = outputs,
                      .part = LayerStep{layer_, hidden}});
}

// The layer's entries at these positions, which were declared and not computed.
Status LayerLoop::Forget(std::span<const int32_t> positions) {
  for (uint32_t head = 0; head < sequence_.cache.spec().num_kv_heads; ++head) {
    std::vector<int32_t> there(sequence_.cache.num_entries(layer_, head));
    sequence_.cache.Positions(layer_, head, there);
    std::vector<uint32_t> others;
    for (uint32_t i = 0; i < there.size(); ++i) {
      if (!std::ranges::binary_search(positions, there[i])) others.push_back(i);
    }
    PITH_TRY(sequence_.cache.Keep(layer_, head, others));
  }
  return {};
}

// Those that the layer looks at and that stopped before it go on with the others.
void LayerLoop::TakeWaiting() {
  TokenRows& waiting = state_.waiting[layer_ - 1];
  std::vector<uint32_t> wanted;
  for (uint32_t i = 0; i < waiting.positions.size(); ++i) {
    if (std::ranges::binary_search(active_, waiting.positions[i])) wanted.push_back(i);
  }
  rows_.Merge(waiting.Extract(wanted, width_), width_);
}

// The entries of the layer are at the positions `there`.
void LayerLoop::LookAt(std::span<const int32_t> there) {
  runs_.clear();
  if (!part_.revives) return;
  for (uint32_t i = 0; i < there.size(); ++i) {
    if (!std::ranges::binary_search(active_, there[i])) continue;
    if (runs_.empty() || runs_.back().first + runs_.back().count != i) runs_.push_back({i, 0});
    ++runs_.back().count;
  }
  if (runs_.size() == 1 && runs_.front().count == there.size()) runs_.clear();
}

// The scores of all that the layer looks at, if they are wanted, and what there is to say about
// the blocks to come.
std::vector<float> LayerLoop::Judge(const QueryRows& queries, bool wants_scores) {
  const uint32_t num_heads = model_.params().num_query_heads;
  size_t n = runs_.empty() ? sequence_.cache.num_entries(layer_, 0) : 0;
  for (const EntryRun& run : runs_) n += run.count;
  const GeneratedBlocks& blocks = state_.blocks;
  std::vector<std::vector<float>> sums(num_heads, std::vector<float>(wants_scores ? n : 0));
  std::vector<std::vector<float>> block_sums(
      num_heads, std::vector<float>(blocks.active() ? blocks.columns() : 0));
  const double step = queries.count > 1 ? (judges_.newest_weight - judges_.oldest_weight) /
                                              static_cast<double>(queries.count - 1)
                                        : 0;
  const int32_t first_position = rows_.positions.back() + 1 - static_cast<int32_t>(queries.count);
  runner_.Parallel([&](int thread, int num_threads) {
    const auto see = [&](uint32_t head, size_t row, std::span<const float> probabilities) {
      if (blocks.active()) {
        blocks.AddAttention(first_position + static_cast<int32_t>(row), probabilities,
                            block_sums[head]);
      }
      if (!wants_scores) return;
      const auto weight =
          static_cast<float>(judges_.oldest_weight + step * static_cast<double>(row));
      float* const sum = sums[head].data();
      for (size_t i = 0; i < probabilities.size(); ++i) sum[i] += weight * probabilities[i];
    };
    VisitAttentionRows(sequence_.cache, layer_, num_heads, runs_, queries, thread, num_threads,
                       see);
  });
  if (blocks.active()) state_.blocks.AddScores(layer_, block_sums);
  std::vector<float> scores(wants_scores ? n : 0);
  const auto count = static_cast<float>(num_heads * queries.count);
  for (const auto& sum : sums) {
    for (size_t i = 0; i < scores.size(); ++i) scores[i] += sum[i] / count;
  }
  return scores;
}

// Drops rows behind the layer.
void LayerLoop::Choose(std::span<const float> scores) {
  const std::vector<int32_t>& judged = part_.revives ? active_ : rows_.positions;
  std::vector<uint32_t> kept;
  part_.admit({.layer = layer_,
               .num_layers = num_layers_,
               .num_tokens = tokens_.size(),
               .positions = judged,
               .scores = scores.last(judged.size())},
              parameters_, &kept);
  PITH_CHECK(!kept.empty() && kept.back() + 1 == judged.size());
  std::vector<int32_t> next;
  for (const uint32_t i : kept) next.push_back(judged[i]);
  std::vector<uint32_t> dropped;
  for (uint32_t i = 0; i < rows_.positions.size(); ++i) {
    if (!std::ranges::binary_search(next, rows_.positions[i])) dropped.push_back(i);
  }
  const TokenRows gone = rows_.Extract(dropped, width_);
  num_done_ = rows_.positions.size();
  if (!part_.revives) return;
  state_.waiting[layer_].Merge(gone, width_);
  active_ = std::move(next);
}

// New tokens are forgotten; earlier ones wait behind the last layer that they have gone through.
void LayerLoop::GoBack() {
  const size_t old = sequence_.tokens.size();
  sequence_.Truncate(old);
  if (!part_.revives) return;
  std::vector<uint32_t> done, others;
  for (uint32_t i = 0; i < rows_.positions.size(); ++i) {
    if (static_cast<size_t>(rows_.positions[i]) >= old) break;
    (i < num_done_ ? done : others).push_back(i);
  }
  TokenRows ahead = rows_.Extract(done, width_);
  for (uint32_t& i : others) i -= static_cast<uint32_t>(done.size());
  if (layer_ + 1 < num_layers_) state_.waiting[layer_].Merge(ahead, width_);
  if (layer_ > 0) state_.waiting[layer_ - 1].Merge(rows_.Extract(others, width_), width_);
}

}  // namespace pith
