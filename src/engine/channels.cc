#include "engine/channels.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "codec/packed.h"
#include "method/support.h"

namespace pith {
namespace {

// Channels are stored in units of so many.
uint32_t UnitOf(const Form& form) {
  if (form.packing == nullptr) return kBlockEntries;  // a vector
  return std::max(form.dim_multiple, kCellChannels);
}

// Of the keys of one head: over all entries.
struct KeyMeans {
  std::vector<double> plain, squares;  // [dim]
};

// Calls visit(row) for every key, [dim].
template <class Visit>
void ForEachKey(const HeadView& head, uint32_t dim, const Visit& visit) {
  constexpr uint32_t kRows = 128;
  std::vector<float> rows(size_t{kRows} * dim);
  for (uint64_t first = 0; first < head.num_entries; first += kRows) {
    const auto count = static_cast<uint32_t>(std::min<uint64_t>(kRows, head.num_entries - first));
    ReadRows(head, Side::kKeys, first, count, rows.data());
    for (uint32_t i = 0; i < count; ++i) visit(&rows[size_t{i} * dim]);
  }
}

double NumKeys(const HeadView& head) {
  return std::max<double>(1, static_cast<double>(head.num_entries));
}

KeyMeans MeasureKeys(const HeadView& head, uint32_t dim) {
  KeyMeans means{std::vector<double>(dim), std::vector<double>(dim)};
  ForEachKey(head, dim, [&](const float* row) {
    for (uint32_t c = 0; c < dim; ++c) {
      const double x = row[c];
      means.plain[c] += x;
      means.squares[c] += x * x;
    }
  });
  for (auto* sums : {&means.plain, &means.squares}) {
    for (double& sum : *sums) sum /= NumKeys(head);
  }
  return means;
}

// [dim][dim]
std::vector<double> KeyCovariance(const HeadView& head, std::span<const double> means) {
  const auto dim = static_cast<uint32_t>(means.size());
  std::vector<double> covariance(size_t{dim} * dim), off(dim);
  ForEachKey(head, dim, [&](const float* row) {
    for (uint32_t c = 0; c < dim; ++c) off[c] = row[c] - means[c];
    for (uint32_t c = 0; c < dim; ++c) {
      double* const to = &covariance[size_t{c} * dim];
      for (uint32_t d = 0; d <= c; ++d) to[d] += off[c] * off[d];
    }
  });
  for (uint32_t c = 0; c < dim; ++c) {
    for (uint32_t d = 0; d <= c; ++d) {
      double& sum = covariance[size_t{c} * dim + d];
      covariance[size_t{d} * dim + c] = sum /= NumKeys(head);
    }
  }
  return covariance;
}

// Of the last `count` tokens, [group x rows][dim]; there may be more if recipes share the prompt.
std::vector<float> LastQueries(const Observations& seen, uint32_t count, uint32_t layer,
                               uint32_t kv_head, uint32_t dim) {
  std::vector<float> queries, last;
  std::vector<int32_t> positions;
  seen.Window(layer, kv_head, &queries, &positions);
  const size_t rows = positions.size(), skipped = rows - std::min<size_t>(rows, count);
  for (size_t first = 0; first < queries.size(); first += rows * dim) {
    last.insert(last.end(), queries.begin() + static_cast<std::ptrdiff_t>(first + skipped * dim),
                queries.begin() + static_cast<std::ptrdiff_t>(first + rows * dim));
  }
  return last;
}

}  // namespace

uint32_t NumChannelsKept(const ChannelRule& rule, const ListSpec& keys) {
  if (rule.drop == 0) return 0;
  // A share such as 0.3 of 10 must not lose a channel to rounding.
  const uint32_t dropped = static_cast<uint32_t>(std::floor(rule.drop * keys.dim + 1e-9));
  uint32_t unit = keys.sealed != nullptr ? UnitOf(*keys.sealed) : 1;
  for (const Form* form : keys.sealed_by_layer) unit = std::max(unit, UnitOf(*form));
  return std::min(keys.dim, (keys.dim - dropped + unit - 1) / unit * unit);
}

std::shared_ptr<const ChannelList> ChooseChannels(const Sequence& sequence, uint32_t layer,
                                                  uint32_t kv_head) {
  const ListSpec& spec = sequence.cache.spec().keys;
  const PartUse& use = sequence.kv.plan.channels;
  const ChannelRule rule = use.part->channel_rule(use.values);
  const HeadView head = sequence.cache.Head(layer, kv_head);
  const KeyMeans means = MeasureKeys(head, spec.dim);
  const std::vector<float> queries =
      LastQueries(sequence.observations, rule.queries, layer, kv_head, spec.dim);
  ChannelList list{.dim = spec.dim};
  if (rule.means) list.means.assign(means.plain.begin(), means.plain.end());
  if (rule.mixes) {
    list.encode.resize(size_t{spec.SealedDim()} * spec.dim);
    list.decode.resize(list.encode.size());
    use.part->mix_channels({queries, KeyCovariance(head, means.plain)}, spec.SealedDim(),
                           list.encode, list.decode);
    return std::make_shared<const ChannelList>(std::move(list));
  }
  std::vector<float> scores(spec.dim);
  use.part->score_channels({queries, means.squares}, scores);
  for (const uint32_t channel : TopIndices(scores, spec.SealedDim())) {
    list.kept.push_back(static_cast<uint16_t>(channel));
    if (rule.means) list.means[channel] = 0;
  }
  return std::make_shared<const ChannelList>(std::move(list));
}

}  // namespace pith
