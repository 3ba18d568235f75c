#include "calibrate/duo_graph.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "calibrate/test_duo_model.h"
#include "engine/engine.h"
#include "make_model/make_model.h"

namespace pith {
namespace {

DuoModel Made(const MakeModelOptions& options) {
  return DuoModel([&](const std::string& path) { return MakeModel(options, path); });
}

constexpr DuoWindow kWindow{5, 11};

std::vector<float> SomeGates(const DuoModel& model) {
  std::vector<float> gates;
  for (size_t i = 0; i < model.num_gates(); ++i) {
    gates.push_back(0.2f + 0.6f * static_cast<float>((i * 5 + 2) % 7) / 7);
  }
  return gates;
}

// More than one block, and not a whole number of them.
DuoText SomeText() { return {RandomTokens(3, 150), {17, 64, 65, 120, 149}}; }

// Central differences of the loss against its gradient: the largest difference of any gate, as a
// part of the largest gradient.
double GradientError(const MakeModelOptions& options) {
  const DuoModel model = Made(options);
  DuoStreams streams(*model, kWindow, 1);
  const DuoText text = SomeText();
  std::vector<float> gates = SomeGates(model);
  const DuoLoss at = RunStreams(streams, text, gates);
  double largest = 0, error = 0;
  for (size_t i = 0; i < gates.size(); ++i) {
    constexpr float kStep = 0.05f;
    const float gate = gates[i];
    gates[i] = gate + kStep;
    const double above = RunStreams(streams, text, gates).loss;
    gates[i] = gate - kStep;
    const double below = RunStreams(streams, text, gates).loss;
    gates[i] = gate;
    const double slope = (above - below) / (2 * double{kStep});
    largest = std::max(largest, std::abs(slope));
    error = std::max(error, std::abs(slope - double{at.gradient[i]}));
  }
  EXPECT_GT(largest, 0);
  return error / largest;
}

TEST(DuoStreams, GradientIsThatOfTheLoss) {
  MakeModelOptions grouped;
  grouped.query_heads = 8;
  grouped.layers = 3;
  EXPECT_LT(GradientError(grouped), 2e-3);

  MakeModelOptions biased;
  biased.architecture = MakeArchitecture::kQwen2;
  biased.qkv_bias = true;
  EXPECT_LT(GradientError(biased), 2e-3);

  MakeModelOptions normed;
  normed.architecture = MakeArchitecture::kQwen3;
  normed.head_dim = 32;
  EXPECT_LT(GradientError(normed), 2e-3);

  MakeModelOptions factors;
  factors.rope_factors = true;
  EXPECT_LT(GradientError(factors), 2e-3);
}

TEST(DuoStreams, QuantisedWeightsHaveAGradientToo) {
  // With these the way forward rounds its rows as well, so that differences of the loss are coarse:
  // the slope that they give is the less certain side.
  const std::pair<ggml_type, double> cases[] = {
      {GGML_TYPE_F16, 5e-3}, {GGML_TYPE_BF16, 0.05}, {GGML_TYPE_Q8_0, 0.2}};
  for (const auto& [type, tolerance] : cases) {
    MakeModelOptions options;
    options.type = type;
    EXPECT_LT(GradientError(options), tolerance) << ggml_type_name(type);
  }
}

TEST(DuoStreams, FullStreamIsTheEnginesModel) {
  for (const MakeArchitecture architecture :
       {MakeArchitecture::kLlama, MakeArchitecture::kQwen2, MakeArchitecture::kQwen3}) {
    MakeModelOptions options;
    options.architecture = architecture;
    options.qkv_bias = architecture == MakeArchitecture::kQwen2;
    const DuoModel model = Made(options);
    DuoText text{RandomTokens(4, 300), {}};  // more than a chunk
    for (int32_t i = 1; i < 300; ++i) text.answers.push_back(i);
    DuoStreams streams(*model, kWindow, 1);
    const DuoLoss found = RunStreams(streams, text, SomeGates(model));

    EngineOptions engine_options{.model_path = model.path(), .num_threads = 1, .repack = false};
    engine_options.key_form = engine_options.value_form = FindForm(FormId::kF32);
    auto engine = Engine::Create(engine_options);
    ASSERT_TRUE(engine) << engine.error().Message();
    Sequence sequence = (*engine)->NewSequence();
    const auto logits = (*engine)->FeedAll(sequence, text.tokens);
    ASSERT_TRUE(logits);

    const size_t width = options.width, vocabulary = options.vocabulary;
    const auto* output = static_cast<const float*>(model->common().output->data);
    double largest = 0, error = 0;
    for (size_t row = 0; row < text.answers.size(); ++row) {
      for (size_t token = 0; token < vocabulary; ++token) {
        double logit = 0;
        for (size_t c = 0; c < width; ++c) {
          logit += double{output[token * width + c]} * double{found.hidden[row * width + c]};
        }
        const double expected = double{(*logits)[row * vocabulary + token]};
        largest = std::max(largest, std::abs(expected));
        error = std::max(error, std::abs(logit - expected));
      }
    }
    EXPECT_LT(error, 2e-5 * largest) << MakeArchitectureName(architecture);
  }
}

TEST(DuoStreams, WithAllGatesOpenBothStreamsAreOne) {
  const DuoModel model = Made({});
  DuoStreams streams(*model, kWindow, 1);
  EXPECT_LT(RunStreams(streams, SomeText(), std::vector(model.num_gates(), 1.0f)).loss, 1e-10);
  EXPECT_GT(RunStreams(streams, SomeText(), std::vector(model.num_gates(), 0.0f)).loss, 1e-4);
}

TEST(DuoStreams, SinksAndRecentTokensAreSeenOnceEach) {
  const DuoModel model = Made({});
  const std::vector<float> closed(model.num_gates(), 0.0f);
  const DuoText text{RandomTokens(5, 151), {150}};  // row 149 predicts it and sees 150 rows
  const auto loss = [&](uint32_t sinks, uint32_t recent) {
    DuoStreams streams(*model, {sinks, recent}, 1);
    return RunStreams(streams, text, closed).loss;
  };
  for (const uint32_t sinks : {0u, 1u, 40u, 149u}) {
    EXPECT_LT(loss(sinks, 150 - sinks), 1e-10) << sinks;
    EXPECT_LT(loss(sinks, 170 - sinks), 1e-10) << sinks;  // windows that overlap the sinks
    if (sinks == 149) continue;
    EXPECT_GT(loss(sinks, 149 - sinks), 1e-7) << sinks;
  }
  EXPECT_LT(loss(200, 1), 1e-10);
}

TEST(DuoStreams, RecentWindow_IsTheModelOnThoseTokensAlone) {
  // In one layer, and because positions count only by their distance.
  MakeModelOptions options;
  options.layers = 1;
  const DuoModel model = Made(options);
  const std::vector<float> closed(model.num_gates(), 0.0f);
  const std::vector<int32_t> tokens = RandomTokens(6, 200);
  constexpr uint32_t kRecent = 21;
  for (const int32_t answer : {70, 128, 199}) {
    DuoStreams streams(*model, {0, kRecent}, 1);
    const DuoLoss whole = RunStreams(streams, {tokens, {answer}}, closed);
    const DuoLoss part =
        RunStreams(streams,
                   {{tokens.begin() + answer - kRecent, tokens.begin() + answer + 1},
                    {static_cast<int32_t>(kRecent)}},
                   closed);
    double squares = 0;
    for (size_t c = 0; c < options.width; ++c) {
      const double difference = double{whole.hidden[c]} - double{part.hidden[c]};
      squares += difference * difference;
    }
    EXPECT_GT(whole.loss, 1e-4);
    EXPECT_NEAR(whole.loss, squares / options.width, 1e-4 * whole.loss) << answer;
  }
}

TEST(DuoStreams, AnyNumberOfThreads_SameBits) {
  MakeModelOptions options;
  options.query_heads = 8;
  options.type = GGML_TYPE_F16;
  const DuoModel model = Made(options);
  const std::vector<float> gates = SomeGates(model);
  DuoStreams one(*model, kWindow, 1), two(*model, kWindow, 2);
  const DuoLoss a = RunStreams(one, SomeText(), gates), b = RunStreams(two, SomeText(), gates);
  EXPECT_EQ(a.loss, b.loss);
  EXPECT_EQ(a.gradient, b.gradient);
  EXPECT_EQ(a.hidden, b.hidden);
}

TEST(DuoStreams, TextsOneAfterTheOther_DoNotMixWhateverTheirLengths) {
  const DuoModel model = Made({});
  const std::vector<float> gates = SomeGates(model);
  const DuoText longer{RandomTokens(7, 320), {200, 301}}, shorter{RandomTokens(8, 70), {60}};
  DuoStreams fresh(*model, kWindow, 1), used(*model, kWindow, 1);
  const DuoLoss expected = RunStreams(fresh, shorter, gates);
  ASSERT_TRUE(used.Reserve(400, 10));
  EXPECT_GT(used.memory_bytes(), 0u);
  RunStreams(used, longer, gates);
  const DuoLoss found = RunStreams(used, shorter, gates);
  EXPECT_EQ(found.loss, expected.loss);
  EXPECT_EQ(found.gradient, expected.gradient);
}

TEST(DuoStreams, MemoryIsNotThatOfAllLayers) {
  const auto memory = [](uint32_t layers) {
    MakeModelOptions options;
    options.layers = layers;
    const DuoModel model = Made(options);
    DuoStreams streams(*model, kWindow, 1);
    EXPECT_TRUE(streams.Reserve(512, 8));
    return streams.memory_bytes();
  };
  EXPECT_LT(memory(10), 2 * memory(2));
}

TEST(CheckCanLearnGates, OtherArchitectures_AreRefusedByName) {
  MakeModelOptions experts;
  experts.architecture = MakeArchitecture::kQwen3Moe;
  experts.experts = 4;
  experts.experts_used = 2;
  MakeModelOptions mixtral;
  mixtral.experts = 4;
  mixtral.experts_used = 2;
  MakeModelOptions fused;
  fused.architecture = MakeArchitecture::kPhi3;
  const auto refusal = [](const MakeModelOptions& options) {
    const DuoModel model = Made(options);
    const Status status = CheckCanLearnGates(*model);
    EXPECT_FALSE(status);
    return status ? "" : status.error().Message();
  };
  EXPECT_THAT(refusal(experts), testing::HasSubstr("architecture qwen3moe: its experts"));
  EXPECT_THAT(refusal(mixtral), testing::HasSubstr("architecture llama: its experts"));
  EXPECT_THAT(refusal(fused), testing::HasSubstr("architecture phi3: its fused matrices"));
  const DuoModel plain = Made({});
  EXPECT_TRUE(CheckCanLearnGates(*plain));
}

}  // namespace
}  // namespace pith
