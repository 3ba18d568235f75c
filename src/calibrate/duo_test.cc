#include "calibrate/duo.h"

#include <gmock/gmock.h>

#include <cmath>
#include <filesystem>

#include "base/file.h"
#include "calibrate/import.h"
#include "calibrate/test_duo_model.h"
#include "make_model/hand_made.h"
#include "make_model/make_model.h"

namespace pith {
namespace {

DuoModel Made(const MakeModelOptions& options, const HandMade& values = {}) {
  return DuoModel([&](const std::string& path) { return MakeModel(options, path); }, values);
}

using testing::HasSubstr;

const char* const kNano = PITH_SOURCE_DIR "/models/nano/nano.gguf";

std::string InFolder(const char* name) {
  const auto path = std::filesystem::path(testing::TempDir()) / (std::to_string(::getpid()) + name);
  std::filesystem::remove(path);
  return path.string();
}

TEST(DuoRate, RisesOverAFifthAndFallsOverTheLast) {
  EXPECT_DOUBLE_EQ(DuoRate(0, 2000), 0.1);  // 1/400 would be less
  EXPECT_DOUBLE_EQ(DuoRate(199, 2000), 0.5);
  EXPECT_DOUBLE_EQ(DuoRate(399, 2000), 1);
  EXPECT_DOUBLE_EQ(DuoRate(1600, 2000), 1);
  EXPECT_DOUBLE_EQ(DuoRate(1800, 2000), 0.5);
  EXPECT_DOUBLE_EQ(DuoRate(1999, 2000), 0.1);
  EXPECT_DOUBLE_EQ(DuoRate(0, 1), 1);
}

TEST(DuoUpdate, FirstStepGoesAgainstTheSignOfTheSlopeAndStaysWithinBounds) {
  DuoState state(4);
  state.gates = {0.5, 0.5, 1, 0};
  // Slopes with the 0.05 / 4 for the mean gate: 0.1, -0.9875, -0.9875, 1 (none at 0).
  DuoUpdate({.loss = 0.25, .gradient = {0.0875f, -1, -1, 1}, .hidden = {}}, 100, &state);
  constexpr double kRate = 0.02 * 0.1;
  EXPECT_NEAR(state.gates[0], 0.5 - kRate, 1e-8);
  EXPECT_NEAR(state.gates[1], 0.5 + kRate, 1e-8);
  EXPECT_EQ(state.gates[2], 1);
  EXPECT_EQ(state.gates[3], 0);
  EXPECT_EQ(state.step, 1u);
  EXPECT_EQ(state.loss, 0.25);

  // The second, by AdamW's formulas: moments 0.09 x 0.1 + 0.1 x 0.2 ..., and the rate 2/20.
  DuoUpdate({.loss = 0.5, .gradient = {0.1875f, 0, 0, 0}, .hidden = {}}, 100, &state);
  const double mean = (0.9 * 0.1 * 0.1 + 0.1 * 0.2) / (1 - 0.81);
  const double square = (0.999 * 0.001 * 0.01 + 0.001 * 0.04) / (1 - 0.999 * 0.999);
  EXPECT_NEAR(state.gates[0], 0.5 - kRate - 0.02 * 0.1 * mean / std::sqrt(square), 1e-8);
  EXPECT_NEAR(state.loss, 0.98 * 0.25 + 0.02 * 0.5, 1e-12);
}

TEST(DuoUpdate, WithoutALoss_GatesCloseAndStayAt0) {
  DuoState state(2);
  for (int i = 0; i < 200; ++i)
    DuoUpdate({.loss = 0, .gradient = {0, 0}, .hidden = {}}, 200, &state);
  EXPECT_THAT(state.gates, testing::Each(0.0));
}

// One layer with two heads of 16 dimensions. One finds the token that bears a mark, wherever it is,
// when it is asked, and says which one it is; the other looks at its neighbours. Channels of the
// embedding: 0 is 1 for every token, 1 says "asked", 2 "marked", 8 to 15 which one.
constexpr size_t kWidth = 64, kDim = 16, kSlowest = 14;
constexpr int32_t kAsk = 300, kMarked = 310;

MakeModelOptions HandMadeShape() {
  MakeModelOptions options;
  options.layers = 1;
  options.width = kWidth;
  options.query_heads = options.kv_heads = 2;
  options.head_dim = kDim;
  options.rope_base = 1e6f;
  return options;
}

HandMade HandMadeHeads(size_t finder) {
  const size_t local = 1 - finder;
  return [=](const std::string& name, std::vector<float>& values) {
    const auto at = [&](size_t row, size_t column, size_t columns) -> float& {
      return values[row * columns + column];
    };
    if (name.ends_with("norm.weight")) std::ranges::fill(values, 1.0f);
    if (name == "token_embd.weight") {
      for (size_t token = 0; token < values.size() / kWidth; ++token) at(token, 0, kWidth) = 1;
      at(kAsk, 1, kWidth) = 1;
      for (size_t i = 0; i < 8; ++i)
        at(kMarked + i, 2, kWidth) = at(kMarked + i, 8 + i, kWidth) = 1;
    } else if (name == "blk.0.attn_q.weight" || name == "blk.0.attn_k.weight") {
      // In the slowest pair of dimensions rope turns by a thousandth over these texts.
      at(finder * kDim + kSlowest, name == "blk.0.attn_q.weight" ? 1 : 2, kWidth) = 1.4f;
      for (size_t pair = 0; pair < 4; ++pair) at(local * kDim + 2 * pair, 0, kWidth) = 2;
    } else if (name == "blk.0.attn_v.weight") {
      for (size_t i = 0; i < 8; ++i) at(finder * kDim + i, 8 + i, kWidth) = 1;
      at(local * kDim, 0, kWidth) = 1;
    } else if (name == "blk.0.attn_output.weight") {
      for (size_t i = 0; i < 8; ++i) at(32 + i, finder * kDim + i, 2 * kDim) = 1;
      at(48, local * kDim, 2 * kDim) = 1;
    }
  };
}

TEST(TrainGates, HeadThatTheAnswerNeeds_StaysOpenAndALocalOneCloses) {
  for (const size_t finder : {size_t{0}, size_t{1}}) {
    const DuoModel model = Made(HandMadeShape(), HandMadeHeads(finder));
    const auto texts = [](uint32_t step) -> Result<DuoText> {
      Rng rng(step);
      DuoText text{RandomTokens(step, 100), {99}};
      text.tokens[10 + rng.Below(70)] = kMarked + static_cast<int32_t>(rng.Below(8));
      text.tokens[98] = kAsk;
      return text;
    };
    DuoStreams streams(*model, {4, 8}, 1);
    DuoState state(2);
    const Status trained = TrainGates(streams, texts, 100, &state,
                                      [](const DuoState&) -> Result<bool> { return true; });
    ASSERT_TRUE(trained) << trained.error().Message();
    EXPECT_GT(state.gates[finder], 0.9);
    EXPECT_LT(state.gates[1 - finder], 0.1);
  }
}

// The model whose heads the other calibrations rank: of eight heads one alone needs the whole text.
TEST(TrainGates, HandMadeHeads_TheOneThatFollowsARepeatedTextStaysOpenAndTheOthersClose) {
  const DuoModel model(MakeHandMadeModel);
  const auto texts = [](uint32_t step) -> Result<DuoText> {
    constexpr int32_t kPeriod = 30;
    Rng rng(step);
    DuoText text;
    text.tokens.push_back(HandMadeModel::kVocabulary - 3);  // BOS
    for (int32_t i = 0; i < kPeriod; ++i) {
      constexpr uint32_t kWords = HandMadeModel::kEndWord - HandMadeModel::kFirstWord;
      text.tokens.push_back(HandMadeModel::kFirstWord + static_cast<int32_t>(rng.Below(kWords)));
    }
    for (int32_t i = 1; i <= kPeriod; ++i) {
      text.answers.push_back(static_cast<int32_t>(text.tokens.size()));
      text.tokens.push_back(text.tokens[static_cast<size_t>(i)]);
    }
    return text;
  };
  DuoStreams streams(*model, {4, 8}, 1);
  DuoState state(model.num_gates());
  const Status trained =
      TrainGates(streams, texts, 100, &state, [](const DuoState&) -> Result<bool> { return true; });
  ASSERT_TRUE(trained) << trained.error().Message();
  constexpr size_t kFollows = HandMadeModel::kHeads + 2;  // head 1-2
  for (size_t gate = 0; gate < state.gates.size(); ++gate) {
    if (gate == kFollows) {
      EXPECT_GT(state.gates[gate], 0.9);
    } else {
      EXPECT_LT(state.gates[gate], 0.1) << "gate " << gate;
    }
  }
}

class Checkpoint : public testing::Test {
 protected:
  Checkpoint() : state_(3) {
    state_.step = 5;
    state_.loss = 0.125;
    state_.gates = {0.1, 0.2, 1};
    state_.mean = {-1, 0, 1};
    state_.square = {1, 2, 3};
    EXPECT_TRUE(SaveDuoState(path_, 7, settings_, state_));
  }
  ~Checkpoint() override { std::filesystem::remove(path_); }

