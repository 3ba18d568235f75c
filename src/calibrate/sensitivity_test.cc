#include "calibrate/sensitivity.h"

#include <gtest/gtest.h>

#include "calibrate/test_engine.h"
#include "make_model/make_model.h"

namespace pith {
namespace {

// Divergences at 8, 4 and 2 bits.
TEST(ChooseBits, BuysTheLargestDropPerBit) {
  // Keys: layer 0 gains 6 from 4 bits and 0.4 more from 8; layer 1 gains nothing. Values: layer 0
  // gains only from 8 bits.
  const Sensitivity sensitivity{{0, .4f, 6.4f, 1, 1, 1}, {1, 10, 10, 2, 3, 4}};
  const auto bits = [&](double average) {
    const LayerBits chosen = ChooseBits(sensitivity, 64, 64, average);
    std::vector<float> all = chosen.keys;
    all.insert(all.end(), chosen.values.begin(), chosen.values.end());
    return all;
  };
  using Bits = std::vector<float>;  // keys of both layers, then values
  EXPECT_EQ(bits(2), (Bits{2, 2, 2, 2}));
  EXPECT_EQ(bits(2.5), (Bits{4, 2, 2, 2})) << "6 for two bits: 3 for each";
  EXPECT_EQ(bits(3.9), (Bits{4, 2, 2, 4})) << "no room for 8 bits, which would gain 1.5 for each";
  EXPECT_EQ(bits(4), (Bits{4, 2, 8, 2}));
  EXPECT_EQ(bits(8), (Bits{8, 2, 8, 8})) << "nothing is spent where nothing is gained";
  // Keys of half the length are half as dear.
  EXPECT_EQ(ChooseBits(sensitivity, 32, 64, 2.34).keys, (Bits{4, 2}));
  EXPECT_EQ(ChooseBits(sensitivity, 32, 64, 2.33).keys, (Bits{2, 2}));
}

TEST(Sensitivity, FewerBitsCostMore) {
  const auto engine =
      MadeEngine([](const std::string& path) { return MakeModel({.layers = 3}, path); });
  TextRequest request;
  request.count = 2;
  request.length = 256;
  const auto pieces = TextPieces(*engine, request);
  ASSERT_TRUE(pieces) << pieces.error().Message();
  const auto sensitivity = MeasureSensitivity(*engine, *pieces);
  ASSERT_TRUE(sensitivity) << sensitivity.error().Message();
  for (const auto* side : {&sensitivity->keys, &sensitivity->values}) {
    ASSERT_EQ(side->size(), 3 * engine->model().shape().num_layers);
    for (size_t i = 0; i < side->size(); i += 3) {
      EXPECT_GT((*side)[i], 0);
      EXPECT_GT((*side)[i + 1], 4 * (*side)[i]) << "16 times the step, 256 times the square";
      EXPECT_GT((*side)[i + 2], 4 * (*side)[i + 1]);
    }
  }
}

}  // namespace
}  // namespace pith
