// Running text that statistics of keys and queries are taken over.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "base/status.h"
#include "engine/engine.h"
#include "eval/task/haystack.h"

namespace pith {

// The text's tokens from its beginning, cut into `count` pieces of `length` that may begin
// anywhere in a sentence; each begins with the model's BOS if it has one, which counts. Input error
// if a piece does not fit the context.
struct TextRequest {
  Haystack haystack = Haystack::Builtin(1);  // not the text that evaluations hide needles in
  uint32_t count = 0, length = 0;
};
Result<std::vector<std::vector<int32_t>>> TextPieces(const Engine& engine,
                                                     const TextRequest& request);

// Feeds the pieces one after the other, each to an empty full cache, while `watcher` (may be null)
// looks on, and shows the fed sequence to `visit`.
Status ReadPieces(Engine& engine, const std::vector<std::vector<int32_t>>& pieces,
                  StepObserver* watcher, const std::function<void(const Sequence&)>& visit,
                  const FeedProgress& progress);

// Of what they were taken over, for a section's origin.
std::string DescribeTexts(const TextRequest& request);

}  // namespace pith
