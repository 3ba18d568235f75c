// SequenceCache::Seal: what moves, that it is encoded once, what it costs, and what stays when it
// fails.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

#include "cache/cache.h"
#include "cache/list.h"
#include "cache/test_model.h"
#include "codec/kivi.h"

namespace pith {
namespace {

using testing::Append;
using testing::CheckEqual;
using testing::KeepSome;
using testing::kGroupForm;
using testing::Model;
using testing::Positions;
using testing::RecountHeld;
using testing::Saved;
using testing::SealSome;
using testing::SmallSpec;

// Keys sealed in groups of 32, values one by one: as KIVI does.
CacheSpec AgeingSpec() {
  CacheSpec spec = SmallSpec(FormId::kF32);
  spec.keys.sealed = &kGroupForm;
  spec.values.sealed = FindForm("bf16");
  return spec;
}

// The same of every list of a side.
std::vector<SealRequest> OfAllHeads(const CacheSpec& spec, Side side, uint64_t count) {
  std::vector<SealRequest> requests;
  for (uint32_t layer = 0; layer < spec.num_layers; ++layer) {
    for (uint32_t head = 0; head < spec.num_kv_heads; ++head) {
      requests.push_back({.layer = layer, .kv_head = head, .side = side, .count = count});
    }
  }
  return requests;
}

void SealAll(SequenceCache* cache, Model* model, Side side, uint64_t count) {
  const auto requests = OfAllHeads(cache->spec(), side, count);
  ASSERT_TRUE(cache->Seal(requests));
  for (const SealRequest& request : requests) {
    model->Seal({request.layer, request.kv_head}, side, count);
  }
}

TEST(Seal, KeysInGroupsAndValuesOneByOne_MoveToTheFront) {
  PagePool pool;
  Rng rng(1);
  SequenceCache cache(&pool, AgeingSpec());
  Model model(cache.spec());
  ASSERT_TRUE(Append(&cache, &model, 200, 0, &rng));
  ASSERT_TRUE(cache.Seal(std::vector<SealRequest>{
      {.layer = 1, .kv_head = 2, .side = Side::kKeys, .count = 96},
      {.layer = 1, .kv_head = 2, .side = Side::kValues, .count = 140},
  }));
  model.Seal({1, 2}, Side::kKeys, 96);
  model.Seal({1, 2}, Side::kValues, 140);
  CheckEqual(cache, model);
  EXPECT_EQ(cache.num_sealed(1, 2, Side::kKeys), 96u);
  EXPECT_EQ(cache.num_sealed(1, 2, Side::kValues), 140u);
  EXPECT_EQ(cache.num_sealed(1, 1, Side::kKeys), 0u);
  const HeadView head = cache.Head(1, 2);
  ASSERT_EQ(head.keys.size(), 4u);  // three groups and a tail of 104
  EXPECT_EQ(head.keys[2].form, &kGroupForm);
  EXPECT_EQ(head.keys[2].count, 32u);
  EXPECT_EQ(head.keys[2].first_position, 64);
  EXPECT_EQ(head.keys[2].positions, nullptr);
  EXPECT_EQ(head.keys[3].form, FindForm("f32"));
  EXPECT_EQ(head.keys[3].count, 104u);
  EXPECT_EQ(head.keys[3].first_position, 96);
  ASSERT_EQ(head.values.size(), 3u);  // 128 and 12, and a tail of 60
  EXPECT_EQ(head.values[1].shape.capacity, 16u);
  EXPECT_EQ(head.values[2].shape.capacity, 64u);
}

// The counters of KIVI with a residual of 128, from the paper's procedure: keys leave the tail in
// blocks of 128, values one by one. 300 tokens: 256 keys and 172 values are sealed; 84 steps later
// 384 and 256.
TEST(Seal, ResidualWindow_CountsAsPublished) {
  PagePool pool;
  Rng rng(1);
  SequenceCache cache(&pool, AgeingSpec());
  Model model(cache.spec());
  const auto age = [&] {
    const uint64_t keys = model.size() - cache.num_sealed(0, 0, Side::kKeys);
    SealAll(&cache, &model, Side::kKeys, keys - keys % 128);
    const uint64_t values = model.size() - cache.num_sealed(0, 0, Side::kValues);
    SealAll(&cache, &model, Side::kValues, values - std::min<uint64_t>(values, 128));
  };
  ASSERT_TRUE(Append(&cache, &model, 300, 0, &rng));
  age();
  EXPECT_EQ(cache.num_sealed(1, 1, Side::kKeys), 256u);
  EXPECT_EQ(cache.num_sealed(1, 1, Side::kValues), 172u);
  for (int step = 0; step < 84; ++step) {
    ASSERT_TRUE(Append(&cache, &model, 1, 0, &rng));
    age();
    if (step % 12 == 11) CheckEqual(cache, model);
  }
  EXPECT_EQ(cache.num_sealed(1, 1, Side::kKeys), 384u);
  EXPECT_EQ(cache.num_sealed(1, 1, Side::kValues), 256u);
  EXPECT_EQ(cache.num_entries(1, 1), 384u);
  EXPECT_EQ(cache.Head(1, 1).keys.size(), 12u);  // the tail of keys is empty

  // Sealed in one go, the codes are the same, and so are the saved bytes.
  SequenceCache at_once(&pool, AgeingSpec());
  ASSERT_TRUE(at_once.Extend(Positions(0, 384)));
  testing::WriteEntries(&at_once, model.Unsealed(), 384, 384, 0);
  ASSERT_TRUE(at_once.Seal(OfAllHeads(cache.spec(), Side::kKeys, 384)));
  ASSERT_TRUE(at_once.Seal(OfAllHeads(cache.spec(), Side::kValues, 256)));
  EXPECT_EQ(Saved(at_once), Saved(cache));
}

// Codes of every head's sealed pages, in the canonical layout.
std::vector<std::byte> Codes(const HeadView& head) {
  std::vector<std::byte> codes;
  for (const PageView& page : head.keys) {
    if (page.form != &kGroupForm) continue;
    const size_t bytes = page.form->canonical_page_bytes(Side::kKeys, page.shape.dim, page.count);
    codes.resize(codes.size() + bytes);
    page.form->export_page(Side::kKeys, page.data, page.shape, page.count,
                           codes.data() + codes.size() - bytes);
  }
  return codes;
}

// A group whose extremes are dropped: encoded again, its steps would be finer.
TEST(Seal, EntriesLeaveAGroup_OthersKeepTheirCodesAndItsSteps) {
  PagePool pool;
  CacheSpec spec{.num_layers = 1,
                 .num_kv_heads = 1,
                 .keys = {.form = FindForm("f32"), .dim = 1, .sealed = &kGroupForm},
                 .values = {.form = FindForm("f32"), .dim = 1}};
  SequenceCache cache(&pool, spec);
  ASSERT_TRUE(cache.Extend(Positions(0, 40)));
  std::vector<float> rows(40);
  for (int i = 0; i < 40; ++i) rows[i] = static_cast<float>(i) * 0.25f;
  rows[3] = 255;  // with a least number of 0 the step is 1: the others become 0 to 10
  cache.WriteKeys(0, 0, 0, 40, rows.data(), 1);
  cache.WriteValues(0, 0, 0, 40, rows.data(), 1);
  ASSERT_TRUE(cache.Seal(std::vector<SealRequest>{{.side = Side::kKeys, .count = 32}}));
  const auto key = [&](uint64_t entry) {
    float value;
    cache.ReadKeys(0, 0, entry, 1, &value);
    return value;
  };
  EXPECT_EQ(key(3), 255.0f);
  EXPECT_EQ(key(21), 5.0f);   // 5.25
  EXPECT_EQ(key(33), 8.25f);  // of the tail
  const uint32_t kept[] = {9, 10, 21, 22, 31, 33, 39};
  ASSERT_TRUE(cache.Keep(0, 0, kept));
  const std::vector<float> expected = {2, 2, 5, 6, 8, 8.25f, 9.75f};  // 2.25, 2.5, 5.25, 5.5, 7.75
  std::vector<float> keys(7), values(7);
  std::vector<int32_t> positions(7);
  const auto check = [&](const SequenceCache& of) {
    of.ReadKeys(0, 0, 0, 7, keys.data());
    of.ReadValues(0, 0, 0, 7, values.data());
    of.Positions(0, 0, positions);
    EXPECT_EQ(keys, expected);
    EXPECT_EQ(values, (std::vector<float>{2.25f, 2.5f, 5.25f, 5.5f, 7.75f, 8.25f, 9.75f}));
    EXPECT_EQ(positions, (std::vector<int32_t>{9, 10, 21, 22, 31, 33, 39}));
    EXPECT_EQ(of.num_sealed(0, 0, Side::kKeys), 5u);
  };
  check(cache);
  EXPECT_EQ(cache.Head(0, 0).keys[0].shape.capacity, 8u);  // into a smaller class
  const SequenceCache fork = cache.Fork();
  const auto loaded = SequenceCache::Load(&pool, spec, Saved(cache), "bytes");
  ASSERT_TRUE(loaded);
  cache.Truncate(21);
  EXPECT_EQ(cache.num_entries(0, 0), 2u);
  EXPECT_EQ(key(1), 2.0f);
  check(fork);
  check(*loaded);
}

TEST(Seal, AnyLaterOperation_LeavesCodesUnchanged) {
  PagePool pool;
  Rng rng(5);
  SequenceCache cache(&pool, AgeingSpec());
  Model model(cache.spec());
  ASSERT_TRUE(Append(&cache, &model, 300, 3, &rng));
  SealAll(&cache, &model, Side::kKeys, 160);
  SealAll(&cache, &model, Side::kValues, 160);
  const std::vector<std::byte> codes = Codes(cache.Head(0, 1));
  ASSERT_FALSE(codes.empty());
  ASSERT_TRUE(Append(&cache, &model, 40, 0, &rng));
  SequenceCache fork = cache.Fork();
  Model fork_model = model;
  const auto loaded = SequenceCache::Load(&pool, cache.spec(), Saved(cache), "bytes");
  ASSERT_TRUE(loaded);
  SealAll(&cache, &model, Side::kKeys, 96);  // more behind them
  std::vector<uint32_t> kept(160);
  for (uint32_t i = 0; i < 160; ++i) kept[i] = i;
  kept.push_back(170);
  kept.push_back(300);
  ASSERT_TRUE(fork.Keep(0, 1, kept));
  fork_model.Keep({0, 1}, kept);
  CheckEqual(cache, model);
  CheckEqual(fork, fork_model);
  EXPECT_EQ(Codes(fork.Head(0, 1)), codes);
  EXPECT_EQ(Codes(loaded->Head(0, 1)), codes);
  std::vector<std::byte> more = Codes(cache.Head(0, 1));
  ASSERT_GT(more.size(), codes.size());
  more.resize(codes.size());
  EXPECT_EQ(more, codes);
  EXPECT_EQ(fork.Head(0, 1).keys[0].data, cache.Head(0, 1).keys[0].data);  // still shared
}

// Every form that there is, as the sealed one of both sides.
TEST(Seal, EveryForm_ReadsTheSameAfterAnyOperation) {
  std::vector<const Form*> forms(Forms().begin(), Forms().end());
  forms.insert(forms.end(), KiviForms().begin(), KiviForms().end());
  for (const Form* form : forms) {
    SCOPED_TRACE(form->name);
    PagePool pool;
    Rng rng(7);
    CacheSpec spec = SmallSpec(FormId::kF32);
    spec.keys.dim = spec.values.dim = 96;
    spec.keys.sealed = spec.values.sealed = form;
    SequenceCache cache(&pool, spec);
    Model model(spec);
    for (int round = 0; round < 6; ++round) {
      ASSERT_TRUE(Append(&cache, &model, 90, 3, &rng));
      ASSERT_TRUE(SealSome(&cache, &model, &rng));
      SequenceCache fork = cache.Fork();
      Model fork_model = model;
      ASSERT_TRUE(KeepSome(&cache, &model, &rng));
      ASSERT_TRUE(KeepSome(&fork, &fork_model, &rng));
      const auto end = static_cast<int32_t>(rng.Below(90 * (round + 1)));
      fork.Truncate(end);
      fork_model.Truncate(end);
      const std::vector<std::byte> bytes = Saved(cache);
      auto loaded = SequenceCache::Load(&pool, spec, bytes, "bytes");
      ASSERT_TRUE(loaded) << loaded.error().Message();
      ASSERT_EQ(Saved(*loaded), bytes);
      cache = std::move(*loaded);
      CheckEqual(cache, model);
      CheckEqual(fork, fork_model);
      if (HasFatalFailure()) return;
    }
  }
}

TEST(Seal, TruncateIntoTheSealedPart_ThenGrowsAgainInTheTail) {
  PagePool pool;
  Rng rng(2);
  SequenceCache cache(&pool, AgeingSpec());
  Model model(cache.spec());
  ASSERT_TRUE(Append(&cache, &model, 200, 0, &rng));
  SealAll(&cache, &model, Side::kKeys, 192);
  SealAll(&cache, &model, Side::kValues, 150);
  cache.Truncate(70);
  model.Truncate(70);
  CheckEqual(cache, model);
  EXPECT_EQ(cache.Head(0, 0).keys.size(), 3u);
  EXPECT_EQ(cache.Head(0, 0).keys[2].count, 6u);
  EXPECT_EQ(cache.Head(0, 0).keys[2].shape.capacity, 8u);
  EXPECT_EQ(cache.Head(0, 0).values.size(), 1u);
  ASSERT_TRUE(Append(&cache, &model, 50, 0, &rng));
  SealAll(&cache, &model, Side::kKeys, 32);  // a group of its own behind the short one
  CheckEqual(cache, model);
  EXPECT_EQ(cache.Head(0, 0).keys[2].count, 6u);
  EXPECT_EQ(cache.Head(0, 0).keys[3].count, 32u);
  EXPECT_EQ(cache.num_sealed(0, 0, Side::kKeys), 102u);
}

TEST(Seal, UsageAndMemory_EqualACountByHand) {
  PagePool pool;
  Rng rng(2);
  SequenceCache cache(&pool, AgeingSpec());  // dim 12
  Model model(cache.spec());
  ASSERT_TRUE(Append(&cache, &model, 200, 0, &rng));
  SealAll(&cache, &model, Side::kKeys, 96);
  SealAll(&cache, &model, Side::kValues, 140);
  const CacheUsage head = cache.Usage(1, 2);
  EXPECT_EQ(head.entries, 200u);
  EXPECT_EQ(head.sealed_keys, 96u);
  EXPECT_EQ(head.sealed_values, 140u);
  // Keys: three groups of 12 least numbers, 12 steps and 32 x 12 codes; 104 of 48 bytes. Values:
  // 140 of 24 bytes, 60 of 48.
  EXPECT_EQ(head.logical, 3u * (96 + 384) + 104 * 48 + 140 * 24 + 60 * 48);
  // Groups take 480 bytes: 512 as blocks; the tail 128 x 48. Values 128 and 16 of 24, 64 of 48.
  EXPECT_EQ(head.allocated, 3u * 512 + 128 * 48 + 128 * 24 + 16 * 24 + 64 * 48);
  EXPECT_EQ(head.held, head.allocated);
  // Four pages of keys, three of values, and the joined views of both.
  EXPECT_EQ(head.metadata,
            7u * (sizeof(Page) + sizeof(Page*) + sizeof(PageView)) + 7 * sizeof(PageView));
  EXPECT_EQ(cache.Usage().sealed_keys, 6u * 96);
  EXPECT_EQ(cache.Usage().sealed_values, 6u * 140);
  EXPECT_EQ(cache.Usage().held, 6 * head.held);
  EXPECT_EQ(pool.used_bytes(), 6 * head.held);
  EXPECT_EQ(RecountHeld(cache), cache.Usage().held);

  std::vector<uint32_t> kept;  // seven of every group and of the tail's 32s
  for (uint32_t i = 0; i < 200; ++i) {
    if (i % 32 < 7) kept.push_back(i);
  }
  ASSERT_TRUE(cache.Keep(1, 2, kept));  // contiguous in each group of keys
  const CacheUsage after = cache.Usage(1, 2);
  ASSERT_EQ(after.entries, 49u);
  EXPECT_EQ(after.sealed_keys, 21u);
  EXPECT_EQ(after.sealed_values, 35u);
  EXPECT_EQ(after.logical, 3u * (96 + 84) + 28 * 48 + 35 * 24 + 14 * 48);
  // Groups in pages of 8: 96 + 96 bytes. The tail: 32 of 48, and its positions. Values: 48 of 24
  // and 16 of 48.
  EXPECT_EQ(after.allocated, 3u * 192 + 32 * 48 + 128 + 48 * 24 + 16 * 48);
}

TEST(Seal, WiderScopes_SealOnceForAllThatTheListServes) {
  PagePool pool;
  Rng rng(4);
  CacheSpec spec = AgeingSpec();
  spec.num_layers = 4;
  spec.keys.scope = OwnerScope::kLayerGroup;
  spec.values.scope = OwnerScope::kLayer;
  spec.layer_group = {7, 2, 7, 2};
  SequenceCache cache(&pool, spec);
  Model model(spec);
  ASSERT_TRUE(Append(&cache, &model, 100, 0, &rng));
  ASSERT_TRUE(
      cache.Seal(std::vector<SealRequest>{{.layer = 1, .side = Side::kKeys, .count = 64},
                                          {.layer = 3, .side = Side::kValues, .count = 9}}));
  model.Seal({1, 0}, Side::kKeys, 64);
  model.Seal({3, 0}, Side::kValues, 9);
  CheckEqual(cache, model);
  EXPECT_EQ(cache.num_sealed(3, 2, Side::kKeys), 64u);
  EXPECT_EQ(cache.num_sealed(2, 2, Side::kKeys), 0u);
  EXPECT_EQ(cache.Usage().sealed_keys, 6u * 64);  // as heads see it
  EXPECT_THROW((void)cache.Seal(std::vector<SealRequest>{{.layer = 3, .count = 1}}),
               std::logic_error);  // not the first head
}

TEST(Seal, LayersWithTheirOwnForms_KeepToThem) {
  PagePool pool;
  Rng rng(4);
  CacheSpec spec = SmallSpec(FormId::kF32);  // two layers of three heads, dim 12
  spec.keys.sealed_by_layer = {&kGroupForm, nullptr};
  spec.values.sealed_by_layer = {FindForm("f16"), &kGroupForm};
  SequenceCache cache(&pool, spec);
  Model model(spec);
  ASSERT_TRUE(Append(&cache, &model, 100, 0, &rng));
  ASSERT_TRUE(
      cache.Seal(std::vector<SealRequest>{{.layer = 0, .side = Side::kKeys, .count = 64},
                                          {.layer = 0, .side = Side::kValues, .count = 70},
                                          {.layer = 1, .side = Side::kValues, .count = 32}}));
  model.Seal({0, 0}, Side::kKeys, 64);
  model.Seal({0, 0}, Side::kValues, 70);
  model.Seal({1, 0}, Side::kValues, 32);
  CheckEqual(cache, model);
  // Groups as in UsageAndMemory_EqualACountByHand; f16 takes 24 bytes, f32 48.
  EXPECT_EQ(cache.Usage(0, 0).logical, 2u * (96 + 384) + 36 * 48 + 70 * 24 + 30 * 48);
  EXPECT_EQ(cache.Usage(1, 0).logical, 100u * 48 + 2 * 96 + 384 + 68 * 48);
  EXPECT_EQ(cache.Usage().held, RecountHeld(cache));

  SequenceCache fork = cache.Fork();
  const std::vector<std::byte> bytes = Saved(cache);
  auto loaded = SequenceCache::Load(&pool, spec, bytes, "bytes");
  ASSERT_TRUE(loaded) << loaded.error().Message();
  for (SequenceCache* other : {&fork, &*loaded}) {
    CheckEqual(*other, model);
    EXPECT_EQ(Saved(*other), bytes);
  }
  CacheSpec wrong = spec;
  wrong.keys.sealed_by_layer = {&kGroupForm, &kGroupForm};
  const auto refused = SequenceCache::Load(&pool, wrong, bytes, "bytes");
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().Message().find("form of the sealed keys of layer 1 of the saved cache"),
            std::string::npos)
      << refused.error().Message();
  EXPECT_THROW(
      (void)cache.Seal(std::vector<SealRequest>{{.layer = 1, .side = Side::kKeys, .count = 4}}),
      std::logic_error);
  wrong.keys.sealed_by_layer.pop_back();
  EXPECT_THROW(SequenceCache(&pool, wrong), std::logic_error);
}

TEST(Seal, Threads_GiveTheSameBytes) {
  PagePool pool;
  Rng rng(4);
  SequenceCache cache(&pool, AgeingSpec());
  Model model(cache.spec());
  ASSERT_TRUE(Append(&cache, &model, 300, 3, &rng));
  auto requests = OfAllHeads(cache.spec(), Side::kKeys, 250);
  for (const SealRequest& request : OfAllHeads(cache.spec(), Side::kValues, 123)) {
    requests.push_back(request);
  }
  SequenceCache other = cache.Fork();
  ASSERT_TRUE(cache.Seal(requests));
  ASSERT_TRUE(other.Seal(requests, [](const auto& work) {
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) threads.emplace_back([&work, i] { work(i, 4); });
    for (std::thread& thread : threads) thread.join();
  }));
  EXPECT_EQ(Saved(cache), Saved(other));
  EXPECT_EQ(cache.Usage().held, other.Usage().held);
}

