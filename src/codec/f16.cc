// The form f16: 16-bit floats (IEEE), rounded to nearest even
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "codec/f16.cc"  // NOLINT
#include <hwy/foreach_target.h>            // NOLINT, must come before highway.h
#include <hwy/highway.h>

#include "codec/plain-inl.h"
#include "codec/plain.h"

HWY_BEFORE_NAMESPACE();
namespace pith {
namespace HWY_NAMESPACE {

void F16Store(Side side, std::byte* page, PageShape shape, uint32_t first, uint32_t count,
              const float* rows, size_t row_stride) {
  StorePlain<F16>(side, page, shape, first, count, rows, row_stride);
}

void F16Load(Side side, const std::byte* page, PageShape shape, uint32_t first, uint32_t count,
             float* rows, size_t row_stride) {
  LoadPlain<F16>(side, page, shape, first, count, rows, row_stride);
}

}  // namespace HWY_NAMESPACE
}  // namespace pith
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pith {
HWY_EXPORT(F16Store);
HWY_EXPORT(F16Load);

namespace {

void Store(Side side, std::byte* page, PageShape shape, uint32_t first, uint32_t count,
           const float* rows, size_t row_stride) {
  HWY_DYNAMIC_DISPATCH(F16Store)(side, page, shape, first, count, rows, row_stride);
}

void Load(Side side, const std::byte* page, PageShape shape, uint32_t first, uint32_t count,
          float* rows, size_t row_stride) {
  HWY_DYNAMIC_DISPATCH(F16Load)(side, page, shape, first, count, rows, row_stride);
}

}  // namespace

extern const Form kFormF16;
const Form kFormF16 = {
    .name = "f16",
    .id = FormId::kF16,
    .version = 1,
    .summary = "16-bit floats (IEEE), rounded to nearest even",
    .bits_per_value = 16,
    .page_bytes = PlainPageBytes<F16>,
    .store = Store,
    .load = Load,
    .canonical_bytes = PlainCanonicalBytes<F16>,
    .export_entries = PlainExport<F16>,
    .import_entries = PlainImport<F16>,
};

}  // namespace pith
#endif  // HWY_ONCE
