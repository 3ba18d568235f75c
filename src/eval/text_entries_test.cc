#include "eval/text_entries.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "eval/speed.h"
#include "make_model/make_model.h"

namespace pith {
namespace {

constexpr uint32_t kLength = 200;

std::unique_ptr<Engine> MakeEngine() {
  const std::string path =
      testing::TempDir() + "pith_text_entries_" + std::to_string(::getpid()) + ".gguf";
  EXPECT_TRUE(MakeModel({}, path));
  auto engine = Engine::Create({.model_path = path, .num_threads = 2});
  std::remove(path.c_str());
  EXPECT_TRUE(engine) << engine.error().Message();
  return std::move(*engine);
}

std::vector<float> Logits(Engine& engine, Sequence& sequence, std::span<const int32_t> tokens) {
  const auto logits = engine.Feed(sequence, tokens);
  EXPECT_TRUE(logits) << logits.error().Message();
  return {logits->begin(), logits->end()};
}

double LargestDifference(const std::vector<float>& a, const std::vector<float>& b) {
  double most = 0;
  for (size_t i = 0; i < a.size(); ++i) most = std::max(most, double{std::fabs(a[i] - b[i])});
  return most;
}

// Every entry as often as every other one: attention over the repetitions is that over the text, up
// to the weight of the new tokens themselves.
TEST(TextEntries, RepeatedText_IsAttendedToLikeTheText) {
  const auto engine = MakeEngine();
  const auto text = BenchTokens(kLength, 512), next = BenchTokens(3, 512);
  Sequence read = engine->NewSequence();
  Logits(*engine, read, text);
  const std::vector<float> real = Logits(*engine, read, next);
  const auto filled = [&](uint32_t count, const SyntheticEntries& entries) {
    Sequence sequence = engine->NewSequence();
    EXPECT_TRUE(FillSequence(&sequence, count, entries));
    return Logits(*engine, sequence, next);
  };
  const auto once = TextEntries::Make(*engine, text, kLength);
  ASSERT_TRUE(once) << once.error().Message();
  EXPECT_EQ(filled(kLength, *once), real) << "the very same entries";
  const auto thrice = TextEntries::Make(*engine, text, 3 * kLength);
  ASSERT_TRUE(thrice) << thrice.error().Message();
  const double other = LargestDifference(filled(3 * kLength, SyntheticEntries()), real);
  EXPECT_LT(LargestDifference(filled(3 * kLength, *thrice), real), 0.1 * other);
}

TEST(TextEntries, LengthThatIsNoMultiple_EndsWithTheText) {
  const auto engine = MakeEngine();
  const auto text = BenchTokens(kLength, 512);
  const auto entries = TextEntries::Make(*engine, text, 2 * kLength + 50);
  ASSERT_TRUE(entries) << entries.error().Message();
  const CacheSpec spec = engine->cache_spec();
  const size_t width = size_t{spec.num_kv_heads} * spec.keys.dim;
  std::vector<float> a(width), b(width);
  const auto row = [&](uint32_t position, std::vector<float>* out) {
    entries->Row(Side::kValues, 1, position, *out);
    return *out;
  };
  EXPECT_EQ(row(0, &a), row(kLength, &b));
  EXPECT_EQ(row(2 * kLength + 49, &a), row(kLength + 49, &b));
  EXPECT_NE(row(0, &a), row(50, &b)) << "the first token comes at 50";
}

}  // namespace
}  // namespace pith
