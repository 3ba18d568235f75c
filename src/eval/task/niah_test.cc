#include <gtest/gtest.h>

#include <cmath>

#include "eval/task/fit.h"
#include "eval/task/task_fixture.h"

namespace pith {
namespace {

constexpr std::string_view kNames[] = {"niah/single", "niah/multi", "niah/magic"};

TEST(Niah, AnyLength_KeepsTheLengthRule) {
  for (const std::string_view name : kNames) {
    ExpectWellFormed(name, NanoRequest(1024, 5), 0.9);
    TaskRequest request = NanoRequest(700, 5);
    request.reserved = 50;
    ExpectWellFormed(name, request, 0.85);
  }
}

TEST(Niah, Samples_AreReproducible) {
  for (const std::string_view name : kNames) ExpectReproducible(name, NanoRequest(700, 5));
}

TEST(Niah, EveryLengthAndDepth_NeedlesOnceAndAtTheirDepth) {
  for (const std::string_view name : kNames) {
    for (const uint32_t length : {2048u, 4096u}) {
      TaskRequest request = NanoRequest(length, 7);
      request.settings.depths = {0, 0.1, 1.0 / 3, 0.5, 0.77, 0.9, 1};
      for (const Item& item : Items(name, request)) {
        SCOPED_TRACE(item.task + " " + item.id);
        const std::vector<std::string> needles = item.meta.at("needles");
        size_t needle_tokens = 0;
        for (const std::string& needle : needles) {
          EXPECT_EQ(Occurrences(item.context, needle), 1u);
          needle_tokens += request.Count(" " + needle);
        }
        const std::string text = item.context.substr(item.context.find("\n\n") + 2);
        const size_t before = request.Count(text.substr(0, text.find(needles[0])));
        const double depth =
            static_cast<double>(before) / static_cast<double>(request.Count(text) - needle_tokens);
        EXPECT_NEAR(depth, item.meta.at("depth").get<double>(), 0.02);
        EXPECT_NEAR(depth, item.meta.at("measured_depth").get<double>(), 0.005);
      }
    }
  }
}

TEST(Niah, SmallHaystack_GivesTheTextByHand) {
  const Haystack haystack = Haystack::FromText("Cows sleep. Goats jump. Hens run.", "farm");
  TaskRequest request = NanoRequest(400, 5);
  request.haystack = &haystack;
  const std::vector<Item> items = Items("niah/single", request);
  ASSERT_EQ(items.size(), 5u);
  const std::string needle =
      "The best thing to do in San Francisco is eat a sandwich and sit in Dolores Park on a sunny "
      "day.";
  const Item& first = items[0];
  EXPECT_EQ(first.context.find(needle), first.context.find("\n\n") + 2);
  EXPECT_TRUE(items[4].context.ends_with(" " + needle + "\n\n"));
  const size_t middle = items[2].context.find(needle);
  EXPECT_EQ(items[2].context.substr(middle - 2, 2), ". ");
  EXPECT_EQ(first.question, "What is the best thing to do in San Francisco?");
  EXPECT_EQ(first.answers, (std::vector<std::string>{
                               needle, "eat a sandwich and sit in Dolores Park on a sunny day"}));
}

TEST(Niah, Magic_AnswerStandsInTheNeedleOfTheQuestionsKey) {
  std::set<std::string> answers;
  for (const Item& item : Items("niah/magic", NanoRequest(600, 20))) {
    const std::string begin = "What is the special magic number for ";
    ASSERT_TRUE(item.question.starts_with(begin));
    const std::string key =
        item.question.substr(begin.size(), item.question.find(" mentioned") - begin.size());
    ASSERT_EQ(item.answers.size(), 1u);
    EXPECT_EQ(item.answers[0].size(), 7u);
    EXPECT_EQ(Occurrences(item.context, "One of the special magic numbers for " + key +
                                            " is: " + item.answers[0] + "."),
              1u);
    EXPECT_EQ(Occurrences(item.context, key), 1u);
    answers.insert(item.answers[0]);
  }
  EXPECT_EQ(answers.size(), 20u);  // fresh for each cell
}

TEST(Niah, Rounds_ShareTheTextWithinARoundOnly) {
  const std::vector<Item> items = Items("niah/single", NanoRequest(1024, 10));
  ASSERT_EQ(items.size(), 10u);
  const std::string& needle = items[0].answers[0];
  const auto without = [&](const Item& item) {
    std::string text = item.context;
    text.erase(text.find(needle), needle.size());
    std::erase_if(text, [](char c) { return c == ' ' || c == '\n'; });
    return text;
  };
  EXPECT_EQ(without(items[0]), without(items[3]));
  EXPECT_NE(without(items[0]), without(items[5]));
}

TEST(Niah, BadInput_InputError) {
  ExpectInputError("niah/magic", NanoRequest(40, 1), "the length is too short for niah/magic");
  TaskRequest request = NanoRequest(1024, 1);
  request.settings.depths = {0.5, 50};
  ExpectInputError("niah/single", request, "a depth of 50 is not in the text");
  const Haystack haystack = Haystack::FromText(
      "Cows sleep. The best thing to do in San Francisco is eat a sandwich and sit in Dolores Park "
      "on a sunny day.",
      "farm");
  request = NanoRequest(1024, 1);
  request.haystack = &haystack;
  ExpectInputError("niah/single", request, "has the needle in it already (farm)");
}

}  // namespace
}  // namespace pith
