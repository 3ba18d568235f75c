// HeadKV-R2's reasoning needle: two people's favourite things and their ages; which one is asked
// for follows only from the ages. Evaluation asks the question; calibration watches which heads
// look at the sentence that answers it.
#pragma once

#include <string>

#include "base/rng.h"
#include "eval/task/task.h"

namespace pith {

struct ReasonNeedle {
  std::string text;        // four sentences: the two favourite things, then the two ages
  std::string real;        // the sentence of `text` that answers the question
  std::string distractor;  // the other favourite thing
  std::string question;
  std::string person;  // whom the question is about
  bool asks_older = false;
};

// Draws names, things, ages (8 to 80, different) and the order of the sentences.
ReasonNeedle MakeReasonNeedle(Rng& rng, bool asks_older);

// The task "reason/needle". Of the items 2k and 2k + 1 one asks for the older and one for the
// younger. meta has real_needle, distractor, person, asks_older, and where the real needle stands
// in the context: needle_bytes and needle_tokens (of the context tokenized alone, no special
// tokens), both [begin, end).
Result<std::vector<Item>> GenerateReasonNeedles(const TaskInfo& task, const TaskRequest& request);

}  // namespace pith
