#include "keys.h"

#include <array>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "plan.h"

namespace pith {
namespace {

// The most frequent joins of English; as many as the vocabulary has room for. "_" stands for the
// space mark.
constexpr std::array<std::pair<const char*, const char*>, 24> kMerges = {{
    {"t", "h"},  {"th", "e"},  {"_", "the"}, {"i", "n"}, {"a", "n"},  {"e", "r"},
    {"an", "d"}, {"_", "and"}, {"o", "n"},   {"r", "e"}, {"a", "t"},  {"e", "n"},
    {"in", "g"}, {"o", "u"},   {"_", "a"},   {"i", "s"}, {"_", "is"}, {"o", "r"},
    {"_", "o"},  {"_o", "f"},  {"i", "t"},   {"_", "t"}, {"_t", "o"}, {"h", "e"},
}};
constexpr uint32_t kControlTokens = 3;                  // begin, end, end of turn: the last ids
constexpr int32_t kNormalToken = 1, kControlToken = 3;  // numbers of the format
constexpr const char* kSpaceMark = "\xc4\xa0";          // how byte-level BPE writes a space

std::string Utf8(uint32_t code) {
  if (code < 0x80) return {static_cast<char>(code)};
  return {static_cast<char>(0xc0 | (code >> 6)), static_cast<char>(0x80 | (code & 0x3f))};
}

// GPT-2's printable stand-in for each byte: itself if it is printable in Latin-1, else the next
// free code from 256.
std::vector<std::string> ByteTokens() {
  std::vector<std::string> tokens;
  uint32_t next = 256;
  for (uint32_t byte = 0; byte < 256; ++byte) {
    const bool printable =
        (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    tokens.push_back(Utf8(printable ? byte : next++));
  }
  return tokens;
}

std::string WithSpaceMark(const char* part) {
  return part[0] == '_' ? kSpaceMark + std::string(part + 1) : part;
}

struct Vocabulary {
  std::vector<std::string> tokens, merges;
  std::vector<int32_t> types;
};

// Token b < 256 is the byte b; then the merged pairs; fillers " w0", " w1", ... ; the control
// tokens last.
Vocabulary MakeVocabulary(uint32_t size) {
  Vocabulary v;
  v.tokens = ByteTokens();
  for (const auto& [left, right] : kMerges) {
    if (v.tokens.size() + kControlTokens == size) break;
    v.merges.push_back(WithSpaceMark(left) + " " + WithSpaceMark(right));
    v.tokens.push_back(WithSpaceMark(left) + WithSpaceMark(right));
  }
  for (uint32_t i = 0; v.tokens.size() + kControlTokens < size; ++i) {
    v.tokens.push_back(kSpaceMark + ("w" + std::to_string(i)));
  }
  v.types.assign(v.tokens.size(), kNormalToken);
  for (const char* control : {"<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>"}) {
    v.tokens.emplace_back(control);
    v.types.push_back(kControlToken);
  }
  return v;
}

void SetStrings(gguf_context* out, const char* key, const std::vector<std::string>& texts) {
  std::vector<const char*> pointers;
  for (const std::string& text : texts) pointers.push_back(text.c_str());
  gguf_set_arr_str(out, key, pointers.data(), pointers.size());
}

void SetTokenizer(uint32_t size, gguf_context* out) {
  const Vocabulary v = MakeVocabulary(size);
  gguf_set_val_str(out, "tokenizer.ggml.model", "gpt2");
  gguf_set_val_str(out, "tokenizer.ggml.pre", "llama-bpe");
  SetStrings(out, "tokenizer.ggml.tokens", v.tokens);
  gguf_set_arr_data(out, "tokenizer.ggml.token_type", GGUF_TYPE_INT32, v.types.data(),
                    v.types.size());
  SetStrings(out, "tokenizer.ggml.merges", v.merges);
  gguf_set_val_u32(out, "tokenizer.ggml.bos_token_id", size - 3);
  gguf_set_val_u32(out, "tokenizer.ggml.eos_token_id", size - 2);
  gguf_set_val_u32(out, "tokenizer.ggml.eot_token_id", size - 1);
  gguf_set_val_bool(out, "tokenizer.ggml.add_bos_token", true);
}

// LongRoPE scales attention by sqrt(1 + ln(context / original) / ln(original)) beyond the original
// context.
float AttentionFactor(double context, double original) {
  if (context <= original) return 1.0f;
  return static_cast<float>(std::sqrt(1.0 + std::log(context / original) / std::log(original)));
}

}  // namespace

void SetModelKeys(const MakeModelOptions& o, gguf_context* out) {
  const std::string arch(MakeArchitectureName(o.architecture));
  const auto set = [&](const char* key, uint32_t value) {
    gguf_set_val_u32(out, (arch + key).c_str(), value);
  };
  const auto set_float = [&](const char* key, float value) {
    gguf_set_val_f32(out, (arch + key).c_str(), value);
  };
  gguf_set_val_str(out, "general.architecture", arch.c_str());
  // No architecture in the name: libllama wants certain control tokens of a model that is called
  // phi3.
  gguf_set_val_str(out, "general.name", "random weights");
  if (ggml_is_quantized(o.type)) gguf_set_val_u32(out, "general.quantization_version", 2);
  set(".vocab_size", o.vocabulary);
  set(".context_length", o.context);
  set(".embedding_length", o.width);
  set(".block_count", o.layers);
  set(".feed_forward_length", o.feed_forward);
  set(".attention.head_count", o.query_heads);
  set(".attention.head_count_kv", o.kv_heads);
  set_float(".attention.layer_norm_rms_epsilon", 1e-5f);
  if (HeadDim(o) * o.query_heads != o.width) {
    set(".attention.key_length", HeadDim(o));
    set(".attention.value_length", HeadDim(o));
  }
  set_float(".rope.freq_base", o.rope_base);
  set(".rope.dimension_count", RopeDims(o));
  if (o.experts > 0) {
    set(".expert_count", o.experts);
    set(".expert_used_count", o.experts_used);
    if (o.architecture == MakeArchitecture::kQwen3Moe) {
      set(".expert_feed_forward_length", ExpertFeedForward(o));
    }
  }
  if (o.rope_factors && o.architecture == MakeArchitecture::kPhi3) {
    set(".rope.scaling.original_context_length", RopeOriginalContext(o));
    set_float(".rope.scaling.attn_factor", AttentionFactor(o.context, RopeOriginalContext(o)));
  }
  if (o.sliding_window > 0) set(".attention.sliding_window", o.sliding_window);
  SetTokenizer(o.vocabulary, out);
}

}  // namespace pith
