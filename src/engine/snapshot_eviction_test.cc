// Snapshots of sequences whose recipe drops entries: every preset of the table, compressed before
// it is saved and not.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>

#include "base/hash.h"
#include "base/rng.h"
#include "engine/snapshot.h"
#include "engine/test_profile.h"
#include "make_model/make_model.h"

namespace pith {
namespace {

using testing::HasSubstr;

constexpr uint64_t kBudget = 61;

std::string TempName(const char* what) {
  return testing::TempDir() + "pith_" + what + "_" + std::to_string(::getpid());
}

std::unique_ptr<Engine> MakeEngine() {
  const std::string path = TempName("snapshot_model");
  if (!MakeModel({.layers = 3, .kv_heads = 2}, path)) throw std::runtime_error("no model");
  const auto profile = WriteMadeProfile(path);
  if (!profile) throw std::runtime_error("no profile");
  auto engine = Engine::Create({.model_path = path, .num_threads = 1, .repack = false});
  std::filesystem::remove(path);
  std::filesystem::remove(*profile);
  if (!engine) throw std::runtime_error(engine.error().Message());
  return std::move(*engine);
}

PlannedRun Planned(const std::string& recipe, const std::string& budget) {
  PlannedRun run{ParseRecipe(recipe).value(), std::nullopt};
  if (run.plan.takes_budget()) run.budget = ParseBudget(budget).value();
  return run;
}

std::vector<int32_t> Text(uint32_t count) {
  std::vector<int32_t> tokens(count);
  for (uint32_t i = 0; i < count; ++i) tokens[i] = static_cast<int32_t>((i * i * 7 + i) % 251);
  return tokens;
}

using Logits = std::vector<std::vector<float>>;

// Fixed tokens one by one, so that a wrong cache cannot hide behind a wrong text.
Logits Decode(Engine& engine, Sequence& sequence, int count) {
  Logits logits;
  for (int i = 0; i < count; ++i) {
    const int32_t token = (i * 31 + 5) % 251;
    Sequence* const one[] = {&sequence};
    const auto row = engine.Step(one, {&token, 1}).value();
    logits.emplace_back(row.begin(), row.end());
  }
  return logits;
}

// A second turn, then some tokens.
Logits GoOn(Engine& engine, Sequence& sequence) {
  Logits logits = Decode(engine, sequence, 9);
  const auto row = engine.Feed(sequence, Text(70)).value();
  logits.emplace_back(row.begin(), row.end());
  if (!engine.Compress(sequence)) throw std::runtime_error("not compressed");
  for (auto& step : Decode(engine, sequence, 3)) logits.push_back(std::move(step));
  return logits;
}

std::string ReadAll(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// Writes the bytes with a right checksum, as a forger would.
void WriteForged(const std::string& path, std::string bytes) {
  bytes.resize(bytes.size() - sizeof(uint64_t));
  Hasher hasher;
  hasher.Add(bytes.data(), bytes.size());
  const uint64_t checksum = hasher.Finish();
  bytes.append(reinterpret_cast<const char*>(&checksum), sizeof checksum);
  std::ofstream(path, std::ios::binary) << bytes;
}

class SnapshotEviction : public testing::TestWithParam<std::string> {
 protected:
  void TearDown() override { std::filesystem::remove(path_); }

  Sequence Prompt(Engine& engine, const PlannedRun& kv, bool compressed) {
    Sequence sequence = engine.NewSequence(kv).value();
    sequence.pinned = {{40, 43}};
    const auto row = engine.Feed(sequence, Text(201)).value();
    logits_.assign(row.begin(), row.end());
    if (compressed) {
      EXPECT_TRUE(engine.Compress(sequence));
      Decode(engine, sequence, 5);
    }
    return sequence;
  }
  Status Save(Engine& engine, const Sequence& sequence) {
    return SaveSnapshot(engine, sequence, {{1, 3}, {}}, logits_, "", path_);
  }

  std::vector<float> logits_;
  const std::string path_ = TempName("snapshot");
};

TEST_P(SnapshotEviction, SaveLoadContinue_EqualsContinueBitForBit) {
  const auto engine = MakeEngine();
  const auto other = MakeEngine();  // as after a restart of the program
  const PlannedRun kv = Planned(GetParam(), std::to_string(kBudget));
  for (const bool compressed : {false, true}) {
    Sequence sequence = Prompt(*engine, kv, compressed);
    ASSERT_TRUE(Save(*engine, sequence));
    const std::string bytes = ReadAll(path_);
    Snapshot loaded = LoadSnapshot(*other, path_, kv).value();
    EXPECT_EQ(loaded.sequence.pinned, sequence.pinned);
    EXPECT_EQ(loaded.sequence.Usage().entries, sequence.Usage().entries);
    EXPECT_EQ(loaded.sequence.cache.Usage().metadata, sequence.cache.Usage().metadata);
    ASSERT_TRUE(Save(*other, loaded.sequence));
    EXPECT_TRUE(ReadAll(path_) == bytes) << "saved again, it is another file";
    EXPECT_EQ(GoOn(*other, loaded.sequence), GoOn(*engine, sequence)) << compressed;
  }
}

std::vector<std::string> Recipes() {
  std::vector<std::string> recipes;
  for (const MethodInfo* method : Methods()) {
    if (DropsEntries(*method)) recipes.push_back(RecipeForShortTexts(method->name));
  }
  for (const char* text :
       {"adakv + f32", "h2o(every=4)", "score=streaming + when=chunks", "streaming + fold=less",
        "snapkv(window=8) + think(ratio=0.5,window=8,bias=mean)", "think(ratio=0.5,window=8)",
        "snapkv(window=8) + kqsvd(window=8)"}) {
    recipes.emplace_back(text);
  }
  return recipes;
}

INSTANTIATE_TEST_SUITE_P(Recipes, SnapshotEviction, testing::ValuesIn(Recipes()),
                         [](const auto& info) {
                           std::string name;
                           for (const char c : info.param) {
                             if (std::isalnum(static_cast<unsigned char>(c))) name += c;
                           }
                           return name;
                         });

using SnapshotRecipe = SnapshotEviction;

TEST_F(SnapshotRecipe, OtherRecipeOrBudget_IsRefusedByName) {
  const auto engine = MakeEngine();
  const PlannedRun kv = Planned("snapkv", "61");
  ASSERT_TRUE(Save(*engine, Prompt(*engine, kv, true)));
  const auto refusal = [&](const PlannedRun& wanted) {
    const auto loaded = LoadSnapshot(*engine, path_, wanted);
    return loaded ? std::string() : loaded.error().Message();
  };
  EXPECT_THAT(refusal(Planned("h2o", "61")), HasSubstr("\"snapkv\" with a budget of 61"));
  EXPECT_THAT(refusal(Planned("snapkv", "62")), HasSubstr("\"snapkv\" with a budget of 62"));
  EXPECT_THAT(refusal(Planned("snapkv", "10%")), HasSubstr("10%"));
  EXPECT_THAT(refusal({ParseRecipe("full").value(), {}}), HasSubstr("\"full\""));
  EXPECT_EQ(refusal(kv), "");
  const Snapshot loaded = LoadSnapshot(*engine, path_).value();
  EXPECT_EQ(loaded.sequence.kv.plan.canonical, "snapkv");
  EXPECT_EQ(loaded.sequence.kv.budget->text, "61");
}

TEST_F(SnapshotRecipe, ForgedState_IsRefusedOrHarmless) {
  const auto engine = MakeEngine();
  Rng rng(7, 1);
  for (const char* recipe : {"h2o", "snapkv", "razor(local=30)", "fastgen"}) {
    ASSERT_TRUE(Save(*engine, Prompt(*engine, Planned(recipe, "61"), true)));
    const std::string good = ReadAll(path_);
    uint64_t sizes[7];  // tokens, remembered, recipe, budget, cache, state, note
    std::memcpy(sizes, &good[24], sizeof sizes);
    const size_t begin = 96 + 4 * (sizes[0] + sizes[1]) + sizes[2] + sizes[3] + sizes[4];
    uint32_t refused = 0;
    for (uint32_t round = 0; round < 400; ++round) {
      std::string bad = good;
      // The first bytes hold the counts.
      const size_t range = round % 2 == 0 ? std::min<size_t>(sizes[5], 128) : sizes[5];
      char& byte = bad[begin + rng.Below(static_cast<uint32_t>(range))];
      byte = static_cast<char>(byte ^ (1 << rng.Below(8)));
      WriteForged(path_, bad);
      auto loaded = LoadSnapshot(*engine, path_);
      if (!loaded) {
        ++refused;
        EXPECT_EQ(loaded.error().kind, ErrorKind::kInput);
        EXPECT_EQ(loaded.error().where, path_);
        continue;
      }
      if (engine->Compress(loaded->sequence)) Decode(*engine, loaded->sequence, 2);
    }
    EXPECT_GT(refused, 50u) << recipe;
  }
}

TEST_F(SnapshotRecipe, ForgedRecipe_IsRefused) {
  const auto engine = MakeEngine();
  ASSERT_TRUE(Save(*engine, Prompt(*engine, Planned("snapkv", "61"), true)));
  const std::string good = ReadAll(path_);
  const size_t at = good.find("snapkv61");
  ASSERT_NE(at, std::string::npos);
  for (const char* text : {"snapkw61", "@napkv61", "snap\nv61", "Snapkv61", "snapkv06", "snapkv00",
                           "keydif61", "f16   61"}) {
    std::string bad = good;
    bad.replace(at, 8, text);
    WriteForged(path_, bad);
    const auto loaded = LoadSnapshot(*engine, path_);
    ASSERT_FALSE(loaded) << text;
    EXPECT_EQ(loaded.error().kind, ErrorKind::kInput);
    EXPECT_EQ(loaded.error().where, path_) << text;
    EXPECT_EQ(loaded.error().Message().find('\n'), std::string::npos);
  }
}

TEST_F(SnapshotRecipe, PromptOfSeveralRecipes_IsNotSaved) {
  const auto engine = MakeEngine();
  const PlannedRun runs[] = {Planned("snapkv", "61"), Planned("h2o", "61")};
  Sequence prompt = engine->NewSequence(runs).value();
  const auto row = engine->Feed(prompt, Text(80)).value();
  logits_.assign(row.begin(), row.end());
  EXPECT_FALSE(Save(*engine, prompt));
}

}  // namespace
}  // namespace pith
