// Against plain loops in float64 over the matrix as the file stores it.
#include "engine/output_norms.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include "base/rng.h"
#include "engine/engine.h"
#include "make_model/make_model.h"

namespace pith {
namespace {

std::unique_ptr<Engine> MakeEngine(MakeModelOptions shape) {
  const auto path = std::filesystem::temp_directory_path() /
                    ("pith-output-norms-" + std::to_string(::getpid()) + ".gguf");
  if (!MakeModel(shape, path.string())) throw std::runtime_error("no model");
  auto engine = Engine::Create({.model_path = path.string(), .num_threads = 1});
  std::remove(path.c_str());
  if (!engine) throw std::runtime_error(engine.error().Message());
  return std::move(*engine);
}

// [width][query heads * value_dim]
std::vector<float> OutputMatrix(const Engine& engine, uint32_t layer) {
  const GgufTensor* tensor =
      engine.file().FindTensor("blk." + std::to_string(layer) + ".attn_output.weight");
  const auto bytes = engine.file().TensorBytes(*tensor);
  std::vector<float> matrix(static_cast<size_t>(tensor->ne[0] * tensor->ne[1]));
  if (tensor->type == GGML_TYPE_F32) {
    std::memcpy(matrix.data(), bytes.data(), bytes.size());
  } else {
    ggml_get_type_traits(tensor->type)
        ->to_float(bytes.data(), matrix.data(), static_cast<int64_t>(matrix.size()));
  }
  return matrix;
}

void ExpectNorms(const MakeModelOptions& shape, size_t n) {
  const auto engine = MakeEngine(shape);
  const HyperParams& p = engine->model().params();
  const uint32_t group = p.num_query_heads / p.num_kv_heads;
  Rng rng(9);
  std::vector<float> values(n * p.value_dim);
  for (float& v : values) v = 4 * rng.Float() - 2;
  for (uint32_t layer = 0; layer < p.num_layers; ++layer) {
    const std::vector<float> matrix = OutputMatrix(*engine, layer);
    for (uint32_t kv_head = 0; kv_head < p.num_kv_heads; ++kv_head) {
      const auto norms = OutputNorms(engine->model(), layer, kv_head, values);
      ASSERT_EQ(norms.size(), n);
      for (size_t j = 0; j < n; ++j) {
        double sum = 0;
        for (uint32_t h = kv_head * group; h < (kv_head + 1) * group; ++h) {
          for (uint32_t out = 0; out < p.width; ++out) {
            double moved = 0;
            for (uint32_t c = 0; c < p.value_dim; ++c) {
              moved += double{values[j * p.value_dim + c]} *
                       matrix[(size_t{out} * p.num_query_heads + h) * p.value_dim + c];
            }
            sum += std::abs(moved);
          }
        }
        EXPECT_NEAR(norms[j], sum / group, 1e-5 * sum / group) << layer << kv_head << j;
      }
    }
  }
}

TEST(OutputNorms, F32_NearTheDoubleTruth) { ExpectNorms({.query_heads = 4, .kv_heads = 2}, 21); }

// A block of the file's format spans two heads, and ggml may have rearranged the matrix.
TEST(OutputNorms, Quantised_NearTheDoubleTruth) {
  ExpectNorms({.query_heads = 4, .kv_heads = 4, .type = GGML_TYPE_Q8_0}, 21);
  ExpectNorms({.query_heads = 4, .kv_heads = 1, .type = GGML_TYPE_Q4_0}, 1);
}

TEST(OutputNorms, MoreThanABlock_NearTheDoubleTruth) {
  ExpectNorms({.layers = 1,
               .width = 288,
               .query_heads = 9,
               .kv_heads = 3,
               .feed_forward = 64,
               .type = GGML_TYPE_Q4_0},
              300);
}

TEST(OutputNorms, NoValues_NoNorms) {
  EXPECT_TRUE(OutputNorms(MakeEngine({})->model(), 0, 0, {}).empty());
}

}  // namespace
}  // namespace pith
