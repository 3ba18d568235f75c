// RULER's needles: sentences that give a key a value, in noise, in running text, or among others of
// their kind.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <numeric>
#include <set>

#include "base/check.h"
#include "eval/task/ruler.h"
#include "eval/task/words.h"

namespace pith {
namespace {

enum class Hay { kNoise, kEssay, kNeedle };
enum class Kind { kNumbers, kWords, kUuids };

struct Variant {
  std::string_view name;
  Hay hay;
  Kind key, value;
  uint32_t keys, values, queries;  // `values` for each key
};

constexpr Variant kVariants[] = {
    {"ruler/niah_single_1", Hay::kNoise, Kind::kWords, Kind::kNumbers, 1, 1, 1},
    {"ruler/niah_single_2", Hay::kEssay, Kind::kWords, Kind::kNumbers, 1, 1, 1},
    {"ruler/niah_single_3", Hay::kEssay, Kind::kWords, Kind::kUuids, 1, 1, 1},
    {"ruler/niah_multikey_1", Hay::kEssay, Kind::kWords, Kind::kNumbers, 4, 1, 1},
    {"ruler/niah_multikey_2", Hay::kNeedle, Kind::kWords, Kind::kNumbers, 1, 1, 1},
    {"ruler/niah_multikey_3", Hay::kNeedle, Kind::kUuids, Kind::kUuids, 1, 1, 1},
    {"ruler/niah_multivalue", Hay::kEssay, Kind::kWords, Kind::kNumbers, 1, 4, 1},
    {"ruler/niah_multiquery", Hay::kEssay, Kind::kWords, Kind::kNumbers, 4, 1, 4},
};

constexpr uint32_t kDepths = 40;  // of the essay haystack, evenly from 0 to 100

std::string_view Plural(Kind kind) {
  return kind == Kind::kNumbers ? "numbers" : kind == Kind::kWords ? "words" : "uuids";
}

std::string_view Name(Hay hay) {
  return hay == Hay::kNoise ? "noise" : hay == Hay::kEssay ? "essay" : "needle";
}

// Version 4, variant 1.
std::string Uuid(Rng& rng) {
  const uint32_t a = rng.Next(), b = rng.Next(), c = rng.Next(), d = rng.Next();
  return fmt::format("{:08x}-{:04x}-4{:03x}-{:04x}-{:04x}{:08x}", a, b >> 16, b & 0xfff,
                     0x8000 | ((c >> 16) & 0x3fff), c & 0xffff, d);
}

std::string Draw(Kind kind, Rng& rng) {
  const auto pick = [&rng](std::span<const std::string_view> words) {
    return words[rng.Below(static_cast<uint32_t>(words.size()))];
  };
  switch (kind) {
    case Kind::kNumbers:
      return std::to_string(1'000'000 + rng.Below(9'000'000));
    case Kind::kWords: {
      const std::string_view adjective = pick(KeyAdjectives());
      return fmt::format("{}-{}", adjective, pick(KeyNouns()));
    }
    case Kind::kUuids:
      return Uuid(rng);
  }
  PITH_CHECK(false);
}

// One that is not in `taken`.
std::string DrawOther(Kind kind, Rng& rng, const std::set<std::string>& taken) {
  for (;;) {
    std::string drawn = Draw(kind, rng);
    if (taken.count(drawn) == 0) return drawn;
  }
}

std::string Needle(Kind kind, const std::string& key, const std::string& value) {
  return fmt::format("One of the special magic {} for {} is: {}.", Plural(kind), key, value);
}

struct Needles {
  std::vector<std::string> keys;
  std::vector<std::vector<std::string>> values;  // of each key
  std::vector<std::string> sentences;            // shuffled
  std::set<std::string> taken;                   // all keys and values
};

Needles DrawNeedles(const Variant& variant, Rng& rng) {
  Needles needles;
  for (uint32_t k = 0; k < variant.keys; ++k) {
    needles.keys.push_back(DrawOther(variant.key, rng, needles.taken));
    needles.taken.insert(needles.keys.back());
    auto& values = needles.values.emplace_back();
    for (uint32_t v = 0; v < variant.values; ++v) {
      values.push_back(DrawOther(variant.value, rng, needles.taken));
      needles.taken.insert(values.back());
      needles.sentences.push_back(Needle(variant.value, needles.keys.back(), values.back()));
    }
  }
  rng.Shuffle(std::span(needles.sentences));
  return needles;
}

// `count` distinct numbers below `bound`, ascending.
std::vector<uint32_t> DrawDistinct(uint32_t count, uint32_t bound, Rng& rng) {
  std::set<uint32_t> drawn;
  while (drawn.size() < count) drawn.insert(rng.Below(bound));
  return {drawn.begin(), drawn.end()};
}

// Needle i goes before sentence places[i] (ascending; the number of sentences: to the end).
std::string Insert(const std::vector<std::string>& sentences,
                   const std::vector<std::string>& needles, const std::vector<uint32_t>& places,
                   char separator) {
  std::string text;
  const auto add = [&](const std::string& sentence) {
    if (!text.empty()) text += separator;
    text += sentence;
  };
  size_t next = 0;
  for (uint32_t s = 0; s <= sentences.size(); ++s) {
    for (; next < places.size() && places[next] == s; ++next) add(needles[next]);
    if (s < sentences.size()) add(sentences[s]);
  }
  return text;
}

std::string EssayHay(const Needles& needles, const Haystack& haystack, uint32_t words, Rng& rng) {
  const std::vector<std::string> sentences = SplitSentences(haystack.Words(words));
  std::vector<uint32_t> places;
  for (const uint32_t step :
       DrawDistinct(static_cast<uint32_t>(needles.sentences.size()), kDepths, rng)) {
    const uint32_t depth = (step * 100 + (kDepths - 1) / 2) / (kDepths - 1);  // rounded
    places.push_back(static_cast<uint32_t>(sentences.size() * depth / 100));
  }
  return Insert(sentences, needles.sentences, places, ' ');
}

std::string LinesHay(const Variant& variant, const Needles& needles, uint32_t lines, Rng& rng) {
  std::vector<std::string> sentences;
  for (uint32_t i = 0; i < lines; ++i) {
    if (variant.hay == Hay::kNoise) {
      sentences.emplace_back(kNoiseLine);
      continue;
    }
    const std::string key = DrawOther(variant.key, rng, needles.taken);
    sentences.push_back(Needle(variant.value, key, DrawOther(variant.value, rng, needles.taken)));
  }
  const auto count = static_cast<uint32_t>(needles.sentences.size());
  return Insert(sentences, needles.sentences, DrawDistinct(count, lines, rng), '\n');
}

std::string JoinKeys(const std::vector<std::string>& keys) {
  std::string text = keys[0];
  for (size_t i = 1; i < keys.size(); ++i) {
    text += (i + 1 == keys.size() ? ", and " : ", ") + keys[i];
  }
  return text;
}

// Puts the frame round `hay`; `asked` are the keys of the question.
void Frame(const Variant& variant, const std::vector<std::string>& asked, const std::string& hay,
           RulerDraft& draft) {
  const std::string_view many = Plural(variant.value);
  const std::string_view one = many.substr(0, many.size() - 1);
  const std::string keys = JoinKeys(asked);
  const bool single = variant.queries * variant.values == 1;
  const std::string opening =
      single ? fmt::format(
                   "A special magic {0} is hidden in the text below. Memorize it; you will be "
                   "asked about the {0} later.\n",
                   one)
             : fmt::format(
                   "Some special magic {0} are hidden in the text below. Memorize them; you will "
                   "be asked about the {0} later.\n",
                   many);
  draft.haystack = opening.size();
  draft.item.context = opening + hay + "\n";
  draft.item.question = fmt::format("What {} special magic {} for {} mentioned in the text above?",
                                    single ? "is the" : "are all the", single ? one : many, keys);
  draft.item.answer_prefix = fmt::format(" The special magic {} for {} mentioned in the text {}",
                                         single ? one : many, keys, single ? "is" : "are");
}

RulerDraft DrawSample(const Variant& variant, const TaskRequest& request, Rng& rng, uint32_t size) {
  const Needles needles = DrawNeedles(variant, rng);
  const std::string hay = variant.hay == Hay::kEssay
                              ? EssayHay(needles, *request.haystack, size, rng)
                              : LinesHay(variant, needles, size, rng);
  std::vector<uint32_t> order(variant.keys);
  std::iota(order.begin(), order.end(), 0u);
  rng.Shuffle(std::span(order));
  RulerDraft draft;
  std::vector<std::string> asked;
  for (uint32_t q = 0; q < variant.queries; ++q) {
    asked.push_back(needles.keys[order[q]]);
    for (const std::string& value : needles.values[order[q]]) draft.item.answers.push_back(value);
  }
  Frame(variant, asked, hay, draft);
  for (const std::string& key : asked) {
    const std::string start =
        fmt::format("One of the special magic {} for {} is:", Plural(variant.value), key);
    draft.needle = std::min(draft.needle, draft.item.context.find(start));
  }
  draft.answer = draft.item.context.find(draft.item.answers[0]);
  draft.item.meta["haystack"] = Name(variant.hay);
  if (variant.hay == Hay::kEssay) draft.item.meta["haystack_source"] = request.haystack->source();
  return draft;
}

}  // namespace

Result<RulerFamily> NiahFamily(const TaskInfo& task, const TaskRequest& request) {
  const auto* variant = std::find_if(std::begin(kVariants), std::end(kVariants),
                                     [&](const Variant& v) { return v.name == task.name; });
  PITH_CHECK(variant != std::end(kVariants));
  const bool full = request.length >= kRulerFullLength;
  RulerFamily family;
  if (variant->hay == Hay::kEssay) {
    PITH_CHECK(request.haystack != nullptr);
    family.minimum = 50;
    family.increment = full ? 500 : 50;
  } else {
    family.minimum = variant->keys * variant->values;  // each needle before a line of its own
    family.increment = full ? 25 : 5;
  }
  family.draw = [variant, &request](uint64_t, Rng& rng, uint32_t size) {
    return DrawSample(*variant, request, rng, size);
  };
  return family;
}

}  // namespace pith
