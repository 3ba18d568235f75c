// The table of forms: one row each.
#include <algorithm>

#include "codec/codec.h"
#include "codec/kivi.h"

namespace pith {

extern const Form kFormF32;   // f32.cc
extern const Form kFormF16;   // f16.cc
extern const Form kFormBF16;  // bf16.cc
extern const Form kFormQ8_0;  // q8_0.cc
extern const Form kFormQ4_0;  // q4_0.cc

namespace {
constexpr const Form* kForms[] = {
    &kFormF32, &kFormF16, &kFormBF16, &kFormQ8_0, &kFormQ4_0,
};

template <class Matches>
const Form* Find(const Matches& matches) {
  for (const auto forms : {Forms(), KiviForms()}) {
    const auto found = std::ranges::find_if(forms, matches);
    if (found != forms.end()) return *found;
  }
  return nullptr;
}
}  // namespace

std::span<const Form* const> Forms() { return kForms; }

const Form* FindForm(std::string_view name) {
  return Find([name](const Form* form) { return form->name == name; });
}

const Form* FindForm(FormId id) {
  return Find([id](const Form* form) { return form->id == id; });
}

}  // namespace pith
