// Caches whose layers are sealed in different bits, as the model's profile says.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "cache/page.h"
#include "engine/profile.h"
#include "engine/snapshot.h"
#include "make_model/make_model.h"

namespace pith {
namespace {

constexpr uint32_t kLayers = 3, kHeads = 2, kDim = 32;
using Bits = std::vector<float>;

class Tuned : public testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::create_directories(folder_);
    ASSERT_TRUE(MakeModel(
        {.layers = kLayers, .kv_heads = kHeads, .head_dim = kDim, .context = 2048}, model_path_));
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  // With a profile that has these bits.
  std::unique_ptr<Engine> EngineWith(const Bits& keys, const Bits& values) {
    const ModelIdentity model = IdentifyModel(GgufFile::Open(model_path_).value()).value();
    Profile profile;
    profile.heads.key_bits = keys;
    profile.heads.value_bits = values;
    EXPECT_TRUE(AddToProfile(ProfileBeside(model_path_), model, profile));
    auto engine =
        Engine::Create({.model_path = model_path_, .num_threads = 1, .chunk = 64, .repack = false});
    if (!engine) throw std::runtime_error(engine.error().Message());
    return std::move(*engine);
  }

  static PlannedRun Planned(std::string_view recipe, std::string_view budget = "") {
    PlannedRun run{ParseRecipe(recipe).value(), {}};
    if (!budget.empty()) run.budget = ParseBudget(budget).value();
    return run;
  }

  static Sequence Fed(Engine& engine, const PlannedRun& run, size_t length) {
    std::vector<int32_t> tokens(length);
    for (size_t i = 0; i < length; ++i) tokens[i] = static_cast<int32_t>((i * i * 7 + i) % 251);
    Sequence sequence = engine.NewSequence(run).value();
    EXPECT_TRUE(engine.Feed(sequence, tokens));
    EXPECT_TRUE(engine.Compress(sequence));
    return sequence;
  }

  static std::vector<std::vector<float>> Decode(Engine& engine, Sequence& sequence, int count) {
    std::vector<std::vector<float>> logits;
    Sequence* const one[] = {&sequence};
    for (int32_t token = 0; token < count; ++token) {
      const auto row = engine.Step(one, {&token, 1}).value();
      logits.emplace_back(row.begin(), row.end());
    }
    return logits;
  }