// With every limit: it works or changes nothing.
TEST(Seal, LimitReached_FailsAndChangesNothing) {
  int failed = 0, succeeded = 0;  // seals; keeps lie between them
  for (uint64_t seed = 0; seed < 300; ++seed) {
    SCOPED_TRACE(seed);
    Rng rng(seed);
    PagePool pool(40000 + 512 * seed);
    SequenceCache cache(&pool, AgeingSpec());
    Model model(cache.spec());
    while (model.size() < 400 && Append(&cache, &model, 1 + rng.Below(20), 2, &rng)) {
    }
    std::vector<SequenceCache> forks;
    if (rng.Below(2) == 0) forks.push_back(cache.Fork());
    for (int round = 0; round < 6; ++round) {
      const std::vector<std::byte> before = Saved(cache);
      const uint64_t used = pool.used_bytes(), held = cache.Usage().held;
      const bool seals = round % 2 == 0;
      const bool done = seals ? SealSome(&cache, &model, &rng) : KeepSome(&cache, &model, &rng);
      if (seals) ++(done ? succeeded : failed);
      if (!done) {
        ASSERT_EQ(Saved(cache), before);
        ASSERT_EQ(pool.used_bytes(), used);
        ASSERT_EQ(cache.Usage().held, held);
      }
      CheckEqual(cache, model);
      ASSERT_EQ(cache.Usage().held, RecountHeld(cache));
      ASSERT_LE(pool.peak_bytes(), pool.limit_bytes());
      if (HasFatalFailure()) return;
    }
  }
  EXPECT_GT(failed, 50);
  EXPECT_GT(succeeded, 50);
}

