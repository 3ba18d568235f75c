#include "eval/speed.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "eval/llama_peer.h"
#include "eval/memory_peak.h"
#include "eval/speed_json.h"
#include "eval/synthetic_fill.h"
#include "make_model/make_model.h"
#include "model/weights.h"

namespace pith {
namespace {

// Feeds nothing; writes down what it is asked to do.
class Scribe : public Contestant {
 public:
  Scribe(std::string name, std::string* log) : name_(std::move(name)), log_(log) {}
  std::string_view name() const override { return name_; }
  Result<std::span<const float>> Feed(std::span<const int32_t> tokens) override {
    *log_ += name_ + "+" + std::to_string(tokens.size()) + " ";
    return std::span<const float>();
  }
  Status Rewind(uint32_t position) override {
    *log_ += name_ + "@" + std::to_string(position) + " ";
    return {};
  }
  Status Fill(uint32_t count) override {
    *log_ += name_ + "=" + std::to_string(count) + " ";
    return {};
  }
  void Rest() override { *log_ += name_ + ". "; }

 private:
  std::string name_;
  std::string* log_;
};

TEST(MeasureDecode, TwoContestants_TakeTurnsFromTheSameContext) {
  std::string log;
  Scribe a("a", &log), b("b", &log);
  Contestant* const both[] = {&a, &b};
  const std::vector<int32_t> tokens(2);
  const auto samples = MeasureDecode(both, 100, tokens, 2);
  ASSERT_TRUE(samples) << samples.error().Message();
  ASSERT_EQ(samples->size(), 2u);
  EXPECT_EQ((*samples)[0].size(), 2u);  // the first of three rounds does not count
  EXPECT_EQ((*samples)[1].size(), 2u);
  EXPECT_EQ(log,
            "a=100 b=100 "
            "a+1 a+1 a. a@100 b+1 b+1 b. b@100 "
            "b+1 b+1 b. b@100 a+1 a+1 a. a@100 "
            "a+1 a+1 a. a@100 b+1 b+1 b. b@100 ");
}

TEST(MeasurePrefill, PromptOfThreeChunks_AlternatesAfterEveryChunk) {
  std::string log;
  Scribe a("a", &log), b("b", &log);
  Contestant* const both[] = {&a, &b};
  const std::vector<int32_t> tokens(10);
  const auto samples = MeasurePrefill(both, tokens, 4, 1);
  ASSERT_TRUE(samples) << samples.error().Message();
  EXPECT_EQ((*samples)[0].size(), 1u);
  EXPECT_EQ(log, "a@0 b@0 a+4 a. b+4 b. a@0 b@0 b+4 b. a+4 a. b+4 b. a+4 a. b+2 b. a+2 a. ");
}

TEST(MeasurePrefillAtDepths, TwoDepths_FeedsThatPartOfThePrompt) {
  std::string log;
  Scribe a("a", &log);
  Contestant* const one[] = {&a};
  const std::vector<int32_t> tokens(10);
  const uint32_t depths[] = {0, 4, 8};
  const auto samples = MeasurePrefillAtDepths(one, tokens, 4, depths, 1);
  ASSERT_TRUE(samples) << samples.error().Message();
  EXPECT_EQ((*samples)[0].size(), 1u);
  EXPECT_EQ(log, "a=0 a+4 a. a@0 a+4 a. a@0 a=4 a+4 a. a@4 a+4 a. a@4 a=8 a+2 a. a@8 a+2 a. a@8 ");
}

TEST(SumOfChunks, LinearTimes_GiveTheExactSum) {
  // Chunk times 10 + depth / 100 at depths 0, 100, ..., 900; the last chunk is short and takes 3.
  const uint32_t depths[] = {0, 400, 800, 900};
  const double ms[] = {10, 14, 18, 3};
  EXPECT_DOUBLE_EQ(SumOfChunks(depths, ms, 950, 100),
                   10 + 11 + 12 + 13 + 14 + 15 + 16 + 17 + 18 + 3);
  EXPECT_THROW(SumOfChunks(std::span(depths).first(3), std::span(ms).first(3), 950, 100),
               std::logic_error);
}

TEST(SpreadOf, OddAndEvenCounts_GiveTheMedian) {
  const Spread odd = SpreadOf({5, 1, 9});
  EXPECT_EQ(odd.min, 1);
  EXPECT_EQ(odd.median, 5);
  EXPECT_EQ(odd.max, 9);
  EXPECT_EQ(SpreadOf({4, 1, 9, 6}).median, 5);
}

TEST(SyntheticRow, Numbers_AreExactInSixteenBitsAndDiffer) {
  std::vector<float> row(37), other(37);
  SyntheticRow(Side::kKeys, 3, 1000, row);
  for (const float x : row) {
    EXPECT_GE(x, -1.0f);
    EXPECT_LT(x, 1.0f);
    EXPECT_EQ(x * 128, std::round(x * 128));
  }
  EXPECT_GT(*std::max_element(row.begin(), row.end()), 0.5f);
  EXPECT_LT(*std::min_element(row.begin(), row.end()), -0.5f);
  SyntheticRow(Side::kValues, 3, 1000, other);
  EXPECT_NE(row, other);
  SyntheticRow(Side::kKeys, 4, 1000, other);
  EXPECT_NE(row, other);
  SyntheticRow(Side::kKeys, 3, 1001, other);
  EXPECT_NE(row, other);
  SyntheticRow(Side::kKeys, 3, 1000, other);
  EXPECT_EQ(row, other);
}

PlannedRun Planned(const std::string& recipe, const std::string& budget) {
  return {ParseRecipe(recipe).value(), ParseBudget(budget).value()};
}

class SpeedWithModel : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    path_ = testing::TempDir() + "pith_speed_test.gguf";
    const Status made = MakeModel({}, path_);
    ASSERT_TRUE(made) << made.error().Message();
  }
  static void TearDownTestSuite() { std::remove(path_.c_str()); }

