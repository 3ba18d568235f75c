#include "parity/oracle.h"

#include <llama.h>

#include <algorithm>
#include <stdexcept>

namespace pith {
namespace {

struct ContextDeleter {
  void operator()(llama_context* context) const { llama_free(context); }
};
using ContextPtr = std::unique_ptr<llama_context, ContextDeleter>;

ContextPtr NewContext(llama_model* model, const OracleOptions& options) {
  llama_context_params params = llama_context_default_params();
  params.n_ctx = options.context;
  params.n_batch = options.chunk;
  params.n_ubatch = options.chunk;
  params.n_threads = 2;
  params.n_threads_batch = 2;
  params.type_k = GGML_TYPE_F32;
  params.type_v = GGML_TYPE_F32;
  params.flash_attn_type =
      options.flash_attention ? LLAMA_FLASH_ATTN_TYPE_ENABLED : LLAMA_FLASH_ATTN_TYPE_DISABLED;
  ContextPtr context(llama_init_from_model(model, params));
  if (context == nullptr) throw std::runtime_error("libllama refuses the context");
  return context;
}

std::vector<float> Decode(llama_context* context, std::span<const int32_t> tokens, int vocabulary) {
  std::vector<int32_t> copy(tokens.begin(), tokens.end());
  if (llama_decode(context, llama_batch_get_one(copy.data(), static_cast<int32_t>(copy.size()))) !=
      0) {
    throw std::runtime_error("libllama fails to decode");
  }
  const float* logits = llama_get_logits_ith(context, -1);
  return {logits, logits + vocabulary};
}

}  // namespace

int32_t ArgMax(std::span<const float> logits) {
  return static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

Oracle::Oracle(const std::string& path) {
  llama_log_set([](ggml_log_level, const char*, void*) {}, nullptr);
  llama_backend_init();
  model_ = llama_model_load_from_file(path.c_str(), llama_model_default_params());
  if (model_ == nullptr) throw std::runtime_error("libllama refuses " + path);
}

Oracle::~Oracle() { llama_model_free(model_); }

std::vector<std::vector<float>> Oracle::Run(const OracleOptions& options,
                                            std::span<const int32_t> prompt,
                                            std::span<const int32_t> continuation, int greedy_steps,
                                            std::vector<int32_t>* chosen) const {
  const ContextPtr context = NewContext(model_, options);
  const int vocabulary = llama_vocab_n_tokens(llama_model_get_vocab(model_));
  std::vector<std::vector<float>> all;
  for (size_t done = 0; done < prompt.size(); done += options.chunk) {
    const size_t count = std::min<size_t>(options.chunk, prompt.size() - done);
    std::vector<float> logits = Decode(context.get(), prompt.subspan(done, count), vocabulary);
    if (done + count == prompt.size()) all.push_back(std::move(logits));
  }
  const size_t steps =
      continuation.empty() ? static_cast<size_t>(greedy_steps) : continuation.size();
  for (size_t i = 0; i < steps; ++i) {
    const int32_t token = continuation.empty() ? ArgMax(all.back()) : continuation[i];
    if (chosen != nullptr) chosen->push_back(token);
    all.push_back(Decode(context.get(), std::span(&token, 1), vocabulary));
  }
  return all;
}

}  // namespace pith
