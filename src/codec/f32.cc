// The form f32: 32-bit floats, exact
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "codec/f32.cc"  // NOLINT
#include <hwy/foreach_target.h>            // NOLINT, must come before highway.h
#include <hwy/highway.h>

#include "codec/plain-inl.h"
#include "codec/plain.h"

HWY_BEFORE_NAMESPACE();
namespace pith {
namespace HWY_NAMESPACE {

void F32Store(Side side, std::byte* page, PageShape shape, uint32_t first, uint32_t count,
              const float* rows, size_t row_stride) {
  StorePlain<float>(side, page, shape, first, count, rows, row_stride);
}

void F32Load(Side side, const std::byte* page, PageShape shape, uint32_t first, uint32_t count,
             float* rows, size_t row_stride) {
  LoadPlain<float>(side, page, shape, first, count, rows, row_stride);
}

}  // namespace HWY_NAMESPACE
}  // namespace pith
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pith {
HWY_EXPORT(F32Store);
HWY_EXPORT(F32Load);

namespace {

void Store(Side side, std::byte* page, PageShape shape, uint32_t first, uint32_t count,
           const float* rows, size_t row_stride) {
  HWY_DYNAMIC_DISPATCH(F32Store)(side, page, shape, first, count, rows, row_stride);
}

void Load(Side side, const std::byte* page, PageShape shape, uint32_t first, uint32_t count,
          float* rows, size_t row_stride) {
  HWY_DYNAMIC_DISPATCH(F32Load)(side, page, shape, first, count, rows, row_stride);
}

}  // namespace

extern const Form kFormF32;
const Form kFormF32 = {
    .name = "f32",
    .id = FormId::kF32,
    .version = 1,
    .summary = "32-bit floats, exact",
    .bits_per_value = 32,
    .page_bytes = PlainPageBytes<float>,
    .store = Store,
    .load = Load,
    .canonical_bytes = PlainCanonicalBytes<float>,
    .export_entries = PlainExport<float>,
    .import_entries = PlainImport<float>,
};

}  // namespace pith
#endif  // HWY_ONCE
