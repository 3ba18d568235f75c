#include "calibrate/texts.h"

#include <fmt/format.h>

#include "calibrate/origin.h"

namespace pith {
namespace {

constexpr uint64_t kMostTokens = uint64_t{1} << 28;  // a gigabyte of them

}  // namespace

Result<std::vector<std::vector<int32_t>>> TextPieces(const Engine& engine,
                                                     const TextRequest& request) {
  if (request.length > engine.options().context) {
    return InputError(fmt::format("texts of {} tokens do not fit a context of {}", request.length,
                                  engine.options().context),
                      "--length", "Give shorter ones.");
  }
  if (uint64_t{request.count} * request.length > kMostTokens) {
    return InputError(fmt::format("{} texts of {} tokens are more than {} tokens", request.count,
                                  request.length, kMostTokens),
                      "--texts", "Give fewer or shorter ones.");
  }
  const Tokenizer& tokenizer = engine.tokenizer();
  const size_t first = tokenizer.bos() >= 0 ? 1 : 0;
  const size_t wanted = size_t{request.count} * (request.length - first);
  std::vector<int32_t> text;
  // A sentence at a time: whoever splits a text in the middle of a word gets other tokens.
  for (size_t i = 0; text.size() < wanted; ++i) {
    PITH_ASSIGN(const std::vector<int32_t> tokens,
                tokenizer.Tokenize(request.haystack.Sentence(i) + " ", false, false));
    text.insert(text.end(), tokens.begin(), tokens.end());
  }
  std::vector<std::vector<int32_t>> pieces(request.count);
  auto next = text.begin();
  for (std::vector<int32_t>& piece : pieces) {
    if (first > 0) piece.push_back(tokenizer.bos());
    const auto end = next + static_cast<ptrdiff_t>(request.length - first);
    piece.insert(piece.end(), next, end);
    next = end;
  }
  return pieces;
}

Status ReadPieces(Engine& engine, const std::vector<std::vector<int32_t>>& pieces,
                  StepObserver* watcher, const std::function<void(const Sequence&)>& visit,
                  const FeedProgress& progress) {
  size_t total = 0, done = 0;
  for (const auto& piece : pieces) total += piece.size();
  for (const auto& piece : pieces) {
    Sequence sequence = engine.NewSequence();
    sequence.watcher = watcher;
    PITH_TRY(engine.Feed(sequence, piece, Part(progress, done, total)));
    visit(sequence);
    done += piece.size();
  }
  return {};
}

std::string DescribeTexts(const TextRequest& request) {
  return fmt::format("{} texts of {} tokens, {}", request.count, request.length,
                     request.haystack.source());
}

}  // namespace pith
