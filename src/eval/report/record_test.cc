#include "eval/report/record.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace pith {
namespace {

using Json = nlohmann::ordered_json;
using testing::ElementsAre;
using testing::HasSubstr;

class ResultsFile : public testing::Test {
 protected:
  std::string Write(const std::string& text) {
    std::ofstream(path_) << text;
    return path_;
  }
  std::string ErrorOf(const std::string& text) {
    const auto results = ReadResults(Write(text));
    return results ? "no error" : results.error().Message();
  }
  ~ResultsFile() override { std::filesystem::remove(path_); }

  const std::string path_ = testing::TempDir() + "results_" +
                            testing::UnitTest::GetInstance()->current_test_info()->name() +
                            ".jsonl";
};

ItemRecord FullItem() {
  ItemRecord item;
  item.run = "2026-01-02T03:04:05Z/1";
  item.config = "00ff";
  item.model = "nano.gguf";
  item.model_hash = "0123456789abcdef";
  item.task = "ppl/text";
  item.length = 1024;
  item.id = "7";
  item.recipe = "snapkv";
  item.budget = "10%";
  item.query_aware = true;
  item.haystack = "generated";
  item.seed = 0xffffffffffffffffu;
  item.prediction = "line\nand \"quotes\"";
  item.answers = {"a", "b"};
  item.stop = "length";
  item.metric = "contains";
  item.score = 0.5;
  item.other_scores = {{"rouge1x10", 7.25}};
  item.likelihood.emplace();
  item.likelihood->tokens = 3;
  item.likelihood->nll_sum = 1.5;
  item.likelihood->divergence.emplace();
  item.likelihood->divergence->p99 = 0.125;
  item.likelihood->divergence->by_position = {0.25, 0.5};
  item.cache.allocated = 4096;
  item.cache.sealed_keys = 7;
  item.cache.full_f16 = 16384;
  item.reads = {.entries_held = 200, .entries_read = 50, .index_bytes = 9, .attention_kept = 0.875};
  item.context_tokens = {.fed = 4, .computed = {4, 0}};
  item.tokens = {.fed = 10, .computed = {10, 5}};
  item.decode_ms = 2.5;
  item.shared_prefill = true;
  item.meta["depth"] = 0.5;
  return item;
}

RunRecord SomeRun() {
  RunRecord run;
  run.run = "r";
  run.command = "pith eval -m nano.gguf";
  run.cores = 2;
  run.settings["seed"] = 42;
  return run;
}

TEST(RecordJson, Item_HasNestedGroupsAndKindFirst) {
  const Json json = ToJson(FullItem());
  EXPECT_EQ(json.begin().key(), "kind");
  EXPECT_EQ(json["kind"], "item");
  EXPECT_EQ(json["cache"]["allocated"], 4096);
  EXPECT_EQ(json["cache"]["sealed_keys"], 7);
  EXPECT_FALSE(json["cache"].contains("sealed_values")) << "none are";
  EXPECT_EQ(json["likelihood"]["divergence"]["by_position"], (Json{0.25, 0.5}));
  EXPECT_EQ(json["timings"]["decode_ms"], 2.5);
  EXPECT_EQ(json["timings"]["shared_prefill"], true);
  EXPECT_EQ(json["model_hash"], "0123456789abcdef");
  EXPECT_EQ(json["meta"]["depth"], 0.5);
}

TEST(RecordJson, Item_LeavesOutWhatDoesNotApply) {
  const Json json = ToJson(ItemRecord{});
  for (const char* name : {"budget", "haystack", "prompts", "source", "metric", "other_scores",
                           "likelihood", "meta", "reads", "context_tokens", "tokens"}) {
    EXPECT_FALSE(json.contains(name)) << name;
  }
}

TEST(RecordJson, Saving_IsShareNotAllocated) {
  EXPECT_EQ(FullItem().cache.Saving(), 0.75);
  EXPECT_EQ(RecordedCache{}.Saving(), 0);
}

TEST(RecordJson, ReadAndComputed_AreShares) {
  const Json json = ToJson(FullItem());
  EXPECT_EQ(json["reads"]["entries_read"], 50);
  EXPECT_EQ(json["tokens"]["computed"], (Json{10, 5}));
  EXPECT_EQ(FullItem().reads->Share(), 0.25);
  EXPECT_EQ(FullItem().tokens->Share(), 0.75);  // 15 of 10 x 2
  EXPECT_EQ(RecordedReads{}.Share(), 0);
  EXPECT_EQ(RecordedTokens{}.Share(), 0);
}

TEST(RecordJson, ToLine_BrokenUtf8BecomesReplacementCharacter) {
  ItemRecord item;
  item.prediction = "ab\xc3";
  EXPECT_EQ(Json::parse(ToLine(ToJson(item)))["prediction"], "ab\xef\xbf\xbd");
}

TEST_F(ResultsFile, WrittenRecords_ComeBackUnchanged) {
  bool torn = true;
  const auto results = ReadResults(
      Write(ToLine(ToJson(SomeRun())) + ToLine(ToJson(FullItem())) + ToLine(ToJson(ItemRecord{}))),
      &torn);
  ASSERT_TRUE(results) << results.error().Message();
  EXPECT_FALSE(torn);
  ASSERT_EQ(results->runs.size(), 1u);
  ASSERT_EQ(results->items.size(), 2u);
  EXPECT_EQ(ToJson(results->runs[0]), ToJson(SomeRun()));
  EXPECT_EQ(ToJson(results->items[0]), ToJson(FullItem()));
  EXPECT_EQ(ToJson(results->items[1]), ToJson(ItemRecord{}));
  EXPECT_EQ(results->items[0].seed, 0xffffffffffffffffu);
  EXPECT_THAT(results->items[0].likelihood->divergence->by_position, ElementsAre(0.25, 0.5));
}

TEST_F(ResultsFile, LineWithoutEnd_IsLeftOutAndReported) {
  bool torn = false;
  const std::string line = ToLine(ToJson(FullItem()));
  const auto results = ReadResults(Write(line + line.substr(0, 40)), &torn);
  ASSERT_TRUE(results) << results.error().Message();
  EXPECT_EQ(results->items.size(), 1u);
  EXPECT_TRUE(torn);
}

TEST_F(ResultsFile, WrongLine_IsNamedByNumber) {
  const std::string good = ToLine(ToJson(FullItem()));
  EXPECT_THAT(ErrorOf(good + "{\"kind\":\n" + good), HasSubstr("line 2 of the results file"));
  EXPECT_THAT(ErrorOf(good + "\n"), HasSubstr("line 2"));
  EXPECT_THAT(ErrorOf("[1]\n"), HasSubstr("no JSON object"));
  EXPECT_THAT(ErrorOf("{\"kind\":\"other\"}\n"), HasSubstr("field 'kind'"));
}

TEST_F(ResultsFile, WrongField_IsNamed) {
  const auto error_with = [&](auto change) {
    Json json = ToJson(FullItem());
    change(json);
    return ErrorOf(ToLine(json));
  };
  EXPECT_THAT(error_with([](Json& j) { j.erase("task"); }), HasSubstr("field 'task' is missing"));
  EXPECT_THAT(error_with([](Json& j) { j["extra"] = 1; }), HasSubstr("'extra' is not known"));
  EXPECT_THAT(error_with([](Json& j) { j["length"] = -1; }), HasSubstr("'length' has a value"));
  EXPECT_THAT(error_with([](Json& j) { j["length"] = 4294967296; }), HasSubstr("'length' has"));
  EXPECT_THAT(error_with([](Json& j) { j["score"] = "1"; }), HasSubstr("'score' has a value"));
  EXPECT_THAT(error_with([](Json& j) { j["score"] = 1.5; }), HasSubstr("outside 0 to 1"));
  EXPECT_THAT(error_with([](Json& j) { j["answers"][1] = 2; }), HasSubstr("'answers' has"));
  EXPECT_THAT(error_with([](Json& j) { j["cache"]["peak"] = 0.5; }), HasSubstr("'cache.peak' has"));
  EXPECT_THAT(error_with([](Json& j) { j["cache"] = 3; }), HasSubstr("'cache' has a value"));
  EXPECT_THAT(error_with([](Json& j) { j["likelihood"]["divergence"].erase("p90"); }),
              HasSubstr("'likelihood.divergence.p90' is missing"));
}

TEST_F(ResultsFile, MissingFile_IsAnError) { EXPECT_FALSE(ReadResults(path_ + ".none")); }

}  // namespace
}  // namespace pith
