#include "engine/profile.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <functional>

#include "engine/engine.h"
#include "gguf/write.h"
#include "make_model/make_model.h"

namespace pith {
namespace {

using testing::AllOf;
using testing::HasSubstr;

constexpr uint32_t kLayers = 2, kQueryHeads = 4, kKvHeads = 2;

class ProfileTest : public testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::create_directories(folder_);
    ASSERT_TRUE(MakeModel({.layers = kLayers, .kv_heads = kKvHeads}, model_path_));
    model_ = IdentifyModel(GgufFile::Open(model_path_).value()).value();
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  static Profile WithGates() {
    Profile profile;
    profile.heads.gates = {.25f, 1, 0, .5f};
    profile.origins[1] = "by hand";
    return profile;
  }
  static Profile WithScores() {
    Profile profile;
    profile.heads.retrieval = {.5f, .125f, .125f, 0, 0, 0, .25f, 0};
    profile.origins[0] = "made up";
    return profile;
  }

  static Profile WithBits() {
    Profile profile;
    profile.heads.key_bits = {8, 16};
    profile.heads.value_bits = {4, 2};
    profile.origins[3] = "tuned";
    return profile;
  }

  // Of layers and channels; keys have 3 channels.
  static Profile WithLayers() {
    Profile profile;
    HeadProfile& heads = profile.heads;
    heads.labels = std::vector<float>(size_t{kLayers} * kKvHeads * 3, .25f);
    heads.energies = std::vector<float>(size_t{kLayers} * kKvHeads * 3, .5f);
    heads.key_similarity = {1, -.5f, -.5f, 1};
    heads.value_similarity = {1, .75f, .75f, 1};
    heads.key_sensitivity = {0, 1, 20, .5f, 2, 300};
    heads.value_sensitivity = {0, 0, 0, 0, 0, 1};
    for (size_t i = 4; i < kNumProfileSections; ++i) profile.origins[i] = "measured";
    return profile;
  }

  // What reading says about a profile whose writer was led astray.
  std::string Refusal(const std::function<void(GgufBuilder&)>& change) {
    GgufBuilder file;
    file.Integer("pith.profile.version", 1);
    file.Integer("pith.profile.model_hash", model_.hash);
    file.Integer("pith.profile.layers", kLayers);
    file.Integer("pith.profile.query_heads", kQueryHeads);
    file.Integer("pith.profile.kv_heads", kKvHeads);
    change(file);
    EXPECT_TRUE(file.Write(path_));
    const auto read = ReadProfile(path_);
    if (read) return "";
    EXPECT_EQ(read.error().kind, ErrorKind::kInput);
    EXPECT_THAT(read.error().Message(), HasSubstr(path_));
    return read.error().Message();
  }

