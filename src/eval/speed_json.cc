#include "eval/speed_json.h"

#include <fmt/format.h>
#include <ggml.h>
#include <llama.h>

#include <cstdlib>
#include <ctime>
#include <fstream>
#include <thread>

namespace pith {
namespace {

using Json = nlohmann::ordered_json;

Json ToJson(const Spread& ms) { return {{"min", ms.min}, {"median", ms.median}, {"max", ms.max}}; }

Json ToJson(const Timing& timing, bool per_token) {
  return {{"engine", timing.contestant},
          {"tok_s", timing.tokens_per_second},
          {per_token ? "ms_per_token" : "ms", ToJson(timing.ms)},
          {per_token ? "cpu_ms_per_token" : "cpu_ms", ToJson(timing.cpu_ms)}};
}

Json ToJson(const Comparison& comparison, bool per_token) {
  Json json;
  if (!per_token) {
    if (comparison.depths.empty()) {
      json["method"] = "measured as a whole";
    } else {
      json["method"] = "from chunk times at depths";
      json["depths"] = comparison.depths;
    }
  }
  json["engines"] = Json::array();
  for (const Timing& timing : comparison.timings) {
    json["engines"].push_back(ToJson(timing, per_token));
  }
  if (const Timing* best = comparison.BestPeer(); best != nullptr) {
    json["best_peer"] = best->contestant;
    json["ratio"] = *comparison.Ratio();
  }
  if (const auto ratio = comparison.RatioToFull()) {
    json["ratio_to_full"] = *ratio;
    json["cpu_ratio_to_full"] = *comparison.CpuRatioToFull();
  }
  return json;
}

Json ToJson(const SpeedPoint& point) {
  Json json{{"context", point.context}};
  if (point.prefill) {
    json["prefill"] = ToJson(*point.prefill, false);
    const double compress_ms = point.compress_ms ? point.compress_ms->median : 0;
    json["ttft_ms"] = point.prefill->timings.front().ms.median + compress_ms;
  }
  if (const auto& work = point.work) {
    json["prefill"]["tokens_computed"] = work->computed;
    json["prefill"]["bytes_peak_full"] = work->full_peak;
    json["prefill"]["bytes_hidden"] = work->hidden_bytes;
  }
  if (point.compress_ms) {
    json["compress"] = {{"ms", ToJson(*point.compress_ms)}};
    if (const auto share = point.CompressShare()) json["compress"]["share_of_prefill"] = *share;
  }
  if (point.decode) json["decode"] = ToJson(*point.decode, true);
  if (const auto& hot = point.hot) {
    json["decode"]["hot"] = {{"entries_share", hot->share},
                             {"run", hot->run},
                             {"mean_mass", hot->mean_mass},
                             {"least_mass", hot->least_mass}};
  }
  if (point.text_tokens) json["decode"]["repeated_text_tokens"] = *point.text_tokens;
  if (point.reads) json["read"] = ToJson(*point.reads);
  json["cache"] = {
      {"entries", point.cache.entries},         {"bytes", point.cache.logical},
      {"bytes_metadata", point.cache.metadata}, {"bytes_allocated", point.cache.allocated},
      {"bytes_peak", point.cache.held_peak},    {"bytes_full_f16", point.cache_full_f16}};
  return json;
}

Json ToJson(const SpeedRun& run) {
  Json json{{"threads", run.threads},
            {"kv", run.recipe.plan.canonical},
            {"budget", nullptr},
            {"key_form", run.recipe.plan.storage.key_name()},
            {"value_form", run.recipe.plan.storage.value_name()},
            {"load_ms", run.load_ms}};
  if (run.recipe.budget) json["budget"] = run.recipe.budget->text;
  if (!run.llama_key_type.empty()) {
    json["llama"] = {{"key_type", run.llama_key_type},
                     {"value_type", run.llama_value_type},
                     {"load_ms", run.llama_load_ms}};
  }
  json["points"] = Json::array();
  for (const SpeedPoint& point : run.points) json["points"].push_back(ToJson(point));
  return json;
}

Json ToJson(const MemoryComparison& memory) {
  Json json{{"context", memory.context}, {"threads", memory.threads}, {"kv", memory.recipe}};
  json["engines"] = Json::array();
  for (const auto& [engine, peak] : memory.peaks) {
    json["engines"].push_back({{"engine", MemoryEngineName(engine)},
                               {"bytes_peak", peak.peak},
                               {"bytes_anonymous", peak.anonymous},
                               {"bytes_file", peak.file}});
  }
  if (const auto* best = memory.BestPeer(); best != nullptr) {
    json["best_peer"] = MemoryEngineName(best->first);
    json["ratio"] = *memory.Ratio();
  }
  if (const auto ratio = memory.RatioToFull()) json["ratio_to_full"] = *ratio;
  return json;
}

std::string CpuModel() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    if (line.compare(0, 10, "model name") != 0) continue;
    const size_t colon = line.find(": ");
    if (colon != std::string::npos) return line.substr(colon + 2);
  }
  return "unknown";
}

}  // namespace

