#include "base/progress.h"

#include <gtest/gtest.h>

namespace pith {
namespace {

TEST(FormatProgress, WideLine_ShowsBarPercentRateAndTimeLeft) {
  // 250 of 1,000 in 5 s: 25 %, 50 a second, 750 / 50 = 15 s left; a quarter of 30 columns is 7
  // whole ones.
  EXPECT_EQ(FormatProgress("reading", "tok", 250, 1000, 5.0, 120),
            "reading [#######                       ]   25 %     50 tok/s   0:15 left");
}

TEST(FormatProgress, MinutesLeft_PrintsMinutesAndSeconds) {
  // 10 of 1,000 in 1 s: 99 s left.
  EXPECT_EQ(FormatProgress("x", "tok", 10, 1000, 1.0, 34), "x   1 %     10 tok/s   1:39 left");
}

TEST(FormatProgress, AnyWidth_NeverExceedsIt) {
  for (size_t width = 1; width < 130; ++width) {
    for (size_t done : {1, 500, 1000}) {
      EXPECT_LE(FormatProgress("reading the prompt", "tok", done, 1000, 3.3, width).size(), width);
    }
  }
}

TEST(FormatProgress, Done_FillsTheBar) {
  EXPECT_EQ(FormatProgress("a", "tok", 8, 8, 4.0, 120),
            "a [" + std::string(30, '#') + "]  100 %      2 tok/s   0:00 left");
}

}  // namespace
}  // namespace pith
