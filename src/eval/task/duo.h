// DuoAttention's passkeys: several sequences of spelling words hidden in a long text and asked for
// one by one. Evaluation asks one of them; calibration asks all and trains on the answers.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "eval/task/passage.h"
#include "eval/task/task.h"

namespace pith {

struct DuoPasskey {
  std::string needle;    // the sentence that gives it
  std::string question;  // "Based on ..., what is the first passkey to the vault?"
  std::string words;     // "golf alpha ...": the answer
  double depth = 0;      // wanted, ascending over the passkeys
  double measured_depth = 0;
};

struct DuoSample {
  std::string context;
  std::vector<DuoPasskey> passkeys;

  // What follows the context in training: every question with its answer, each closed by a blank
  // line. [begin, end) in bytes of that text are the answers, each with the space before it.
  struct Dialogue {
    std::string text;
    std::vector<std::pair<size_t, size_t>> answers;
  };
  Dialogue AllQuestions() const;
};

// Stands between a question and its answer; the answer begins with a space. (The original has the
// space here; most vocabularies keep it with the word.)
inline constexpr std::string_view kDuoAnswerPrefix = "\nPasskey:";

enum class DuoQuestions { kOne, kAll };

// Sample `sample` of request.settings.passkeys passkeys (at most 20) of .passkey_words words, as
// long as request.length allows with the questions and answers after it: any one, or all. Input
// error if they do not fit, with smaller numbers that do.
Result<DuoSample> MakeDuoSample(const TaskRequest& request, PassageSource& source, uint64_t sample,
                                DuoQuestions questions);

}  // namespace pith
