#include "codec/kivi.h"

#include <algorithm>

#include "codec/packed.h"

namespace pith {
namespace {

template <uint32_t kBits, uint32_t kGroup>
constexpr Packing kPacking{
    .bits = kBits, .channel_group = kGroup, .affine = true, .encode = nullptr};

constexpr FormId KiviId(uint32_t bits, uint32_t group) {
  return static_cast<FormId>(0x10000 + 0x100 * bits + group);
}

template <uint32_t kBits, uint32_t kGroup>
constexpr Form MakeKivi(std::string_view name) {
  Form form = MakeSealedForm<kPacking<kBits, kGroup>>(kGroup);
  form.name = name;
  form.id = KiviId(kBits, kGroup);
  form.summary = "keys per channel, values per entry, scale and minimum per group";
  form.bits_per_value = kBits + 32.0 / kGroup;
  return form;
}

constexpr Form kRows[] = {
    MakeKivi<2, 32>("kivi2_g32"), MakeKivi<2, 64>("kivi2_g64"), MakeKivi<2, 128>("kivi2_g128"),
    MakeKivi<4, 32>("kivi4_g32"), MakeKivi<4, 64>("kivi4_g64"), MakeKivi<4, 128>("kivi4_g128"),
    MakeKivi<8, 32>("kivi8_g32"), MakeKivi<8, 64>("kivi8_g64"), MakeKivi<8, 128>("kivi8_g128"),
};
constexpr const Form* kForms[] = {
    &kRows[0], &kRows[1], &kRows[2], &kRows[3], &kRows[4],
    &kRows[5], &kRows[6], &kRows[7], &kRows[8],
};

}  // namespace

std::span<const Form* const> KiviForms() { return kForms; }

const Form* FindKivi(uint32_t bits, uint32_t group) {
  const auto found = std::ranges::find(kForms, KiviId(bits, group), &Form::id);
  return found == std::end(kForms) ? nullptr : *found;
}

}  // namespace pith
