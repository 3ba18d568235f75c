#include "eval/load/load.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/hash.h"
#include "eval/load/longbench_sets.h"
#include "eval/load/prompt.h"
#include "eval/metric/metric.h"

namespace pith {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;

class LoadTest : public testing::Test {
 protected:
  void SetUp() override {
    const auto* test = testing::UnitTest::GetInstance()->current_test_info();
    folder_ = fs::path(testing::TempDir()) / fmt::format("pith_load_{}", test->name());
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::string Write(const std::string& name, const std::string& text) {
    const fs::path path = folder_ / name;
    fs::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary) << text;
    return path.string();
  }

  Result<std::vector<LoadedTask>> Load(std::string_view loader, LoadRequest request = {}) {
    if (request.path.empty()) request.path = folder_.string();
    return FindLoader(loader)->load(request);
  }

  // The error's line; "" if there was none.
  std::string LoadError(std::string_view loader, LoadRequest request = {}) {
    const auto loaded = Load(loader, std::move(request));
    if (loaded) return "";
    EXPECT_EQ(loaded.error().kind, ErrorKind::kInput);
    return loaded.error().Message();
  }

  fs::path folder_;
};

std::string Joined(const Item& item) { return item.context + item.question + item.answer_prefix; }

constexpr char kHotpot[] =
    R"({"_id": "q1", "context": "Passage 1: P.", "input": "Who?", "answers": ["Ann", "A."], "length": 4000, "all_classes": null, "dataset": "hotpotqa", "language": "en"})";

TEST(LoaderTable, Names_AreFound) {
  for (const LoaderInfo& loader : Loaders()) EXPECT_EQ(FindLoader(loader.name), &loader);
  EXPECT_EQ(FindLoader("nothing"), nullptr);
}

// --- LongBench

TEST_F(LoadTest, LongBench_ReadsItemWithMetricCapAndPrompt) {
  const std::string path = Write("hotpotqa.jsonl", std::string(kHotpot) + "\n");
  const auto tasks = Load("longbench");
  ASSERT_TRUE(tasks) << tasks.error().Message();
  ASSERT_EQ(tasks->size(), 1u);
  const LoadedTask& task = tasks->front();
  EXPECT_EQ(task.task, "longbench/hotpotqa");
  Hasher hasher;
  hasher.Add(kHotpot, sizeof kHotpot - 1);
  hasher.Add("\n", 1);
  EXPECT_EQ(task.source, fmt::format("hotpotqa.jsonl xxh3:{:016x}", hasher.Finish()));
  EXPECT_EQ(task.prompts, "builtin");
  ASSERT_EQ(task.items.size(), 1u);
  const Item& item = task.items[0];
  EXPECT_EQ(item.task, "longbench/hotpotqa");
  EXPECT_EQ(item.id, "q1");
  EXPECT_THAT(item.context, HasSubstr("Passage 1: P."));
  EXPECT_EQ(item.question, "Question: Who?\n");
  EXPECT_EQ(item.answer_prefix, "Answer:");
  EXPECT_THAT(item.answers, ElementsAre("Ann", "A."));
  EXPECT_THAT(item.metrics, ElementsAre("qa_f1"));
  EXPECT_EQ(item.length, 4000u);
  EXPECT_EQ(item.max_new_tokens, 32u);
  EXPECT_TRUE(item.chat_template);
  EXPECT_FALSE(item.meta.contains("first_line"));
}

TEST(LongBenchSets, All21_HaveMetricAndPrompt) {
  size_t in_e = 0;
  EXPECT_EQ(LongBenchSets().size(), 21u);
  for (const LongBenchSet& set : LongBenchSets()) {
    in_e += set.in_e ? 1 : 0;
    EXPECT_NE(FindMetric(set.metric), nullptr) << set.name;
    const auto prompt = PromptTemplate::Parse(set.prompt, "test");
    ASSERT_TRUE(prompt) << set.name;
    const PromptParts parts = prompt->Fill("CONTEXT\n", "line\nCue:");
    EXPECT_THAT(parts.context, HasSubstr("CONTEXT\n")) << set.name;
    EXPECT_NE(parts.answer_prefix, "") << set.name;
  }
  EXPECT_EQ(in_e, 13u);
}

TEST_F(LoadTest, LongBench_FewShotSetsAreFedAsTheyStand) {
  Write(
      "trec.jsonl",
      R"({"_id": "t", "context": "shots", "input": "Question: Q?\nType:", "answers": ["LOC"], "all_classes": ["LOC", "NUM"], "length": 5})");
  Write(
      "samsum.jsonl",
      R"({"_id": "s", "context": "shots", "input": "Dialogue: D\nSummary: ", "answers": ["S"], "all_classes": null, "length": 5})");
  const auto tasks = Load("longbench");
  ASSERT_TRUE(tasks) << tasks.error().Message();
  ASSERT_EQ(tasks->size(), 2u);
  const Item& trec = (*tasks)[0].items[0];
  EXPECT_FALSE(trec.chat_template);
  EXPECT_THAT(trec.all_classes, ElementsAre("LOC", "NUM"));
  EXPECT_EQ(trec.answer_prefix, "Type:");
  EXPECT_EQ(trec.stop, "");
  EXPECT_EQ(ScoreItem(*FindMetric("classification"), "\nLOC\nNUM", trec), 1);  // its first line
  const Item& samsum = (*tasks)[1].items[0];
  EXPECT_EQ(samsum.stop, "\n");
  EXPECT_EQ(samsum.answer_prefix, "Summary: ");
  EXPECT_EQ(samsum.meta["first_line"], true);
}

TEST_F(LoadTest, LongBench_ECopyInTheSameFolderIsItsOwnSuite) {
  Write("hotpotqa.jsonl", kHotpot);
  Write("hotpotqa_e.jsonl", kHotpot);
  Write("dataset2prompt.json", "{}");
  const auto plain = Load("longbench"), e = Load("longbench-e");
  ASSERT_TRUE(plain && e);
  ASSERT_EQ(plain->size(), 1u);
  ASSERT_EQ(e->size(), 1u);
  EXPECT_EQ((*plain)[0].task, "longbench/hotpotqa");
  EXPECT_FALSE((*plain)[0].items[0].meta.contains("length_class"));
  EXPECT_EQ((*e)[0].task, "longbench-e/hotpotqa");
  EXPECT_EQ((*e)[0].items[0].meta["length_class"], "4-8k");  // 4000 is not below 4000
}

TEST_F(LoadTest, LongBench_PromptPacksReplaceOurWording) {
  Write("hotpotqa.jsonl", kHotpot);
  LoadRequest request;
  request.prompts_file =
      Write("p.json", R"({"hotpotqa": "Text: {context}\n\nQ: {input}\nA:", "trec": "{context}"})");
  request.max_new_file = Write("m.json", R"({"hotpotqa": 7})");
  const auto tasks = Load("longbench", request);
  ASSERT_TRUE(tasks) << tasks.error().Message();
  EXPECT_EQ(Joined((*tasks)[0].items[0]), "Text: Passage 1: P.\n\nQ: Who?\nA:");
  EXPECT_EQ((*tasks)[0].items[0].max_new_tokens, 7u);
  EXPECT_THAT((*tasks)[0].prompts, testing::StartsWith("p.json xxh3:"));

  Write("p.json", R"({"trec": "{context}"})");
  EXPECT_THAT(LoadError("longbench", request), HasSubstr("nothing for \"hotpotqa\""));
  Write("p.json", R"({"hotpotqa": "{context} {question}"})");
  EXPECT_THAT(LoadError("longbench", request), HasSubstr("p.json, hotpotqa"));
  Write("p.json", R"({"hotpotqa": 7})");
  EXPECT_THAT(LoadError("longbench", request), HasSubstr("is no text"));
  Write("p.json", "[]");
  EXPECT_THAT(LoadError("longbench", request), HasSubstr("no JSON object"));
  request.prompts_file.clear();
  Write("m.json", R"({"hotpotqa": 0})");
  EXPECT_THAT(LoadError("longbench", request), HasSubstr("whole number above 0"));
}

TEST_F(LoadTest, LongBench_IndelIsUsedWhereAsked) {
  Write("lcc.jsonl",
        R"({"_id": "l", "context": "a\n", "input": "", "answers": ["b"], "length": 1})");
  LoadRequest request;
  request.indel_code_similarity = true;
  EXPECT_THAT((*Load("longbench"))[0].items[0].metrics, ElementsAre("code_sim"));
  EXPECT_THAT((*Load("longbench", request))[0].items[0].metrics, ElementsAre("code_sim_indel"));
}

TEST_F(LoadTest, LongBench_BadDataIsRefusedByFileLineAndField) {
  const std::string good(kHotpot);
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string bad = good;
    bad.replace(bad.find(from), from.size(), to);
    Write("hotpotqa.jsonl", good + "\n" + bad + "\n");
    return LoadError("longbench");
  };
  EXPECT_THAT(with("\"input\"", "\"inputs\""), HasSubstr("the field \"input\" is missing"));
  EXPECT_THAT(with("\"input\"", "\"inputs\""), HasSubstr("hotpotqa.jsonl:2"));
  EXPECT_THAT(with("[\"Ann\", \"A.\"]", "\"Ann\""), HasSubstr("\"answers\" is not a list"));
  EXPECT_THAT(with("[\"Ann\", \"A.\"]", "[1]"), HasSubstr("\"answers\" is not a list"));
  EXPECT_THAT(with("[\"Ann\", \"A.\"]", "[]"), HasSubstr("\"answers\" is not"));
  EXPECT_THAT(with("4000", "-1"), HasSubstr("\"length\" is not a whole number"));
  EXPECT_THAT(with("\"q1\"", "[]"), HasSubstr("\"_id\" is not a text"));
  EXPECT_THAT(with("Who", "\xc3("), HasSubstr("not UTF-8"));
  EXPECT_THAT(with("{\"_id\"", "\"_id\""), HasSubstr("not JSON"));
  Write("hotpotqa.jsonl", "");
  EXPECT_THAT(LoadError("longbench"), HasSubstr("the file is empty"));
}