  const std::string folder_ =
      (std::filesystem::temp_directory_path() / ("pith-profile-" + std::to_string(::getpid())))
          .string();
  const std::string model_path_ = folder_ + "/model.gguf", path_ = folder_ + "/model.profile.gguf";
  ModelIdentity model_;
};

TEST_F(ProfileTest, SectionsAreAddedAndReplaced_OthersStay) {
  ASSERT_TRUE(AddToProfile(path_, model_, WithGates()));
  EXPECT_EQ(ReadProfile(path_)->heads.sections(), kProfileGates);
  ASSERT_TRUE(AddToProfile(path_, model_, WithScores()));
  Profile other = WithGates();
  other.heads.gates = {1, 0, 0, 0};
  other.origins[1] = "again";
  ASSERT_TRUE(AddToProfile(path_, model_, other));

  const auto read = ReadProfile(path_);
  ASSERT_TRUE(read) << read.error().Message();
  EXPECT_TRUE(CheckProfileIsFor(*read, path_, model_));
  EXPECT_EQ(read->heads.sections(), kProfileGates | kProfileRetrieval);
  EXPECT_EQ(read->heads.num_query_heads, kQueryHeads);
  EXPECT_EQ(read->heads.gates, other.heads.gates);
  EXPECT_EQ(read->heads.retrieval, WithScores().heads.retrieval);
  EXPECT_EQ(read->origins[0], "made up");
  EXPECT_EQ(read->origins[1], "again");
  EXPECT_EQ(read->origins[2], "");

  ASSERT_TRUE(AddToProfile(path_, model_, WithBits()));
  const Profile all = ReadProfile(path_).value();
  EXPECT_EQ(all.heads.sections(), kProfileGates | kProfileRetrieval | kProfileBits);
  EXPECT_EQ(all.heads.key_bits, WithBits().heads.key_bits);
  EXPECT_EQ(all.heads.value_bits, WithBits().heads.value_bits);
  EXPECT_EQ(all.origins[3], "tuned");
}

TEST_F(ProfileTest, ForeignProfile_RefusedNamingBothFiles) {
  ModelIdentity other = model_;
  other.hash ^= 1;
  ASSERT_TRUE(AddToProfile(path_, other, WithGates()));
  const Status added = AddToProfile(path_, model_, WithScores());
  ASSERT_FALSE(added);
  EXPECT_THAT(added.error().Message(),
              AllOf(HasSubstr(path_), HasSubstr(model_path_), HasSubstr("another model")));
  EXPECT_EQ(ReadProfile(path_)->heads.sections(), kProfileGates);

  EngineOptions options{.model_path = model_path_, .repack = false};
  options.profile_path = path_;
  const auto named = Engine::Create(options);
  ASSERT_FALSE(named);
  EXPECT_THAT(named.error().Message(), AllOf(HasSubstr(path_), HasSubstr(model_path_)));
  // One that merely lies beside the model only matters to recipes that would use it.
  options.profile_path.clear();
  const auto engine = Engine::Create(options);
  ASSERT_TRUE(engine);
  EXPECT_TRUE((*engine)->NewSequence({ParseRecipe("streaming").value(), ParseBudget("9").value()}));
  const auto refused = (*engine)->NewSequence({ParseRecipe("duo").value(), std::nullopt});
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().Message(), HasSubstr("another model"));
}

TEST_F(ProfileTest, OtherQuantisation_UsesTheSameProfile) {
  const std::string half = folder_ + "/half.gguf";
  ASSERT_TRUE(MakeModel({.layers = kLayers, .kv_heads = kKvHeads, .type = GGML_TYPE_F16}, half));
  EXPECT_EQ(IdentifyModel(GgufFile::Open(half).value())->hash, model_.hash);
}

TEST_F(ProfileTest, WhatIsMissing_IsNamedWithTheCommandThatMakesIt) {
  const auto refusal = [&](const char* recipe) {
    const Plan plan = ParseRecipe(recipe).value();
    const Status before = CheckProfileFor(plan, "", model_path_);
    const auto engine = Engine::Create({.model_path = model_path_, .repack = false});
    const auto sequence = (*engine)->NewSequence(
        {plan, plan.takes_budget() ? std::optional(ParseBudget("99").value()) : std::nullopt});
    EXPECT_FALSE(before);
    EXPECT_FALSE(sequence);
    EXPECT_EQ(before.error().Message(), sequence.error().Message());
    return before.error().Message();
  };
  EXPECT_THAT(refusal("headkv"),
              AllOf(HasSubstr("\"headkv\" needs"), HasSubstr("there is no profile"),
                    HasSubstr(path_), HasSubstr("pith calibrate heads -m " + model_path_)));
  ASSERT_TRUE(AddToProfile(path_, model_, WithScores()));
  EXPECT_THAT(refusal("duo"), AllOf(HasSubstr("no section \"gates\""), HasSubstr("--gates")));
  EXPECT_THAT(refusal("razor"), HasSubstr("no section \"echo\""));
  EXPECT_THAT(refusal("tuned"), AllOf(HasSubstr("\"full + store=tuned\" needs"),
                                      HasSubstr("no section \"bits\""), HasSubstr("--bits")));
  EXPECT_THAT(refusal("snapkv + tuned"), HasSubstr("no section \"bits\""));
  EXPECT_THAT(refusal("less"),
              AllOf(HasSubstr("no section \"fold\""), HasSubstr("pith calibrate less -m")));
  EXPECT_TRUE(CheckProfileFor(ParseRecipe("headkv").value(), "", model_path_));
  EXPECT_TRUE(CheckProfileFor(ParseRecipe("snapkv").value(), "", model_path_));
  EXPECT_FALSE(CheckProfileFor(ParseRecipe("headkv").value(), "/no/such/profile", model_path_));
}

