#include "plan.h"

#include <algorithm>
#include <cmath>
#include <span>
#include <utility>

namespace pith {
namespace {

// Query and key matrices are a little larger than 1/sqrt(fan in), so that attention weights are far
// from even: an error in positions or masks then shows in the logits. The output is larger too, so
// that the logits have a spread.
constexpr float kQueryKeyGain = 1.5f;
constexpr float kOutputGain = 3.0f;
constexpr float kNoise = 0.1f;  // of norms around 1 and of biases around 0

constexpr uint32_t kMaxSize = 1u << 24;  // of any one dimension; keeps all products within 64 bits
constexpr uint32_t kMaxLayers = 512, kMaxExperts = 256;
constexpr uint32_t kMinVocabulary = 260;

// With 32/8 heads of the Llama-3 kind the factor grows from 1 for the fast rotations to 8 for the
// slow ones.
std::vector<float> RopeFactors(uint32_t rope_dims, float largest) {
  const uint32_t pairs = rope_dims / 2;
  std::vector<float> factors(pairs);
  for (uint32_t i = 0; i < pairs; ++i) {
    const float place = pairs > 1 ? static_cast<float>(i) / static_cast<float>(pairs - 1) : 0.0f;
    factors[i] = 1.0f + (largest - 1.0f) * place * place;
  }
  return factors;
}

class Planner {
 public:
  explicit Planner(const MakeModelOptions& options) : o_(options) {}

  std::vector<PlannedTensor> Run() {
    Matrix("token_embd.weight", o_.width, o_.vocabulary, o_.tied_output ? kOutputGain : Unit());
    Norm("output_norm.weight", o_.width, 1.0f);
    if (!o_.tied_output) Matrix("output.weight", o_.width, o_.vocabulary, kOutputGain);
    if (o_.rope_factors) Factors();
    for (uint32_t layer = 0; layer < o_.layers; ++layer) Layer(layer);
    return std::move(tensors_);
  }

 private:
  // The gain that gives elements of size 1.
  float Unit() const { return std::sqrt(static_cast<float>(o_.width)); }

  void Add(std::string name, ggml_type type, std::array<int64_t, 4> ne, float mean, float spread,
           std::vector<float> values = {}) {
    if (const auto given = o_.weights.find(name); given != o_.weights.end()) values = given->second;
    tensors_.push_back({std::move(name), type, ne, mean, spread, std::move(values)});
  }
  void Matrix(std::string name, int64_t in, int64_t out, float gain = 1.0f, int64_t experts = 1) {
    const float spread = gain / std::sqrt(static_cast<float>(in));
    Add(std::move(name), o_.type, {in, out, experts, 1}, 0.0f, spread);
  }
  void Norm(std::string name, int64_t size, float mean) {
    Add(std::move(name), GGML_TYPE_F32, {size, 1, 1, 1}, mean, kNoise);
  }

  void Factors() {
    const uint32_t dims = RopeDims(o_);
    const auto add = [&](const char* name, float largest) {
      Add(name, GGML_TYPE_F32, {dims / 2, 1, 1, 1}, 0, 0, RopeFactors(dims, largest));
    };
    if (o_.architecture == MakeArchitecture::kPhi3) {
      add("rope_factors_long.weight", 16.0f);
      add("rope_factors_short.weight", 1.25f);
    } else {
      add("rope_freqs.weight", 8.0f);
    }
  }

  void Layer(uint32_t layer) {
    const std::string block = "blk." + std::to_string(layer) + ".";
    Norm(block + "attn_norm.weight", o_.width, 1.0f);
    Attention(block);
    Norm(block + "ffn_norm.weight", o_.width, 1.0f);
    if (o_.experts > 0) {
      Experts(block);
    } else if (o_.architecture == MakeArchitecture::kPhi3) {
      Matrix(block + "ffn_up.weight", o_.width, 2 * int64_t{o_.feed_forward});
      Matrix(block + "ffn_down.weight", o_.feed_forward, o_.width);
    } else {
      Matrix(block + "ffn_gate.weight", o_.width, o_.feed_forward);
      Matrix(block + "ffn_up.weight", o_.width, o_.feed_forward);
      Matrix(block + "ffn_down.weight", o_.feed_forward, o_.width);
    }
  }

