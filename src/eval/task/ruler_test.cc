#include "eval/task/ruler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "eval/task/task_fixture.h"
#include "eval/task/word_list.h"
#include "eval/task/words.h"

namespace pith {
namespace {

using testing::HasSubstr;

std::string Prompt(const Item& item) { return item.context + item.question + item.answer_prefix; }

// The tasks that need no files.
std::vector<std::string_view> Generated() {
  std::vector<std::string_view> names;
  for (const SuiteInfo& suite : Suites()) {
    if (suite.name != "ruler") continue;
    for (const TaskInfo* task : suite.tasks) names.push_back(task->name);
  }
  return names;
}

size_t CountOf(const std::string& text, const std::string& part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

// What the needles of `text` say: key -> values, in order.
std::map<std::string, std::vector<std::string>> ReadNeedles(const std::string& text,
                                                            const std::string& type) {
  std::map<std::string, std::vector<std::string>> needles;
  const std::string start = "One of the special magic " + type + " for ";
  for (size_t at = text.find(start); at != std::string::npos; at = text.find(start, at + 1)) {
    const size_t key = at + start.size(), is = text.find(" is: ", key), end = text.find('.', is);
    needles[text.substr(key, is - key)].push_back(text.substr(is + 5, end - is - 5));
  }
  return needles;
}

TEST(Ruler, Suites_ThirteenTasksAndTwoOnFiles) {
  const auto names = Generated();
  EXPECT_EQ(names.size(), 13u);
  for (const char* name : {"ruler/qa_1", "ruler/qa_2"}) {
    EXPECT_NE(FindTask(name), nullptr);
    EXPECT_EQ(std::count(names.begin(), names.end(), name), 0);
  }
  EXPECT_EQ(FindTask("ruler/niah_single_9"), nullptr);
}

TEST(Suites, Quick_AllFifteenThere) {
  for (const SuiteInfo& suite : Suites()) {
    if (suite.name != "quick") {
      EXPECT_FALSE(suite.tasks.empty()) << suite.name;
      continue;
    }
    EXPECT_EQ(suite.tasks.size(), 15u);
    const std::set<const TaskInfo*> distinct(suite.tasks.begin(), suite.tasks.end());
    EXPECT_EQ(distinct.size(), 15u);
  }
  EXPECT_EQ(Suites()[0].name, "quick");
}

TEST(LargestFit, Bounds_ExactlyTheLastThatFits) {
  for (uint32_t last = 0; last < 70; ++last) {
    const auto fits = [last](uint32_t n) { return n <= last; };
    EXPECT_EQ(LargestFit(1, 0, fits), last);
    EXPECT_EQ(LargestFit(1, 40, fits), std::min(last, 40u));
    EXPECT_EQ(LargestFit(7, 0, fits), last < 7 ? 0 : last);
    EXPECT_EQ(LargestFit(0, 0, fits), last);
  }
}

class EachTask : public testing::TestWithParam<std::string_view> {};

// evaluation.md 12.8.
TEST_P(EachTask, Length_KeptAndNotMuchRoomLeft) {
  for (const uint32_t length : {2048u, 4096u}) {
    TaskRequest request = NanoRequest(length, 20);
    request.reserved = 10;
    const TaskInfo& task = *FindTask(GetParam());
    for (const Item& item : Items(task.name, request)) {
      EXPECT_LE(
          NanoTokenizer().Tokenize(Prompt(item), false, false)->size() + task.max_new_tokens + 10,
          length);
      EXPECT_EQ(item.meta["length"], length);
    }
    const auto family = RulerFamilyOf(task, request);
    ASSERT_TRUE(family.has_value());
    const uint32_t size = *RulerSize(task, request, *family) + 2 * family->increment;
    bool too_long = false;
    for (uint64_t sample = 0; sample < 20 && !too_long; ++sample) {
      Rng rng = SampleRng(request, task.name, sample);
      const Item item = family->draw(sample, rng, size).item;
      too_long = RulerPromptTokens(request, item) > RulerPromptLimit(task, request);
    }
    EXPECT_TRUE(too_long) << length;
  }
}

TEST_P(EachTask, Fields_Complete) {
  const TaskInfo& task = *FindTask(GetParam());
  const auto items = Items(task.name, NanoRequest(2048, 3));
  ASSERT_EQ(items.size(), 3u);
  std::set<std::string> ids, contexts;
  for (const Item& item : items) {
    EXPECT_EQ(item.task, task.name);
    EXPECT_EQ(item.max_new_tokens, task.max_new_tokens);
    EXPECT_FALSE(item.answers.empty());
    EXPECT_EQ(item.metrics, std::vector<std::string>{std::string(task.metrics[0])});
    EXPECT_TRUE(item.question.ends_with('?') || item.question.ends_with("above."));
    EXPECT_TRUE(item.context.ends_with('\n'));
    EXPECT_EQ(item.answer_prefix.front(), ' ');
    EXPECT_EQ(item.meta["seed"], 42);
    ids.insert(item.id);
    contexts.insert(item.context);
  }
  EXPECT_EQ(ids.size(), 3u);
  EXPECT_EQ(contexts.size(), 3u);
}

TEST_P(EachTask, SameRequest_SameItemsHoweverManyAreMade) {
  const auto items = Items(GetParam(), NanoRequest(2048, 3));
  const auto again = Items(GetParam(), NanoRequest(2048, 5));
  for (size_t i = 0; i < items.size(); ++i) EXPECT_EQ(ToJson(items[i]), ToJson(again[i]));
}

TEST_P(EachTask, OtherSeed_OtherItems) {
  TaskRequest other = NanoRequest(2048, 1);
  other.seed = 43;
  const Item a = Items(GetParam(), NanoRequest(2048, 1))[0], b = Items(GetParam(), other)[0];
  EXPECT_NE(a.context, b.context);
  EXPECT_NE(a.answers, b.answers);
}

TEST_P(EachTask, AnswerPosition_PointsToTheFirstAnswer) {
  for (const Item& item : Items(GetParam(), NanoRequest(2048, 5))) {
    const auto tokens = NanoTokenizer().Tokenize(item.context, false, false);
    const size_t position = item.meta["token_position_answer"];
    std::string before;
    for (size_t i = 0; i < position; ++i) before += NanoTokenizer().Piece((*tokens)[i]);
    // The tokens before the answer may end within a token that holds both.
    const size_t at = item.context.find(item.answers[0], before.size() < 8 ? 0 : before.size() - 8);
    EXPECT_NEAR(static_cast<double>(at), static_cast<double>(before.size()), 8) << item.id;
  }
}

TEST_P(EachTask, TooShort_InputErrorThatSaysSo) {
  const TaskInfo& task = *FindTask(GetParam());
  for (const uint32_t length : {32u, 100u}) {
    const auto items = task.generate(task, NanoRequest(length, 1));
    ASSERT_FALSE(items.has_value());
    EXPECT_EQ(items.error().kind, ErrorKind::kInput);
    EXPECT_THAT(items.error().Message(), HasSubstr("--ctx"));
    EXPECT_THAT(items.error().Message(), HasSubstr(std::string(task.name)));
  }
}

INSTANTIATE_TEST_SUITE_P(Ruler, EachTask, testing::ValuesIn(Generated()), [](const auto& info) {
  return std::string(info.param.substr(info.param.find('/') + 1));
});

struct NiahCase {
  const char* name;
  const char* type;
  size_t keys, answers;
};

class EachNiah : public testing::TestWithParam<NiahCase> {};

TEST_P(EachNiah, Needles_OnceEachAndAnswersFollow) {
  for (const uint32_t length : {1024u, 4096u}) {
    for (const Item& item : Items(GetParam().name, NanoRequest(length, 10))) {
      const auto needles = ReadNeedles(item.context, GetParam().type);
      const size_t lines = item.meta["haystack"] == "needle" ? item.meta["size"].get<size_t>() : 0;
      if (lines == 0) {
        EXPECT_EQ(needles.size(), GetParam().keys);
      } else {
        EXPECT_GT(needles.size(), lines / 2);  // distractors may share a key among themselves
      }
      std::set<std::string> expected;
      for (const auto& [key, values] : needles) {
        if (item.question.find(" " + key + ",") == std::string::npos &&
            item.question.find(" " + key + " ") == std::string::npos) {
          continue;
        }
        expected.insert(values.begin(), values.end());
        EXPECT_THAT(item.answer_prefix, HasSubstr(key));
      }
      EXPECT_EQ(std::set<std::string>(item.answers.begin(), item.answers.end()), expected);
      EXPECT_EQ(item.answers.size(), GetParam().answers);
      for (const std::string& answer : item.answers) EXPECT_EQ(CountOf(item.context, answer), 1u);
      const double depth = item.meta["depth"];
      EXPECT_TRUE(depth >= 0 && depth <= 1) << depth;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Ruler, EachNiah,
                         testing::Values(NiahCase{"ruler/niah_single_1", "numbers", 1, 1},
                                         NiahCase{"ruler/niah_single_2", "numbers", 1, 1},
                                         NiahCase{"ruler/niah_single_3", "uuids", 1, 1},
                                         NiahCase{"ruler/niah_multikey_1", "numbers", 4, 1},
                                         NiahCase{"ruler/niah_multikey_2", "numbers", 1, 1},
                                         NiahCase{"ruler/niah_multikey_3", "uuids", 1, 1},
                                         NiahCase{"ruler/niah_multivalue", "numbers", 1, 4},
                                         NiahCase{"ruler/niah_multiquery", "numbers", 4, 4}),
                         [](const auto& info) { return std::string(info.param.name + 6); });

TEST(RulerNiah, Depths_SpreadOverTheWholeContext) {
  for (const char* name : {"ruler/niah_single_1", "ruler/niah_single_2", "ruler/niah_multikey_2"}) {
    std::set<int> quarters;
    for (const Item& item : Items(name, NanoRequest(2048, 40))) {
      quarters.insert(std::min(3, static_cast<int>(item.meta["depth"].get<double>() * 4)));
    }
    EXPECT_EQ(quarters.size(), 4u) << name;
  }
}

TEST(RulerNiah, Values_HaveTheFormOfTheirType) {
  for (const Item& item : Items("ruler/niah_single_2", NanoRequest(1024, 20))) {
    EXPECT_THAT(item.answers[0], testing::MatchesRegex("[1-9][0-9]{6}"));
  }
  for (const Item& item : Items("ruler/niah_multikey_3", NanoRequest(2048, 20))) {
    const char* uuid = "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}";
    EXPECT_THAT(item.answers[0], testing::MatchesRegex(uuid));
  }
}

TEST(RulerNiah, Frame_SingularAndPlural) {
  const Item one = Items("ruler/niah_single_1", NanoRequest(1024, 1))[0];
  EXPECT_TRUE(one.context.starts_with("A special magic number is hidden in the text below."));
  EXPECT_TRUE(one.question.starts_with("What is the special magic number for "));
  EXPECT_TRUE(one.answer_prefix.ends_with(" mentioned in the text is"));
  const Item four = Items("ruler/niah_multiquery", NanoRequest(1024, 1))[0];
  EXPECT_TRUE(four.context.starts_with("Some special magic numbers are hidden in the text below."));
  EXPECT_TRUE(four.question.starts_with("What are all the special magic numbers for "));
  EXPECT_THAT(four.question, HasSubstr(", and "));
  EXPECT_TRUE(four.answer_prefix.ends_with(" mentioned in the text are"));
}

TEST(RulerNiah, Noise_LinesAndNeedleOnLinesOfTheirOwn) {
  const Item item = Items("ruler/niah_single_1", NanoRequest(1024, 1))[0];
  EXPECT_EQ(CountOf(item.context, std::string(kNoiseLine) + "\n"), item.meta["size"]);
  EXPECT_EQ(CountOf(item.context, "\nOne of the special magic numbers for "), 1u);
  EXPECT_EQ(CountOf(item.context, item.answers[0] + ".\n" + std::string(kNoiseLine)), 1u);
}

TEST(RulerVt, Chain_LeadsFromTheValueToAllAnswers) {
  for (const uint32_t length : {1024u, 4096u}) {
    for (const Item& item : Items("ruler/vt", NanoRequest(length, 10))) {
      // The example is complete in itself and ends with a blank line before the second frame.
      const size_t second = item.context.rfind("Memorize and track");
      ASSERT_GT(second, 0u);
      EXPECT_EQ(item.context.substr(second - 2, 2), "\n\n");
      EXPECT_LE(NanoTokenizer().Tokenize(item.context.substr(0, second), false, false)->size(),
                500u);
      const std::string text = item.context.substr(second);
      const size_t at = item.question.find("value ") + 6;
      std::set<std::string> holders = {item.question.substr(at, 5)};
      std::vector<std::string> found;
      for (size_t line = text.find("VAR "); line != std::string::npos;
           line = text.find("\nVAR ", line + 1)) {
        const auto words = SplitWords(std::string_view(text).substr(line, 26));
        const bool hop = words[3] == "VAR";
        ASSERT_EQ(holders.count(std::string(words[hop ? 4 : 3])), 1u) << text.substr(line, 26);
        found.emplace_back(words[1]);
        holders.emplace(words[1]);
      }
      EXPECT_EQ(found, item.answers);
      EXPECT_EQ(found.size(), 5u);
      for (const std::string& name : found) EXPECT_EQ(name.size(), 5u);
      EXPECT_THAT(item.answer_prefix,
                  HasSubstr("5 variables are assigned the value " + item.question.substr(at, 5)));
    }
  }
}

// How often each word stands in the list after the last `opening`.
std::map<std::string, size_t> CountWords(const std::string& context, const std::string& opening) {
  const size_t begin = context.find('\n', context.rfind(opening)) + 1;
  std::map<std::string, size_t> counts;
  for (const std::string_view word : SplitWords(std::string_view(context).substr(begin))) {
    if (!word.ends_with('.') || word == "...") ++counts[std::string(word)];
  }
  return counts;
}

TEST(RulerCwe, CommonWords_OccurAsOftenAsStated) {
  for (const auto& [length, often, seldom] :
       {std::tuple{1024u, 6u, 1u}, std::tuple{2048u, 6u, 1u}, std::tuple{4096u, 30u, 3u}}) {
    for (const Item& item : Items("ruler/cwe", NanoRequest(length, 5))) {
      const auto counts = CountWords(item.context, "Below is a numbered list");
      EXPECT_EQ(counts.size(), item.meta["size"]);
      EXPECT_GE(counts.size(), 15u);  // beside the ten that are asked for
      for (const auto& [word, count] : counts) {
        const bool common =
            std::find(item.answers.begin(), item.answers.end(), word) != item.answers.end();
        EXPECT_EQ(count, common ? often : seldom) << word;
      }
      EXPECT_EQ(item.answers.size(), 10u);
      EXPECT_EQ(CountOf(item.context, "Below is a numbered list"), 2u);
      EXPECT_EQ(item.meta["pseudo_words"], 0);
    }
  }
}

TEST(RulerCwe, MoreWordsThanThereAre_PseudoWordsFlagged) {
  TaskRequest request = NanoRequest(4096, 1);
  const auto family = RulerFamilyOf(*FindTask("ruler/cwe"), request);
  const size_t real = KeyAdjectives().size() + KeyNouns().size() + KeyVerbs().size();
  Rng rng(1);
  const Item item = family->draw(0, rng, static_cast<uint32_t>(real) + 25).item;
  EXPECT_EQ(item.meta["pseudo_words"], 25);
  EXPECT_EQ(CountWords(item.context, "Below is a numbered list").size(), real + 25);
}

TEST(RulerFwe, Counts_FollowZipfAndAnswersAreTheTopThree) {
  for (const Item& item : Items("ruler/fwe", NanoRequest(2048, 5))) {
    const auto counts = CountWords(item.context, "Read the coded text");
    const double size = item.meta["size"];
    const auto expected = [&](int rank) {
      return static_cast<size_t>(size / (rank * rank * 1.6449340668));
    };
    EXPECT_EQ(counts.at("..."), expected(1));
    ASSERT_EQ(item.answers.size(), 3u);
    for (int i = 0; i < 3; ++i) EXPECT_EQ(counts.at(item.answers[i]), expected(i + 2));
    for (const auto& [word, count] : counts) {
      if (word != "..." &&
          std::find(item.answers.begin(), item.answers.end(), word) == item.answers.end()) {
        EXPECT_LT(count, expected(4)) << word;
      }
    }
  }
}

// Read by hand: the question's key is that of the one needle, and its number is the answer.
TEST(RulerGolden, NiahSingle1) {
  const TaskRequest request = NanoRequest(512, 1);
  Rng rng(7);
  const Item item = RulerFamilyOf(*FindTask("ruler/niah_single_1"), request)->draw(0, rng, 2).item;
  EXPECT_EQ(Prompt(item),
            "A special magic number is hidden in the text below. Memorize it; you will be asked "
            "about the number later.\n"
            "The grass is green. The sky is blue. The sun is yellow. Here we go. There and back "
            "again.\n"
            "One of the special magic numbers for honest-pyramid is: 5157135.\n"
            "The grass is green. The sky is blue. The sun is yellow. Here we go. There and back "
            "again.\n"
            "What is the special magic number for honest-pyramid mentioned in the text above? "
            "The special magic number for honest-pyramid mentioned in the text is");
  EXPECT_EQ(item.answers, std::vector<std::string>{"5157135"});
}

// Counted by hand: zenuhi 8 times, vzllbu 3, fzxvqe 2, nhkkoz once.
TEST(RulerGolden, Fwe) {
  const TaskRequest request = NanoRequest(512, 1);
  Rng rng(7);
  const Item item = RulerFamilyOf(*FindTask("ruler/fwe"), request)->draw(0, rng, 53).item;
  EXPECT_EQ(item.context,
            "Read the coded text and track how often each coded word occurs; find the three most "
            "frequent coded words.\n"
            "nhkkoz zenuhi ... zenuhi ... zenuhi ... vzllbu ... ... fzxvqe ... ... zenuhi ... ... "
            "... ... ... ... zenuhi ... ... zenuhi fzxvqe ... zenuhi ... ... zenuhi ... vzllbu ... "
            "... ... ... ... ... ... ... ... ... ... ... vzllbu ...\n");
  EXPECT_EQ(item.answers, (std::vector<std::string>{"zenuhi", "vzllbu", "fzxvqe"}));
}

}  // namespace
}  // namespace pith
