// What the loaders share: rows of a file, and prompts.
#include "eval/load/rows.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "eval/load/prompt.h"

namespace pith {
namespace {

using testing::HasSubstr;

// --- prompts

PromptParts Filled(std::string_view text, std::string_view context, std::string_view input) {
  const auto prompt = PromptTemplate::Parse(text, "test");
  EXPECT_TRUE(prompt);
  return prompt->Fill(context, input);
}

TEST(PromptTemplate, QuestionAndCue_AreCutAtTheirLines) {
  const auto parts =
      Filled("Read.\n\n{context}\n\nAgain.\n\nQuestion: {input}\nAnswer:", "C", "Q?");
  EXPECT_EQ(parts.context, "Read.\n\nC\n\nAgain.\n\n");
  EXPECT_EQ(parts.question, "Question: Q?\n");
  EXPECT_EQ(parts.answer_prefix, "Answer:");
}

TEST(PromptTemplate, NoInput_OnlyTheCueIsNotContext) {
  const auto parts = Filled("Read.\n{context}\n\nSum up.\n\nSummary: ", "C", "unused");
  EXPECT_EQ(parts.context, "Read.\nC\n\nSum up.\n\n");
  EXPECT_EQ(parts.question, "");
  EXPECT_EQ(parts.answer_prefix, "Summary: ");
}

TEST(PromptTemplate, InputAtTheEnd_ItsLastLineIsTheCue) {
  const auto parts = Filled("Shots:\n{context}\n{input}", "S", "Question: Q?\nType:");
  EXPECT_EQ(parts.context, "Shots:\nS\n");
  EXPECT_EQ(parts.question, "Question: Q?\n");
  EXPECT_EQ(parts.answer_prefix, "Type:");
  EXPECT_EQ(Filled("{context}\nQ: {input}", "C", "why?").question, "Q: why?");
  EXPECT_EQ(Filled("{context}\nQ: {input}", "C", "why?").answer_prefix, "");
}

TEST(PromptTemplate, CodeBehindTheContext_IsTheQuestion) {
  const auto parts = Filled("Complete.\n{context}{input}Next line of code:\n", "a\n", "b\n");
  EXPECT_EQ(parts.context, "Complete.\na\n");
  EXPECT_EQ(parts.question, "b\n");
  EXPECT_EQ(parts.answer_prefix, "Next line of code:\n");
}

TEST(PromptTemplate, Braces_AreAsInPython) {
  EXPECT_EQ(Filled("{{x}} {context}", "{input}", "I").context, "{x} {input}");
  for (const char* text : {"no slot", "{context} {context}", "{context} {other}", "{context} }"}) {
    EXPECT_FALSE(PromptTemplate::Parse(text, "test")) << text;
  }
}

// --- rows

TEST(ForEachRow, Forms_GiveTheSameRows) {
  const auto numbers = [](std::string_view text) {
    std::vector<std::string> seen;
    const Status status = ForEachRow(text, "f", [&](const Row& row) -> Result<bool> {
      seen.push_back(fmt::format("{}:{}", row.number(), row.json()["a"].get<std::string>()));
      return true;
    });
    return status ? fmt::format("{}", fmt::join(seen, " ")) : status.error().Message();
  };
  EXPECT_EQ(numbers("{\"a\":\"x\"}\n{\"a\":\"y\"}"), "1:x 2:y");
  EXPECT_EQ(numbers("\xEF\xBB\xBF{\"a\":\"x\"}\r\n\r\n{\"a\":\"y\"}\r\n"), "1:x 3:y");
  EXPECT_EQ(numbers(" [{\"a\":\"],\\\"\"},\n {\"a\":\"y\"}]\n"), "1:],\" 2:y");
  EXPECT_THAT(numbers("[{\"a\":\"x\"}, {\"a\":"), HasSubstr("f, element 2"));
  EXPECT_THAT(numbers("[{\"a\":\"x\"}] 1"), HasSubstr("something follows the list"));
  EXPECT_THAT(numbers("[]"), HasSubstr("f, element 1"));
  EXPECT_THAT(numbers("\n \n"), HasSubstr("no rows"));
  EXPECT_THAT(numbers("{\"a\":\"x\"}\n{\"a\""), HasSubstr("not JSON (f:2)"));
  EXPECT_THAT(numbers("{\"a\":\"\xff\"}"), HasSubstr("byte 6 of the JSON text is not UTF-8 (f:1)"));
  EXPECT_THAT(numbers("7"), HasSubstr("no JSON object (f:1)"));
  EXPECT_THAT(numbers("{\"a\":" + std::string(70, '[') + std::string(70, ']') + "}"),
              HasSubstr("nested more than 64 deep (f:1)"));
  EXPECT_THAT(numbers(std::string(kMaxRowBytes + 1, 'x')), HasSubstr("longer than 64 MiB (f:1)"));
}

TEST(ForEachRow, LongLine_IsRead) {
  const std::string text = "{\"a\": \"" + std::string(size_t{3} << 20, 'x') + "\"}\n";
  size_t bytes = 0;
  ASSERT_TRUE(ForEachRow(text, "f", [&](const Row& row) -> Result<bool> {
    bytes = row.json()["a"].get<std::string>().size();
    return true;
  }));
  EXPECT_EQ(bytes, size_t{3} << 20);
}

}  // namespace
}  // namespace pith
