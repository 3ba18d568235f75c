// What the stages of a method see and decide. Scores are f32, one per entry of a KV head, larger
// means keep; plus infinity protects an entry. Methods get numbers and return decisions; they never
// move bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string_view>
#include <vector>

#include "method/profile.h"

namespace pith {

// A parameter of a recipe after its check.
struct ParameterValue {
  std::string_view word;  // kWord: one of the words of its ParameterInfo
  double number = 0;      // kInteger and kNumber
};
using Parameters = std::span<const ParameterValue>;  // in the order of the part's table

// What a part asks the engine for. Nothing is gathered that no part of a recipe needs.
struct Needs {
  uint32_t window = 0;         // the queries of the last so many tokens
  bool column_sums = false;    // the attention that each entry got from all tokens so far
  double band = 0;             // likewise from tokens near by: up to this share of the text further
  bool query_moments = false;  // mean and covariance of all queries, before rope
  uint32_t future = 0;         // the mean rotation of the next so many positions
  bool keys = false, values = false;
  bool output_norms = false;  // how much a value moves the output of its layer
  bool token_kinds = false;   // which entries are special tokens or punctuation
  uint32_t replay = 0;        // the attention that each entry gets when the text is repeated, in
                              // pieces of so many tokens,
  uint32_t replay_sinks = 0;  // but for its first tokens, which every piece sees
  ProfileSections profile = 0;

  bool queries() const { return window > 0 || column_sums || band > 0 || query_moments; }
  void Add(const Needs& other);
  // Whether what is gathered for these serves `other` too.
  bool Covers(const Needs& other) const;
};

enum class TokenKind : uint8_t { kOrdinary, kPunctuation, kSpecial };

inline constexpr float kProtected = std::numeric_limits<float>::infinity();

// How keys become shorter when a prompt has been read.
struct ChannelRule {
  double drop = 0;       // share of a key's channels, rounded down; 0: none
  uint32_t window = 0;   // newest entries, which keep all channels
  uint32_t queries = 0;  // newest tokens whose queries judge them
  bool means = false;    // dropped channels read as their mean over the entries; else as zeros
  bool mixes = false;    // mixtures of all channels stay instead of some channels
  bool operator==(const ChannelRule&) const = default;
};

// Which layers share the directions of their entries, and which entries.
struct MergeRule {
  double start = 1;         // share of the layers in front of the first group; 1: none is merged
  double toward = 0;        // of a pair: 0 the direction of its first layer, 1 that of its second
  double gamma = 0;         // share of the range of distances, from its far end, that stays exact
  double rho = 0;           // and share of the entries
  double most = 0;          // of the entries, at most so many for these two reasons
  uint32_t residual = 0;    // newest entries that stay exact
  uint32_t max_layers = 0;  // of a group
  bool by_similarity = false;
  double similarity = 0;  // then: the least mean cosine of any two layers of a group
  bool projects = false;  // entries keep their part along the direction, else their length

  bool merges() const { return start < 1; }
  bool operator==(const MergeRule&) const = default;
};

// Of the keys, or values, that are to be merged in one KV head.
struct MergeDistances {
  std::span<const float> distances;  // [n] between the layers of the group, 0 to 1
  float least = 0, greatest = 0;     // over these and all before
};

// One KV head, when its channels are scored.
struct ChannelInput {
  std::span<const float> queries;       // [rows][key_dim] of the last tokens and the whole group
  std::span<const double> key_squares;  // [key_dim] mean square over the head's entries
};
// Fills scores[key_dim], larger means keep.
using ChannelFunction = void (*)(const ChannelInput& head, std::span<float> scores);

// One KV head, when its channels are mixed.
struct MixInput {
  std::span<const float> queries;          // [rows][key_dim] of the last tokens and the whole group
  std::span<const double> key_covariance;  // [key_dim][key_dim] over the head's entries
};
// Fills encode[count][key_dim] and decode[key_dim][count]: the numbers that stay of a key less its
// mean, and how it is read from them (ChannelList, cache/view.h).
using MixFunction = void (*)(const MixInput& head, uint32_t count, std::span<float> encode,
                             std::span<float> decode);

// One KV head, when it is scored. n is its number of entries.
struct HeadInput {
  uint32_t layer = 0, kv_head = 0;
  uint32_t group = 1;   // query heads that share it
  uint64_t budget = 0;  // entries that a head may keep, on average
  int32_t length = 0;   // tokens read so far: the position of the next one
  uint32_t key_dim = 0, value_dim = 0;
  float scale = 1;                     // scores of attention are scale * (q . k)
  std::span<const int32_t> positions;  // [n] ascending
  std::span<const float> keys;         // [n][key_dim] after rope; needs.keys or needs.window
  std::span<const float> values;       // [n][value_dim]; needs.values

