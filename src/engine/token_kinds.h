// Which tokens of a vocabulary are marks of the model's own, and which are punctuation.
#pragma once

#include <vector>

#include "method/stage.h"
#include "text/tokenizer.h"

namespace pith {

// [vocabulary]. Control tokens are special. Punctuation is one of . , : ; ? ! or line ends, with or
// without spaces around.
std::vector<TokenKind> TokenKinds(const Tokenizer& tokenizer);

}  // namespace pith
