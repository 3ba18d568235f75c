#include "parity/cases.h"

#include <vector>

namespace pith {

std::span<const ParityCase> ParityCases() {
  using A = MakeArchitecture;
  static const std::vector<ParityCase> cases = {
      {"llama", {.architecture = A::kLlama}},
      {"llama_tied_output", {.architecture = A::kLlama, .tied_output = true}},
      {"llama_rope_factors", {.architecture = A::kLlama, .rope_base = 500000.0f, .rope_factors = true}},
      {"llama_biases", {.architecture = A::kLlama, .qkv_bias = true}},
      {"llama_mha", {.architecture = A::kLlama, .query_heads = 4, .kv_heads = 4}},
      {"llama_mqa", {.architecture = A::kLlama, .query_heads = 4, .kv_heads = 1}},
      {"llama_group_7",
       {.architecture = A::kLlama, .width = 224, .query_heads = 14, .kv_heads = 2, .head_dim = 16}},
      {"llama_head_80",
       {.architecture = A::kLlama, .width = 160, .query_heads = 2, .kv_heads = 1, .head_dim = 80}},
      {"llama_head_256",
       {.architecture = A::kLlama, .width = 256, .query_heads = 2, .kv_heads = 1, .head_dim = 256}},
      {"llama_split_files", {.architecture = A::kLlama, .split_files = 3}},
      {"llama_experts", {.architecture = A::kLlama, .experts = 4, .experts_used = 2}},
      {"llama_f16", {.architecture = A::kLlama, .type = GGML_TYPE_F16}},
      {"llama_bf16", {.architecture = A::kLlama, .type = GGML_TYPE_BF16}},
      {"llama_q8_0", {.architecture = A::kLlama, .type = GGML_TYPE_Q8_0}},
      {"llama_q4_0", {.architecture = A::kLlama, .type = GGML_TYPE_Q4_0}},
      {"llama_q4_k",
       {.architecture = A::kLlama, .width = 256, .query_heads = 4, .kv_heads = 2,
        .feed_forward = 512, .type = GGML_TYPE_Q4_K}},
      {"llama_q6_k",
       {.architecture = A::kLlama, .width = 256, .query_heads = 4, .kv_heads = 2,
        .feed_forward = 512, .type = GGML_TYPE_Q6_K}},
      {"llama_experts_q4_k",
       {.architecture = A::kLlama, .width = 256, .query_heads = 4, .kv_heads = 2,
        .feed_forward = 256, .experts = 4, .experts_used = 2, .type = GGML_TYPE_Q4_K}},
      {"qwen2", {.architecture = A::kQwen2, .qkv_bias = true}},
      {"qwen2_tied_output", {.architecture = A::kQwen2, .tied_output = true, .qkv_bias = true}},
      {"qwen3", {.architecture = A::kQwen3, .head_dim = 32}},
      {"qwen3_q8_0", {.architecture = A::kQwen3, .head_dim = 32, .type = GGML_TYPE_Q8_0}},
      {"qwen3moe",
       {.architecture = A::kQwen3Moe, .head_dim = 32, .experts = 8, .experts_used = 2,
        .expert_feed_forward = 64}},
      {"qwen3moe_one_expert",
       {.architecture = A::kQwen3Moe, .experts = 4, .experts_used = 1, .expert_feed_forward = 64}},
      {"phi3", {.architecture = A::kPhi3}},
      {"phi3_partial_rope", {.architecture = A::kPhi3, .rope_dims = 8}},
      {"phi3_long_rope_short",
       {.architecture = A::kPhi3, .context = 4096, .rope_factors = true, .rope_original_context = 2048}},
      {"phi3_long_rope_long",
       {.architecture = A::kPhi3, .context = 1024, .rope_factors = true, .rope_original_context = 128}},
      {"phi3_prompt_within_window", {.architecture = A::kPhi3, .sliding_window = 512}},
  };
  return cases;
}

}  // namespace pith
