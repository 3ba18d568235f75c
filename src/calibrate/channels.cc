#include "calibrate/channels.h"

#include <fmt/format.h>

#include <cmath>

#include "calibrate/origin.h"

namespace pith {

ChannelScores::ChannelScores(const ModelShape& shape)
    : num_kv_heads_(shape.num_kv_heads),
      group_(shape.num_query_heads / shape.num_kv_heads),
      key_dim_(shape.key_dim),
      sums_(size_t{shape.num_layers} * shape.num_kv_heads * shape.key_dim) {}

void ChannelScores::Observe(uint32_t layer, const SequenceCache& cache, const QueryRows& queries,
                            const QueryRows&, int thread, int num_threads) {
  std::vector<float> keys(queries.count * key_dim_);
  for (auto kv_head = static_cast<uint32_t>(thread); kv_head < num_kv_heads_;
       kv_head += static_cast<uint32_t>(num_threads)) {
    cache.ReadKeys(layer, kv_head, cache.num_entries(layer, kv_head) - queries.count,
                   static_cast<uint32_t>(queries.count), keys.data());
    Sums* const sums = &sums_[(size_t{layer} * num_kv_heads_ + kv_head) * key_dim_];
    for (size_t row = 0; row < queries.count; ++row) {
      const float* const key = &keys[row * key_dim_];
      for (uint32_t c = 0; c < key_dim_; ++c) sums[c].keys += double{key[c]} * double{key[c]};
      for (uint32_t head = kv_head * group_; head < (kv_head + 1) * group_; ++head) {
        const float* const query = queries.Row(head, row);
        for (uint32_t c = 0; c < key_dim_; ++c) {
          sums[c].products += std::abs(double{query[c]} * double{key[c]});
          sums[c].queries += double{query[c]} * double{query[c]};
        }
      }
    }
  }
}

// Counts are the same for all channels of a head, so that sums will do for means.
std::vector<float> ChannelScores::Shares(double (*score)(const Sums&)) const {
  std::vector<float> shares(sums_.size());
  for (size_t head = 0; head < sums_.size(); head += key_dim_) {
    double total = 0;
    for (size_t i = head; i < head + key_dim_; ++i) total += score(sums_[i]);
    if (total == 0) continue;
    for (size_t i = head; i < head + key_dim_; ++i) {
      shares[i] = static_cast<float>(score(sums_[i]) / total);
    }
  }
  return shares;
}

std::vector<float> ChannelScores::Labels() const {
  return Shares([](const Sums& s) { return s.products; });
}

std::vector<float> ChannelScores::Energies() const {
  return Shares([](const Sums& s) { return s.queries * s.keys; });
}

Result<Profile> CalibrateChannels(Engine& engine, const TextRequest& request,
                                  const FeedProgress& progress) {
  PITH_ASSIGN(const auto pieces, TextPieces(engine, request));
  ChannelScores scores(engine.model().shape());
  PITH_TRY(ReadPieces(engine, pieces, &scores, [](const Sequence&) {}, progress));
  Profile profile;
  profile.heads.labels = scores.Labels();
  profile.heads.energies = scores.Energies();
  SetOrigin(kProfileChannels, fmt::format("{}: {}", MeasuredOn(engine), DescribeTexts(request)),
            &profile);
  return profile;
}

}  // namespace pith