  std::string Refusal(uint64_t model_hash, const DuoSettings& settings, size_t num_gates = 3) {
    const auto state = ReadDuoState(path_, model_hash, settings, num_gates);
    EXPECT_FALSE(state);
    if (state) return "";
    EXPECT_EQ(state.error().kind, ErrorKind::kInput);
    return state.error().Message();
  }

  std::string path_ = InFolder("checkpoint");
  DuoSettings settings_{.steps = 10, .seed = 3, .context = 512};
  DuoState state_;
};

TEST_F(Checkpoint, IsReadAsItWasSaved) {
  const auto read = ReadDuoState(path_, 7, settings_, 3);
  ASSERT_TRUE(read) << read.error().Message();
  EXPECT_EQ(read->step, state_.step);
  EXPECT_EQ(read->loss, state_.loss);
  EXPECT_EQ(read->gates, state_.gates);
  EXPECT_EQ(read->mean, state_.mean);
  EXPECT_EQ(read->square, state_.square);
}

TEST_F(Checkpoint, OfAnotherTraining_IsRefusedNamingTheDifference) {
  EXPECT_THAT(Refusal(8, settings_), HasSubstr("another model"));
  EXPECT_THAT(Refusal(7, {10, 4, 512}),
              HasSubstr("another --seed was not finished (3 instead of 4)"));
  EXPECT_THAT(Refusal(7, {11, 3, 512}), HasSubstr("another --steps"));
  EXPECT_THAT(Refusal(7, {10, 3, 1024}), HasSubstr("another --ctx"));
}

TEST_F(Checkpoint, Damaged_IsRefusedWhereverTheDamageIs) {
  EXPECT_THAT(Refusal(7, settings_, 4), HasSubstr("damaged"));
  const auto whole = ReadText(path_);
  ASSERT_TRUE(whole);
  for (size_t i = 0; i < whole->size(); i += 3) {
    std::string bytes = *whole;
    bytes[i] = static_cast<char>(bytes[i] ^ 1);
    ASSERT_TRUE(WriteText(path_, bytes));
    EXPECT_THAT(Refusal(7, settings_), HasSubstr("damaged")) << i;
    ASSERT_TRUE(WriteText(path_, whole->substr(0, i)));
    EXPECT_THAT(Refusal(7, settings_), HasSubstr("damaged")) << i;
  }
}

TEST(GatesText, IsWhatImportReads) {
  const std::vector<float> gates = {0, 0.25f, 1, 1e-7f, 0.1f, 0.3333333f};
  const std::string text = GatesText(gates, 2);
  EXPECT_EQ(text, "0\t0.25\n1\t1e-07\n0.1\t0.3333333\n");
  const auto imported = ImportGates(text, "file", {"model", 7, 3, 2, 2});
  ASSERT_TRUE(imported) << imported.error().Message();
  EXPECT_EQ(imported->profile.heads.gates, gates);
}

class LearnNanoGates : public testing::Test {
 protected:
  static std::string path() { return InFolder("training"); }
  // Stops when `stop_after` steps are done, if that is before the end.
  Result<Profile> Learn(const DuoSettings& settings, uint32_t stop_after) {
    const auto file = GgufFile::Open(kNano);
    EXPECT_TRUE(file);
    return LearnGates(*file, settings, 1, checkpoint_, [&](const DuoProgress& now) {
      seen_.push_back(now.steps_done);
      return now.steps_done < stop_after;
    });
  }
  ~LearnNanoGates() override { std::filesystem::remove(checkpoint_); }

