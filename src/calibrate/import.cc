#include "calibrate/import.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <span>
#include <vector>

namespace pith {
namespace {

using Json = nlohmann::json;

constexpr const char* kScoresHint =
    "It must hold \"layer-head\" and a list of scores for each query head, as HeadKV's files do.";
constexpr const char* kGatesHint =
    "It must hold a line per layer with a number per KV head, as DuoAttention's files do.";

constexpr const char* kBitsHint =
    "It must hold the number, nbits_key and nbits_value of each layer, as KVTuner's presets do.";

std::string FileName(const std::string& path) {
  return std::filesystem::path(path).filename().string();
}

struct HeadName {
  uint32_t layer = 0, head = 0;
};

// "17-24"; nothing else.
bool ParseHeadName(std::string_view text, HeadName* name) {
  const char* const end = text.data() + text.size();
  const auto [middle, error] = std::from_chars(text.data(), text.data() + text.size(), name->layer);
  if (error != std::errc() || middle == end || *middle != '-') return false;
  const auto [last, second_error] = std::from_chars(middle + 1, end, name->head);
  return second_error == std::errc() && last == end;
}

// The object, and an error where a key comes twice: the library would keep one of them.
Result<Json> ParseObject(std::string_view text, const std::string& where) {
  std::set<std::string> keys;
  std::string twice;
  const auto callback = [&](int depth, Json::parse_event_t event, Json& parsed) {
    if (event == Json::parse_event_t::key && depth == 1) {
      const std::string& key = parsed.get_ref<const std::string&>();
      if (!keys.insert(key).second) twice = key;
    }
    return true;
  };
  Json json = Json::parse(text, callback, false);
  if (json.is_discarded() || !json.is_object()) {
    return InputError("this is not a file of head scores: no JSON object", where, kScoresHint);
  }
  if (twice.empty()) return json;
  return InputError(fmt::format("the file has head {} twice", twice), where, kScoresHint);
}

Result<double> MeanOf(const Json& scores, const std::string& key, const std::string& where) {
  if (!scores.is_array() || scores.empty()) {
    return InputError(fmt::format("head {} has no list of scores", key), where, kScoresHint);
  }
  double sum = 0;
  for (const Json& score : scores) {
    const double value = score.is_number() ? score.get<double>() : -1;
    if (!(value >= 0) || !std::isfinite(value)) {
      return InputError(fmt::format("head {} has a score that is no number from 0 on", key), where,
                        kScoresHint);
    }
    sum += value;
  }
  return sum / static_cast<double>(scores.size());
}

// The scores of all heads are of the same examples.
Status CheckCount(const Json& scores, const std::string& key, size_t* examples,
                  const std::string& where) {
  if (*examples == 0) *examples = scores.size();
  if (scores.size() == *examples) return {};
  return InputError(
      fmt::format("head {} has {} scores where others have {}", key, scores.size(), *examples),
      where, "Use a complete file.");
}

std::vector<std::string_view> Words(std::string_view line, std::string_view space = " \t\r") {
  std::vector<std::string_view> words;
  while (true) {
    const size_t begin = line.find_first_not_of(space);
    if (begin == std::string_view::npos) return words;
    const size_t end = std::min(line.find_first_of(space, begin), line.size());
    words.push_back(line.substr(begin, end - begin));
    line.remove_prefix(end);
  }
}

// Lines that are not empty, as words.
std::vector<std::vector<std::string_view>> Lines(std::string_view text) {
  std::vector<std::vector<std::string_view>> lines;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::vector<std::string_view> words = Words(text.substr(0, end));
    if (!words.empty()) lines.push_back(std::move(words));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

std::optional<uint32_t> ParseWhole(std::string_view word) {
  uint32_t number = 0;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), number);
  if (error != std::errc() || end != word.data() + word.size()) return {};
  return number;
}

// Bits of the layers' keys or values; 0 where nothing has been said.
struct LayerBits {
  std::string_view name;
  std::vector<float> bits;
};

// One "nbits_key" or "nbits_value" of a layer.
Status TakeBits(std::string_view name, std::string_view word, uint32_t layer,
                std::span<LayerBits> sides, const std::string& where) {
  const auto side = std::ranges::find(sides, name, &LayerBits::name);
  const std::optional<uint32_t> bits = ParseWhole(word);
  if (side == sides.end() || !bits) {
    return InputError(fmt::format("layer {} has something that is not its bits", layer), where,
                      kBitsHint);
  }
  if (*bits != 16 && *bits != 8 && *bits != 4 && *bits != 2) {
    return InputError(fmt::format("layer {} has {} of {}", layer, name, *bits), where,
                      "Use 16, 8, 4 or 2.");
  }
  if (side->bits[layer] != 0) {
    return InputError(fmt::format("layer {} has {} twice", layer, name), where, kBitsHint);
  }
  side->bits[layer] = static_cast<float>(*bits);
  return {};
}

}  // namespace