TEST_F(LoadTest, LongBench_ReferenceWithoutParagraphIsRefused) {
  Write("passage_retrieval_en.jsonl",
        R"({"_id": "p", "context": "c", "input": "i", "answers": ["7"], "length": 1})");
  EXPECT_THAT(LoadError("longbench"), HasSubstr("not like \"Paragraph 7\""));
}

TEST_F(LoadTest, Names_UnknownOrMissingListTheKnown) {
  Write("hotpotqa.jsonl", kHotpot);
  LoadRequest request;
  request.tasks = {"hotpot"};
  EXPECT_THAT(LoadError("longbench", request), HasSubstr("Known: narrativeqa, qasper"));
  request.tasks = {"qasper"};
  EXPECT_THAT(LoadError("longbench", request), HasSubstr("qasper.jsonl"));
  Write("mine.jsonl", kHotpot);
  EXPECT_THAT(LoadError("longbench"), HasSubstr("no data set is called \"mine\""));
  request.tasks = {"hotpotqa"};  // what was not asked for may lie there
  EXPECT_TRUE(Load("longbench", request));
  request.tasks.clear();
  request.path = (folder_ / "absent").string();
  EXPECT_THAT(LoadError("longbench", request), HasSubstr("no such file or folder"));
  EXPECT_THAT(LoadError("infinitebench"), HasSubstr("no data set is called"));
}

