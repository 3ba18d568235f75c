#include <gtest/gtest.h>

#include <Eigen/SVD>
#include <cmath>
#include <numeric>
#include <vector>

#include "base/rng.h"
#include "method/method.h"

namespace pith {
namespace {

using Matrix = Eigen::MatrixXd;

struct Mixtures {
  Matrix encode, decode;  // [stored][dim], [dim][stored]
};

Mixtures Mix(const Matrix& queries, const Matrix& keys, uint32_t count) {
  const auto dim = static_cast<size_t>(keys.cols());
  std::vector<float> rows, encode(count * dim), decode(count * dim);
  for (Eigen::Index r = 0; r < queries.rows(); ++r) {
    for (Eigen::Index c = 0; c < queries.cols(); ++c) {
      rows.push_back(static_cast<float>(queries(r, c)));
    }
  }
  const Matrix covariance = keys.transpose() * keys / static_cast<double>(keys.rows());
  FindPart(Stage::kChannels, "kqsvd")
      ->mix_channels({rows, {covariance.data(), dim * dim}}, count, encode, decode);
  Mixtures mixtures{Matrix(count, dim), Matrix(dim, count)};
  for (uint32_t i = 0; i < count; ++i) {
    for (size_t c = 0; c < dim; ++c) {
      const auto channel = static_cast<Eigen::Index>(c);
      mixtures.encode(i, channel) = encode[i * dim + c];
      mixtures.decode(channel, i) = decode[c * count + i];
    }
  }
  return mixtures;
}

Matrix Normal(Rng& rng, Eigen::Index rows, Eigen::Index cols) {
  Matrix m(rows, cols);
  for (Eigen::Index r = 0; r < rows; ++r) {
    for (Eigen::Index c = 0; c < cols; ++c) m(r, c) = rng.Normal();
  }
  return m;
}

// Keys and queries whose channels depend on each other and differ in size.
struct Data {
  static constexpr Eigen::Index kDim = 16;
  Rng rng{5};
  Matrix queries = Normal(rng, 40, kDim) * Normal(rng, kDim, kDim);
  Matrix keys = Normal(rng, 90, kDim) * Normal(rng, kDim, kDim);

  // Of the products of all queries and keys, as a sum of squares.
  double Lost(const Mixtures& mixtures) const {
    const Matrix read = keys * mixtures.encode.transpose() * mixtures.decode.transpose();
    return ((keys - read) * queries.transpose()).squaredNorm();
  }
};

// Eckart and Young: no matrix of that rank is nearer to the products.
TEST(KqSvd, Products_LoseWhatTheirOwnSvdLoses) {
  const Data data;
  const Eigen::JacobiSVD<Matrix> truth(data.keys * data.queries.transpose());
  for (const uint32_t count : {1u, 4u, 8u, 15u}) {
    const double least = truth.singularValues().tail(40 - count).squaredNorm();
    const double lost = data.Lost(Mix(data.queries, data.keys, count));
    EXPECT_GE(lost, least * (1 - 1e-4)) << count;
    EXPECT_LE(lost, least * 1.01 + 1e-6 * truth.singularValues().squaredNorm()) << count;
  }
}

// Dropping channels is one such mixture, whichever they are.
TEST(KqSvd, Products_LoseLessThanByAnyChoiceOfChannels) {
  const Data data;
  const double lost = data.Lost(Mix(data.queries, data.keys, 14));
  for (Eigen::Index a = 0; a < Data::kDim; ++a) {
    for (Eigen::Index b = a + 1; b < Data::kDim; ++b) {
      const Matrix dropped = data.keys.col(a) * data.queries.col(a).transpose() +
                             data.keys.col(b) * data.queries.col(b).transpose();
      EXPECT_LT(lost, dropped.squaredNorm());
    }
  }
}

TEST(KqSvd, Numbers_HaveUnitVarianceAndReadBackAsThemselves) {
  const Data data;
  const Mixtures mixtures = Mix(data.queries, data.keys, 6);
  EXPECT_LT((mixtures.encode * mixtures.decode - Matrix::Identity(6, 6)).norm(), 1e-4);
  const Matrix numbers = data.keys * mixtures.encode.transpose();
  const Matrix covariance = numbers.transpose() * numbers / static_cast<double>(data.keys.rows());
  EXPECT_LT((covariance - Matrix::Identity(6, 6)).norm(), 0.05);
}

TEST(KqSvd, AllNumbers_ReadAsTheKey) {
  const Data data;
  const Mixtures mixtures = Mix(data.queries, data.keys, Data::kDim);
  EXPECT_LT((mixtures.decode * mixtures.encode - Matrix::Identity(16, 16)).norm(), 1e-3);
}

TEST(KqSvd, NothingToSee_IsNoReasonForNans) {
  const Mixtures without_queries = Mix(Matrix(0, 8), Matrix::Ones(5, 8), 4);
  const Mixtures without_keys = Mix(Matrix::Zero(3, 8), Matrix::Zero(5, 8), 4);
  for (const Mixtures& mixtures : {without_queries, without_keys}) {
    EXPECT_TRUE(mixtures.encode.allFinite());
    EXPECT_TRUE(mixtures.decode.allFinite());
    EXPECT_LT((mixtures.encode * mixtures.decode - Matrix::Identity(4, 4)).norm(), 1e-4);
  }
}

}  // namespace
}  // namespace pith
