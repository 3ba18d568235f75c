#include "eval/metric/porter.h"

#include <array>
#include <span>
#include <utility>

namespace pith {
namespace {

bool IsConsonant(std::string_view word, size_t i) {
  if (std::string_view("aeiou").find(word[i]) != std::string_view::npos) return false;
  return word[i] != 'y' || i == 0 || !IsConsonant(word, i - 1);
}

// Porter's m: how often a vowel is followed by a consonant.
size_t Measure(std::string_view stem) {
  size_t measure = 0;
  for (size_t i = 1; i < stem.size(); ++i) {
    measure += !IsConsonant(stem, i - 1) && IsConsonant(stem, i) ? 1 : 0;
  }
  return measure;
}

bool HasVowel(std::string_view stem) {
  for (size_t i = 0; i < stem.size(); ++i) {
    if (!IsConsonant(stem, i)) return true;
  }
  return false;
}

bool EndsInDoubleConsonant(std::string_view word) {
  const size_t n = word.size();
  return n >= 2 && word[n - 1] == word[n - 2] && IsConsonant(word, n - 1);
}

// Consonant, vowel, consonant other than w, x, y; or a word of vowel and consonant (NLTK).
bool EndsInShortSyllable(std::string_view word) {
  const size_t n = word.size();
  if (n == 2) return !IsConsonant(word, 0) && IsConsonant(word, 1);
  return n >= 3 && IsConsonant(word, n - 3) && !IsConsonant(word, n - 2) &&
         IsConsonant(word, n - 1) &&
         std::string_view("wxy").find(word[n - 1]) == std::string_view::npos;
}

std::string_view Cut(std::string_view word, size_t suffix) {
  return word.substr(0, word.size() - suffix);
}

struct Rule {
  std::string_view suffix, replacement;
};

// The first rule whose suffix fits decides, even if its stem is too short to be changed.
std::string Replace(std::string_view word, std::span<const Rule> rules, size_t min_measure) {
  for (const auto& [suffix, replacement] : rules) {
    if (!word.ends_with(suffix)) continue;
    const std::string_view stem = Cut(word, suffix.size());
    if (Measure(stem) < min_measure) break;
    return std::string(stem) + std::string(replacement);
  }
  return std::string(word);
}

std::string Plurals(std::string_view word) {  // step 1a
  if (word.size() == 4 && word.ends_with("ies")) return std::string(Cut(word, 1));
  static constexpr std::array<Rule, 4> kRules = {
      {{"sses", "ss"}, {"ies", "i"}, {"ss", "ss"}, {"s", ""}}};
  return Replace(word, kRules, 0);
}

std::string AfterPastOrGerund(std::string_view stem) {
  for (const std::string_view ending : {"at", "bl", "iz"}) {
    if (stem.ends_with(ending)) return std::string(stem) + "e";
  }
  if (EndsInDoubleConsonant(stem)) {
    const bool stays = std::string_view("lsz").find(stem.back()) != std::string_view::npos;
    return std::string(stays ? stem : Cut(stem, 1));
  }
  if (Measure(stem) == 1 && EndsInShortSyllable(stem)) return std::string(stem) + "e";
  return std::string(stem);
}

std::string PastOrGerund(std::string_view word) {  // step 1b
  if (word.ends_with("ied")) return std::string(Cut(word, word.size() == 4 ? 1 : 2));
  if (word.ends_with("eed")) return std::string(Measure(Cut(word, 3)) > 0 ? Cut(word, 1) : word);
  for (const std::string_view suffix : {"ed", "ing"}) {
    if (!word.ends_with(suffix)) continue;
    const std::string_view stem = Cut(word, suffix.size());
    if (HasVowel(stem)) return AfterPastOrGerund(stem);
  }
  return std::string(word);
}

std::string FinalY(std::string word) {  // step 1c, NLTK's condition
  if (word.ends_with('y') && word.size() > 2 && IsConsonant(word, word.size() - 2)) {
    word.back() = 'i';
  }
  return word;
}

std::string DoubleSuffixes(std::string_view word) {  // step 2
  if (word.ends_with("alli") && Measure(Cut(word, 4)) > 0) return DoubleSuffixes(Cut(word, 2));
  static constexpr std::array<Rule, 21> kRules = {{
      {"ational", "ate"}, {"tional", "tion"}, {"enci", "ence"},   {"anci", "ance"},
      {"izer", "ize"},    {"bli", "ble"},     {"alli", "al"},     {"entli", "ent"},
      {"eli", "e"},       {"ousli", "ous"},   {"ization", "ize"}, {"ation", "ate"},
      {"ator", "ate"},    {"alism", "al"},    {"iveness", "ive"}, {"fulness", "ful"},
      {"ousness", "ous"}, {"aliti", "al"},    {"iviti", "ive"},   {"biliti", "ble"},
      {"fulli", "ful"},
  }};
  // "logi" loses its i where what stands before the "ogi" is long enough.
  if (word.ends_with("logi")) return std::string(Measure(Cut(word, 3)) > 0 ? Cut(word, 1) : word);
  return Replace(word, kRules, 1);
}

std::string Suffixes(std::string_view word) {  // step 3
  static constexpr std::array<Rule, 7> kRules = {{{"icate", "ic"},
                                                  {"ative", ""},
                                                  {"alize", "al"},
                                                  {"iciti", "ic"},
                                                  {"ical", "ic"},
                                                  {"ful", ""},
                                                  {"ness", ""}}};
  return Replace(word, kRules, 1);
}

std::string LongStems(std::string_view word) {  // step 4
  if (word.ends_with("ion")) {                  // no other suffix ends like it
    const std::string_view stem = Cut(word, 3);
    const bool fits = Measure(stem) > 1 && (stem.ends_with('s') || stem.ends_with('t'));
    return std::string(fits ? stem : word);
  }
  static constexpr std::array<Rule, 18> kRules = {{
      {"al", ""},
      {"ance", ""},
      {"ence", ""},
      {"er", ""},
      {"ic", ""},
      {"able", ""},
      {"ible", ""},
      {"ant", ""},
      {"ement", ""},
      {"ment", ""},
      {"ent", ""},
      {"ou", ""},
      {"ism", ""},
      {"ate", ""},
      {"iti", ""},
      {"ous", ""},
      {"ive", ""},
      {"ize", ""},
  }};
  return Replace(word, kRules, 2);
}

std::string Tidy(std::string_view word) {  // steps 5a and 5b
  if (word.ends_with('e')) {
    const std::string_view stem = Cut(word, 1);
    const size_t measure = Measure(stem);
    if (measure > 1 || (measure == 1 && !EndsInShortSyllable(stem))) word = stem;
  }
  if (word.ends_with("ll") && Measure(Cut(word, 1)) > 1) word = Cut(word, 1);
  return std::string(word);
}

}  // namespace

std::string PorterStem(std::string_view word) {
  using Exception = std::pair<std::string_view, std::string_view>;
  static constexpr std::array<Exception, 13> kExceptions = {{
      {"skies", "sky"},
      {"sky", "sky"},
      {"dying", "die"},
      {"lying", "lie"},
      {"tying", "tie"},
      {"news", "news"},
      {"innings", "inning"},
      {"inning", "inning"},
      {"outings", "outing"},
      {"outing", "outing"},
      {"cannings", "canning"},
      {"canning", "canning"},
      {"howe", "howe"},
  }};
  for (const auto& [from, to] : kExceptions) {
    if (word == from) return std::string(to);
  }
  for (const std::string_view stays : {"proceed", "exceed", "succeed"}) {
    if (word == stays) return std::string(word);
  }
  if (word.size() <= 2) return std::string(word);
  return Tidy(LongStems(Suffixes(DoubleSuffixes(FinalY(PastOrGerund(Plurals(word)))))));
}

}  // namespace pith
