// The engine with every form of the table, and with models that a form does not fit.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "codec/codec.h"
#include "engine/engine.h"
#include "engine/snapshot.h"
#include "make_model/make_model.h"

namespace pith {
namespace {

Result<std::unique_ptr<Engine>> EngineWith(const std::string& path, const Form* keys,
                                           const Form* values) {
  EngineOptions options;
  options.model_path = path;
  options.num_threads = 1;
  options.chunk = 16;  // so that later chunks read what earlier ones stored
  options.key_form = keys;
  options.value_form = values;
  return Engine::Create(options);
}

constexpr const char* kNano = PITH_SOURCE_DIR "/models/nano/nano.gguf";

std::vector<float> LogitsAfter(Engine& engine, Sequence& sequence) {
  const auto tokens = engine.tokenizer().Tokenize(
      "The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again. "
      "The pass key is 71432. Remember it. The grass is green. The sky is blue.",
      true, false);
  const auto logits = engine.Feed(sequence, *tokens);
  EXPECT_TRUE(logits);
  return {logits->begin(), logits->end()};
}

// Root mean square of the difference, over that of `a` around its mean.
double Distance(const std::vector<float>& a, const std::vector<float>& b) {
  double mean = 0, spread = 0, difference = 0;
  for (const float x : a) mean += x / static_cast<double>(a.size());
  for (size_t i = 0; i < a.size(); ++i) {
    spread += (a[i] - mean) * (a[i] - mean);
    difference += double{a[i] - b[i]} * (a[i] - b[i]);
  }
  return std::sqrt(difference / spread);
}

// Keys and values are off by about 2^-12 (f16), 2^-9 (bf16, q8_0) and 2^-5 (q4_0) of their size;
// the logits may be off by a few times that. A wrong cache gives unrelated logits (above 1/2).
TEST(EngineForms, EveryForm_GivesLogitsNearThoseOfF32) {
  const auto exact = EngineWith(kNano, FindForm("f32"), FindForm("f32"));
  ASSERT_TRUE(exact);
  Sequence sequence = (*exact)->NewSequence();
  const std::vector<float> truth = LogitsAfter(**exact, sequence);
  const std::map<std::string_view, double> most = {
      {"f32", 0}, {"f16", 0.005}, {"bf16", 0.03}, {"q8_0", 0.03}, {"q4_0", 0.35}};
  for (const Form* form : Forms()) {
    const auto engine = EngineWith(kNano, form, form);
    ASSERT_TRUE(engine) << engine.error().Message();
    Sequence other = (*engine)->NewSequence();
    EXPECT_LE(Distance(truth, LogitsAfter(**engine, other)), most.at(form->name)) << form->name;
    EXPECT_EQ(static_cast<double>(other.cache.Usage().logical) * 8,
              form->bits_per_value * 2 * 8 * 2 * 32 * static_cast<double>(other.tokens.size()))
        << form->name;  // 8 layers, 2 heads of 32
  }
}

TEST(EngineForms, EveryForm_SavedAndLoadedSequenceContinuesBitForBit) {
  for (const Form* form : Forms()) {
    const auto engine = EngineWith(kNano, form, form);
    ASSERT_TRUE(engine);
    Sequence sequence = (*engine)->NewSequence();
    LogitsAfter(**engine, sequence);
    std::vector<std::byte> bytes;
    sequence.cache.Save(&bytes);
    auto loaded = SequenceCache::Load(&(*engine)->pool(), sequence.cache.spec(), bytes, "test");
    ASSERT_TRUE(loaded) << loaded.error().Message();
    Sequence again = sequence.Fork();
    again.cache = std::move(*loaded);
    const std::vector<int32_t> next = {5, 6, 7};
    const auto a = (*engine)->Feed(sequence, next);
    const std::vector<float> first(a->begin(), a->end());
    const auto b = (*engine)->Feed(again, next);
    EXPECT_TRUE(std::equal(first.begin(), first.end(), b->begin(), b->end())) << form->name;
  }
}

TEST(EngineForms, HeadsThatDoNotFit_AreRefusedByName) {
  const std::string path = testing::TempDir() + "/odd_heads.gguf";
  MakeModelOptions options;
  options.head_dim = 24;
  ASSERT_TRUE(MakeModel(options, path));
  const Form *f16 = FindForm("f16"), *q8_0 = FindForm("q8_0");
  const auto keys = EngineWith(path, q8_0, f16), values = EngineWith(path, f16, FindForm("q4_0"));
  ASSERT_FALSE(keys);
  ASSERT_FALSE(values);
  EXPECT_NE(
      keys.error().Message().find("the form q8_0 holds multiples of 32 numbers, and a key has 24"),
      std::string::npos)
      << keys.error().Message();
  EXPECT_NE(values.error().Message().find(
                "the form q4_0 holds multiples of 32 numbers, and a value has 24"),
            std::string::npos)
      << values.error().Message();

  const auto engine = EngineWith(path, f16, f16);
  ASSERT_TRUE(engine);
  PlannedRun run = (*engine)->NewSequence().kv;
  run.plan.storage.key_sealed = q8_0;
  EXPECT_FALSE((*engine)->NewSequence(run));
  std::filesystem::remove(path);
}

}  // namespace
}  // namespace pith