TEST_F(ProfileTest, LayersAndChannels_AreKeptBesideTheRest) {
  ASSERT_TRUE(AddToProfile(path_, model_, WithGates()));
  const Profile given = WithLayers();
  ASSERT_TRUE(AddToProfile(path_, model_, given));
  const auto read = ReadProfile(path_);
  ASSERT_TRUE(read) << read.error().Message();
  EXPECT_EQ(read->heads.sections(),
            kProfileGates | kProfileChannels | kProfileSimilarity | kProfileSensitivity);
  EXPECT_EQ(read->heads.labels, given.heads.labels);
  EXPECT_EQ(read->heads.energies, given.heads.energies);
  EXPECT_EQ(read->heads.key_similarity, given.heads.key_similarity);
  EXPECT_EQ(read->heads.value_similarity, given.heads.value_similarity);
  EXPECT_EQ(read->heads.key_sensitivity, given.heads.key_sensitivity);
  EXPECT_EQ(read->heads.value_sensitivity, given.heads.value_sensitivity);
  EXPECT_EQ(read->origins[4], "measured");
  EXPECT_EQ(read->origins[1], "by hand");
}

TEST_F(ProfileTest, DamagedLayersAndChannels_AreRefused) {
  const auto both = [&](const char* first, const char* second, uint32_t columns,
                        const std::vector<float>& values) {
    return Refusal([&](GgufBuilder& f) {
      f.Tensor(first, kLayers, columns, values);
      f.Tensor(second, kLayers, columns, values);
    });
  };
  EXPECT_EQ(both("labels", "energies", 4, std::vector<float>(8, .25f)), "");
  EXPECT_THAT(both("labels", "energies", 3, std::vector<float>(6)),
              HasSubstr("not a multiple of the KV heads x 2"));
  EXPECT_THAT(both("labels", "energies", 4, std::vector<float>(8, 1.5f)), HasSubstr("0 to 1"));
  EXPECT_THAT(both("key_similarity", "value_similarity", 2, {1, -1.5f, 0, 1}),
              HasSubstr("outside -1 to 1"));
  EXPECT_THAT(both("key_similarity", "value_similarity", 3, std::vector<float>(6)),
              HasSubstr("is 3 x 2 of f32, not 2 x 2"));
  EXPECT_THAT(both("key_sensitivity", "value_sensitivity", 3, {0, 0, 0, 0, -1, 0}),
              HasSubstr("a value of -1"));
  EXPECT_THAT(both("key_sensitivity", "value_sensitivity", 3, {0, 0, 0, 0, HUGE_VALF, 0}),
              HasSubstr("a value of inf"));
}

// Two features of keys with three numbers, made by two hidden ones.
Profile WithFold() {
  Profile profile;
  HeadProfile& heads = profile.heads;
  const auto fill = [](std::vector<float>* table, size_t heads_in_all, size_t each) {
    for (size_t i = 0; i < heads_in_all * each; ++i) table->push_back(float(i) / 8 - 3);
  };
  fill(&heads.fold_query_in, size_t{kLayers} * kQueryHeads, 6);
  fill(&heads.fold_query_out, size_t{kLayers} * kQueryHeads, 4);
  fill(&heads.fold_key_in, size_t{kLayers} * kKvHeads, 6);
  fill(&heads.fold_key_out, size_t{kLayers} * kKvHeads, 4);
  fill(&heads.fold_mix, size_t{kLayers} * kKvHeads, 4);
  fill(&heads.fold_sigma1, size_t{kLayers} * kKvHeads, 2);
  fill(&heads.fold_sigma2, size_t{kLayers} * kKvHeads, 2);
  profile.origins[7] = "trained";
  return profile;
}