TEST_F(LoadTest, Samples_AreTheFirstAndIdsMadeUnique) {
  const std::string row(kHotpot);
  Write("hotpotqa.jsonl", row + "\n" + row + "\n" + row + "\n");
  LoadRequest request;
  request.samples = 2;
  const auto tasks = Load("longbench", request);
  ASSERT_TRUE(tasks);
  ASSERT_EQ((*tasks)[0].items.size(), 2u);
  EXPECT_EQ((*tasks)[0].items[0].id, "q1");
  EXPECT_EQ((*tasks)[0].items[1].id, "q1#2");
}

// --- RULER

TEST_F(LoadTest, Ruler_PromptIsCutAtTheLastQuestion) {
  const std::string input =
      "Some special magic numbers are hidden. What are all the special magic tricks?\\ntext\\n"
      "What are all the special magic numbers for a-b mentioned in the text?";
  const std::string prefix = " The special magic numbers for a-b mentioned in the text are";
  const std::string rest = R"(", "outputs": ["1", "2"], "length": 90)";
  Write("niah_multivalue/validation.jsonl", R"({"index": 0, "input": ")" + input + prefix + rest +
                                                "}\n" + R"({"index": 1, "input": ")" + input +
                                                rest + R"(, "answer_prefix": ")" + prefix +
                                                R"(", "token_position_answer": 5})" + "\n");
  const auto tasks = Load("ruler-jsonl");
  ASSERT_TRUE(tasks) << tasks.error().Message();
  EXPECT_EQ((*tasks)[0].task, "ruler-jsonl/niah_multivalue");
  ASSERT_EQ((*tasks)[0].items.size(), 2u);
  for (const Item& item : (*tasks)[0].items) {
    EXPECT_TRUE(item.context.ends_with("tricks?\ntext\n"));
    EXPECT_EQ(item.question,
              "What are all the special magic numbers for a-b mentioned in the text?");
    EXPECT_EQ(item.answer_prefix, prefix);
    EXPECT_THAT(item.answers, ElementsAre("1", "2"));
    EXPECT_THAT(item.metrics, ElementsAre("string_match_all"));
    EXPECT_EQ(item.max_new_tokens, 128u);
    EXPECT_EQ(item.length, 90u);
  }
  EXPECT_EQ((*tasks)[0].items[1].meta["token_position_answer"], 5);
}

