#include "cli/inspect_cache.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "base/file.h"
#include "base/progress.h"
#include "cli/report.h"
#include "cli/terminal.h"
#include "engine/compress.h"
#include "eval/report/kept_map.h"

namespace pith {
namespace {

using Json = nlohmann::ordered_json;

struct Inspected {
  KeptEntries kept;
  CompressionReport compression;
  CacheUsage usage;
  // [layer][kv_head]: what sealed keys hold, if not all channels.
  std::vector<ChannelList> key_channels;
};

Result<std::string> ReadPrompt(const std::string& path) {
  PITH_ASSIGN(std::string text, ReadText(path));
  if (text.ends_with('\n')) text.pop_back();  // the one that editors put there
  if (text.empty()) {
    return InputError("the text is empty", path == "-" ? "standard input" : path,
                      "Write something into it.");
  }
  return text;
}

Status Feed(Engine& engine, Sequence& sequence, std::span<const int32_t> tokens) {
  const InterruptGuard guard;
  Progress progress("reading the text", "tok");
  PITH_TRY(engine.Feed(sequence, tokens, [&](size_t done, size_t total) {
    progress.Update(done, total);
    return !InterruptGuard::flag();
  }));
  return {};
}

KeptEntries Describe(const Engine& engine, const Sequence& sequence) {
  KeptEntries kept;
  kept.model = engine.options().model_path;
  kept.recipe = sequence.kv.plan.canonical;
  if (sequence.kv.budget) kept.budget = sequence.kv.budget->text;
  kept.num_layers = sequence.cache.spec().num_layers;
  kept.num_kv_heads = sequence.cache.spec().num_kv_heads;
  for (const int32_t token : sequence.tokens) {
    kept.pieces.push_back(engine.tokenizer().Piece(token, true));
  }
  for (uint32_t layer = 0; layer < kept.num_layers; ++layer) {
    for (uint32_t head = 0; head < kept.num_kv_heads; ++head) {
      auto& positions = kept.positions.emplace_back(sequence.cache.num_entries(layer, head));
      sequence.cache.Positions(layer, head, positions);
      std::ranges::sort(positions);  // exact entries of merged layers lie in front
    }
  }
  const CacheUsage usage = sequence.cache.Usage();
  kept.bytes = usage.logical + usage.metadata;
  kept.bytes_full_f16 = kept.pieces.size() * engine.model().shape().CacheBytesPerTokenF16();
  return kept;
}

std::vector<ChannelList> KeyChannels(const SequenceCache& cache) {
  std::vector<ChannelList> all;
  for (uint32_t layer = 0; layer < cache.spec().num_layers; ++layer) {
    for (uint32_t head = 0; head < cache.spec().num_kv_heads; ++head) {
      const ChannelList* const channels = cache.KeyChannels(layer, head);
      all.push_back(channels != nullptr ? *channels : ChannelList());
    }
  }
  return all;
}

// "0-3, 17, 30-40"
std::string Ranges(const std::vector<int32_t>& positions) {
  std::string text;
  for (size_t begin = 0, end; begin < positions.size(); begin = end) {
    end = begin + 1;
    while (end < positions.size() && positions[end] == positions[end - 1] + 1) ++end;
    text += fmt::format("{}{}", begin == 0 ? "" : ", ", positions[begin]);
    if (end - begin > 1) text += fmt::format("-{}", positions[end - 1]);
  }
  return text;
}

std::string HeadsText(const Inspected& seen) {
  const KeptEntries& kept = seen.kept;
  std::string text = fmt::format(
      "recipe  {}{}\ntext    {} tokens; {} of {} entries kept ({:.1f} %)\n"
      "cache   {}, as a full f16 cache {}\n\n"
      "layer  head  entries  allocated  kept positions\n",
      kept.recipe, kept.budget.empty() ? "" : ", budget " + kept.budget,
      FormatCount(kept.pieces.size()), FormatCount(kept.Kept()), FormatCount(kept.KeptFull()),
      100.0 * static_cast<double>(kept.Kept()) / static_cast<double>(kept.KeptFull()),
      FormatBytes(kept.bytes), FormatBytes(kept.bytes_full_f16));
  for (size_t i = 0; i < kept.positions.size(); ++i) {
    text += fmt::format("{:>5}{:>6}{:>9}{:>11}  {}\n", i / kept.num_kv_heads, i % kept.num_kv_heads,
                        kept.positions[i].size(),
                        kept.allocated.empty() ? "all" : std::to_string(kept.allocated[i]),
                        Ranges(kept.positions[i]));
  }
  return text;
}

bool IsKept(const KeptEntries& kept, size_t head, int32_t position) {
  return std::ranges::binary_search(kept.positions[head], position);
}

// A line for every entry that was scored.
std::string ScoresText(const Inspected& seen) {
  const KeptEntries& kept = seen.kept;
  std::string text = "layer\thead\tposition\tscore\tkept\ttoken\n";
  for (size_t i = 0; i < seen.compression.scores.size(); ++i) {
    const auto& positions = seen.compression.positions[i];
    for (size_t j = 0; j < positions.size(); ++j) {
      const std::string token = JsonLine(kept.pieces[static_cast<size_t>(positions[j])]);
      text += fmt::format("{}\t{}\t{}\t{}\t{}\t{}", i / kept.num_kv_heads, i % kept.num_kv_heads,
                          positions[j], seen.compression.scores[i][j],
                          IsKept(kept, i, positions[j]) ? "yes" : "no", token);
    }
  }
  return text;
}

Json HeadJson(const Inspected& seen, size_t i, bool scores) {
  const KeptEntries& kept = seen.kept;
  Json head{{"layer", i / kept.num_kv_heads},
            {"kv_head", i % kept.num_kv_heads},
            {"entries", kept.positions[i].size()},
            {"allocated", nullptr},
            {"positions", kept.positions[i]}};
  if (!kept.allocated.empty()) head["allocated"] = kept.allocated[i];
  const ChannelList& channels = seen.key_channels[i];
  if (!channels.kept.empty()) head["key_channels"] = channels.kept;
  if (channels.mixed()) head["key_mixtures"] = channels.num_stored();
  if (!scores) return head;
  head["scored"] = Json::array();
  for (size_t j = 0; j < seen.compression.scores[i].size(); ++j) {
    // JSON knows no infinity: null is a protected entry.
    const float score = seen.compression.scores[i][j];
    head["scored"].push_back(
        {seen.compression.positions[i][j], std::isfinite(score) ? Json(score) : Json(nullptr)});
  }
  return head;
}

Json ToJson(const Inspected& seen, bool scores) {
  const KeptEntries& kept = seen.kept;
  Json json{{"model", kept.model}, {"recipe", kept.recipe}, {"budget", nullptr}};
  if (!kept.budget.empty()) json["budget"] = kept.budget;
  json["tokens"] = kept.pieces.size();
  json["entries"] = kept.Kept();
  json["entries_full"] = kept.KeptFull();
  json["bytes"] = kept.bytes;
  json["bytes_allocated"] = seen.usage.allocated;
  json["bytes_full_f16"] = kept.bytes_full_f16;
  json["text"] = kept.pieces;
  for (size_t i = 0; i < kept.positions.size(); ++i) {
    json["heads"].push_back(HeadJson(seen, i, scores));
  }
  return json;
}

}  // namespace

Status CheckPage(const InspectCacheFlags& flags, std::initializer_list<std::string> read) {
  if (flags.html.empty()) return {};
  if (flags.json || flags.scores) {
    return InputError(fmt::format("{} says nothing to --html", flags.json ? "--json" : "--scores"),
                      "command line", "Leave one of them out.");
  }
  for (const std::string& other : read) {
    std::error_code error;
    if (std::filesystem::equivalent(flags.html, other, error)) {
      return InputError("--html would overwrite this file", flags.html, "Name another one.");
    }
  }
  return CheckCanWrite(flags.html);
}

Status InspectCache(const InspectCacheFlags& flags) {
  PITH_TRY(CheckPage(flags, {flags.file, flags.engine.model}));
  PITH_ASSIGN(const std::string text, ReadPrompt(flags.file));
  PITH_ASSIGN(const OpenedEngine opened, OpenEngine(flags.engine));
  Engine& engine = *opened.engine;
  PITH_ASSIGN(Sequence sequence, opened.NewSequence());
  PITH_ASSIGN(const auto tokens, engine.tokenizer().Tokenize(text, true, true));
  PITH_TRY(Feed(engine, sequence, tokens));
  Inspected seen;
  PITH_TRY(engine.Compress(sequence, &seen.compression));
  seen.kept = Describe(engine, sequence);
  seen.kept.allocated = seen.compression.allocated;
  seen.usage = sequence.cache.Usage();
  seen.key_channels = KeyChannels(sequence.cache);

  if (flags.scores && seen.compression.scores.empty()) {
    Say("nothing was scored: the cache is within the budget");
    if (!flags.json) return {};
  }
  if (!flags.html.empty()) {
    PITH_TRY(WriteText(flags.html, HtmlKeptMap(seen.kept)));
    Say("the map is in " + flags.html);
    return {};
  }
  Output output;
  if (flags.json) {
    output.Write(JsonLine(ToJson(seen, flags.scores && !seen.compression.scores.empty())));
  } else {
    output.Write(flags.scores ? ScoresText(seen) : HeadsText(seen));
  }
  return output.status();
}

}  // namespace pith
