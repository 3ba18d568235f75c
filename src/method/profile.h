// What calibration knows about a model's heads and layers: the tables that some recipes go by.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

namespace pith {

// Sections of a profile, as bits.
using ProfileSections = uint32_t;
inline constexpr ProfileSections kProfileRetrieval = 1;     // HeadKV
inline constexpr ProfileSections kProfileGates = 2;         // DuoAttention
inline constexpr ProfileSections kProfileEcho = 4;          // RazorAttention
inline constexpr ProfileSections kProfileBits = 8;          // KVTuner
inline constexpr ProfileSections kProfileChannels = 16;     // Double Sparsity, ThinK
inline constexpr ProfileSections kProfileSimilarity = 32;   // MiniCache
inline constexpr ProfileSections kProfileSensitivity = 64;  // what bits by layer are chosen by
inline constexpr ProfileSections kProfileFold = 128;        // LESS

// The numbers of bits whose costs kProfileSensitivity knows, one column each.
inline constexpr std::array<uint32_t, 3> kSensitivityBits = {8, 4, 2};

// Sections that a profile lacks are empty.
struct HeadProfile {
  uint32_t num_layers = 0, num_query_heads = 0, num_kv_heads = 0;
  std::vector<float> retrieval;        // [layer][query_head], not negative, with the sum 1
  std::vector<float> gates;            // [layer][kv_head], 0 (streaming) to 1 (full)
  std::vector<float> echo, induction;  // [layer][query_head], 0 to 1
  // [layer] in how many bits a number is best stored: 16, 8, 4 or 2
  std::vector<float> key_bits, value_bits;
  // [layer][kv_head][channel] what each channel of the keys counts, 0 to 1: by |q k| and by q^2 k^2
  std::vector<float> labels, energies;
  // [layer][layer] mean cosine of what two layers hold, -1 to 1
  std::vector<float> key_similarity, value_similarity;
  // [layer][kSensitivityBits] divergence when this side of this layer alone is stored so, 0 or more
  std::vector<float> key_sensitivity, value_sensitivity;

  // The networks by which dropped entries are folded (kernel/features.h), for each head:
  // [key_dim][hidden] and [hidden][rank] of queries, by [layer][query_head], and of keys, by
  // [layer][kv_head]; [rank][rank], [rank] and [rank] more of keys. Within what f16 holds.
  std::vector<float> fold_query_in, fold_query_out, fold_key_in, fold_key_out;
  std::vector<float> fold_mix, fold_sigma1, fold_sigma2;

  ProfileSections sections() const {
    return (retrieval.empty() ? 0 : kProfileRetrieval) | (gates.empty() ? 0 : kProfileGates) |
           (echo.empty() || induction.empty() ? 0 : kProfileEcho) |
           (key_bits.empty() || value_bits.empty() ? 0 : kProfileBits) |
           (labels.empty() || energies.empty() ? 0 : kProfileChannels) |
           (key_similarity.empty() || value_similarity.empty() ? 0 : kProfileSimilarity) |
           (key_sensitivity.empty() || value_sensitivity.empty() ? 0 : kProfileSensitivity) |
           (fold_sigma1.empty() ? 0 : kProfileFold);
  }
};

}  // namespace pith
