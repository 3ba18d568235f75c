// Many sequences of all recipes come and go in one pool, in an order that nobody chose: when the
// last has gone, so have their bytes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <stdexcept>

#include "base/rng.h"
#include "cache/page.h"
#include "engine/snapshot.h"
#include "engine/test_profile.h"
#include "make_model/make_model.h"

namespace pith {
namespace {

constexpr size_t kAtOnce = 8;
constexpr uint32_t kContext = 600;
constexpr uint32_t kVocabulary = 512;

std::vector<std::string> Recipes() {
  std::vector<std::string> recipes = {"full"};
  for (const MethodInfo* method : Methods()) {
    if (DropsEntries(*method)) recipes.push_back(RecipeForShortTexts(method->name));
  }
  for (const char* text :
       {"keydiff(sinks=2,recent=5) + alloc=ada", "h2o(norm=age,every=3) + select=chunks(size=7)",
        "random + select=layer", "score=tova + when=always(every=2)", "snapkv + when=chunks",
        "streaming + alloc=headkv(beta=2)", "snapkv + alloc=ada + select=critical",
        "score=snapkv(window=8) + alloc=razor(local=20) + when=always(every=3)",
        "expected(eps=0.01) + alloc=ada", "cake + when=always(every=4)"}) {
    recipes.emplace_back(text);
  }
  return recipes;
}

template <class T>
T Must(Result<T> result) {
  if (!result) throw std::runtime_error(result.error().Message());
  return std::move(*result);
}

class Soak : public testing::Test {
 protected:
  void MakeEngine(int threads) {
    const std::string path = TempName("model");
    ASSERT_TRUE(MakeModel({.layers = 3,
                           .kv_heads = 2,
                           .head_dim = 32,
                           .vocabulary = kVocabulary,
                           .context = kContext},
                          path));
    const std::string profile = Must(WriteMadeProfile(path));
    engine_ = Must(
        Engine::Create({.model_path = path, .num_threads = threads, .chunk = 64, .repack = false}));
    std::filesystem::remove(path);
    std::filesystem::remove(profile);
  }
  ~Soak() override { std::filesystem::remove(TempName("session")); }

  // Where more than one test process runs, each has its files.
  static std::string TempName(const char* what) {
    return testing::TempDir() + "pith_soak_" + what + "_" + std::to_string(::getpid());
  }

  template <class T>
  const T& OneOf(const std::vector<T>& items) {
    return items[rng_.Below(static_cast<uint32_t>(items.size()))];
  }

  PlannedRun RandomRun() {
    const std::string store =
        OneOf<std::string>({"", " + f32", " + q8_0", " + kivi4(residual=32)",
                            " + q4_0(residual=8,rotate=both,sinks=4)", " + tuned(residual=32)"});
    const std::string text = OneOf(recipes_) + store;
    // ggml's forms hold all 32 channels of these heads together; some recipes refuse to drop any.
    const bool shortens = !store.starts_with(" + q") && rng_.Below(3) == 0;
    const std::string_view shorter = opened_ % 2 == 0 ? " + think(ratio=0.5,window=8,bias=mean)"
                                                      : " + kqsvd(window=8,queries=16)";
    auto plan = ParseRecipe(shortens ? text + std::string(shorter) : text);
    if (!plan) plan = ParseRecipe(text);
    PlannedRun run{Must(std::move(plan)), std::nullopt};
    if (!run.plan.takes_budget() || run.plan.keeps_all()) return run;
    std::vector<std::string> budgets = {"48", "61", "200", "30%", "75%", "40%f16"};
    // What repeats the text or drops channels takes no budget in bytes.
    if (run.plan.needs().replay == 0 && !run.plan.storage.prunes())
      budgets.insert(budgets.end(), {"240KiB", "600KiB"});
    run.budget = ParseBudget(OneOf(budgets)).value();
    return run;
  }

  // A share of a short text may have less room than its recipe protects or keeps beside the
  // entries, and a text may be too long to be repeated behind itself: refusals that leave the
  // sequence usable. Nothing else may go wrong.
  template <class T>
  void ExpectDone(const T& result, const Sequence& sequence) {
    if (result) return;
    ++refused_;
    const std::string why = result.error().Message();
    if (sequence.kv.plan.needs().replay > 0 && why.find("has no room for that") != why.npos) return;
    EXPECT_TRUE(sequence.kv.budget && IsShare(*sequence.kv.budget)) << why;
    EXPECT_THAT(why, testing::AnyOf(testing::HasSubstr("never drops"),
                                    testing::HasSubstr("beside the entries")));
  }

  void Open() {
    ++opened_;
    live_.push_back(Must(engine_->NewSequence(RandomRun())));
    Feed(live_.back());
  }
  void Fork(const Sequence& sequence) {
    ++opened_;
    Sequence fork = sequence.Fork();  // before live_ moves
    live_.push_back(std::move(fork));
  }

