#include "calibrate/retrieval.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "calibrate/origin.h"
#include "engine/attention_rows.h"
#include "eval/metric/scores.h"

namespace pith {
namespace {

constexpr double kRightEnough = 0.5;

std::string_view RuleName(RetrievalRule rule) {
  return rule == RetrievalRule::kCopy ? "HeadKV-R" : "HeadKV-R2";
}

// What a step adds to a head's score.
double StepScore(const TargetRows::Row& row, const NeedleSample& sample, RetrievalRule rule,
                 int32_t generated) {
  const auto count = static_cast<double>(sample.end - sample.begin);
  if (rule == RetrievalRule::kMass) return row.mass / count;
  const bool on_target = row.highest >= sample.begin && row.highest < sample.end;
  return on_target && sample.prompt[row.highest] == generated ? 1 / count : 0;
}

// The way out for a model that cannot answer.
std::string EasierNeedle(const NeedleKind& kind) {
  std::string easier;
  for (const NeedleKind& other : NeedleKinds()) {
    if (&other <= &kind) continue;
    easier += fmt::format("{}--needle {}", easier.empty() ? "" : " or ", other.name);
  }
  return (easier.empty() ? "Take" : "Take " + easier + ",") +
         " shorter texts (--ctx) or another model.";
}

}  // namespace

size_t HighestEntry(std::span<const float> probabilities) {
  return static_cast<size_t>(std::ranges::max_element(probabilities) - probabilities.begin());
}

double MassOnTarget(std::span<const float> probabilities, size_t begin, size_t end) {
  std::vector<uint32_t> entries(probabilities.size());
  std::iota(entries.begin(), entries.end(), 0u);
  const auto highest = entries.begin() + static_cast<ptrdiff_t>(end - begin);
  std::partial_sort(entries.begin(), highest, entries.end(), [&](uint32_t a, uint32_t b) {
    return probabilities[a] != probabilities[b] ? probabilities[a] > probabilities[b] : a < b;
  });
  double mass = 0;
  for (auto entry = entries.begin(); entry != highest; ++entry) {
    if (*entry >= begin && *entry < end) mass += double{probabilities[*entry]};
  }
  return mass;
}

bool IsAnswered(RetrievalRule rule, std::string_view response, std::string_view answer) {
  Item item;
  item.answers = {std::string(answer)};
  return (rule == RetrievalRule::kCopy ? Rouge1Recall(response, item) : QaF1(response, item)) >
         kRightEnough;
}

TargetRows::TargetRows(const ModelShape& shape, size_t begin, size_t end)
    : num_query_heads_(shape.num_query_heads),
      begin_(begin),
      end_(end),
      rows_(size_t{shape.num_layers} * shape.num_query_heads) {}

void TargetRows::Observe(uint32_t layer, const SequenceCache& cache, const QueryRows& queries,
                         const QueryRows&, int thread, int num_threads) {
  const auto see = [&](uint32_t head, size_t, std::span<const float> probabilities) {
    rows_[size_t{layer} * num_query_heads_ + head] = {HighestEntry(probabilities),
                                                      MassOnTarget(probabilities, begin_, end_)};
  };
  VisitAttentionRows(cache, layer, num_query_heads_, queries, thread, num_threads, see);
}

Result<SampleScores> ScoreSample(Engine& engine, const NeedleSample& sample, RetrievalRule rule,
                                 const FeedProgress& progress) {
  TargetRows rows(engine.model().shape(), sample.begin, sample.end);
  SampleScores result;
  result.scores.resize(rows.rows().size());
  Sequence sequence = engine.NewSequence();
  Sequence* const one[] = {&sequence};
  const size_t all_but_one = sample.prompt.size() - 1;
  PITH_TRY(engine.Feed(sequence, std::span(sample.prompt).first(all_but_one), progress));
  sequence.watcher = &rows;
  int32_t token = sample.prompt.back();
  for (uint32_t step = 0; step < sample.max_steps; ++step) {
    PITH_ASSIGN(const std::span<const float> logits, engine.Step(one, {&token, 1}));
    token = static_cast<int32_t>(HighestEntry(logits));
    for (size_t head = 0; head < result.scores.size(); ++head) {
      result.scores[head] += StepScore(rows.rows()[head], sample, rule, token);
    }
    if (engine.tokenizer().IsEndOfGeneration(token)) break;
    const std::string piece = engine.tokenizer().Piece(token);
    result.response += piece;
    if (piece.find('\n') != std::string::npos) break;
  }
  return result;
}

Result<RetrievalScores> ScoreHeads(Engine& engine, std::span<const NeedleSample> samples,
                                   RetrievalRule rule, const FeedProgress& progress) {
  size_t total = 0, before = 0;
  for (const NeedleSample& sample : samples) total += sample.prompt.size();
  RetrievalScores result;
  std::vector<double> sums;
  for (const NeedleSample& sample : samples) {
    PITH_ASSIGN(const SampleScores one,
                ScoreSample(engine, sample, rule, Part(progress, before, total)));
    before += sample.prompt.size();
    if (!IsAnswered(rule, one.response, sample.answer)) continue;
    ++result.answered;
    sums.resize(one.scores.size());
    std::ranges::transform(sums, one.scores, sums.begin(), std::plus<>());
  }
  if (result.answered == 0) return result;
  const double sum = std::accumulate(sums.begin(), sums.end(), 0.0);
  if (!(sum > 0)) {
    return InputError("no head looks at the answers", engine.options().model_path,
                      "Take --scores r2, which counts smaller probabilities too.");
  }
  for (const double score : sums) result.scores.push_back(static_cast<float>(score / sum));
  return result;
}

Result<Profile> CalibrateRetrieval(Engine& engine, const NeedleRequest& request, RetrievalRule rule,
                                   const FeedProgress& progress) {
  PITH_ASSIGN(const std::vector<NeedleSample> samples, MakeNeedleSamples(request));
  PITH_ASSIGN(RetrievalScores scored, ScoreHeads(engine, samples, rule, progress));
  if (scored.answered * 2 < samples.size()) {
    return InputError(
        fmt::format("the model answers {} of {} questions about the {} needle, and it must be half",
                    scored.answered, samples.size(), request.kind.name),
        engine.options().model_path, EasierNeedle(request.kind));
  }
  const std::vector<uint32_t> lengths = NeedleLengths(request.context);
  Profile profile;
  profile.heads.retrieval = std::move(scored.scores);
  SetOrigin(kProfileRetrieval,
            fmt::format("{}: {}, {} of {} questions about the {} needle answered in {} to {} "
                        "tokens of {} text, seed {}",
                        MeasuredOn(engine), RuleName(rule), scored.answered, samples.size(),
                        request.kind.name, lengths.front(), lengths.back(),
                        request.haystack.source(), request.seed),
            &profile);
  return profile;
}

}  // namespace pith