  static std::unique_ptr<Engine> MakeEngine(const Form* form) {
    EngineOptions options;
    options.model_path = path_;
    options.num_threads = 2;
    options.key_form = options.value_form = form;
    auto engine = Engine::Create(options);
    EXPECT_TRUE(engine) << engine.error().Message();
    return engine ? std::move(*engine) : nullptr;
  }

  static std::string path_;
};
std::string SpeedWithModel::path_;

std::vector<float> LogitsAfter(Contestant& contestant, uint32_t fill,
                               std::span<const int32_t> tokens) {
  const Status filled = contestant.Fill(fill);
  EXPECT_TRUE(filled) << filled.error().Message();
  const auto logits = contestant.Feed(tokens);
  EXPECT_TRUE(logits) << logits.error().Message();
  return logits ? std::vector<float>(logits->begin(), logits->end()) : std::vector<float>();
}

// The largest difference, as a share of the spread of `a`.
double Distance(const std::vector<float>& a, const std::vector<float>& b) {
  EXPECT_EQ(a.size(), b.size());
  const auto [low, high] = std::minmax_element(a.begin(), a.end());
  double most = 0;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    most = std::max(most, double{std::fabs(a[i] - b[i])});
  }
  return most / double{*high - *low};
}

// Both engines attend over the same synthetic entries: from the same tokens they come to the same
// logits.
TEST_F(SpeedWithModel, Fill_BothEnginesAttendOverTheSameEntries) {
  constexpr uint32_t kFill = 700;  // more than one step of filling, no multiple of a page
  const auto tokens = BenchTokens(5, 512);
  for (const FormId id : {FormId::kF16, FormId::kF32, FormId::kBF16}) {
    const auto engine = MakeEngine(FindForm(id));
    ASSERT_NE(engine, nullptr);
    const auto llama = LlamaModel::Load(path_, engine->model().shape());
    ASSERT_TRUE(llama) << llama.error().Message();
    const auto ours = PithContestant::Create(engine.get(), engine->NewSequence().kv).value();
    const std::vector<float> mine = LogitsAfter(*ours, kFill, tokens);
    // The measure can tell a wrong cache: half of the entries give other logits.
    EXPECT_GT(Distance(mine, LogitsAfter(*ours, kFill / 2, tokens)), 2e-2);
    for (const bool flash_attention : {true, false}) {
      LlamaSettings settings;
      settings.context = 1024;
      settings.num_threads = 2;
      settings.flash_attention = flash_attention;
      settings.key_type = settings.value_type = LlamaCacheType(FindForm(id));
      const auto peer = LlamaContestant::Create(**llama, settings);
      ASSERT_TRUE(peer) << peer.error().Message();
      SCOPED_TRACE(std::string((*peer)->name()) + ", " + std::string(FindForm(id)->name));
      EXPECT_LT(Distance(mine, LogitsAfter(**peer, kFill, tokens)), 1e-2);
      // Taken back and fed again, as the rounds do it.
      ASSERT_TRUE((*peer)->Rewind(kFill));
      const auto again = (*peer)->Feed(tokens);
      ASSERT_TRUE(again) << again.error().Message();
      EXPECT_LT(Distance(mine, {again->begin(), again->end()}), 1e-2);
    }
  }
}

