#include "calibrate/import.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace pith {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

const ModelIdentity kModel{"model.gguf", 7, 2, 2, 1};

std::string Refusal(const Result<ImportedSection>& imported) {
  if (imported) return "";
  EXPECT_EQ(imported.error().kind, ErrorKind::kInput);
  EXPECT_EQ(imported.error().where, "dir/file");
  return imported.error().Message();
}

Result<ImportedSection> Scores(std::string_view json) {
  return ImportHeadScores(json, "dir/file", kModel);
}
Result<ImportedSection> Gates(std::string_view text, uint32_t kv_heads = 2) {
  ModelIdentity model = kModel;
  model.num_kv_heads = kv_heads;
  return ImportGates(text, "dir/file", model);
}
Result<ImportedSection> Bits(std::string_view text) { return ImportBits(text, "dir/file", kModel); }

TEST(ImportHeadScores, MeansThatAddUpToOne_InAnyOrder) {
  const auto imported =
      Scores(R"({"1-0": [0.5, 0.5], "0-0": [1, 0], "0-1": [0, 0], "1-1": [2, 0]})");
  ASSERT_TRUE(imported) << imported.error().Message();
  // Means 0.5 0 0.5 1.
  EXPECT_THAT(imported->profile.heads.retrieval, ElementsAre(.25f, 0, .25f, .5f));
  EXPECT_EQ(imported->profile.heads.sections(), kProfileRetrieval);
  EXPECT_EQ(imported->profile.origins[0], "imported from file, mean of 2 examples");
}

TEST(ImportHeadScores, WhatDoesNotFitTheModel_IsNamed) {
  EXPECT_THAT(Refusal(Scores(R"({"0-0": [1], "0-1": [1], "1-0": [1]})")),
              AllOf(HasSubstr("3 heads, without 1-1"), HasSubstr("2 layers of 2 query heads")));
  EXPECT_THAT(Refusal(Scores(R"({"0-0": [1], "0-2": [1]})")), HasSubstr("head 0-2"));
  EXPECT_THAT(Refusal(Scores(R"({"0-0": [1], "2-0": [1]})")), HasSubstr("head 2-0"));
  EXPECT_THAT(Refusal(Scores("{}")), HasSubstr("0 heads, without 0-0"));
}

TEST(ImportHeadScores, OtherFiles_AreRefused) {
  EXPECT_THAT(Refusal(Scores("")), HasSubstr("no JSON object"));
  EXPECT_THAT(Refusal(Scores("[1, 2]")), HasSubstr("no JSON object"));
  EXPECT_THAT(Refusal(Scores(R"({"0-0": [1], )")), HasSubstr("no JSON object"));
  EXPECT_THAT(Refusal(Scores(R"({"0-0": [NaN]})")), HasSubstr("no JSON object"));
  EXPECT_THAT(Refusal(Scores(R"({"layer": [1]})")), HasSubstr("names no head"));
  EXPECT_THAT(Refusal(Scores(R"({"0-0-0": [1]})")), HasSubstr("names no head"));
  EXPECT_THAT(Refusal(Scores(R"({"-1-0": [1]})")), HasSubstr("names no head"));
  EXPECT_THAT(Refusal(Scores(R"({"0-0": [1], "0-0": [2]})")), HasSubstr("0-0 twice"));
  EXPECT_THAT(Refusal(Scores(R"({"0-0": [1], "0-00": [2]})")), HasSubstr("0-0 twice"));
  EXPECT_THAT(Refusal(Scores(R"({"0-0": 1})")), HasSubstr("no list"));
  EXPECT_THAT(Refusal(Scores(R"({"0-0": []})")), HasSubstr("no list"));
  EXPECT_THAT(Refusal(Scores(R"({"0-0": ["1"]})")), HasSubstr("no number"));
  EXPECT_THAT(Refusal(Scores(R"({"0-0": [-1]})")), HasSubstr("no number"));
  EXPECT_THAT(Refusal(Scores(R"({"0-0": [1, 2], "0-1": [1]})")), HasSubstr("1 scores where"));
  EXPECT_THAT(Refusal(Scores(R"({"0-0": [0], "0-1": [0], "1-0": [0], "1-1": [0]})")),
              HasSubstr("above 0"));
}

