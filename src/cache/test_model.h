// For tests: an obvious model of a sequence, a plain list of entries with their positions and side
// units, and the comparison of a SequenceCache with it.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "base/rng.h"
#include "cache/cache.h"
#include "cache/page.h"

namespace pith::testing {

// The head that owns the list which serves (layer, head), from the definition of the scopes.
struct Owner {
  uint32_t layer, head;
  bool operator==(const Owner&) const = default;
  auto operator<=>(const Owner&) const = default;
};
inline Owner OwnerOf(const CacheSpec& spec, Side side, uint32_t layer, uint32_t head) {
  switch (side == Side::kKeys ? spec.keys.scope : spec.values.scope) {
    case OwnerScope::kHead:
      return {layer, head};
    case OwnerScope::kLayer:
      return {layer, 0};
    case OwnerScope::kLayerGroup:
      break;
  }
  uint32_t first = 0;
  while (spec.layer_group[first] != spec.layer_group[layer]) ++first;
  return {first, 0};
}

// A number of an entry, exact in every form. `mark` tells entries apart.
inline float Number(uint32_t mark, Side side, Owner owner, uint32_t channel) {
  const uint32_t mixed = mark * 7919u + static_cast<uint32_t>(side) * 101u + owner.layer * 37u +
                         owner.head * 59u + channel * 13u;
  return static_cast<float>(mixed % 255u) - 127.0f;
}

struct Model {
  struct Entry {
    int32_t position;
    uint32_t mark;
  };
  std::vector<Entry> entries;
  // Units that were written: (side block, owner, unit); all others are zero.
  std::map<std::tuple<size_t, Owner, uint64_t>, std::vector<std::byte>> units;

