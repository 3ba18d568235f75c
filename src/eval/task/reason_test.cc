#include <gtest/gtest.h>

#include <map>
#include <regex>

#include "eval/task/fit.h"
#include "eval/task/reason_needle.h"
#include "eval/task/reason_world.h"
#include "eval/task/task_fixture.h"

namespace pith {
namespace {

constexpr std::string_view kNames[] = {"reason/needle", "reason/qa1", "reason/qa2", "reason/qa3"};

TEST(Reason, AnyLength_KeepsTheLengthRule) {
  for (const std::string_view name : kNames) ExpectWellFormed(name, NanoRequest(1024, 10), 0.9);
}

TEST(Reason, Samples_AreReproducible) {
  for (const std::string_view name : kNames) ExpectReproducible(name, NanoRequest(800, 6));
}

// From the four sentences alone: whose age is greater, and what that one likes.
TEST(ReasonNeedle, Answer_FollowsFromTheAges) {
  const std::regex age(R"(([A-Z][a-z]+) is (\d+) years old\.)");
  int older = 0;
  for (uint64_t seed = 0; seed < 200; ++seed) {
    Rng rng(seed);
    const ReasonNeedle needle = MakeReasonNeedle(rng, seed % 2 == 0);
    std::map<int, std::string> by_age;
    for (std::sregex_iterator it(needle.text.begin(), needle.text.end(), age), end; it != end;
         ++it) {
      by_age[std::stoi((*it)[2])] = (*it)[1];
    }
    ASSERT_EQ(by_age.size(), 2u) << needle.text;
    EXPECT_GE(by_age.begin()->first, 8);
    EXPECT_LE(by_age.rbegin()->first, 80);
    const bool asks_older = needle.question.find("older") != std::string::npos;
    EXPECT_EQ(asks_older, needle.asks_older);
    const std::string person = asks_older ? by_age.rbegin()->second : by_age.begin()->second;
    EXPECT_EQ(needle.person, person);
    const size_t begin = needle.text.find(person + "'s favourite");
    const std::string sentence =
        needle.text.substr(begin, needle.text.find('.', begin) + 1 - begin);
    EXPECT_EQ(needle.real, sentence);
    EXPECT_NE(needle.real, needle.distractor);
    EXPECT_EQ(Occurrences(needle.text, needle.distractor), 1u);
    EXPECT_GT(needle.text.find("years old"), needle.text.find(needle.real));
    older += asks_older;
  }
  EXPECT_EQ(older, 100);
}

TEST(ReasonNeedle, Items_SpansHoldTheRealNeedle) {
  const TaskRequest request = NanoRequest(1024, 8);
  const std::vector<Item> items = Items("reason/needle", request);
  ASSERT_EQ(items.size(), 10u);
  int older = 0;
  for (const Item& item : items) {
    const std::string real = item.meta.at("real_needle");
    const std::vector<size_t> bytes = item.meta.at("needle_bytes");
    EXPECT_EQ(item.context.substr(bytes[0], bytes[1] - bytes[0]), real);
    EXPECT_EQ(item.answers, std::vector<std::string>{real});
    const std::vector<size_t> span = item.meta.at("needle_tokens");
    const auto tokens = request.tokenizer->Tokenize(item.context, false, false);
    std::string joined;
    for (size_t i = span[0]; i < span[1]; ++i) joined += request.tokenizer->Piece((*tokens)[i]);
    EXPECT_NE(joined.find(real), std::string::npos) << joined;
    EXPECT_LE(joined.size(), real.size() + 4);
    EXPECT_FALSE(item.chat_template);
    older += item.meta.at("asks_older").get<bool>();
  }
  EXPECT_EQ(older, 5);  // one of each pair
}

// Who is where and what is where after each fact, from the sentences alone.
struct Told {
  std::map<std::string, std::string> person_at, holder;       // holder: of a thing
  std::map<std::string, std::vector<std::string>> places_of;  // of a thing
};

Told ReadStory(const std::vector<std::string>& facts) {
  const std::regex sentence(R"((\w+) (.*) the (\w+)\.)");
  const std::set<std::string> takes = {"took", "picked up", "grabbed"};
  const std::set<std::string> places = {"bathroom", "bedroom", "garden",
                                        "hallway",  "kitchen", "office"};
  Told told;
  for (const std::string& fact : facts) {
    std::smatch match;
    EXPECT_TRUE(std::regex_match(fact, match, sentence)) << fact;
    const std::string who = match[1], verb = match[2], what = match[3];
    if (places.contains(what)) {
      EXPECT_NE(told.person_at[who], what) << "a move to the same place";
      told.person_at[who] = what;
      for (const auto& [thing, holder] : told.holder) {
        if (holder == who) told.places_of[thing].push_back(what);
      }
    } else if (takes.contains(verb)) {
      EXPECT_FALSE(told.holder.contains(what)) << fact;
      EXPECT_FALSE(told.person_at[who].empty()) << fact;
      std::vector<std::string>& seen = told.places_of[what];
      if (seen.empty()) seen.push_back(told.person_at[who]);
      EXPECT_EQ(seen.back(), told.person_at[who]) << fact;
      told.holder[what] = who;
    } else {
      EXPECT_EQ(told.holder[what], who) << fact;
      told.holder.erase(what);
    }
  }
  return told;
}

std::string Solve(const std::string& question, const Told& told) {
  std::smatch match;
  if (std::regex_search(question, match, std::regex(R"(Where was the (\w+) .* to the (\w+)\?)"))) {
    const std::vector<std::string>& places = told.places_of.at(match[1]);
    std::string before, answer;
    int times = 0;
    for (const std::string& place : places) {
      if (place == match[2]) {
        answer = before;
        ++times;
      }
      before = place;
    }
    EXPECT_EQ(times, 1) << question;
    return answer;
  }
  if (std::regex_search(question, match, std::regex(R"(Where is the (\w+) now)"))) {
    return told.places_of.at(match[1]).back();
  }
  EXPECT_TRUE(std::regex_search(question, match, std::regex(R"(Where is (\w+) now)")));
  return told.person_at.at(match[1]);
}

TEST(ReasonWorld, ManyStories_AnswerFollowsFromTheFacts) {
  for (int hops = 1; hops <= 3; ++hops) {
    std::map<std::string, int> answers;
    for (uint64_t seed = 0; seed < 300; ++seed) {
      Rng rng(seed);
      const Story story = MakeStory(rng, hops);
      EXPECT_EQ(Solve(story.question, ReadStory(story.facts)), story.answer) << hops << " " << seed;
      EXPECT_GE(story.facts.size(), hops == 1 ? 2u : 6u);
      EXPECT_LE(story.facts.size(), hops == 1 ? 8u : 12u);
      ++answers[story.answer];
    }
    ASSERT_EQ(answers.size(), 6u);
    for (const auto& [place, count] : answers) EXPECT_GT(count, 20) << place;  // 50 expected
  }
}

TEST(ReasonQa, Items_FactsStandInOrderAndTheAnswerIsALabel) {
  for (const std::string_view name : {"reason/qa1", "reason/qa2", "reason/qa3"}) {
    for (const Item& item : Items(name, NanoRequest(1024, 10))) {
      const std::vector<std::string> facts = item.meta.at("facts");
      size_t from = 0;
      for (const std::string& fact : facts) {
        const size_t at = item.context.find(fact, from);
        ASSERT_NE(at, std::string::npos) << fact;
        from = at + fact.size();
      }
      ASSERT_EQ(item.answers.size(), 1u);
      EXPECT_EQ(item.answers[0], Solve(item.question, ReadStory(facts)));
      EXPECT_EQ(item.all_classes.size(), 6u);
      EXPECT_EQ(item.meta.at("source"), "synthetic");
      // The scoring ignores labels that the question has.
      EXPECT_EQ(item.question.find(item.answers[0]), std::string::npos);
    }
  }
}

TEST(Reason, BadInput_InputError) {
  ExpectInputError("reason/needle", NanoRequest(60, 1), "too short for reason/needle");
  ExpectInputError("reason/qa2", NanoRequest(40, 1), "too short for reason/qa2");
}

}  // namespace
}  // namespace pith
