#include "eval/hot_keys.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "eval/speed.h"
#include "eval/synthetic_fill.h"
#include "make_model/make_model.h"

namespace pith {
namespace {

constexpr uint32_t kCount = 800, kTokens = 4;

// The positions whose keys of a head differ from the plain synthetic ones.
std::vector<bool> Hot(const SyntheticEntries& entries, const CacheSpec& spec, uint32_t layer,
                      uint32_t kv_head) {
  const uint32_t dim = spec.keys.dim;
  std::vector<float> row(size_t{spec.num_kv_heads} * dim), plain(row.size());
  std::vector<bool> hot(kCount);
  for (uint32_t i = 0; i < kCount; ++i) {
    entries.Row(Side::kKeys, layer, i, row);
    SyntheticRow(Side::kKeys, layer, i, plain);
    hot[i] = !std::equal(row.begin() + kv_head * dim, row.begin() + (kv_head + 1) * dim,
                         plain.begin() + kv_head * dim);
  }
  return hot;
}

// The shares of attention on hot entries, by softmax over all keys of the cache.
class MassWatcher : public StepObserver {
 public:
  explicit MassWatcher(const SyntheticEntries& entries, uint32_t num_query_heads)
      : entries_(entries), num_query_heads_(num_query_heads) {}

  void Observe(uint32_t layer, const SequenceCache& cache, const QueryRows& queries,
               const QueryRows&, int thread, int) override {
    if (thread != 0) return;
    const uint32_t dim = cache.spec().keys.dim;
    const uint32_t group = num_query_heads_ / cache.spec().num_kv_heads;
    for (uint32_t head = 0; head < num_query_heads_; ++head) {
      const std::vector<bool> hot = Hot(entries_, cache.spec(), layer, head / group);
      const auto n = static_cast<uint32_t>(cache.num_entries(layer, head / group));
      std::vector<float> keys(size_t{n} * dim);
      cache.ReadKeys(layer, head / group, 0, n, keys.data());
      double on_hot = 0, all = 0;
      for (uint32_t i = 0; i < n; ++i) {
        double dot = 0;
        for (uint32_t c = 0; c < dim; ++c) {
          dot += double{queries.Row(head, 0)[c]} * double{keys[size_t{i} * dim + c]};
        }
        const double e = std::exp(dot / std::sqrt(static_cast<double>(dim)));
        all += e;
        if (i < kCount && hot[i]) on_hot += e;
      }
      masses.push_back(on_hot / all);
    }
  }

  std::vector<double> masses;

 private:
  const SyntheticEntries& entries_;
  uint32_t num_query_heads_;
};

class HotKeysWithModel : public testing::TestWithParam<uint32_t> {
 protected:
  static std::unique_ptr<Engine> MakeEngine() {
    const std::string path =
        testing::TempDir() + "pith_hot_keys_" + std::to_string(::getpid()) + ".gguf";
    EXPECT_TRUE(MakeModel({}, path));
    auto engine = Engine::Create({.model_path = path, .num_threads = 2});
    std::remove(path.c_str());
    EXPECT_TRUE(engine) << engine.error().Message();
    return std::move(*engine);
  }
};

TEST_P(HotKeysWithModel, DecodedTokens_GiveHotEntriesTheMassThatIsClaimed) {
  const auto engine = MakeEngine();
  const std::vector<int32_t> tokens(kTokens, 7);
  auto made = HotKeys::Make(*engine, kCount, tokens, GetParam());
  ASSERT_TRUE(made) << made.error().Message();
  EXPECT_EQ(made->run(), GetParam());
  EXPECT_NEAR(made->mean_mass(), 0.9, 1e-6);
  const HotKeys& entries = *made;
  const CacheSpec spec = engine->cache_spec();
  EXPECT_EQ(std::ranges::count(Hot(entries, spec, 1, 1), true), kCount / 50);

  const auto masses_with = [&](const SyntheticEntries& fill) {
    Sequence sequence = engine->NewSequence();
    EXPECT_TRUE(FillSequence(&sequence, kCount, fill));
    MassWatcher watcher(entries, engine->model().shape().num_query_heads);
    sequence.watcher = &watcher;
    Sequence* const only = &sequence;
    for (const int32_t token : tokens) EXPECT_TRUE(engine->Step({&only, 1}, {&token, 1}));
    return watcher.masses;
  };
  const auto mean = [](const std::vector<double>& values) {
    double sum = 0;
    for (const double value : values) sum += value;
    return sum / static_cast<double>(values.size());
  };
  // Keys are rounded to f16, and the decoded tokens are entries too.
  const std::vector<double> masses = masses_with(entries);
  EXPECT_NEAR(mean(masses), entries.mean_mass(), 0.01);
  EXPECT_NEAR(*std::ranges::min_element(masses), entries.least_mass(), 0.02);
  EXPECT_LT(mean(masses_with(SyntheticEntries())), 0.1)
      << "without the lean they are like all others";
}

INSTANTIATE_TEST_SUITE_P(RunsAndSingles, HotKeysWithModel, testing::Values(16u, 1u));

TEST(HotKeys, MeasureSpeed_RecipeThatChooses_ReadsLittleOfAConcentratedCache) {
  const std::string path = testing::TempDir() + "pith_hot_speed.gguf";
  ASSERT_TRUE(MakeModel({.layers = 3, .context = 2048}, path));
  SpeedOptions options;
  options.model_path = path;
  options.contexts = {1600};
  options.threads = {1};
  options.recipes = {{ParseRecipe("read=twilight(p=0.85,dense=1)").value(), std::nullopt}};
  options.prefill = false;
  options.decode_tokens = 4;
  options.repeats = 1;
  const auto read_with = [&](std::optional<HotLayout> hot) {
    options.hot = hot;
    const auto report = MeasureSpeed(options);
    EXPECT_TRUE(report) << report.error().Message();
    const SpeedPoint& point = report->runs[0].points[0];
    EXPECT_TRUE(point.decode->RatioToFull());
    EXPECT_TRUE(point.reads);
    EXPECT_GE(point.cache.metadata, point.reads->index_bytes);
    EXPECT_GT(point.reads->index_bytes, 0u);
    EXPECT_EQ(point.hot.has_value(), hot != HotLayout::kNone);
    return point.reads->Share();
  };
  const double concentrated = read_with(std::nullopt);
  EXPECT_LT(concentrated, 0.05);
  EXPECT_GT(read_with(HotLayout::kNone), 2 * concentrated);
  std::remove(path.c_str());
}

}  // namespace
}  // namespace pith
