// The rows of the table in architecture.cc, one per file.
#pragma once

#include "model/architecture.h"

namespace pith {

extern const Architecture kLlama;
extern const Architecture kQwen2;
extern const Architecture kQwen3;
extern const Architecture kQwen3Moe;
extern const Architecture kPhi3;

}  // namespace pith
