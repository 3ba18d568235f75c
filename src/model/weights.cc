#include "model/weights.h"

#include <string>

#include "base/hash.h"

namespace pith {
namespace {

// Which rope factors a context takes: one set for any length (Llama 3.1), or one below and one
// above the trained length.
std::string RopeFactorsName(const GgufFile& file, const HyperParams& p, uint32_t context) {
  if (file.FindTensor("rope_freqs.weight") != nullptr) return "rope_freqs.weight";
  if (!p.rope.long_rope) return {};
  return context > p.rope.original_context ? "rope_factors_long.weight"
                                           : "rope_factors_short.weight";
}

}  // namespace

Status Model::BindCommon(const GgufFile& file, uint32_t context) {
  const int64_t width = params_.width, vocabulary = params_.vocabulary;
  const bool tied = file.FindTensor("output.weight") == nullptr;
  PITH_ASSIGN(common_.embedding,
              binder_.Require("token_embd.weight", {width, vocabulary}, TensorUse::kRows));
  PITH_ASSIGN(common_.output_norm,
              binder_.Require("output_norm.weight", {width}, TensorUse::kVector));
  PITH_ASSIGN(common_.output, binder_.Require(tied ? "token_embd.weight" : "output.weight",
                                              {width, vocabulary}, TensorUse::kProduct));
  PITH_ASSIGN(common_.output_bias,
              binder_.Optional("output.bias", {vocabulary}, TensorUse::kVector));
  const std::string factors = RopeFactorsName(file, params_, context);
  if (!factors.empty()) {
    const int64_t count = params_.rope.dims / 2;
    PITH_ASSIGN(common_.rope_factors, binder_.Require(factors, {count}, TensorUse::kVector));
  }
  return {};
}

Result<std::unique_ptr<Model>> Model::Load(const GgufFile& file, const ModelOptions& options) {
  PITH_ASSIGN(RecognisedModel recognised, Recognise(file));
  std::unique_ptr<Model> model(new Model(file, options.repack));
  model->params_ = std::move(recognised.params);
  const HyperParams& p = model->params_;
  PITH_TRY(model->BindCommon(file, options.context != 0 ? options.context : p.context));
  model->layers_.resize(p.num_layers);
  for (uint32_t i = 0; i < p.num_layers; ++i) {
    PITH_TRY(recognised.architecture->bind_layer(model->binder_, p, i, &model->layers_[i]));
  }
  PITH_TRY(model->binder_.Place());
  return model;
}

Result<uint64_t> HashModel(const GgufFile& file, const HyperParams& p) {
  Hasher hasher;
  const auto add = [&hasher](std::string_view text) {
    hasher.Add(text.data(), text.size());
    hasher.Add("\0", 1);
  };
  add(p.architecture);
  const uint32_t numbers[] = {p.num_layers, p.width,     p.num_query_heads,  p.num_kv_heads,
                              p.key_dim,    p.value_dim, p.feed_forward,     p.num_experts,
                              p.vocabulary, p.rope_dims, p.num_experts_used, p.window};
  hasher.Add(numbers, sizeof numbers);
  const float reals[] = {p.norm_eps, p.rope.base, p.rope.scale, p.rope.magnitude};
  hasher.Add(reals, sizeof reals);
  if (file.Find("tokenizer.ggml.tokens") != nullptr) {
    PITH_ASSIGN(const std::vector<std::string_view> tokens, file.Strings("tokenizer.ggml.tokens"));
    for (const std::string_view token : tokens) add(token);
  }
  for (const GgufTensor& tensor : file.tensors()) {
    if (tensor.name.find("norm") == std::string::npos) continue;
    add(tensor.name);
    hasher.Add(file.TensorBytes(tensor));
  }
  return hasher.Finish();
}

}  // namespace pith
