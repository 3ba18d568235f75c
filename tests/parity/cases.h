// One row per architecture and quirk: the model that is made, tested under the name parity.NAME.
#pragma once

#include <span>
#include <string_view>

#include "make_model/make_model.h"

namespace pith {

struct ParityCase {
  std::string_view name;
  MakeModelOptions model;
};

std::span<const ParityCase> ParityCases();

}  // namespace pith
