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

  Coded Times(double norm) const { return {scale * norm, minimum * norm, steps}; }
};

Coded CodedGroup(const Packing& packing, double lowest, double highest) {
  if (packing.affine) return {(highest - lowest) / packing.max_code(), lowest};
  const double farthest = packing.bits == 8 ? 127 : packing.zero_code();
  return {std::max(std::abs(lowest), std::abs(highest)) / farthest, 0};
}

// The normalised Hadamard matrix, in blocks of the largest power of two that divides `dim`: H(i, j)
// = (-1)^(bits that i and j share) / sqrt(order).
size_t BlockOrder(size_t dim) {
  size_t order = 1;
  while (dim % (order * 2) == 0) order *= 2;
  return order;
}

template <class T>
std::vector<double> Rotated(const T* numbers, size_t dim) {
  const size_t order = BlockOrder(dim);
  std::vector<double> out(numbers, numbers + dim);
  // H is the product of one such step for every bit.
  for (size_t bit = 1; bit < order; bit *= 2) {
    const std::vector<double> in = out;
    for (size_t i = 0; i < dim; ++i) {
      out[i] = (in[i & ~bit] + ((i & bit) != 0 ? -1 : 1) * in[i | bit]) / std::numbers::sqrt2;
    }
  }
  return out;
}

struct PageEntries {
  size_t first = 0, count = 0;
  const Packing* packing = nullptr;
  bool rotated = false;
  const ChannelList* channels = nullptr;

  bool Stores(size_t channel) const {
    return channels == nullptr || std::ranges::binary_search(channels->kept, channel);
  }
};

struct SideEntries {
  uint32_t dim = 0;
  std::vector<float> rows;      // [entry][dim] as stored
  std::vector<double> numbers;  // [entry][dim] turned back
  std::vector<Coded> coding;    // [entry][dim] of what is stored
  std::vector<PageEntries> pages;

