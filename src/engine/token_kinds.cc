#include "engine/token_kinds.h"

#include <algorithm>
#include <string>
#include <string_view>

namespace pith {
namespace {

bool IsPunctuation(std::string piece) {
  std::erase(piece, ' ');
  if (piece.size() == 1) return std::string_view(".,:;?!\n").find(piece[0]) != std::string::npos;
  return !piece.empty() && piece.find_first_not_of("\r\n") == std::string::npos;
}

}  // namespace

std::vector<TokenKind> TokenKinds(const Tokenizer& tokenizer) {
  std::vector<TokenKind> kinds;
  for (uint32_t i = 0; i < tokenizer.vocabulary_size(); ++i) {
    const auto token = static_cast<int32_t>(i);
    kinds.push_back(tokenizer.IsControl(token)              ? TokenKind::kSpecial
                    : IsPunctuation(tokenizer.Piece(token)) ? TokenKind::kPunctuation
                                                            : TokenKind::kOrdinary);
  }
  return kinds;
}

}  // namespace pith