  // needs.window: queries after rope, of the last tokens that were read. There may be fewer rows
  // than asked for, and more if another recipe shares the prompt.
  std::span<const float> queries;            // [group][rows][key_dim]
  std::span<const int32_t> query_positions;  // [rows] ascending

  std::span<const std::vector<float>> column_sums;  // [group][n]; needs.column_sums

  // needs.band: what the query of token i gave to the entry at j, summed over i - j < band_width.
  // The width is the share of the text up to the end of the prompt; if several prompts were read,
  // each token counted with that of its own, and this is the last.
  std::span<const std::vector<float>> band_sums;  // [group][n]
  int32_t band_width = 0;

  std::span<const float> output_norms;     // [n] mean over the group of ||v W_o||_1
  std::span<const TokenKind> token_kinds;  // [n]
  std::span<const float> replay;           // [n] the highest probability, over rows and the group

  // One number that the method keeps about this head from one compression to the next; 0 at first.
  double* memory = nullptr;

  // needs.query_moments: of the tokens from kFirstMoment on.
  static constexpr int32_t kFirstMoment = 4;
  std::span<const float> query_mean;        // [group][key_dim]
  std::span<const float> query_covariance;  // [group][key_dim][key_dim]

  // needs.future: by rope, channel pair i of a query turns by (cosine[i], sine[i]) on average over
  // the next positions. Pair i is channels (2i, 2i + 1) if interleaved, else (i, i + pairs).
  std::span<const float> mean_cosine, mean_sine;
  bool interleaved = false;

  size_t num_entries() const { return positions.size(); }
};

// Fills scores[n].
using ScoreFunction = void (*)(const HeadInput& head, Parameters parameters,
                               std::span<float> scores);

// Fills `statistics` with what an allocation wants to know about a head; see Part.
using MeasureFunction = void (*)(const HeadInput& head, Parameters parameters,
                                 std::span<double> statistics);

// All heads, when the budget is shared out.
struct AllocInput {
  uint32_t num_layers = 0, num_kv_heads = 0;
  // Entries per head on average; the length of the text if the part takes no budget.
  uint64_t budget = 0;
  std::span<const std::vector<float>> scores;  // [layer][kv_head][n]
  std::span<const double> statistics;          // [layer][kv_head][num_statistics]
  const HeadProfile* profile = nullptr;        // set if needs.profile is, with those sections
};
// Fills entries[layer][kv_head]: how many each head may keep. Their sum is budget times the heads
// unless heads are too short to use their share, or the part takes no budget.
using AllocFunction = void (*)(const AllocInput& input, Parameters parameters,
                               std::span<uint64_t> entries);

// Fills weights[n]: what a selection wants to know about each entry beside its score.
using WeighFunction = void (*)(const HeadInput& head, Parameters parameters,
                               std::span<float> weights);

// The heads of one layer, when entries are chosen.
struct SelectInput {
  std::span<const std::vector<float>> scores;   // [kv_head][n]
  std::span<const std::vector<float>> weights;  // [kv_head][n], if the part weighs
  std::span<const uint64_t> entries;            // [kv_head]: how many may stay
};
// Fills kept[kv_head] with ascending indices, at most entries[kv_head] of them, those of protected
// entries always.
using SelectFunction = void (*)(const SelectInput& input, Parameters parameters,
                                std::span<std::vector<uint32_t>> kept);

// One layer of a prompt, when it is decided which of its tokens go on to the next layer.
struct AdmitInput {
  uint32_t layer = 0, num_layers = 0;
  uint64_t num_tokens = 0;             // of the prompt, which the first layer was computed for
  std::span<const int32_t> positions;  // [n] ascending: the tokens that are there; the newest last
  std::span<const float> scores;       // [n] their attention from the judges
};
// Fills `kept` with ascending indices; the last one is always among them.
using AdmitFunction = void (*)(const AdmitInput& input, Parameters parameters,
                               std::vector<uint32_t>* kept);

// The last `rows` tokens of a prompt judge the others: by their attention, the mean over the heads,
// weighted from the oldest of them to the newest in even steps.
struct AdmitJudges {
  uint64_t rows = 1;
  double oldest_weight = 1, newest_weight = 1;
};

// While text is generated: whenever `size` entries have become older than the judges, of which
// there are as many as at the end of the prompt, the best `kept` of them stay. A size of 0: nothing
// is dropped.
struct AdmitBlock {
  uint32_t size = 0, kept = 0;
};

}  // namespace pith
