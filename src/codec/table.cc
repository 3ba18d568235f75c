// The table of forms: one row each.
#include "codec/codec.h"

namespace pith {

extern const Form kFormF32;   // f32.cc
extern const Form kFormF16;   // f16.cc
extern const Form kFormBF16;  // bf16.cc

namespace {
constexpr const Form* kForms[] = {
    &kFormF32,
    &kFormF16,
    &kFormBF16,
};
}  // namespace

std::span<const Form* const> Forms() { return kForms; }

const Form* FindForm(std::string_view name) {
  for (const Form* form : kForms) {
    if (form->name == name) return form;
  }
  return nullptr;
}

const Form* FindForm(FormId id) {
  for (const Form* form : kForms) {
    if (form->id == id) return form;
  }
  return nullptr;
}

}  // namespace pith