TEST_F(LoadTest, Ruler_FamiliesHaveTheirOpenings) {
  const std::vector<std::array<std::string, 4>> kCases = {
      {"vt", "Question: Find all variables that are 7.",
       " Answer: According to the chain(s): ", "30"},
      {"cwe", "Question: What are the 10 most common words?",
       " Answer: The top 10 words are:", "120"},
      {"fwe", "Question: Do not provide any explanation.",
       " Answer: According to the coded text:", "50"},
      {"qa_2", "Answer the question based on the given documents.\\n\\nQuestion: Q?",
       " Answer:", "32"},
      {"niah_single_1", "What is the special magic number for a?", " The special magic number is",
       "128"}};
  for (const auto& [name, question, prefix, tokens] : kCases) {
    const std::string path =
        Write(name + ".jsonl", R"({"index": 3, "input": "Shown before: )" + question + prefix +
                                   " x. " + question + prefix + R"(", "outputs": ["1"]})");
    LoadRequest request;
    request.path = path;
    const auto tasks = Load("ruler-jsonl", request);
    ASSERT_TRUE(tasks) << tasks.error().Message();
    const Item& item = (*tasks)[0].items[0];
    EXPECT_TRUE(item.context.ends_with(" x. ")) << item.context;
    EXPECT_EQ(item.answer_prefix, prefix);
    EXPECT_EQ(std::to_string(item.max_new_tokens), tokens);
  }
}

