// Methods: published ways of keeping a KV cache small. One method is one file here plus one row in
// table.cc.
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <string_view>

namespace pith {

// The questions that a method may answer, in the order in which a canonical recipe names them.
enum class Stage : uint8_t { kSelect, kStore };
inline constexpr size_t kNumStages = 2;

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
  std::span<const std::string_view> words;  // kWord: what may be written
  std::string_view meaning;
};

struct MethodInfo {
  std::string_view name;  // also the preset's name; permanent
  std::span<const Stage> stages;
  std::string_view summary;       // one paragraph
  std::string_view paper, arxiv;  // title and number; empty for what no paper claims
  std::span<const ParameterInfo> parameters;
  std::span<const std::string_view> needs;  // what the engine must provide
  std::string_view protects;                // which entries are never dropped
  bool takes_budget;
  std::string_view
      budget;  // what a budget means to it, or why it takes none: "it keeps every entry"
  std::string_view identity;  // the setting that equals the full cache
};

// All methods, in the order in which they are printed.
std::span<const MethodInfo* const> Methods();
const MethodInfo* FindMethod(std::string_view name);  // nullptr if there is none

}  // namespace pith