  bool HasRoom(const Sequence& sequence, size_t tokens) const {
    return sequence.tokens.size() + tokens <= kContext;
  }
  void Feed(Sequence& sequence) {
    std::vector<int32_t> tokens(1 + rng_.Below(250));
    for (int32_t& token : tokens) token = static_cast<int32_t>(rng_.Below(kVocabulary));
    if (HasRoom(sequence, tokens.size())) ExpectDone(engine_->Feed(sequence, tokens), sequence);
  }
  void Truncate(Sequence& sequence) {
    sequence.Truncate(1 + rng_.Below(static_cast<uint32_t>(sequence.tokens.size())));
  }
  void SaveAndLoad(Sequence& sequence) {
    const std::vector<float> logits(kVocabulary);
    ASSERT_TRUE(SaveSnapshot(*engine_, sequence, {{1, 3}, {}}, logits, "", TempName("session")));
    auto loaded = LoadSnapshot(*engine_, TempName("session"), sequence.kv);
    ASSERT_TRUE(loaded) << sequence.kv.plan.canonical << ": " << loaded.error().Message();
    EXPECT_EQ(loaded->sequence.tokens, sequence.tokens);
    EXPECT_EQ(loaded->sequence.cache.Usage().entries, sequence.cache.Usage().entries);
    sequence = std::move(loaded->sequence);
  }
  // Some tokens of all sequences together.
  void Generate() {
    for (uint32_t count = 1 + rng_.Below(12); count > 0; --count) {
      std::vector<Sequence*> batch;
      for (Sequence& sequence : live_) {
        if (HasRoom(sequence, 1) && rng_.Below(4) > 0) batch.push_back(&sequence);
      }
      if (batch.empty()) continue;
      const std::vector<int32_t> tokens(batch.size(), static_cast<int32_t>(count));
      const auto logits = engine_->Step(batch, tokens);
      ASSERT_TRUE(logits) << logits.error().Message();
      for (const float x : *logits) ASSERT_TRUE(std::isfinite(x));
    }
  }
  void Close(size_t index) { live_.erase(live_.begin() + static_cast<std::ptrdiff_t>(index)); }

  void DoSomething(uint32_t sequences) {
    const size_t index = rng_.Below(static_cast<uint32_t>(live_.size()));
    Sequence& sequence = live_[index];
    switch (rng_.Below(8)) {
      case 0:
      case 1:
        return ExpectDone(engine_->Compress(sequence), sequence);
      case 2:
        return Feed(sequence);
      case 3:
        return Truncate(sequence);
      case 4:
        return SaveAndLoad(sequence);
      case 5:
        return live_.size() < kAtOnce && opened_ < sequences ? Fork(sequence) : Close(index);
      case 6:
        return Close(index);
      default:
        return Generate();
    }
  }

  // The pool has what its sequences hold, shared pages once, and budgets in bytes are kept.
  void CheckBytes() {
    uint64_t held = 0;
    for (const Sequence& sequence : live_) {
      const CacheUsage usage = sequence.cache.Usage();
      held += usage.held;
      if (InBytes(sequence.kv)) {
        EXPECT_LE(usage.held, sequence.kv.budget->amount) << sequence.kv.plan.canonical;
      }
    }
    EXPECT_LE(engine_->pool().used_bytes(), held);
    EXPECT_GE(engine_->pool().allocated_bytes(), engine_->pool().used_bytes());
  }

  // Until so many have been opened, forks included, and all have gone.
  void Run(int threads, uint32_t sequences) {
    MakeEngine(threads);
    while (!HasFailure() && (opened_ < sequences || !live_.empty())) {
      if (live_.empty() || (opened_ < sequences && live_.size() < kAtOnce && rng_.Below(3) == 0)) {
        Open();
      } else {
        DoSomething(sequences);
      }
      CheckBytes();
      ++done_;
    }
    EXPECT_EQ(opened_, sequences);
    EXPECT_LT(refused_, done_ / 20);
    EXPECT_EQ(engine_->pool().used_bytes(), 0u);
    EXPECT_EQ(engine_->pool().allocated_bytes(), 0u);
    EXPECT_GT(engine_->pool().peak_bytes(), 0u);
  }

  const std::vector<std::string> recipes_ = Recipes();
  Rng rng_{2026, 11};
  std::unique_ptr<Engine> engine_;
  std::vector<Sequence> live_;
  uint32_t opened_ = 0, refused_ = 0, done_ = 0;
};

TEST_F(Soak, WhenAllSequencesHaveGone_ThePoolIsEmpty) { Run(1, 200); }

// Fewer of them, for the thread sanitizer.
TEST_F(Soak, OnTwoThreads_ThePoolIsEmptyToo) { Run(2, 25); }

}  // namespace
}  // namespace pith