  std::string checkpoint_ = path();
  std::vector<uint32_t> seen_;
};

TEST_F(LearnNanoGates, Interrupted_GoesOnToTheSameBits) {
  const DuoSettings settings{.steps = 4, .seed = 9, .context = 512};
  const auto whole = Learn(settings, 100);
  ASSERT_TRUE(whole) << whole.error().Message();
  EXPECT_FALSE(std::filesystem::exists(checkpoint_));  // too short to need one
  EXPECT_THAT(seen_, testing::ElementsAre(0, 1, 2, 3, 4));
  seen_.clear();

  const auto part = Learn(settings, 2);
  ASSERT_FALSE(part);
  EXPECT_EQ(part.error().kind, ErrorKind::kFailure);
  EXPECT_EQ(part.error().what, "interrupted");
  EXPECT_THAT(seen_, testing::ElementsAre(0, 1, 2));
  const auto other = Learn({.steps = 4, .seed = 8, .context = 512}, 100);
  ASSERT_FALSE(other);
  EXPECT_EQ(other.error().kind, ErrorKind::kInput);
  seen_.clear();

  const auto rest = Learn(settings, 100);
  ASSERT_TRUE(rest) << rest.error().Message();
  EXPECT_THAT(seen_, testing::ElementsAre(2, 3, 4));
  EXPECT_EQ(rest->heads.gates, whole->heads.gates);
  EXPECT_EQ(rest->origins, whole->origins);
  EXPECT_EQ(whole->heads.gates.size(), 16u);
  EXPECT_EQ(whole->heads.sections(), kProfileGates);
  EXPECT_THAT(whole->heads.gates, testing::Contains(testing::Lt(1.0f)));
  EXPECT_THAT(whole->origins[1], HasSubstr("4 steps, seed 9, texts of up to 512 tokens"));
}

TEST_F(LearnNanoGates, ContextOutOfRange_IsRefused) {
  for (const uint32_t context : {1u, 511u, 4097u}) {
    const auto refused = Learn({.steps = 1, .seed = 1, .context = context}, 100);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().kind, ErrorKind::kInput);
    EXPECT_THAT(refused.error().Message(), HasSubstr("Take 512 to 4096"));
  }
}

TEST(LearnGates, ModelsThatItCannotServe_AreRefused) {
  const auto refusal = [](const MakeModelOptions& options, uint32_t context) {
    const DuoModel model = Made(options);
    const auto refused = LearnGates(model.file(), {.steps = 1, .seed = 1, .context = context}, 1,
                                    InFolder("none"), [](const DuoProgress&) { return true; });
    EXPECT_FALSE(refused);
    if (refused) return std::string();
    EXPECT_EQ(refused.error().kind, ErrorKind::kInput);
    return refused.error().Message();
  };
  MakeModelOptions fused;
  fused.architecture = MakeArchitecture::kPhi3;
  EXPECT_THAT(refusal(fused, 0), HasSubstr("phi3"));
  MakeModelOptions small;
  small.context = 256;
  EXPECT_THAT(refusal(small, 0),
              HasSubstr("of 512 tokens or more, and the model was trained for 256"));
  // Its vocabulary has only bytes: a passkey takes hundreds of tokens.
  EXPECT_THAT(refusal({}, 512), AllOf(HasSubstr("do not fit"), HasSubstr("--ctx")));
}

}  // namespace
}  // namespace pith