TEST_F(SpeedWithModel, MeasureSpeed_VersusLlama_ReportsEveryPointAndParses) {
  SpeedOptions options;
  options.model_path = path_;
  options.contexts = {600, 64};
  options.threads = {1, 2};
  options.versus_llama = true;
  options.decode_tokens = 4;
  options.repeats = 2;
  options.chunk = 128;
  const auto report = MeasureSpeed(options);
  ASSERT_TRUE(report) << report.error().Message();
  ASSERT_EQ(report->runs.size(), 2u);
  for (const SpeedRun& run : report->runs) {
    ASSERT_EQ(run.points.size(), 2u);
    EXPECT_EQ(run.points[0].context, 64u);  // ascending
    for (const SpeedPoint& point : run.points) {
      ASSERT_TRUE(point.prefill && point.decode);
      ASSERT_EQ(point.decode->timings.size(), 3u);
      EXPECT_EQ(point.decode->timings[0].contestant, kPithName);
      const double fastest = std::max(point.decode->timings[1].tokens_per_second,
                                      point.decode->timings[2].tokens_per_second);
      EXPECT_DOUBLE_EQ(*point.decode->Ratio(),
                       point.decode->timings[0].tokens_per_second / fastest);
      EXPECT_EQ(point.cache.entries, uint64_t{point.context} * 2 * 2);  // layers, KV heads
      EXPECT_EQ(point.cache.logical, point.cache_full_f16);
    }
  }

  MemoryComparison memory{600, 2, "full", {}};
  memory.peaks = {{MemoryEngine::kPith, {90, 50, 40}},
                  {MemoryEngine::kLlamaFlash, {100, 60, 40}},
                  {MemoryEngine::kLlamaPlain, {120, 80, 40}}};
  const auto json =
      nlohmann::json::parse(ToJson(*report, DescribeSurroundings("test"), {memory}).dump());
  EXPECT_EQ(json["runs"][1]["threads"], 2);
  EXPECT_EQ(json["runs"][0]["points"][1]["context"], 600);
  EXPECT_EQ(json["runs"][0]["points"][1]["decode"]["engines"].size(), 3u);
  EXPECT_GT(json["runs"][0]["points"][1]["prefill"]["engines"][0]["tok_s"].get<double>(), 0);
  EXPECT_EQ(json["memory"][0]["ratio"], 0.9);
  EXPECT_EQ(json["memory"][0]["best_peer"], "llama.cpp fa=on");
  EXPECT_EQ(json["protocol"]["chunk"], 128);
}

TEST_F(SpeedWithModel, MeasureMemoryHere_EveryEngine_GivesAPeakAboveWhatIsHeld) {
  for (const MemoryEngine engine : kMemoryEngines) {
    MemoryTask task;
    task.engine = engine;
    task.model_path = path_;
    task.recipe = Planned("snapkv", "64");
    task.context = 512;
    const auto peak = MeasureMemoryHere(task);
    ASSERT_TRUE(peak) << peak.error().Message();
    EXPECT_GT(peak->anonymous, 0u);
    EXPECT_GE(peak->peak, peak->anonymous);
  }
}

// Rounds start from the same cache, whether or not the recipe drops entries while it generates.
TEST_F(SpeedWithModel, DroppingContestant_HoldsItsBudgetInEveryRound) {
  const auto engine = MakeEngine(FindForm("f16"));
  const auto tokens = BenchTokens(6, 512);
  for (const char* recipe : {"snapkv", "h2o", "knorm"}) {
    const auto ours = PithContestant::Create(engine.get(), Planned(recipe, "64")).value();
    ASSERT_TRUE(ours->Fill(600));
    EXPECT_EQ(ours->Usage().entries, 600u * 4);  // layers x KV heads
    ASSERT_TRUE(ours->EndPrompt());
    std::vector<float> first;
    for (int round = 0; round < 3; ++round) {
      EXPECT_EQ(ours->Usage().entries, 64u * 4) << recipe;
      std::span<const float> logits;
      for (const int32_t token : tokens) logits = ours->Feed({&token, 1}).value();
      if (round == 0) first.assign(logits.begin(), logits.end());
      EXPECT_TRUE(std::ranges::equal(logits, first)) << recipe;
      ASSERT_TRUE(ours->Rewind(600));
    }
  }
}

