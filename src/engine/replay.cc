#include "engine/replay.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <mutex>

#include "base/log.h"
#include "kernel/probability.h"

namespace pith {
namespace {

constexpr size_t kReminder = 8;  // tokens of the piece before that are quoted

// A piece of the text, as it is repeated.
struct Piece {
  std::vector<int32_t> tokens;         // what the model reads: the request, then the piece
  std::vector<PositionRange> visible;  // ascending and disjoint: the text that it is scored against
};

// Entries [begin, end) of a head.
struct EntryRange {
  size_t begin, end;
};

// Notes the highest probabilities of the entries that the piece is scored against.
class ReplayObserver : public StepObserver {
 public:
  ReplayObserver(const ModelShape& shape, const SequenceCache& cache, int32_t text_end)
      : shape_(shape), text_end_(text_end) {
    for (uint32_t layer = 0; layer < shape.num_layers; ++layer) {
      for (uint32_t head = 0; head < shape.num_kv_heads; ++head) {
        scores_.emplace_back(cache.num_entries(layer, head));
      }
    }
  }

  // Before a step with so many tokens of the piece.
  void Begin(const Piece& piece, size_t num_rows) {
    visible_ = piece.visible;
    num_rows_ = num_rows;
  }

  void Observe(uint32_t layer, const SequenceCache& cache, const QueryRows& queries,
               const QueryRows&, int thread, int num_threads) override {
    for (auto head = static_cast<uint32_t>(thread); head < shape_.num_query_heads;
         head += static_cast<uint32_t>(num_threads)) {
      ObserveHead(layer, head, cache, queries);
    }
  }

  std::vector<std::vector<float>> TakeScores() { return std::move(scores_); }

 private:
  void ObserveHead(uint32_t layer, uint32_t head, const SequenceCache& cache,
                   const QueryRows& queries);
  // The visible entries of the text, and last those of the repetition.
  std::vector<EntryRange> RangesOf(uint32_t layer, uint32_t kv_head,
                                   const SequenceCache& cache) const;

