#include "engine/output_norms.h"

#include <ggml-cpp.h>
#include <ggml-cpu.h>
#include <ggml.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/check.h"

namespace pith {
namespace {

// Products are made in blocks of one size, so that one small graph serves all of them.
constexpr size_t kChannels = 256;  // of the output
constexpr size_t kValues = 256;

// ggml's product of a block of values with a block of a weight, on the calling thread.
class BlockProduct {
 public:
  explicit BlockProduct(uint32_t dim)
      : memory_((kChannels + kValues) * dim * sizeof(float) + kChannels * kValues * sizeof(float) +
                8 * ggml_tensor_overhead() + ggml_graph_overhead_custom(4, false) + 1024),
        ctx_(ggml_init({memory_.size(), memory_.data(), false})) {
    weight_ = ggml_new_tensor_2d(ctx_.get(), GGML_TYPE_F32, dim, kChannels);
    values_ = ggml_new_tensor_2d(ctx_.get(), GGML_TYPE_F32, dim, kValues);
    product_ = ggml_mul_mat(ctx_.get(), weight_, values_);
    graph_ = ggml_new_graph_custom(ctx_.get(), 4, false);
    ggml_build_forward_expand(graph_, product_);
    plan_ = ggml_graph_plan(graph_, 1, nullptr);
    work_.resize(plan_.work_size);
    plan_.work_data = work_.data();
    std::fill_n(ggml_get_data_f32(weight_), kChannels * dim, 0.0f);
    std::fill_n(ggml_get_data_f32(values_), kValues * dim, 0.0f);
  }

  // What is not set anew keeps its value; all zeros at first.
  void SetWeight(std::span<const float> rows) {
    std::ranges::copy(rows, ggml_get_data_f32(weight_));
  }
  void SetValues(std::span<const float> rows) {
    std::ranges::copy(rows, ggml_get_data_f32(values_));
  }
  // [kValues][kChannels], valid until the next call.
  const float* Run() {
    PITH_CHECK(ggml_graph_compute(graph_, &plan_) == GGML_STATUS_SUCCESS);
    return ggml_get_data_f32(product_);
  }

 private:
  std::vector<std::byte> memory_;
  std::vector<uint8_t> work_;
  ggml_context_ptr ctx_;
  ggml_tensor *weight_ = nullptr, *values_ = nullptr, *product_ = nullptr;
  ggml_cgraph* graph_ = nullptr;
  ggml_cplan plan_ = {};
};

// Columns [first, first + count) of the rows of a matrix as its file stores it.
class StoredColumns {
 public:
  StoredColumns(const Model& model, const ggml_tensor* matrix, size_t first, size_t count)
      : type_(matrix->type), first_(first), count_(count) {
    const GgufTensor* source = model.file().FindTensor(ggml_get_name(matrix));
    PITH_CHECK(source != nullptr);
    bytes_ = model.file().TensorBytes(*source);
    row_bytes_ = ggml_row_size(type_, matrix->ne[0]);
    const auto block = static_cast<size_t>(ggml_blck_size(type_));
    begin_ = first / block * block;
    decoded_.resize((first + count + block - 1) / block * block - begin_);
  }

  // Valid until the next call.
  std::span<const float> Row(size_t row) {
    const std::byte* const from =
        bytes_.data() + row * row_bytes_ + ggml_row_size(type_, static_cast<int64_t>(begin_));
    if (type_ == GGML_TYPE_F32) {
      std::memcpy(decoded_.data(), from, decoded_.size() * sizeof(float));
    } else {
      ggml_get_type_traits(type_)->to_float(from, decoded_.data(),
                                            static_cast<int64_t>(decoded_.size()));
    }
    return std::span<const float>(decoded_).subspan(first_ - begin_, count_);
  }

 private:
  ggml_type type_;
  size_t first_, count_, begin_ = 0, row_bytes_ = 0;
  std::span<const std::byte> bytes_;
  std::vector<float> decoded_;
};

// The rows [first, first + kChannels) of each query head's part, [group][kChannels][dim]; zeros
// behind the last one.
using GroupWeights = std::vector<std::vector<float>>;

void ReadWeights(StoredColumns& columns, size_t first, size_t width, size_t dim,
                 GroupWeights* weights) {
  const size_t count = std::min(kChannels, width - first);
  for (size_t i = 0; i < count; ++i) {
    const float* const row = columns.Row(first + i).data();
    for (size_t h = 0; h < weights->size(); ++h) {
      std::copy_n(row + h * dim, dim, (*weights)[h].data() + i * dim);
    }
  }
  for (auto& weight : *weights)
    std::fill_n(weight.data() + count * dim, (kChannels - count) * dim, 0.0f);
}

// The sum of absolute values of a product's row.
float SumOfSizes(const float* row) {
  constexpr size_t kLanes = 16;  // sums that a compiler may keep in vectors
  static_assert(kChannels % kLanes == 0);
  float lanes[kLanes] = {};
  for (size_t c = 0; c < kChannels; c += kLanes) {
    for (size_t i = 0; i < kLanes; ++i) lanes[i] += std::abs(row[c + i]);
  }
  float sum = 0;
  for (const float lane : lanes) sum += lane;
  return sum;
}

// Adds to sums[j] what value j gives to the channels of `weight`.
void AddSizes(std::span<const float> weight, std::span<const float> values, size_t dim,
              BlockProduct& product, std::span<double> sums) {
  product.SetWeight(weight);
  for (size_t first = 0; first < sums.size(); first += kValues) {
    const size_t count = std::min(kValues, sums.size() - first);
    product.SetValues(values.subspan(first * dim, count * dim));
    const float* const moved = product.Run();
    for (size_t i = 0; i < count; ++i) sums[first + i] += SumOfSizes(moved + i * kChannels);
  }
}

}  // namespace

std::vector<float> OutputNorms(const Model& model, uint32_t layer, uint32_t kv_head,
                               std::span<const float> values) {
  const HyperParams& p = model.params();
  const size_t dim = p.value_dim, group = p.num_query_heads / p.num_kv_heads;
  StoredColumns columns(model, model.layer(layer).wo, kv_head * group * dim, group * dim);
  BlockProduct product(p.value_dim);
  GroupWeights weights(group, std::vector<float>(kChannels * dim));
  std::vector<double> sums(values.size() / dim);
  for (size_t first = 0; first < p.width; first += kChannels) {
    ReadWeights(columns, first, p.width, dim, &weights);
    for (const std::vector<float>& weight : weights) AddSizes(weight, values, dim, product, sums);
  }
  std::vector<float> norms(sums.size());
  for (size_t j = 0; j < norms.size(); ++j) {
    norms[j] = static_cast<float>(sums[j] / static_cast<double>(group));
  }
  return norms;
}

}  // namespace pith
