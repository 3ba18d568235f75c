// Every score that looks at attention, against the plain way in float64: the whole matrix first,
// then the definition. The head has gaps in its positions, as after an eviction.
#include <algorithm>
#include <functional>
#include <numeric>

#include "base/rng.h"
#include "method/golden_case.h"
#include "method/rkv.h"

namespace pith {
namespace {

constexpr uint32_t kGroup = 3, kDim = 20, kValueDim = 12;
constexpr size_t kEntries = 67, kRows = 40;
using Row = std::vector<double>;
using Matrix = std::vector<Row>;  // [row][entry]

struct RandomHead {
  RandomHead() {
    Rng rng(21);
    // The last kRows positions are all there, and every third or so before them.
    for (int32_t p = 0; positions.size() < kEntries - kRows; p += 1 + rng.Below(5)) {
      positions.push_back(p);
    }
    for (size_t i = 0; i < kRows; ++i) {
      positions.push_back(positions.back() + 1);
      rows.push_back(positions.back());
    }
    keys = Values(rng, kEntries * kDim);
    values = Values(rng, kEntries * kValueDim);
    queries = Values(rng, kGroup * kRows * kDim);
    for (uint32_t q = 0; q < kGroup; ++q) {
      attention.push_back(Attention(q));
      std::vector<float>& sums = column_sums.emplace_back(kEntries);
      for (const Row& row : attention[q]) {
        for (size_t j = 0; j < kEntries; ++j) sums[j] += static_cast<float>(row[j]);
      }
    }
  }

  static std::vector<float> Values(Rng& rng, size_t count) {
    std::vector<float> values(count);
    for (float& v : values) v = 4 * rng.Float() - 2;
    return values;
  }

  double Logit(uint32_t q, size_t row, size_t entry) const {
    double dot = 0;
    for (size_t c = 0; c < kDim; ++c) {
      dot += double{queries[(q * kRows + row) * kDim + c]} * keys[entry * kDim + c];
    }
    return dot * scale;
  }

  Matrix Attention(uint32_t q) const {
    Matrix matrix(kRows, Row(kEntries));
    for (size_t i = 0; i < kRows; ++i) {
      double total = 0;
      for (size_t j = 0; j < kEntries && positions[j] <= rows[i]; ++j) {
        total += matrix[i][j] = std::exp(Logit(q, i, j));
      }
      for (double& p : matrix[i]) p /= total;
    }
    return matrix;
  }

  HeadInput Input() const {
    return {.group = kGroup,
            .budget = 30,
            .length = positions.back() + 1,
            .key_dim = kDim,
            .value_dim = kValueDim,
            .scale = scale,
            .positions = positions,
            .keys = keys,
            .values = values,
            .queries = queries,
            .query_positions = rows,
            .column_sums = column_sums};
  }

