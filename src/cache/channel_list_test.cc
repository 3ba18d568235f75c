#include "cache/channel_list.h"

#include <gtest/gtest.h>

#include <vector>

namespace pith {
namespace {

using Row = std::vector<float>;

Row Narrowed(const ChannelList& list, Row row) {
  list.Narrow(row.data());
  row.resize(list.num_stored());
  return row;
}
Row Widened(const ChannelList& list, Row numbers) {
  numbers.resize(list.dim);
  list.Widen(numbers.data());
  return numbers;
}
Row Query(const ChannelList& list, const Row& row) {
  Row out(list.num_stored());
  list.NarrowQuery(row.data(), out.data());
  return out;
}

TEST(ChannelList, SomeChannels_TheOthersReadAsTheirMeans) {
  ChannelList list{.dim = 4, .kept = {1, 2}};
  EXPECT_EQ(Narrowed(list, {5, 6, 7, 8}), (Row{6, 7}));
  EXPECT_EQ(Widened(list, {6, 7}), (Row{0, 6, 7, 0}));
  list.means = {9, 0, 0, -1};
  EXPECT_EQ(Widened(list, {6, 7}), (Row{9, 6, 7, -1}));
  EXPECT_EQ(Query(list, {1, 2, 3, 4}), (Row{2, 3}));
}

// One number: half of the sum of both channels, less their means, which either channel reads as.
TEST(ChannelList, Mixtures_WorkedExample) {
  const ChannelList list{.dim = 2, .means = {1, 3}, .encode = {0.5f, 0.5f}, .decode = {1, 1}};
  EXPECT_TRUE(list.mixed());
  EXPECT_EQ(list.num_stored(), 1u);
  EXPECT_EQ(Narrowed(list, {4, 4}), (Row{2}));
  EXPECT_EQ(Widened(list, {2}), (Row{3, 5}));
  // (3, 5) . (10, 1) is 35: 13 of the means, and twice what the query became.
  EXPECT_EQ(Query(list, {10, 1}), (Row{11}));
  EXPECT_EQ(list.bytes(), 6 * sizeof(float));
}

}  // namespace
}  // namespace pith
