// The plain forms against obvious scalar code, on every SIMD target of this machine, and the table.
#include "codec/codec.h"

#include <gtest/gtest.h>
#include <hwy/highway.h>
#include <hwy/tests/hwy_gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <set>
#include <string>
#include <vector>

#include "base/rng.h"
#include "codec/kivi.h"

namespace pith {
namespace {

constexpr FormId kPlain[] = {FormId::kF32, FormId::kF16, FormId::kBF16};

uint32_t NumberBytes(const Form& form) { return form.id == FormId::kF32 ? 4 : 2; }

// The stored bits of x, by scalar conversions of the compiler.
uint32_t Encode(const Form& form, float x) {
  const auto bits = std::bit_cast<uint32_t>(x);
  if (form.id == FormId::kF32) return bits;
  if (form.id == FormId::kF16) return std::bit_cast<uint16_t>(static_cast<_Float16>(x));
  const uint32_t upper = bits >> 16, lower = bits & 0xFFFF;
  if (std::isnan(x)) return upper | 0x40;
  return upper + (lower > 0x8000 || (lower == 0x8000 && upper % 2 == 1) ? 1 : 0);
}

float Decode(const Form& form, uint32_t bits) {
  if (form.id == FormId::kF32) return std::bit_cast<float>(bits);
  if (form.id == FormId::kF16) {
    return static_cast<float>(std::bit_cast<_Float16>(static_cast<uint16_t>(bits)));
  }
  return std::bit_cast<float>(bits << 16);
}

// Where a number lies in a page, counted in numbers.
size_t Place(Side side, PageShape shape, uint32_t entry, uint32_t channel) {
  if (side == Side::kValues) return size_t{entry} * shape.dim + channel;
  const size_t block = entry / 8, inside = entry % 8;
  return block * shape.dim * 8 + size_t{channel} * 8 + inside;
}

void Put(const Form& form, std::vector<std::byte>* page, size_t place, uint32_t bits) {
  std::memcpy(page->data() + place * NumberBytes(form), &bits, NumberBytes(form));
}

uint32_t Get(const Form& form, const std::vector<std::byte>& page, size_t place) {
  uint32_t bits = 0;
  std::memcpy(&bits, page.data() + place * NumberBytes(form), NumberBytes(form));
  return bits;
}

// Numbers of all sizes, subnormals of f16, overflow and infinities among them.
float RandomNumber(Rng* rng) {
  switch (rng->Below(8)) {
    case 0:
      return rng->Normal() * 1e-6f;
    case 1:
      return rng->Normal() * 40000.0f;
    case 2:
      return rng->Below(2) == 0 ? INFINITY : -0.0f;
    default:
      return rng->Normal();
  }
}

struct Case {
  Side side;
  PageShape shape;
  uint32_t first, count;
  size_t stride;
};

Case RandomCase(Rng* rng) {
  Case c;
  c.side = rng->Below(2) == 0 ? Side::kKeys : Side::kValues;
  const uint32_t usual[] = {1, 7, 8, 16, 64, 80, 96, 128, 255, 256};
  c.shape.dim = rng->Below(2) == 0 ? usual[rng->Below(10)] : 1 + rng->Below(256);
  c.shape.capacity = 8u << rng->Below(5);
  c.first = rng->Below(c.shape.capacity);
  if (rng->Below(2) == 0) c.first = c.first / 8 * 8;
  c.count = 1 + rng->Below(c.shape.capacity - c.first);
  c.stride = c.shape.dim + (rng->Below(2) == 0 ? 0 : rng->Below(50));
  return c;
}

// Every target gets its own test, so that a failure names it.
class FormTest : public hwy::TestWithParamTarget {};
HWY_TARGET_INSTANTIATE_TEST_SUITE_P(FormTest);

TEST_P(FormTest, Store_WritesTheDocumentedLayoutAndNothingElse) {
  for (const FormId id : kPlain) {
    const Form* const form = FindForm(id);
    for (uint64_t seed = 0; seed < 300; ++seed) {
      SCOPED_TRACE(std::string(form->name) + " seed " + std::to_string(seed));
      Rng rng(seed);
      const Case c = RandomCase(&rng);
      ASSERT_EQ(form->page_bytes(c.side, c.shape),
                size_t{c.shape.capacity} * c.shape.dim * NumberBytes(*form));
      std::vector<std::byte> page(form->page_bytes(c.side, c.shape), std::byte{0xAB});
      std::vector<std::byte> expected = page;
      std::vector<float> rows((c.count - 1) * c.stride + c.shape.dim);
      for (float& x : rows) x = RandomNumber(&rng);
      form->store(c.side, page.data(), c.shape, c.first, c.count, rows.data(), c.stride);
      for (uint32_t i = 0; i < c.count; ++i) {
        for (uint32_t channel = 0; channel < c.shape.dim; ++channel) {
          Put(*form, &expected, Place(c.side, c.shape, c.first + i, channel),
              Encode(*form, rows[i * c.stride + channel]));
        }
      }
      ASSERT_EQ(page, expected);
    }
  }
}

TEST_P(FormTest, Load_ReadsTheDocumentedLayoutAndWritesNothingElse) {
  for (const FormId id : kPlain) {
    const Form* const form = FindForm(id);
    for (uint64_t seed = 0; seed < 300; ++seed) {
      SCOPED_TRACE(std::string(form->name) + " seed " + std::to_string(seed));
      Rng rng(seed);
      const Case c = RandomCase(&rng);
      std::vector<std::byte> page(form->page_bytes(c.side, c.shape));
      const size_t numbers = size_t{c.shape.capacity} * c.shape.dim;
      for (size_t i = 0; i < numbers; ++i) {
        Put(*form, &page, i, Encode(*form, RandomNumber(&rng)));
      }
      std::vector<float> rows((c.count - 1) * c.stride + c.shape.dim, -77.0f);
      std::vector<float> expected = rows;
      form->load(c.side, page.data(), c.shape, c.first, c.count, rows.data(), c.stride);
      for (uint32_t i = 0; i < c.count; ++i) {
        for (uint32_t channel = 0; channel < c.shape.dim; ++channel) {
          const size_t place = Place(c.side, c.shape, c.first + i, channel);
          expected[i * c.stride + channel] = Decode(*form, Get(*form, page, place));
        }
      }
      ASSERT_EQ(rows, expected);
    }
  }
}

// Loading and storing again gives the same bits, for all 65536 patterns of a 16-bit form (a NaN
// becomes quiet).
TEST_P(FormTest, AllPatternsOf16Bits_SurviveLoadAndStore) {
  for (const FormId id : {FormId::kF16, FormId::kBF16}) {
    const Form& form = *FindForm(id);
    const uint32_t infinity = id == FormId::kF16 ? 0x7C00 : 0x7F80;
    const uint32_t quiet = id == FormId::kF16 ? 0x0200 : 0x0040;
    for (const Side side : {Side::kKeys, Side::kValues}) {
      const PageShape shape{.dim = 64, .capacity = 128};
      const uint32_t numbers = shape.dim * shape.capacity;
      std::vector<float> rows(numbers);
      for (uint32_t begin = 0; begin < 65536; begin += numbers) {
        std::vector<std::byte> page(form.page_bytes(side, shape)), back(page.size());
        for (uint32_t i = 0; i < numbers; ++i) Put(form, &page, i, begin + i);
        form.load(side, page.data(), shape, 0, shape.capacity, rows.data(), shape.dim);
        form.store(side, back.data(), shape, 0, shape.capacity, rows.data(), shape.dim);
        for (uint32_t i = 0; i < numbers; ++i) {
          const uint32_t bits = begin + i;
          const bool nan = (bits & 0x7FFF) > infinity;
          ASSERT_EQ(Get(form, back, i), nan ? bits | quiet : bits) << form.name;
        }
      }
    }
  }
}

TEST(Forms, Canonical_IsEntryAfterEntryAndExactBothWays) {
  for (const FormId id : kPlain) {
    const Form* const form = FindForm(id);
    for (uint64_t seed = 0; seed < 200; ++seed) {
      SCOPED_TRACE(std::string(form->name) + " seed " + std::to_string(seed));
      Rng rng(seed);
      const Case c = RandomCase(&rng);
      ASSERT_EQ(form->canonical_bytes(c.shape.dim), size_t{c.shape.dim} * NumberBytes(*form));
      std::vector<std::byte> page(form->page_bytes(c.side, c.shape));
      for (std::byte& b : page) b = static_cast<std::byte>(rng.Next());  // NaNs of all kinds too
      std::vector<std::byte> canonical(c.count * form->canonical_bytes(c.shape.dim));
      form->export_entries(c.side, page.data(), c.shape, c.first, c.count, canonical.data());
      for (uint32_t i = 0; i < c.count; ++i) {
        for (uint32_t channel = 0; channel < c.shape.dim; ++channel) {
          ASSERT_EQ(Get(*form, canonical, size_t{i} * c.shape.dim + channel),
                    Get(*form, page, Place(c.side, c.shape, c.first + i, channel)));
        }
      }
      // Import into a page of another capacity at another place: only those entries change.
      const PageShape shape{.dim = c.shape.dim, .capacity = 128};
      const uint32_t first = rng.Below(128 - c.count + 1);
      std::vector<std::byte> imported(form->page_bytes(c.side, shape), std::byte{0xAB});
      std::vector<std::byte> expected = imported;
      form->import_entries(c.side, imported.data(), shape, first, c.count, canonical.data());
      for (uint32_t i = 0; i < c.count; ++i) {
        for (uint32_t channel = 0; channel < shape.dim; ++channel) {
          Put(*form, &expected, Place(c.side, shape, first + i, channel),
              Get(*form, canonical, size_t{i} * shape.dim + channel));
        }
      }
      ASSERT_EQ(imported, expected);
    }
  }
}

// A page grows into the next class by copying its bytes: entries keep their places.
TEST(Forms, LargerCapacity_KeepsThePlacesOfEarlierEntries) {
  for (const FormId id : kPlain) {
    const Form* const form = FindForm(id);
    for (const Side side : {Side::kKeys, Side::kValues}) {
      const PageShape small{.dim = 20, .capacity = 16}, large{.dim = 20, .capacity = 64};
      std::vector<float> rows(16 * 20), back(rows.size());
      for (size_t i = 0; i < rows.size(); ++i) rows[i] = static_cast<float>(i);
      std::vector<std::byte> page(form->page_bytes(side, small));
      form->store(side, page.data(), small, 0, 16, rows.data(), 20);
      page.resize(form->page_bytes(side, large));
      form->load(side, page.data(), large, 0, 16, back.data(), 20);
      EXPECT_TRUE(std::equal(rows.begin(), rows.end(), back.begin(), [&](float x, float y) {
        return Encode(*form, x) == Encode(*form, y);
      })) << form->name;
    }
  }
}

TEST(Forms, Table_NamesAndNumbersAreUniqueAndFound) {
  std::set<std::string_view> names, presets;
  std::set<FormId> ids;
  for (const auto forms : {Forms(), KiviForms()}) {
    for (const Form* form : forms) {
      EXPECT_TRUE(names.insert(form->name).second);
      EXPECT_TRUE(ids.insert(form->id).second);
      EXPECT_EQ(FindForm(form->name), form);
      EXPECT_EQ(FindForm(form->id), form);
      EXPECT_FALSE(form->summary.empty());
    }
  }
  for (const Form* form : Forms()) presets.insert(form->name);
  EXPECT_EQ(presets, (std::set<std::string_view>{"f32", "f16", "bf16", "q8_0", "q4_0"}));
  for (const FormId id : kPlain) {
    EXPECT_EQ(FindForm(id)->bits_per_value, 8.0 * NumberBytes(*FindForm(id)));
  }
  EXPECT_EQ(FindForm("f8"), nullptr);
  EXPECT_EQ(FindForm(static_cast<FormId>(0)), nullptr);
}

TEST(Forms, Numbers_AreWhatSavedFilesHave) {
  const std::pair<std::string_view, uint32_t> saved[] = {{"f32", 1},
                                                         {"f16", 2},
                                                         {"bf16", 3},
                                                         {"q8_0", 4},
                                                         {"q4_0", 5},
                                                         {"kivi2_g32", 0x10220},
                                                         {"kivi4_g64", 0x10440},
                                                         {"kivi8_g128", 0x10880}};
  for (const auto& [name, number] : saved) {
    EXPECT_EQ(static_cast<uint32_t>(FindForm(name)->id), number) << name;
  }
}

}  // namespace
}  // namespace pith
