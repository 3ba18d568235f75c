// The forms with codes: against ggml's own quantisers, the error bounds of the affine quantiser,
// golden bytes, and what sealed pages promise.
#include "codec/packed.h"

#include <ggml.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <numeric>
#include <string>
#include <vector>

#include "base/rng.h"
#include "codec/kivi.h"
#include "codec/test_bounds.h"
#include "simd/half.h"

namespace pith {
namespace {

std::vector<const Form*> PackedForms() {
  std::vector<const Form*> forms = {FindForm("q8_0"), FindForm("q4_0")};
  forms.insert(forms.end(), KiviForms().begin(), KiviForms().end());
  return forms;
}

// What a row of numbers may look like.
enum class Data { kNormal, kConstant, kOutliers, kDenormal, kZero, kOneSided };
constexpr Data kAllData[] = {Data::kNormal,   Data::kConstant, Data::kOutliers,
                             Data::kDenormal, Data::kZero,     Data::kOneSided};

std::vector<float> Rows(Data data, size_t count, Rng* rng) {
  const float constant = rng->Normal();
  std::vector<float> rows(count);
  for (float& x : rows) {
    x = rng->Normal();
    if (data == Data::kConstant) x = constant;
    if (data == Data::kOutliers && rng->Below(20) == 0) x *= 500;
    if (data == Data::kDenormal) x *= 1e-41f;
    if (data == Data::kZero) x = 0;
    if (data == Data::kOneSided) x = 10 + std::abs(x);
  }
  return rows;
}

struct Page {
  Page(const Form& f, Side s, uint32_t dim, uint32_t capacity)
      : form(f), side(s), shape{dim, capacity}, bytes(f.page_bytes(s, shape), std::byte{0xFF}) {}
  void Store(uint32_t first, uint32_t count, const float* rows) {
    form.store(side, bytes.data(), shape, first, count, rows, shape.dim);
  }
  std::vector<float> Load(uint32_t first, uint32_t count) const {
    std::vector<float> rows(size_t{count} * shape.dim);
    form.load(side, bytes.data(), shape, first, count, rows.data(), shape.dim);
    return rows;
  }

