// make_model: writes a random-weight GGUF model of a given shape.
#include <CLI/CLI.hpp>

#include <cstdio>
#include <string>

#include "make_model.h"

namespace {

// "q4_k" and "Q4_K" alike; ggml spells its own names in mixed case.
ggml_type TypeFromName(const std::string& name) {
  const std::string wanted = CLI::detail::to_lower(name);
  for (int type = 0; type < GGML_TYPE_COUNT; ++type) {
    const char* known = ggml_type_name(static_cast<ggml_type>(type));
    if (known != nullptr && CLI::detail::to_lower(known) == wanted) {
      return static_cast<ggml_type>(type);
    }
  }
  return GGML_TYPE_COUNT;  // refused by MakeModel
}

// The shape of Llama-3.2-1B with a vocabulary of 32k. Options on the command line change it.
pith::MakeModelOptions Llama1B() {
  pith::MakeModelOptions options;
  options.layers = 16;
  options.width = 2048;
  options.query_heads = 32;
  options.kv_heads = 8;
  options.feed_forward = 8192;
  options.vocabulary = 32000;
  options.context = 131072;
  options.rope_base = 500000.0f;
  options.rope_factors = true;
  options.tied_output = true;
  options.type = GGML_TYPE_Q8_0;
  return options;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"Writes a random-weight GGUF model of a given shape.", "make_model"};
  app.footer("Example: make_model --preset llama-1b --type q4_k --out llama-1b-q4_k.gguf");
  pith::MakeModelOptions options;
  std::string architecture, type, out;
  // The preset is applied while parsing, the other options after it: they change it wherever they
  // stand. callback.
  app.add_option("--preset", "A known shape to begin with")
      ->check(CLI::IsMember({"llama-1b"}))
      ->each([&](const std::string&) { options = Llama1B(); })
      ->trigger_on_parse();
  app.add_option("--arch", architecture, "llama, qwen2, qwen3, qwen3moe or phi3");
  app.add_option("--layers", options.layers, "Number of layers");
  app.add_option("--width", options.width, "Embedding length");
  app.add_option("--heads", options.query_heads, "Query heads");
  app.add_option("--kv-heads", options.kv_heads, "Key-value heads");
  app.add_option("--head-dim", options.head_dim, "Head size; 0 means width / heads");
  app.add_option("--ff", options.feed_forward, "Feed-forward size");
  app.add_option("--experts", options.experts, "Experts per layer");
  app.add_option("--experts-used", options.experts_used, "Experts per token");
  app.add_option("--expert-ff", options.expert_feed_forward, "Feed-forward size of an expert");
  app.add_option("--vocab", options.vocabulary, "Vocabulary");
  app.add_option("--ctx", options.context, "Trained context length");
  app.add_option("--rope-base", options.rope_base, "Rope frequency base");
  app.add_option("--rope-dims", options.rope_dims, "Rotated dimensions of a head (phi3)");
  app.add_option("--rope-original-ctx", options.rope_original_context,
                 "Context of the short factors");
  app.add_option("--window", options.sliding_window, "Sliding window (phi3)");
  app.add_flag("--tied,!--untied", options.tied_output, "The embedding serves as output");
  app.add_flag("--qkv-bias", options.qkv_bias, "Biases of query, key and value");
  app.add_flag("--rope-factors,!--no-rope-factors", options.rope_factors, "Rope factors");
  app.add_option("--type", type, "Type of the matrices: f32, f16, bf16, q8_0, q4_0, q4_k, ...");
  app.add_option("--seed", options.seed, "Seed of the weights");
  app.add_option("--split", options.split_files, "Number of files");
  app.add_option("--out", out, "The file to write")->required();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  pith::Status status;
  const auto known = pith::MakeArchitectureFromName(architecture);
  if (known) options.architecture = *known;
  if (!type.empty()) options.type = TypeFromName(type);
  if (!known && !architecture.empty()) {
    status = pith::InputError("unknown architecture '" + architecture + "'", "--arch",
                              "Use llama, qwen2, qwen3, qwen3moe or phi3.");
  } else {
    status = pith::MakeModel(options, out);
  }
  if (status) return 0;
  std::fprintf(stderr, "make_model: error: %s\n", status.error().Message().c_str());
  return status.error().kind == pith::ErrorKind::kInput ? 2 : 1;
}