  float scale = 0.25f;
  std::vector<int32_t> positions, rows;
  std::vector<float> keys, values, queries;
  std::vector<Matrix> attention;  // [query head]
  std::vector<std::vector<float>> column_sums;
};

// The mean over the group of what `of_head` makes of each head's attention.
Row GroupMean(const RandomHead& head, const std::function<Row(const Matrix&)>& of_head) {
  Row mean;
  for (const Matrix& matrix : head.attention) {
    const Row row = of_head(matrix);
    mean.resize(row.size());
    for (size_t j = 0; j < row.size(); ++j) mean[j] += row[j] / kGroup;
  }
  return mean;
}

// The sum over rows of weight(rows until the end) times attention; `width` entries.
Row WeightedSum(const Matrix& matrix, size_t width, const std::function<double(size_t)>& weight) {
  Row sum(width);
  for (size_t i = 0; i < kRows; ++i) {
    for (size_t j = 0; j < width; ++j) sum[j] += weight(kRows - 1 - i) * matrix[i][j];
  }
  return sum;
}

Row WindowMean(const Matrix& matrix, size_t window) {
  return WeightedSum(matrix, kEntries - window, [&](size_t age) {
    return age < window ? 1.0 / static_cast<double>(window) : 0.0;
  });
}

Row Pool(const Row& in, size_t kernel, bool max) {
  Row out(in.size());
  for (size_t j = 0; j < in.size(); ++j) {
    double sum = 0, highest = -HUGE_VAL;
    for (size_t i = 0; i < in.size(); ++i) {
      if (i + kernel / 2 < j || i > j + kernel / 2) continue;
      sum += in[i];
      highest = std::max(highest, in[i]);
    }
    out[j] = max ? highest : sum / static_cast<double>(kernel);
  }
  return out;
}

Row SnapKv(const RandomHead& head) {
  return GroupMean(head, [](const Matrix& m) { return Pool(WindowMean(m, 8), 5, true); });
}

Row ReducedFirst(const RandomHead& head) {
  Row highest(kEntries - 8);
  for (const Matrix& matrix : head.attention) {
    const Row mean = WindowMean(matrix, 8);
    for (size_t j = 0; j < mean.size(); ++j) highest[j] = std::max(highest[j], mean[j]);
  }
  return Pool(highest, 5, false);
}

Row Tova(const RandomHead& head) {
  return GroupMean(head, [](const Matrix& m) { return m.back(); });
}

Row H2o(const RandomHead& head) {
  return GroupMean(
      head, [](const Matrix& m) { return WeightedSum(m, kEntries, [](size_t) { return 1.0; }); });
}

Row H2oByAge(const RandomHead& head) {
  Row scores = H2o(head);
  for (size_t j = 0; j < kEntries; ++j) {
    scores[j] /= head.positions.back() + 1 - head.positions[j];
  }
  return scores;
}

Row A2sf(const RandomHead& head) {
  return GroupMean(head, [](const Matrix& m) {
    return WeightedSum(m, kEntries,
                       [](size_t age) { return std::pow(0.9, static_cast<double>(age)); });
  });
}

Row TimesValues(const RandomHead& head, Row scores) {
  for (size_t j = 0; j < scores.size(); ++j) {
    double size = 0;
    for (size_t c = 0; c < kValueDim; ++c) size += std::abs(head.values[j * kValueDim + c]);
    scores[j] *= size;
  }
  return scores;
}

Row Scissorhands(const RandomHead& head) {
  Row scores(kEntries);
  for (const Matrix& matrix : head.attention) {
    for (size_t i = kRows - 25; i < kRows; ++i) {
      for (size_t j = 0; j < kEntries; ++j) {
        const bool seen = head.positions[j] <= head.rows[i];
        if (!seen || matrix[i][j] >= 1.0 / (head.rows[i] + 1)) scores[j] += 1;
        scores[j] += 0.5 * matrix[i][j] / (25 * kGroup);
      }
    }
  }
  return scores;
}

void Softmax(Row* row) {
  double total = 0;
  for (double& x : *row) total += x = std::exp(x);
  for (double& x : *row) x /= total;
}

Row Rkv(const RandomHead& head) {
  constexpr size_t kBody = kEntries - 8;
  Row mean(kBody);
  for (size_t i = kRows - 8; i < kRows; ++i) {
    Row row(kBody, -HUGE_VAL);
    for (size_t j = 0; j < kBody; ++j) {
      for (uint32_t q = 0; q < kGroup; ++q) row[j] = std::max(row[j], head.Logit(q, i, j));
    }
    Softmax(&row);
    for (size_t j = 0; j < kBody; ++j) mean[j] += row[j] / 8;
  }
  Row scores = Pool(mean, 5, true);
  Row redundancy = MeanSimilarity(head.keys, kDim);  // which has a test of its own
  Softmax(&redundancy);
  for (size_t j = 0; j < kBody; ++j) scores[j] = 0.3 * scores[j] - 0.7 * redundancy[j];
  return scores;
}

Row Cake(const RandomHead& head) {
  return GroupMean(head, [](const Matrix& m) {
    Row scores = WindowMean(m, 8);
    for (size_t j = 0; j < scores.size(); ++j) {
      double squares = 0;
      for (size_t i = kRows - 8; i < kRows; ++i) squares += std::pow(m[i][j] - scores[j], 2);
      scores[j] += 200 * squares / 7;
    }
    return Pool(scores, 5, false);
  });
}

struct Case {
  const char* name;
  const char* part;
  std::vector<ParameterValue> parameters;
  size_t num_protected;  // the newest ones
  Row (*truth)(const RandomHead& head);
};

TEST(AttentionScores, AsFromTheWholeMatrix) {
  const std::vector<Case> cases = {
      {"snapkv",
       "snapkv",
       {Number(8), Number(5), Word("max"), Word("mean"), Word("pool")},
       8,
       SnapKv},
      {"snapkv, reduced first",
       "snapkv",
       {Number(8), Number(5), Word("mean"), Word("max"), Word("reduce")},
       8,
       ReducedFirst},
      {"tova", "tova", {Number(0), Number(0)}, 0, Tova},
      {"h2o", "h2o", {Number(0.5), Word("none")}, 15, H2o},
      {"h2o by age", "h2o", {Number(0), Word("age")}, 0, H2oByAge},
      {"a2sf", "a2sf", {Number(0.9), Number(0), Number(16)}, 16, A2sf},
      {"vatp on h2o",
       "vatp",
       {Word("h2o"), Number(0), Number(0.5), Number(32)},
       15,
       [](const RandomHead& head) { return TimesValues(head, H2o(head)); }},
      {"vatp on snapkv",
       "vatp",
       {Word("snapkv"), Number(0), Number(0.5), Number(8)},
       8,
       [](const RandomHead& head) {
         return TimesValues(head, GroupMean(head, [](const Matrix& m) {
                              return Pool(WindowMean(m, 8), 7, true);
                            }));
       }},
      {"scissorhands", "scissorhands", {Number(25), Number(10)}, 10, Scissorhands},
      {"rkv", "rkv", {Number(0.3), Number(8), Number(5)}, 8, Rkv},
      {"cake", "cake", {Number(8), Number(200), Number(5)}, 8, Cake},
  };
  const RandomHead head;
  for (const Case& c : cases) {
    const Part* part = FindPart(Stage::kScore, c.part);
    ASSERT_EQ(c.parameters.size(), part->parameters.size()) << c.name;
    std::vector<float> scores(kEntries);
    part->score(head.Input(), c.parameters, scores);
    const Row truth = c.truth(head);
    double largest = 0;
    for (size_t j = 0; j + c.num_protected < kEntries; ++j) {
      largest = std::max(largest, std::abs(truth[j]));
    }
    for (size_t j = 0; j < kEntries; ++j) {
      if (j + c.num_protected < kEntries) {
        EXPECT_NEAR(scores[j], truth[j], 1e-5 * largest) << c.name << " " << j;
      } else {
        EXPECT_EQ(scores[j], kProtected) << c.name << " " << j;
      }
    }
  }
}

}  // namespace
}  // namespace pith