const std::pair<MemoryEngine, MemoryPeak>* MemoryComparison::BestPeer() const {
  const std::pair<MemoryEngine, MemoryPeak>* best = nullptr;
  for (const auto& entry : peaks) {
    if (entry.first == MemoryEngine::kPith || entry.first == MemoryEngine::kPithFull) continue;
    if (best == nullptr || entry.second.peak < best->second.peak) best = &entry;
  }
  return best;
}

std::optional<double> MemoryComparison::Ratio() const {
  const auto* best = BestPeer();
  if (best == nullptr) return std::nullopt;
  return static_cast<double>(peaks.front().second.peak) / static_cast<double>(best->second.peak);
}

std::optional<double> MemoryComparison::RatioToFull() const {
  if (peaks.size() < 2 || peaks[1].first != MemoryEngine::kPithFull) return std::nullopt;
  return static_cast<double>(peaks[0].second.peak) / static_cast<double>(peaks[1].second.peak);
}

Surroundings DescribeSurroundings(std::string_view pith_version) {
  Surroundings here;
  here.pith_version = pith_version;
  here.cpu = CpuModel();
  here.cores = std::thread::hardware_concurrency();
  here.ggml_version = fmt::format("{} ({})", ggml_version(), ggml_commit());
  here.ggml_features = llama_print_system_info();
  double load[1] = {0};
  if (getloadavg(load, 1) == 1) here.load_average = load[0];
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  gmtime_r(&now, &utc);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc);
  here.time_utc = text;
  return here;
}

nlohmann::ordered_json ToJson(const SpeedReport& report, const Surroundings& surroundings,
                              const std::vector<MemoryComparison>& memory) {
  Json json;
  json["pith_version"] = surroundings.pith_version;
  json["time_utc"] = surroundings.time_utc;
  json["machine"] = {{"cpu", surroundings.cpu},
                     {"cores", surroundings.cores},
                     {"load_average", surroundings.load_average}};
  json["ggml"] = {{"version", surroundings.ggml_version}, {"features", surroundings.ggml_features}};
  json["model"] = {
      {"path", report.options.model_path},     {"hash", fmt::format("{:016x}", report.model_hash)},
      {"architecture", report.architecture},   {"name", report.model_name},
      {"parameters", report.model_parameters}, {"bytes", report.model_bytes}};
  json["protocol"] = {{"chunk", report.options.chunk},
                      {"decode_tokens", report.options.decode_tokens},
                      {"repeats", report.options.repeats},
                      {"long_cache", "synthetic entries"}};
  json["runs"] = Json::array();
  for (const SpeedRun& run : report.runs) json["runs"].push_back(ToJson(run));
  if (!memory.empty()) {
    json["memory"] = Json::array();
    for (const MemoryComparison& entry : memory) json["memory"].push_back(ToJson(entry));
  }
  return json;
}

}  // namespace pith
