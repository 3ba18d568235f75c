#include "cli/layer_text.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <span>
#include <vector>

#include "engine/fold.h"

namespace pith {
namespace {

constexpr size_t kShownPairs = 3;

std::string Line(std::string_view name, const std::string& text) {
  return fmt::format("{:<15} {}\n", name, text);
}

std::string BitsText(const std::vector<float>& bits) {
  std::string text;
  for (const float wanted : {16.0f, 8.0f, 4.0f, 2.0f}) {
    std::vector<size_t> layers;
    for (size_t layer = 0; layer < bits.size(); ++layer) {
      if (bits[layer] == wanted) layers.push_back(layer);
    }
    if (layers.empty()) continue;
    text += fmt::format("{}{} in layer{} {}", text.empty() ? "" : "; ", wanted,
                        layers.size() == 1 ? "" : "s", fmt::join(layers, ", "));
  }
  return text;
}

// How much the best quarter of the channels counts, over the heads.
std::string ChannelsText(const HeadProfile& heads, const std::vector<float>& shares) {
  const size_t dim = shares.size() / (size_t{heads.num_layers} * heads.num_kv_heads);
  const size_t quarter = (dim + 3) / 4;
  float least = 1, most = 0;
  for (size_t head = 0; head < shares.size(); head += dim) {
    std::vector<float> channels(shares.begin() + static_cast<ptrdiff_t>(head),
                                shares.begin() + static_cast<ptrdiff_t>(head + dim));
    std::ranges::sort(channels, std::greater<>());
    float sum = 0;
    for (size_t i = 0; i < quarter; ++i) sum += channels[i];
    least = std::min(least, sum);
    most = std::max(most, sum);
  }
  return fmt::format("{} KV heads of {} channels; the best {} carry {:.0f} to {:.0f} %",
                     shares.size() / dim, dim, quarter, 100 * least, 100 * most);
}

// The pairs of layers that are most alike, of equal ones the lower.
std::string PairsText(const std::vector<float>& cosines, uint32_t layers) {
  std::vector<std::pair<uint32_t, uint32_t>> pairs;
  for (uint32_t a = 0; a < layers; ++a) {
    for (uint32_t b = a + 1; b < layers; ++b) pairs.emplace_back(a, b);
  }
  const auto cosine = [&](const auto& pair) {
    return cosines[size_t{pair.first} * layers + pair.second];
  };
  std::ranges::stable_sort(pairs,
                           [&](const auto& x, const auto& y) { return cosine(x) > cosine(y); });
  pairs.resize(std::min(pairs.size(), kShownPairs));
  std::string text = "most alike";
  for (const auto& pair : pairs) {
    text += fmt::format("{} {} and {} ({:.3f})", text.ends_with("alike") ? "" : ",", pair.first,
                        pair.second, cosine(pair));
  }
  return pairs.empty() ? "a single layer" : text;
}

std::string SensitivityText(const std::vector<float>& costs) {
  std::string text;
  for (size_t level = 0; level < kSensitivityBits.size(); ++level) {
    float least = costs[level], most = least;
    size_t worst = 0;
    for (size_t at = level; at < costs.size(); at += kSensitivityBits.size()) {
      least = std::min(least, costs[at]);
      if (costs[at] > most) worst = at / kSensitivityBits.size();
      most = std::max(most, costs[at]);
    }
    text += fmt::format("{}{} bits {:.2g} to {:.2g} (layer {})", text.empty() ? "" : "; ",
                        kSensitivityBits[level], least, most, worst);
  }
  return text;
}

std::string FoldText(const FoldShape& shape) {
  return fmt::format("{} features of keys of {} numbers, by {} hidden ones", shape.rank,
                     shape.key_dim, shape.hidden);
}

nlohmann::ordered_json Rows(const std::vector<float>& values, uint32_t layers) {
  auto rows = nlohmann::ordered_json::array();
  const size_t columns = values.size() / layers;
  for (size_t at = 0; at < values.size(); at += columns) {
    const auto row = std::span(values).subspan(at, columns);
    rows.push_back(std::vector<float>(row.begin(), row.end()));
  }
  return rows;
}

}  // namespace

std::string LayerText(const HeadProfile& heads, ProfileSections section) {
  if ((heads.sections() & section) == 0) return "";
  switch (section) {
    case kProfileBits:
      return Line("key bits", BitsText(heads.key_bits)) +
             Line("value bits", BitsText(heads.value_bits));
    case kProfileChannels:
      return Line("labels", ChannelsText(heads, heads.labels)) +
             Line("energies", ChannelsText(heads, heads.energies));
    case kProfileSimilarity:
      return Line("like keys", PairsText(heads.key_similarity, heads.num_layers)) +
             Line("like values", PairsText(heads.value_similarity, heads.num_layers));
    case kProfileSensitivity:
      return Line("key costs", SensitivityText(heads.key_sensitivity)) +
             Line("value costs", SensitivityText(heads.value_sensitivity));
    case kProfileFold:
      return Line("fold networks", FoldText(FoldShapeOf(heads).value()));
    default:
      return "";
  }
}

nlohmann::ordered_json LayerJson(const HeadProfile& heads, ProfileSections section) {
  auto json = nlohmann::ordered_json::object();
  if ((heads.sections() & section) == 0) return json;
  switch (section) {
    case kProfileBits:
      json["keys"] = std::vector<int>(heads.key_bits.begin(), heads.key_bits.end());
      json["values"] = std::vector<int>(heads.value_bits.begin(), heads.value_bits.end());
      break;
    case kProfileChannels:
      json["labels"] = Rows(heads.labels, heads.num_layers);
      json["energies"] = Rows(heads.energies, heads.num_layers);
      break;
    case kProfileSimilarity:
      json["keys"] = Rows(heads.key_similarity, heads.num_layers);
      json["values"] = Rows(heads.value_similarity, heads.num_layers);
      break;
    case kProfileSensitivity:
      json["keys"] = Rows(heads.key_sensitivity, heads.num_layers);
      json["values"] = Rows(heads.value_sensitivity, heads.num_layers);
      break;
    case kProfileFold: {
      const FoldShape shape = FoldShapeOf(heads).value();
      json = {{"key_dim", shape.key_dim}, {"hidden", shape.hidden}, {"features", shape.rank}};
      break;
    }
    default:
      break;
  }
  return json;
}

}  // namespace pith
