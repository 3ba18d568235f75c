// For tests: an obvious model of a sequence, plain lists of entries with their positions and side
// units, and the comparison of a SequenceCache with it.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <map>
#include <numeric>
#include <string>
#include <tuple>
#include <vector>

#include "base/rng.h"
#include "cache/cache.h"
#include "cache/page.h"
#include "cache/test_form.h"

namespace pith::testing {

inline CacheSpec SmallSpec(FormId form = FormId::kF16) {
  const ListSpec list{.form = FindForm(form), .dim = 12};
  return {.num_layers = 2, .num_kv_heads = 3, .keys = list, .values = list};
}

inline std::vector<int32_t> Positions(int32_t first, uint32_t count) {
  std::vector<int32_t> positions(count);
  std::iota(positions.begin(), positions.end(), first);
  return positions;
}

inline std::vector<std::byte> Saved(const SequenceCache& cache) {
  std::vector<std::byte> bytes;
  cache.Save(&bytes);
  return bytes;
}

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

// The forms that hold the model's numbers exactly, for any number of channels.
inline std::vector<const Form*> ExactForms() {
  std::vector<const Form*> exact;
  for (const Form* form : Forms()) {
    if (form->packing == nullptr) exact.push_back(form);
  }
  return exact;
}

// A number of an entry, exact in every plain form. `mark` tells entries apart.
inline float Number(uint32_t mark, Side side, Owner owner, uint32_t channel) {
  const uint32_t mixed = mark * 7919u + static_cast<uint32_t>(side) * 101u + owner.layer * 37u +
                         owner.head * 59u + channel * 13u;
  return static_cast<float>(mixed % 255u) - 127.0f;
}

// What a sequence holds: per head a list of entries, and the side units that were written.
struct Model {
  struct Entry {
    int32_t position;
    uint32_t mark;
    // By side, of a sealed key or value: what it reads as, and the group that it was sealed in.
    std::vector<float> sealed[2] = {};
    uint64_t group[2] = {};

    bool is_sealed(Side side) const { return !sealed[static_cast<size_t>(side)].empty(); }
    std::vector<float> Row(Side side, Owner owner, uint32_t dim) const {
      if (is_sealed(side)) return sealed[static_cast<size_t>(side)];
      std::vector<float> row(dim);
      for (uint32_t c = 0; c < dim; ++c) row[c] = Number(mark, side, owner, c);
      return row;
    }
  };
  using Entries = std::vector<Entry>;

  explicit Model(const CacheSpec& s)
      : spec(s), heads(s.num_layers, std::vector<Entries>(s.num_kv_heads)) {}

  CacheSpec spec;
  std::vector<std::vector<Entries>> heads;  // [layer][KV head]
  // Units that were written: (side block, owner, unit); all others are zero.
  using Unit = std::tuple<size_t, Owner, uint64_t>;
  std::map<Unit, std::vector<std::byte>> units;
  uint64_t num_groups = 0;
  std::map<Owner, std::shared_ptr<const ChannelList>> key_channels;  // of sealed keys

  uint64_t num_sealed(Side side, Owner owner) const {
    const Entries& entries = heads[owner.layer][owner.head];
    return static_cast<uint64_t>(std::count_if(entries.begin(), entries.end(),
                                               [&](const Entry& e) { return e.is_sealed(side); }));
  }

  uint64_t num_sinks(Owner owner) const {
    const Entries& entries = heads[owner.layer][owner.head];
    return static_cast<uint64_t>(std::count_if(entries.begin(), entries.end(), [&](const Entry& e) {
      return e.position < static_cast<int32_t>(spec.num_sinks);
    }));
  }

  // The most entries that a head has, and the last position.
  size_t size() const {
    size_t size = 0;
    for (const auto& layer : heads) {
      for (const Entries& entries : layer) size = std::max(size, entries.size());
    }
    return size;
  }
  int32_t last_position() const {
    int32_t last = -1;
    for (const auto& layer : heads) {
      for (const Entries& entries : layer) {
        if (!entries.empty()) last = std::max(last, entries.back().position);
      }
    }
    return last;
  }

  void Append(std::span<const int32_t> positions, Rng* rng) {
    for (const int32_t position : positions) {
      const uint32_t mark = rng->Next();
      for (auto& layer : heads) {
        for (Entries& entries : layer) entries.push_back({position, mark});
      }
    }
  }

