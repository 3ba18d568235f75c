#include "engine/move_sinks.h"

#include <cmath>
#include <numeric>
#include <span>

namespace pith {
namespace {

// Turns the channel pairs of a key by these angles. A model may scale what it turns; that is in the
// key already, so only the angle counts.
void Turn(const MeanRotation& by, bool interleaved, float* key) {
  const size_t pairs = by.cosine.size();
  for (size_t i = 0; i < pairs; ++i) {
    const float length = std::hypot(by.cosine[i], by.sine[i]);
    const float c = by.cosine[i] / length, s = by.sine[i] / length;
    float& a = key[interleaved ? 2 * i : i];
    float& b = key[interleaved ? 2 * i + 1 : i + pairs];
    const float turned = a * c - b * s;
    b = a * s + b * c;
    a = turned;
  }
}

int32_t PositionOf(const HeadView& view, uint32_t entry) {
  auto page = view.keys.begin();
  for (; entry >= page->count; ++page) entry -= page->count;
  return page->Position(entry);
}

// `keys` [count][key_dim] go to the positions from `first` on.
Status MoveHead(const MeanRotation& by, bool interleaved, int32_t first, uint32_t layer,
                uint32_t head, std::span<const float> keys, SequenceCache& cache) {
  const uint32_t dim = cache.spec().keys.dim;
  std::vector<float> turned(keys.begin(), keys.end());
  std::vector<int32_t> positions(keys.size() / dim);
  std::iota(positions.begin(), positions.end(), first);
  for (size_t i = 0; i < positions.size(); ++i) Turn(by, interleaved, turned.data() + i * dim);
  return cache.ReplaceFirstKeys(layer, head, positions, turned.data(), dim);
}

void ReadSinks(const SequenceCache& cache, uint32_t count, SinkKeys& sinks) {
  const CacheSpec& spec = cache.spec();
  const size_t head_size = size_t{count} * spec.keys.dim;
  sinks.first_position = PositionOf(cache.Head(0, 0), 0);
  sinks.rows.resize(head_size * spec.num_layers * spec.num_kv_heads);
  float* rows = sinks.rows.data();
  for (uint32_t layer = 0; layer < spec.num_layers; ++layer) {
    for (uint32_t head = 0; head < spec.num_kv_heads; ++head, rows += head_size) {
      cache.ReadKeys(layer, head, 0, count, rows);
    }
  }
}

}  // namespace

Status MoveSinks(const Model& model, StepRunner& runner, uint32_t count, SequenceCache& cache,
                 SinkKeys& sinks) {
  const CacheSpec& spec = cache.spec();
  const size_t head_size = size_t{count} * spec.keys.dim;
  int32_t turned_to = -1;
  MeanRotation by;
  for (uint32_t i = 0; i < spec.num_layers * spec.num_kv_heads; ++i) {
    const uint32_t layer = i / spec.num_kv_heads, head = i % spec.num_kv_heads;
    if (cache.num_entries(layer, head) <= count) continue;
    const HeadView view = cache.Head(layer, head);
    const int32_t first = PositionOf(view, count) - static_cast<int32_t>(count);
    if (first == PositionOf(view, 0)) continue;
    if (sinks.rows.empty()) ReadSinks(cache, count, sinks);
    if (first != turned_to) by = runner.RotationOf(first - sinks.first_position, 1);
    turned_to = first;
    PITH_TRY(MoveHead(by, model.params().rope.interleaved, first, layer, head,
                      std::span(sinks.rows).subspan(i * head_size, head_size), cache));
  }
  return {};
}

}  // namespace pith
