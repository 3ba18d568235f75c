#include "engine/compensation.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace pith {
namespace {

constexpr uint32_t kRowsAtOnce = 128;

}  // namespace

DroppedEntries SumDropped(const SequenceCache& cache, uint32_t layer, uint32_t kv_head,
                          std::span<const uint32_t> kept) {
  const uint32_t key_dim = cache.spec().keys.dim, value_dim = cache.spec().values.dim;
  const auto n = static_cast<uint32_t>(cache.num_entries(layer, kv_head));
  DroppedEntries dropped;
  if (kept.size() == n) return dropped;
  dropped.sums.resize(key_dim + value_dim);
  std::vector<float> keys(size_t{kRowsAtOnce} * key_dim), values(size_t{kRowsAtOnce} * value_dim);
  uint32_t newest = 0;
  const auto add = [&](uint32_t begin, uint32_t end) {
    for (uint32_t first = begin; first < end; first += kRowsAtOnce) {
      const uint32_t count = std::min(kRowsAtOnce, end - first);
      cache.ReadKeys(layer, kv_head, first, count, keys.data());
      cache.ReadValues(layer, kv_head, first, count, values.data());
      for (uint32_t i = 0; i < count; ++i) {
        double* sum = dropped.sums.data();
        for (uint32_t c = 0; c < key_dim; ++c) *sum++ += keys[size_t{i} * key_dim + c];
        for (uint32_t c = 0; c < value_dim; ++c) *sum++ += values[size_t{i} * value_dim + c];
      }
    }
    if (begin < end) newest = end - 1;
  };
  uint32_t next = 0;
  for (const uint32_t index : kept) {
    add(next, index);
    next = index + 1;
  }
  add(next, n);
  dropped.count = n - kept.size();
  std::vector<int32_t> positions(n);
  cache.Positions(layer, kv_head, positions);
  dropped.last_position = positions[newest];
  return dropped;
}

void Compensation::Add(const CacheSpec& spec, uint32_t layer, uint32_t kv_head,
                       const DroppedEntries& dropped) {
  if (dropped.count == 0) return;
  if (extras_.empty()) {
    num_kv_heads_ = spec.num_kv_heads;
    key_dim_ = spec.keys.dim;
    value_dim_ = spec.values.dim;
    const size_t heads = size_t{spec.num_layers} * spec.num_kv_heads;
    extras_.resize(heads);
    means_.resize(heads);
    last_positions_.resize(heads, -1);
  }
  const size_t head = size_t{layer} * num_kv_heads_ + kv_head;
  AttendExtra& extra = extras_[head];
  const uint64_t count = extra.count + dropped.count;
  auto mean = std::make_shared<std::vector<float>>(dropped.sums.size());
  for (size_t c = 0; c < mean->size(); ++c) {
    const double before =
        extra.count == 0 ? 0 : static_cast<double>(extra.count) * (*means_[head])[c];
    (*mean)[c] = static_cast<float>((before + dropped.sums[c]) / static_cast<double>(count));
  }
  extra = {count, mean->data(), mean->data() + key_dim_};
  means_[head] = std::move(mean);
  last_positions_[head] = std::max(last_positions_[head], dropped.last_position);
}

std::span<const AttendExtra> Compensation::Layer(uint32_t layer) const {
  if (extras_.empty()) return {};
  return std::span(extras_).subspan(size_t{layer} * num_kv_heads_, num_kv_heads_);
}

void Compensation::Truncate(int32_t end_position) {
  for (size_t head = 0; head < extras_.size(); ++head) {
    if (last_positions_[head] < end_position) continue;
    extras_[head] = {};
    means_[head].reset();
    last_positions_[head] = -1;
  }
}

uint64_t Compensation::bytes() const {
  const auto means = static_cast<uint64_t>(
      std::ranges::count_if(extras_, [](const AttendExtra& extra) { return extra.count > 0; }));
  return means * (key_dim_ + value_dim_) * sizeof(float);
}

void Compensation::Save(ByteWriter* out) const {
  for (const uint32_t number : {num_kv_heads_, key_dim_, value_dim_}) out->Number(number);
  out->Number(uint64_t{extras_.size()});
  for (size_t head = 0; head < extras_.size(); ++head) {
    out->Number(extras_[head].count);
    if (extras_[head].count == 0) continue;
    out->Number(last_positions_[head]);
    out->Add(means_[head]->data(), means_[head]->size() * sizeof(float));
  }
}

Status Compensation::Load(ByteReader* in) {
  for (uint32_t* number : {&num_kv_heads_, &key_dim_, &value_dim_}) PITH_TRY(in->Field(*number));
  PITH_ASSIGN(const auto heads, in->Number<uint64_t>());
  for (uint64_t head = 0; head < heads; ++head) {
    AttendExtra& extra = extras_.emplace_back();
    means_.emplace_back();
    last_positions_.push_back(-1);
    PITH_TRY(in->Field(extra.count));
    if (extra.count == 0) continue;
    PITH_TRY(in->Field(last_positions_.back()));
    const uint64_t numbers = uint64_t{key_dim_} + value_dim_;
    PITH_ASSIGN(const auto bytes, in->Take(numbers * sizeof(float)));
    auto mean = std::make_shared<std::vector<float>>(numbers);
    if (numbers > 0) std::memcpy(mean->data(), bytes.data(), bytes.size());
    extra.key = mean->data();
    extra.value = mean->data() + key_dim_;
    means_.back() = std::move(mean);
  }
  return {};
}

bool ArePlausible(std::span<const float> values) {
  // Far above what f16 holds; the square of a sum of thousands of them still fits a float.
  constexpr float kLargest = 1e9f;
  return std::ranges::all_of(values, [](float x) { return std::abs(x) <= kLargest; });
}

bool Compensation::Fits(const SequenceCache& cache, uint64_t num_tokens) const {
  const CacheSpec& spec = cache.spec();
  if (extras_.empty()) return true;
  if (num_kv_heads_ != spec.num_kv_heads || key_dim_ != spec.keys.dim ||
      value_dim_ != spec.values.dim || extras_.size() != size_t{spec.num_layers} * num_kv_heads_) {
    return false;
  }
  for (uint32_t head = 0; head < extras_.size(); ++head) {
    const uint64_t count = extras_[head].count;
    if (count == 0) continue;
    const uint64_t held = cache.num_entries(head / num_kv_heads_, head % num_kv_heads_);
    const int32_t last = last_positions_[head];
    if (count > num_tokens || held > num_tokens - count || last < 0 ||
        static_cast<uint64_t>(last) >= num_tokens || !ArePlausible(*means_[head])) {
      return false;
    }
  }
  return true;
}

}  // namespace pith
