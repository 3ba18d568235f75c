// Methods: published ways of keeping a KV cache small. One method is one file here plus one row in
// table.cc.
//
// A part answers the question of one stage and may be combined with parts of other methods. A
// preset is a recipe under the method's name, with the paper's defaults.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "kernel/read_rule.h"
#include "method/stage.h"

namespace pith {

// The questions that a recipe answers, in the order in which a canonical recipe names them.
enum class Stage : uint8_t {
  kScore,
  kAlloc,
  kSelect,
  kWhen,
  kFold,
  kAdmit,
  kChannels,
  kMerge,
  kStore,
  kRead
};
inline constexpr size_t kNumStages = 10;

struct StageInfo {
  Stage stage;
  std::string_view name;      // as written in a recipe: "select", "store"
  std::string_view question;  // one line for `pith methods`
};
std::span<const StageInfo> Stages();  // indexed by Stage
std::string_view StageName(Stage stage);

enum class ParameterType : uint8_t { kInteger, kNumber, kWord };

struct ParameterInfo {
  std::string_view name;
  ParameterType type;
  std::string_view default_value;           // as written in a recipe
  double min = 0, max = 0;                  // kInteger, kNumber: both included
  bool odd = false;                         // kInteger: odd numbers only
  std::span<const std::string_view> words;  // kWord: what may be written
  std::string_view meaning;
};

// `stage=name(...)`.
struct Part {
  Stage stage;
  std::string_view name;     // permanent
  std::string_view summary;  // one sentence
  std::span<const ParameterInfo> parameters;
  std::string_view needs;     // what the engine must gather for it, in words
  std::string_view protects;  // kScore: which entries are never dropped

  // kScore, kAlloc, kSelect, kFold, kChannels, kMerge, kRead
  Needs (*gather)(Parameters) = nullptr;
  // kScore
  uint64_t (*num_protected)(Parameters, uint64_t budget) = nullptr;  // entries of each head
  ScoreFunction score = nullptr;
  // How many of a head's first entries, none of which it ever drops, move up behind what is dropped
  // after them: their keys turn to the positions just before the next entry's. nullptr: none.
  uint32_t (*num_moved)(Parameters) = nullptr;
  // kAlloc
  std::string_view goes_with;  // the one score that it understands; empty: any
  AllocFunction allocate = nullptr;
  bool ragged = false;       // heads of one layer may get different numbers of entries
  bool takes_budget = true;  // else it decides by itself how many entries each head keeps
  // What a head loses is folded into one entry with the mean key and value, which attention weighs
  // as much as all of them.
  bool compensates = false;
  size_t num_statistics = 0;          // of each head
  MeasureFunction measure = nullptr;  // fills them
  // kSelect; without a function every entry stays
  SelectFunction select = nullptr;
  bool shared = false;  // one set of entries for all heads of a layer
  WeighFunction weigh = nullptr;
  // kWhen
  bool between_chunks = false;
  uint32_t (*decode_interval)(Parameters) = nullptr;  // compress again after so many tokens
  double (*drop)(Parameters) = nullptr;  // while generating, only what is over the budget, to so
                                         // much less than it, as a share of it
  // kFold: dropped entries go into a state of each head, by the networks of a profile.
  bool folds = false;
  // kAdmit: the prompt goes through the model layer by layer.
  AdmitJudges (*judges)(Parameters, uint64_t num_tokens) = nullptr;
  // Whether tokens are dropped behind a layer.
  bool (*drops)(Parameters, uint32_t layer, uint32_t num_layers) = nullptr;
  AdmitFunction admit = nullptr;
  // Every later step looks at all tokens again: those that were dropped wait for it behind their
  // last layer. Else they are gone for good.
  bool revives = false;
  AdmitBlock (*block)(Parameters, uint32_t layer, uint32_t num_layers) = nullptr;
  // kChannels
  ChannelRule (*channel_rule)(Parameters) = nullptr;
  ChannelFunction score_channels = nullptr;  // one of these two
  MixFunction mix_channels = nullptr;
  // kMerge
  MergeRule (*merge_rule)(Parameters) = nullptr;
  // Of each layer the first one of its group, itself if it is alone: groups of adjacent layers. The
  // profile is set if gather() asks for it.
  void (*group_layers)(const MergeRule&, const HeadProfile*,
                       std::span<uint32_t> first_of) = nullptr;
  // An entry's keys (or values) are rows[layer of the group][dim]: the direction that is stored for
  // them, what it is multiplied with as it was stored, and how far apart they point, 0 to 1.
  void (*direction)(const MergeRule&, std::span<const float* const> rows,
                    std::span<float> direction) = nullptr;
  float (*norm)(const MergeRule&, std::span<const float> row,
                std::span<const float> direction) = nullptr;
  float (*distance)(std::span<const float* const> rows, size_t dim) = nullptr;
  // Ascending indices of entries that layers do not share; `sides` are keys and values.
  void (*retain)(const MergeRule&, std::span<const int32_t> positions,
                 std::span<const MergeDistances> sides, std::vector<uint32_t>* exact) = nullptr;
  // kRead; without a function every entry is read
  ReadRule (*read)(Parameters) = nullptr;
};

struct MethodInfo {
  std::string_view name;          // permanent
  std::string_view summary;       // one paragraph
  std::string_view paper, arxiv;  // title and number; empty for what no paper claims
  std::span<const Part> parts;    // that this method brings
  std::string_view recipe;        // what its name means as a preset; empty: nothing
  std::string_view identity;      // the setting that equals the full cache
};

// All methods, in the order in which they are printed.
std::span<const MethodInfo* const> Methods();
const MethodInfo* FindMethod(std::string_view name);       // nullptr if there is none
const Part* FindPart(Stage stage, std::string_view name);  // nullptr if there is none
inline constexpr std::string_view kBudgetMeaning =
    "entries per KV head, on average over all heads; a share counts entries of the prompt";

}  // namespace pith
