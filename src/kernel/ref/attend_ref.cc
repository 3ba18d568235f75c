#include "kernel/ref/attend_ref.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "codec/packed.h"

namespace pith {
namespace {

// How the numbers of an entry are made of codes: number = code * scale + minimum, or, for plain
// forms, scale 0 and the number itself as minimum. Taken from decoded numbers: in every group that
// is not constant the lowest and the highest number have the lowest and highest code (symmetric
// forms: the number of largest magnitude has the code farthest from zero).
struct Coded {
  double scale = 0, minimum = 0;
  double steps = 0;  // the magnitude of the code
};

Coded CodedGroup(const Packing& packing, double lowest, double highest) {
  if (packing.affine) return {(highest - lowest) / packing.max_code(), lowest};
  const double farthest = packing.bits == 8 ? 127 : packing.zero_code();
  return {std::max(std::abs(lowest), std::abs(highest)) / farthest, 0};
}

struct PageEntries {
  size_t first = 0, count = 0;
  const Packing* packing = nullptr;
};

struct SideEntries {
  uint32_t dim = 0;
  std::vector<float> rows;    // [entry][dim]
  std::vector<Coded> coding;  // [entry][dim]
  std::vector<PageEntries> pages;
};

// Marks the numbers at `at` as one group.
void SetCoding(const Packing& packing, std::span<const size_t> at, SideEntries* side) {
  double lowest = HUGE_VAL, highest = -HUGE_VAL;
  for (const size_t i : at) {
    lowest = std::min<double>(lowest, side->rows[i]);
    highest = std::max<double>(highest, side->rows[i]);
  }
  const Coded group = CodedGroup(packing, lowest, highest);
  for (const size_t i : at) {
    side->coding[i] = group;
    if (group.scale == 0) continue;
    side->coding[i].steps = std::abs(side->rows[i] - group.minimum) / group.scale;
  }
}

void SetPageCoding(Side which, const PageEntries& page, SideEntries* side) {
  if (page.packing == nullptr) {
    for (size_t i = page.first * side->dim; i < (page.first + page.count) * side->dim; ++i) {
      side->coding[i].minimum = side->rows[i];
    }
    return;
  }
  std::vector<size_t> group;
  if (page.packing->affine && which == Side::kKeys) {
    for (size_t c = 0; c < side->dim; ++c) {
      group.clear();
      for (size_t e = 0; e < page.count; ++e) group.push_back((page.first + e) * side->dim + c);
      SetCoding(*page.packing, group, side);
    }
    return;
  }
  for (size_t e = page.first; e < page.first + page.count; ++e) {
    for (size_t first = 0; first < side->dim; first += page.packing->channel_group) {
      group.clear();
      for (size_t c = first; c < side->dim && c < first + page.packing->channel_group; ++c) {
        group.push_back(e * side->dim + c);
      }
      SetCoding(*page.packing, group, side);
    }
  }
}

SideEntries LoadSide(Side which, std::span<const PageView> pages, uint32_t dim) {
  SideEntries side;
  side.dim = dim;
  for (const PageView& page : pages) {
    const size_t first = side.rows.size() / dim;
    side.rows.resize((first + page.count) * dim);
    side.coding.resize(side.rows.size());
    page.form->load(which, page.data, page.shape, 0, page.count, side.rows.data() + first * dim,
                    dim);
    side.pages.push_back({first, page.count, page.form->packing});
    SetPageCoding(which, side.pages.back(), &side);
  }
  return side;
}

struct Entries {
  SideEntries keys, values;
  std::vector<int32_t> positions;
  double extra_bias = 0;  // of the score of the entry behind them, if there is one
};

Entries LoadEntries(const AttendShape& shape, const HeadView& head) {
  Entries entries{LoadSide(Side::kKeys, head.keys, shape.key_dim),
                  LoadSide(Side::kValues, head.values, shape.value_dim),
                  {}};
  for (const PageView& page : head.keys) {
    for (uint32_t i = 0; i < page.count; ++i) entries.positions.push_back(page.Position(i));
  }
  return entries;
}

// An extra entry follows the others, as plain numbers.
void AddExtra(const AttendExtra& extra, Entries* entries) {
  if (extra.count == 0) return;
  const std::pair<SideEntries*, const float*> sides[] = {{&entries->keys, extra.key},
                                                         {&entries->values, extra.value}};
  for (const auto& [side, numbers] : sides) {
    side->pages.push_back({.first = side->rows.size() / side->dim, .count = 1});
    side->rows.insert(side->rows.end(), numbers, numbers + side->dim);
    side->coding.resize(side->rows.size());
    SetPageCoding(Side::kKeys, side->pages.back(), side);
  }
  entries->extra_bias = std::log(static_cast<double>(extra.count));
}

// Rounding to integers of 15 bits and a sign, f32 on the way.
constexpr double kIntRounding = 1.01 / 65534;

// What rounding to f32 (unit u) may do to a weighted sum over n entries, relative to the sum of
// weighted magnitudes. `score_error` is the error of a score in units of log2, up to the rounding
// of differences, which adds 126 u at most (smaller weights are flushed). Each of the t tiles
// rescales earlier results once.
double RelativeBound(double score_error, double n, double t) {
  const double u = std::ldexp(1.0, -24);
  const double weight = std::numbers::ln2 * (2 * score_error + 2 * 126 * u) + (6 * t + 4) * u;
  return 1.01 * (2 * weight + 2 * (n + t + 10) * u);
}

// What rounding the query to integers does to the scores of a page's entries, before `scale`: the
// largest number times the sum of magnitudes of codes. Scales per channel are part of the query.
void AddQueryRounding(const SideEntries& keys, const PageEntries& page, const float* q,
                      std::vector<double>* error) {
  if (page.packing == nullptr) return;
  const bool folded = page.packing->affine;
  for (size_t e = page.first; e < page.first + page.count; ++e) {
    double largest = 0, codes = 0;
    for (size_t c = 0; c < keys.dim; ++c) {
      const Coded& coded = keys.coding[e * keys.dim + c];
      largest = std::max(largest, std::abs(double{q[c]}) * (folded ? coded.scale : 1));
      codes += folded ? coded.steps : coded.steps * coded.scale;
    }
    (*error)[e] += kIntRounding * largest * codes;
  }
}

// What rounding weight * scale to integers does to the output: the same, over the entries of a page
// (a tile is part of one).
void AddWeightRounding(const SideEntries& values, const PageEntries& page,
                       const std::vector<double>& weights, double* bound) {
  if (page.packing == nullptr) return;
  for (size_t c = 0; c < values.dim; ++c) {
    double largest = 0, codes = 0;
    for (size_t e = page.first; e < page.first + page.count; ++e) {
      if (weights[e] == 0) continue;
      const Coded& coded = values.coding[e * values.dim + c];
      largest = std::max(largest, weights[e] * coded.scale);
      codes += coded.steps;
    }
    bound[c] += kIntRounding * largest * codes;
  }
}

bool Sees(const AttendShape& shape, int64_t position, int64_t entry) {
  return entry <= position && (shape.window == 0 || entry > position - shape.window);
}

// |code * scale| + |minimum|: what is added up, in magnitude.
double Magnitude(const Coded& coded) { return coded.scale * coded.steps + std::abs(coded.minimum); }

void AttendLine(const AttendShape& shape, const Entries& entries, int64_t position, const float* q,
                double* out, double* bound) {
  const double u = std::ldexp(1.0, -24);
  const SideEntries &keys = entries.keys, &values = entries.values;
  const size_t n = keys.rows.size() / keys.dim;
  std::vector<double> rounding(n, 0.0), scores(n, -HUGE_VAL), weights(n, 0.0);
  for (const PageEntries& page : keys.pages) AddQueryRounding(keys, page, q, &rounding);
  double score_error = 0, maximum = -HUGE_VAL;
  size_t num_seen = 0;
  for (size_t e = 0; e < n; ++e) {
    const bool is_extra = e == entries.positions.size();
    if (!is_extra && !Sees(shape, position, entries.positions[e])) continue;
    double dot = 0, magnitude = 0;
    for (uint32_t c = 0; c < shape.key_dim; ++c) {
      dot += double{q[c]} * keys.rows[e * keys.dim + c];
      magnitude += std::abs(double{q[c]}) * Magnitude(keys.coding[e * keys.dim + c]);
    }
    ++num_seen;
    const double bias = is_extra ? entries.extra_bias : 0, scale = std::abs(double{shape.scale});
    scores[e] = shape.scale * dot + bias;
    maximum = std::max(maximum, scores[e]);
    score_error = std::max(
        score_error, std::numbers::log2e * ((shape.key_dim + 5) * u * (scale * magnitude + bias) +
                                            scale * rounding[e]));
  }
  if (num_seen == 0) return;
  double sum = 0;
  for (size_t e = 0; e < n; ++e) sum += weights[e] = std::exp(scores[e] - maximum);
  std::vector<double> magnitude(shape.value_dim, 0.0);
  for (size_t e = 0; e < n; ++e) {
    weights[e] /= sum;
    for (uint32_t c = 0; c < shape.value_dim; ++c) {
      out[c] += weights[e] * values.rows[e * values.dim + c];
      magnitude[c] += weights[e] * Magnitude(values.coding[e * values.dim + c]);
    }
  }
  const double tiles = static_cast<double>(keys.pages.size() + values.pages.size()) +
                       static_cast<double>(n) / 64 + 2;
  const double relative = RelativeBound(score_error, static_cast<double>(num_seen), tiles);
  for (uint32_t c = 0; c < shape.value_dim; ++c) bound[c] = relative * magnitude[c] + 1e-30;
  for (const PageEntries& page : values.pages) AddWeightRounding(values, page, weights, bound);
}

}  // namespace

AttendTruth AttendReference(const AttendShape& shape, std::span<const AttendSequence> sequences,
                            const float* q, size_t q_row_stride, size_t num_rows) {
  const size_t size = num_rows * shape.num_query_heads * shape.value_dim;
  AttendTruth truth{std::vector<double>(size, 0.0), std::vector<double>(size, 0.0)};
  for (const AttendSequence& sequence : sequences) {
    for (uint32_t kv_head = 0; kv_head < shape.num_kv_heads; ++kv_head) {
      Entries entries = LoadEntries(shape, sequence.heads[kv_head]);
      if (!sequence.extras.empty()) AddExtra(sequence.extras[kv_head], &entries);
      for (size_t r = 0; r < sequence.positions.size(); ++r) {
        const size_t row = sequence.first_row + r;
        for (uint32_t g = 0; g < shape.group(); ++g) {
          const size_t head = size_t{kv_head} * shape.group() + g;
          const size_t at = (row * shape.num_query_heads + head) * shape.value_dim;
          AttendLine(shape, entries, sequence.positions[r],
                     q + row * q_row_stride + head * shape.key_dim, truth.out.data() + at,
                     truth.bound.data() + at);
        }
      }
    }
  }
  return truth;
}

}  // namespace pith
