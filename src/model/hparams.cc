#include "model/hparams.h"

#include <cmath>
#include <limits>

namespace pith {
namespace {

// Limits far beyond any model, so that products of sizes stay well inside 64 bits and graphs inside
// ggml's limits.
constexpr uint64_t kMaxLayers = 1024;
constexpr uint64_t kMaxWidth = 1u << 20;
constexpr uint64_t kMaxHeads = 4096;
constexpr uint64_t kMaxHeadDim = 256;
constexpr uint64_t kMaxExperts = 1024;
constexpr uint64_t kMaxContext = 1u << 30;
constexpr uint64_t kMaxVocabulary = 1u << 26;

class Keys {
 public:
  Keys(const GgufFile& file, std::string_view architecture)
      : file_(file), prefix_(std::string(architecture) + ".") {}

  std::string Name(std::string_view key) const { return prefix_ + std::string(key); }

  tl::unexpected<Error> Refuse(std::string_view key, const std::string& why) const {
    return InputError(why, file_.path() + ", key " + Name(key),
                      "The file is damaged or was converted for another program.");
  }

  Result<uint32_t> Count(std::string_view key, uint64_t least, uint64_t most) const {
    PITH_ASSIGN(const uint64_t value, file_.Integer(Name(key)));
    return InRange(key, value, least, most);
  }

  Result<uint32_t> CountOr(std::string_view key, uint64_t fallback, uint64_t least,
                           uint64_t most) const {
    PITH_ASSIGN(const uint64_t value, file_.IntegerOr(Name(key), fallback));
    return InRange(key, value, least, most);
  }

  Result<float> NumberOr(std::string_view key, double fallback) const {
    PITH_ASSIGN(const double value, file_.FloatOr(Name(key), fallback));
    if (!std::isfinite(value)) return Refuse(key, "the value is not a finite number");
    return static_cast<float>(value);
  }

 private:
  Result<uint32_t> InRange(std::string_view key, uint64_t value, uint64_t least,
                           uint64_t most) const {
    if (value < least || value > most) {
      return Refuse(key, "the value " + std::to_string(value) + " is outside " +
                             std::to_string(least) + ".." + std::to_string(most));
    }
    return static_cast<uint32_t>(value);
  }