  void Truncate(int32_t end) {
    for (auto& layer : heads) {
      for (Entries& entries : layer) {
        while (!entries.empty() && entries.back().position >= end) entries.pop_back();
      }
    }
    std::erase_if(units, [&](const auto& unit) {
      const auto& [block, owner, index] = unit.first;
      return index * spec.side_blocks[block].entries_per_unit >=
             heads[owner.layer][owner.head].size();
    });
  }

  // Seals the oldest entries of the tail of a head that owns its list: what they read as is what
  // the form makes of them in a page of their own. `channels` as of SealRequest.
  void Seal(Owner owner, Side side, uint64_t count,
            const std::shared_ptr<const ChannelList>& channels = nullptr) {
    const ListSpec& list = side == Side::kKeys ? spec.keys : spec.values;
    const auto s = static_cast<size_t>(side);
    const Form& sealed = *list.SealedIn(owner.layer);
    const uint32_t per_group = std::max(sealed.group(side), 1u);
    if (channels != nullptr) key_channels[owner] = channels;
    const bool loses_channels = count > 0 && side == Side::kKeys && list.pruned();
    const ChannelList* const pruned = loses_channels ? key_channels.at(owner).get() : nullptr;
    Entries& entries = heads[owner.layer][owner.head];
    const uint64_t begin = num_sinks(owner) + num_sealed(side, owner);
    for (uint64_t first = begin; first < begin + count; first += per_group) {
      const auto here = static_cast<uint32_t>(std::min<uint64_t>(per_group, begin + count - first));
      const PageShape shape{.dim = side == Side::kKeys ? list.SealedDim() : list.dim,
                            .capacity = kMaxPageEntries};
      std::vector<std::byte> page(sealed.page_bytes(side, shape));
      std::vector<float> rows;
      for (uint32_t i = 0; i < here; ++i) {
        const std::vector<float> row = entries[first + i].Row(side, owner, list.dim);
        rows.insert(rows.end(), row.begin(), row.end());
      }
      if (list.rotated) RotateRows(rows, list.dim);
      for (uint32_t i = 0; pruned != nullptr && i < here; ++i) {
        pruned->Narrow(&rows[size_t{i} * list.dim]);
      }
      sealed.store(side, page.data(), shape, 0, here, rows.data(), list.dim);
      sealed.load(side, page.data(), shape, 0, here, rows.data(), list.dim);
      if (list.rotated) RotateRows(rows, list.dim);
      for (uint32_t i = 0; pruned != nullptr && i < here; ++i) {
        pruned->Widen(&rows[size_t{i} * list.dim]);
      }
      ++num_groups;
      for (uint32_t i = 0; i < here; ++i) {
        const float* row = &rows[size_t{i} * list.dim];
        entries[first + i].sealed[s].assign(row, row + list.dim);
        entries[first + i].group[s] = num_groups;
      }
    }
    for (uint32_t layer = 0; layer < spec.num_layers; ++layer) {
      for (uint32_t head = 0; head < spec.num_kv_heads; ++head) {
        if (OwnerOf(spec, side, layer, head) != owner) continue;
        for (size_t i = 0; i < entries.size(); ++i) {
          heads[layer][head][i].sealed[s] = entries[i].sealed[s];
          heads[layer][head][i].group[s] = entries[i].group[s];
        }
      }
    }
  }

  // The same before anything was sealed.
  Model Unsealed() const {
    Model model = *this;
    for (auto& layer : model.heads) {
      for (Entries& entries : layer) {
        for (Entry& entry : entries) entry = {.position = entry.position, .mark = entry.mark};
      }
    }
    return model;
  }

