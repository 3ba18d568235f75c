// Lists whose sealed entries are rotated: what they read as, and what rotation is good for.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "cache/cache.h"
#include "cache/test_model.h"
#include "codec/kivi.h"
#include "codec/packed.h"
#include "codec/test_bounds.h"

namespace pith {
namespace {

using testing::Positions;
using testing::Saved;

constexpr uint32_t kEntries = 100;

std::vector<const Form*> PackedForms() {
  std::vector<const Form*> forms = {FindForm("q8_0"), FindForm("q4_0")};
  forms.insert(forms.end(), KiviForms().begin(), KiviForms().end());
  return forms;
}

CacheSpec OneHead(const Form* sealed, uint32_t dim, bool rotated) {
  const ListSpec list{.form = FindForm("f32"), .dim = dim, .sealed = sealed, .rotated = rotated};
  return {.num_layers = 1, .num_kv_heads = 1, .keys = list, .values = list};
}

// Keys and values of one head, the same rows for both; the first `count` are sealed.
SequenceCache SealedCache(PagePool* pool, const CacheSpec& spec, const std::vector<float>& rows,
                          uint64_t count) {
  SequenceCache cache(pool, spec);
  EXPECT_TRUE(cache.Extend(Positions(0, kEntries)));
  cache.WriteKeys(0, 0, 0, kEntries, rows.data(), spec.keys.dim);
  cache.WriteValues(0, 0, 0, kEntries, rows.data(), spec.keys.dim);
  EXPECT_TRUE(cache.Seal(std::vector<SealRequest>{{.side = Side::kKeys, .count = count},
                                                  {.side = Side::kValues, .count = count}}));
  return cache;
}

std::vector<float> Read(const SequenceCache& cache, Side side) {
  std::vector<float> rows(size_t{kEntries} * cache.spec().keys.dim);
  ReadRows(cache.Head(0, 0), side, 0, kEntries, rows.data());
  return rows;
}

std::vector<float> NormalRows(uint32_t dim, uint64_t seed) {
  Rng rng(seed);
  std::vector<float> rows(size_t{kEntries} * dim);
  for (float& x : rows) x = rng.Normal();
  return rows;
}

double SquaredError(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += (double{a[i]} - b[i]) * (double{a[i]} - b[i]);
  return sum;
}

// How far a stored number may be off, from those that share its scale.
double BoundOf(const Packing& packing, double lowest, double highest) {
  if (packing.affine) return AffineBound(lowest, highest, packing.bits);
  return GgmlBound(std::max(std::abs(lowest), std::abs(highest)), packing.bits);
}

// Turned, what is read lies as near to the turned entries as the form promises for these.
void ExpectWithinBound(const Form& form, Side side, uint32_t dim, uint64_t count,
                       std::vector<float> exact, std::vector<float> read) {
  RotateRows(exact, dim);
  RotateRows(read, dim);
  const bool per_channel = form.group(side) > 0;
  const size_t group = per_channel ? form.group(side) : form.packing->channel_group;
  for (size_t e = 0; e < count; ++e) {
    for (size_t c = 0; c < dim; ++c) {
      const size_t first = (per_channel ? e : c) / group * group;
      const size_t end = std::min<size_t>(first + group, per_channel ? count : dim);
      double lowest = HUGE_VAL, highest = -HUGE_VAL;
      for (size_t i = first; i < end; ++i) {
        const double x = exact[per_channel ? i * dim + c : e * dim + i];
        lowest = std::min(lowest, x);
        highest = std::max(highest, x);
      }
      constexpr double kRotations = 1e-5;  // of numbers of about 1, in f32
      ASSERT_NEAR(read[e * dim + c], exact[e * dim + c],
                  BoundOf(*form.packing, lowest, highest) + kRotations)
          << form.name << " of " << dim << ", entry " << e << ", channel " << c;
    }
  }
}

TEST(Rotate, SealedEntries_ReadBackWithinTheBoundOfTheForm) {
  PagePool pool;
  for (const Form* form : PackedForms()) {
    for (const uint32_t dim : {32u, 64u, 80u, 96u, 128u}) {
      if (dim % form->dim_multiple != 0) continue;
      const std::vector<float> rows = NormalRows(dim, dim);
      const uint64_t count = 90;
      const SequenceCache cache = SealedCache(&pool, OneHead(form, dim, true), rows, count);
      for (const Side side : {Side::kKeys, Side::kValues}) {
        const std::vector<float> read = Read(cache, side);
        ExpectWithinBound(*form, side, dim, count, rows, read);
        EXPECT_TRUE(std::equal(rows.begin() + count * dim, rows.end(), read.begin() + count * dim))
            << "the tail is exact";
        for (const PageView& page :
             side == Side::kKeys ? cache.Head(0, 0).keys : cache.Head(0, 0).values) {
          EXPECT_EQ(page.rotated, page.form == form);
        }
      }
      if (HasFatalFailure()) return;
    }
  }
}

// One channel of the keys that is 30 times as large as the others takes the precision of the 31
// that share its scale; turned, it is spread over all of them.
TEST(Rotate, OutlierChannel_CostsFourBitsLess) {
  PagePool pool;
  constexpr uint32_t kDim = 64;
  std::vector<float> rows = NormalRows(kDim, 5);
  for (size_t e = 0; e < kEntries; ++e) rows[e * kDim + 17] *= 30;
  const auto error = [&](bool rotated) {
    const SequenceCache cache =
        SealedCache(&pool, OneHead(FindForm("q4_0"), kDim, rotated), rows, kEntries);
    return SquaredError(Read(cache, Side::kKeys), rows);
  };
  EXPECT_LT(error(true), 0.5 * error(false));
  EXPECT_GT(error(true), 0);
}

TEST(Rotate, NumberThatIsNotOne_SpoilsNoOtherEntry) {
  PagePool pool;
  constexpr uint32_t kDim = 32;
  const CacheSpec spec = OneHead(FindForm("q8_0"), kDim, true);
  std::vector<float> rows = NormalRows(kDim, 6);
  const std::vector<float> clean = Read(SealedCache(&pool, spec, rows, kEntries), Side::kValues);
  rows[3 * kDim + 7] = std::nanf("");
  rows[5 * kDim + 9] = HUGE_VALF;
  const std::vector<float> read = Read(SealedCache(&pool, spec, rows, kEntries), Side::kValues);
  for (size_t i = 0; i < read.size(); ++i) {
    const size_t entry = i / kDim;
    ASSERT_TRUE(std::isfinite(read[i])) << i;
    if (entry != 3 && entry != 5) {
      ASSERT_EQ(read[i], clean[i]) << i;
    }
    if (entry == 3) {
      ASSERT_NEAR(read[i], i % kDim == 7 ? 0 : rows[i], 0.1);
    }
  }
}

TEST(Rotate, SavedAndForked_HasTheSameEntriesAndFitsNoOtherSpec) {
  PagePool pool;
  constexpr uint32_t kDim = 64;
  const CacheSpec spec = OneHead(FindForm("q4_0"), kDim, true);
  const SequenceCache cache = SealedCache(&pool, spec, NormalRows(kDim, 7), 60);
  const std::vector<std::byte> bytes = Saved(cache);
  auto loaded = SequenceCache::Load(&pool, spec, bytes, "bytes");
  ASSERT_TRUE(loaded) << loaded.error().Message();
  const SequenceCache fork = loaded->Fork();
  for (const Side side : {Side::kKeys, Side::kValues}) {
    EXPECT_EQ(Read(*loaded, side), Read(cache, side));
    EXPECT_EQ(Read(fork, side), Read(cache, side));
  }
  EXPECT_EQ(Saved(fork), bytes);

  CacheSpec plain = spec;
  plain.values.rotated = false;
  const auto refused = SequenceCache::Load(&pool, plain, bytes, "bytes");
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().Message().find("form of the sealed values of the saved cache: "
                                           "q4_0+hadamard instead of q4_0"),
            std::string::npos)
      << refused.error().Message();
  EXPECT_FALSE(SequenceCache::Load(&pool, spec, Saved(SequenceCache(&pool, plain)), "bytes"));
}

TEST(Rotate, WithoutASealedForm_IsACheckedBug) {
  PagePool pool;
  EXPECT_THROW(SequenceCache(&pool, OneHead(nullptr, 8, true)), std::logic_error);
}

}  // namespace
}  // namespace pith
