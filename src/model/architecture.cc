#include "model/architecture.h"

#include "model/architectures.h"

namespace pith {
namespace {

constexpr const Architecture* kTable[] = {&kLlama, &kQwen2, &kQwen3, &kQwen3Moe, &kPhi3};

std::string KnownNames() {
  std::string names;
  for (const Architecture* row : kTable) {
    names += (names.empty() ? "" : ", ") + std::string(row->name);
  }
  return names;
}

}  // namespace

std::span<const Architecture* const> Architectures() { return kTable; }

std::vector<std::string_view> SupportedArchitectures() {
  std::vector<std::string_view> names;
  for (const Architecture* row : kTable) names.push_back(row->name);
  return names;
}

Result<RecognisedModel> Recognise(const GgufFile& file) {
  PITH_ASSIGN(const std::string_view name, file.String("general.architecture"));
  for (const Architecture* row : kTable) {
    if (row->name != name) continue;
    PITH_ASSIGN(HyperParams params, ReadCommonHyperParams(file, name));
    params.rope.interleaved = row->interleaved_rope;
    PITH_TRY(row->read(file, &params));
    if (params.feed_forward == 0) {
      return InputError("the model has no feed-forward length", file.path(),
                        "The file is damaged.");
    }
    return RecognisedModel{row, std::move(params)};
  }
  return InputError("the architecture '" + std::string(name.substr(0, 64)) + "' is not supported",
                    file.path(), "Supported are " + KnownNames() + ".");
}

Result<ModelShape> ReadModelShape(const GgufFile& file) {
  PITH_ASSIGN(RecognisedModel model, Recognise(file));
  return static_cast<ModelShape&&>(std::move(model.params));
}

}  // namespace pith
