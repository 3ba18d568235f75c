// Our engine against libllama, on made-up models of every architecture and quirk: same file, same
// tokens.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>

#include "base/rng.h"
#include "engine/engine.h"
#include "model/weights.h"
#include "parity/cases.h"
#include "parity/oracle.h"

namespace pith {
namespace {

constexpr int kPromptTokens = 300;
constexpr int kGreedySteps = 32;
constexpr uint32_t kContext = 1024;

// A folder for this process's models, removed at the end.
class ModelFolder {
 public:
  ModelFolder()
      : path_(std::filesystem::temp_directory_path() /
              ("pith-parity-" + std::to_string(getpid()))) {
    std::filesystem::create_directories(path_);
  }
  ~ModelFolder() { std::filesystem::remove_all(path_); }
  std::string Make(std::string_view name, const MakeModelOptions& options) const {
    std::string file = (path_ / name).string();
    if (options.split_files > 1) file += "-00001-of-0000" + std::to_string(options.split_files);
    file += ".gguf";
    const Status made = MakeModel(options, file);
    if (!made) throw std::runtime_error(made.error().Message());
    return file;
  }

 private:
  std::filesystem::path path_;
};

const ModelFolder& Folder() {
  static const ModelFolder folder;
  return folder;
}

std::vector<int32_t> RandomPrompt(uint32_t vocabulary, size_t count, uint64_t seed) {
  Rng rng(seed);
  std::vector<int32_t> prompt(count);
  for (int32_t& token : prompt) token = static_cast<int32_t>(rng.Below(vocabulary));
  return prompt;
}

std::unique_ptr<Engine> MakeEngine(const std::string& path, int threads = 2, uint32_t chunk = 512,
                                   FormId form = FormId::kF32) {
  EngineOptions options;
  options.model_path = path;
  options.context = kContext;
  options.num_threads = threads;
  options.chunk = chunk;
  options.key_form = options.value_form = FindForm(form);
  auto engine = Engine::Create(options);
  if (!engine) throw std::runtime_error(engine.error().Message());
  return std::move(*engine);
}

// Logits after the prompt and after each token of the continuation.
std::vector<std::vector<float>> RunOurs(Engine& engine, std::span<const int32_t> prompt,
                                        std::span<const int32_t> continuation) {
  Sequence sequence = engine.NewSequence();
  std::vector<std::vector<float>> all;
  const auto keep = [&all](const Result<std::span<const float>>& logits) {
    if (!logits) throw std::runtime_error(logits.error().Message());
    all.emplace_back(logits->begin(), logits->end());
  };
  keep(engine.Feed(sequence, prompt));
  for (const int32_t token : continuation) keep(engine.Feed(sequence, std::span(&token, 1)));
  return all;
}

std::vector<int32_t> GreedyOurs(Engine& engine, std::span<const int32_t> prompt, int steps) {
  Sequence sequence = engine.NewSequence();
  std::vector<int32_t> tokens;
  auto logits = engine.Feed(sequence, prompt);
  for (int i = 0; i < steps; ++i) {
    if (!logits) throw std::runtime_error(logits.error().Message());
    tokens.push_back(ArgMax(*logits));
    logits = engine.Feed(sequence, std::span(&tokens.back(), 1));
  }
  return tokens;
}

float Spread(std::span<const float> logits) {
  const auto [low, high] = std::minmax_element(logits.begin(), logits.end());
  return *high - *low;
}

float MaxDifference(std::span<const float> a, std::span<const float> b) {
  float worst = 0.0f;
  for (size_t i = 0; i < a.size(); ++i) {
    const float d = std::abs(a[i] - b[i]);
    if (!(d <= worst)) worst = d;  // keeps a NaN
  }
  return worst;
}

bool IsExactType(ggml_type type) { return type == GGML_TYPE_F32; }

// With f32 weights all that may differ is the order of additions: 1e-3 of the spread. With other
// weights ggml rounds activations to the weights' partner type (8 bits for the quantised ones), and
// a difference in the last bit of an activation can flip such a rounding; how much that makes is
// measured on libllama itself, which differs in the same way between its two attention paths, and
// we may differ by at most twice that.
class ParityTest : public testing::Test {
 public:
  explicit ParityTest(const ParityCase& parity_case) : case_(parity_case) {}
  void TestBody() override {
    const std::string path = Folder().Make(case_.name, case_.model);
    const Oracle oracle(path);
    const auto prompt = RandomPrompt(case_.model.vocabulary, kPromptTokens, 7);
    const OracleOptions options{.context = kContext};
    std::vector<int32_t> chosen;
    const auto expected = oracle.Run(options, prompt, {}, kGreedySteps, &chosen);
    const auto engine = MakeEngine(path);
    const auto ours = RunOurs(*engine, prompt, chosen);
    ASSERT_EQ(ours.size(), expected.size());
    std::vector<std::vector<float>> other;
    if (!IsExactType(case_.model.type)) {
      OracleOptions flash = options;
      flash.flash_attention = true;
      other = oracle.Run(flash, prompt, chosen, 0, nullptr);
    }
    for (size_t i = 0; i < ours.size(); ++i) {
      float bound = 1e-3f * Spread(expected[i]);
      ASSERT_GT(bound, 0.0f);
      if (!other.empty()) bound = std::max(bound, 2.0f * WorstDifference(expected, other));
      EXPECT_LE(MaxDifference(ours[i], expected[i]), bound) << "step " << i;
      if (IsExactType(case_.model.type)) {
        EXPECT_EQ(ArgMax(ours[i]), ArgMax(expected[i])) << "step " << i;
      }
    }
  }

