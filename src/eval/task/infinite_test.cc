#include "eval/task/infinite.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <regex>

#include "eval/task/fit.h"
#include "eval/task/task_fixture.h"

namespace pith {
namespace {

TEST(Infinite, AnyLength_KeepsTheLengthRule) {
  for (const TaskInfo& task : InfiniteTasks()) {
    ExpectWellFormed(task.name, NanoRequest(1024, 10), 0.85);
    TaskRequest request = NanoRequest(4000, 2);
    request.reserved = 30;
    ExpectWellFormed(task.name, request, 0.95);
  }
}

TEST(Infinite, Samples_AreReproducible) {
  for (const TaskInfo& task : InfiniteTasks()) ExpectReproducible(task.name, NanoRequest(800, 5));
}

TEST(Infinite, TooShort_InputError) {
  for (const TaskInfo& task : InfiniteTasks()) {
    ExpectInputError(task.name, NanoRequest(20, 1), "the length is too short for infinite/");
  }
}

// The text is the noise line again and again with one key line at the depth.
TEST(InfinitePasskey, Items_OneKeyLineAtItsDepth) {
  const std::regex key_line(
      R"(The (pass key|sequence of digits) is (\d+)\. Remember it\. (\d+) is the \1\.)");
  for (const std::string_view name : {"infinite/passkey", "infinite/number_string"}) {
    for (const Item& item : Items(name, NanoRequest(2048, 12))) {
      std::istringstream lines(item.context);
      std::vector<std::string> noise;
      double before = -1;
      int keys = 0;
      for (std::string line; std::getline(lines, line);) {
        std::smatch match;
        if (line == kNoiseLine) noise.push_back(line);
        if (!std::regex_match(line, match, key_line)) continue;
        ++keys;
        before = static_cast<double>(noise.size());
        EXPECT_EQ(match[2], match[3]);
        EXPECT_EQ(match[2], item.answers.at(0));
      }
      ASSERT_EQ(keys, 1);
      const double count = static_cast<double>(noise.size());
      EXPECT_NEAR(before / count, item.meta.at("depth").get<double>(), 0.5 / count + 1e-9);
      EXPECT_EQ(item.answers[0].size(), name == "infinite/passkey" ? 5u : 10u);
    }
  }
}

// Each digit was copied from one beside it, so the ten have at most five runs.
TEST(InfiniteNumberString, Items_HaveRepeatedDigits) {
  for (const Item& item : Items("infinite/number_string", NanoRequest(400, 30))) {
    const std::string& digits = item.answers[0];
    int runs = 1;
    for (size_t i = 1; i < digits.size(); ++i) runs += digits[i] != digits[i - 1];
    EXPECT_LE(runs, 5) << digits;
  }
}

TEST(InfinitePasskey, DepthsOfTheUser_AreTaken) {
  TaskRequest request = NanoRequest(800, 3);
  request.settings.depths = {0, 1};
  for (const std::string_view name : {"infinite/passkey", "infinite/landmark"}) {
    const std::vector<Item> items = Items(name, request);
    ASSERT_EQ(items.size(), 4u);
    EXPECT_EQ(items[2].meta.at("depth"), 0);
    EXPECT_EQ(items[3].meta.at("depth"), 1);
    const std::string key = " is " + items[3].answers[0] + ". Remember";
    EXPECT_EQ(items[3].context.find("There and back", items[3].context.find(key)),
              std::string::npos);
  }
}

TEST(InfiniteKv, Items_AskedPairStandsAtItsIndexAndKeysDiffer) {
  const std::regex uuid("[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}");
  for (const std::string_view name : {"infinite/kv_retrieval", "infinite/lost_in_middle"}) {
    for (const Item& item : Items(name, NanoRequest(2048, 10))) {
      const Json object = Json::parse(item.context.substr(item.context.find('{')));
      ASSERT_EQ(object.size(), item.meta.at("pairs").get<size_t>());  // no key twice
      size_t index = 0;
      int found = 0;
      for (const auto& [key, value] : object.items()) {
        EXPECT_TRUE(std::regex_match(key, uuid)) << key;
        EXPECT_TRUE(std::regex_match(value.get<std::string>(), uuid)) << value;
        if (item.question == "Key: \"" + key + "\"") {
          ++found;
          EXPECT_EQ(value, item.answers.at(0));
          const double pairs = static_cast<double>(object.size());
          EXPECT_NEAR(static_cast<double>(index) / pairs, item.meta.at("depth").get<double>(),
                      1 / pairs);
        }
        ++index;
      }
      EXPECT_EQ(found, 1);
    }
  }
}

TEST(InfiniteKv, Styles_OnOneLineOrAPairALine) {
  const auto lines = [](const Item& item) {
    return std::count(item.context.begin(), item.context.end(), '\n');
  };
  const Item retrieval = Items("infinite/kv_retrieval", NanoRequest(2048, 1)).at(0);
  const Item lost = Items("infinite/lost_in_middle", NanoRequest(2048, 1)).at(0);
  EXPECT_EQ(lines(retrieval), 5);
  EXPECT_EQ(lines(lost), 5 + lost.meta.at("pairs").get<long>() - 1);
}

std::vector<int> Integers(const std::string& text) {
  const std::regex integer(R"(\d+)");
  std::vector<int> integers;
  for (std::sregex_iterator it(text.begin(), text.end(), integer), end; it != end; ++it) {
    integers.push_back(std::stoi(it->str()));
  }
  return integers;
}

// By counting instead of sorting.
int SlowRank(const std::vector<int>& numbers, const std::string& kind) {
  std::map<int, size_t> counts;
  for (const int number : numbers) ++counts[number];
  std::vector<int> distinct;
  for (const auto& [number, count] : counts) distinct.push_back(number);
  const size_t last = distinct.size() - 1;
  if (kind == "smallest") return distinct[0];
  if (kind == "second smallest") return distinct[1];
  if (kind == "third smallest") return distinct[2];
  if (kind == "largest") return distinct[last];
  if (kind == "second largest") return distinct[last - 1];
  if (kind == "third largest") return distinct[last - 2];
  EXPECT_EQ(kind, "median");
  for (const int candidate : distinct) {
    size_t below = 0, above = 0;
    for (const int number : numbers) {
      below += number < candidate;
      above += number > candidate;
    }
    if (below <= numbers.size() / 2 && above <= numbers.size() / 2) return candidate;
  }
  return -1;
}

TEST(InfiniteMathFind, Items_AnswerFollowsFromTheList) {
  std::set<std::string> kinds;
  for (const Item& item : Items("infinite/math_find", NanoRequest(1024, 21))) {
    const std::string kind = item.meta.at("kind");
    const std::string list = item.context.substr(item.context.find('['));
    const std::vector<int> numbers = Integers(list);
    EXPECT_EQ(numbers.size() % 2, 1u);
    EXPECT_LE(*std::max_element(numbers.begin(), numbers.end()), 99);
    EXPECT_EQ(item.answers.at(0), std::to_string(SlowRank(numbers, kind)));
    EXPECT_EQ(item.question, "What is the " + kind + " number in the list?");
    kinds.insert(kind);
  }
  EXPECT_EQ(kinds.size(), 7u);
}

TEST(InfiniteMathCalc, Items_AnswersAreThePartialResults) {
  const std::regex step(R"( ([+-]) (\d+))");
  for (const Item& item : Items("infinite/math_calc", NanoRequest(1024, 5))) {
    const size_t begin = item.context.find("\n\n") + 2;
    const std::string sum = item.context.substr(begin, item.context.find("\n\n", begin) - begin);
    int value = std::stoi(sum);
    std::vector<std::string> results = {std::to_string(value)};
    for (std::sregex_iterator it(sum.begin(), sum.end(), step), end; it != end; ++it) {
      value += ((*it)[1] == "+" ? 1 : -1) * std::stoi((*it)[2]);
      EXPECT_GE(value, 0);
      EXPECT_LE(value, 99);
      results.push_back(std::to_string(value));
    }
    EXPECT_GT(results.size(), 20u);
    EXPECT_EQ(item.answers, results);
    std::string written;
    for (const std::string& result : results) written += (written.empty() ? "" : ", ") + result;
    EXPECT_GE(item.max_new_tokens, NanoTokenizer().Tokenize(written, false, false)->size());
  }
}

// Runs the printed program by substitution, one call at a time.
TEST(InfiniteCodeRun, Items_AnswerIsWhatTheProgramReturns) {
  const std::regex function(R"(def (func_\d+)\(x\): return (?:(func_\d+)\(x\)|x) ([+-]) (\d+)\n)");
  const std::regex call(R"(What does (func_\d+)\((-?\d+)\) return\?)");
  size_t sample = 0;
  for (const Item& item : Items("infinite/code_run", NanoRequest(2048, 15))) {
    std::map<std::string, std::pair<std::string, int>> program;
    for (std::sregex_iterator it(item.context.begin(), item.context.end(), function), end;
         it != end; ++it) {
      const int adds = std::stoi((*it)[4]) * ((*it)[3] == "-" ? -1 : 1);
      EXPECT_GE(adds, -12);
      EXPECT_LE(adds, 17);
      program[(*it)[1]] = {(*it)[2], adds};
    }
    EXPECT_EQ(program.size(), item.meta.at("functions").get<size_t>());
    std::smatch match;
    ASSERT_TRUE(std::regex_search(item.question, match, call)) << item.question;
    int value = std::stoi(match[2]);
    EXPECT_LE(std::abs(value), 10);
    size_t calls = 0;
    for (std::string name = match[1]; !name.empty(); ++calls) {
      ASSERT_TRUE(program.contains(name)) << name;
      value += program[name].second;
      name = program[name].first;
    }
    EXPECT_EQ(item.answers.at(0), std::to_string(value));
    EXPECT_EQ(calls, 2 + 2 * (sample++ % 5));
  }
}

TEST(InfiniteLandmark, Items_FillerIsCutByCharacters) {
  for (const Item& item : Items("infinite/landmark", NanoRequest(1024, 10))) {
    const std::string& key = item.answers.at(0);
    EXPECT_GE(std::stoi(key), 1);
    EXPECT_LE(std::stoi(key), 50000);
    const std::string line =
        "\nThe pass key is " + key + ". Remember it. " + key + " is the pass key.\n";
    ASSERT_EQ(Occurrences(item.context, line), 1u);
    const size_t begin = item.context.find("\n\n") + 2, at = item.context.find(line);
    const size_t before = at - begin, after = item.context.size() - at - line.size() - 1;
    const std::string filler = std::string(kNoiseLine) + " ";
    for (size_t i = 0; i < before; ++i) {
      ASSERT_EQ(item.context[begin + i], filler[i % filler.size()]);
    }
    EXPECT_NEAR(static_cast<double>(before) / static_cast<double>(before + after),
                item.meta.at("depth").get<double>(), 0.001);
    EXPECT_FALSE(item.chat_template);
  }
}

}  // namespace
}  // namespace pith