TEST(Seal, WrongCalls_AreCheckedBugs) {
  PagePool pool;
  const CacheSpec spec = AgeingSpec();
  SequenceCache cache(&pool, spec);
  ASSERT_TRUE(cache.Extend(Positions(0, 40)));
  const auto seal = [&](std::vector<SealRequest> requests) { (void)cache.Seal(requests); };
  EXPECT_THROW(seal({{.count = 41}}), std::logic_error);
  EXPECT_THROW(seal({{.count = 4}, {.count = 4}}), std::logic_error);
  EXPECT_THROW(seal({{.layer = 2, .count = 4}}), std::logic_error);
  EXPECT_EQ(cache.num_sealed(0, 0, Side::kKeys), 0u);
  EXPECT_TRUE(cache.Seal({}));
  ASSERT_TRUE(cache.Seal(std::vector<SealRequest>{{.count = 32}}));
  const float row[12] = {};
  EXPECT_THROW(cache.WriteKeys(0, 0, 31, 1, row, 12), std::logic_error);  // sealed
  EXPECT_THROW(seal({{.count = 9}}), std::logic_error);

  SequenceCache plain(&pool, SmallSpec());
  ASSERT_TRUE(plain.Extend(Positions(0, 40)));
  EXPECT_THROW((void)plain.Seal(std::vector<SealRequest>{{.count = 4}}), std::logic_error);
  CacheSpec wrong = spec;
  wrong.side_blocks = {{.name = "score", .side = Side::kKeys, .bytes = 4}};
  EXPECT_THROW(SequenceCache(&pool, wrong), std::logic_error);
  wrong = spec;
  wrong.keys.form = &kGroupForm;  // a tail stands alone
  EXPECT_THROW(SequenceCache(&pool, wrong), std::logic_error);
}

}  // namespace
}  // namespace pith