  // Every rotation that a kernel makes of a vector may be off by this many units of its length, in
  // length: 3 for the scale and the product with it, 7 where eight numbers are added up, and 1 for
  // every stage after these.
  double rotation_roundings() const { return std::log2(double(BlockOrder(dim))) + 7; }
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

// The entries of one page as they are stored, with the channels that it has.
SideEntries LoadStored(Side which, const PageView& page) {
  SideEntries stored;
  stored.dim = page.shape.dim;
  stored.rows.resize(size_t{page.count} * stored.dim);
  stored.coding.resize(stored.rows.size());
  page.form->load(which, page.data, page.shape, 0, page.count, stored.rows.data(), stored.dim);
  SetPageCoding(which, {0, page.count, page.form->packing}, &stored);
  return stored;
}

double NormOf(const PageView& page, uint32_t entry) {
  return page.norms == nullptr ? 1 : F32FromF16(page.norms[entry]);
}

// Channels that a page does not store are plain numbers, the same for all of its entries. Norms
// multiply everything.
void AddPage(const SideEntries& stored, const PageView& page, SideEntries* side) {
  side->pages.push_back(
      {side->rows.size() / side->dim, page.count, page.form->packing, page.rotated, page.channels});
  size_t next = 0;
  for (uint32_t e = 0; e < page.count; ++e) {
    const double norm = NormOf(page, e);
    for (uint32_t c = 0; c < side->dim; ++c) {
      if (side->pages.back().Stores(c)) {
        side->rows.push_back(stored.rows[next]);
        side->coding.push_back(stored.coding[next++].Times(norm));
        continue;
      }
      const float mean = page.channels->means.empty() ? 0 : page.channels->means[c];
      side->rows.push_back(mean);
      side->coding.push_back(Coded{.minimum = mean}.Times(norm));
    }
  }
}

SideEntries LoadSide(Side which, std::span<const PageView> pages, uint32_t dim) {
  SideEntries side;
  side.dim = dim;
  for (const PageView& page : pages) {
    const size_t first = side.rows.size() / dim;
    AddPage(LoadStored(which, page), page, &side);
    for (size_t e = first; e < first + page.count; ++e) {
      const float* row = side.rows.data() + e * dim;
      std::vector<double> numbers =
          page.rotated ? Rotated(row, dim) : std::vector<double>(row, row + dim);
      const double norm = NormOf(page, static_cast<uint32_t>(e - first));
      for (double& x : numbers) x *= norm;
      side.numbers.insert(side.numbers.end(), numbers.begin(), numbers.end());
    }
  }
  return side;
}

struct Entries {
  SideEntries keys, values;
  std::vector<int32_t> positions;
  std::vector<bool> selected;  // [entry]; all but those outside of runs, if there are any
  double extra_bias = 0;       // of the score of the entry behind them, if there is one
};

Entries LoadEntries(const AttendShape& shape, const AttendSequence& sequence, uint32_t kv_head) {
  const HeadView& head = sequence.heads[kv_head];
  Entries entries{.keys = LoadSide(Side::kKeys, head.keys, shape.key_dim),
                  .values = LoadSide(Side::kValues, head.values, shape.value_dim)};
  for (const PageView& page : head.keys) {
    for (uint32_t i = 0; i < page.count; ++i) entries.positions.push_back(page.Position(i));
  }
  entries.selected.assign(entries.positions.size(), sequence.runs.empty());
  if (sequence.runs.empty()) return entries;
  for (const EntryRun& run : sequence.runs[kv_head]) {
    for (uint32_t i = 0; i < run.count; ++i) entries.selected.at(run.first + i) = true;
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
    side->numbers.insert(side->numbers.end(), numbers, numbers + side->dim);
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
  return 1.01 * (2 * weight + 2 * (n + t + 11) * u);
}

double Length(const double* numbers, size_t count) {
  double sum = 0;
  for (size_t i = 0; i < count; ++i) sum += numbers[i] * numbers[i];
  return std::sqrt(sum);
}

// |code * scale| + |minimum|: what is added up, in magnitude.
double Magnitude(const Coded& coded) { return coded.scale * coded.steps + std::abs(coded.minimum); }

// Of the scores of a page's entries, before `scale`: what is added up in magnitude, for the query
// as it meets them; and what rounding that query to integers does, the largest number times the sum
// of magnitudes of codes (scales per channel are part of the query), and rotating it.
struct ScoreErrors {
  std::vector<double> magnitude, rounding;  // [entry]
};

void AddQueryErrors(const SideEntries& keys, const PageEntries& page,
                    const std::vector<double>& query, ScoreErrors* errors) {
  const bool folded = page.packing != nullptr && page.packing->affine;
  const double turned = keys.rotation_roundings() * std::ldexp(1.0, -24);
  for (size_t e = page.first; e < page.first + page.count; ++e) {
    double largest = 0, codes = 0, length = 0;
    for (size_t c = 0; c < keys.dim; ++c) {
      const Coded& coded = keys.coding[e * keys.dim + c];
      errors->magnitude[e] += std::abs(query[c]) * Magnitude(coded);
      if (!page.Stores(c)) continue;
      largest = std::max(largest, std::abs(query[c]) * (folded ? coded.scale : 1));
      codes += folded ? coded.steps : coded.steps * coded.scale;
      length += Magnitude(coded) * Magnitude(coded);
    }
    if (page.packing != nullptr) errors->rounding[e] += kIntRounding * largest * codes;
    if (page.rotated) {
      errors->rounding[e] += turned * Length(query.data(), keys.dim) * std::sqrt(length);
    }
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

// The errors of sums that are rotated on the way. They are those of the numbers as stored and of
// the others, and no rotation makes an error longer: so no channel is off by more than its block's
// errors are long together. Each rotation adds its own rounding.
void RotateBound(const SideEntries& values, const std::vector<double> (&magnitude)[2],
                 std::vector<double> (&error)[2], double* bound) {
  double rotations = 1;
  for (size_t p = 1; p < values.pages.size(); ++p) {
    rotations += values.pages[p].rotated != values.pages[p - 1].rotated ? 1 : 0;
  }
  const double turned = rotations * values.rotation_roundings() * std::ldexp(1.0, -24);
  const size_t order = BlockOrder(values.dim);
  for (size_t first = 0; first < values.dim; first += order) {
    double length = 0;
    for (const int rotated : {0, 1}) {
      length += Length(&error[rotated][first], order) +
                1.01 * turned * Length(&magnitude[rotated][first], order);
    }
    std::fill_n(bound + first, order, length);
  }
}

// `weights` of all entries, of which `num_seen` are not zero; `score_error` in units of log2.
void SetBound(const SideEntries& values, const std::vector<double>& weights, size_t num_seen,
              double score_error, double tiles, double* bound) {
  const size_t dim = values.dim;
  const double relative = RelativeBound(score_error, static_cast<double>(num_seen), tiles);
  const std::vector<double> zeros(dim, 0.0);
  std::vector<double> magnitude[2] = {zeros, zeros}, error[2] = {zeros, zeros};  // [rotated]
  for (const PageEntries& page : values.pages) {
    for (size_t e = page.first; e < page.first + page.count; ++e) {
      for (size_t c = 0; c < dim; ++c) {
        magnitude[page.rotated][c] += weights[e] * Magnitude(values.coding[e * dim + c]);
      }
    }
  }
  for (const int rotated : {0, 1}) {
    for (size_t c = 0; c < dim; ++c) error[rotated][c] = relative * magnitude[rotated][c];
  }
  for (const PageEntries& page : values.pages) {
    AddWeightRounding(values, page, weights, error[page.rotated].data());
  }
  if (std::ranges::any_of(values.pages, &PageEntries::rotated)) {
    RotateBound(values, magnitude, error, bound);
  } else {
    std::ranges::copy(error[0], bound);
  }
  for (size_t c = 0; c < dim; ++c) bound[c] += 1e-30;
}

void AttendLine(const AttendShape& shape, const Entries& entries, int64_t position, const float* q,
                double* out, double* bound) {
  const double u = std::ldexp(1.0, -24);
  const SideEntries &keys = entries.keys, &values = entries.values;
  const size_t n = keys.rows.size() / keys.dim;
  std::vector<double> scores(n, -HUGE_VAL), weights(n, 0.0);
  ScoreErrors errors{std::vector<double>(n, 0.0), std::vector<double>(n, 0.0)};
  const std::vector<double> query(q, q + keys.dim), rotated = Rotated(q, keys.dim);
  for (const PageEntries& page : keys.pages) {
    AddQueryErrors(keys, page, page.rotated ? rotated : query, &errors);
  }
  double score_error = 0, maximum = -HUGE_VAL;
  size_t num_seen = 0;
  for (size_t e = 0; e < n; ++e) {
    const bool is_extra = e == entries.positions.size();
    if (!is_extra && !(entries.selected[e] && Sees(shape, position, entries.positions[e]))) {
      continue;
    }
    double dot = 0;
    for (uint32_t c = 0; c < shape.key_dim; ++c) dot += query[c] * keys.numbers[e * keys.dim + c];
    ++num_seen;
    const double bias = is_extra ? entries.extra_bias : 0, scale = std::abs(double{shape.scale});
    scores[e] = shape.scale * dot + bias;
    maximum = std::max(maximum, scores[e]);
    score_error =
        std::max(score_error, std::numbers::log2e *
                                  ((shape.key_dim + 6) * u * (scale * errors.magnitude[e] + bias) +
                                   scale * errors.rounding[e]));
  }
  if (num_seen == 0) return;
  double sum = 0;
  for (size_t e = 0; e < n; ++e) sum += weights[e] = std::exp(scores[e] - maximum);
  for (size_t e = 0; e < n; ++e) {
    weights[e] /= sum;
    for (uint32_t c = 0; c < shape.value_dim; ++c) {
      out[c] += weights[e] * values.numbers[e * values.dim + c];
    }
  }
  const double tiles = static_cast<double>(keys.pages.size() + values.pages.size()) +
                       static_cast<double>(n) / 64 + 2;
  SetBound(values, weights, num_seen, score_error, tiles, bound);
}

}  // namespace

AttendTruth AttendReference(const AttendShape& shape, std::span<const AttendSequence> sequences,
                            const float* q, size_t q_row_stride, size_t num_rows) {
  const size_t size = num_rows * shape.num_query_heads * shape.value_dim;
  AttendTruth truth{std::vector<double>(size, 0.0), std::vector<double>(size, 0.0)};
  for (const AttendSequence& sequence : sequences) {
    for (uint32_t kv_head = 0; kv_head < shape.num_kv_heads; ++kv_head) {
      Entries entries = LoadEntries(shape, sequence, kv_head);
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
