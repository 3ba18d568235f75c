#include "kernel/key_codes.h"

#include <gtest/gtest.h>
#include <hwy/targets.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "base/rng.h"

namespace pith {
namespace {

std::vector<float> RandomValues(Rng& rng, size_t count) {
  std::vector<float> values(count);
  for (float& v : values) v = 4 * rng.Float() - 2;
  return values;
}

std::vector<uint16_t> SomeChannels(Rng& rng, uint32_t dim, bool all) {
  std::vector<uint16_t> channels;
  for (uint32_t c = 0; c < dim; ++c) {
    if (all || channels.empty() || rng.Below(3) == 0) channels.push_back(static_cast<uint16_t>(c));
  }
  return channels;
}

TEST(KeyCodes, Decoded_WithinHalfAStep) {
  Rng rng(7);
  for (const uint32_t dim : {1u, 7u, 64u}) {
    const auto channels = SomeChannels(rng, dim, dim == 7);
    KeyCodes codes(dim, channels);
    const auto keys = RandomValues(rng, 40 * dim);
    codes.Append(keys.data(), 40);
    for (uint64_t i = 0; i < 40; ++i) {
      float least = HUGE_VALF, greatest = -HUGE_VALF;
      for (const uint16_t c : channels) {
        least = std::min(least, keys[i * dim + c]);
        greatest = std::max(greatest, keys[i * dim + c]);
      }
      const float step = (greatest - least) / 15;
      const float roundings = 0x1p-11f * (std::abs(least) + 15 * step);
      for (uint32_t c = 0; c < channels.size(); ++c) {
        EXPECT_NEAR(codes.Decoded(i, c), keys[i * dim + channels[c]], step / 2 + 2 * roundings);
      }
    }
  }
}

TEST(KeyCodes, EveryTarget_ScoresAreProductsWithWhatIsStored) {
  Rng rng(23);
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    hwy::SetSupportedTargetsForTest(target);
    for (const uint32_t dim : {1u, 9u, 64u, 128u, 256u}) {
      const auto channels = SomeChannels(rng, dim, rng.Below(2) == 0);
      KeyCodes codes(dim, channels);
      const uint64_t count = 1 + rng.Below(100);
      const auto keys = RandomValues(rng, count * dim);
      codes.Append(keys.data(), count);
      std::vector<uint32_t> blocks;
      for (uint32_t b = 0; b < codes.num_blocks(); ++b) {
        if (rng.Below(4) > 0 || b + 1 == codes.num_blocks()) blocks.push_back(b);
      }
      const size_t num_queries = 1 + rng.Below(9);
      const auto values = RandomValues(rng, num_queries * dim);
      std::vector<const float*> queries;
      for (size_t r = 0; r < num_queries; ++r) queries.push_back(&values[r * dim]);
      const float scale = 0.25f;
      const size_t stride = blocks.size() * 8;
      std::vector<float> scores(num_queries * stride);
      codes.Score(queries, scale, blocks, scores.data(), stride);
      for (size_t r = 0; r < num_queries; ++r) {
        for (size_t j = 0; j < blocks.size(); ++j) {
          for (size_t l = 0; l < 8; ++l) {
            const float score = scores[r * stride + j * 8 + l];
            const uint64_t entry = uint64_t{blocks[j]} * 8 + l;
            if (entry >= count) {
              EXPECT_EQ(score, -HUGE_VALF);
              continue;
            }
            double exact = 0, magnitude = 0;
            float most = 0;
            for (const uint16_t c : channels) most = std::max(most, std::abs(queries[r][c]));
            for (uint32_t c = 0; c < channels.size(); ++c) {
              exact += double{queries[r][channels[c]]} * codes.Decoded(entry, c);
              magnitude += std::abs(codes.Decoded(entry, c));
            }
            // Half a step of the query for each channel; the last f32 operations; those of the
            // code and the minimum may be larger than their sum.
            const double query_step = double{most} / 127 / 2;
            const double last =
                8 * 0x1p-24 * double{most} * 4 * static_cast<double>(channels.size());
            EXPECT_NEAR(score, scale * exact, scale * (query_step * magnitude * 1.01 + 4 * last))
                << dim << " " << channels.size();
          }
        }
      }
    }
  }
  hwy::SetSupportedTargetsForTest(0);
}

TEST(KeyCodes, AppendedAfterTruncation_TheSameAsFromTheStart) {
  Rng rng(31);
  constexpr uint32_t kDim = 20;
  std::vector<uint16_t> channels(kDim);
  std::iota(channels.begin(), channels.end(), uint16_t{0});
  auto keys = RandomValues(rng, 50 * kDim);
  KeyCodes codes(kDim, channels);
  codes.Append(keys.data(), 50);
  for (const uint64_t size : {49u, 33u, 8u, 0u}) {
    codes.Truncate(size);
    for (size_t i = size * kDim; i < keys.size(); ++i) keys[i] = 4 * rng.Float() - 2;
    codes.Append(keys.data() + size * kDim, 50 - size);
    KeyCodes fresh(kDim, channels);
    fresh.Append(keys.data(), 50);
    for (uint64_t i = 0; i < 50; ++i) {
      for (uint32_t c = 0; c < kDim; ++c) EXPECT_EQ(codes.Decoded(i, c), fresh.Decoded(i, c));
    }
  }
}

TEST(KeyCodes, AllChannelsAlike_StoredAsTheyAre) {
  const std::vector<float> keys(16, 0.75f);
  KeyCodes codes(16, {0, 5, 15});
  codes.Append(keys.data(), 1);
  for (uint32_t c = 0; c < 3; ++c) EXPECT_EQ(codes.Decoded(0, c), 0.75f);
}

}  // namespace
}  // namespace pith
