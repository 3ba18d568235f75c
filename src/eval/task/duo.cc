#include "eval/task/duo.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <numeric>

#include "eval/task/fit.h"
#include "eval/task/words.h"

namespace pith {
namespace {

constexpr std::array<std::string_view, 20> kOrdinals = {
    "first",     "second",    "third",       "fourth",     "fifth",      "sixth",      "seventh",
    "eighth",    "ninth",     "tenth",       "eleventh",   "twelfth",    "thirteenth", "fourteenth",
    "fifteenth", "sixteenth", "seventeenth", "eighteenth", "nineteenth", "twentieth"};

// `count` of 1,000 depths evenly from 0.05 to 0.95, ascending.
std::vector<double> DrawDepths(Rng& rng, uint32_t count) {
  std::vector<uint32_t> grid(1000);
  std::iota(grid.begin(), grid.end(), 0u);
  rng.Shuffle(std::span(grid));
  std::sort(grid.begin(), grid.begin() + count);
  std::vector<double> depths;
  for (uint32_t i = 0; i < count; ++i) depths.push_back(0.05 + 0.9 * grid[i] / 999.0);
  return depths;
}

std::vector<DuoPasskey> DrawPasskeys(Rng& rng, uint32_t count, uint32_t num_words) {
  const auto alphabet = SpellingAlphabet();
  const std::vector<double> depths = DrawDepths(rng, count);
  std::vector<DuoPasskey> passkeys(count);
  for (uint32_t i = 0; i < count; ++i) {
    DuoPasskey& passkey = passkeys[i];
    for (uint32_t w = 0; w < num_words; ++w) {
      if (w > 0) passkey.words += ' ';
      passkey.words += alphabet[rng.Below(static_cast<uint32_t>(alphabet.size()))];
    }
    passkey.depth = depths[i];
    passkey.needle =
        fmt::format("Remember this sequence of words, it is the {} passkey to the vault: {}",
                    kOrdinals[i], passkey.words);
    passkey.question = fmt::format(
        "Based on the content of the book, what is the {} passkey to the vault?", kOrdinals[i]);
  }
  return passkeys;
}

DuoSample Assemble(const Passage& passage, std::vector<DuoPasskey> passkeys) {
  std::vector<Needle> needles;
  for (DuoPasskey& passkey : passkeys) {
    needles.push_back({passkey.needle, passage.SentenceAt(passkey.depth)});
    passkey.measured_depth = passage.MeasuredDepth(needles.back().sentence);
  }
  return {"This is a very long story book: <book> " + passage.WithNeedles(needles, "\n\n") +
              " </book>.\n\n",
          std::move(passkeys)};
}

// An item as long as the sample with the questions asked about it.
Item Measured(const TaskRequest& request, const DuoSample& sample, DuoQuestions questions) {
  Item item;
  item.context = sample.context;
  if (questions == DuoQuestions::kAll) {
    item.question = sample.AllQuestions().text;
    return item;
  }
  item.answer_prefix = kDuoAnswerPrefix;
  size_t longest_question = 0, longest_answer = 0;
  for (const DuoPasskey& passkey : sample.passkeys) {
    if (const size_t tokens = request.Count(passkey.question); tokens > longest_question) {
      longest_question = tokens;
      item.question = passkey.question;
    }
    longest_answer = std::max(longest_answer, request.Count(" " + passkey.words));
  }
  item.max_new_tokens = static_cast<uint32_t>(longest_answer) + 1;
  return item;
}

Rng RngOf(const TaskRequest& request, uint64_t sample) {
  return SampleRng(request, "duo/passkey", sample);
}

bool Fits(const TaskRequest& request, PassageSource& source, uint64_t sample,
          DuoQuestions questions, uint32_t count, uint32_t num_words) {
  Rng rng = RngOf(request, sample);
  const size_t first = source.FirstSentence(sample);
  const Passage passage = source.Take(first, source.SentenceTokens(first));
  const DuoSample least = Assemble(passage, DrawPasskeys(rng, count, num_words));
  return ItemTokens(request, Measured(request, least, questions)) <= request.length;
}

tl::unexpected<Error> DoNotFit(const TaskRequest& request, PassageSource& source, uint64_t sample,
                               DuoQuestions questions) {
  const uint32_t passkeys = request.settings.passkeys, num_words = request.settings.passkey_words;
  const auto largest = [](uint32_t below, auto fits) {
    while (--below > 0 && !fits(below)) {
    }
    return below;  // 0: none fits
  };
  const uint32_t fewer = largest(
      passkeys, [&](uint32_t n) { return Fits(request, source, sample, questions, n, num_words); });
  const uint32_t shorter = largest(
      num_words, [&](uint32_t n) { return Fits(request, source, sample, questions, passkeys, n); });
  std::string hint = "Take a greater length";
  if (fewer > 0) hint += fmt::format(", {} passkeys", fewer);
  if (shorter > 0) hint += fmt::format(", or passkeys of {} words", shorter);
  return InputError(fmt::format("{} passkeys of {} words do not fit", passkeys, num_words),
                    fmt::format("duo/passkey, {} tokens", request.length), hint + ".");
}

Status CheckSettings(const TaskSettings& settings) {
  if (settings.passkeys < 1 || settings.passkeys > kOrdinals.size()) {
    return InputError(fmt::format("{} passkeys cannot be asked for", settings.passkeys),
                      "duo/passkey", fmt::format("Take 1 to {}.", kOrdinals.size()));
  }
  if (settings.passkey_words < 1) {
    return InputError("a passkey of no words", "duo/passkey", "Take 1 or more.");
  }
  return {};
}

Result<std::vector<Item>> Generate(const TaskInfo& task, const TaskRequest& request) {
  PassageSource source(request);
  std::vector<Item> items;
  for (uint64_t sample = 0; sample < request.samples; ++sample) {
    PITH_ASSIGN(DuoSample duo, MakeDuoSample(request, source, sample, DuoQuestions::kOne));
    const size_t asked = sample % duo.passkeys.size();
    const DuoPasskey& passkey = duo.passkeys[asked];
    Item item = NewItem(task, request, sample);
    item.context = std::move(duo.context);
    item.question = passkey.question;
    item.answer_prefix = kDuoAnswerPrefix;
    item.answers = {passkey.words};
    item.max_new_tokens = static_cast<uint32_t>(request.Count(" " + passkey.words)) + 1;
    item.stop = "\n";
    item.chat_template = false;  // as the paper's code feeds it
    item.meta["depth"] = passkey.depth;
    item.meta["measured_depth"] = passkey.measured_depth;
    item.meta["passkeys"] = request.settings.passkeys;
    item.meta["passkey_words"] = request.settings.passkey_words;
    item.meta["asked"] = asked;
    item.meta["haystack"] = request.haystack->source();
    items.push_back(std::move(item));
  }
  return items;
}

}  // namespace

DuoSample::Dialogue DuoSample::AllQuestions() const {
  Dialogue dialogue;
  for (const DuoPasskey& passkey : passkeys) {
    dialogue.text += passkey.question;
    dialogue.text += kDuoAnswerPrefix;
    const size_t begin = dialogue.text.size();
    dialogue.text += " " + passkey.words;
    dialogue.answers.emplace_back(begin, dialogue.text.size());
    dialogue.text += "\n\n";
  }
  return dialogue;
}

Result<DuoSample> MakeDuoSample(const TaskRequest& request, PassageSource& source, uint64_t sample,
                                DuoQuestions questions) {
  PITH_TRY(CheckSettings(request.settings));
  const uint32_t count = request.settings.passkeys, num_words = request.settings.passkey_words;
  if (!Fits(request, source, sample, questions, count, num_words)) {
    return DoNotFit(request, source, sample, questions);
  }
  Rng rng = RngOf(request, sample);
  const std::vector<DuoPasskey> passkeys = DrawPasskeys(rng, count, num_words);
  const TaskInfo& task = DuoTasks().front();
  DuoSample made;
  PITH_TRY(FitPassage(task, request, source, sample, 1, [&](const Passage& passage) {
    made = Assemble(passage, passkeys);
    return Measured(request, made, questions);
  }));
  return made;  // of the last call, which is the one that fitted
}

std::span<const TaskInfo> DuoTasks() {
  static const std::vector<TaskInfo> tasks = {
      {"duo/passkey",
       "one of several word sequences, in full (generates as many tokens as it has)",
       0,
       {"duo_prefix", "duo_strict"},
       Generate,
       {"--passkeys", "--passkey-words"}},
  };
  return tasks;
}

}  // namespace pith
