#include "calibrate/less.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "base/file.h"
#include "calibrate/test_engine.h"
#include "engine/fold.h"
#include "make_model/make_model.h"

namespace pith {
namespace {

using testing::HasSubstr;

constexpr LessSettings kSettings{.hidden = 12, .rank = 4, .epochs = 8, .seed = 3};

class Teaching : public testing::Test {
 protected:
  void SetUp() override { std::filesystem::remove(checkpoint_); }
  void TearDown() override { std::filesystem::remove(checkpoint_); }

  static std::unique_ptr<Engine> Make(int threads = 1) {
    return MadeEngine(
        [](const std::string& path) { return MakeModel({.layers = 3, .kv_heads = 2}, path); },
        threads);
  }

  static TextRequest Texts(uint32_t length = 120) {
    TextRequest request;
    request.count = 3;
    request.length = length;
    return request;
  }

  Result<Profile> Teach(Engine& engine, const FeedProgress& progress = {},
                        const LessSettings& settings = kSettings) const {
    return TeachLess(engine, Texts(), settings, checkpoint_, progress);
  }

  const std::string checkpoint_ =
      (std::filesystem::path(testing::TempDir()) /
       (std::string("less-") + testing::UnitTest::GetInstance()->current_test_info()->name()))
          .string();
};

// Of every table.
bool SameNetworks(const HeadProfile& a, const HeadProfile& b) {
  return a.fold_query_in == b.fold_query_in && a.fold_query_out == b.fold_query_out &&
         a.fold_key_in == b.fold_key_in && a.fold_key_out == b.fold_key_out &&
         a.fold_mix == b.fold_mix && a.fold_sigma1 == b.fold_sigma1 &&
         a.fold_sigma2 == b.fold_sigma2;
}

TEST_F(Teaching, GivesNetworksForEveryHead) {
  const auto engine = Make();
  const auto profile = Teach(*engine);
  ASSERT_TRUE(profile) << profile.error().Message();
  EXPECT_EQ(profile->heads.sections(), kProfileFold);
  HeadProfile heads = profile->heads;
  const ModelShape& s = engine->model().shape();
  heads.num_layers = s.num_layers;
  heads.num_query_heads = s.num_query_heads;
  heads.num_kv_heads = s.num_kv_heads;
  EXPECT_EQ(FoldShapeOf(heads), (FoldShape{s.key_dim, 12, 4}));
  EXPECT_THAT(profile->origins[7], HasSubstr("8 epochs, seed 3, 3 texts of 120 tokens"));
}

TEST_F(Teaching, ThreadsMakeNoDifference) {
  const auto one = Make(1), three = Make(3);
  const auto a = Teach(*one);
  std::filesystem::remove(checkpoint_);
  const auto b = Teach(*three);
  ASSERT_TRUE(a && b);
  EXPECT_TRUE(SameNetworks(a->heads, b->heads));
}

TEST_F(Teaching, InterruptedAndGoneOnWith_IsTheSame) {
  const auto engine = Make();
  const auto whole = Teach(*engine);
  std::filesystem::remove(checkpoint_);
  ASSERT_TRUE(whole);
  int interruptions = 0;
  Result<Profile> result = Failure("not begun");
  for (size_t limit = 30; !result && limit < 400; limit += 15) {
    // In units of a text in a layer; what a run has done before it is stopped is cut to epochs.
    result =
        Teach(*engine, [&](size_t done, size_t total) { return done < limit || done == total; });
    if (result) break;
    EXPECT_THAT(result.error().Message(), HasSubstr("interrupted"));
    ++interruptions;
  }
  ASSERT_TRUE(result);
  EXPECT_GE(interruptions, 2);
  EXPECT_TRUE(SameNetworks(result->heads, whole->heads));
}

TEST_F(Teaching, OtherSettings_AreRefusedByName) {
  const auto engine = Make();
  ASSERT_TRUE(Teach(*engine));
  ASSERT_TRUE(std::filesystem::exists(checkpoint_));
  LessSettings other = kSettings;
  other.epochs = 9;
  const auto refused = Teach(*engine, {}, other);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().Message(), HasSubstr("another --epochs was not finished (8"));
  EXPECT_FALSE(TeachLess(*engine, Texts(100), kSettings, checkpoint_, {}));
  EXPECT_FALSE(TeachLess(*engine, Texts(kLeastLessLength - 1), kSettings, checkpoint_, {}));
}

TEST(LessState, SavedAndRead_IsTheSameAndDamageIsSeen) {
  const std::string path = testing::TempDir() + "less_state_file";
  const LessTerms terms{
      .model_hash = 5, .settings = kSettings, .texts_hash = 6, .num_layers = 2, .layer_size = 3};
  const LessState state{1, 4, {1, 2, 3, 4, 5, 6}, {0, 0, 1, 0, 0, 0}, {0, 1, 1, 0, 0, 2}, {1, .5}};
  ASSERT_TRUE(SaveLessState(path, terms, state));
  const auto read = ReadLessState(path, terms);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->layer, 1u);
  EXPECT_EQ(read->epoch, 4u);
  EXPECT_EQ(read->parameters, state.parameters);
  EXPECT_EQ(read->mean, state.mean);
  EXPECT_EQ(read->square, state.square);
  EXPECT_EQ(read->losses, state.losses);
  const std::string bytes = ReadText(path).value();
  for (size_t at = 0; at < bytes.size(); at += 7) {
    std::string damaged = bytes;
    damaged[at] ^= 1;
    ASSERT_TRUE(WriteText(path, damaged));
    EXPECT_FALSE(ReadLessState(path, terms)) << at;
  }
  const auto refused = [&](LessState bad) {
    EXPECT_TRUE(SaveLessState(path, terms, bad));
    return !ReadLessState(path, terms);
  };
  EXPECT_FALSE(refused(state));
  LessState bad = state;
  bad.layer = 3;
  EXPECT_TRUE(refused(bad));
  bad = state;
  bad.square[1] = -1;
  EXPECT_TRUE(refused(bad));
  bad = state;
  bad.parameters.pop_back();
  EXPECT_TRUE(refused(bad));
  bad = state;
  bad.mean[0] = std::nanf("");
  EXPECT_TRUE(refused(bad));
  std::filesystem::remove(path);
}