  const ModelShape& shape_;
  int32_t text_end_;
  std::span<const PositionRange> visible_;
  size_t num_rows_ = 0;
  std::mutex mutex_;                        // of the scores: the heads of a group share them
  std::vector<std::vector<float>> scores_;  // [layer][kv_head][entries]
};

std::vector<EntryRange> ReplayObserver::RangesOf(uint32_t layer, uint32_t kv_head,
                                                 const SequenceCache& cache) const {
  std::vector<int32_t> positions(cache.num_entries(layer, kv_head));
  cache.Positions(layer, kv_head, positions);
  const auto entry_at = [&](int32_t position) {
    return static_cast<size_t>(std::ranges::lower_bound(positions, position) - positions.begin());
  };
  std::vector<EntryRange> ranges;
  for (const auto& [begin, end] : visible_) ranges.push_back({entry_at(begin), entry_at(end)});
  ranges.push_back({entry_at(text_end_), positions.size()});
  return ranges;
}

void ReplayObserver::ObserveHead(uint32_t layer, uint32_t head, const SequenceCache& cache,
                                 const QueryRows& queries) {
  const uint32_t dim = shape_.key_dim;
  const uint32_t kv_head = head / (shape_.num_query_heads / shape_.num_kv_heads);
  const std::vector<EntryRange> ranges = RangesOf(layer, kv_head, cache);
  std::vector<float> key_rows;
  for (const EntryRange& range : ranges) {
    const size_t count = range.end - range.begin;
    key_rows.resize(key_rows.size() + count * dim);
    cache.ReadKeys(layer, kv_head, range.begin, static_cast<uint32_t>(count),
                   key_rows.data() + key_rows.size() - count * dim);
  }
  const PackedKeys keys(key_rows, dim);
  const size_t of_text = keys.count() - (ranges.back().end - ranges.back().begin);
  const size_t stride = keys.padded_count();
  const float scale = 1.0f / std::sqrt(static_cast<float>(dim));
  std::vector<float> probabilities(kProbabilityRows * stride), highest(of_text);
  for (size_t first = 0; first < num_rows_; first += kProbabilityRows) {
    ProbabilityQuery asked[kProbabilityRows];
    const size_t count = std::min(kProbabilityRows, num_rows_ - first);
    for (size_t i = 0; i < count; ++i) {
      asked[i] = {queries.Row(head, first + i), keys.count() - num_rows_ + first + i + 1};
    }
    Probabilities(keys, {asked, count}, scale, probabilities.data(), stride);
    for (size_t i = 0; i < count; ++i) {
      const float* const row = probabilities.data() + i * stride;
      for (size_t j = 0; j < of_text; ++j) highest[j] = std::max(highest[j], row[j]);
    }
  }

  const std::scoped_lock lock(mutex_);
  std::vector<float>& scores = scores_[size_t{layer} * shape_.num_kv_heads + kv_head];
  const float* next = highest.data();
  for (const EntryRange& range : std::span(ranges).first(ranges.size() - 1)) {
    for (size_t j = range.begin; j < range.end; ++j, ++next) scores[j] = std::max(scores[j], *next);
  }
}

// Ascending and disjoint.
std::vector<PositionRange> Union(std::vector<PositionRange> ranges) {
  std::ranges::sort(ranges);
  std::vector<PositionRange> merged;
  for (const PositionRange& range : ranges) {
    if (range.first >= range.second) continue;
    if (!merged.empty() && range.first <= merged.back().second) {
      merged.back().second = std::max(merged.back().second, range.second);
    } else {
      merged.push_back(range);
    }
  }
  return merged;
}

std::vector<Piece> PiecesOf(const Sequence& sequence, const ReplayText& text, uint32_t chunk,
                            uint32_t sinks) {
  std::vector<PositionRange> always = sequence.pinned;
  always.emplace_back(0, static_cast<int32_t>(sinks));
  always = Union(std::move(always));
  std::vector<int32_t> repeated;  // positions
  for (int32_t i = 0; i < static_cast<int32_t>(sequence.tokens.size()); ++i) {
    const auto holds = [i](const PositionRange& r) { return i >= r.first && i < r.second; };
    if (std::ranges::none_of(always, holds)) repeated.push_back(i);
  }
  const auto token_at = [&](size_t i) { return sequence.tokens[static_cast<size_t>(repeated[i])]; };
  std::vector<Piece> pieces;
  for (size_t first = 0; first < repeated.size(); first += chunk) {
    const size_t end = std::min<size_t>(repeated.size(), first + chunk);
    Piece piece;
    piece.tokens = first == 0 ? text.first : text.later;
    for (size_t i = first - std::min(first, kReminder); i < first; ++i) {
      piece.tokens.push_back(token_at(i));
    }
    piece.tokens.insert(piece.tokens.end(), text.turn.begin(), text.turn.end());
    for (size_t i = first; i < end; ++i) piece.tokens.push_back(token_at(i));
    std::vector<PositionRange> visible = always;
    visible.emplace_back(repeated[first], repeated[end - 1] + 1);
    piece.visible = Union(std::move(visible));
    pieces.push_back(std::move(piece));
  }
  return pieces;
}

Status CheckRoom(std::span<const Piece> pieces, size_t text_tokens, uint32_t context) {
  size_t longest = 0;
  for (const Piece& piece : pieces) longest = std::max(longest, piece.tokens.size());
  if (text_tokens + longest <= context) return {};
  return InputError(
      fmt::format("the text of {} tokens is repeated {} tokens at a time, and the context of {} "
                  "has no room for that behind it",
                  text_tokens, longest, context),
      "recipe", "Take a smaller kvzip(chunk=...), a larger --ctx or a shorter text.");
}

Status RepeatPiece(const ReplayTools& tools, const Piece& piece, const Sequence& sequence,
                   ReplayObserver& observer, const std::function<bool(size_t)>& go_on) {
  SequenceCache cache = sequence.cache.Fork();
  std::vector<int32_t> positions(piece.tokens.size());
  for (size_t i = 0; i < positions.size(); ++i) {
    positions[i] = static_cast<int32_t>(sequence.tokens.size() + i);
  }
  for (size_t done = 0; done < positions.size();) {
    const size_t count = std::min<size_t>(tools.step_rows, positions.size() - done);
    const auto step = std::span(positions).subspan(done, count);
    PITH_TRY(cache.Extend(step));
    observer.Begin(piece, count);
    const StepSequence rows = {
        &cache,          0, static_cast<uint32_t>(count), &observer, &sequence.compensation,
        &sequence.folded};
    PITH_TRY(
        tools.runner.Run({std::span(piece.tokens).subspan(done, count), step, {&rows, 1}, {}}));
    done += count;
    if (!go_on(count)) return Failure("interrupted");
  }
  return {};
}

}  // namespace

Result<ReplayText> MakeReplayText(const Tokenizer& tokenizer) {
  ReplayText text;
  PITH_ASSIGN(text.first,
              tokenizer.Tokenize("\n\nRepeat the previous context exactly.", false, false));
  PITH_ASSIGN(text.later, tokenizer.Tokenize(
                              "\n\nRepeat the part of the previous context exactly, starting with",
                              false, false));
  std::string turn = "\n";
  if (tokenizer.has_chat_template()) {
    if (auto parts = tokenizer.UserTurn()) {
      turn = parts->after;
    } else {
      Log(LogLevel::kWarning,
          "the text is repeated without the turns of a chat: " + parts.error().what);
    }
  }
  PITH_ASSIGN(text.turn, tokenizer.Tokenize(turn, false, true));
  return text;
}

Result<std::vector<std::vector<float>>> Replay(const ReplayTools& tools, const Sequence& sequence,
                                               uint32_t chunk, uint32_t sinks) {
  const std::vector<Piece> pieces = PiecesOf(sequence, tools.text, chunk, sinks);
  PITH_TRY(CheckRoom(pieces, sequence.tokens.size(), tools.context));
  size_t total = 0, done = 0;
  for (const Piece& piece : pieces) total += piece.tokens.size();
  Log(LogLevel::kInfo, fmt::format("the text is repeated to judge it: {} tokens", total));
  const auto text_end = static_cast<int32_t>(sequence.tokens.size());
  ReplayObserver observer(tools.shape, sequence.cache, text_end);
  for (const Piece& piece : pieces) {
    PITH_TRY(RepeatPiece(tools, piece, sequence, observer, [&](size_t count) {
      done += count;
      return !tools.progress || tools.progress(done, total);
    }));
  }
  return observer.TakeScores();
}

}  // namespace pith
