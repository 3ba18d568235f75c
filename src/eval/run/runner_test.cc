#include "eval/run/runner.h"

#include <gtest/gtest.h>

#include "engine/generate.h"
#include "eval/run/likelihood.h"
#include "eval/task/task.h"

namespace pith {
namespace {

constexpr uint32_t kNew = 6;

Engine& Nano() {
  static const std::unique_ptr<Engine> engine = [] {
    EngineOptions options;
    options.model_path = PITH_SOURCE_DIR "/models/nano/nano.gguf";
    options.num_threads = 1;  // steps this small only wait for each other
    auto created = Engine::Create(options);
    EXPECT_TRUE(created) << created.error().Message();
    return std::move(*created);
  }();
  return *engine;
}

// Facts about people, planted in a text of about `sentences` sentences.
std::string Story(int sentences) {
  std::string text;
  for (int i = 0; i < sentences; ++i) {
    if (i == sentences / 3) text += " Ada lives in Oslo.";
    if (i == sentences / 2) text += " Igor lives in Lima.";
    text += " In Paris the river was calm and the boat was golden.";
  }
  return text;
}

Item HomeItem(const std::string& id, const std::string& person, const std::string& city,
              int sentences = 12) {
  Item item;
  item.task = "test/home";
  item.id = id;
  item.context = Story(sentences);
  item.question = " Question: Where does " + person + " live?";
  item.answer_prefix = " Answer: " + person + " lives in";
  item.answers = {city};
  item.metrics = {"string_match_all"};
  item.max_new_tokens = kNew;
  return item;
}

Item TextItem() {
  Item item;
  item.task = "test/text";
  item.id = "0";
  item.context = Story(10);
  item.answers = {" The quiet river crossed the golden lake near the castle."};
  item.metrics = {"likelihood"};
  return item;
}

EvalSettings Settings(const std::vector<std::string>& recipes, bool query_aware = false) {
  EvalSettings settings;
  settings.run = "test";
  settings.query_aware = query_aware;
  settings.version = "1";
  std::vector<PlannedRun> runs;
  for (const std::string& text : recipes) {
    const auto plan = ParseRecipe(text);
    EXPECT_TRUE(plan) << plan.error().Message();
    runs.push_back({*plan, std::nullopt});
  }
  settings.recipes = *WithFullCache(runs);
  return settings;
}

Status RunItems(std::vector<Item> items, const EvalSettings& settings, ResultLog* log) {
  EvalSet set;
  set.task = items.front().task;
  set.items = std::move(items);
  auto runner = EvalRunner::Create(&Nano(), settings);
  EXPECT_TRUE(runner) << runner.error().Message();
  return runner->Run(set, log);
}

// The same by hand: the whole prompt at once, then greedy tokens.
std::string Reference(const Item& item, bool query_aware) {
  Engine& engine = Nano();
  const auto prompt = PreparePrompt(engine.tokenizer(), item, NoTemplate(), query_aware);
  EXPECT_TRUE(prompt);
  std::vector<int32_t> tokens = prompt->context;
  tokens.insert(tokens.end(), prompt->rest.begin(), prompt->rest.end());
  Sequence sequence = engine.NewSequence();
  auto logits = engine.Feed(sequence, tokens);
  EXPECT_TRUE(logits) << logits.error().Message();
  std::string text;
  for (uint32_t i = 0; i < kNew; ++i) {
    const auto best = static_cast<int32_t>(std::ranges::max_element(*logits) - logits->begin());
    if (engine.tokenizer().IsEndOfGeneration(best)) break;
    text += engine.tokenizer().Piece(best);
    Sequence* const one[] = {&sequence};
    logits = engine.Step(one, {&best, 1});
    EXPECT_TRUE(logits);
  }
  return text;
}

class Protocols : public testing::TestWithParam<bool> {};

TEST_P(Protocols, FullCache_SaysWhatPlainGenerationSays) {
  const std::vector<Item> items = {HomeItem("0", "Ada", "Oslo"), HomeItem("1", "Igor", "Lima")};
  ResultLog log = ResultLog::InMemory();
  const Status ran = RunItems(items, Settings({}, GetParam()), &log);
  ASSERT_TRUE(ran) << ran.error().Message();
  ASSERT_EQ(log.results().items.size(), 2u);
  for (size_t i = 0; i < items.size(); ++i) {
    const ItemRecord& record = log.results().items[i];
    EXPECT_EQ(record.prediction, Reference(items[i], GetParam()));
    EXPECT_EQ(record.query_aware, GetParam());
    EXPECT_EQ(record.recipe, "full");
    EXPECT_EQ(record.cache.entries, record.cache.entries_full);
    EXPECT_GT(record.first_token_ms, 0);
  }
}

INSTANTIATE_TEST_SUITE_P(QueryAware, Protocols, testing::Bool());

TEST(EvalRunner, QuestionsToOneContext_AnswersAreThoseOfFreshRuns) {
  const Item ada = HomeItem("0", "Ada", "Oslo"), igor = HomeItem("1", "Igor", "Lima");
  ResultLog together = ResultLog::InMemory(), apart = ResultLog::InMemory();
  ASSERT_TRUE(RunItems({ada, igor}, Settings({}), &together));
  ASSERT_TRUE(RunItems({ada}, Settings({}), &apart));
  ASSERT_TRUE(RunItems({igor}, Settings({}), &apart));
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(together.results().items[i].prediction, apart.results().items[i].prediction);
    EXPECT_TRUE(together.results().items[i].shared_prefill);
    EXPECT_FALSE(apart.results().items[i].shared_prefill);
  }
}

TEST(EvalRunner, DroppedFork_LeavesLogitsBitForBit) {
  Engine& engine = Nano();
  const auto prompt =
      PreparePrompt(engine.tokenizer(), HomeItem("0", "Ada", "Oslo"), NoTemplate(), false);
  const auto other =
      PreparePrompt(engine.tokenizer(), HomeItem("1", "Igor", "Lima"), NoTemplate(), false);
  Sequence context = engine.NewSequence();
  ASSERT_TRUE(engine.Feed(context, prompt->context));
  const auto ask = [&](const std::vector<int32_t>& rest) {
    Sequence fork = context.Fork();
    const auto logits = engine.Feed(fork, rest);
    EXPECT_TRUE(logits);
    return std::vector<float>(logits->begin(), logits->end());
  };
  const std::vector<float> fresh = ask(prompt->rest);
  ask(other->rest);
  EXPECT_EQ(ask(prompt->rest), fresh);
}

TEST(EvalRunner, SecondRun_AddsNothing) {
  ResultLog log = ResultLog::InMemory();
  ASSERT_TRUE(RunItems({HomeItem("0", "Ada", "Oslo")}, Settings({"store=bf16"}), &log));
  ASSERT_EQ(log.results().items.size(), 2u);
  ASSERT_TRUE(RunItems({HomeItem("0", "Ada", "Oslo")}, Settings({"store=bf16"}), &log));
  EXPECT_EQ(log.results().items.size(), 2u);
  // Another recipe or another item is another configuration.
  ASSERT_TRUE(RunItems({HomeItem("0", "Ada", "Oslo")}, Settings({"store=f32"}), &log));
  EXPECT_EQ(log.results().items.size(), 3u);
  ASSERT_TRUE(RunItems({HomeItem("0", "Igor", "Lima")}, Settings({}), &log));
  EXPECT_EQ(log.results().items.size(), 4u);
}

TEST(EvalRunner, Likelihood_MatchesAllLogitsAtOnce) {
  Engine& engine = Nano();
  ResultLog log = ResultLog::InMemory();
  ASSERT_TRUE(RunItems({TextItem()}, Settings({"store=f32", "store=bf16"}), &log));
  ASSERT_EQ(log.results().items.size(), 3u);
  const auto prompt = PreparePrompt(engine.tokenizer(), TextItem(), NoTemplate(), false);
  std::vector<int32_t> tokens = prompt->context;
  tokens.insert(tokens.end(), prompt->scored.begin(), prompt->scored.end());
  Sequence sequence = engine.NewSequence();
  const auto logits = engine.FeedAll(sequence, tokens);
  ASSERT_TRUE(logits);
  const size_t vocabulary = logits->size() / tokens.size();
  double nll = 0;
  for (size_t i = 0; i < prompt->scored.size(); ++i) {
    std::vector<float> p(vocabulary);
    const size_t row = prompt->context.size() + i - 1;  // the logits before the token
    LogSoftmax(std::span(*logits).subspan(row * vocabulary, vocabulary), p);
    nll -= p[prompt->scored[i]];
  }
  const ItemRecord& full = log.results().items[0];
  ASSERT_TRUE(full.likelihood);
  EXPECT_GT(full.first_token_ms, 0);  // what is read and compressed gives the first token
  EXPECT_EQ(full.likelihood->tokens, prompt->scored.size());
  EXPECT_NEAR(full.likelihood->nll_sum, nll, 1e-3 * nll);
  EXPECT_FALSE(full.likelihood->divergence);
  const auto& f32 = log.results().items[1].likelihood->divergence;
  const auto& bf16 = log.results().items[2].likelihood->divergence;
  ASSERT_TRUE(f32 && bf16);
  EXPECT_LT(f32->mean, 1e-4);
  EXPECT_GT(bf16->mean, f32->mean);  // eight bits of mantissa against eleven
}

TEST(EvalRunner, RecipesThatReadOrComputeLess_SayHowMuch) {
  ResultLog log = ResultLog::InMemory();
  const auto settings = Settings({"read=quest(budget=32,dense=2)", "lazyllm(prune=0.5,depth=0.5)"});
  ASSERT_TRUE(RunItems({TextItem()}, settings, &log));
  ASSERT_EQ(log.results().items.size(), 3u);
  const ItemRecord &full = log.results().items[0], &quest = log.results().items[1],
                   &lazy = log.results().items[2];
  EXPECT_FALSE(quest.reads && quest.reads->attention_kept) << "it makes no guess";
  EXPECT_FALSE(full.reads || full.tokens || quest.tokens || lazy.reads);
  ASSERT_TRUE(quest.reads && lazy.tokens);
  // Query heads that share a KV head choose 32 entries together, in whole pages of 16: three at
  // least, and the newest.
  EXPECT_GE(quest.reads->entries_read, 32);
  EXPECT_LE(quest.reads->entries_read, 3 * 16 + 16);
  EXPECT_GT(quest.reads->entries_held, static_cast<double>(quest.prompt_tokens));
  EXPECT_GT(quest.reads->index_bytes, 0u);
  // Half of the context goes past the middle. Every scored token but the last is fed, and tokens
  // may come back for it.
  ASSERT_TRUE(lazy.context_tokens);
  EXPECT_EQ(lazy.context_tokens->fed, lazy.prompt_tokens);
  EXPECT_NEAR(lazy.context_tokens->Share(), 0.75, 0.02);
  EXPECT_EQ(lazy.tokens->fed, lazy.prompt_tokens + lazy.likelihood->tokens - 1);
  EXPECT_EQ(lazy.tokens->computed.size(), 8u);
  EXPECT_EQ(lazy.tokens->computed.front(), lazy.tokens->fed);
}

TEST(EvalRunner, ItemLongerThanTheContext_IsRefused) {
  Item item = HomeItem("7", "Ada", "Oslo", 2000);
  EvalSet set;
  set.task = item.task;
  set.length = 512;  // as made by a task: not cut
  set.items = {item};
  auto runner = EvalRunner::Create(&Nano(), Settings({}));
  ResultLog log = ResultLog::InMemory();
  const Status ran = runner->Run(set, &log);
  ASSERT_FALSE(ran);
  EXPECT_EQ(ran.error().kind, ErrorKind::kInput);
  EXPECT_NE(ran.error().Message().find("item 7"), std::string::npos);
}

TEST(EvalRunner, LoadedItemLongerThanTheContext_LosesItsMiddle) {
  ResultLog log = ResultLog::InMemory();
  ASSERT_TRUE(RunItems({HomeItem("0", "Ada", "Oslo", 2000)}, Settings({}), &log));
  const ItemRecord& record = log.results().items.at(0);
  EXPECT_EQ(record.meta["cut_to"], Nano().options().context - kNew);
  EXPECT_LE(record.prompt_tokens, Nano().options().context - kNew);
  EXPECT_GT(record.prompt_tokens, Nano().options().context - kNew - 16);
}

TEST(EvalRunner, Interrupted_StopsBeforeTheNextItem) {
  auto runner = EvalRunner::Create(&Nano(), Settings({}));
  EvalSet set{"test/home", 0, "", "", "", {HomeItem("0", "Ada", "Oslo")}};
  const std::atomic<bool> interrupted = true;
  ResultLog log = ResultLog::InMemory();
  const Status ran = runner->Run(set, &log, {}, &interrupted);
  ASSERT_FALSE(ran);
  EXPECT_TRUE(log.results().items.empty());
}

TEST(CutMiddle, LongContext_KeepsBothEnds) {
  const Tokenizer& tokenizer = Nano().tokenizer();
  Item item = HomeItem("0", "Ada", "Oslo", 100);
  item.context = "First words." + item.context + " Last words.";
  const auto cut = CutMiddle(tokenizer, NoTemplate(), 200, &item);
  ASSERT_TRUE(cut);
  EXPECT_TRUE(*cut);
  EXPECT_TRUE(item.context.starts_with("First words."));
  EXPECT_TRUE(item.context.ends_with(" Last words."));
  const auto again = CutMiddle(tokenizer, NoTemplate(), 200, &item);
  ASSERT_TRUE(again);
  EXPECT_FALSE(*again);
}

TEST(CutMiddle, CutInsideACharacter_StillFits) {
  const Tokenizer& tokenizer = Nano().tokenizer();
  for (uint32_t most = 150; most < 166; ++most) {
    Item item = HomeItem("0", "Ada", "Oslo");
    item.context.clear();
    for (int i = 0; i < 200; ++i) item.context += "\xF0\x9F\x8C\xB3";  // U+1F333
    ASSERT_TRUE(CutMiddle(tokenizer, NoTemplate(), most, &item));
    const auto prompt = PreparePrompt(tokenizer, item, NoTemplate(), false);
    ASSERT_TRUE(prompt);
    EXPECT_LE(prompt->context.size() + prompt->rest.size(), most);
    EXPECT_GT(prompt->context.size() + prompt->rest.size() + 16, most);
  }
}

}  // namespace
}  // namespace pith
