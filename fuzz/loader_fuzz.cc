// Any bytes at all into every loader of evaluation data, as the file of a task that it knows.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "eval/load/load.h"
#include "eval/metric/metric.h"

namespace {

// What is read ends in here, so that no read is optimised away.
volatile double sink;

void Require(bool holds) {
  if (!holds) std::abort();
}

std::string Folder() {
  static const std::string folder = [] {
    std::string name = (std::filesystem::temp_directory_path() / "pith_fuzz_XXXXXX").string();
    Require(mkdtemp(name.data()) != nullptr);
    return name;
  }();
  return folder;
}

void LoadAs(const char* loader, const char* file, const uint8_t* data, size_t size) {
  pith::LoadRequest request;
  request.path = Folder() + "/" + file;
  std::ofstream(request.path, std::ios::binary | std::ios::trunc)
      .write(reinterpret_cast<const char*>(data), static_cast<std::streamsize>(size));
  const auto tasks = pith::FindLoader(loader)->load(request);
  if (!tasks) {
    Require(tasks.error().kind == pith::ErrorKind::kInput);
    Require(tasks.error().Message().find('\n') == std::string::npos);
    return;
  }
  for (const pith::LoadedTask& task : *tasks) {
    for (const pith::Item& item : task.items) {
      Require(!item.metrics.empty() && item.task == task.task);
      const pith::MetricInfo* metric = pith::FindMetric(item.metrics[0]);
      Require(metric != nullptr || item.metrics[0] == "likelihood");
      if (metric == nullptr) continue;
      const double score = pith::ScoreItem(*metric, item.question, item);
      Require(score >= 0 && score <= 1);
      sink = sink + score + static_cast<double>(pith::ToJson(item).dump().size());
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  LoadAs("items", "items.jsonl", data, size);
  LoadAs("longbench", "trec.jsonl", data, size);
  LoadAs("longbench-e", "hotpotqa_e.jsonl", data, size);
  LoadAs("longbench-v2", "data.json", data, size);
  LoadAs("ruler-jsonl", "niah_single_1.jsonl", data, size);
  LoadAs("infinitebench", "code_debug.jsonl", data, size);
  LoadAs("gsm8k", "test.jsonl", data, size);
  return 0;
}
