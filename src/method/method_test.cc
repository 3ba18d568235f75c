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
    EXPECT_FALSE(method->parts.empty() && method->recipe.empty()) << method->name;
    EXPECT_FALSE(method->summary.empty()) << method->name;
    EXPECT_FALSE(method->identity.empty()) << method->name;
    EXPECT_EQ(method->paper.empty(), method->arxiv.empty()) << method->name;
  }
}

TEST(PartTable, EveryPart_CanDoWhatItsStageAsks) {
  std::set<std::pair<Stage, std::string_view>> names;
  for (const MethodInfo* method : Methods()) {
    for (const Part& part : method->parts) {
      EXPECT_TRUE(IsRecipeName(part.name)) << part.name;
      EXPECT_TRUE(names.insert({part.stage, part.name}).second) << part.name << " is there twice";
      EXPECT_EQ(FindPart(part.stage, part.name), &part);
      EXPECT_FALSE(part.summary.empty()) << part.name;
      EXPECT_EQ(part.score != nullptr, part.stage == Stage::kScore) << part.name;
      EXPECT_EQ(part.num_protected != nullptr, part.stage == Stage::kScore) << part.name;
      EXPECT_EQ(part.protects.empty(), part.stage != Stage::kScore) << part.name;
      EXPECT_EQ(part.allocate != nullptr, part.stage == Stage::kAlloc) << part.name;
      EXPECT_EQ(part.select != nullptr, part.stage == Stage::kSelect && part.name != "full");
      EXPECT_EQ(part.folds, part.stage == Stage::kFold) << part.name;
      EXPECT_EQ(part.admit != nullptr, part.stage == Stage::kAdmit) << part.name;
      EXPECT_EQ(part.judges != nullptr, part.stage == Stage::kAdmit) << part.name;
      EXPECT_EQ(part.drops != nullptr, part.stage == Stage::kAdmit) << part.name;
      EXPECT_EQ(part.read != nullptr, part.stage == Stage::kRead && part.name != "all");
      for (const ParameterInfo& parameter : part.parameters) {
        EXPECT_TRUE(IsRecipeName(parameter.name)) << part.name;
        EXPECT_FALSE(parameter.default_value.empty()) << part.name;
        EXPECT_FALSE(parameter.meaning.empty()) << part.name;
      }
    }
  }
}

TEST(MethodTable, Find_ByNameOnly) {
  ASSERT_NE(FindMethod("full"), nullptr);
  EXPECT_EQ(FindMethod("full")->name, "full");
  EXPECT_EQ(FindMethod("Full"), nullptr);
  EXPECT_EQ(FindMethod(""), nullptr);
  EXPECT_EQ(FindPart(Stage::kSelect, "snapkv"), nullptr);
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
