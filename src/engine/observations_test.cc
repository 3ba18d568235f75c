// What is gathered during steps, against the first layer worked out by hand: its queries and keys
// from the model's own segments in one graph, attention in float64 over the whole matrix.
#include "engine/observations.h"

#include <ggml-backend.h>
#include <ggml-cpp.h>
#include <ggml-cpu.h>
#include <gtest/gtest.h>

#include <cmath>

#include "engine/engine.h"
#include "model/segments.h"
#include "model/weights.h"

namespace pith {
namespace {

constexpr uint32_t kRows = 90;

struct FirstLayer {
  std::vector<float> q, k;  // [row][head][key_dim]
};

FirstLayer WorkOut(const Model& model, const std::vector<int32_t>& tokens) {
  const HyperParams& p = model.params();
  std::vector<int32_t> numbers(tokens.size());
  for (size_t i = 0; i < numbers.size(); ++i) numbers[i] = static_cast<int32_t>(i);
  const ggml_context_ptr ctx(ggml_init({1 << 20, nullptr, true}));
  ggml_cgraph* graph = ggml_new_graph(ctx.get());
  const auto rows = static_cast<int64_t>(tokens.size());
  ggml_tensor* ids = ggml_new_tensor_1d(ctx.get(), GGML_TYPE_I32, rows);
  ggml_tensor* positions = ggml_new_tensor_1d(ctx.get(), GGML_TYPE_I32, rows);
  const SegmentContext s{ctx.get(), graph, &p, positions, model.common().rope_factors};
  ggml_tensor* x = ggml_get_rows(ctx.get(), model.common().embedding, ids);
  const Qkv qkv = BuildQkv(s, model.layer(0), BuildNorm(s, x, model.layer(0).attn_norm), true);
  ggml_tensor* outputs[] = {qkv.q, qkv.k};
  for (ggml_tensor* t : {ids, positions}) ggml_set_input(t);
  for (ggml_tensor* t : outputs) {
    ggml_set_output(t);
    ggml_build_forward_expand(graph, t);
  }
  const ggml_backend_ptr backend(ggml_backend_cpu_init());
  const ggml_gallocr_ptr allocator(ggml_gallocr_new(ggml_backend_cpu_buffer_type()));
  EXPECT_TRUE(ggml_gallocr_alloc_graph(allocator.get(), graph));
  ggml_backend_tensor_set(ids, tokens.data(), 0, tokens.size() * sizeof(int32_t));
  ggml_backend_tensor_set(positions, numbers.data(), 0, numbers.size() * sizeof(int32_t));
  EXPECT_EQ(ggml_backend_graph_compute(backend.get(), graph), GGML_STATUS_SUCCESS);
  const auto read = [](ggml_tensor* t) {
    std::vector<float> values(ggml_nelements(t));
    ggml_backend_tensor_get(t, values.data(), 0, values.size() * sizeof(float));
    return values;
  };
  return {read(outputs[0]), read(outputs[1])};
}

TEST(Observations, FirstLayer_AsWorkedOutByHand) {
  auto created = Engine::Create(
      {.model_path = PITH_SOURCE_DIR "/models/nano/nano.gguf", .chunk = 37, .repack = false});
  ASSERT_TRUE(created);
  Engine& engine = **created;
  std::vector<PlannedRun> runs;
  for (const char* recipe : {"h2o + f32", "snapkv + f32"}) {
    runs.push_back({ParseRecipe(recipe).value(), ParseBudget("50").value()});
  }
  Sequence sequence = engine.NewSequence(runs).value();
  std::vector<int32_t> tokens(kRows);
  for (uint32_t i = 0; i < kRows; ++i) tokens[i] = static_cast<int32_t>((i * i * 7 + i) % 251);
  ASSERT_TRUE(engine.Feed(sequence, tokens));

  const HyperParams& p = engine.model().params();
  const uint32_t group = p.num_query_heads / p.num_kv_heads;
  const FirstLayer truth = WorkOut(engine.model(), tokens);
  const auto q_at = [&](uint32_t row, uint32_t head, uint32_t c) {
    return truth.q[(size_t{row} * p.num_query_heads + head) * p.key_dim + c];
  };
  for (uint32_t head = 0; head < p.num_query_heads; ++head) {
    std::vector<float> queries;
    std::vector<int32_t> positions;
    sequence.observations.Window(0, head / group, &queries, &positions);
    ASSERT_EQ(positions.size(), 32u);
    for (uint32_t i = 0; i < 32; ++i) {
      ASSERT_EQ(positions[i], static_cast<int32_t>(kRows - 32 + i));
      for (uint32_t c = 0; c < p.key_dim; ++c) {
        const float q = queries[(size_t{head % group} * 32 + i) * p.key_dim + c];
        EXPECT_NEAR(q, q_at(kRows - 32 + i, head, c), 1e-3) << head << " " << i << " " << c;
      }
    }

    std::vector<double> sums(kRows);
    for (uint32_t i = 0; i < kRows; ++i) {
      std::vector<double> e(i + 1);
      double total = 0;
      for (uint32_t j = 0; j <= i; ++j) {
        double dot = 0;
        for (uint32_t c = 0; c < p.key_dim; ++c) {
          dot += double{q_at(i, head, c)} *
                 truth.k[(size_t{j} * p.num_kv_heads + head / group) * p.key_dim + c];
        }
        total += e[j] = std::exp(dot / std::sqrt(static_cast<double>(p.key_dim)));
      }
      for (uint32_t j = 0; j <= i; ++j) sums[j] += e[j] / total;
    }
    const auto gathered = sequence.observations.ColumnSums(0, head / group)[head % group];
    ASSERT_EQ(gathered.size(), kRows);
    for (uint32_t j = 0; j < kRows; ++j) {
      EXPECT_NEAR(gathered[j], sums[j], 1e-3 * (1 + sums[j])) << head << " " << j;
    }
  }
}

}  // namespace
}  // namespace pith