  void Truncate(const CacheSpec& spec, int32_t end) {
    while (!entries.empty() && entries.back().position >= end) entries.pop_back();
    std::erase_if(units, [&](const auto& unit) {
      const auto& [block, owner, index] = unit.first;
      return index * spec.side_blocks[block].entries_per_unit >= entries.size();
    });
  }
};

// Writes the model's entries [first, first + count) into every list of the cache.
inline void WriteEntries(SequenceCache* cache, const Model& model, uint64_t first, uint32_t count,
                         size_t extra_stride) {
  const CacheSpec& spec = cache->spec();
  for (const Side side : {Side::kKeys, Side::kValues}) {
    const uint32_t dim = side == Side::kKeys ? spec.keys.dim : spec.values.dim;
    const size_t stride = dim + extra_stride;
    std::vector<float> rows(count * stride);
    for (uint32_t layer = 0; layer < spec.num_layers; ++layer) {
      for (uint32_t head = 0; head < spec.num_kv_heads; ++head) {
        const Owner owner = OwnerOf(spec, side, layer, head);
        if (owner != Owner{layer, head}) continue;
        for (uint32_t i = 0; i < count; ++i) {
          for (uint32_t c = 0; c < dim; ++c) {
            rows[i * stride + c] = Number(model.entries[first + i].mark, side, owner, c);
          }
        }
        if (side == Side::kKeys) {
          cache->WriteKeys(layer, head, first, count, rows.data(), stride);
        } else {
          cache->WriteValues(layer, head, first, count, rows.data(), stride);
        }
      }
    }
  }
}

inline void CheckPages(std::span<const PageView> pages, Side side, const ListSpec& list,
                       Owner owner, const Model& model) {
  size_t index = 0;
  std::vector<float> rows(size_t{kMaxPageEntries} * list.dim);
  for (const PageView& page : pages) {
    ASSERT_EQ(page.form, list.form);
    ASSERT_EQ(page.shape.dim, list.dim);
    ASSERT_GT(page.count, 0u);
    ASSERT_LE(page.count, page.shape.capacity);
    ASSERT_TRUE(&page == &pages.back() || page.count == page.shape.capacity);
    ASSERT_LE(index + page.count, model.entries.size());
    list.form->load(side, page.data, page.shape, 0, page.count, rows.data(), list.dim);
    for (uint32_t i = 0; i < page.count; ++i, ++index) {
      const Model::Entry& entry = model.entries[index];
      if (side == Side::kKeys) {
        ASSERT_EQ(page.Position(i), entry.position) << "entry " << index;
      }
      for (uint32_t c = 0; c < list.dim; ++c) {
        ASSERT_EQ(rows[size_t{i} * list.dim + c], Number(entry.mark, side, owner, c))
            << "entry " << index << " channel " << c;
      }
    }
  }
  ASSERT_EQ(index, model.entries.size());
}

// All entries and positions of all heads, and the side units: asked for from a fork, because asking
// copies shared pages.
inline void CheckEqual(const SequenceCache& cache, const Model& model) {
  const CacheSpec& spec = cache.spec();
  SequenceCache probe = cache.Fork();
  for (uint32_t layer = 0; layer < spec.num_layers; ++layer) {
    ASSERT_EQ(cache.Heads(layer).size(), spec.num_kv_heads);
    for (uint32_t head = 0; head < spec.num_kv_heads; ++head) {
      SCOPED_TRACE("layer " + std::to_string(layer) + " head " + std::to_string(head));
      const HeadView view = cache.Head(layer, head);
      ASSERT_EQ(view.num_entries, model.entries.size());
      ASSERT_EQ(cache.num_entries(layer, head), model.entries.size());
      ASSERT_EQ(cache.Heads(layer)[head].keys.data(), view.keys.data());
      CheckPages(view.keys, Side::kKeys, spec.keys, OwnerOf(spec, Side::kKeys, layer, head), model);
      CheckPages(view.values, Side::kValues, spec.values, OwnerOf(spec, Side::kValues, layer, head),
                 model);
      for (size_t b = 0; b < spec.side_blocks.size(); ++b) {
        const SideBlock& block = spec.side_blocks[b];
        for (uint64_t unit = 0; unit * block.entries_per_unit < model.entries.size(); ++unit) {
          const auto bytes = probe.SideUnit(block.name, layer, head, unit);
          ASSERT_TRUE(bytes);
          const auto found = model.units.find({b, OwnerOf(spec, block.side, layer, head), unit});
          const auto expected =
              found == model.units.end() ? std::vector<std::byte>(block.bytes) : found->second;
          ASSERT_EQ(std::vector<std::byte>(bytes->begin(), bytes->end()), expected)
              << block.name << " unit " << unit;
        }
      }
    }
  }
}

inline CacheSpec RandomSpec(Rng* rng) {
  CacheSpec spec;
  spec.num_layers = 1 + rng->Below(4);
  spec.num_kv_heads = 1 + rng->Below(3);
  for (ListSpec* list : {&spec.keys, &spec.values}) {
    list->form = Forms()[rng->Below(static_cast<uint32_t>(Forms().size()))];
    list->dim = 1 + rng->Below(24);
    list->scope = static_cast<OwnerScope>(rng->Below(3));
  }
  if (spec.keys.scope == OwnerScope::kLayerGroup || spec.values.scope == OwnerScope::kLayerGroup) {
    for (uint32_t i = 0; i < spec.num_layers; ++i) spec.layer_group.push_back(rng->Below(3));
  }
  const uint32_t num_blocks = rng->Below(3);
  for (uint32_t i = 0; i < num_blocks; ++i) {
    spec.side_blocks.push_back({.name = "block" + std::to_string(i),
                                .side = static_cast<Side>(rng->Below(2)),
                                .bytes = 1 + rng->Below(9),
                                .entries_per_unit = 1u << rng->Below(4)});
  }
  return spec;
}

// Appends `count` entries behind the last position, after a gap or with gaps between them, and
// writes them. False if there was no memory; then the model is unchanged.
inline bool Append(SequenceCache* cache, Model* model, uint32_t count, uint32_t gap_percent,
                   Rng* rng) {
  int32_t position = model->entries.empty() ? -1 : model->entries.back().position;
  const size_t first = model->entries.size();
  std::vector<int32_t> positions;
  for (uint32_t i = 0; i < count; ++i) {
    position += rng->Below(100) < gap_percent ? 2 + static_cast<int32_t>(rng->Below(9)) : 1;
    positions.push_back(position);
  }
  if (!cache->Extend(positions)) return false;
  for (const int32_t p : positions) model->entries.push_back({p, rng->Next()});
  for (uint32_t done = 0; done < count;) {
    const uint32_t part = 1 + rng->Below(count - done);
    WriteEntries(cache, *model, first + done, part, rng->Below(5));
    done += part;
  }
  return true;
}

}  // namespace pith::testing
