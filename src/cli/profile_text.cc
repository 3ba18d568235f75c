#include "cli/profile_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <numeric>

#include "cli/layer_text.h"
#include "eval/report/head_map.h"

namespace pith {
namespace {

constexpr size_t kShownHeads = 5;

// One table of numbers.
struct Numbers {
  std::string_view name;
  const std::vector<float>* values;
  uint32_t heads;  // of a layer
  bool per_query_head;
};

// Those that are there, of one section.
std::vector<Numbers> NumbersOf(const HeadProfile& heads, ProfileSections section) {
  std::vector<Numbers> numbers;
  if (section == kProfileRetrieval) {
    numbers = {{"retrieval", &heads.retrieval, heads.num_query_heads, true}};
  } else if (section == kProfileGates) {
    numbers = {{"gates", &heads.gates, heads.num_kv_heads, false}};
  } else if (section == kProfileEcho) {
    numbers = {{"echo", &heads.echo, heads.num_query_heads, true},
               {"induction", &heads.induction, heads.num_query_heads, true}};
  }
  std::erase_if(numbers, [](const Numbers& n) { return n.values->empty(); });
  return numbers;
}

// The largest first, of equal ones the lower head.
std::vector<size_t> HighestHeads(const std::vector<float>& values) {
  std::vector<size_t> order(values.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order, [&](size_t a, size_t b) { return values[a] > values[b]; });
  order.resize(std::min(order.size(), kShownHeads));
  return order;
}

std::string HeadName(size_t head, uint32_t heads) {
  return fmt::format("{}-{}", head / heads, head % heads);
}

std::string NumbersText(const Numbers& numbers) {
  const auto [least, most] = std::ranges::minmax(*numbers.values);
  std::string highest;
  for (const size_t head : HighestHeads(*numbers.values)) {
    highest += fmt::format("{}{} ({:.3g})", highest.empty() ? "" : ", ",
                           HeadName(head, numbers.heads), (*numbers.values)[head]);
  }
  return fmt::format("{:<15} {} {} heads, {:.3g} to {:.3g}; highest {}\n", numbers.name,
                     numbers.values->size(), numbers.per_query_head ? "query" : "KV", least, most,
                     highest);
}

}  // namespace

std::string ProfileText(const Profile& profile, const std::string& path) {
  const HeadProfile& heads = profile.heads;
  std::string text = fmt::format("{:<15} {}\n{:<15} {:016x}: {} layers, {} query and {} KV heads\n",
                                 "profile", path, "model", profile.model_hash, heads.num_layers,
                                 heads.num_query_heads, heads.num_kv_heads);
  for (size_t i = 0; i < kNumProfileSections; ++i) {
    const ProfileSection& section = AllProfileSections()[i];
    for (const Numbers& numbers : NumbersOf(heads, section.bit)) text += NumbersText(numbers);
    if ((heads.sections() & section.bit) == 0) continue;
    text += LayerText(heads, section.bit);
    text += fmt::format("{:<15} {}{}{}\n", "", section.meaning,
                        profile.origins[i].empty() ? "" : ", ", profile.origins[i]);
  }
  return text;
}

std::string ProfileHtml(const Profile& profile, const std::string& path) {
  const HeadProfile& heads = profile.heads;
  const HeadFact facts[] = {
      {"profile", path},
      {"model", fmt::format("{:016x}", profile.model_hash)},
      {"heads", fmt::format("{} layers of {} query and {} KV heads", heads.num_layers,
                            heads.num_query_heads, heads.num_kv_heads)}};
  std::vector<HeadMap> maps;
  for (size_t i = 0; i < kNumProfileSections; ++i) {
    const ProfileSection& section = AllProfileSections()[i];
    for (const Numbers& numbers : NumbersOf(heads, section.bit)) {
      const uint32_t group = heads.num_query_heads / heads.num_kv_heads;
      maps.push_back({std::string(numbers.name), std::string(section.meaning), profile.origins[i],
                      numbers.heads, numbers.per_query_head ? group : 1, numbers.per_query_head,
                      *numbers.values});
    }
  }
  const std::string name = std::filesystem::path(path).filename().string();
  return HtmlHeadMaps("The heads in " + name, facts, maps);
}

nlohmann::ordered_json ProfileJson(const Profile& profile, const std::string& path) {
  const HeadProfile& heads = profile.heads;
  nlohmann::ordered_json json;
  json["profile"] = path;
  json["model_hash"] = fmt::format("{:016x}", profile.model_hash);
  json["layers"] = heads.num_layers;
  json["query_heads"] = heads.num_query_heads;
  json["kv_heads"] = heads.num_kv_heads;
  json["sections"] = nlohmann::ordered_json::object();
  for (size_t i = 0; i < kNumProfileSections; ++i) {
    const ProfileSection& section = AllProfileSections()[i];
    if ((heads.sections() & section.bit) == 0) continue;
    auto& entry = json["sections"][std::string(section.name)];
    entry["origin"] = profile.origins[i];
    entry.update(LayerJson(heads, section.bit));
    for (const Numbers& numbers : NumbersOf(heads, section.bit)) {
      const auto [least, most] = std::ranges::minmax(*numbers.values);
      auto highest = nlohmann::ordered_json::array();
      for (const size_t head : HighestHeads(*numbers.values)) {
        highest.push_back(HeadName(head, numbers.heads));
      }
      entry[std::string(numbers.name)] = {
          {"heads", numbers.values->size()}, {"min", least}, {"max", most}, {"highest", highest}};
    }
  }
  return json;
}

}  // namespace pith