TEST(ImportGates, TabsOrSpaces_BeyondTheRangeClipped) {
  for (const char* text : {"1.25\t0.5\n0.125\t-1e-3\n", " 1.25 0.5\r\n\n0.125  -0.001"}) {
    const auto imported = Gates(text);
    ASSERT_TRUE(imported) << imported.error().Message();
    EXPECT_THAT(imported->profile.heads.gates, ElementsAre(1, .5f, .125f, 0));
    EXPECT_EQ(imported->profile.heads.sections(), kProfileGates);
    EXPECT_EQ(imported->profile.origins[1], "imported from file, 2 clipped to 0 or 1");
  }
  EXPECT_EQ(Gates("9.999e-01 0\n0 1\n")->profile.origins[1], "imported from file");
}

TEST(ImportGates, OtherFiles_AreRefused) {
  EXPECT_THAT(Refusal(Gates("1 0\n")), AllOf(HasSubstr("1 lines"), HasSubstr("2 layers of 2 KV")));
  EXPECT_THAT(Refusal(Gates("1 0\n1 0\n0 0\n")), HasSubstr("3 lines"));
  EXPECT_THAT(Refusal(Gates("1 0\n1\n")), HasSubstr("line 2 has 1 gates"));
  EXPECT_THAT(Refusal(Gates("1 0\n1 x\n")), HasSubstr("line 2 has something"));
  EXPECT_THAT(Refusal(Gates("1 nan\n1 0\n")), HasSubstr("line 1 has something"));
  EXPECT_THAT(Refusal(Gates("1 inf\n1 0\n")), HasSubstr("line 1 has something"));
  EXPECT_THAT(Refusal(Gates("")), HasSubstr("0 lines"));
}

TEST(ImportBits, YamlAndJson_InAnyOrder) {
  for (const char* text :
       {"0:\n  nbits_key: 8\n  nbits_value: 4\n1:\n  nbits_key: 16\n  nbits_value: 2\n",
        R"({"1": {"nbits_value": 2, "nbits_key": 16}, "0": {"nbits_key": 8, "nbits_value": 4}})"}) {
    const auto imported = Bits(text);
    ASSERT_TRUE(imported) << imported.error().Message();
    EXPECT_THAT(imported->profile.heads.key_bits, ElementsAre(8, 16));
    EXPECT_THAT(imported->profile.heads.value_bits, ElementsAre(4, 2));
    EXPECT_EQ(imported->profile.heads.sections(), kProfileBits);
    EXPECT_EQ(imported->profile.origins[3], "imported from file, 7.50 bits on average");
  }
}

TEST(ImportBits, OtherFiles_AreRefused) {
  const auto layers = [](std::string_view second) {
    return "0:\n nbits_key: 8\n nbits_value: 4\n" + std::string(second);
  };
  EXPECT_THAT(Refusal(Bits("")), HasSubstr("no layer 0, and the model has 2 layers"));
  EXPECT_THAT(Refusal(Bits(layers(""))), HasSubstr("no layer 1"));
  EXPECT_THAT(Refusal(Bits(layers("1:\n nbits_key: 8\n"))), HasSubstr("not a file of bits"));
  EXPECT_THAT(Refusal(Bits("model: x\nbits: 4 4")), HasSubstr("not a file of bits"));
  EXPECT_THAT(Refusal(Bits(layers("2:\n nbits_key: 8\n nbits_value: 4\n"))),
              HasSubstr("layer 2, and the model has 2 layers"));
  EXPECT_THAT(Refusal(Bits(layers("0:\n nbits_key: 8\n nbits_value: 4\n"))),
              HasSubstr("layer 0 has nbits_key twice"));
  EXPECT_THAT(Refusal(Bits(layers("1:\n nbits_key: 8\n nbits_key: 8\n"))),
              HasSubstr("layer 1 has nbits_key twice"));
  EXPECT_THAT(Refusal(Bits(layers("1:\n nbits_key: 8\n nbits_sum: 8\n"))),
              HasSubstr("layer 1 has something"));
  for (const char* bits : {"3", "0", "32"}) {
    EXPECT_THAT(Refusal(Bits(layers("1:\n nbits_key: 8\n nbits_value: " + std::string(bits)))),
                HasSubstr("layer 1 has nbits_value of " + std::string(bits)));
  }
  for (const char* bits : {"-4", "4.0", "four", "99999999999"}) {
    EXPECT_THAT(Refusal(Bits(layers("1:\n nbits_key: 8\n nbits_value: " + std::string(bits)))),
                HasSubstr("layer 1 has something"));
  }
}

}  // namespace
}  // namespace pith
