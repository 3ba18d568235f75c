// Random-weight GGUF models of a given shape, for parity tests, benchmarks and trying things
// without a download. The files carry exactly the keys and tensors that llama.cpp's loaders for
// these architectures ask for.
#pragma once

#include <ggml.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace pith {

enum class MakeArchitecture { kLlama, kQwen2, kQwen3, kQwen3Moe, kPhi3 };

// The defaults are a tiny model that loads in milliseconds. A value of 0 means what its comment
// says.
struct MakeModelOptions {
  MakeArchitecture architecture = MakeArchitecture::kLlama;
  uint32_t layers = 2;
  uint32_t width = 64;
  uint32_t query_heads = 4;
  uint32_t kv_heads = 2;
  uint32_t head_dim = 0;  // 0: width / query_heads; else key_length and value_length are written
  uint32_t feed_forward = 128;  // phi3's fused matrix is twice this
  uint32_t experts = 0;         // llama: the Mixtral form, qwen3moe: must be set; 0 elsewhere
  uint32_t experts_used = 0;
  uint32_t expert_feed_forward =
      0;  // qwen3moe: 0 means feed_forward / experts_used; llama uses feed_forward
  uint32_t vocabulary = 512;  // at least 260: 256 bytes, one merged pair, begin, end, end of turn
  uint32_t context = 1024;
  float rope_base = 10000.0f;
  uint32_t rope_dims = 0;     // 0: the head size; fewer only for phi3 (partial rotation)
  bool tied_output = false;   // no output.weight; the embedding serves
  bool qkv_bias = false;      // llama and qwen2
  bool rope_factors = false;  // llama: rope_freqs; phi3: the long and short factors of LongRoPE
  uint32_t rope_original_context =
      0;  // phi3 with rope_factors: up to here the short factors hold; 0: context / 2
  uint32_t sliding_window = 0;  // phi3; 0: the key is not written
  ggml_type type =
      GGML_TYPE_F32;  // of all matrices; norms, biases, factors and expert routers are always f32
  uint64_t seed = 1;
  // Tensors by name with exactly these values, rows one after the other; all others are random.
  std::map<std::string, std::vector<float>> weights;
  uint32_t split_files = 1;  // more than 1: NAME-00001-of-0000N.gguf and so on
};

std::optional<MakeArchitecture> MakeArchitectureFromName(std::string_view name);
std::string_view MakeArchitectureName(MakeArchitecture architecture);

// Writes the model to `path` (several files: `path` is what the first one must be called, that is,
// it must end in -00001-of-0000N.gguf). The same options give the same bytes with the same build of
// ggml. An impossible shape (rows that do not fill whole blocks of the type, heads that do
// not divide) is an input error and leaves no file.
Status MakeModel(const MakeModelOptions& options, const std::string& path);

}  // namespace pith
