// What a step costs the cache: 16 layers x 8 KV heads x dim 64, f16, as a model of a billion
// parameters has.
#include <benchmark/benchmark.h>

#include <numeric>
#include <vector>

#include "base/rng.h"
#include "cache/cache.h"
#include "cache/page.h"
#include "codec/kivi.h"

namespace pith {
namespace {

constexpr uint32_t kLayers = 16, kHeads = 8, kDim = 64;

CacheSpec Spec() {
  const ListSpec list{.form = FindForm(FormId::kF16), .dim = kDim};
  return {.num_layers = kLayers, .num_kv_heads = kHeads, .keys = list, .values = list};
}

std::vector<int32_t> Positions(int32_t first, uint32_t count) {
  std::vector<int32_t> positions(count);
  std::iota(positions.begin(), positions.end(), first);
  return positions;
}

void Write(SequenceCache& cache, uint64_t first, uint32_t count, const std::vector<float>& rows) {
  constexpr size_t kStride = kHeads * kDim;
  for (uint32_t layer = 0; layer < kLayers; ++layer) {
    for (uint32_t head = 0; head < kHeads; ++head) {
      cache.WriteKeys(layer, head, first, count, &rows[head * kDim], kStride);
      cache.WriteValues(layer, head, first, count, &rows[head * kDim], kStride);
    }
  }
}

// Appends `count` tokens per step until the sequence holds 4096; page growth is included in its
// true proportion.
void Run(benchmark::State& state, uint32_t count, bool write) {
  constexpr int32_t kTokens = 4096;
  PagePool pool;
  SequenceCache cache(&pool, Spec());
  const std::vector<float> rows(size_t{count} * kHeads * kDim, 0.5f);
  int32_t end = 0;
  for (auto _ : state) {
    if (end == kTokens) {
      state.PauseTiming();
      cache.Truncate(0);
      end = 0;
      state.ResumeTiming();
    }
    if (!cache.Extend(Positions(end, count))) state.SkipWithError("no memory");
    if (write) Write(cache, static_cast<uint64_t>(end), count, rows);
    end += static_cast<int32_t>(count);
  }
  state.SetItemsProcessed(state.iterations() * count);
}

void BM_ExtendOneToken(benchmark::State& state) { Run(state, 1, false); }
void BM_ExtendAndWriteOneToken(benchmark::State& state) { Run(state, 1, true); }
void BM_ExtendChunk512(benchmark::State& state) { Run(state, 512, false); }
void BM_ExtendAndWriteChunk512(benchmark::State& state) { Run(state, 512, true); }

// Within a page of 128 entries: no page boundary is crossed between two Truncates.
void BM_ExtendOneTokenInsideAPage(benchmark::State& state) {
  PagePool pool;
  SequenceCache cache(&pool, Spec());
  int32_t end = 0;
  for (auto _ : state) {
    if (end == 0 || end == 128) {
      state.PauseTiming();
      cache = SequenceCache(&pool, Spec());
      if (!cache.Extend(Positions(0, 97))) state.SkipWithError("no memory");
      end = 97;
      state.ResumeTiming();
    }
    const int32_t position = end++;
    if (!cache.Extend({&position, 1})) state.SkipWithError("no memory");
  }
}

void BM_Fork4096(benchmark::State& state) {
  PagePool pool;
  SequenceCache cache(&pool, Spec());
  if (!cache.Extend(Positions(0, 4096))) state.SkipWithError("no memory");
  for (auto _ : state) {
    SequenceCache fork = cache.Fork();
    benchmark::DoNotOptimize(fork.num_entries(0, 0));
  }
}

// Bytes that the pool holds per byte of entries, for a chat of so many tokens (decoded one by one
// from 16 on).
void BM_Fragmentation(benchmark::State& state) {
  for (auto _ : state) {
    PagePool pool;
    SequenceCache cache(&pool, Spec());
    if (!cache.Extend(Positions(0, 16))) state.SkipWithError("no memory");
    for (int32_t position = 16; position < state.range(0); ++position) {
      if (!cache.Extend({&position, 1})) state.SkipWithError("no memory");
    }
    const CacheUsage usage = cache.Usage();
    state.counters["allocated_KiB"] = static_cast<double>(usage.allocated) / 1024;
    state.counters["fragmentation"] = usage.Fragmentation();
    state.counters["metadata_KiB"] = static_cast<double>(usage.metadata) / 1024;
    state.counters["peak_KiB"] = static_cast<double>(usage.peak) / 1024;
  }
}

// Keep of one head of 32768 entries of 128 numbers in f16, a tenth or a half of them: scattered, or
// the newest ones. Bytes per second are those of the entries kept, keys and values.
void BM_Keep32k(benchmark::State& state) {
  constexpr uint32_t kEntries = 32768, kWide = 128;
  const auto percent = static_cast<uint32_t>(state.range(0));
  const bool scattered = state.range(1) != 0;
  const ListSpec list{.form = FindForm(FormId::kF16), .dim = kWide};
  PagePool pool;
  const std::vector<float> rows(size_t{kEntries} * kWide, 0.5f);
  Rng rng(1);
  std::vector<uint32_t> kept;
  for (uint32_t i = 0; i < kEntries; ++i) {
    if (scattered ? rng.Below(100) < percent : i >= kEntries / 100 * (100 - percent)) {
      kept.push_back(i);
    }
  }
  for (auto _ : state) {
    state.PauseTiming();
    SequenceCache cache(&pool, {.num_layers = 1, .num_kv_heads = 1, .keys = list, .values = list});
    if (!cache.Extend(Positions(0, kEntries))) state.SkipWithError("no memory");
    cache.WriteKeys(0, 0, 0, kEntries, rows.data(), kWide);
    cache.WriteValues(0, 0, 0, kEntries, rows.data(), kWide);
    state.ResumeTiming();
    if (!cache.Keep(0, 0, kept)) state.SkipWithError("no memory");
    state.PauseTiming();
    cache.Truncate(0);
    state.ResumeTiming();
  }
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(kept.size()) * kWide * 2 * 2);
}

// One token more in a cache of KIVI's form with a residual of 128: keys are sealed 128 at a time,
// values in blocks of `block`. What a token costs on the average, writing apart.
void BM_ResidualWindow(benchmark::State& state) {
  constexpr uint32_t kResidual = 128;
  const auto block = static_cast<uint64_t>(state.range(0));
  CacheSpec spec = Spec();
  spec.keys.sealed = spec.values.sealed = FindKivi(4, 32);
  PagePool pool;
  SequenceCache cache(&pool, spec);
  const auto age = [&](Side side, uint64_t limit, uint64_t keep) {
    const uint64_t tail = cache.num_entries(0, 0) - cache.num_sealed(0, 0, side);
    if (tail < limit) return;
    std::vector<SealRequest> requests;
    for (uint32_t head = 0; head < kLayers * kHeads; ++head) {
      requests.push_back(
          {.layer = head / kHeads, .kv_head = head % kHeads, .side = side, .count = tail - keep});
    }
    if (!cache.Seal(requests)) state.SkipWithError("no memory");
  };
  if (!cache.Extend(Positions(0, 1024))) state.SkipWithError("no memory");
  age(Side::kKeys, 0, 0);
  age(Side::kValues, 0, kResidual);
  int32_t position = 1024;
  for (auto _ : state) {
    if (!cache.Extend({&position, 1})) state.SkipWithError("no memory");
    ++position;
    age(Side::kKeys, kResidual, 0);
    age(Side::kValues, kResidual + block, kResidual);
  }
}

BENCHMARK(BM_ResidualWindow)->ArgName("block")->Arg(1)->Arg(8)->Arg(32)->Iterations(512);
BENCHMARK(BM_ExtendOneTokenInsideAPage);
BENCHMARK(BM_ExtendOneToken);
BENCHMARK(BM_ExtendAndWriteOneToken);
BENCHMARK(BM_ExtendChunk512);
BENCHMARK(BM_ExtendAndWriteChunk512);
BENCHMARK(BM_Fork4096);
BENCHMARK(BM_Keep32k)->ArgNames({"percent", "scattered"})->ArgsProduct({{10, 50}, {0, 1}});
BENCHMARK(BM_Fragmentation)->Arg(16)->Arg(40)->Arg(65)->Arg(100)->Arg(300)->Arg(1000)->Arg(4096);

}  // namespace
}  // namespace pith

BENCHMARK_MAIN();
