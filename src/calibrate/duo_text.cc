#include "calibrate/duo_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>

#include "base/check.h"
#include "base/rng.h"
#include "eval/task/duo.h"
#include "eval/task/fit.h"

namespace pith {
namespace {

constexpr uint32_t kNumLengths = 50;
constexpr uint64_t kHaystackStream = 1;  // evaluations read stream 0
constexpr uint64_t kLengthStream = 0x6475;

// What the model wants before a text.
Result<std::vector<int32_t>> Beginning(const Tokenizer& tokenizer) {
  PITH_ASSIGN(std::vector<int32_t> special, tokenizer.Tokenize("", true, false));
  const bool wants_bos = !special.empty() && special.front() == tokenizer.bos();
  special.resize(wants_bos ? 1 : 0);
  return special;
}

}  // namespace

DuoSchedule::DuoSchedule(uint32_t context, uint64_t seed)
    : context_(context), seed_(seed), haystack_(Haystack::Builtin(kHaystackStream)) {
  PITH_CHECK(context >= kDuoLeastContext && context <= kDuoMostContext);
}

DuoWindow DuoSchedule::window() const {
  return {std::min(128u, context_ / 32), std::min(256u, context_ / 16)};
}

uint32_t DuoSchedule::Passkeys(uint32_t length) { return std::clamp(length / 512, 2u, 10u); }
uint32_t DuoSchedule::PasskeyWords(uint32_t length) { return std::clamp(length / 128, 4u, 32u); }

uint32_t DuoSchedule::LengthAt(uint32_t index) const {
  const uint32_t shortest = std::clamp(context_ / 4, 192u, 1000u);
  return shortest + (context_ - shortest) * index / (kNumLengths - 1);
}

uint32_t DuoSchedule::Length(uint32_t step) const {
  return LengthAt(Rng(seed_ + step, kLengthStream).Below(kNumLengths));
}

Status DuoSchedule::Check(const Tokenizer& tokenizer) const {
  for (uint32_t i = 0; i < kNumLengths; ++i) {
    const Result<DuoText> text = MakeText(tokenizer, LengthAt(i), 0);
    if (text) continue;
    return InputError(
        fmt::format("this model's tokenizer needs longer texts: {}", text.error().what),
        text.error().where, "Take a greater --ctx.");
  }
  return {};
}

Result<DuoText> DuoSchedule::MakeText(const Tokenizer& tokenizer, uint32_t step) const {
  return MakeText(tokenizer, Length(step), step);
}

Result<DuoText> DuoSchedule::MakeText(const Tokenizer& tokenizer, uint32_t length,
                                      uint32_t number) const {
  PITH_ASSIGN(std::vector<int32_t> tokens, Beginning(tokenizer));
  TaskRequest request;
  request.tokenizer = &tokenizer;
  request.length = length;
  request.reserved = static_cast<uint32_t>(tokens.size());
  request.seed = seed_;
  request.haystack = &haystack_;
  request.settings.passkeys = Passkeys(length);
  request.settings.passkey_words = PasskeyWords(length);
  PassageSource source(request);
  PITH_ASSIGN(const DuoSample sample, MakeDuoSample(request, source, number, DuoQuestions::kAll));
  const DuoSample::Dialogue dialogue = sample.AllQuestions();
  const std::string text = sample.context + dialogue.text;
  PITH_ASSIGN(const std::vector<int32_t> rest, tokenizer.Tokenize(text, false, false));
  DuoText made;
  for (const auto& [begin, end] : dialogue.answers) {
    const auto [first, last] =
        TokenSpan(request, text, sample.context.size() + begin, sample.context.size() + end);
    for (size_t i = first; i < last; ++i) {
      made.answers.push_back(static_cast<int32_t>(tokens.size() + i));
    }
  }
  tokens.insert(tokens.end(), rest.begin(), rest.end());
  made.tokens = std::move(tokens);
  return made;
}

}  // namespace pith
