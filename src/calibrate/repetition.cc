#include "calibrate/repetition.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/rng.h"
#include "calibrate/origin.h"
#include "engine/attention_rows.h"

namespace pith {
namespace {

constexpr size_t kCopies = 4, kLength = 2500;
constexpr size_t kLeast = 8;  // tokens of a copy

}  // namespace

RepetitionScores::RepetitionScores(const ModelShape& shape, size_t first, size_t length)
    : num_query_heads_(shape.num_query_heads),
      first_(first),
      length_(length),
      sums_(size_t{shape.num_layers} * shape.num_query_heads) {}

void RepetitionScores::Observe(uint32_t layer, const SequenceCache& cache, const QueryRows& queries,
                               const QueryRows&, int thread, int num_threads) {
  const auto see = [&](uint32_t head, size_t, std::span<const float> probabilities) {
    See(size_t{layer} * num_query_heads_ + head, probabilities);
  };
  VisitAttentionRows(cache, layer, num_query_heads_, queries, thread, num_threads, see);
}

void RepetitionScores::See(size_t head, std::span<const float> probabilities) {
  const size_t row = probabilities.size() - 1;
  if (row < first_ + length_) return;
  Sums& sums = sums_[head];
  ++sums.rows;
  for (size_t back = length_; back <= row - first_; back += length_) {
    sums.echo += double{probabilities[row - back]};
    sums.induction += double{probabilities[row - back + 1]};
  }
}

// Rounding may take a sum of probabilities beyond 1.
std::vector<float> RepetitionScores::Means(double Sums::* sum) const {
  std::vector<float> means;
  for (const Sums& head : sums_) {
    const double mean = head.*sum / static_cast<double>(std::max<uint64_t>(1, head.rows));
    means.push_back(static_cast<float>(std::min(1.0, mean)));
  }
  return means;
}

// The paper's code draws ids with repetition, so that copies have equal tokens inside and both
// scores blur. Here they are all different.
Result<RepeatedTokens> MakeRepeatedTokens(const Tokenizer& tokenizer, uint64_t seed,
                                          uint32_t context) {
  std::vector<int32_t> ordinary;
  for (int32_t token = 0; token < static_cast<int32_t>(tokenizer.vocabulary_size()); ++token) {
    if (tokenizer.IsControl(token) || tokenizer.IsEndOfGeneration(token)) continue;
    if (!tokenizer.Piece(token).empty()) ordinary.push_back(token);
  }
  RepeatedTokens repeated;
  if (tokenizer.bos() >= 0) repeated.tokens.push_back(tokenizer.bos());
  repeated.first = repeated.tokens.size();
  const size_t room = context - std::min<size_t>(context, repeated.first);
  repeated.length = std::min({kLength, room / kCopies, ordinary.size()});
  if (repeated.length < kLeast) {
    return InputError(fmt::format("{} tokens cannot be repeated {} times in a context of {}",
                                  kLeast, kCopies, context),
                      "echo and induction scores", "Give a larger --ctx.");
  }
  Rng rng(seed);
  rng.Shuffle(std::span(ordinary));
  ordinary.resize(repeated.length);
  for (size_t copy = 0; copy < kCopies; ++copy) {
    repeated.tokens.insert(repeated.tokens.end(), ordinary.begin(), ordinary.end());
  }
  return repeated;
}

Result<Profile> CalibrateEcho(Engine& engine, uint64_t seed, uint32_t context,
                              const FeedProgress& progress) {
  PITH_ASSIGN(const RepeatedTokens repeated, MakeRepeatedTokens(engine.tokenizer(), seed, context));
  const auto tokens = std::span(repeated.tokens);
  const size_t head_start = repeated.first + repeated.length;  // rows that are not judged
  RepetitionScores scores(engine.model().shape(), repeated.first, repeated.length);
  Sequence sequence = engine.NewSequence();
  PITH_TRY(engine.Feed(sequence, tokens.first(head_start), Part(progress, 0, tokens.size())));
  sequence.watcher = &scores;
  PITH_TRY(
      engine.Feed(sequence, tokens.subspan(head_start), Part(progress, head_start, tokens.size())));
  Profile profile;
  profile.heads.echo = scores.Echo();
  profile.heads.induction = scores.Induction();
  SetOrigin(kProfileEcho,
            fmt::format("{}: {} random tokens, {} times, seed {}", MeasuredOn(engine),
                        repeated.length, kCopies, seed),
            &profile);
  return profile;
}

}  // namespace pith
