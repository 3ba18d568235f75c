#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "cache/page.h"
#include "cache/test_checksum.h"
#include "cache/test_model.h"

namespace pith {
namespace {

using testing::Number;
using testing::Saved;

// Layer 0 is alone, 1 and 2 are a pair, 3 to 5 a group.
CacheSpec MergedSpec(const Form* sealed = nullptr) {
  CacheSpec spec = testing::SmallSpec();
  spec.num_layers = 6;
  spec.num_kv_heads = 2;
  spec.values.dim = 8;
  spec.keys.sealed = spec.values.sealed = sealed;
  spec.merged_with = {0, 1, 1, 3, 3, 3};
  return spec;
}

// Directions are sums of rows and norms a part of the row's first number: all of it exact in F16,
// and what is read is easy to say.
float NormOf(std::span<const float> row) { return row[0] / 8; }
const MergeFunctions kSums = {
    .direction =
        [](std::span<const float* const> rows, std::span<float> direction) {
          std::ranges::fill(direction, 0.0f);
          for (const float* row : rows) {
            for (size_t c = 0; c < direction.size(); ++c) direction[c] += row[c];
          }
        },
    .norm = [](std::span<const float> row, std::span<const float>) { return NormOf(row); }};

const RunParallel kThreeThreads = [](const auto& work) {
  for (const int thread : {2, 0, 1}) work(thread, 3);
};

// What every head of a merged cache holds, as plain lists: the parts in the order of their entries.
struct Entry {
  int32_t position;
  uint32_t mark;
  std::vector<float> restored[2] = {};  // by side, once it is merged
};
struct Parts {
  std::vector<Entry> exact, merged, tail;

  std::vector<Entry> All() const {
    std::vector<Entry> all = exact;
    all.insert(all.end(), merged.begin(), merged.end());
    all.insert(all.end(), tail.begin(), tail.end());
    return all;
  }
};

class MergedModel {
 public:
  explicit MergedModel(const CacheSpec& s)
      : spec(s), heads(s.num_layers, std::vector<Parts>(s.num_kv_heads)) {}

  std::vector<float> Row(uint32_t layer, uint32_t head, Side side, const Entry& entry) const {
    if (!entry.restored[size_t(side)].empty()) return entry.restored[size_t(side)];
    std::vector<float> row(Dim(side));
    for (uint32_t c = 0; c < row.size(); ++c) row[c] = Number(entry.mark, side, {layer, head}, c);
    return row;
  }

  uint32_t Dim(Side side) const { return side == Side::kKeys ? spec.keys.dim : spec.values.dim; }

  // Groups of sums go through the form in pages of their own.
  void Merge(const MergeRequest& request) {
    const uint32_t end = spec.GroupEnd(request.layer);
    std::vector<uint32_t> moved;
    for (uint32_t i = 0; i < request.count; ++i) {
      if (!std::ranges::count(request.exact, i)) moved.push_back(i);
    }
    for (const Side side : {Side::kKeys, Side::kValues}) {
      const std::vector<float> sums = StoredSums(request, side, moved);
      for (uint32_t layer = request.layer; layer < end; ++layer) {
        for (size_t k = 0; k < moved.size(); ++k) {
          Entry& entry = heads[layer][request.kv_head].tail[moved[k]];
          const float norm = NormOf(Row(layer, request.kv_head, side, entry));
          auto& restored = entry.restored[size_t(side)];
          restored.assign(sums.begin() + ptrdiff_t(k * Dim(side)),
                          sums.begin() + ptrdiff_t((k + 1) * Dim(side)));
          for (float& x : restored) x *= norm;
        }
      }
    }
    for (uint32_t layer = request.layer; layer < end; ++layer) {
      Parts& parts = heads[layer][request.kv_head];
      for (const uint32_t i : request.exact) parts.exact.push_back(parts.tail[i]);
      for (const uint32_t i : moved) parts.merged.push_back(parts.tail[i]);
      parts.tail.erase(parts.tail.begin(), parts.tail.begin() + ptrdiff_t(request.count));
    }
  }