TEST_F(ProfileTest, FoldNetworks_AreKeptBesideTheRest) {
  ASSERT_TRUE(AddToProfile(path_, model_, WithGates()));
  const Profile given = WithFold();
  ASSERT_TRUE(AddToProfile(path_, model_, given));
  const auto read = ReadProfile(path_);
  ASSERT_TRUE(read) << read.error().Message();
  EXPECT_EQ(read->heads.sections(), kProfileGates | kProfileFold);
  EXPECT_EQ(read->heads.fold_query_in, given.heads.fold_query_in);
  EXPECT_EQ(read->heads.fold_query_out, given.heads.fold_query_out);
  EXPECT_EQ(read->heads.fold_key_in, given.heads.fold_key_in);
  EXPECT_EQ(read->heads.fold_key_out, given.heads.fold_key_out);
  EXPECT_EQ(read->heads.fold_mix, given.heads.fold_mix);
  EXPECT_EQ(read->heads.fold_sigma1, given.heads.fold_sigma1);
  EXPECT_EQ(read->heads.fold_sigma2, given.heads.fold_sigma2);
  EXPECT_EQ(read->origins[7], "trained");
}

TEST_F(ProfileTest, DamagedFoldNetworks_AreRefused) {
  constexpr const char* kNames[] = {"fold_query_in", "fold_query_out", "fold_key_in",
                                    "fold_key_out",  "fold_mix",       "fold_sigma1",
                                    "fold_sigma2"};
  const HeadProfile good = WithFold().heads;
  const std::vector<float>* const tables[] = {
      &good.fold_query_in, &good.fold_query_out, &good.fold_key_in, &good.fold_key_out,
      &good.fold_mix,      &good.fold_sigma1,    &good.fold_sigma2};
  // All tables, one of which `change` was let at.
  const auto refusal = [&](size_t changed, const auto& change) {
    return Refusal([&](GgufBuilder& file) {
      for (size_t i = 0; i < std::size(kNames); ++i) {
        std::vector<float> table = *tables[i];
        if (i == changed) change(table);
        if (table.empty()) continue;
        file.Tensor(kNames[i], kLayers, static_cast<uint32_t>(table.size() / kLayers), table);
      }
    });
  };
  EXPECT_EQ(refusal(0, [](auto&) {}), "");
  for (size_t i = 0; i < std::size(kNames); ++i) {
    EXPECT_THAT(refusal(i, [](auto& table) { table.resize(table.size() / 2); }),
                HasSubstr("do not fit each other"));
    EXPECT_THAT(refusal(i, [](auto& table) { table.clear(); }),
                AllOf(HasSubstr("missing"), HasSubstr(kNames[i])));
    EXPECT_THAT(refusal(i, [](auto& table) { table[1] = std::nanf(""); }), HasSubstr("nan"));
    // Only sigma1, which carries the size of exponentials, may be more than f16 holds.
    EXPECT_THAT(refusal(i, [](auto& table) { table[1] = 1e31f; }), HasSubstr("outside -"));
    EXPECT_EQ(refusal(i, [](auto& table) { table[1] = 7e4f; }).empty(), i == 5);
  }
  EXPECT_THAT(refusal(0, [](auto& table) { table.resize(kLayers * 6); }),
              HasSubstr("a multiple of the query heads"));
}