// Worked out by hand: the first step of Adam is as long as the rate, whatever the gradient.
TEST(Adam, FirstStep_IsTheRate) {
  std::vector<float> values = {1, 1, 1}, mean(3), square(3);
  AdamStep(std::vector<float>{4, -0.001f, 0}, 0.25, 0, values, mean, square);
  EXPECT_NEAR(values[0], 0.75, 1e-6);
  EXPECT_NEAR(values[1], 1.25, 1e-6);
  EXPECT_EQ(values[2], 1);
  EXPECT_EQ(LessRate(0, 40), 1e-3);
  EXPECT_EQ(LessRate(9, 40), 1e-3);
  EXPECT_EQ(LessRate(10, 40), 5e-4);
  EXPECT_EQ(LessRate(39, 40), 1.25e-4);
}

// Two heads whose keys come in two kinds, which a query tells apart: the folded entries' weights
// can be learnt.
TEST(FoldTraining, Steps_MakeTheLossSmaller) {
  const FoldLayer layer{.num_query_heads = 2,
                        .num_kv_heads = 1,
                        .key_dim = 4,
                        .value_dim = 4,
                        .hidden = 16,
                        .rank = 4,
                        .sinks = 1,
                        .recent = 5,
                        .scale = 0.5f};
  constexpr size_t kRows = 60;
  Rng rng(2);
  FoldSample<float> sample{.num_rows = kRows};
  for (std::vector<float>* numbers : {&sample.queries, &sample.keys, &sample.values}) {
    numbers->resize((numbers == &sample.queries ? 2 : 1) * kRows * 4);
    for (float& x : *numbers) x = rng.Normal();
  }
  AttendFully(layer, &sample);
  std::vector<float> gram(layer.width() * layer.width());
  for (size_t i = 0; i < layer.width(); ++i) gram[i * layer.width() + i] = 1;
  FoldLoss<float> loss(layer, gram);
  std::vector<float> values = FirstParameters(layer, rng), mean(values.size()),
                     square(values.size());
  double first = 0, last = 0;
  for (uint64_t step = 0; step < 600; ++step) {
    std::vector<float> gradient(values.size());
    last = loss.Run(values, sample, gradient);
    if (step == 0) first = last;
    AdamStep(gradient, 3e-3, step, values, mean, square);
  }
  EXPECT_NEAR(first, 1, 0.01);  // with sigmas of 1e-4 next to nothing is folded
  EXPECT_LT(last, 0.5);
}

}  // namespace
}  // namespace pith
