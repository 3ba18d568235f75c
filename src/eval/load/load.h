// Loaders: items from local copies of published data sets. One format is one file here and one row
// in table.cc.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "eval/task/item.h"

namespace pith {

struct LoadRequest {
  std::string path;                // a file, or a folder of files named after their tasks
  std::vector<std::string> tasks;  // without the suite's name; empty: all that are there
  uint32_t samples = 0;            // per task, the first ones; 0: all
  std::string prompts_file;        // LongBench's dataset2prompt.json; empty: our own wording
  std::string max_new_file;        // LongBench's dataset2maxlen.json; empty: the built-in numbers
  bool indel_code_similarity = false;  // code_sim by edit distance instead of difflib
};

// The items of one task, and where they and their prompts come from.
struct LoadedTask {
  std::string task;     // "longbench/hotpotqa"
  std::string source;   // file name and xxh3 of its bytes
  std::string prompts;  // "builtin", or the prompt file's name and hash
  std::vector<Item> items;
};

struct LoaderInfo {
  std::string_view
      name;  // of the suite: "ruler-jsonl", "longbench", "longbench-e", "infinitebench"
  std::string_view summary;
  // Input errors name file, line and field.
  Result<std::vector<LoadedTask>> (*load)(const LoadRequest& request) = nullptr;
};

std::span<const LoaderInfo> Loaders();
const LoaderInfo* FindLoader(std::string_view name);

}  // namespace pith