  const GgufFile& file_;
  std::string prefix_;
};

// Features that would change the result and that no supported architecture has here: refused when
// switched on.
Status RefuseUnknownFeatures(const GgufFile& file, const Keys& keys) {
  static constexpr std::string_view kFloatKeys[] = {
      "attn_logit_softcapping", "final_logit_softcapping",
      "attention.clamp_kqv",    "attention.max_alibi_bias",
      "attention.scale",        "logit_scale",
      "residual_scale",         "embedding_scale",
      "expert_weights_scale",   "rope.scaling.yarn_log_multiplier"};
  for (const std::string_view key : kFloatKeys) {
    PITH_ASSIGN(const double value, file.FloatOr(keys.Name(key), 0.0));
    if (value != 0.0) {
      return InputError("the model uses a feature that is not supported: " + std::string(key) +
                            " = " + std::to_string(value),
                        file.path(), "Use a model without it.");
    }
  }
  static constexpr std::string_view kCountKeys[] = {"expert_shared_count",
                                                    "leading_dense_block_count",
                                                    "expert_group_count", "expert_gating_func"};
  for (const std::string_view key : kCountKeys) {
    PITH_ASSIGN(const uint64_t value, file.IntegerOr(keys.Name(key), 0));
    // expert_gating_func 1 is softmax, which is what is computed here.
    if (value != 0 && !(key == "expert_gating_func" && value == 1)) {
      return InputError("the model uses a feature that is not supported: " + std::string(key) +
                            " = " + std::to_string(value),
                        file.path(), "Use a model without it.");
    }
  }
  PITH_ASSIGN(const bool causal, file.BoolOr(keys.Name("attention.causal"), true));
  if (!causal) {
    return InputError("the model is not causal", file.path(), "Use a model that generates text.");
  }
  return {};
}

Status ReadHeads(const GgufFile& file, const Keys& keys, HyperParams* p) {
  for (const std::string_view key :
       {"attention.head_count", "attention.head_count_kv", "feed_forward_length"}) {
    const GgufValue* value = file.Find(keys.Name(key));
    if (value != nullptr && value->type == GgufType::kArray) {
      return InputError("the model has different sizes per layer, which is not supported",
                        file.path() + ", key " + keys.Name(key), "Use a model with equal layers.");
    }
  }
  PITH_ASSIGN(p->num_query_heads, keys.Count("attention.head_count", 1, kMaxHeads));
  PITH_ASSIGN(p->num_kv_heads,
              keys.CountOr("attention.head_count_kv", p->num_query_heads, 1, kMaxHeads));
  if (p->num_query_heads % p->num_kv_heads != 0) {
    return keys.Refuse("attention.head_count_kv",
                       std::to_string(p->num_kv_heads) + " KV heads do not divide " +
                           std::to_string(p->num_query_heads) + " query heads");
  }
  const uint32_t head_dim = p->width / p->num_query_heads;
  PITH_ASSIGN(p->key_dim, keys.CountOr("attention.key_length", head_dim, 1, kMaxHeadDim));
  PITH_ASSIGN(p->value_dim, keys.CountOr("attention.value_length", head_dim, 1, kMaxHeadDim));
  return {};
}

// The magnitude that YaRN gives attention, divided by what ggml's rope multiplies in by itself.
float YarnMagnitude(float scale) {
  const float factor = 1.0f / scale;
  const float wanted = factor <= 1.0f ? 1.0f : 0.1f * std::log(factor) + 1.0f;
  return wanted / (1.0f + 0.1f * std::log(factor));
}

Status ReadRope(const GgufFile& file, const Keys& keys, HyperParams* p) {
  RopeParams& rope = p->rope;
  PITH_ASSIGN(rope.dims, keys.CountOr("rope.dimension_count", p->key_dim, 2, p->key_dim));
  if (rope.dims % 2 != 0) return keys.Refuse("rope.dimension_count", "the value is odd");
  p->rope_dims = rope.dims;
  PITH_ASSIGN(rope.base, keys.NumberOr("rope.freq_base", 10000.0));
  if (!(rope.base > 0.0f)) return keys.Refuse("rope.freq_base", "the value is not positive");
  PITH_ASSIGN(rope.original_context,
              keys.CountOr("rope.scaling.original_context_length", p->context, 1, kMaxContext));

  const std::string type_key = keys.Name("rope.scaling.type");
  PITH_ASSIGN(const std::string_view type, file.StringOr(type_key, "linear"));
  PITH_ASSIGN(float factor, keys.NumberOr("rope.scaling.factor", 0.0));
  if (factor == 0.0f) {
    PITH_ASSIGN(factor, keys.NumberOr("rope.scale_linear", 0.0));  // the key's older name
  }
  if (factor < 0.0f) return keys.Refuse("rope.scaling.factor", "the value is negative");
  if (factor > 0.0f && type != "none") rope.scale = 1.0f / factor;
  PITH_ASSIGN(const float magnitude, keys.NumberOr("rope.scaling.attn_factor", 1.0));
  if (type == "yarn") {
    rope.extrapolation = 1.0f;
    rope.magnitude = YarnMagnitude(rope.scale);
    PITH_ASSIGN(rope.extrapolation, keys.NumberOr("rope.scaling.yarn_ext_factor", 1.0));
    PITH_ASSIGN(rope.beta_fast, keys.NumberOr("rope.scaling.yarn_beta_fast", 32.0));
    PITH_ASSIGN(rope.beta_slow, keys.NumberOr("rope.scaling.yarn_beta_slow", 1.0));
  } else if (type == "longrope") {
    rope.long_rope = true;
  } else if (type != "linear" && type != "none") {
    return InputError("the model's rope scaling '" + std::string(type) + "' is not supported",
                      file.path() + ", key " + type_key, "Known are none, linear, yarn, longrope.");
  }
  rope.magnitude *= magnitude;
  return {};
}

Result<uint32_t> ReadVocabularySize(const GgufFile& file) {
  const GgufTensor* embedding = file.FindTensor("token_embd.weight");
  if (embedding == nullptr) {
    return InputError("the file has no tensor token_embd.weight", file.path(),
                      "This is not a model that generates text, or the file is damaged.");
  }
  if (embedding->num_dims != 2 || static_cast<uint64_t>(embedding->ne[1]) > kMaxVocabulary) {
    return InputError("the tensor token_embd.weight has the wrong shape", file.path(),
                      "The file is damaged.");
  }
  return static_cast<uint32_t>(embedding->ne[1]);
}

void CountWeights(const GgufFile& file, HyperParams* p) {
  for (const GgufTensor& tensor : file.tensors()) {
    p->weight_bytes += tensor.size;
    p->num_parameters +=
        static_cast<uint64_t>(tensor.ne[0] * tensor.ne[1] * tensor.ne[2] * tensor.ne[3]);
  }
}

}  // namespace

Result<HyperParams> ReadCommonHyperParams(const GgufFile& file, std::string_view architecture) {
  const Keys keys(file, architecture);
  HyperParams p;
  p.architecture = architecture;
  PITH_ASSIGN(p.name, file.StringOr("general.name", ""));
  PITH_TRY(RefuseUnknownFeatures(file, keys));
  PITH_ASSIGN(p.num_layers, keys.Count("block_count", 1, kMaxLayers));
  PITH_ASSIGN(p.width, keys.Count("embedding_length", 1, kMaxWidth));
  PITH_ASSIGN(p.context, keys.Count("context_length", 1, kMaxContext));
  PITH_ASSIGN(p.feed_forward, keys.CountOr("feed_forward_length", 0, 0, kMaxWidth));
  PITH_ASSIGN(p.num_experts, keys.CountOr("expert_count", 0, 0, kMaxExperts));
  PITH_ASSIGN(p.num_experts_used, keys.CountOr("expert_used_count", 0, 0, p.num_experts));
  if (p.num_experts > 0 && p.num_experts_used == 0) {
    return keys.Refuse("expert_used_count", "experts are present but none is used");
  }
  PITH_TRY(ReadHeads(file, keys, &p));
  const std::string eps_key = keys.Name("attention.layer_norm_rms_epsilon");
  PITH_ASSIGN(const double eps, file.Float(eps_key));
  if (!(eps >= 0.0 && eps < 1.0)) {
    return keys.Refuse("attention.layer_norm_rms_epsilon", "the value is not in [0, 1)");
  }
  p.norm_eps = static_cast<float>(eps);
  PITH_TRY(ReadRope(file, keys, &p));
  PITH_ASSIGN(p.vocabulary, ReadVocabularySize(file));
  CountWeights(file, &p);
  return p;
}

Status RefuseWindow(const GgufFile& file, const HyperParams& params) {
  const std::string key = params.architecture + ".attention.sliding_window";
  PITH_ASSIGN(const uint64_t window, file.IntegerOr(key, 0));
  if (window == 0) return {};
  return InputError(
      "sliding windows are not supported for architecture '" + params.architecture + "'",
      file.path() + ", key " + key, "Use a model that attends to all positions.");
}

}  // namespace pith
