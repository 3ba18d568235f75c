#include "method/method.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>

namespace pith {
namespace {

bool IsRecipeName(std::string_view name) {
  return !name.empty() && std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
  });
}

TEST(MethodTable, EveryRow_IsWhole) {
  std::set<std::string_view> names;
  for (const StageInfo& stage : Stages()) names.insert(stage.name);
  for (const MethodInfo* method : Methods()) {
    EXPECT_TRUE(IsRecipeName(method->name)) << method->name;
    EXPECT_TRUE(names.insert(method->name).second) << method->name << " is there twice";
    EXPECT_FALSE(method->stages.empty()) << method->name;
    EXPECT_FALSE(method->summary.empty()) << method->name;
    EXPECT_FALSE(method->protects.empty()) << method->name;
    EXPECT_FALSE(method->budget.empty()) << method->name;
    EXPECT_FALSE(method->identity.empty()) << method->name;
    EXPECT_EQ(method->paper.empty(), method->arxiv.empty()) << method->name;
    for (const ParameterInfo& parameter : method->parameters) {
      EXPECT_TRUE(IsRecipeName(parameter.name)) << method->name;
      EXPECT_FALSE(parameter.default_value.empty()) << method->name;
      EXPECT_FALSE(parameter.meaning.empty()) << method->name;
    }
  }
}

TEST(MethodTable, Find_ByNameOnly) {
  ASSERT_NE(FindMethod("full"), nullptr);
  EXPECT_EQ(FindMethod("full")->name, "full");
  EXPECT_FALSE(FindMethod("full")->takes_budget);
  EXPECT_EQ(FindMethod("Full"), nullptr);
  EXPECT_EQ(FindMethod(""), nullptr);
}

TEST(StageTable, Rows_StandAtTheirStage) {
  for (size_t i = 0; i < kNumStages; ++i) {
    EXPECT_EQ(static_cast<size_t>(Stages()[i].stage), i);
    EXPECT_EQ(StageName(Stages()[i].stage), Stages()[i].name);
  }
  EXPECT_EQ(StageName(Stage::kStore), "store");
}

}  // namespace
}  // namespace pith
