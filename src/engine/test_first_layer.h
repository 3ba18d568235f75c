// For tests: the first layer's queries and keys, from the model's own segments in one graph. They
// depend on tokens and positions alone, not on attention.
#pragma once

#include <ggml-backend.h>
#include <ggml-cpp.h>
#include <ggml-cpu.h>
#include <gtest/gtest.h>

#include <cmath>
#include <span>
#include <vector>

#include "model/segments.h"
#include "model/weights.h"

namespace pith {

class FirstLayer {
 public:
  FirstLayer(const Model& model, std::span<const int32_t> tokens,
             std::span<const int32_t> positions)
      : params_(model.params()) {
    const ggml_context_ptr ctx(ggml_init({1 << 20, nullptr, true}));
    ggml_cgraph* graph = ggml_new_graph(ctx.get());
    const auto rows = static_cast<int64_t>(tokens.size());
    ggml_tensor* ids = ggml_new_tensor_1d(ctx.get(), GGML_TYPE_I32, rows);
    ggml_tensor* numbers = ggml_new_tensor_1d(ctx.get(), GGML_TYPE_I32, rows);
    const SegmentContext s{ctx.get(), graph, &params_, numbers, model.common().rope_factors};
    ggml_tensor* x = ggml_get_rows(ctx.get(), model.common().embedding, ids);
    const Qkv qkv = BuildQkv(s, model.layer(0), BuildNorm(s, x, model.layer(0).attn_norm), true);
    for (ggml_tensor* t : {ids, numbers}) ggml_set_input(t);
    for (ggml_tensor* t : {qkv.q, qkv.k}) {
      ggml_set_output(t);
      ggml_build_forward_expand(graph, t);
    }
    const ggml_backend_ptr backend(ggml_backend_cpu_init());
    const ggml_gallocr_ptr allocator(ggml_gallocr_new(ggml_backend_cpu_buffer_type()));
    EXPECT_TRUE(ggml_gallocr_alloc_graph(allocator.get(), graph));
    ggml_backend_tensor_set(ids, tokens.data(), 0, tokens.size_bytes());
    ggml_backend_tensor_set(numbers, positions.data(), 0, positions.size_bytes());
    EXPECT_EQ(ggml_backend_graph_compute(backend.get(), graph), GGML_STATUS_SUCCESS);
    for (const auto& [tensor, values] : {std::pair{qkv.q, &q_}, {qkv.k, &k_}}) {
      values->resize(static_cast<size_t>(ggml_nelements(tensor)));
      ggml_backend_tensor_get(tensor, values->data(), 0, values->size() * sizeof(float));
    }
  }

  // [key_dim], of one row.
  const float* Query(size_t row, uint32_t head) const {
    return q_.data() + (row * params_.num_query_heads + head) * params_.key_dim;
  }
  const float* Key(size_t row, uint32_t kv_head) const {
    return k_.data() + (row * params_.num_kv_heads + kv_head) * params_.key_dim;
  }

  // In float64: what the query of `row` gives to the keys of the rows `seen`.
  std::vector<double> Probabilities(uint32_t head, size_t row, std::span<const size_t> seen) const {
    const uint32_t kv_head = head / (params_.num_query_heads / params_.num_kv_heads);
    std::vector<double> e;
    double total = 0;
    for (const size_t j : seen) {
      double dot = 0;
      for (uint32_t c = 0; c < params_.key_dim; ++c) {
        dot += double{Query(row, head)[c]} * Key(j, kv_head)[c];
      }
      e.push_back(std::exp(dot / std::sqrt(static_cast<double>(params_.key_dim))));
      total += e.back();
    }
    for (double& value : e) value /= total;
    return e;
  }

 private:
  const HyperParams& params_;
  std::vector<float> q_, k_;  // [row][head][key_dim]
};

}  // namespace pith