TEST_F(SpeedWithModel, MeasureSpeed_RecipeThatDrops_IsComparedWithTheFullCache) {
  SpeedOptions options;
  options.model_path = path_;
  options.contexts = {600};
  options.threads = {1};
  options.recipes = {Planned("snapkv", "64")};
  options.decode_tokens = 4;
  options.repeats = 1;
  options.chunk = 128;
  const auto report = MeasureSpeed(options);
  ASSERT_TRUE(report) << report.error().Message();
  const SpeedPoint& point = report->runs[0].points[0];
  ASSERT_TRUE(point.prefill && point.decode && point.compress_ms);
  for (const auto& comparison : {*point.prefill, *point.decode}) {
    ASSERT_EQ(comparison.timings.size(), 2u);
    EXPECT_EQ(comparison.timings[1].contestant, kPithFullName);
    EXPECT_EQ(comparison.BestPeer(), nullptr);
    EXPECT_DOUBLE_EQ(*comparison.RatioToFull(), comparison.timings[0].tokens_per_second /
                                                    comparison.timings[1].tokens_per_second);
  }
  EXPECT_GT(point.compress_ms->min, 0);
  EXPECT_EQ(point.cache.entries, 64u * 4);
  EXPECT_GT(point.cache.held_peak, 4 * point.cache.held);
  const auto json = nlohmann::json::parse(ToJson(*report, DescribeSurroundings("test"), {}).dump());
  EXPECT_EQ(json["runs"][0]["budget"], "64");
  EXPECT_GT(json["runs"][0]["points"][0]["compress"]["share_of_prefill"].get<double>(), 0);
  EXPECT_GT(json["runs"][0]["points"][0]["decode"]["ratio_to_full"].get<double>(), 0);
}

TEST(CheckCanMeasure, ChunksAndBytes_AreRefused) {
  EXPECT_TRUE(CheckCanMeasure(Planned("snapkv", "64"), false));
  EXPECT_FALSE(CheckCanMeasure(Planned("score=streaming + when=chunks", "64"), true));
  EXPECT_FALSE(CheckCanMeasure(Planned("snapkv", "1GiB"), true));
  const PlannedRun lazy{ParseRecipe("lazyllm").value(), std::nullopt};
  EXPECT_TRUE(CheckCanMeasure(lazy, true));
  EXPECT_FALSE(CheckCanMeasure(lazy, false));
}

TEST_F(SpeedWithModel, MeasureSpeed_TokensThatStopOnTheWay_AreMeasuredAsWholePrompts) {
  SpeedOptions options;
  options.model_path = path_;
  options.contexts = {600};
  options.threads = {1};
  options.recipes = {{ParseRecipe("lazyllm(prune=0.5,depth=0.5,times=1)").value(), std::nullopt}};
  options.decode = false;
  options.repeats = 1;
  options.chunk = 128;
  const auto report = MeasureSpeed(options);
  ASSERT_TRUE(report) << report.error().Message();
  const SpeedPoint& point = report->runs[0].points[0];
  ASSERT_TRUE(point.prefill && point.work);
  EXPECT_TRUE(point.prefill->depths.empty());
  EXPECT_GT(point.prefill->timings[0].cpu_ms.median, 0);
  EXPECT_GT(*point.prefill->CpuRatioToFull(), 0);
  ASSERT_EQ(point.work->computed.size(), 2u);  // layers
  EXPECT_EQ(point.work->computed[0], 600u);
  EXPECT_EQ(point.work->computed[1], 300u);
  // The half that waits has its hidden states counted.
  EXPECT_LT(point.cache.held_peak - point.work->hidden_bytes / 2, point.work->full_peak);
  const auto json = nlohmann::json::parse(ToJson(*report, DescribeSurroundings("test"), {}).dump());
  EXPECT_EQ(json["runs"][0]["points"][0]["prefill"]["tokens_computed"], (nlohmann::json{600, 300}));
}

TEST(MeasureMemoryInChild, ChildThatPrintsNoPeak_IsAFailure) {
  const auto peak = MeasureMemoryInChild({"--gtest_list_tests"});
  ASSERT_FALSE(peak);
  EXPECT_EQ(peak.error().kind, ErrorKind::kFailure);
}

}  // namespace
}  // namespace pith