TEST_F(LoadTest, Ruler_BadInputIsRefused) {
  const std::string path = Write("vt.jsonl", R"({"index": 0, "input": "hello", "outputs": ["1"]})");
  EXPECT_THAT(LoadError("ruler-jsonl"), HasSubstr("lacks \"Question: Find all variables\""));
  LoadRequest request;
  request.prompts_file = path;
  EXPECT_THAT(LoadError("ruler-jsonl", request), HasSubstr("come with their prompts"));
}

// --- InfiniteBench, LongBench v2, GSM8K

TEST_F(LoadTest, InfiniteBench_AnswersAndOptions) {
  Write(
      "passkey.jsonl",
      R"({"id": 0, "context": "noise", "input": "What is the pass key?", "answer": ["01234"], "options": []})");
  Write(
      "longbook_choice_eng.jsonl",
      R"({"id": 1, "context": "book", "input": "Who?", "answer": ["Bob"], "options": ["Ann", "Bob", "Cy", "Di"]})");
  Write("math_calc.jsonl",
        R"({"id": 2, "context": "1 + 2", "input": "Compute.", "answer": [[1, 3]], "options": []})");
  const auto tasks = Load("infinitebench");
  ASSERT_TRUE(tasks) << tasks.error().Message();
  ASSERT_EQ(tasks->size(), 3u);
  const Item& passkey = (*tasks)[0].items[0];
  EXPECT_EQ(passkey.question, "What is the pass key?\n");
  EXPECT_EQ(passkey.answer_prefix, "The pass key is");
  EXPECT_EQ(passkey.max_new_tokens, 6u);
  const Item& choice = (*tasks)[1].items[0];
  EXPECT_EQ(choice.question, "Question: Who?\nA. Ann\nB. Bob\nC. Cy\nD. Di\n");
  EXPECT_THAT(choice.answers, ElementsAre("Bob", "B"));
  EXPECT_EQ(ScoreItem(*FindMetric("choice_abcd"), " B", choice), 1);
  const Item& calc = (*tasks)[2].items[0];
  EXPECT_THAT(calc.answers, ElementsAre("1 3"));

  Write("longbook_choice_eng.jsonl",
        R"({"id": 1, "context": "book", "input": "Who?", "answer": "Eve", "options": ["Ann"]})");
  EXPECT_THAT(LoadError("infinitebench"), HasSubstr("\"answer\" is not one of the options"));
  Write("longbook_choice_eng.jsonl",
        R"({"id": 1, "context": "book", "input": "Who?", "answer": {}, "options": ["Ann"]})");
  EXPECT_THAT(LoadError("infinitebench"), HasSubstr("\"answer\" is not a text, a number"));
}

TEST_F(LoadTest, LongBenchV2_ChoicesAreShown) {
  LoadRequest request;
  request.path = Write(
      "data.json",
      R"([{"_id": "v", "context": "c", "question": "Q?", "choice_A": "a", "choice_B": "b", "choice_C": "c", "choice_D": "d", "answer": "C", "difficulty": "hard", "length": "short"}])");
  const auto tasks = Load("longbench-v2", request);
  ASSERT_TRUE(tasks) << tasks.error().Message();
  const Item& item = (*tasks)[0].items[0];
  EXPECT_THAT(item.question, HasSubstr("Q?\nChoices:\n(A) a\n(B) b\n(C) c\n(D) d\n"));
  EXPECT_EQ(item.meta["length_class"], "short");
  EXPECT_EQ(ScoreItem(*FindMetric(item.metrics[0]), "The correct answer is (C)", item), 1);
}

TEST_F(LoadTest, Gsm8k_FinalNumberIsTheReference) {
  Write("test.jsonl", "{\"question\": \"2+2?\", \"answer\": \"<<2+2=4>>\\n#### 1,004\"}\n");
  const auto tasks = Load("gsm8k");
  ASSERT_TRUE(tasks) << tasks.error().Message();
  const Item& item = (*tasks)[0].items[0];
  EXPECT_EQ(item.task, "gsm8k/test");
  EXPECT_EQ(item.context, "2+2?");
  EXPECT_THAT(item.answers, ElementsAre("1,004"));
  EXPECT_EQ(ScoreItem(*FindMetric(item.metrics[0]), "so #### 1004", item), 1);
  Write("test.jsonl", R"({"question": "2+2?", "answer": "4"})");
  EXPECT_THAT(LoadError("gsm8k"), HasSubstr("not ended by"));
}

