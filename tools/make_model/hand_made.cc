#include "hand_made.h"

#include <cmath>
#include <utility>
#include <vector>

#include "base/rng.h"
#include "make_model.h"

namespace pith {
namespace {

// Tokens are random codes of signs, far from each other.
constexpr uint32_t kCode = 64;
// The channels of the residual: the token's code, that of the token before, that of the token to
// come, 1, and 1 at BOS.
constexpr uint32_t kOwn = 0, kBefore = kCode, kNext = 2 * kCode, kOne = 3 * kCode, kBos = kOne + 1;
constexpr uint32_t kWidth = kBos + 3;
// The channel pairs of a head: those that rope turns, then as many as a code needs, which it turns
// by nothing.
constexpr uint32_t kTurning = 16, kStill = 2 * kTurning;
constexpr uint32_t kHeadDim = kStill + kCode;
constexpr float kRopeBase = 10000, kNoTurn = 1e8f;

// Of the products, so that what is looked at outweighs all else by e^25 and more.
constexpr float kNearGain = 14, kCodeGain = 5, kBosGain = 20;

struct Matrix {
  uint32_t rows, columns;
  std::vector<float> values = std::vector<float>(size_t{rows} * columns);
  float& operator()(uint32_t row, uint32_t column) {
    return values[size_t{row} * columns + column];
  }
};

// Query, key, value and output of one layer, built up head by head.
class Layer {
 public:
  // The q at distance 1 meets the k: each pair is turned by its angle of one position.
  void LookAtTheTokenBefore(uint32_t head) {
    for (uint32_t pair = 0; pair < kTurning; ++pair) {
      const float angle = std::pow(kRopeBase, -2.0f * static_cast<float>(pair) / kHeadDim);
      const uint32_t row = head * kHeadDim + 2 * pair;
      q_(row, kOne) = kNearGain * std::cos(angle);
      q_(row + 1, kOne) = -kNearGain * std::sin(angle);
      k_(row, kOne) = kNearGain;
    }
  }
  // At tokens whose channels from `of` on are the code of the row's own token.
  void LookForTheToken(uint32_t head, uint32_t of) {
    for (uint32_t i = 0; i < kCode; ++i) {
      q_(head * kHeadDim + kStill + i, kOwn + i) = kCodeGain;
      k_(head * kHeadDim + kStill + i, of + i) = kCodeGain;
    }
  }
  void LookAtBos(uint32_t head) {
    q_(head * kHeadDim + kStill, kOne) = kBosGain;
    k_(head * kHeadDim + kStill, kBos) = kBosGain;
  }
  // The code of what the head looks at, times `gain`.
  void CopyTo(uint32_t head, uint32_t to, float gain) {
    for (uint32_t i = 0; i < kCode; ++i) {
      v_(head * kHeadDim + i, kOwn + i) = 1;
      out_(to + i, head * kHeadDim + i) = gain;
    }
  }

  void AddTo(const std::string& block, MakeModelOptions* options) && {
    options->weights[block + "attn_q.weight"] = std::move(q_.values);
    options->weights[block + "attn_k.weight"] = std::move(k_.values);
    options->weights[block + "attn_v.weight"] = std::move(v_.values);
    options->weights[block + "attn_output.weight"] = std::move(out_.values);
    options->weights[block + "attn_norm.weight"] = std::vector<float>(kWidth, 1);
    options->weights[block + "ffn_down.weight"] =
        std::vector<float>(size_t{kWidth} * options->feed_forward);
  }

 private:
  static constexpr uint32_t kHeadRows = HandMadeModel::kHeads * kHeadDim;
  Matrix q_{kHeadRows, kWidth}, k_{kHeadRows, kWidth}, v_{kHeadRows, kWidth};
  Matrix out_{kWidth, kHeadRows};
};

std::vector<float> RopeFactors() {
  std::vector<float> factors(kHeadDim / 2, kNoTurn);
  for (uint32_t pair = 0; pair < kTurning; ++pair) factors[pair] = 1;
  return factors;
}

}  // namespace

Status MakeHandMadeModel(const std::string& path) {
  MakeModelOptions options;
  options.layers = HandMadeModel::kLayers;
  options.width = kWidth;
  options.query_heads = options.kv_heads = HandMadeModel::kHeads;
  options.head_dim = kHeadDim;
  options.vocabulary = HandMadeModel::kVocabulary;
  options.rope_base = kRopeBase;
  options.rope_factors = true;
  options.weights["rope_freqs.weight"] = RopeFactors();
  options.weights["output_norm.weight"] = std::vector<float>(kWidth, 1);

  constexpr uint32_t kBosToken = HandMadeModel::kVocabulary - 3;
  Matrix embedding{HandMadeModel::kVocabulary, kWidth}, output{HandMadeModel::kVocabulary, kWidth};
  Rng rng(1);
  for (uint32_t token = 0; token < HandMadeModel::kVocabulary; ++token) {
    for (uint32_t i = 0; i < kCode; ++i) {
      const float sign = rng.Below(2) == 0 ? -1.0f : 1.0f;
      embedding(token, kOwn + i) = sign;
      output(token, kNext + i) = sign;
    }
    embedding(token, kOne) = 1;
  }
  embedding(kBosToken, kBos) = 1;
  options.weights["token_embd.weight"] = std::move(embedding.values);
  options.weights["output.weight"] = std::move(output.values);

  Layer first, second;
  first.LookAtTheTokenBefore(0);
  // The norm in front of the layer has scaled the code by this.
  const float scale = std::sqrt(static_cast<float>(kWidth) / (kCode + 1));
  first.CopyTo(0, kBefore, 1 / scale);
  first.LookForTheToken(1, kOwn);
  first.LookAtBos(2);
  std::move(first).AddTo("blk.0.", &options);
  second.LookAtTheTokenBefore(0);
  second.LookForTheToken(2, kBefore);
  second.CopyTo(2, kNext, 1);
  second.LookAtBos(3);
  std::move(second).AddTo("blk.1.", &options);
  return MakeModel(options, path);
}

}  // namespace pith
