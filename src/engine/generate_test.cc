#include "engine/generate.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace pith {
namespace {

// The model goes on with this for many tokens before it ends.
constexpr const char* kPrompt = "The grass is green. The sky is blue. The sun is";

std::unique_ptr<Engine> NanoEngine(uint32_t context = 0) {
  EngineOptions options;
  options.model_path = PITH_SOURCE_DIR "/models/nano/nano.gguf";
  options.context = context;
  auto engine = Engine::Create(options);
  if (!engine) throw std::runtime_error(engine.error().Message());
  return std::move(*engine);
}

std::vector<int32_t> Tokens(const Engine& engine, std::string_view text) {
  return engine.tokenizer().Tokenize(text, true, false).value();
}

int32_t Likeliest(std::span<const float> logits) {
  return static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

// Greedy generation spelt out, without Generate and without a sampler.
std::vector<int32_t> GreedyByHand(Engine& engine, std::string_view prompt, size_t count) {
  Sequence sequence = engine.NewSequence();
  std::vector<int32_t> out;
  std::span<const float> logits = engine.Feed(sequence, Tokens(engine, prompt)).value();
  for (;;) {
    out.push_back(Likeliest(logits));
    if (out.size() == count) return out;
    Sequence* const sequences[] = {&sequence};
    logits = engine.Step(sequences, {&out.back(), 1}).value();
  }
}

Generation Generated(Engine& engine, Sequence& sequence, std::string_view prompt,
                     const GenerateOptions& options,
                     const std::function<void(std::string_view)>& on_text = {},
                     const std::atomic<bool>* interrupted = nullptr) {
  Sampler sampler = Sampler::Create({}).value();
  const auto logits = FeedPrompt(engine, sequence, sampler, Tokens(engine, prompt)).value();
  return Generate(engine, sequence, sampler, logits, options, on_text, interrupted).value();
}

TEST(Generate, Greedy_GivesTheTokensOfAHandWrittenLoop) {
  const auto engine = NanoEngine();
  Sequence sequence = engine->NewSequence();
  GenerateOptions options;
  options.max_tokens = 20;
  const Generation generation = Generated(*engine, sequence, kPrompt, options);
  EXPECT_EQ(generation.tokens, GreedyByHand(*engine, kPrompt, 20));
  EXPECT_EQ(generation.stop, StopReason::kLength);
  EXPECT_EQ(generation.steps, 19u);
}

TEST(Generate, LastToken_IsPendingAndNotFed) {
  const auto engine = NanoEngine();
  Sequence sequence = engine->NewSequence();
  GenerateOptions options;
  options.max_tokens = 5;
  const Generation generation = Generated(*engine, sequence, kPrompt, options);
  ASSERT_TRUE(generation.pending);
  EXPECT_EQ(*generation.pending, generation.tokens.back());
  const size_t prompt_tokens = Tokens(*engine, kPrompt).size();
  EXPECT_EQ(sequence.tokens.size(), prompt_tokens + 4);

  // Feeding it gives the logits that the sixth token of one long generation is drawn from.
  const auto logits = FeedPending(*engine, sequence, generation).value();
  const int32_t sixth = Likeliest(logits);
  EXPECT_EQ(sequence.tokens.size(), prompt_tokens + 5);
  EXPECT_EQ(sixth, GreedyByHand(*engine, kPrompt, 6).back());
}

TEST(Generate, ContextFillsUp_StopsWithLength) {
  const auto engine = NanoEngine();
  const auto prompt_tokens = static_cast<uint32_t>(Tokens(*engine, kPrompt).size());
  const auto tight = NanoEngine(prompt_tokens + 3);
  Sequence sequence = tight->NewSequence();
  GenerateOptions options;
  options.max_tokens = 100;
  options.ignore_eos = true;
  const Generation generation = Generated(*tight, sequence, kPrompt, options);
  EXPECT_EQ(generation.stop, StopReason::kLength);
  EXPECT_EQ(generation.tokens.size(), 3u);
  EXPECT_TRUE(FeedPending(*tight, sequence, generation));  // even the last one has its place
}

TEST(Generate, StopString_EndsTheTextBeforeIt) {
  const auto engine = NanoEngine();
  GenerateOptions options;
  options.max_tokens = 24;
  Sequence whole_sequence = engine->NewSequence();
  const std::string whole = Generated(*engine, whole_sequence, kPrompt, options).text;
  ASSERT_GT(whole.size(), 20u);
  options.stop_strings = {whole.substr(8, 5)};
  Sequence sequence = engine->NewSequence();
  std::string shown;
  const Generation generation =
      Generated(*engine, sequence, kPrompt, options, [&](std::string_view text) { shown += text; });
  EXPECT_EQ(generation.stop, StopReason::kString);
  EXPECT_EQ(generation.text, whole.substr(0, whole.find(options.stop_strings[0])));
  EXPECT_EQ(shown, generation.text);
}

TEST(Generate, Interrupt_KeepsWhatThereIs) {
  const auto engine = NanoEngine();
  Sequence sequence = engine->NewSequence();
  std::atomic<bool> interrupted = false;
  GenerateOptions options;
  options.max_tokens = 50;
  std::string shown;
  const Generation generation = Generated(
      *engine, sequence, kPrompt, options,
      [&](std::string_view text) {
        shown += text;
        if (shown.size() > 12) interrupted = true;
      },
      &interrupted);
  EXPECT_EQ(generation.stop, StopReason::kInterrupt);
  EXPECT_LT(generation.tokens.size(), 50u);
  EXPECT_GT(generation.text.size(), 12u);
  EXPECT_EQ(shown, generation.text);
}

TEST(Generate, EndOfGenerationToken_StopsUnlessIgnored) {
  const auto engine = NanoEngine();
  Sequence sequence = engine->NewSequence();
  // Logits made by hand: the end-of-generation token is likeliest, token 5 comes next.
  std::vector<float> logits(engine->tokenizer().vocabulary_size(), 0.0f);
  ASSERT_GE(engine->tokenizer().eos(), 0);
  ASSERT_NE(engine->tokenizer().eos(), 5);
  logits[static_cast<size_t>(engine->tokenizer().eos())] = 9.0f;
  logits[5] = 8.0f;
  Sampler sampler = Sampler::Create({}).value();
  GenerateOptions options;
  options.max_tokens = 1;
  const Generation ended = Generate(*engine, sequence, sampler, logits, options).value();
  EXPECT_EQ(ended.stop, StopReason::kEos);
  EXPECT_TRUE(ended.tokens.empty());
  options.ignore_eos = true;
  const Generation went_on = Generate(*engine, sequence, sampler, logits, options).value();
  EXPECT_EQ(went_on.tokens, std::vector<int32_t>{5});
}

TEST(Generate, RepeatPenalty_SeesThePrompt) {
  const auto engine = NanoEngine();
  Sequence sequence = engine->NewSequence();
  SamplerOptions sampler_options;
  sampler_options.repeat_penalty = 2.0f;
  Sampler sampler = Sampler::Create(sampler_options).value();
  const std::vector<int32_t> prompt = {7, 8, 9};
  ASSERT_TRUE(FeedPrompt(*engine, sequence, sampler, prompt));
  EXPECT_EQ(sampler.State().recent, prompt);
  // 8 was in the prompt, so its 3 counts as 1.5 and loses to the 2 of 11.
  std::vector<float> logits(engine->tokenizer().vocabulary_size(), 0.0f);
  logits[8] = 3.0f;
  logits[11] = 2.0f;
  GenerateOptions options;
  options.max_tokens = 1;
  EXPECT_EQ(Generate(*engine, sequence, sampler, logits, options)->tokens,
            std::vector<int32_t>{11});
}

TEST(EngineStep, ThreeSequencesAtOnce_GiveTheTokensOfEachAlone) {
  const auto engine = NanoEngine();
  const std::string_view prompts[] = {
      kPrompt, "In Oslo",
      "One of the special magic numbers for quiet-fox is: 48213. The end of it."};
  constexpr size_t kCount = 16;
  std::vector<Sequence> sequences;
  std::vector<std::vector<int32_t>> generated(std::size(prompts));
  std::vector<int32_t> next;
  for (const auto prompt : prompts) {
    sequences.push_back(engine->NewSequence());
    next.push_back(Likeliest(engine->Feed(sequences.back(), Tokens(*engine, prompt)).value()));
  }
  std::vector<Sequence*> pointers;
  for (Sequence& sequence : sequences) pointers.push_back(&sequence);
  const size_t vocabulary = engine->tokenizer().vocabulary_size();
  for (size_t step = 0; step < kCount; ++step) {
    for (size_t i = 0; i < pointers.size(); ++i) generated[i].push_back(next[i]);
    const auto logits = engine->Step(pointers, next).value();
    ASSERT_EQ(logits.size(), pointers.size() * vocabulary);
    for (size_t i = 0; i < pointers.size(); ++i) {
      next[i] = Likeliest(logits.subspan(i * vocabulary, vocabulary));
    }
  }
  for (size_t i = 0; i < std::size(prompts); ++i) {
    EXPECT_EQ(generated[i], GreedyByHand(*engine, prompts[i], kCount)) << "sequence " << i;
  }
}

}  // namespace
}  // namespace pith