// --- items

TEST_F(LoadTest, Items_DumpedComeBack) {
  Item item;
  item.task = "ruler/vt";
  item.id = "3";
  item.context = "c";
  item.answers = {"A"};
  item.metrics = {"string_match_all"};
  item.max_new_tokens = 30;
  item.meta["length"] = 512;
  Item longer = item;
  longer.meta["length"] = 1024;
  Item text;
  text.task = "ppl/text";
  text.id = "0";
  text.context = "t";
  text.metrics = {"likelihood"};
  Write("dump.jsonl",
        ToJson(item).dump() + "\n" + ToJson(text).dump() + "\n" + ToJson(longer).dump() + "\n");
  const auto tasks = Load("items");
  ASSERT_TRUE(tasks) << tasks.error().Message();
  ASSERT_EQ(tasks->size(), 2u);
  EXPECT_EQ((*tasks)[0].task, "ruler/vt");
  ASSERT_EQ((*tasks)[0].items.size(), 2u);
  EXPECT_EQ(ToJson((*tasks)[0].items[1]), ToJson(longer));
  EXPECT_EQ((*tasks)[1].task, "ppl/text");

  LoadRequest request;
  request.tasks = {"vt"};
  EXPECT_EQ(Load("items", request)->size(), 1u);
  request.tasks = {"cwe"};
  EXPECT_THAT(LoadError("items", request), HasSubstr("no item is of the task \"cwe\""));
  Write("dump.jsonl", ToJson(item).dump() + "\n" + ToJson(item).dump() + "\n");
  EXPECT_THAT(LoadError("items"), HasSubstr("comes twice"));
}

TEST_F(LoadTest, Items_KvpressFieldsAreCompleted) {
  Write(
      "table.jsonl",
      R"({"task": "niah_single_2", "context": "c", "question": "q", "answer_prefix": "p", "answer": ["1"], "max_new_tokens": 128})"
      "\n"
      R"({"task": "qa_1", "context": "c", "question": "q", "answer_prefix": "", "answer": "x", "max_new_tokens": 32})");
  const auto tasks = Load("items");
  ASSERT_TRUE(tasks) << tasks.error().Message();
  EXPECT_THAT((*tasks)[0].items[0].metrics, ElementsAre("string_match_all"));
  EXPECT_THAT((*tasks)[1].items[0].metrics, ElementsAre("string_match_part"));
  EXPECT_THAT((*tasks)[1].items[0].answers, ElementsAre("x"));
  EXPECT_EQ((*tasks)[1].items[0].id, "2");
}

TEST_F(LoadTest, Items_ThatCannotBeScoredAreRefused) {
  const auto error = [&](const std::string& fields) {
    Write("i.jsonl", R"({"context": "c")" + fields + "}");
    return LoadError("items");
  };
  EXPECT_THAT(error(""), HasSubstr("no metric is known for the task \"items/i\""));
  EXPECT_THAT(error(R"(, "metrics": ["f2"])"), HasSubstr("no metric is called \"f2\""));
  EXPECT_THAT(error(R"(, "metrics": ["qa_f1"])"), HasSubstr("\"answers\" is not"));
  EXPECT_THAT(error(R"(, "metrics": ["qa_f1"], "answers": ["a"])"),
              HasSubstr("\"max_new_tokens\" is not above 0"));
  EXPECT_THAT(
      error(
          R"(, "metrics": ["qa_f1"], "answers": ["a"], "max_new_tokens": 9, "meta": {"first_line": 1})"),
      HasSubstr("i.jsonl:1"));
}

}  // namespace
}  // namespace pith
