#include "engine/observations.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "engine/attention_rows.h"
#include "method/support.h"

namespace pith {
namespace {

template <class Number>
bool AllFinite(const std::vector<Number>& values) {
  return std::ranges::all_of(values, [](Number value) { return std::isfinite(value); });
}

}  // namespace

Observations::Observations(const ModelShape& shape, const Needs& needs)
    : needs_(needs),
      num_layers_(shape.num_layers),
      num_query_heads_(shape.num_query_heads),
      group_(shape.num_query_heads / shape.num_kv_heads),
      key_dim_(shape.key_dim) {
  const size_t heads = size_t{num_layers_} * num_query_heads_;
  window_positions_.assign(needs.window, -1);
  window_.resize(heads * needs.window * key_dim_);
  if (needs.column_sums) column_sums_.resize(heads);
  if (needs.band > 0) band_sums_.resize(heads);
  if (needs.query_moments) {
    moments_.assign(
        heads, {std::vector<double>(key_dim_), std::vector<double>(size_t{key_dim_} * key_dim_)});
  }
}

void Observations::Expect(size_t num_tokens) {
  band_width_ = static_cast<int32_t>(CeilShare(needs_.band, num_tokens));
}

void Observations::Begin(const SequenceCache& cache, std::span<const int32_t> positions) {
  if (!needs_.queries()) return;
  step_positions_.assign(positions.begin(), positions.end());
  for (const int32_t position : positions) {
    if (needs_.window > 0) {
      window_positions_[static_cast<uint32_t>(position) % needs_.window] = position;
    }
    if (needs_.query_moments && position >= HeadInput::kFirstMoment) ++num_moments_;
  }
  for (auto* all : {&column_sums_, &band_sums_}) {
    for (uint32_t i = 0; i < all->size(); ++i) {
      const uint32_t head = i % num_query_heads_;
      const size_t entries = cache.num_entries(i / num_query_heads_, head / group_);
      (*all)[i].resize(entries - positions.size());  // the cache may have been truncated
      (*all)[i].resize(entries);
    }
  }
}

void Observations::Observe(uint32_t layer, const SequenceCache& cache, const QueryRows& queries,
                           const QueryRows& before_rope, int thread, int num_threads) {
  const auto first = static_cast<uint32_t>(thread);
  const auto step = static_cast<uint32_t>(num_threads);
  for (uint32_t head = first; head < num_query_heads_; head += step) {
    if (needs_.window > 0) CopyWindow(layer, head, queries);
    if (needs_.query_moments) AddMoments(layer, head, before_rope);
  }
  if (column_sums_.empty() && band_sums_.empty()) return;
  AddAttention(layer, cache, queries, thread, num_threads);
}

void Observations::CopyWindow(uint32_t layer, uint32_t head, const QueryRows& queries) {
  const size_t rows = step_positions_.size();
  float* const ring = window_.data() + HeadNumber(layer, head) * needs_.window * key_dim_;
  for (size_t row = rows - std::min<size_t>(rows, needs_.window); row < rows; ++row) {
    const size_t slot = static_cast<uint32_t>(step_positions_[row]) % needs_.window;
    std::copy_n(queries.Row(head, row), key_dim_, ring + slot * key_dim_);
  }
}

void Observations::AddMoments(uint32_t layer, uint32_t head, const QueryRows& before_rope) {
  QueryMoments& moments = moments_[HeadNumber(layer, head)];
  for (size_t row = 0; row < step_positions_.size(); ++row) {
    if (step_positions_[row] < HeadInput::kFirstMoment) continue;
    const float* const q = before_rope.Row(head, row);
    for (uint32_t a = 0; a < key_dim_; ++a) {
      const double qa = q[a];
      moments.sum[a] += qa;
      double* const products = moments.products.data() + size_t{a} * key_dim_;
      for (uint32_t b = 0; b <= a; ++b) products[b] += qa * q[b];
    }
  }
}

void Observations::AddAttention(uint32_t layer, const SequenceCache& cache,
                                const QueryRows& queries, int thread, int num_threads) {
  std::vector<int32_t> positions;  // of the entries of `kv_head`
  uint32_t kv_head = UINT32_MAX;
  const auto see = [&](uint32_t head, size_t row, std::span<const float> probabilities) {
    const auto add = [&](auto& sums, size_t begin) {
      float* const out = sums[HeadNumber(layer, head)].data();
      for (size_t j = begin; j < probabilities.size(); ++j) out[j] += probabilities[j];
    };
    if (!column_sums_.empty()) add(column_sums_, 0);
    if (band_sums_.empty()) return;
    if (kv_head != head / group_) {
      kv_head = head / group_;
      positions.resize(cache.num_entries(layer, kv_head));
      cache.Positions(layer, kv_head, positions);
    }
    const int32_t before_band = step_positions_[row] - band_width_;
    add(band_sums_,
        static_cast<size_t>(std::ranges::upper_bound(positions, before_band) - positions.begin()));
  };
  VisitAttentionRows(cache, layer, num_query_heads_, queries, thread, num_threads, see);
}

void Observations::Keep(uint32_t layer, uint32_t kv_head, std::span<const uint32_t> entries) {
  for (auto* all : {&column_sums_, &band_sums_}) {
    if (all->empty()) continue;
    for (uint32_t head = kv_head * group_; head < (kv_head + 1) * group_; ++head) {
      auto& sums = (*all)[HeadNumber(layer, head)];
      for (size_t i = 0; i < entries.size(); ++i) sums[i] = sums[entries[i]];
      sums.resize(entries.size());
      sums.shrink_to_fit();
    }
  }
}

void Observations::Truncate(int32_t end_position) {
  for (int32_t& position : window_positions_) {
    if (position >= end_position) position = -1;
  }
}

template <class Archive, class Self>
Status Observations::Fields(Archive& archive, Self& self) {
  PITH_TRY(archive.Field(self.window_positions_));
  PITH_TRY(archive.Field(self.window_));
  PITH_TRY(archive.Field(self.column_sums_));
  PITH_TRY(archive.Field(self.band_width_));
  PITH_TRY(archive.Field(self.band_sums_));
  PITH_TRY(archive.Field(self.num_moments_));
  for (auto& moments : self.moments_) {
    PITH_TRY(archive.Field(moments.sum));
    PITH_TRY(archive.Field(moments.products));
  }
  return {};
}

void Observations::Save(ByteWriter* out) const { PITH_CHECK(Fields(*out, *this).has_value()); }

Status Observations::Load(ByteReader* in) { return Fields(*in, *this); }

bool Observations::Fits(const SequenceCache& cache, uint64_t num_tokens) const {
  const size_t heads = size_t{num_layers_} * num_query_heads_;
  if (window_positions_.size() != needs_.window ||
      window_.size() != heads * needs_.window * key_dim_ || !AllFinite(window_)) {
    return false;
  }
  for (uint32_t slot = 0; slot < needs_.window; ++slot) {
    const int32_t position = window_positions_[slot];
    if (position == -1) continue;
    if (position < 0 || static_cast<uint64_t>(position) >= num_tokens ||
        static_cast<uint32_t>(position) % needs_.window != slot) {
      return false;
    }
  }
  if (column_sums_.size() != (needs_.column_sums ? heads : 0)) return false;
  if (band_sums_.size() != (needs_.band > 0 ? heads : 0) || band_width_ < 0) return false;
  for (const auto* all : {&column_sums_, &band_sums_}) {
    for (size_t i = 0; i < all->size(); ++i) {
      // There are more if the sequence was truncated and no step came after.
      const auto head = static_cast<uint32_t>(i % num_query_heads_);
      const auto layer = static_cast<uint32_t>(i / num_query_heads_);
      if ((*all)[i].size() < cache.num_entries(layer, head / group_)) return false;
      if (!AllFinite((*all)[i])) return false;
    }
  }
  // Moments of tokens that the sequence was truncated by stay counted.
  return std::ranges::all_of(moments_, [&](const QueryMoments& m) {
    return m.sum.size() == key_dim_ && m.products.size() == size_t{key_dim_} * key_dim_ &&
           AllFinite(m.sum) && AllFinite(m.products);
  });
}

void Observations::Window(uint32_t layer, uint32_t kv_head, std::vector<float>* queries,
                          std::vector<int32_t>* positions) const {
  positions->clear();
  for (const int32_t position : window_positions_) {
    if (position >= 0) positions->push_back(position);
  }
  std::ranges::sort(*positions);
  queries->clear();
  for (uint32_t head = kv_head * group_; head < (kv_head + 1) * group_; ++head) {
    const float* const ring = window_.data() + HeadNumber(layer, head) * needs_.window * key_dim_;
    for (const int32_t position : *positions) {
      const float* const q =
          ring + static_cast<size_t>(static_cast<uint32_t>(position) % needs_.window) * key_dim_;
      queries->insert(queries->end(), q, q + key_dim_);
    }
  }
}

std::span<const std::vector<float>> Observations::ColumnSums(uint32_t layer,
                                                             uint32_t kv_head) const {
  if (!needs_.column_sums) return {};
  return std::span(column_sums_).subspan(HeadNumber(layer, kv_head * group_), group_);
}

std::span<const std::vector<float>> Observations::BandSums(uint32_t layer, uint32_t kv_head) const {
  if (band_sums_.empty()) return {};
  return std::span(band_sums_).subspan(HeadNumber(layer, kv_head * group_), group_);
}

void Observations::Moments(uint32_t layer, uint32_t kv_head, std::vector<float>* mean,
                           std::vector<float>* covariance) const {
  mean->clear();
  covariance->clear();
  if (!needs_.query_moments) return;
  const double count = static_cast<double>(std::max<uint64_t>(num_moments_, 1));
  for (uint32_t head = kv_head * group_; head < (kv_head + 1) * group_; ++head) {
    const QueryMoments& moments = moments_[HeadNumber(layer, head)];
    for (const double sum : moments.sum) mean->push_back(static_cast<float>(sum / count));
    for (uint32_t a = 0; a < key_dim_; ++a) {
      for (uint32_t b = 0; b < key_dim_; ++b) {
        const double product = moments.products[size_t{std::max(a, b)} * key_dim_ + std::min(a, b)];
        covariance->push_back(static_cast<float>(product / count - moments.sum[a] / count *
                                                                       (moments.sum[b] / count)));
      }
    }
  }
}

}  // namespace pith
