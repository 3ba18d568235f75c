#include "eval/read_summary.h"

#include <algorithm>

namespace pith {
namespace {

double Rounded(double value) {
  return static_cast<double>(static_cast<int64_t>(value * 1000 + 0.5)) / 1000;
}

}  // namespace

std::optional<ReadSummary> SummarizeReads(const EntryReader& reader) {
  if (reader.rule().reads_all()) return std::nullopt;
  ReadSummary summary;
  summary.index_bytes = reader.bytes();
  ReadCounters all;
  for (const ReadCounters& head : reader.counters()) {
    all.steps += head.steps;
    all.held += head.held;
    all.read += head.read;
    all.kept += head.kept;
    summary.entries_read_by_head.emplace_back();
    if (head.steps == 0) continue;
    summary.entries_read_by_head.back() =
        static_cast<double>(head.read) / static_cast<double>(head.steps);
  }
  const auto steps = static_cast<double>(std::max<uint64_t>(1, all.steps));
  summary.entries_held = static_cast<double>(all.held) / steps;
  summary.entries_read = static_cast<double>(all.read) / steps;
  summary.attention_kept = all.kept / steps;
  return summary;
}

nlohmann::ordered_json ToJson(const ReadSummary& reads) {
  nlohmann::ordered_json json, heads = nlohmann::ordered_json::array();
  for (const auto& read : reads.entries_read_by_head) {
    heads.push_back(nullptr);
    if (read) heads.back() = Rounded(*read);
  }
  json["entries_held"] = Rounded(reads.entries_held);
  json["entries_read"] = Rounded(reads.entries_read);
  json["attention_kept"] = Rounded(reads.attention_kept);
  json["index_bytes"] = reads.index_bytes;
  json["entries_read_by_head"] = heads;
  return json;
}

}  // namespace pith
