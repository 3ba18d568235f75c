#include <gtest/gtest.h>

#include <utility>
#include <vector>

#include "eval/metric/porter.h"
#include "eval/metric/scores.h"

namespace pith {
namespace {

TEST(PorterStem, Words_FollowThePublishedRules) {
  // Examples of the steps of Porter's paper, carried through all steps by hand.
  const std::vector<std::pair<const char*, const char*>> kStems = {
      {"caresses", "caress"},    {"ponies", "poni"},        {"cats", "cat"},
      {"feed", "feed"},          {"agreed", "agre"},        {"plastered", "plaster"},
      {"bled", "bled"},          {"motoring", "motor"},     {"sing", "sing"},
      {"conflated", "conflat"},  {"sized", "size"},         {"hopping", "hop"},
      {"falling", "fall"},       {"hissing", "hiss"},       {"filing", "file"},
      {"happy", "happi"},        {"relational", "relat"},   {"conditional", "condit"},
      {"digitizer", "digit"},    {"radicalli", "radic"},    {"vietnamization", "vietnam"},
      {"triplicate", "triplic"}, {"formative", "form"},     {"electrical", "electr"},
      {"hopeful", "hope"},       {"goodness", "good"},      {"revival", "reviv"},
      {"adjustable", "adjust"},  {"replacement", "replac"}, {"adoption", "adopt"},
      {"probate", "probat"},     {"rate", "rate"},          {"cease", "ceas"},
      {"controll", "control"},   {"roll", "roll"},
  };
  for (const auto& [word, stem] : kStems) EXPECT_EQ(PorterStem(word), stem) << word;
}

TEST(PorterStem, Exceptions_FollowNltk) {
  // Where NLTK (3.9's PorterStemmer) departs from the paper.
  const std::vector<std::pair<const char*, const char*>> kStems = {
      {"skies", "sky"}, {"dying", "die"},     {"news", "news"},      {"innings", "inning"},
      {"ties", "tie"},  {"died", "die"},      {"spied", "spi"},      {"enjoy", "enjoy"},
      {"by", "by"},     {"exceed", "exceed"}, {"geology", "geolog"}, {"hopefully", "hope"},
  };
  for (const auto& [word, stem] : kStems) EXPECT_EQ(PorterStem(word), stem) << word;
}

TEST(Rouge1, StemsOfLongWords_GiveF1) {
  Item item;
  item.answers = {"Cats were running; they ran."};
  EXPECT_EQ(Rouge1("cat were run they ran", item), 1);
  // Tokens of 3 letters are not stemmed: "its" stays; 1 of 2 and 1 of 5.
  item.answers = {"a b c d its"};
  EXPECT_NEAR(Rouge1("its it", item), 2 * 0.5 * 0.2 / 0.7, 1e-12);
  EXPECT_EQ(Rouge1("", item), 0);
}

TEST(Rouge1Recall, WordsOfTheReference_CountedOnce) {
  Item item;
  item.answers = {"Cats ran and cats ate."};
  EXPECT_DOUBLE_EQ(Rouge1Recall("cat cat cat ran, quite far", item), 3.0 / 5);
  EXPECT_EQ(Rouge1Recall("and they ate: cats ran, cats", item), 1);
  EXPECT_EQ(Rouge1Recall("", item), 0);
}

}  // namespace
}  // namespace pith
