#include <Eigen/Cholesky>
#include <Eigen/Eigenvalues>

#include "method/support.h"

namespace pith {
namespace {

constexpr ParameterInfo kParameters[] = {
    {.name = "ratio",
     .type = ParameterType::kNumber,
     .default_value = "0.5",
     .min = 0,
     .max = 0.95,
     .meaning = "share of a key's numbers that are dropped"},
    {.name = "window",
     .type = ParameterType::kInteger,
     .default_value = "32",
     .min = 1,
     .max = 512,
     .meaning = "newest entries, which keep all channels"},
    {.name = "queries",
     .type = ParameterType::kInteger,
     .default_value = "32",
     .min = 1,
     .max = 4096,
     .meaning = "newest tokens whose queries say which products matter"},
};

using Matrix = Eigen::MatrixXd;

// Directions that were never seen weigh a little, so that every mixture has an inverse.
Matrix Regularised(Matrix moments) {
  constexpr double kShare = 1e-4;
  const auto dim = static_cast<double>(moments.rows());
  const double trace = moments.trace();
  moments.diagonal().array() += trace > 0 ? kShare * trace / dim : 1;
  return moments;
}

Matrix QueryMoments(std::span<const float> queries, Eigen::Index dim) {
  if (queries.empty()) return Matrix::Identity(dim, dim);
  using Rows = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  const auto count = static_cast<Eigen::Index>(queries.size()) / dim;
  const Matrix rows = Eigen::Map<const Rows>(queries.data(), count, dim).cast<double>();
  return rows.transpose() * rows / static_cast<double>(count);
}

// An eigenvector may have either sign.
void SetSign(Eigen::Ref<Eigen::VectorXd> vector) {
  Eigen::Index largest = 0;
  vector.cwiseAbs().maxCoeff(&largest);
  if (vector[largest] < 0) vector = -vector;
}

// With C = L L' the covariance of the keys and G the moments of the queries, the products of all
// queries and keys lose least to the `count` numbers U' L^-1 k, of unit variance each, which read
// as L U: U are the first eigenvectors of L' G L (Eckart and Young, for the matrix of the
// products).
void Mix(const MixInput& head, uint32_t count, std::span<float> encode, std::span<float> decode) {
  const auto stored = static_cast<Eigen::Index>(count);
  const auto dim = static_cast<Eigen::Index>(decode.size()) / stored;
  const Matrix covariance =
      Regularised(Eigen::Map<const Matrix>(head.key_covariance.data(), dim, dim));
  const Matrix moments = Regularised(QueryMoments(head.queries, dim));
  const Eigen::LLT<Matrix> keys(covariance);
  const Matrix root = keys.matrixL();
  const Eigen::SelfAdjointEigenSolver<Matrix> products(root.transpose() * moments * root);
  Matrix first = products.eigenvectors().rightCols(stored).rowwise().reverse();
  for (Eigen::Index i = 0; i < stored; ++i) SetSign(first.col(i));
  const Matrix encoded = keys.matrixU().solve(first);  // [dim][stored]
  const Matrix decoded = root * first;
  for (Eigen::Index c = 0; c < dim; ++c) {
    for (Eigen::Index i = 0; i < stored; ++i) {
      encode[static_cast<size_t>(i * dim + c)] = static_cast<float>(encoded(c, i));
      decode[static_cast<size_t>(c * stored + i)] = static_cast<float>(decoded(c, i));
    }
  }
}

ChannelRule FromParameters(Parameters p) {
  return {.drop = p[0].number,
          .window = static_cast<uint32_t>(p[1].number),
          .queries = static_cast<uint32_t>(p[2].number),
          .means = true,
          .mixes = true};
}

}  // namespace

const MethodInfo& KqSvdMethod() {
  static constexpr Part kParts[] = {
      {.stage = Stage::kChannels,
       .name = "kqsvd",
       .summary = "keys become the mixtures of their channels that matter most to the last queries",
       .parameters = kParameters,
       .needs = "the queries of the last tokens",
       .gather =
           [](Parameters p) {
             return Needs{.window = p[0].number > 0 ? static_cast<uint32_t>(p[2].number) : 0};
           },
       .channel_rule = FromParameters,
       .mix_channels = Mix},
  };
  static constexpr MethodInfo kInfo = {
      .name = "kqsvd",
      .summary =
          "KQ-SVD: every entry stays, and its key becomes a few numbers, from which the products "
          "with queries are had directly. When the prompt has been read, each KV head takes the "
          "mixtures of channels that lose least of the products of the last queries with all keys: "
          "no choice of so many numbers, channels included, loses less of those. The keys' mean is "
          "kept beside them. The window and what is generated keep all channels. Goes with any "
          "eviction at the end of a prompt or later, which comes first, and with any store that "
          "does not rotate keys, which comes after.",
      .paper = "KQ-SVD: Compressing the KV Cache with Provable Guarantees on Attention Fidelity",
      .arxiv = "2512.05916",
      .parts = kParts,
      .recipe = "channels=kqsvd",
      .identity = "ratio=0",
  };
  return kInfo;
}

}  // namespace pith
