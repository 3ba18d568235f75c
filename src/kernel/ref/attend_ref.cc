#include "kernel/ref/attend_ref.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace pith {
namespace {

struct Entries {
  std::vector<float> keys;    // [entry][key_dim]
  std::vector<float> values;  // [entry][value_dim]
  std::vector<int32_t> positions;
  size_t num_pages = 0;  // of both lists
};

void LoadPages(Side side, std::span<const PageView> pages, uint32_t dim, std::vector<float>* rows) {
  for (const PageView& page : pages) {
    const size_t first = rows->size();
    rows->resize(first + size_t{page.count} * dim);
    page.form->load(side, page.data, page.shape, 0, page.count, rows->data() + first, dim);
  }
}

Entries LoadEntries(const AttendShape& shape, const HeadView& head) {
  Entries entries;
  LoadPages(Side::kKeys, head.keys, shape.key_dim, &entries.keys);
  LoadPages(Side::kValues, head.values, shape.value_dim, &entries.values);
  for (const PageView& page : head.keys) {
    for (uint32_t i = 0; i < page.count; ++i) entries.positions.push_back(page.Position(i));
  }
  entries.num_pages = head.keys.size() + head.values.size();
  return entries;
}

// What rounding to f32 (unit u) may do to a weighted sum over n entries, relative to the sum of
// weighted magnitudes. `score_error` is the error of a score in units of log2, up to the rounding
// of differences, which adds 126 u at most (smaller weights are flushed). Each of the t tiles
// rescales earlier results once.
double RelativeBound(double score_error, double n, double t) {
  const double u = std::ldexp(1.0, -24);
  const double weight = std::numbers::ln2 * (2 * score_error + 2 * 126 * u) + (6 * t + 4) * u;
  return 1.01 * (2 * weight + 2 * (n + t + 10) * u);
}

// What a row sees of one head.
struct Seen {
  std::vector<const float*> keys, values;
  std::vector<double> biases;  // of the scores
};

Seen FindSeen(const AttendShape& shape, const Entries& entries, const AttendExtra& extra,
              int64_t position) {
  Seen seen;
  for (size_t e = 0; e < entries.positions.size(); ++e) {
    const int64_t at = entries.positions[e];
    if (at > position || (shape.window > 0 && at <= position - shape.window)) continue;
    seen.keys.push_back(entries.keys.data() + e * shape.key_dim);
    seen.values.push_back(entries.values.data() + e * shape.value_dim);
    seen.biases.push_back(0);
  }
  if (extra.count == 0) return seen;
  seen.keys.push_back(extra.key);
  seen.values.push_back(extra.value);
  seen.biases.push_back(std::log(static_cast<double>(extra.count)));
  return seen;
}

void AttendLine(const AttendShape& shape, const Entries& entries, const AttendExtra& extra,
                int64_t position, const float* q, double* out, double* bound) {
  const double u = std::ldexp(1.0, -24);
  const Seen seen = FindSeen(shape, entries, extra, position);
  if (seen.keys.empty()) return;
  std::vector<double> scores;
  double score_error = 0;
  for (size_t i = 0; i < seen.keys.size(); ++i) {
    double dot = 0, magnitude = 0;
    for (uint32_t c = 0; c < shape.key_dim; ++c) {
      dot += double{q[c]} * seen.keys[i][c];
      magnitude += std::abs(double{q[c]} * seen.keys[i][c]);
    }
    scores.push_back(shape.scale * dot + seen.biases[i]);
    score_error =
        std::max(score_error, (shape.key_dim + 5) * u * std::numbers::log2e *
                                  (std::abs(double{shape.scale}) * magnitude + seen.biases[i]));
  }
  const double maximum = *std::max_element(scores.begin(), scores.end());
  double sum = 0;
  for (double& score : scores) sum += score = std::exp(score - maximum);
  std::vector<double> magnitude(shape.value_dim, 0.0);
  for (size_t i = 0; i < seen.keys.size(); ++i) {
    for (uint32_t c = 0; c < shape.value_dim; ++c) {
      out[c] += scores[i] / sum * seen.values[i][c];
      magnitude[c] += scores[i] / sum * std::abs(seen.values[i][c]);
    }
  }
  const double n = static_cast<double>(entries.positions.size());
  const double tiles = static_cast<double>(entries.num_pages) + n / 64 + 2;
  const double relative = RelativeBound(score_error, static_cast<double>(seen.keys.size()), tiles);
  for (uint32_t c = 0; c < shape.value_dim; ++c) bound[c] = relative * magnitude[c] + 1e-30;
}

}  // namespace

AttendTruth AttendReference(const AttendShape& shape, std::span<const AttendSequence> sequences,
                            const float* q, size_t q_row_stride, size_t num_rows) {
  const size_t size = num_rows * shape.num_query_heads * shape.value_dim;
  AttendTruth truth{std::vector<double>(size, 0.0), std::vector<double>(size, 0.0)};
  for (const AttendSequence& sequence : sequences) {
    for (uint32_t kv_head = 0; kv_head < shape.num_kv_heads; ++kv_head) {
      const Entries entries = LoadEntries(shape, sequence.heads[kv_head]);
      const AttendExtra extra = sequence.extras.empty() ? AttendExtra{} : sequence.extras[kv_head];
      for (size_t r = 0; r < sequence.positions.size(); ++r) {
        const size_t row = sequence.first_row + r;
        for (uint32_t g = 0; g < shape.group(); ++g) {
          const size_t head = size_t{kv_head} * shape.group() + g;
          const size_t at = (row * shape.num_query_heads + head) * shape.value_dim;
          AttendLine(shape, entries, extra, sequence.positions[r],
                     q + row * q_row_stride + head * shape.key_dim, truth.out.data() + at,
                     truth.bound.data() + at);
        }
      }
    }
  }
  return truth;
}

}  // namespace pith
