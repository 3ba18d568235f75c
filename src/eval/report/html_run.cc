// Time and memory, what the model said, and how everything was measured.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <tuple>

#include "eval/report/html_sections.h"
#include "eval/report/html_table.h"

namespace pith {
namespace {

constexpr size_t kExamples = 3;        // items per task and condition
constexpr size_t kExampleBytes = 600;  // of a prediction or of an answer
constexpr const char* kWorkNote =
    " Read is the share of a head’s entries that a new token reads, in layers where the recipe "
    "chooses, and kept mass the share of the candidates’ attention that it guesses to keep; "
    "computed is the share of (token, layer) pairs, of the context and with the answer.";

std::string Cut(const std::string& text) {
  if (text.size() <= kExampleBytes) return text;
  size_t end = kExampleBytes;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
  return fmt::format("{} … (cut; {} more bytes in the results file)", text.substr(0, end),
                     text.size() - end);
}

std::string Join(const std::vector<std::string>& texts) {
  std::string joined;
  for (const std::string& text : texts) joined += (joined.empty() ? "" : " | ") + text;
  return joined;
}

std::string ExampleTable(const std::string& caption, const std::vector<const ItemRecord*>& items) {
  HtmlTable table(caption);
  table.TextColumn("Item");
  table.WrappedColumn("Setting");
  table.NumberColumn("Score");
  table.WrappedColumn("Prediction");
  table.WrappedColumn("Expected");
  for (const ItemRecord* item : items) {
    table.Row();
    table.Text(item->id);
    table.Text(SettingLabel(item->recipe, item->budget));
    table.Number(100 * item->score, fmt::format("{:.1f}", 100 * item->score));
    table.Text(item->null_prediction ? "(empty)" : Cut(item->prediction));
    table.Text(Cut(Join(item->answers)));
  }
  return table.Render();
}

void Fact(std::string& html, const char* name, const std::string& value) {
  html += fmt::format("<dt>{}</dt><dd>{}</dd>\n", name, HtmlEscape(value));
}

std::string RunFacts(const RunRecord& run) {
  std::string html = "<h3>Run " + HtmlEscape(run.run) + "</h3>\n<pre class=\"command\">" +
                     HtmlEscape(run.command) + "</pre>\n<dl>\n";
  Fact(html, "Version", run.version);
  Fact(html, "Started (UTC)", run.utc);
  Fact(html, "Processor", run.cpu);
  Fact(html, "Cores, threads", fmt::format("{}, {}", run.cores, run.threads));
  Fact(html, "Load before", fmt::format("{:.2f}", run.load_average));
  html += "</dl>\n";
  if (!run.settings.empty()) {
    html += "<details><summary>All settings</summary><pre>" +
            HtmlEscape(run.settings.dump(2, ' ', false,
                                         nlohmann::ordered_json::error_handler_t::replace)) +
            "</pre></details>\n";
  }
  return html;
}

std::string OriginTable(const ReportData& data) {
  using Origin = std::tuple<std::string, std::string, std::string, std::string, std::string>;
  std::map<Origin, std::pair<std::set<uint64_t>, size_t>> origins;
  for (const ItemRecord* item : data.items) {
    auto& [seeds, count] =
        origins[{item->task, item->metric, item->haystack, item->prompts, item->source}];
    seeds.insert(item->seed);
    ++count;
  }
  HtmlTable table("Where the items come from");
  for (const char* name : {"Task", "Metric", "Haystack", "Prompts", "Source", "Seeds"}) {
    table.WrappedColumn(name);
  }
  table.NumberColumn("Measurements");
  for (const auto& [origin, use] : origins) {
    const auto& [task, metric, haystack, prompts, source] = origin;
    const auto& [seeds, count] = use;
    table.Row();
    table.Text(task);
    for (const std::string& text : {metric, haystack, prompts, source}) table.Text(text);
    table.Text(seeds.size() == 1
                   ? std::to_string(*seeds.begin())
                   : fmt::format("{} of {} to {}", seeds.size(), *seeds.begin(), *seeds.rbegin()));
    table.Number(static_cast<double>(count), FormatCount(count));
  }
  return table.Render();
}

std::string ModelTable(const ReportData& data) {
  std::map<std::pair<std::string, std::string>, size_t> models;
  for (const ItemRecord* item : data.items) ++models[{item->model, item->model_hash}];
  HtmlTable table("Models");
  table.TextColumn("Model");
  table.TextColumn("Hash");
  table.NumberColumn("Measurements");
  for (const auto& [model, count] : models) {
    table.Row();
    table.Text(model.first);
    table.Text(model.second);
    table.Number(static_cast<double>(count), FormatCount(count));
  }
  return table.Render();
}

}  // namespace

std::string CostSection(const ReportData& data) {
  if (data.suites.empty()) return "";
  HtmlTable table("Time and memory");
  table.TextColumn("Suite");
  if (data.models.size() > 1) table.TextColumn("Model");
  table.NumberColumn("Length");
  table.TextColumn("Protocol");
  table.WrappedColumn("Recipe");
  table.TextColumn("Budget");
  for (const char* name : {"First token, ms", "Decode, tokens/s", "Allocated", "Peak", "Full f16",
                           "Saving", "Fragmentation", "Entries kept", "Resident"}) {
    table.NumberColumn(name);
  }
  const std::vector<ShareColumn> work = WorkColumns(data.suites);
  for (const ShareColumn& column : work) table.NumberColumn(std::string(column.name));
  for (const CellSummary& cell : data.suites) {
    table.Row();
    table.Text(cell.task);
    if (data.models.size() > 1) table.Text(cell.model);
    table.Number(cell.length, cell.length == 0 ? "own" : FormatCount(cell.length));
    table.Text(ProtocolLabel(cell.query_aware));
    table.Text(cell.recipe);
    table.Text(cell.budget.value_or(""));
    table.Number(cell.first_token_ms, fmt::format("{:.1f}", cell.first_token_ms));
    if (cell.decode_tokens_per_second > 0) {
      table.Number(cell.decode_tokens_per_second,
                   fmt::format("{:.1f}", cell.decode_tokens_per_second));
    } else {
      table.Empty();
    }
    table.Number(cell.allocated, FormatBytes(cell.allocated));
    table.Number(cell.peak, FormatBytes(cell.peak));
    table.Number(cell.full_f16, FormatBytes(cell.full_f16));
    table.Number(cell.saving, FormatShare(cell.saving));
    if (cell.logical > 0) {
      table.Number(cell.allocated / cell.logical,
                   fmt::format("{:.2f}", cell.allocated / cell.logical));
    } else {
      table.Empty();
    }
    table.Number(cell.entries_share, FormatShare(cell.entries_share));
    table.Number(static_cast<double>(cell.resident_bytes),
                 FormatBytes(static_cast<double>(cell.resident_bytes)));
    for (const ShareColumn& column : work) {
      if (const auto& share = cell.*column.share) {
        table.Number(*share, FormatShare(*share));
      } else {
        table.Empty();
      }
    }
  }
  const auto shared = static_cast<size_t>(std::count_if(
      data.items.begin(), data.items.end(), [](const ItemRecord* i) { return i->shared_prefill; }));
  const std::string note =
      shared == 0 ? ""
                  : fmt::format(
                        " In {} of {} measurements the prompt was read once for several "
                        "recipes, so their first-token times share that part.",
                        FormatCount(shared), FormatCount(data.items.size()));
  return "<section id=\"cost\"><h2>Time and memory</h2>\n<p>Bytes are means of one sequence’s "
         "cache; "
         "peak is the highest while an item ran; resident is the highest of the whole process "
         "after "
         "an item, weights included. Times are medians." +
         note + " Fragmentation is allocated over logical bytes." +
         (work.empty() ? "" : kWorkNote) + "</p>\n" + table.Render() + "</section>\n";
}

std::string ExamplesSection(const ReportData& data, const ResultFile& results) {
  using Group = std::pair<std::string, Condition>;
  std::vector<Group> order;
  std::map<Group, std::vector<std::string>> ids;
  std::map<Group, std::map<std::string, std::vector<const ItemRecord*>>> shown;
  for (const ItemRecord* item : data.items) {
    if (item->metric.empty()) continue;
    const Group group{item->task, ConditionOf(*item, results)};
    if (!ids.contains(group)) order.push_back(group);
    auto& chosen = ids[group];
    const bool known = std::find(chosen.begin(), chosen.end(), item->id) != chosen.end();
    if (!known && chosen.size() == kExamples) continue;
    if (!known) chosen.push_back(item->id);
    shown[group][item->id].push_back(item);
  }
  if (order.empty()) return "";
  std::string html = fmt::format(
      "<section id=\"examples\"><h2>What the model said</h2>\n<p>The first {} items of each "
      "task.</p>\n",
      kExamples);
  for (const Group& group : order) {
    std::vector<const ItemRecord*> items;
    for (const std::string& id : ids[group]) {
      items.insert(items.end(), shown[group][id].begin(), shown[group][id].end());
    }
    const std::string caption = group.first + ": " + ConditionLabel(group.second, data);
    html += "<details><summary>" + HtmlEscape(caption) + "</summary>" +
            ExampleTable(caption, items) + "</details>\n";
  }
  return html + "</section>\n";
}

std::string ConfigurationSection(const ReportData& data, const ResultFile& results) {
  std::string html = "<section id=\"configuration\"><h2>How it was measured</h2>\n";
  for (const RunRecord& run : results.runs) html += RunFacts(run);
  if (results.runs.empty()) html += "<p>The results file names no run.</p>\n";
  if (data.repeated > 0) {
    html += fmt::format(
        "<p>{} records were measured again later in the file; the latest of each counts.</p>\n",
        FormatCount(data.repeated));
  }
  return html + ModelTable(data) + OriginTable(data) + "</section>\n";
}

}  // namespace pith
