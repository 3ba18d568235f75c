#include "cli/report.h"

#include <fmt/format.h>

#include "cli/terminal.h"
#include "model/weights.h"

namespace pith {
namespace {

double PerSecond(uint64_t count, double ms) {
  return ms > 0 ? 1000.0 * static_cast<double>(count) / ms : 0.0;
}

uint64_t CacheBytes(const CacheUsage& usage) { return usage.logical + usage.metadata; }

// Three decimals are enough for milliseconds and rates, and keep the JSON readable.
double Rounded(double value) {
  return static_cast<double>(static_cast<int64_t>(value * 1000 + 0.5)) / 1000;
}

// "737 tokens in 0.25 s (2,948 tok/s)"; the rate counts `steps`, those tokens that took time.
std::string Work(uint64_t tokens, uint64_t steps, double ms) {
  std::string text = fmt::format("{} {} in {:.2f} s", FormatCount(tokens),
                                 tokens == 1 ? "token" : "tokens", ms / 1000);
  if (steps > 0) {
    text += fmt::format(" ({} tok/s)", FormatCount(static_cast<uint64_t>(PerSecond(steps, ms))));
  }
  return text;
}

}  // namespace

void DescribeCache(const Engine& engine, const Sequence& sequence, RunReport* report) {
  const ModelShape& shape = engine.model().shape();
  report->cache = sequence.Usage();
  report->entries_full = uint64_t{sequence.tokens.size()} * shape.num_layers * shape.num_kv_heads;
  report->bytes_full_f16 = uint64_t{sequence.tokens.size()} * shape.CacheBytesPerTokenF16();
  report->tokens_computed = sequence.ComputedTokens();
  report->reads = SummarizeReads(sequence.reader);
  report->context_full = report->generation.stop == StopReason::kLength &&
                         sequence.tokens.size() + 1 >= engine.options().context;
}

nlohmann::ordered_json ReportJson(const RunReport& report, const PlannedRun& planned) {
  const Generation& generation = report.generation;
  nlohmann::ordered_json json;
  json["text"] = generation.text;
  json["prompt_tokens"] = report.prompt_tokens;
  json["generated_tokens"] = generation.tokens.size();
  json["stop"] = StopReasonName(generation.stop);
  auto& kv = json["kv"];
  kv["recipe"] = planned.plan.canonical;
  kv["budget"] = nullptr;
  if (planned.budget) kv["budget"] = planned.budget->text;
  kv["entries"] = report.cache.entries;
  kv["entries_full"] = report.entries_full;
  kv["bytes"] = CacheBytes(report.cache);
  kv["bytes_allocated"] = report.cache.allocated;
  kv["bytes_full_f16"] = report.bytes_full_f16;
  kv["bytes_peak"] = report.cache.peak;
  kv["tokens_computed"] = report.tokens_computed;
  if (report.reads) kv["read"] = ToJson(*report.reads);
  auto& timings = json["timings"];
  timings["load_ms"] = Rounded(report.load_ms);
  timings["prefill_ms"] = Rounded(report.prefill_ms);
  timings["decode_ms"] = Rounded(generation.decode_ms);
  timings["prefill_tok_s"] = Rounded(PerSecond(report.fed_tokens, report.prefill_ms));
  timings["decode_tok_s"] = Rounded(PerSecond(generation.steps, generation.decode_ms));
  return json;
}

void SaySummary(const RunReport& report) {
  const Generation& generation = report.generation;
  const std::string_view stop =
      report.context_full ? "the context is full" : StopReasonName(generation.stop);
  std::string read;
  if (report.fed_tokens > 0) {
    read = "read " + Work(report.fed_tokens, report.fed_tokens, report.prefill_ms) + ", ";
  }
  Say(fmt::format("{}wrote {}: {}", read,
                  Work(generation.tokens.size(), generation.steps, generation.decode_ms), stop));
  const double share = report.bytes_full_f16 == 0
                           ? 0.0
                           : 100.0 * static_cast<double>(CacheBytes(report.cache)) /
                                 static_cast<double>(report.bytes_full_f16);
  Say(fmt::format("cache {} of {} as full f16 ({:.0f} %), {} allocated",
                  FormatBytes(CacheBytes(report.cache)), FormatBytes(report.bytes_full_f16), share,
                  FormatBytes(report.cache.allocated)));
}

std::string JsonLine(const nlohmann::ordered_json& json) {
  return json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace pith