  void Attention(const std::string& block) {
    const int64_t head_dim = HeadDim(o_);
    const int64_t query = o_.query_heads * head_dim;
    const int64_t kv = o_.kv_heads * head_dim;
    if (o_.architecture == MakeArchitecture::kPhi3) {
      Matrix(block + "attn_qkv.weight", o_.width, query + 2 * kv, kQueryKeyGain);
    } else {
      Projection(block + "attn_q", query, kQueryKeyGain);
      Projection(block + "attn_k", kv, kQueryKeyGain);
      Projection(block + "attn_v", kv, 1.0f);
    }
    if (o_.architecture == MakeArchitecture::kQwen3 ||
        o_.architecture == MakeArchitecture::kQwen3Moe) {
      Norm(block + "attn_q_norm.weight", head_dim, kQueryKeyGain);
      Norm(block + "attn_k_norm.weight", head_dim, kQueryKeyGain);
    }
    Matrix(block + "attn_output.weight", query, o_.width);
  }

  void Projection(const std::string& name, int64_t out, float gain) {
    Matrix(name + ".weight", o_.width, out, gain);
    if (o_.qkv_bias) Add(name + ".bias", GGML_TYPE_F32, {out, 1, 1, 1}, 0.0f, kNoise);
  }

  void Experts(const std::string& block) {
    const int64_t inner = ExpertFeedForward(o_);
    const float router_spread = 2.0f / std::sqrt(static_cast<float>(o_.width));
    Add(block + "ffn_gate_inp.weight", GGML_TYPE_F32, {o_.width, o_.experts, 1, 1}, 0.0f,
        router_spread);
    Matrix(block + "ffn_gate_exps.weight", o_.width, inner, 1.0f, o_.experts);
    Matrix(block + "ffn_up_exps.weight", o_.width, inner, 1.0f, o_.experts);
    Matrix(block + "ffn_down_exps.weight", inner, o_.width, 1.0f, o_.experts);
  }

