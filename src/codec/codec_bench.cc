// How fast rows become pages and back: bytes of f32 rows per second, over 8 heads' worth of full
// pages.
#include <benchmark/benchmark.h>

#include <string>
#include <vector>

#include "codec/codec.h"

namespace pith {
namespace {

constexpr uint32_t kEntries = 128;
constexpr uint32_t kPages = 8;

struct Fixture {
  Fixture(const Form& form, Side side, uint32_t dim)
      : shape{.dim = dim, .capacity = kEntries},
        page_bytes(form.page_bytes(side, shape)),
        pages(page_bytes * kPages),
        rows(size_t{kEntries} * dim * kPages, 0.25f) {}
  std::byte* Page(uint32_t i) { return pages.data() + i * page_bytes; }

  PageShape shape;
  size_t page_bytes;
  std::vector<std::byte> pages;
  std::vector<float> rows;  // [kEntries][kPages][dim], as a projection of all heads lies
};

// count entries per call: 128 fills pages as a prompt does, 1 appends as decoding does.
void BM_Store(benchmark::State& state, const Form& form, Side side, uint32_t dim, uint32_t count) {
  Fixture f(form, side, dim);
  const size_t stride = size_t{dim} * kPages;
  for (auto _ : state) {
    for (uint32_t entry = 0; entry < kEntries; entry += count) {
      for (uint32_t i = 0; i < kPages; ++i) {
        form.store(side, f.Page(i), f.shape, entry, count, &f.rows[entry * stride + i * dim],
                   stride);
      }
    }
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(state.iterations() * f.rows.size() * sizeof(float));
}

void BM_Load(benchmark::State& state, const Form& form, Side side, uint32_t dim) {
  Fixture f(form, side, dim);
  const size_t stride = size_t{dim} * kPages;
  for (auto _ : state) {
    for (uint32_t i = 0; i < kPages; ++i) {
      form.load(side, f.Page(i), f.shape, 0, kEntries, &f.rows[i * dim], stride);
    }
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(state.iterations() * f.rows.size() * sizeof(float));
}

void Register() {
  for (const Form* form : Forms()) {
    for (const Side side : {Side::kKeys, Side::kValues}) {
      for (const uint32_t dim : {64u, 128u}) {
        const std::string name = std::string(form->name) +
                                 (side == Side::kKeys ? "/keys/dim" : "/values/dim") +
                                 std::to_string(dim);
        for (const uint32_t count : {kEntries, 1u}) {
          benchmark::RegisterBenchmark(
              ("store/" + name + "/rows" + std::to_string(count)).c_str(),
              [=](benchmark::State& state) { BM_Store(state, *form, side, dim, count); });
        }
        benchmark::RegisterBenchmark(("load/" + name).c_str(), [=](benchmark::State& state) {
          BM_Load(state, *form, side, dim);
        });
      }
    }
  }
}

}  // namespace
}  // namespace pith

int main(int argc, char** argv) {
  pith::Register();
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}
