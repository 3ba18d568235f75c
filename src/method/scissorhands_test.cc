#include "method/golden_case.h"

namespace pith {
namespace {

// One query head with one channel. Row r stands at rows[r] and gives exp(query * key) shares.
std::vector<float> ScoresOf(const std::vector<int32_t>& positions, const std::vector<float>& keys,
                            const std::vector<int32_t>& rows, double history, double recent) {
  const std::vector<float> queries(rows.size(), 1.0f);
  HeadInput head;
  head.key_dim = 1;
  head.positions = positions;
  head.keys = keys;
  head.queries = queries;
  head.query_positions = rows;
  std::vector<float> scores(positions.size());
  const std::vector<ParameterValue> parameters = {Number(history), Number(recent)};
  FindPart(Stage::kScore, "scissorhands")->score(head, parameters, scores);
  return scores;
}

std::vector<float> Logs(const std::vector<float>& shares) {
  std::vector<float> logs;
  for (const float s : shares) logs.push_back(std::log(s));
  return logs;
}

void ExpectNear(const std::vector<float>& scores, const std::vector<double>& expected) {
  ASSERT_EQ(scores.size(), expected.size());
  for (size_t j = 0; j < scores.size(); ++j) EXPECT_NEAR(scores[j], expected[j], 1e-5) << j;
}

TEST(Scissorhands, OneQuery_CountsMoreThanAnEqualShare) {
  const auto keys = Logs({.5f, .1f, .3f, .1f});
  // Four tokens: an equal share is 1/4. What was given stands behind the point, halved.
  ExpectNear(ScoresOf({0, 1, 2, 3}, keys, {3}, 400, 0), {1.25, 0.05, 1.15, 0.05});
  // Evicted tokens count in the share: with 8 tokens it is 1/8, with 16 less than any.
  ExpectNear(ScoresOf({0, 1, 6, 7}, keys, {7}, 400, 0), {1.25, 0.05, 1.15, 0.05});
  ExpectNear(ScoresOf({0, 1, 6, 15}, keys, {15}, 400, 0), {1.25, 1.05, 1.15, 1.05});
}

TEST(Scissorhands, EntryThatAQueryDoesNotSee_IsNotPassedOver) {
  // Row 1 sees the first two entries, with shares 5/6 and 1/6 of an equal 1/2.
  ExpectNear(ScoresOf({0, 1, 2, 3}, Logs({.5f, .1f, .3f, .1f}), {1, 3}, 400, 0),
             {2 + (5.0 / 6 + .5) / 4, (1.0 / 6 + .1) / 4, 2 + .3 / 4, 1 + .1 / 4});
}

TEST(Scissorhands, HistoryAndRecent) {
  const auto keys = Logs({.5f, .1f, .3f, .1f});
  const auto scores = ScoresOf({0, 1, 2, 3}, keys, {1, 3}, 1, 2);  // the last query only
  EXPECT_NEAR(scores[0], 1.25, 1e-5);
  EXPECT_NEAR(scores[1], 0.05, 1e-5);
  ExpectProtected(scores, {2, 3});
}

}  // namespace
}  // namespace pith
