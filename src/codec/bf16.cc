// The form bf16: 16-bit floats with the range of f32, rounded to nearest even
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "codec/bf16.cc"  // NOLINT
#include <hwy/foreach_target.h>             // NOLINT, must come before highway.h
#include <hwy/highway.h>

#include "codec/plain-inl.h"
#include "codec/plain.h"

HWY_BEFORE_NAMESPACE();
namespace pith {
namespace HWY_NAMESPACE {

void BF16Store(Side side, std::byte* page, PageShape shape, uint32_t first, uint32_t count,
               const float* rows, size_t row_stride) {
  StorePlain<BF16>(side, page, shape, first, count, rows, row_stride);
}

void BF16Load(Side side, const std::byte* page, PageShape shape, uint32_t first, uint32_t count,
              float* rows, size_t row_stride) {
  LoadPlain<BF16>(side, page, shape, first, count, rows, row_stride);
}

}  // namespace HWY_NAMESPACE
}  // namespace pith
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pith {
HWY_EXPORT(BF16Store);
HWY_EXPORT(BF16Load);

namespace {

void Store(Side side, std::byte* page, PageShape shape, uint32_t first, uint32_t count,
           const float* rows, size_t row_stride) {
  HWY_DYNAMIC_DISPATCH(BF16Store)(side, page, shape, first, count, rows, row_stride);
}

void Load(Side side, const std::byte* page, PageShape shape, uint32_t first, uint32_t count,
          float* rows, size_t row_stride) {
  HWY_DYNAMIC_DISPATCH(BF16Load)(side, page, shape, first, count, rows, row_stride);
}

}  // namespace

extern const Form kFormBF16;
const Form kFormBF16 = {
    .name = "bf16",
    .id = FormId::kBF16,
    .version = 1,
    .summary = "16-bit floats with the range of f32, rounded to nearest even",
    .bits_per_value = 16,
    .page_bytes = PlainPageBytes<BF16>,
    .store = Store,
    .load = Load,
    .canonical_bytes = PlainCanonicalBytes<BF16>,
    .export_entries = PlainExport<BF16>,
    .import_entries = PlainImport<BF16>,
};

}  // namespace pith
#endif  // HWY_ONCE