  void Truncate(int32_t end) {
    for (auto& layer : heads) {
      for (Parts& parts : layer) {
        for (auto* part : {&parts.exact, &parts.merged, &parts.tail}) {
          std::erase_if(*part, [end](const Entry& e) { return e.position >= end; });
        }
      }
    }
    next = std::min(next, end);
  }

  CacheSpec spec;
  std::vector<std::vector<Parts>> heads;  // [layer][KV head]
  int32_t next = 0;                       // position

 private:
  std::vector<float> StoredSums(const MergeRequest& request, Side side,
                                const std::vector<uint32_t>& moved) const {
    const uint32_t dim = Dim(side);
    std::vector<float> sums(moved.size() * dim, 0.0f);
    for (uint32_t l = request.layer; l < spec.GroupEnd(request.layer); ++l) {
      for (size_t k = 0; k < moved.size(); ++k) {
        const Entry& entry = heads[l][request.kv_head].tail[moved[k]];
        const std::vector<float> row = Row(l, request.kv_head, side, entry);
        for (uint32_t c = 0; c < dim; ++c) sums[k * dim + c] += row[c];
      }
    }
    const Form* form = spec.keys.sealed;
    if (form == nullptr) return sums;
    const PageShape shape{dim, kMaxPageEntries};
    std::vector<std::byte> page(form->page_bytes(side, shape));
    for (size_t first = 0; first < moved.size(); first += form->group(side)) {
      const auto count = uint32_t(std::min<size_t>(form->group(side), moved.size() - first));
      form->store(side, page.data(), shape, 0, count, &sums[first * dim], dim);
      form->load(side, page.data(), shape, 0, count, &sums[first * dim], dim);
    }
    return sums;
  }
};

bool Append(SequenceCache* cache, MergedModel* model, uint32_t count, Rng* rng) {
  const CacheSpec& spec = cache->spec();
  const std::vector<int32_t> positions = testing::Positions(model->next, count);
  if (!cache->Extend(positions)) return false;
  model->next += int32_t(count);
  std::vector<uint32_t> marks(count);
  for (uint32_t& mark : marks) mark = rng->Next();
  for (uint32_t layer = 0; layer < spec.num_layers; ++layer) {
    for (uint32_t head = 0; head < spec.num_kv_heads; ++head) {
      Parts& parts = model->heads[layer][head];
      for (uint32_t i = 0; i < count; ++i) parts.tail.push_back({positions[i], marks[i]});
      const uint64_t first = cache->num_entries(layer, head) - count;
      for (const Side side : {Side::kKeys, Side::kValues}) {
        std::vector<float> rows;
        for (uint32_t i = 0; i < count; ++i) {
          const auto row = model->Row(layer, head, side, {positions[i], marks[i]});
          rows.insert(rows.end(), row.begin(), row.end());
        }
        if (side == Side::kKeys) {
          cache->WriteKeys(layer, head, first, count, rows.data(), spec.keys.dim);
        } else {
          cache->WriteValues(layer, head, first, count, rows.data(), spec.values.dim);
        }
      }
    }
  }
  return true;
}

MergeRequest AnyRequest(const MergedModel& model, uint32_t layer, uint32_t head, Rng* rng) {
  const auto tail = uint32_t(model.heads[layer][head].tail.size());
  MergeRequest request{.layer = layer, .kv_head = head, .count = rng->Below(tail + 1)};
  request.exact = testing::RandomKept(uint32_t(request.count), rng);
  request.keys = {0.25f, 0.5f + 0.01f * float(rng->Below(40))};
  request.values = {0.125f, 0.75f};
  return request;
}

// Both groups in one call. False if there was no memory; then the model is unchanged.
bool MergeAll(SequenceCache* cache, MergedModel* model, Rng* rng) {
  std::vector<MergeRequest> requests;
  for (const uint32_t layer : {1u, 3u}) {
    for (uint32_t head = 0; head < model->spec.num_kv_heads; ++head) {
      if (rng->Below(4) > 0) requests.push_back(AnyRequest(*model, layer, head, rng));
    }
  }
  if (!cache->Merge(requests, kSums, kThreeThreads)) return false;
  for (const MergeRequest& request : requests) {
    model->Merge(request);
    EXPECT_EQ(cache->merge_range(request.layer, request.kv_head, Side::kKeys), request.keys);
    EXPECT_EQ(cache->merge_range(request.layer, request.kv_head, Side::kValues), request.values);
  }
  return true;
}

void CheckEqual(const SequenceCache& cache, const MergedModel& model) {
  for (uint32_t layer = 0; layer < model.spec.num_layers; ++layer) {
    for (uint32_t head = 0; head < model.spec.num_kv_heads; ++head) {
      SCOPED_TRACE("layer " + std::to_string(layer) + " head " + std::to_string(head));
      const std::vector<Entry> all = model.heads[layer][head].All();
      ASSERT_EQ(cache.num_entries(layer, head), all.size());
      std::vector<int32_t> positions(all.size());
      cache.Positions(layer, head, positions);
      for (const Side side : {Side::kKeys, Side::kValues}) {
        ASSERT_EQ(cache.num_sealed(layer, head, side), model.heads[layer][head].merged.size());
        ASSERT_EQ(cache.num_unsealed(layer, head, side), model.heads[layer][head].tail.size());
        std::vector<float> rows(all.size() * model.Dim(side));
        ReadRows(cache.Head(layer, head), side, 0, uint32_t(all.size()), rows.data());
        for (size_t i = 0; i < all.size(); ++i) {
          ASSERT_EQ(positions[i], all[i].position);
          const float* row = &rows[i * model.Dim(side)];
          ASSERT_EQ(std::vector<float>(row, row + model.Dim(side)),
                    model.Row(layer, head, side, all[i]))
              << "entry " << i;
        }
      }
    }
  }
}

// From the views: pages of directions count where their group begins, norms with every layer.
uint64_t RecountHeld(const SequenceCache& cache) {
  const CacheSpec& spec = cache.spec();
  uint64_t held = 0;
  const auto add_block = [&held](uint64_t bytes) { held += (bytes + 63) / 64 * 64; };
  for (uint32_t layer = 0; layer < spec.num_layers; ++layer) {
    for (uint32_t head = 0; head < spec.num_kv_heads; ++head) {
      const HeadView view = cache.Head(layer, head);
      for (const Side side : {Side::kKeys, Side::kValues}) {
        for (const PageView& page : side == Side::kKeys ? view.keys : view.values) {
          if (page.norms != nullptr) add_block(uint64_t{page.shape.capacity} * 2);
          if (page.norms != nullptr && spec.merged_with[layer] != layer) continue;
          add_block(page.form->page_bytes(side, page.shape));
          if (page.positions != nullptr) add_block(uint64_t{page.shape.capacity} * 4);
        }
      }
    }
  }
  return held;
}

void CheckSaved(const SequenceCache& cache, const MergedModel& model, PagePool* pool) {
  const std::vector<std::byte> bytes = Saved(cache);
  const auto loaded = SequenceCache::Load(pool, cache.spec(), bytes, "test");
  ASSERT_TRUE(loaded) << loaded.error().Message();
  CheckEqual(*loaded, model);
  EXPECT_EQ(Saved(*loaded), bytes);
  EXPECT_EQ(loaded->Usage().logical, cache.Usage().logical);
  EXPECT_EQ(RecountHeld(*loaded), loaded->Usage().held);
}

TEST(Merge, RandomOperations_EqualTheModel) {
  for (uint64_t seed = 0; seed < 60; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Rng rng(seed, 3);
    PagePool pool;
    const CacheSpec spec = MergedSpec(seed % 2 == 0 ? nullptr : &testing::kGroupForm);
    {
      struct Sequence {
        SequenceCache cache;
        MergedModel model;
      };
      std::vector<Sequence> all;
      all.push_back({SequenceCache(&pool, spec), MergedModel(spec)});
      for (int step = 0; step < 25; ++step) {
        Sequence& one = all[rng.Below(uint32_t(all.size()))];
        switch (rng.Below(6)) {
          case 0:
          case 1:
            ASSERT_TRUE(Append(&one.cache, &one.model, 1 + rng.Below(200), &rng));
            break;
          case 2:
          case 3:
            ASSERT_TRUE(MergeAll(&one.cache, &one.model, &rng));
            break;
          case 4: {
            const auto end = int32_t(rng.Below(uint32_t(one.model.next) + 1));
            one.cache.Truncate(end);
            one.model.Truncate(end);
            break;
          }
          default:
            if (all.size() == 3) all.erase(all.begin() + rng.Below(3));
            all.push_back({all.front().cache.Fork(), all.front().model});
        }
        for (const Sequence& s : all) {
          CheckEqual(s.cache, s.model);
          ASSERT_EQ(s.cache.Usage().held, RecountHeld(s.cache));
        }
        if (step % 5 == 4) CheckSaved(all.front().cache, all.front().model, &pool);
        if (HasFatalFailure()) return;
      }
    }
    EXPECT_EQ(pool.used_bytes(), 0u);
  }
}

TEST(Merge, LayersOfAGroup_HaveOnePageOfDirections) {
  Rng rng(1);
  PagePool pool;
  const CacheSpec spec = MergedSpec();
  SequenceCache cache(&pool, spec);
  MergedModel model(spec);
  ASSERT_TRUE(Append(&cache, &model, 300, &rng));
  MergeRequest request{.layer = 3, .kv_head = 1, .count = 260, .exact = {0, 1, 100}};
  ASSERT_TRUE(cache.Merge({&request, 1}, kSums));
  model.Merge(request);
  CheckEqual(cache, model);
  const auto pages = [&](uint32_t layer) { return cache.Head(layer, 1).keys; };
  ASSERT_EQ(pages(3).size(), 5u);  // 3 exact, 128 + 128 + 1, 40 in the tail
  for (const size_t p : {1, 2, 3}) {
    EXPECT_EQ(pages(3)[p].data, pages(4)[p].data);
    EXPECT_EQ(pages(3)[p].data, pages(5)[p].data);
    EXPECT_NE(pages(3)[p].norms, pages(4)[p].norms);
  }
  EXPECT_NE(pages(3)[0].data, pages(4)[0].data);
  EXPECT_EQ(pages(4)[0].norms, nullptr);
}

// Per entry and layer of a group of n: (2 D / n + 2) bytes for a key or value, the rest exact.
TEST(Merge, LogicalBytes_AreThoseOfTheFormula) {
  Rng rng(2);
  PagePool pool;
  const CacheSpec spec = MergedSpec();
  SequenceCache cache(&pool, spec);
  MergedModel model(spec);
  constexpr uint64_t kEntries = 400, kMerged = 256, kExact = 24;
  ASSERT_TRUE(Append(&cache, &model, kEntries, &rng));
  std::vector<MergeRequest> requests;
  for (const uint32_t layer : {1u, 3u}) {
    for (uint32_t head = 0; head < 2; ++head) {
      requests.push_back({.layer = layer, .kv_head = head, .count = kMerged + kExact});
      for (uint32_t i = 0; i < kExact; ++i) requests.back().exact.push_back(i * 7);
    }
  }
  const uint64_t full = cache.Usage().logical;
  constexpr uint64_t kDims = 12 + 8, kHeads = 2;
  EXPECT_EQ(full, 6 * kHeads * kEntries * 2 * kDims);
  ASSERT_TRUE(cache.Merge(requests, kSums));
  const uint64_t whole = kHeads * (kEntries - kMerged) * 2 * kDims;  // of a layer
  const uint64_t directions = kHeads * kMerged * 2 * kDims, norms = kHeads * kMerged * 2 * 2;
  EXPECT_EQ(cache.Usage().logical,
            kHeads * kEntries * 2 * kDims + 5 * (whole + norms) + 2 * directions);
  EXPECT_EQ(cache.Usage(1, 0).logical + cache.Usage(2, 0).logical,
            (2 * whole + 2 * norms + directions) / kHeads);
  EXPECT_EQ(cache.Usage().sealed_keys, 5 * kHeads * kMerged);
}

TEST(Merge, PoolWithTooLittle_ChangesNothing) {
  const CacheSpec spec = MergedSpec(&testing::kGroupForm);
  uint64_t used = 0;
  {
    Rng rng(5);
    PagePool pool;
    SequenceCache cache(&pool, spec);
    MergedModel model(spec);
    ASSERT_TRUE(Append(&cache, &model, 500, &rng));
    used = pool.peak_bytes();
  }
  bool refused = false, done = false;
  for (uint64_t limit = used; !done; limit += 4096) {
    ASSERT_LT(limit, 2 * used);
    Rng rng(5);
    PagePool pool(limit);
    SequenceCache cache(&pool, spec);
    MergedModel model(spec);
    ASSERT_TRUE(Append(&cache, &model, 500, &rng));
    const std::vector<std::byte> before = Saved(cache);
    const uint64_t held = cache.Usage().held;
    done = MergeAll(&cache, &model, &rng);
    refused = refused || !done;
    if (!done) {
      ASSERT_EQ(Saved(cache), before);
      ASSERT_EQ(cache.Usage().held, held);
    }
    CheckEqual(cache, model);
    if (HasFatalFailure()) return;
  }
  EXPECT_TRUE(refused);
}

// As of other lists: whatever is under a right checksum is refused or saves to the very same bytes.
TEST(Merge, DamageUnderARightChecksum_IsRefusedOrIsACanonicalCache) {
  int refused = 0, accepted = 0;
  for (uint64_t seed = 0; seed < 2000; ++seed) {
    SCOPED_TRACE(seed);
    Rng rng(seed);
    PagePool pool(1 << 20);
    const CacheSpec spec = MergedSpec(seed % 2 == 0 ? nullptr : &testing::kGroupForm);
    SequenceCache cache(&pool, spec);
    MergedModel model(spec);
    ASSERT_TRUE(Append(&cache, &model, 1 + rng.Below(9), &rng));
    ASSERT_TRUE(MergeAll(&cache, &model, &rng));
    std::vector<std::byte> bytes = Saved(cache);
    const auto size = static_cast<uint32_t>(bytes.size());
    if (const uint32_t damage = rng.Below(4); damage == 0) {
      bytes.resize(24 + rng.Below(size - 24));
      const uint64_t now = bytes.size();
      std::memcpy(bytes.data() + 8, &now, 8);
    } else {
      for (uint32_t i = 0; i < damage; ++i) {
        bytes[16 + rng.Below(size - 24)] = static_cast<std::byte>(rng.Next());
      }
    }
    testing::FixChecksum(&bytes);
    const auto loaded = SequenceCache::Load(&pool, spec, bytes, "bytes");
    ++(loaded ? accepted : refused);
    if (loaded) {
      ASSERT_EQ(Saved(*loaded), bytes);
    }
  }
  EXPECT_GT(refused, 500);
  EXPECT_GT(accepted, 100);  // entries hold anything
}

TEST(Merge, CacheOfOtherGroups_IsRefusedByName) {
  PagePool pool;
  CacheSpec spec = MergedSpec();
  const std::vector<std::byte> bytes = Saved(SequenceCache(&pool, spec));
  spec.merged_with = {0, 1, 1, 3, 3, 5};
  const auto loaded = SequenceCache::Load(&pool, spec, bytes, "file");
  ASSERT_FALSE(loaded);
  EXPECT_NE(loaded.error().Message().find("layer that a layer is merged with"), std::string::npos)
      << loaded.error().Message();
  spec.merged_with.clear();
  EXPECT_FALSE(SequenceCache::Load(&pool, spec, bytes, "file"));
}

}  // namespace
}  // namespace pith