 private:
  static float WorstDifference(const std::vector<std::vector<float>>& a,
                               const std::vector<std::vector<float>>& b) {
    float worst = 0.0f;
    for (size_t i = 0; i < a.size(); ++i) worst = std::max(worst, MaxDifference(a[i], b[i]));
    return worst;
  }

  const ParityCase& case_;
};

const bool kRegistered = [] {
  for (const ParityCase& row : ParityCases()) {
    testing::RegisterTest("parity", std::string(row.name).c_str(), nullptr, nullptr, __FILE__,
                          __LINE__, [&row]() -> testing::Test* { return new ParityTest(row); });
  }
  return true;
}();

TEST(Engine, ChunkSizes_GiveTheSameTokens) {
  const std::string path = Folder().Make("chunks", {});
  const auto prompt = RandomPrompt(512, kPromptTokens, 11);
  const auto expected = GreedyOurs(*MakeEngine(path, 2, 512), prompt, kGreedySteps);
  for (const uint32_t chunk : {1u, 7u, 64u}) {
    EXPECT_EQ(GreedyOurs(*MakeEngine(path, 2, chunk), prompt, kGreedySteps), expected) << chunk;
  }
}

TEST(Engine, ThreadCounts_GiveTheSameBits) {
  for (const ParityCase& row : ParityCases()) {
    if (row.name != "llama_q4_k" && row.name != "llama_group_7" && row.name != "qwen3moe") continue;
    const std::string path =
        Folder().Make(std::string("threads-") + std::string(row.name), row.model);
    const auto prompt = RandomPrompt(row.model.vocabulary, kPromptTokens, 13);
    const std::vector<int32_t> continuation = {1, 2, 3, 4};
    const auto one = RunOurs(*MakeEngine(path, 1, 128, FormId::kF16), prompt, continuation);
    for (const int threads : {2, 3}) {
      EXPECT_EQ(RunOurs(*MakeEngine(path, threads, 128, FormId::kF16), prompt, continuation), one)
          << row.name << " " << threads;
    }
  }
}

TEST(Engine, BatchedSteps_GiveTheSameTokensAsSingleOnes) {
  const std::string path = Folder().Make("batched", {});
  const auto engine = MakeEngine(path);
  std::vector<std::vector<int32_t>> prompts;
  for (const size_t count : {5u, 130u, 300u}) prompts.push_back(RandomPrompt(512, count, count));
  std::vector<Sequence> sequences;
  std::vector<int32_t> next;
  std::vector<std::vector<int32_t>> got(prompts.size());
  for (const auto& prompt : prompts) {
    sequences.push_back(engine->NewSequence());
    const auto logits = engine->Feed(sequences.back(), prompt);
    ASSERT_TRUE(logits);
    next.push_back(ArgMax(*logits));
  }
  std::vector<Sequence*> pointers;
  for (Sequence& s : sequences) pointers.push_back(&s);
  for (int step = 0; step < 16; ++step) {
    for (size_t i = 0; i < next.size(); ++i) got[i].push_back(next[i]);
    const auto logits = engine->Step(pointers, next);
    ASSERT_TRUE(logits);
    for (size_t i = 0; i < next.size(); ++i) next[i] = ArgMax(logits->subspan(i * 512, 512));
  }
  for (size_t i = 0; i < prompts.size(); ++i)
    EXPECT_EQ(got[i], GreedyOurs(*engine, prompts[i], 16)) << i;
}

TEST(Engine, FeedAll_GivesTheLogitsOfEveryToken) {
  const std::string path = Folder().Make("all", {});
  const auto engine = MakeEngine(path, 2, 64);
  const auto prompt = RandomPrompt(512, 100, 3);
  Sequence whole = engine->NewSequence(), single = engine->NewSequence();
  const auto all = engine->FeedAll(whole, prompt);
  ASSERT_TRUE(all);
  ASSERT_EQ(all->size(), 100u * 512u);
  for (size_t i = 0; i < prompt.size(); ++i) {
    const auto one = engine->Feed(single, std::span(&prompt[i], 1));
    ASSERT_TRUE(one);
    const auto row = std::span(*all).subspan(i * 512, 512);
    EXPECT_LE(MaxDifference(row, *one), 1e-3f * Spread(*one)) << i;
  }
}

TEST(Engine, Fork_LeavesTheOriginalUntouched) {
  const std::string path = Folder().Make("fork", {});
  const auto engine = MakeEngine(path, 2, 512, FormId::kF16);
  const auto prompt = RandomPrompt(512, 200, 5);
  Sequence original = engine->NewSequence();
  ASSERT_TRUE(engine->Feed(original, prompt));
  const std::vector<int32_t> question = {9, 8, 7};
  std::vector<float> expected;
  {
    Sequence undisturbed = original.Fork();
    const auto logits = engine->Feed(undisturbed, question);
    ASSERT_TRUE(logits);
    expected.assign(logits->begin(), logits->end());
  }
  {
    Sequence fork = original.Fork();
    ASSERT_TRUE(engine->Feed(fork, RandomPrompt(512, 50, 6)));
  }
  const auto logits = engine->Feed(original, question);
  ASSERT_TRUE(logits);
  EXPECT_TRUE(std::equal(logits->begin(), logits->end(), expected.begin(), expected.end()));
}

// With one layer, a row sees exactly the window: what lies before cannot change a bit, what lies
// inside must.
TEST(Engine, SlidingWindow_IsHonoured) {
  const std::string path = Folder().Make(
      "window", {.architecture = MakeArchitecture::kPhi3, .layers = 1, .sliding_window = 64});
  const auto engine = MakeEngine(path);
  const auto prompt = RandomPrompt(512, kPromptTokens, 17);
  const auto expected = RunOurs(*engine, prompt, {});
  auto outside = prompt;
  outside[kPromptTokens - 65] ^= 1;
  EXPECT_EQ(RunOurs(*engine, outside, {}), expected);
  auto inside = prompt;
  inside[kPromptTokens - 64] ^= 1;
  EXPECT_NE(RunOurs(*engine, inside, {}), expected);
}

TEST(Engine, PromptLongerThanContext_IsRefused) {
  const auto engine = MakeEngine(Folder().Make("long", {}));
  Sequence sequence = engine->NewSequence();
  const auto logits = engine->Feed(sequence, RandomPrompt(512, kContext + 1, 1));
  ASSERT_FALSE(logits);
  EXPECT_EQ(logits.error().kind, ErrorKind::kInput);
  EXPECT_NE(logits.error().Message().find("--ctx"), std::string::npos);
  EXPECT_EQ(sequence.cache.num_entries(0, 0), 0u);
}

TEST(Engine, CacheLimit_FailsAndLeavesTheSequence) {
  EngineOptions options;
  options.model_path = Folder().Make("limit", {});
  options.context = kContext;
  options.chunk = 64;
  options.cache_limit_bytes = 256 << 10;
  auto engine = Engine::Create(options);
  ASSERT_TRUE(engine);
  Sequence sequence = (*engine)->NewSequence();
  const auto logits = (*engine)->Feed(sequence, RandomPrompt(512, kContext, 1));
  ASSERT_FALSE(logits);
  EXPECT_EQ(logits.error().kind, ErrorKind::kFailure);
  EXPECT_EQ(sequence.cache.num_entries(0, 0), sequence.tokens.size());
  EXPECT_LT(sequence.tokens.size(), kContext);
}

}  // namespace
}  // namespace pith