  const Form& form;
  Side side;
  PageShape shape;
  std::vector<std::byte> bytes;
};

// ---- ggml's forms.

TEST(GgmlForms, EveryKindOfData_SameBlocksAndNumbersAsGgml) {
  for (const auto& [name, type] : {std::pair{"q8_0", GGML_TYPE_Q8_0}, {"q4_0", GGML_TYPE_Q4_0}}) {
    const Form& form = *FindForm(name);
    const auto* traits = ggml_get_type_traits(type);
    for (const uint32_t dim : {32u, 64u, 96u, 128u, 256u}) {
      ASSERT_EQ(form.canonical_bytes(dim), ggml_row_size(type, dim));
      for (const Data data : kAllData) {
        SCOPED_TRACE(std::string(name) + " dim " + std::to_string(dim) + " data " +
                     std::to_string(static_cast<int>(data)));
        Rng rng(dim + static_cast<uint32_t>(data));
        constexpr uint32_t kCount = 40;
        const std::vector<float> rows = Rows(data, size_t{kCount} * dim, &rng);
        std::vector<std::byte> blocks(kCount * ggml_row_size(type, dim));
        ggml_quantize_chunk(type, rows.data(), blocks.data(), 0, kCount, dim, nullptr);
        std::vector<float> truth(rows.size());
        traits->to_float(blocks.data(), truth.data(), static_cast<int64_t>(truth.size()));
        for (const Side side : {Side::kKeys, Side::kValues}) {
          Page page(form, side, dim, 48);
          page.Store(3, kCount, rows.data());
          ASSERT_EQ(page.Load(3, kCount), truth);
          // Numbers too small for a scale in F16: their codes mean nothing.
          if (data == Data::kDenormal) continue;
          std::vector<std::byte> canonical(blocks.size());
          form.export_entries(side, page.bytes.data(), page.shape, 3, kCount, canonical.data());
          ASSERT_EQ(canonical, blocks);
        }
      }
    }
  }
}

TEST(GgmlForms, GoldenBlocks_AreAsComputedByHand) {
  std::vector<float> row(32);
  for (int i = 0; i < 32; ++i) row[static_cast<size_t>(i)] = static_cast<float>(i - 16) / 4;
  std::vector<uint8_t> block(34);
  Page four(*FindForm("q4_0"), Side::kKeys, 32, 8);
  four.Store(5, 1, row.data());
  four.form.export_entries(four.side, four.bytes.data(), four.shape, 5, 1,
                           reinterpret_cast<std::byte*>(block.data()));
  EXPECT_EQ(block[0] | block[1] << 8, 0x3800);  // 0.5
  EXPECT_EQ(block[2], 0x80);
  EXPECT_EQ(block[3], 0x91);
  EXPECT_EQ(block[17], 0xF8);
  Page eight(*FindForm("q8_0"), Side::kValues, 32, 8);
  eight.Store(5, 1, row.data());
  eight.form.export_entries(eight.side, eight.bytes.data(), eight.shape, 5, 1,
                            reinterpret_cast<std::byte*>(block.data()));
  EXPECT_NEAR(F32FromF16({static_cast<uint16_t>(block[0] | block[1] << 8)}), 0.031494, 1e-6);
  for (const auto& [index, code] : {std::pair{2, -127}, {3, -119}, {4, -111}, {5, -103}}) {
    EXPECT_EQ(static_cast<int8_t>(block[static_cast<size_t>(index)]), code);
  }
}

// ---- KIVI's.

TEST(Kivi, EveryKindOfData_StaysWithinTheBound) {
  for (const Form* form : KiviForms()) {
    const uint32_t bits = form->packing->bits, group = form->key_group;
    for (const uint32_t dim : {16u, 64u, 80u, 128u}) {
      for (const Data data : kAllData) {
        SCOPED_TRACE(std::string(form->name) + " dim " + std::to_string(dim) + " data " +
                     std::to_string(static_cast<int>(data)));
        Rng rng(dim + static_cast<uint32_t>(data));
        const uint32_t count = 1 + rng.Below(group);
        const std::vector<float> rows = Rows(data, size_t{count} * dim, &rng);
        const auto range = [&](const auto& number, uint32_t n) {
          std::pair<double, double> r{HUGE_VAL, -HUGE_VAL};
          for (uint32_t i = 0; i < n; ++i) {
            r = {std::min<double>(r.first, number(i)), std::max<double>(r.second, number(i))};
          }
          return r;
        };
        Page keys(*form, Side::kKeys, dim, group), values(*form, Side::kValues, dim, 128);
        keys.Store(0, count, rows.data());
        values.Store(0, count, rows.data());
        const std::vector<float> k = keys.Load(0, count), v = values.Load(0, count);
        for (uint32_t c = 0; c < dim; ++c) {
          const auto column = range([&](uint32_t i) { return rows[i * dim + c]; }, count);
          const uint32_t first = c / group * group;
          for (uint32_t i = 0; i < count; ++i) {
            const size_t at = size_t{i} * dim + c;
            const auto part = range([&](uint32_t j) { return rows[i * dim + first + j]; },
                                    std::min(group, dim - first));
            ASSERT_LE(std::abs(k[at] - rows[at]), AffineBound(column.first, column.second, bits));
            ASSERT_LE(std::abs(v[at] - rows[at]), AffineBound(part.first, part.second, bits));
          }
        }
      }
    }
  }
}

TEST(Kivi, NumbersOnTheGrid_AreExact) {
  for (const Form* form : KiviForms()) {
    constexpr uint32_t kDim = 128;
    Rng rng(form->key_group);
    std::vector<float> rows(size_t{form->key_group} * kDim);
    const uint32_t top = form->packing->max_code();
    for (size_t i = 0; i < rows.size(); ++i) {
      // Codes 0 and `top` in every group of both kinds.
      const size_t corner = (i / kDim + i % kDim) % 32;
      const uint32_t code = corner == 0 ? 0 : corner == 1 ? top : rng.Below(top + 1);
      rows[i] = -3.0f + 0.25f * static_cast<float>(code);
    }
    for (const Side side : {Side::kKeys, Side::kValues}) {
      Page page(*form, side, kDim, form->key_group);
      page.Store(0, form->key_group, rows.data());
      ASSERT_EQ(page.Load(0, form->key_group), rows) << form->name;
    }
  }
}

// x = (0, 1, 2, 4) in 2 bits: scale 4/3, codes 0 1 2 3 packed little end first.
TEST(Kivi, GoldenGroup_IsAsComputedByHand) {
  const float numbers[] = {0, 1, 2, 4};
  const Form& form = *FindKivi(2, 32);
  Page values(form, Side::kValues, 4, 8);
  values.Store(0, 1, numbers);
  uint8_t entry[5];
  ASSERT_EQ(form.canonical_bytes(4), sizeof(entry));
  form.export_entries(Side::kValues, values.bytes.data(), values.shape, 0, 1,
                      reinterpret_cast<std::byte*>(entry));
  EXPECT_FLOAT_EQ(F32FromF16({static_cast<uint16_t>(entry[0] | entry[1] << 8)}), 1.3330078f);
  EXPECT_EQ(entry[2] | entry[3] << 8, 0);
  EXPECT_EQ(entry[4], 0xE4);
  EXPECT_EQ(values.Load(0, 1), (std::vector<float>{0, 1.3330078f, 2.6660156f, 3.9990234f}));

  // The same numbers as four entries of one channel.
  Page keys(form, Side::kKeys, 1, 32);
  keys.Store(0, 4, numbers);
  uint8_t page[8];
  ASSERT_EQ(form.canonical_page_bytes(Side::kKeys, 1, 4), sizeof(page));
  form.export_page(Side::kKeys, keys.bytes.data(), keys.shape, 4,
                   reinterpret_cast<std::byte*>(page));
  EXPECT_EQ(std::memcmp(page, entry, 4), 0);
  EXPECT_EQ(std::vector<uint8_t>(page + 4, page + 8), (std::vector<uint8_t>{0, 1, 2, 3}));
}

// ---- All of them.

// A NaN counts as zero, an infinity as the largest F16; only the group that has it suffers.
TEST(PackedForms, NumbersThatAreNotFinite_AreContained) {
  for (const Form* form : PackedForms()) {
    for (const Side side : {Side::kKeys, Side::kValues}) {
      constexpr uint32_t kDim = 256;
      Rng rng(2);
      std::vector<float> rows = Rows(Data::kNormal, 8 * kDim, &rng);
      std::vector<float> replaced = rows;
      const auto put = [&](size_t at, float bad, float instead) {
        rows[at] = bad;
        replaced[at] = instead;
      };
      put(2 * kDim + 3, std::nanf(""), 0.0f);
      put(4 * kDim + 5, HUGE_VALF, 65504.0f);
      put(4 * kDim + 6, -HUGE_VALF, -65504.0f);
      put(5 * kDim + 8, 1e30f, 65504.0f);
      Page bad(*form, side, kDim, 32), good(*form, side, kDim, 32);
      bad.Store(0, 8, rows.data());
      good.Store(0, 8, replaced.data());
      EXPECT_EQ(bad.Load(0, 8), good.Load(0, 8)) << form->name;
      for (const float x : bad.Load(0, 8)) ASSERT_TRUE(std::isfinite(x)) << form->name;
    }
  }
}

TEST(PackedForms, PageBytes_AreTheStatedBitsPerValue) {
  for (const Form* form : PackedForms()) {
    const uint32_t capacity = std::max(8u, form->key_group);
    for (const Side side : {Side::kKeys, Side::kValues}) {
      const size_t bytes = form->page_bytes(side, {.dim = 128, .capacity = capacity});
      EXPECT_EQ(static_cast<double>(bytes) * 8, form->bits_per_value * 128 * capacity)
          << form->name;
    }
  }
}

// Entries that stand alone: written one by one or together, in a page of any capacity.
TEST(PackedForms, EntriesThatStandAlone_DoNotDependOnEachOther) {
  for (const Form* form : PackedForms()) {
    for (const Side side : {Side::kKeys, Side::kValues}) {
      if (form->group(side) > 0) continue;
      for (const uint32_t dim : {32u, 96u, 128u}) {
        Rng rng(dim);
        const std::vector<float> rows = Rows(Data::kNormal, 64 * dim, &rng);
        Page together(*form, side, dim, 64), apart(*form, side, dim, 64);
        together.Store(0, 64, rows.data());
        for (uint32_t i = 64; i-- > 0;) apart.Store(i, 1, rows.data() + size_t{i} * dim);
        ASSERT_EQ(together.bytes, apart.bytes) << form->name;
        // A page grows by copying its bytes.
        Page small(*form, side, dim, 16), large(*form, side, dim, 128);
        small.Store(0, 16, rows.data());
        std::copy(small.bytes.begin(), small.bytes.end(), large.bytes.begin());
        ASSERT_EQ(small.Load(0, 16), large.Load(0, 16)) << form->name;
      }
    }
  }
}

TEST(PackedForms, CanonicalEntries_AreExactBothWays) {
  for (const Form* form : PackedForms()) {
    for (const Side side : {Side::kKeys, Side::kValues}) {
      if (form->group(side) > 0) continue;
      for (const uint32_t dim : {32u, 64u, 128u, 256u}) {
        Rng rng(dim);
        Page page(*form, side, dim, 32);
        for (std::byte& b : page.bytes) b = static_cast<std::byte>(rng.Next());
        std::vector<std::byte> canonical(21 * form->canonical_bytes(dim)), again(canonical.size());
        form->export_entries(side, page.bytes.data(), page.shape, 9, 21, canonical.data());
        Page other(*form, side, dim, 128);
        form->import_entries(side, other.bytes.data(), other.shape, 50, 21, canonical.data());
        form->export_entries(side, other.bytes.data(), other.shape, 50, 21, again.data());
        ASSERT_EQ(canonical, again) << form->name;
        // Nothing but these entries was written.
        const Page untouched(*form, side, dim, 128);
        const auto entry = [&](const Page& p, uint32_t i) {
          std::vector<std::byte> bytes(form->canonical_bytes(dim));
          form->export_entries(side, p.bytes.data(), p.shape, i, 1, bytes.data());
          return bytes;
        };
        for (uint32_t i = 0; i < 128; ++i) {
          if (i >= 50 && i < 71) continue;
          ASSERT_EQ(entry(other, i), entry(untouched, i)) << i;
        }
      }
    }
  }
}

TEST(Sealed, KeepEntries_LeavesNumbersAsTheyAre) {
  for (const Form* form : KiviForms()) {
    for (const uint32_t dim : {16u, 80u, 128u}) {
      Rng rng(dim);
      const uint32_t count = form->key_group;
      const std::vector<float> rows = Rows(Data::kNormal, size_t{count} * dim, &rng);
      Page page(*form, Side::kKeys, dim, count);
      page.Store(0, count, rows.data());
      const std::vector<float> before = page.Load(0, count);
      for (int round = 0; round < 20; ++round) {
        std::vector<uint32_t> kept;
        const uint32_t percent = rng.Below(101);
        for (uint32_t i = 0; i < count; ++i) {
          if (rng.Below(100) < percent) kept.push_back(i);
        }
        std::vector<float> truth;
        for (const uint32_t i : kept) {
          truth.insert(truth.end(), before.begin() + i * dim, before.begin() + (i + 1) * dim);
        }
        const auto size = static_cast<uint32_t>(kept.size());
        Page other(*form, Side::kKeys, dim, (size + 8) / 8 * 8), same = page;
        form->keep_entries(Side::kKeys, page.bytes.data(), page.shape, kept, other.bytes.data(),
                           other.shape);
        form->keep_entries(Side::kKeys, same.bytes.data(), same.shape, kept, same.bytes.data(),
                           same.shape);
        ASSERT_EQ(other.Load(0, size), truth) << form->name;
        ASSERT_EQ(same.Load(0, size), truth) << form->name;
      }
    }
  }
}

TEST(Sealed, CanonicalPage_IsExactBothWays) {
  for (const Form* form : KiviForms()) {
    for (const uint32_t dim : {1u, 80u, 128u}) {
      Rng rng(dim);
      const uint32_t count = 1 + rng.Below(form->key_group);
      const std::vector<float> rows = Rows(Data::kOutliers, size_t{count} * dim, &rng);
      Page page(*form, Side::kKeys, dim, form->key_group);
      page.Store(0, count, rows.data());
      std::vector<std::byte> canonical(form->canonical_page_bytes(Side::kKeys, dim, count));
      form->export_page(Side::kKeys, page.bytes.data(), page.shape, count, canonical.data());
      Page other(*form, Side::kKeys, dim, (count + 7) / 8 * 8);
      form->import_page(Side::kKeys, other.bytes.data(), other.shape, count, canonical.data());
      ASSERT_EQ(other.Load(0, count), page.Load(0, count)) << form->name;
      std::vector<std::byte> again(canonical.size());
      form->export_page(Side::kKeys, other.bytes.data(), other.shape, count, again.data());
      ASSERT_EQ(again, canonical) << form->name;
    }
  }
}

}  // namespace
}  // namespace pith
