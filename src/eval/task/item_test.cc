#include "eval/task/item.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace pith {
namespace {

using testing::HasSubstr;

Item FullItem() {
  Item item;
  item.task = "ruler/vt";
  item.id = "7";
  item.context = "long \"text\"\n";
  item.question = "what?";
  item.answer_prefix = " It is";
  item.answers = {"a", "b"};
  item.all_classes = {"x", "y"};
  item.metrics = {"string_match_all"};
  item.length = 5'000'000'000;
  item.max_new_tokens = 30;
  item.stop = "\n";
  item.chat_template = false;
  item.meta = {{"depth", 0.5}, {"seed", 42}};
  return item;
}

TEST(ItemJson, Full_SameAfterText) {
  const Item item = FullItem();
  const auto back = ItemFromJson(Json::parse(ToJson(item).dump()), "f.jsonl:1");
  ASSERT_TRUE(back.has_value()) << back.error().Message();
  EXPECT_EQ(back->task, item.task);
  EXPECT_EQ(back->id, item.id);
  EXPECT_EQ(back->context, item.context);
  EXPECT_EQ(back->question, item.question);
  EXPECT_EQ(back->answer_prefix, item.answer_prefix);
  EXPECT_EQ(back->answers, item.answers);
  EXPECT_EQ(back->all_classes, item.all_classes);
  EXPECT_EQ(back->metrics, item.metrics);
  EXPECT_EQ(back->length, item.length);
  EXPECT_EQ(back->max_new_tokens, item.max_new_tokens);
  EXPECT_EQ(back->stop, item.stop);
  EXPECT_EQ(back->chat_template, item.chat_template);
  EXPECT_EQ(back->meta, item.meta);
}

TEST(ItemJson, Defaults_LeftOutAndRestored) {
  Item item;
  item.task = "t";
  item.id = "0";
  EXPECT_EQ(ToJson(item).dump(), R"({"task":"t","id":"0","context":""})");
  const auto back = ItemFromJson(ToJson(item), "here");
  ASSERT_TRUE(back.has_value());
  EXPECT_TRUE(back->chat_template);
  EXPECT_EQ(back->max_new_tokens, 0u);
}

TEST(ItemJson, NumberAsId_ReadAsText) {
  const auto item = ItemFromJson(Json{{"task", "t"}, {"id", 12}, {"context", "c"}}, "here");
  ASSERT_TRUE(item.has_value());
  EXPECT_EQ(item->id, "12");
}

TEST(ItemJson, BadField_NamesPlaceAndField) {
  for (const char* name : {"task", "id", "context"}) {
    Json json = ToJson(FullItem());
    json.erase(name);
    const auto item = ItemFromJson(json, "f.jsonl:3");
    ASSERT_FALSE(item.has_value()) << name;
    EXPECT_EQ(item.error().kind, ErrorKind::kInput);
    EXPECT_THAT(item.error().Message(), HasSubstr(std::string("lacks the field \"") + name));
    EXPECT_THAT(item.error().Message(), HasSubstr("f.jsonl:3"));
  }
  const std::pair<const char*, Json> wrong[] = {
      {"task", 1},      {"id", 1.5},          {"context", nullptr},  {"question", Json::array()},
      {"answers", "a"}, {"answers", {1, 2}},  {"length", -1},        {"max_new_tokens", 1ull << 32},
      {"stop", 3},      {"chat_template", 0}, {"meta", "no object"}, {"metrics", {{"a", 1}}},
  };
  for (const auto& [name, value] : wrong) {
    Json json = ToJson(FullItem());
    json[name] = value;
    const auto item = ItemFromJson(json, "f.jsonl:3");
    ASSERT_FALSE(item.has_value()) << name << value;
    EXPECT_THAT(item.error().Message(), HasSubstr(name));
  }
  EXPECT_FALSE(ItemFromJson(Json::array(), "here").has_value());
}

}  // namespace
}  // namespace pith
