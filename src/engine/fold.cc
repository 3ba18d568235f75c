#include "engine/fold.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "base/hash.h"
#include "kernel/attend_layout.h"

namespace pith {
namespace {

constexpr uint32_t kRowsAtOnce = 128;

std::vector<float> Part(const std::vector<float>& all, size_t index, size_t size) {
  const auto first = all.begin() + static_cast<ptrdiff_t>(index * size);
  return {first, first + static_cast<ptrdiff_t>(size)};
}

// Calls visit(begin, end) for the ranges of [0, n) between the indices `kept`.
template <class Visit>
void ForEachGap(uint32_t n, std::span<const uint32_t> kept, const Visit& visit) {
  uint32_t next = 0;
  for (const uint32_t index : kept) {
    if (next < index) visit(next, index);
    next = index + 1;
  }
  if (next < n) visit(next, n);
}

// Sums of features, which are not negative, each in front of as many weighted sums of values. The
// bounds are far above what f16 holds.
bool ArePlausible(std::span<const float> state, size_t stride) {
  constexpr float kLargestMean = 1e9f, kLargestSum = 1e30f;
  for (size_t i = 0; i < state.size(); ++i) {
    const float sum = state[i / stride * stride];
    if (!(sum >= 0 && sum <= kLargestSum && std::abs(state[i]) <= kLargestMean * sum)) return false;
  }
  return true;
}

}  // namespace

std::optional<FoldShape> FoldShapeOf(const HeadProfile& profile) {
  const size_t kv_heads = size_t{profile.num_layers} * profile.num_kv_heads;
  const size_t query_heads = size_t{profile.num_layers} * profile.num_query_heads;
  // How many numbers a head has, 0 if heads have different numbers of them.
  const auto each = [](const std::vector<float>& table, size_t heads) {
    return heads > 0 && table.size() % heads == 0 ? table.size() / heads : 0;
  };
  const size_t rank = each(profile.fold_sigma1, kv_heads);
  const size_t hidden = rank > 0 ? each(profile.fold_key_out, kv_heads) / rank : 0;
  const size_t dim = hidden > 0 ? each(profile.fold_key_in, kv_heads) / hidden : 0;
  if (rank == 0 || rank > kMaxFeatures || hidden == 0 || hidden > kMaxHidden || dim == 0 ||
      dim > kMaxDim) {
    return std::nullopt;
  }
  const bool fits = profile.fold_sigma2.size() == kv_heads * rank &&
                    profile.fold_mix.size() == kv_heads * rank * rank &&
                    profile.fold_key_in.size() == kv_heads * dim * hidden &&
                    profile.fold_key_out.size() == kv_heads * hidden * rank &&
                    profile.fold_query_in.size() == query_heads * dim * hidden &&
                    profile.fold_query_out.size() == query_heads * hidden * rank;
  if (!fits) return std::nullopt;
  return FoldShape{static_cast<uint32_t>(dim), static_cast<uint32_t>(hidden),
                   static_cast<uint32_t>(rank)};
}

FoldNetworks::FoldNetworks(const HeadProfile& profile)
    : num_kv_heads_(profile.num_kv_heads), group_(profile.num_query_heads / profile.num_kv_heads) {
  const std::optional<FoldShape> shape = FoldShapeOf(profile);
  PITH_CHECK(shape.has_value());
  shape_ = *shape;
  const auto [dim, hidden, rank] = shape_;
  const size_t in = size_t{dim} * hidden, out = size_t{hidden} * rank;
  for (size_t head = 0; head < size_t{profile.num_layers} * num_kv_heads_; ++head) {
    keys_.push_back({FeatureNetwork(dim, hidden, rank, Part(profile.fold_key_in, head, in),
                                    Part(profile.fold_key_out, head, out)),
                     Part(profile.fold_sigma1, head, rank), Part(profile.fold_sigma2, head, rank),
                     Part(profile.fold_mix, head, size_t{rank} * rank)});
  }
  for (size_t head = 0; head < size_t{profile.num_layers} * profile.num_query_heads; ++head) {
    queries_.emplace_back(dim, hidden, rank, Part(profile.fold_query_in, head, in),
                          Part(profile.fold_query_out, head, out));
  }
  Hasher hasher;
  for (const auto* table :
       {&profile.fold_query_in, &profile.fold_query_out, &profile.fold_key_in,
        &profile.fold_key_out, &profile.fold_mix, &profile.fold_sigma1, &profile.fold_sigma2}) {
    hasher.Add(table->data(), table->size() * sizeof(float));
  }
  hash_ = hasher.Finish();
}

FoldedEntries::FoldedEntries(std::shared_ptr<const FoldNetworks> networks, const CacheSpec& spec)
    : networks_(std::move(networks)),
      num_kv_heads_(spec.num_kv_heads),
      value_dim_(spec.values.dim) {
  PITH_CHECK(networks_ != nullptr && networks_->shape().key_dim == spec.keys.dim);
  const size_t heads = size_t{spec.num_layers} * num_kv_heads_;
  folds_.resize(heads);
  states_.resize(heads);
  counts_.resize(heads);
  last_positions_.resize(heads, -1);
  for (uint32_t head = 0; head < heads; ++head) {
    folds_[head].networks = networks_->Queries(head / num_kv_heads_, head % num_kv_heads_);
  }
}

void FoldedEntries::SetState(size_t head, std::shared_ptr<const State> state) {
  folds_[head].state = state == nullptr ? nullptr : state->data();
  states_[head] = std::move(state);
}

Result<FoldedEntries::Folded> FoldedEntries::Fold(const SequenceCache& cache, uint32_t layer,
                                                  uint32_t kv_head,
                                                  std::span<const uint32_t> kept) const {
  const auto n = static_cast<uint32_t>(cache.num_entries(layer, kv_head));
  const size_t head = size_t{layer} * num_kv_heads_ + kv_head;
  if (kept.size() == n) return Folded{states_[head], counts_[head], last_positions_[head]};
  const uint32_t key_dim = networks_->shape().key_dim, rank = networks_->shape().rank;
  const KeyFeatures& features = networks_->Keys(layer, kv_head);
  const size_t stride = size_t{1} + value_dim_;
  std::vector<double> sums(rank * stride);
  if (states_[head] != nullptr) std::ranges::copy(*states_[head], sums.begin());
  std::vector<float> keys(size_t{kRowsAtOnce} * key_dim), values(size_t{kRowsAtOnce} * value_dim_);
  std::vector<float> psi(rank);
  uint32_t newest = 0;
  ForEachGap(n, kept, [&](uint32_t begin, uint32_t end) {
    newest = end - 1;
    for (uint32_t first = begin; first < end; first += kRowsAtOnce) {
      const uint32_t count = std::min(kRowsAtOnce, end - first);
      cache.ReadKeys(layer, kv_head, first, count, keys.data());
      cache.ReadValues(layer, kv_head, first, count, values.data());
      for (uint32_t i = 0; i < count; ++i) {
        features.Run(&keys[size_t{i} * key_dim], psi.data());
        for (uint32_t r = 0; r < rank; ++r) {
          double* const row = &sums[r * stride];
          const double feature = psi[r];
          row[0] += feature;
          for (uint32_t c = 0; c < value_dim_; ++c) {
            row[1 + c] += feature * values[size_t{i} * value_dim_ + c];
          }
        }
      }
    }
  });
  auto state = std::make_shared<const State>(sums.begin(), sums.end());
  if (!ArePlausible(*state, stride)) {
    return InputError(fmt::format("the fold networks of layer {}, KV head {} give numbers that are "
                                  "too large for what they read",
                                  layer, kv_head),
                      "profile", "Make them again with pith calibrate less.");
  }
  std::vector<int32_t> positions(n);
  cache.Positions(layer, kv_head, positions);
  return Folded{std::move(state), counts_[head] + n - kept.size(),
                std::max(last_positions_[head], positions[newest])};
}

void FoldedEntries::Set(uint32_t layer, uint32_t kv_head, Folded folded) {
  const size_t head = size_t{layer} * num_kv_heads_ + kv_head;
  SetState(head, std::move(folded.state));
  counts_[head] = folded.count;
  last_positions_[head] = folded.last_position;
}

std::span<const AttendFold> FoldedEntries::Layer(uint32_t layer) const {
  if (folds_.empty()) return {};
  return std::span(folds_).subspan(size_t{layer} * num_kv_heads_, num_kv_heads_);
}

void FoldedEntries::Truncate(int32_t end_position) {
  for (size_t head = 0; head < folds_.size(); ++head) {
    if (last_positions_[head] < end_position) continue;
    SetState(head, nullptr);
    counts_[head] = 0;
    last_positions_[head] = -1;
  }
}

uint64_t FoldedEntries::bytes() const {
  uint64_t floats = 0;
  for (const auto& state : states_) floats += state == nullptr ? 0 : state->size();
  return floats * sizeof(float);
}

void FoldedEntries::Save(ByteWriter* out) const {
  out->Number(networks_ == nullptr ? uint64_t{0} : networks_->hash());
  for (size_t head = 0; head < states_.size(); ++head) {
    out->Number(counts_[head]);
    if (counts_[head] == 0) continue;
    out->Number(last_positions_[head]);
    out->Add(states_[head]->data(), states_[head]->size() * sizeof(float));
  }
}

Status FoldedEntries::Load(ByteReader* in, const std::string& where) {
  PITH_ASSIGN(const auto hash, in->Number<uint64_t>());
  if (hash != (networks_ == nullptr ? 0 : networks_->hash())) {
    return InputError(
        "what the session has dropped was folded by other networks than the profile's", where,
        "Name the profile that it was saved with by --profile.");
  }
  for (size_t head = 0; head < states_.size(); ++head) {
    PITH_TRY(in->Field(counts_[head]));
    if (counts_[head] == 0) continue;
    PITH_TRY(in->Field(last_positions_[head]));
    const uint64_t floats = networks_->state_floats(value_dim_);
    PITH_ASSIGN(const auto bytes, in->Take(floats * sizeof(float)));
    auto state = std::make_shared<State>(floats);
    std::memcpy(state->data(), bytes.data(), bytes.size());
    SetState(head, std::move(state));
  }
  return {};
}

bool FoldedEntries::Fits(const SequenceCache& cache, uint64_t num_tokens) const {
  const size_t stride = size_t{1} + value_dim_;
  for (uint32_t head = 0; head < states_.size(); ++head) {
    const uint64_t count = counts_[head];
    if (count == 0) continue;
    const uint64_t held = cache.num_entries(head / num_kv_heads_, head % num_kv_heads_);
    const int32_t last = last_positions_[head];
    if (count > num_tokens || held > num_tokens - count || last < 0 ||
        static_cast<uint64_t>(last) >= num_tokens) {
      return false;
    }
    if (!ArePlausible(*states_[head], stride)) return false;
  }
  return true;
}

}  // namespace pith
