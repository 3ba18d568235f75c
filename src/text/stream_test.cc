#include "text/stream.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "text/utf8.h"

namespace pith {
namespace {

// The truth, byte by byte: the first stop string to be completed ends the text where it begins.
struct Expected {
  std::string text;
  bool stopped = false;
};

Expected Reference(const std::string& text, const std::vector<std::string>& stops) {
  std::string seen;
  for (const char byte : text) {
    seen += byte;
    size_t longest = 0;
    for (const std::string& stop : stops) {
      if (seen.ends_with(stop)) longest = std::max(longest, stop.size());
    }
    if (longest > 0) return {seen.substr(0, seen.size() - longest), true};
  }
  return {text, false};
}

// Feeds `text` cut after byte i wherever bit i of `cuts` is set.
Expected Feed(const std::string& text, const std::vector<std::string>& stops, uint32_t cuts) {
  TextStream stream(stops);
  Expected got;
  std::string piece;
  for (size_t i = 0; i < text.size(); ++i) {
    piece += text[i];
    if ((cuts >> i & 1) == 0 && i + 1 < text.size()) continue;
    const std::string shown = stream.Add(piece);
    EXPECT_EQ(FindInvalidUtf8(shown), std::string::npos);
    got.text += shown;
    piece.clear();
  }
  got.text += stream.Finish();
  got.stopped = stream.stopped();
  return got;
}

struct Case {
  std::string text;
  std::vector<std::string> stops;
};

TEST(TextStream, EverySplit_GivesTheSameText) {
  const std::vector<Case> cases = {
      {"hello world", {}},
      {"hello world", {"o w"}},
      {"hello world", {"xyz", "lo"}},
      {"abcabcabd", {"abcabd"}},             // the beginning repeats inside the stop string
      {"aaaaab", {"aab"}},                   //
      {"abcd", {"abcd", "bc"}},              // "bc" is complete first
      {"xabcd", {"abcd", "cd"}},             // both complete together: the longer one counts
      {"ab\nUser: x", {"\nUser:", "\n\n"}},  //
      {"stop", {"stop"}},                    // nothing before it
      {"end st", {"stop"}},                  // a beginning only
      {"a\xC3\xA9 \xE2\x82\xAC \xF0\x9F\x98\x80", {"\xE2\x82\xAC"}},
      {"\xC3\xA9\xE2\x82\xAC", {"\xE2\x82\xAD"}},  // shares two bytes with a stop string
  };
  for (const Case& c : cases) {
    const Expected expected = Reference(c.text, c.stops);
    for (uint32_t cuts = 0; cuts < 1u << (c.text.size() - 1); ++cuts) {
      const Expected got = Feed(c.text, c.stops, cuts);
      ASSERT_EQ(got.text, expected.text) << c.text << " cuts " << cuts;
      ASSERT_EQ(got.stopped, expected.stopped) << c.text << " cuts " << cuts;
    }
  }
}

TEST(TextStream, AllShortTexts_MatchTheReference) {
  const std::vector<std::vector<std::string>> stop_sets = {
      {"ab"}, {"aba", "bb"}, {"aab", "ab", "b"}, {"abab", "ba"}, {"aaaa"}};
  for (const auto& stops : stop_sets) {
    for (uint32_t word = 0; word < 1u << 8; ++word) {
      std::string text;
      for (int i = 0; i < 8; ++i) text += (word >> i & 1) != 0 ? 'b' : 'a';
      const Expected expected = Reference(text, stops);
      for (uint32_t cuts = 0; cuts < 1u << 7; ++cuts) {
        const Expected got = Feed(text, stops, cuts);
        ASSERT_EQ(got.text, expected.text) << text << " cuts " << cuts;
        ASSERT_EQ(got.stopped, expected.stopped) << text;
      }
    }
  }
}

TEST(TextStream, NothingToHold_ShownAtOnce) {
  TextStream stream({"###"});
  EXPECT_EQ(stream.Add("hello"), "hello");
  EXPECT_EQ(stream.Add(" #"), " ");
  EXPECT_EQ(stream.Add("1"), "#1");
}

TEST(TextStream, HalfCharacter_HeldThenReplacedAtTheEnd) {
  TextStream stream({});
  EXPECT_EQ(stream.Add("x\xF0\x9F"), "x");
  EXPECT_EQ(stream.Add("\x98"), "");
  EXPECT_EQ(stream.Finish(), "\xEF\xBF\xBD");
  EXPECT_FALSE(stream.stopped());
}

TEST(TextStream, InvalidBytes_BecomeReplacementCharacters) {
  TextStream stream({});
  EXPECT_EQ(stream.Add("a\x80"), "a\xEF\xBF\xBD");
  EXPECT_EQ(stream.Add("\xE2"), "");
  EXPECT_EQ(stream.Add("b"),
            "\xEF\xBF\xBD"
            "b");
}

TEST(TextStream, AfterAStop_NothingMore) {
  TextStream stream({"."});
  EXPECT_EQ(stream.Add("one. two"), "one");
  EXPECT_TRUE(stream.stopped());
  EXPECT_EQ(stream.Add("three"), "");
  EXPECT_EQ(stream.Finish(), "");
}

TEST(TextStream, EmptyStopString_IsTheCallersBug) {
  EXPECT_THROW(TextStream({""}), std::logic_error);
}

TEST(Utf8, InvalidSequences_FoundAtTheirOffset) {
  EXPECT_EQ(FindInvalidUtf8("plain \xC3\xA9 \xF4\x8F\xBF\xBF"), std::string::npos);
  EXPECT_EQ(FindInvalidUtf8("ab\xFF"), 2u);
  EXPECT_EQ(FindInvalidUtf8("ab\xC0\x80"), 2u);         // overlong
  EXPECT_EQ(FindInvalidUtf8("\xED\xA0\x80"), 0u);       // surrogate
  EXPECT_EQ(FindInvalidUtf8("a\xF4\x90\x80\x80"), 1u);  // above U+10FFFF
  EXPECT_EQ(FindInvalidUtf8("a\xE2\x82"), 1u);          // cut off
  EXPECT_EQ(FindInvalidUtf8("\xE0\x9F\xBF"), 0u);       // overlong
}

}  // namespace
}  // namespace pith