  // Of a head that owns its lists; keys and values have the same scope.
  void Keep(Owner owner, std::span<const uint32_t> kept) {
    const size_t before = heads[owner.layer][owner.head].size();
    for (uint32_t layer = 0; layer < spec.num_layers; ++layer) {
      for (uint32_t head = 0; head < spec.num_kv_heads; ++head) {
        if (OwnerOf(spec, Side::kKeys, layer, head) != owner) continue;
        Entries entries;
        for (const uint32_t index : kept) entries.push_back(heads[layer][head][index]);
        heads[layer][head] = entries;
      }
    }
    if (kept.size() == before) return;
    uint32_t unmoved = 0;
    while (unmoved < kept.size() && kept[unmoved] == unmoved) ++unmoved;
    std::map<Unit, std::vector<std::byte>> after;
    for (const auto& [unit, bytes] : units) {
      const auto& [block, of, index] = unit;
      const uint32_t entries_per_unit = spec.side_blocks[block].entries_per_unit;
      if (of != owner || (entries_per_unit > 1 && (index + 1) * entries_per_unit <= unmoved)) {
        after[unit] = bytes;
      } else if (entries_per_unit == 1) {
        const auto found = std::find(kept.begin(), kept.end(), index);
        if (found != kept.end()) {
          after[{block, of, static_cast<uint64_t>(found - kept.begin())}] = bytes;
        }
      }
    }
    units = after;
  }
};

// Writes entries of every list: of the last `back` entries, the first `count`.
inline void WriteEntries(SequenceCache* cache, const Model& model, uint64_t back, uint32_t count,
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
        const Model::Entries& entries = model.heads[layer][head];
        const uint64_t first = entries.size() - back;
        for (uint32_t i = 0; i < count; ++i) {
          for (uint32_t c = 0; c < dim; ++c) {
            rows[i * stride + c] = Number(entries[first + i].mark, side, owner, c);
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
                       Owner owner, const Model::Entries& entries, uint64_t num_sinks) {
  size_t index = 0;
  std::vector<float> rows(size_t{kMaxPageEntries} * list.dim);
  for (const PageView& page : pages) {
    ASSERT_LT(index, entries.size());
    const bool sealed = entries[index].is_sealed(side);
    ASSERT_EQ(page.form, sealed ? list.SealedIn(owner.layer) : list.form);
    ASSERT_EQ(page.rotated, sealed && list.rotated);
    ASSERT_EQ(page.dim(), list.dim);
    ASSERT_EQ(page.shape.dim, sealed ? list.SealedDim() : list.dim);
    ASSERT_GT(page.count, 0u);
    ASSERT_LE(page.count, page.shape.capacity);
    const size_t end = index + page.count;
    ASSERT_LE(end, entries.size());
    const bool last = end == entries.size() || entries[end].is_sealed(side) != sealed ||
                      (list.SealedIn(owner.layer) != nullptr && end <= num_sinks);
    const auto group = [&](size_t i) { return entries[i].group[static_cast<size_t>(side)]; };
    if (page.form->group(side) > 0) {
      ASSERT_TRUE(last || group(end) != group(index));
    } else {
      ASSERT_TRUE(last || page.count == kMaxPageEntries);
    }
    LoadRows(page, side, 0, page.count, rows.data());
    for (uint32_t i = 0; index < end; ++i, ++index) {
      const Model::Entry& entry = entries[index];
      ASSERT_EQ(entry.is_sealed(side), sealed);
      if (page.form->group(side) > 0) {
        ASSERT_EQ(group(index), group(end - 1));
      }
      if (side == Side::kKeys) {
        ASSERT_EQ(page.Position(i), entry.position) << "entry " << index;
      }
      const float* row = &rows[size_t{i} * list.dim];
      ASSERT_EQ(std::vector<float>(row, row + list.dim), entry.Row(side, owner, list.dim))
          << "entry " << index;
    }
  }
  ASSERT_EQ(index, entries.size());
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
      const Model::Entries& entries = model.heads[layer][head];
      ASSERT_EQ(view.num_entries, entries.size());
      ASSERT_EQ(cache.num_entries(layer, head), entries.size());
      for (const Side side : {Side::kKeys, Side::kValues}) {
        ASSERT_EQ(cache.num_sealed(layer, head, side),
                  model.num_sealed(side, OwnerOf(spec, side, layer, head)));
      }
      ASSERT_EQ(cache.Heads(layer)[head].keys.data(), view.keys.data());
      CheckPages(view.keys, Side::kKeys, spec.keys, OwnerOf(spec, Side::kKeys, layer, head),
                 entries, model.num_sinks({layer, head}));
      CheckPages(view.values, Side::kValues, spec.values, OwnerOf(spec, Side::kValues, layer, head),
                 entries, model.num_sinks({layer, head}));
      for (size_t b = 0; b < spec.side_blocks.size(); ++b) {
        const SideBlock& block = spec.side_blocks[b];
        for (uint64_t unit = 0; unit * block.entries_per_unit < entries.size(); ++unit) {
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

inline const Form* AnyExactForm(Rng* rng) {
  const std::vector<const Form*> forms = ExactForms();
  return forms[rng->Below(static_cast<uint32_t>(forms.size()))];
}

inline CacheSpec RandomSpec(Rng* rng) {
  CacheSpec spec;
  spec.num_layers = 1 + rng->Below(4);
  spec.num_kv_heads = 1 + rng->Below(3);
  for (ListSpec* list : {&spec.keys, &spec.values}) {
    list->form = AnyExactForm(rng);
    list->dim = 1 + rng->Below(24);
    list->scope = static_cast<OwnerScope>(rng->Below(3));
    const auto any_sealed = [rng]() -> const Form* {
      const uint32_t sealed = rng->Below(6);
      if (sealed < 3) return &kGroupForm;
      return sealed == 3 ? AnyExactForm(rng) : nullptr;
    };
    if (list->scope == OwnerScope::kLayerGroup || rng->Below(3) > 0) {
      list->sealed = any_sealed();
    } else {
      for (uint32_t i = 0; i < spec.num_layers; ++i) list->sealed_by_layer.push_back(any_sealed());
    }
    list->rotated =
        (list->sealed != nullptr || !list->sealed_by_layer.empty()) && rng->Below(3) == 0;
  }
  if (ListSpec& keys = spec.keys; !keys.rotated && rng->Below(3) == 0) {
    keys.sealed_dim = 1 + rng->Below(keys.dim);
    keys.sealed_mixed = keys.pruned() && rng->Below(3) == 0;
  }
  if (rng->Below(2) == 0) spec.num_sinks = 1 + rng->Below(40);
  if (spec.keys.scope == OwnerScope::kLayerGroup || spec.values.scope == OwnerScope::kLayerGroup) {
    for (uint32_t i = 0; i < spec.num_layers; ++i) spec.layer_group.push_back(rng->Below(3));
  }
  const uint32_t num_blocks = rng->Below(3);
  for (uint32_t i = 0; i < num_blocks; ++i) {
    const auto side = static_cast<Side>(rng->Below(2));
    const ListSpec& list = side == Side::kKeys ? spec.keys : spec.values;
    if (list.sealed != nullptr || !list.sealed_by_layer.empty()) continue;
    spec.side_blocks.push_back({.name = "block" + std::to_string(i),
                                .side = side,
                                .bytes = 1 + rng->Below(9),
                                .entries_per_unit = 1u << rng->Below(4)});
  }
  return spec;
}

// `count` channels of `dim`, each set with the same chance, with means of the others or without; or
// mixtures with small whole numbers.
inline std::shared_ptr<const ChannelList> AnyChannels(const ListSpec& spec, Rng* rng) {
  ChannelList list{.dim = spec.dim};
  const auto number = [rng] { return static_cast<float>(rng->Below(9)) - 4; };
  const bool with_means = spec.sealed_mixed || rng->Below(2) == 0;
  for (uint32_t c = 0; c < spec.dim; ++c) {
    const bool kept =
        !spec.sealed_mixed && rng->Below(spec.dim - c) < spec.sealed_dim - list.kept.size();
    if (kept) list.kept.push_back(static_cast<uint16_t>(c));
    if (with_means) list.means.push_back(kept ? 0 : number());
  }
  for (uint32_t i = 0; spec.sealed_mixed && i < spec.dim * spec.sealed_dim; ++i) {
    list.encode.push_back(number() / 4);
    list.decode.push_back(number() / 4);
  }
  return std::make_shared<const ChannelList>(std::move(list));
}

// Appends `count` entries behind the last position, after a gap or with gaps between them, and
// writes them. False if there was no memory; then the model is unchanged.
inline bool Append(SequenceCache* cache, Model* model, uint32_t count, uint32_t gap_percent,
                   Rng* rng) {
  int32_t position = model->last_position();
  std::vector<int32_t> positions;
  for (uint32_t i = 0; i < count; ++i) {
    position += rng->Below(100) < gap_percent ? 2 + static_cast<int32_t>(rng->Below(9)) : 1;
    positions.push_back(position);
  }
  if (!cache->Extend(positions)) return false;
  model->Append(positions, rng);
  for (uint32_t done = 0; done < count;) {
    const uint32_t part = 1 + rng->Below(count - done);
    WriteEntries(cache, *model, count - done, part, rng->Below(5));
    done += part;
  }
  return true;
}

// Some of `count` indices, ascending: each with the same chance, in runs, from the front, or all
// but a few.
inline std::vector<uint32_t> RandomKept(uint32_t count, Rng* rng) {
  const uint32_t percent = rng->Below(101), way = rng->Below(4);
  std::vector<uint32_t> kept;
  bool keep = true;
  for (uint32_t i = 0; i < count; ++i) {
    if (way == 0) keep = rng->Below(100) < percent;
    if (way == 1 && rng->Below(20) == 0) keep = !keep;
    if (way == 2) keep = i < count * percent / 100;
    if (way == 3) keep = rng->Below(100) != 0;
    if (keep) kept.push_back(i);
  }
  return kept;
}

// Keeps some entries of a random head in both. False if there was no memory; then the model is
// unchanged. Nothing happens if keys and values differ in scope.
inline bool KeepSome(SequenceCache* cache, Model* model, Rng* rng) {
  const CacheSpec& spec = cache->spec();
  if (spec.keys.scope != spec.values.scope) return true;
  const Owner owner =
      OwnerOf(spec, Side::kKeys, rng->Below(spec.num_layers), rng->Below(spec.num_kv_heads));
  const std::vector<uint32_t> kept =
      RandomKept(static_cast<uint32_t>(model->heads[owner.layer][owner.head].size()), rng);
  if (!cache->Keep(owner.layer, owner.head, kept)) return false;
  model->Keep(owner, kept);
  return true;
}

// Seals some of the tails of random heads in both, on three threads in turn. False if there was no
// memory; then the model is unchanged.
inline bool SealSome(SequenceCache* cache, Model* model, Rng* rng) {
  const CacheSpec& spec = cache->spec();
  std::vector<SealRequest> requests;
  for (uint32_t layer = 0; layer < spec.num_layers; ++layer) {
    for (uint32_t head = 0; head < spec.num_kv_heads; ++head) {
      for (const Side side : {Side::kKeys, Side::kValues}) {
        const Owner owner{layer, head};
        const Form* sealed = (side == Side::kKeys ? spec.keys : spec.values).SealedIn(layer);
        if (sealed == nullptr || OwnerOf(spec, side, layer, head) != owner) continue;
        if (rng->Below(3) == 0) continue;
        const uint64_t tail = model->heads[layer][head].size() - model->num_sealed(side, owner) -
                              model->num_sinks(owner);
        EXPECT_EQ(cache->num_unsealed(layer, head, side), tail);
        uint64_t count = rng->Below(static_cast<uint32_t>(tail) + 1);
        const uint32_t group = sealed->group(side);
        if (group > 0 && rng->Below(3) != 0) count -= count % group;  // as KIVI does
        requests.push_back({.layer = layer, .kv_head = head, .side = side, .count = count});
        const ListSpec& list = side == Side::kKeys ? spec.keys : spec.values;
        if (count > 0 && list.pruned() && model->num_sealed(side, owner) == 0) {
          requests.back().channels = AnyChannels(list, rng);
        }
      }
    }
  }
  const Status status = cache->Seal(requests, [](const auto& work) {
    for (const int thread : {2, 0, 1}) work(thread, 3);
  });
  if (!status) return false;
  for (const SealRequest& request : requests) {
    model->Seal({request.layer, request.kv_head}, request.side, request.count, request.channels);
  }
  return true;
}

// What `held` must say, counted from the views of the heads that own lists and from the layout of
// pages as docs/cache.md has it.
inline uint64_t RecountHeld(const SequenceCache& cache) {
  const CacheSpec& spec = cache.spec();
  uint64_t held = 0;
  const auto add_block = [&held](uint64_t bytes) { held += (bytes + 63) / 64 * 64; };
  for (uint32_t layer = 0; layer < spec.num_layers; ++layer) {
    for (uint32_t head = 0; head < spec.num_kv_heads; ++head) {
      for (const Side side : {Side::kKeys, Side::kValues}) {
        if (OwnerOf(spec, side, layer, head) != Owner{layer, head}) continue;
        const HeadView view = cache.Head(layer, head);
        for (const PageView& page : side == Side::kKeys ? view.keys : view.values) {
          const uint64_t number_bytes = page.form == &kGroupForm        ? 1
                                        : page.form->id == FormId::kF32 ? 4
                                                                        : 2;
          uint64_t bytes = number_bytes * page.shape.dim * page.shape.capacity;
          if (page.form == &kGroupForm) bytes += uint64_t{page.shape.dim} * 8;
          for (const SideBlock& block : spec.side_blocks) {
            if (block.side != side) continue;
            bytes = (bytes + 15) / 16 * 16;
            bytes += uint64_t{page.shape.capacity} / block.entries_per_unit * block.bytes;
          }
          add_block(bytes);
          if (page.positions != nullptr) add_block(uint64_t{page.shape.capacity} * 4);
        }
      }
    }
  }
  return held;
}

}  // namespace pith::testing