  const std::string folder_ =
      (std::filesystem::temp_directory_path() / ("pith-tuned-" + std::to_string(::getpid())))
          .string();
  const std::string model_path_ = folder_ + "/model.gguf";
  const Bits mixed_keys_ = {8, 4, 16}, mixed_values_ = {2, 16, 4};
};

TEST_F(Tuned, SameBitsEverywhere_AreKiviBitForBit) {
  for (const auto& [bits, values, kivi] :
       {std::tuple{4.0f, 4.0f, "kivi4(group=64,residual=64)"},
        std::tuple{8.0f, 2.0f, "kivi(bits=8,values=2,group=64,residual=64)"}}) {
    const auto engine = EngineWith(Bits(kLayers, bits), Bits(kLayers, values));
    Sequence tuned = Fed(*engine, Planned("tuned(group=64,residual=64)"), 300);
    Sequence same = Fed(*engine, Planned(kivi), 300);
    EXPECT_EQ(Decode(*engine, tuned, 30), Decode(*engine, same, 30)) << kivi;
    EXPECT_EQ(tuned.cache.Usage().logical, same.cache.Usage().logical);
    EXPECT_EQ(tuned.cache.Usage().held_peak, same.cache.Usage().held_peak);
  }
}

TEST_F(Tuned, SixteenBitsEverywhere_AreTheFullCacheBitForBit) {
  const auto engine = EngineWith(Bits(kLayers, 16), Bits(kLayers, 16));
  Sequence tuned = Fed(*engine, Planned("tuned(residual=0)"), 300);
  Sequence full = Fed(*engine, Planned("full"), 300);
  EXPECT_EQ(Decode(*engine, tuned, 5), Decode(*engine, full, 5));
  EXPECT_EQ(tuned.cache.Usage().logical, full.cache.Usage().logical);
}

TEST_F(Tuned, ResidualOfTheWholeText_IsTheFullCacheBitForBit) {
  const auto engine = EngineWith(mixed_keys_, mixed_values_);
  Sequence tuned = Fed(*engine, Planned("tuned(residual=320)"), 300);
  Sequence full = Fed(*engine, Planned("full"), 300);
  EXPECT_EQ(Decode(*engine, tuned, 5), Decode(*engine, full, 5));
}

TEST_F(Tuned, Layers_TakeTheBytesOfTheirBits) {
  const auto engine = EngineWith(mixed_keys_, mixed_values_);
  const Sequence tuned = Fed(*engine, Planned("tuned(residual=0)"), 320);
  // 32 numbers and the scale and minimum of 32: 36 bytes in 8 bits, 20 in 4, 12 in 2; 64 in f16.
  for (uint32_t head = 0; head < kHeads; ++head) {
    EXPECT_EQ(tuned.cache.Usage(0, head).logical, 320u * (36 + 12));
    EXPECT_EQ(tuned.cache.Usage(1, head).logical, 320u * (20 + 64));
    EXPECT_EQ(tuned.cache.Usage(2, head).logical, 320u * (64 + 20));
  }
  EXPECT_EQ(tuned.cache.num_sealed(1, 0, Side::kKeys), 320u);
  EXPECT_EQ(tuned.cache.num_sealed(1, 0, Side::kValues), 0u);
}

TEST_F(Tuned, Budgets_CountAllLayers) {
  const auto engine = EngineWith(mixed_keys_, mixed_values_);
  const Sequence sequence = Fed(*engine, Planned("snapkv + tuned(residual=32)", "25%f16"), 600);
  const uint64_t budget = uint64_t{kLayers} * kHeads * 2 * kDim * 2 * 600 / 4;
  const uint64_t bytes = sequence.cache.Usage().logical;
  EXPECT_LE(bytes, budget);
  EXPECT_LT(budget - bytes, uint64_t{kLayers} * kHeads * 2 * kDim * 2);  // an entry of each head

  for (const char* text : {"200KiB", "300KiB"}) {
    const auto fresh = EngineWith(mixed_keys_, mixed_values_);
    const PlannedRun run = Planned("adakv + tuned(residual=32)", text);
    Sequence in_bytes = Fed(*fresh, run, 900);
    Decode(*fresh, in_bytes, 100);
    EXPECT_LE(fresh->pool().peak_bytes(), run.budget->amount);
    EXPECT_GE(in_bytes.cache.Usage().held, run.budget->amount / 3);
  }
}

TEST_F(Tuned, SaveLoadContinue_EqualsContinueBitForBit) {
  const auto engine = EngineWith(mixed_keys_, mixed_values_);
  Sequence sequence = Fed(*engine, Planned("snapkv + tuned(residual=32)", "100"), 300);
  const std::string path = folder_ + "/session";
  const std::vector<float> logits(engine->model().shape().vocabulary);
  ASSERT_TRUE(SaveSnapshot(*engine, sequence, {{1, 3}, {}}, logits, "", path));
  auto loaded = LoadSnapshot(*engine, path, sequence.kv);
  ASSERT_TRUE(loaded) << loaded.error().Message();
  Sequence fork = sequence.Fork();
  const auto expected = Decode(*engine, sequence, 60);
  EXPECT_EQ(Decode(*engine, loaded->sequence, 60), expected);
  EXPECT_EQ(Decode(*engine, fork, 60), expected);

  const auto other = EngineWith(mixed_keys_, {2, 8, 4});
  const auto refused = LoadSnapshot(*other, path, sequence.kv);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().Message(), testing::HasSubstr("sealed values of layer 1"));
}

}  // namespace
}  // namespace pith
