#include "make_model/make_model.h"

#include <gtest/gtest.h>
#include <llama.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "gguf/gguf.h"

namespace pith {
namespace {

struct LlamaDeleter {
  void operator()(llama_model* model) const { llama_model_free(model); }
  void operator()(llama_context* context) const { llama_free(context); }
};
using LlamaModel = std::unique_ptr<llama_model, LlamaDeleter>;
using LlamaContext = std::unique_ptr<llama_context, LlamaDeleter>;

LlamaModel LoadWithLlama(const std::string& path) {
  llama_log_set([](ggml_log_level, const char*, void*) {}, nullptr);
  llama_backend_init();
  return LlamaModel(llama_model_load_from_file(path.c_str(), llama_model_default_params()));
}

class MakeModelTest : public testing::Test {
 protected:
  MakeModelTest() {
    folder_ = std::filesystem::path(testing::TempDir()) /
              (std::string("make_model_") +
               testing::UnitTest::GetInstance()->current_test_info()->name());
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
  }
  ~MakeModelTest() override { std::filesystem::remove_all(folder_); }
  std::string Path(const std::string& name) const { return folder_ / name; }

  std::filesystem::path folder_;
};

std::string Bytes(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

MakeModelOptions Tiny(MakeArchitecture architecture) {
  MakeModelOptions options;
  options.architecture = architecture;
  return options;
}

// Decodes a short prompt with libllama and checks that the logits are finite and not all alike.
void ExpectSensibleLogits(llama_model* model) {
  llama_context_params params = llama_context_default_params();
  params.n_ctx = 64;
  params.n_threads = params.n_threads_batch = 1;
  const LlamaContext context(llama_init_from_model(model, params));
  ASSERT_NE(context, nullptr);
  std::vector<llama_token> tokens;
  for (int i = 0; i < 20; ++i) tokens.push_back(i * 11 % 256);
  ASSERT_EQ(llama_decode(context.get(), llama_batch_get_one(tokens.data(), 20)), 0);
  const float* logits = llama_get_logits_ith(context.get(), -1);
  const int size = llama_vocab_n_tokens(llama_model_get_vocab(model));
  double sum = 0, squares = 0;
  for (int i = 0; i < size; ++i) {
    ASSERT_TRUE(std::isfinite(logits[i]));
    sum += logits[i];
    squares += static_cast<double>(logits[i]) * logits[i];
  }
  const double deviation = std::sqrt(squares / size - sum / size * sum / size);
  EXPECT_GT(deviation, 0.5);
  EXPECT_LT(deviation, 20.0);
}

void ExpectAccepted(const MakeModelOptions& options, const std::string& path) {
  const Status made = MakeModel(options, path);
  ASSERT_TRUE(made) << made.error().Message();
  const auto file = GgufFile::Open(path);
  ASSERT_TRUE(file) << file.error().Message();
  EXPECT_EQ(*file->String("general.architecture"), MakeArchitectureName(options.architecture));
  const LlamaModel model = LoadWithLlama(path);
  ASSERT_NE(model, nullptr) << "libllama refuses the model";
  EXPECT_EQ(llama_model_n_layer(model.get()), static_cast<int>(options.layers));
  EXPECT_EQ(llama_model_n_head_kv(model.get()), static_cast<int>(options.kv_heads));
  EXPECT_EQ(llama_vocab_n_tokens(llama_model_get_vocab(model.get())),
            static_cast<int>(options.vocabulary));
  ExpectSensibleLogits(model.get());
}

TEST_F(MakeModelTest, Llama_IsAccepted) {
  ExpectAccepted(Tiny(MakeArchitecture::kLlama), Path("m.gguf"));
}

TEST_F(MakeModelTest, LlamaWithFactorsBiasesTiedAndHeadSize80_IsAccepted) {
  MakeModelOptions options = Tiny(MakeArchitecture::kLlama);
  options.head_dim = 80;
  options.query_heads = 7;
  options.kv_heads = 1;
  options.tied_output = options.qkv_bias = options.rope_factors = true;
  ExpectAccepted(options, Path("m.gguf"));
  const auto file = GgufFile::Open(Path("m.gguf"));
  EXPECT_EQ(file->FindTensor("output.weight"), nullptr);
  EXPECT_NE(file->FindTensor("blk.1.attn_k.bias"), nullptr);
  EXPECT_EQ(file->FindTensor("rope_freqs.weight")->ne[0], 40);
}

TEST_F(MakeModelTest, Mixtral_IsAccepted) {
  MakeModelOptions options = Tiny(MakeArchitecture::kLlama);
  options.experts = 4;
  options.experts_used = 2;
  ExpectAccepted(options, Path("m.gguf"));
}

TEST_F(MakeModelTest, Qwen2_IsAccepted) {
  MakeModelOptions options = Tiny(MakeArchitecture::kQwen2);
  options.qkv_bias = true;
  ExpectAccepted(options, Path("m.gguf"));
}

TEST_F(MakeModelTest, Qwen3_IsAccepted) {
  MakeModelOptions options = Tiny(MakeArchitecture::kQwen3);
  options.head_dim = 32;
  ExpectAccepted(options, Path("m.gguf"));
}

TEST_F(MakeModelTest, Qwen3Moe_IsAccepted) {
  MakeModelOptions options = Tiny(MakeArchitecture::kQwen3Moe);
  options.experts = 8;
  options.experts_used = 3;
  options.expert_feed_forward = 32;
  ExpectAccepted(options, Path("m.gguf"));
}

TEST_F(MakeModelTest, Phi3_IsAccepted) {
  ExpectAccepted(Tiny(MakeArchitecture::kPhi3), Path("m.gguf"));
}

TEST_F(MakeModelTest, Phi3WithFactorsWindowAndPartialRope_IsAccepted) {
  MakeModelOptions options = Tiny(MakeArchitecture::kPhi3);
  options.rope_factors = true;
  options.rope_original_context = 256;
  options.sliding_window = 512;
  options.rope_dims = 8;
  ExpectAccepted(options, Path("m.gguf"));
}

TEST_F(MakeModelTest, EveryTypeOfWeights_IsAccepted) {
  for (const ggml_type type : {GGML_TYPE_F16, GGML_TYPE_BF16, GGML_TYPE_Q8_0, GGML_TYPE_Q4_0,
                               GGML_TYPE_Q5_1, GGML_TYPE_Q4_K, GGML_TYPE_Q6_K}) {
    SCOPED_TRACE(ggml_type_name(type));
    MakeModelOptions options = Tiny(MakeArchitecture::kLlama);
    options.width = options.feed_forward = 256;
    options.type = type;
    ExpectAccepted(options, Path("m.gguf"));
  }
}

TEST_F(MakeModelTest, Split_IsAcceptedAndHoldsTheSameWeights) {
  MakeModelOptions options = Tiny(MakeArchitecture::kLlama);
  ExpectAccepted(options, Path("whole.gguf"));
  options.split_files = 3;
  ExpectAccepted(options, Path("m-00001-of-00003.gguf"));
  const auto whole = GgufFile::Open(Path("whole.gguf"));
  const auto parts = GgufFile::Open(Path("m-00001-of-00003.gguf"));
  ASSERT_EQ(parts->files().size(), 3u);
  ASSERT_EQ(parts->tensors().size(), whole->tensors().size());
  for (const GgufTensor& tensor : whole->tensors()) {
    const GgufTensor* other = parts->FindTensor(tensor.name);
    ASSERT_NE(other, nullptr) << tensor.name;
    EXPECT_TRUE(std::ranges::equal(whole->TensorBytes(tensor), parts->TensorBytes(*other)))
        << tensor.name;
  }
}

TEST_F(MakeModelTest, SameSeed_GivesTheSameBytes) {
  MakeModelOptions options = Tiny(MakeArchitecture::kLlama);
  options.vocabulary = 40000;  // 2.5 million weights in one matrix: several chunks, both threads
  ASSERT_TRUE(MakeModel(options, Path("a.gguf")));
  ASSERT_TRUE(MakeModel(options, Path("b.gguf")));
  EXPECT_EQ(Bytes(Path("a.gguf")), Bytes(Path("b.gguf")));
  options.seed = 2;
  ASSERT_TRUE(MakeModel(options, Path("c.gguf")));
  EXPECT_NE(Bytes(Path("a.gguf")), Bytes(Path("c.gguf")));
}

TEST_F(MakeModelTest, Tokenizer_ReadsTextBytewise) {
  ASSERT_TRUE(MakeModel(Tiny(MakeArchitecture::kLlama), Path("m.gguf")));
  const LlamaModel model = LoadWithLlama(Path("m.gguf"));
  ASSERT_NE(model, nullptr);
  const llama_vocab* vocab = llama_model_get_vocab(model.get());
  const std::string text = "the qz\n\xc3\xa9";
  std::vector<llama_token> tokens(32);
  const int count = llama_tokenize(vocab, text.data(), static_cast<int>(text.size()), tokens.data(),
                                   32, true, false);
  // begin, "the" (two merges), " ", "q", "z", "\n", and the two bytes of an accented letter
  const std::vector<llama_token> expected = {509, 257, ' ', 'q', 'z', '\n', 0xc3, 0xa9};
  ASSERT_EQ(count, static_cast<int>(expected.size()));
  tokens.resize(expected.size());
  EXPECT_EQ(tokens, expected);
  EXPECT_EQ(llama_vocab_eos(vocab), 510);
  EXPECT_TRUE(llama_vocab_is_eog(vocab, 511));
}

TEST_F(MakeModelTest, ImpossibleShape_IsRefusedAndLeavesNoFile) {
  std::vector<MakeModelOptions> cases;
  const auto add = [&](auto change) {
    MakeModelOptions options;
    change(options);
    cases.push_back(options);
  };
  add([](auto& o) { o.layers = 0; });
  add([](auto& o) { o.vocabulary = 200; });
  add([](auto& o) { o.kv_heads = 3; });
  add([](auto& o) { o.query_heads = o.kv_heads = 5; });
  add([](auto& o) { o.rope_dims = 8; });
  add([](auto& o) { o.experts = 4; });
  add([](auto& o) { o.sliding_window = 8; });
  add([](auto& o) { o.type = GGML_TYPE_Q4_K; });  // rows of 64
  add([](auto& o) { o.type = GGML_TYPE_COUNT; });
  add([](auto& o) { o.type = GGML_TYPE_I8; });
  add([](auto& o) { o.split_files = 2; });  // the name does not fit
  add([](auto& o) { o.architecture = MakeArchitecture::kQwen3Moe; });
  add([](auto& o) { o.architecture = MakeArchitecture::kQwen2, o.head_dim = 32; });
  for (size_t i = 0; i < cases.size(); ++i) {
    const Status status = MakeModel(cases[i], Path("m.gguf"));
    ASSERT_FALSE(status) << "case " << i;
    EXPECT_EQ(status.error().kind, ErrorKind::kInput) << status.error().Message();
    EXPECT_TRUE(std::filesystem::is_empty(folder_)) << "case " << i;
  }
}

}  // namespace
}  // namespace pith
