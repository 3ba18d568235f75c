// What DuoAttention's gates are learnt from: passkeys hidden in long texts, asked for one by one
// (arXiv 2410.10819, section 3.2). The paper's texts have 1,000 to 32,000 tokens; for shorter ones
// everything is scaled.
#pragma once

#include <cstdint>

#include "base/status.h"
#include "calibrate/duo_graph.h"
#include "eval/task/haystack.h"
#include "text/tokenizer.h"

namespace pith {

inline constexpr uint32_t kDuoLeastContext = 512;   // below, no passkey is out of the window
inline constexpr uint32_t kDuoMostContext = 32000;  // the paper's
inline constexpr uint32_t kDuoUsualContext = 2048;  // what a processor can do in reasonable time

// The texts and the window of a training whose longest text has `context` tokens, from
// kDuoLeastContext to kDuoMostContext:
//   lengths   50, evenly from a quarter of it, but 192 to 1,000, up to it
//   window    a 32nd as sinks, at most 128, and a 16th as recent tokens, at most 256: a quarter or
//             less of the shortest text
// and of a text with n tokens:
//   passkeys  n / 512, but 2 to 10
//   words     of a passkey: n / 128, but 4 to 32
class DuoSchedule {
 public:
  DuoSchedule(uint32_t context, uint64_t seed);

  DuoWindow window() const;
  uint32_t Length(uint32_t step) const;  // most tokens of that step's text: one of the 50
  static uint32_t Passkeys(uint32_t length);
  static uint32_t PasskeyWords(uint32_t length);

  // Input error if this tokenizer makes so many tokens that passkeys do not fit into some length.
  Status Check(const Tokenizer& tokenizer) const;

  // The text of a step, the same on every machine. Its answers are the words of the passkeys where
  // they are asked for.
  Result<DuoText> MakeText(const Tokenizer& tokenizer, uint32_t step) const;

 private:
  uint32_t LengthAt(uint32_t index) const;  // of the 50
  Result<DuoText> MakeText(const Tokenizer& tokenizer, uint32_t length, uint32_t number) const;

  uint32_t context_;
  uint64_t seed_;
  Haystack haystack_;  // keeps the sentences that it has made
};

}  // namespace pith