TEST_F(ProfileTest, DamagedProfiles_AreRefused) {
  const std::vector<float> good = {.5f, 0, 0, .5f};
  EXPECT_EQ(Refusal([&](GgufBuilder& f) { f.Tensor("gates", kLayers, kKvHeads, good); }), "");
  const auto gates = [&](uint32_t rows, uint32_t columns, const std::vector<float>& values) {
    return Refusal([&](GgufBuilder& f) { f.Tensor("gates", rows, columns, values); });
  };
  EXPECT_THAT(gates(4, 1, good), HasSubstr("is 1 x 4 of f32, not 2 x 2"));
  EXPECT_THAT(gates(1, 2, {0, 1}), HasSubstr("is 2 x 1"));
  EXPECT_THAT(gates(2, 2, {0, 1, std::nanf(""), 0}), HasSubstr("outside 0 to 1"));
  EXPECT_THAT(gates(2, 2, {0, 1, -.5f, 0}), HasSubstr("-0.5"));
  EXPECT_THAT(gates(2, 2, {0, 1, HUGE_VALF, 0}), HasSubstr("inf"));
  EXPECT_THAT(
      Refusal([&](GgufBuilder& f) { f.Tensor("retrieval", 2, 4, std::vector<float>(8, .25f)); }),
      HasSubstr("adds up to 2"));
  EXPECT_THAT(Refusal([&](GgufBuilder& f) { f.Tensor("echo", 2, 4, std::vector<float>(8)); }),
              HasSubstr("\"induction\" is missing"));
  const auto bits = [&](const std::vector<float>& keys, const std::vector<float>& values) {
    return Refusal([&](GgufBuilder& f) {
      f.Tensor("key_bits", static_cast<uint32_t>(keys.size()), 1, keys);
      if (!values.empty()) {
        f.Tensor("value_bits", static_cast<uint32_t>(values.size()), 1, values);
      }
    });
  };
  EXPECT_EQ(bits({16, 2}, {8, 4}), "");
  EXPECT_THAT(bits({16, 2}, {}), HasSubstr("\"value_bits\" is missing"));
  EXPECT_THAT(bits({16, 2, 2}, {8, 4}), HasSubstr("is 1 x 3 of f32, not 1 x 2"));
  EXPECT_THAT(bits({16, 3}, {8, 4}), HasSubstr("\"key_bits\" has a value of 3, not 16"));
  EXPECT_THAT(bits({16, 2}, {8, std::nanf("")}), HasSubstr("\"value_bits\" has a value of nan"));
  EXPECT_THAT(bits({16, 2}, {8, 0}), HasSubstr("a value of 0"));
  EXPECT_THAT(Refusal([&](GgufBuilder& f) { f.Tensor("later", 2, 2, good); }),
              HasSubstr("does not know"));
  EXPECT_THAT(Refusal([](GgufBuilder& f) { f.Integer("pith.profile.version", 2); }),
              HasSubstr("version 2"));
  EXPECT_THAT(Refusal([](GgufBuilder& f) { f.Text("pith.profile.layers", "two"); }),
              HasSubstr("pith.profile.layers"));
  EXPECT_THAT(Refusal([](GgufBuilder& f) { f.Integer("pith.profile.kv_heads", 0); }),
              HasSubstr("it has 0"));
  EXPECT_THAT(Refusal([](GgufBuilder& f) { f.Integer("pith.profile.query_heads", 1ull << 40); }),
              HasSubstr("pith.profile.query_heads"));
  EXPECT_THAT(Refusal([](GgufBuilder& f) { f.Integer("pith.profile.query_heads", 5); }),
              HasSubstr("cannot share"));
  EXPECT_THAT(Refusal([&](GgufBuilder& f) {
                f.Tensor("gates", kLayers, kKvHeads, good);
                f.Integer("pith.profile.gates.origin", 7);
              }),
              HasSubstr("gates.origin"));
}

TEST_F(ProfileTest, FilesThatAreNoProfile_AreRefused) {
  EXPECT_THAT(ReadProfile(model_path_).error().Message(), HasSubstr("not a profile"));
  ASSERT_TRUE(AddToProfile(path_, model_, WithScores()));
  const auto size = std::filesystem::file_size(path_);
  for (const uint64_t cut : {uint64_t{0}, uint64_t{3}, size / 2, size - 40}) {
    std::filesystem::resize_file(path_, cut);
    EXPECT_FALSE(ReadProfile(path_)) << cut;
    std::filesystem::remove(path_);
    ASSERT_TRUE(AddToProfile(path_, model_, WithScores()));
  }
  EXPECT_FALSE(ReadProfile(folder_));
}

}  // namespace
}  // namespace pith
