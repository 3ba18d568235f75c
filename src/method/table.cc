#include <algorithm>
#include <iterator>

#include "method/method.h"

// One row per method: the function that its file defines.
// clang-format off: it does not come to rest on this list
#define PITH_METHODS(ROW) \
  ROW(FullMethod)         \
  ROW(TopMethod)          \
  ROW(WhenMethod)         \
  ROW(StreamingMethod)    \
  ROW(RandomMethod)       \
  ROW(KnormMethod)        \
  ROW(KeyDiffMethod)      \
  ROW(SnapKvMethod)       \
  ROW(TovaMethod)         \
  ROW(H2oMethod)          \
  ROW(A2sfMethod)         \
  ROW(VatpMethod)         \
  ROW(ScissorhandsMethod) \
  ROW(ExpectedMethod)     \
  ROW(LagKvMethod)        \
  ROW(RkvMethod)          \
  ROW(ChunkKvMethod)      \
  ROW(PyramidKvMethod)    \
  ROW(CakeMethod)         \
  ROW(CriticalKvMethod)   \
  ROW(AdaKvMethod)        \
  ROW(HeadKvMethod)       \
  ROW(DuoMethod)          \
  ROW(RazorMethod)        \
  ROW(KvZipMethod)        \
  ROW(FastGenMethod)      \
  ROW(LessMethod)         \
  ROW(LazyLlmMethod)      \
  ROW(PyramidInferMethod) \
  ROW(ThinkMethod)        \
  ROW(KqSvdMethod)        \
  ROW(MiniCacheMethod)    \
  ROW(QuestMethod)        \
  ROW(DsMethod)           \
  ROW(TwilightMethod)
// clang-format on

namespace pith {

#define PITH_DECLARE(function) const MethodInfo& function();
PITH_METHODS(PITH_DECLARE)
#undef PITH_DECLARE

std::span<const MethodInfo* const> Methods() {
#define PITH_ADDRESS(function) &function(),
  static const MethodInfo* const kMethods[] = {PITH_METHODS(PITH_ADDRESS)};
#undef PITH_ADDRESS
  return kMethods;
}

const MethodInfo* FindMethod(std::string_view name) {
  const auto found = std::ranges::find(Methods(), name, &MethodInfo::name);
  return found == Methods().end() ? nullptr : *found;
}

const Part* FindPart(Stage stage, std::string_view name) {
  for (const MethodInfo* method : Methods()) {
    for (const Part& part : method->parts) {
      if (part.stage == stage && part.name == name) return &part;
    }
  }
  return nullptr;
}

std::span<const StageInfo> Stages() {
  static constexpr StageInfo kStages[kNumStages] = {
      {Stage::kScore, "score", "How much does each entry matter?"},
      {Stage::kAlloc, "alloc", "How many entries may each head keep?"},
      {Stage::kSelect, "select", "Which entries stay?"},
      {Stage::kWhen, "when", "When is the cache compressed?"},
      {Stage::kFold, "fold", "What becomes of entries that are dropped?"},
      {Stage::kAdmit, "admit", "Which tokens of a prompt go on to the next layer?"},
      {Stage::kChannels, "channels", "Which channels of the keys stay?"},
      {Stage::kMerge, "merge", "What do layers share?"},
      {Stage::kStore, "store", "In which form are they stored?"},
      {Stage::kRead, "read", "Which stored entries does a new token read?"},
  };
  return kStages;
}

std::string_view StageName(Stage stage) { return Stages()[static_cast<size_t>(stage)].name; }

void Needs::Add(const Needs& other) {
  window = std::max(window, other.window);
  future = std::max(future, other.future);
  column_sums |= other.column_sums;
  band = std::max(band, other.band);
  query_moments |= other.query_moments;
  keys |= other.keys;
  values |= other.values;
  output_norms |= other.output_norms;
  token_kinds |= other.token_kinds;
  replay = std::max(replay, other.replay);
  replay_sinks = std::max(replay_sinks, other.replay_sinks);
  profile |= other.profile;
}

bool Needs::Covers(const Needs& other) const {
  return window >= other.window && column_sums >= other.column_sums &&
         (other.band == 0 || band == other.band) && query_moments >= other.query_moments;
}

}  // namespace pith