  const MakeModelOptions& o_;
  std::vector<PlannedTensor> tensors_;
};

tl::unexpected<Error> Impossible(std::string what, std::string hint) {
  return InputError(std::move(what), "model shape", std::move(hint));
}

Status CheckSizes(const MakeModelOptions& o) {
  const std::pair<const char*, uint32_t> sizes[] = {{"layers", o.layers},
                                                    {"width", o.width},
                                                    {"query heads", o.query_heads},
                                                    {"key-value heads", o.kv_heads},
                                                    {"feed-forward size", o.feed_forward},
                                                    {"vocabulary", o.vocabulary},
                                                    {"context", o.context},
                                                    {"number of files", o.split_files}};
  for (const auto& [name, size] : sizes) {
    if (size == 0 || size > kMaxSize) {
      return Impossible("the " + std::string(name) + " cannot be " + std::to_string(size),
                        "It must be between 1 and " + std::to_string(kMaxSize) + ".");
    }
  }
  if (o.layers > kMaxLayers) {
    return Impossible("there are more than " + std::to_string(kMaxLayers) + " layers", "");
  }
  if (o.vocabulary < kMinVocabulary) {
    return Impossible("the vocabulary is too small for 256 bytes and the control tokens",
                      "Give it at least " + std::to_string(kMinVocabulary) + " tokens.");
  }
  if (!(o.rope_base > 0) || !std::isfinite(o.rope_base)) {
    return Impossible("the rope base is not a positive number", "10000 is usual.");
  }
  return {};
}

Status CheckHeads(const MakeModelOptions& o) {
  using enum MakeArchitecture;
  if (o.query_heads % o.kv_heads != 0) {
    return Impossible("the query heads do not divide evenly among the key-value heads", "");
  }
  if (o.head_dim == 0 && o.width % o.query_heads != 0) {
    return Impossible("the width does not divide by the query heads", "Give the head size.");
  }
  const uint32_t head_dim = HeadDim(o);
  if (head_dim == 0 || head_dim % 2 != 0 || head_dim > kMaxSize / o.query_heads) {
    return Impossible("the head size " + std::to_string(head_dim) + " is odd or out of range", "");
  }
  const bool free_head_dim =
      o.architecture == kLlama || o.architecture == kQwen3 || o.architecture == kQwen3Moe;
  if (!free_head_dim && head_dim * o.query_heads != o.width) {
    return Impossible("this architecture has no heads of another size than width / heads", "");
  }
  const uint32_t rope_dims = RopeDims(o);
  if (rope_dims % 2 != 0 || rope_dims > head_dim ||
      (rope_dims != head_dim && o.architecture != kPhi3)) {
    return Impossible("rope over " + std::to_string(rope_dims) + " of " + std::to_string(head_dim) +
                          " dimensions does not exist here",
                      "Only phi3 rotates a part of the head, an even number of dimensions.");
  }
  return {};
}

Status CheckFeatures(const MakeModelOptions& o) {
  using enum MakeArchitecture;
  const bool may_have_experts = o.architecture == kLlama || o.architecture == kQwen3Moe;
  if (o.experts > 0 && !may_have_experts) return Impossible("this architecture has no experts", "");
  if (o.experts == 0 && o.architecture == kQwen3Moe) {
    return Impossible("qwen3moe needs experts", "Give their number and how many are used.");
  }
  if (o.experts > kMaxExperts || o.experts_used > o.experts ||
      (o.experts > 0 && o.experts_used == 0)) {
    return Impossible(std::to_string(o.experts_used) + " of " + std::to_string(o.experts) +
                          " experts cannot be used",
                      "At most " + std::to_string(kMaxExperts) + " experts, at least one used.");
  }
  if (o.expert_feed_forward > kMaxSize ||
      (o.expert_feed_forward > 0 && o.architecture != kQwen3Moe)) {
    return Impossible("an expert feed-forward size belongs to qwen3moe alone",
                      "Mixtral's experts have the feed-forward size.");
  }
  if (o.qkv_bias && o.architecture != kLlama && o.architecture != kQwen2) {
    return Impossible("query, key and value biases belong to llama and qwen2", "");
  }
  if (o.rope_factors && o.architecture != kLlama && o.architecture != kPhi3) {
    return Impossible("rope factors belong to llama and phi3", "");
  }
  if (o.rope_original_context > 0 && !(o.rope_factors && o.architecture == kPhi3)) {
    return Impossible("an original context belongs to phi3 with rope factors", "");
  }
  if (o.sliding_window > 0 && o.architecture != kPhi3) {
    return Impossible("a sliding window belongs to phi3", "");
  }
  return {};
}

bool Writable(ggml_type type) {
  if (type == GGML_TYPE_F32 || type == GGML_TYPE_F16 || type == GGML_TYPE_BF16) return true;
  return type >= 0 && type < GGML_TYPE_COUNT && ggml_is_quantized(type) && type != GGML_TYPE_Q8_1 &&
         type != GGML_TYPE_Q8_K && !ggml_quantize_requires_imatrix(type);
}

Status CheckWeights(const MakeModelOptions& o, std::span<const PlannedTensor> tensors) {
  for (const auto& [name, values] : o.weights) {
    const auto tensor = std::ranges::find(tensors, name, &PlannedTensor::name);
    if (tensor == tensors.end()) return Impossible("there is no tensor " + name, "");
    const auto& ne = tensor->ne;
    if (values.size() == static_cast<size_t>(ne[0] * ne[1] * ne[2] * ne[3])) continue;
    return Impossible(std::to_string(values.size()) + " values do not fill " + name, "");
  }
  return {};
}

}  // namespace

Status CheckOptions(const MakeModelOptions& options) {
  PITH_TRY(CheckSizes(options));
  PITH_TRY(CheckHeads(options));
  PITH_TRY(CheckFeatures(options));
  if (!Writable(options.type)) {
    return Impossible("ggml cannot write this type of weights", "Try f32, f16, q8_0 or q4_k.");
  }
  const std::vector<PlannedTensor> tensors = PlanTensors(options);
  PITH_TRY(CheckWeights(options, tensors));
  for (const PlannedTensor& tensor : tensors) {
    const int64_t block = ggml_blck_size(tensor.type);
    if (tensor.ne[0] % block != 0) {
      return Impossible("the rows of " + tensor.name + " have " + std::to_string(tensor.ne[0]) +
                            " elements, which do not fill whole blocks of " +
                            ggml_type_name(tensor.type),
                        "Choose sizes that divide by " + std::to_string(block) + ".");
    }
  }
  if (options.split_files > tensors.size()) {
    return Impossible("there are more files than tensors", "Split into fewer.");
  }
  return {};
}

std::vector<PlannedTensor> PlanTensors(const MakeModelOptions& options) {
  return Planner(options).Run();
}

uint32_t HeadDim(const MakeModelOptions& options) {
  return options.head_dim > 0 ? options.head_dim : options.width / options.query_heads;
}

uint32_t RopeDims(const MakeModelOptions& options) {
  return options.rope_dims > 0 ? options.rope_dims : HeadDim(options);
}

uint32_t ExpertFeedForward(const MakeModelOptions& options) {
  if (options.architecture != MakeArchitecture::kQwen3Moe) return options.feed_forward;
  return options.expert_feed_forward > 0 ? options.expert_feed_forward
                                         : options.feed_forward / options.experts_used;
}

uint32_t RopeOriginalContext(const MakeModelOptions& options) {
  return options.rope_original_context > 0 ? options.rope_original_context : options.context / 2;
}

}  // namespace pith
