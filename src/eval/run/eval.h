// A whole evaluation: models x tasks x lengths x recipes, appended to a results file, or items
// written out without a model.
#pragma once

#include <atomic>
#include <functional>
#include <string>
#include <vector>

#include "base/status.h"
#include "engine/engine.h"
#include "eval/run/sets.h"

namespace pith {

struct EvalRequest {
  std::vector<std::string> models;  // files
  EngineOptions engine;             // the rest of it; model_path is taken from `models`
  SetRequest sets;                  // no lengths: 4096, or what the model holds if that is less
  EvalSettings settings;            // `run` is filled in
  std::string tokenizer_from;  // model file whose tokenizer counts lengths; empty: each model's
  std::string command;         // as typed, recorded
  std::string results;         // file to go on with; empty: kept in memory
};

struct EvalProgress {
  std::function<void(size_t done, size_t total)> items;  // (item, recipe) pairs
  std::function<void(const std::string& line)> say;      // for people
  const std::atomic<bool>* interrupted = nullptr;
};

// All records of the results file, those of earlier runs included. On an error what was finished is
// in the file.
Result<ResultFile> RunEval(EvalRequest request, const EvalProgress& progress);

// The items of the first model's tokenizer as JSONL; "-" is standard output, else a file that is
// there whole or not at all. How many there are.
Result<size_t> DumpItems(const EvalRequest& request, const std::string& path);

}  // namespace pith