Result<ImportedSection> ImportHeadScores(std::string_view json, const std::string& where,
                                         const ModelIdentity& model) {
  PITH_ASSIGN(const Json object, ParseObject(json, where));
  const std::string shape = fmt::format("the model has {} layers of {} query heads",
                                        model.num_layers, model.num_query_heads);
  std::vector<double> means(size_t{model.num_layers} * model.num_query_heads, -1);
  size_t examples = 0;
  double sum = 0;
  for (const auto& [key, scores] : object.items()) {
    HeadName name;
    if (!ParseHeadName(key, &name)) {
      return InputError("the file has a key that names no head", where, kScoresHint);
    }
    if (name.layer >= model.num_layers || name.head >= model.num_query_heads) {
      return InputError(
          fmt::format("the file has head {}-{}, and {}", name.layer, name.head, shape), where,
          "Use the scores of this model.");
    }
    double& mean = means[size_t{name.layer} * model.num_query_heads + name.head];
    if (mean >= 0) {
      return InputError(fmt::format("the file has head {}-{} twice", name.layer, name.head), where,
                        kScoresHint);
    }
    PITH_ASSIGN(mean, MeanOf(scores, key, where));
    PITH_TRY(CheckCount(scores, key, &examples, where));
    sum += mean;
  }
  const auto missing = std::ranges::find(means, -1.0);
  if (missing != means.end()) {
    const auto head = static_cast<uint32_t>(missing - means.begin());
    return InputError(
        fmt::format("the file has {} heads, without {}-{}, and {}", object.size(),
                    head / model.num_query_heads, head % model.num_query_heads, shape),
        where, "Use the scores of this model.");
  }
  if (!(sum > 0) || !std::isfinite(sum)) {
    return InputError("no head has a score above 0", where, "Use another file.");
  }
  ImportedSection imported;
  for (const double mean : means) {
    imported.profile.heads.retrieval.push_back(static_cast<float>(mean / sum));
  }
  imported.note = fmt::format("mean of {} examples", examples);
  imported.profile.origins[0] = fmt::format("imported from {}, {}", FileName(where), imported.note);
  return imported;
}

Result<ImportedSection> ImportGates(std::string_view text, const std::string& where,
                                    const ModelIdentity& model) {
  const auto lines = Lines(text);
  const std::string shape =
      fmt::format("the model has {} layers of {} KV heads", model.num_layers, model.num_kv_heads);
  ImportedSection imported;
  size_t clipped = 0;
  for (size_t layer = 0; layer < lines.size(); ++layer) {
    for (const std::string_view word : lines[layer]) {
      double gate = 0;
      const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), gate);
      if (error != std::errc() || end != word.data() + word.size() || !std::isfinite(gate)) {
        return InputError(fmt::format("line {} has something that is no number", layer + 1), where,
                          kGatesHint);
      }
      const double within = std::clamp(gate, 0.0, 1.0);
      clipped += within != gate ? 1 : 0;
      imported.profile.heads.gates.push_back(static_cast<float>(within));
    }
    if (lines[layer].size() == model.num_kv_heads) continue;
    return InputError(
        fmt::format("line {} has {} gates, and {}", layer + 1, lines[layer].size(), shape), where,
        "Use the gates of this model.");
  }
  if (lines.size() != model.num_layers) {
    return InputError(fmt::format("the file has {} lines, and {}", lines.size(), shape), where,
                      "Use the gates of this model.");
  }
  if (clipped > 0) imported.note = fmt::format("{} clipped to 0 or 1", clipped);
  imported.profile.origins[1] =
      fmt::format("imported from {}{}{}", FileName(where), clipped > 0 ? ", " : "", imported.note);
  return imported;
}

Result<ImportedSection> ImportBits(std::string_view text, const std::string& where,
                                   const ModelIdentity& model) {
  // Without what only separates, a block of YAML and an object of JSON are the same words.
  const auto words = Words(text, " \t\r\n{},:\"");
  constexpr size_t kWordsOfLayer = 5;
  const std::vector<float> unsaid(model.num_layers);
  LayerBits sides[] = {{"nbits_key", unsaid}, {"nbits_value", unsaid}};
  for (size_t i = 0; i < words.size(); i += kWordsOfLayer) {
    const std::optional<uint32_t> layer = ParseWhole(words[i]);
    if (!layer || i + kWordsOfLayer > words.size()) {
      return InputError("this is not a file of bits by layer", where, kBitsHint);
    }
    if (*layer >= model.num_layers) {
      return InputError(fmt::format("the file has layer {}, and the model has {} layers", *layer,
                                    model.num_layers),
                        where, "Use the bits of this model.");
    }
    PITH_TRY(TakeBits(words[i + 1], words[i + 2], *layer, sides, where));
    PITH_TRY(TakeBits(words[i + 3], words[i + 4], *layer, sides, where));
  }
  ImportedSection imported;
  HeadProfile& heads = imported.profile.heads;
  heads.key_bits = std::move(sides[0].bits);
  heads.value_bits = std::move(sides[1].bits);
  const auto missing = std::ranges::find(heads.key_bits, 0.0f);
  if (missing != heads.key_bits.end()) {
    return InputError(fmt::format("the file has no layer {}, and the model has {} layers",
                                  missing - heads.key_bits.begin(), model.num_layers),
                      where, "Use the bits of this model.");
  }
  double sum = 0;
  for (const auto* bits : {&heads.key_bits, &heads.value_bits}) {
    for (const float x : *bits) sum += double{x};
  }
  imported.note = fmt::format("{:.2f} bits on average", sum / (2.0 * model.num_layers));
  imported.profile.origins[3] = fmt::format("imported from {}, {}", FileName(where), imported.note);
  return imported;
}

}  // namespace pith
