// The scoring functions behind the rows of table.cc, and what several of them share.
#pragma once

#include <algorithm>
#include <string_view>
#include <vector>

#include "eval/metric/chars.h"
#include "eval/task/item.h"

namespace pith {

// string_match.cc: RULER's tests for references inside the prediction.
double StringMatchAll(std::string_view prediction, const Item& item);
double StringMatchPart(std::string_view prediction, const Item& item);
double ValueSubstring(std::string_view prediction, const Item& item);
// niah.cc
double NiahContains(std::string_view prediction, const Item& item);
double NiahKeyPhrase(std::string_view prediction, const Item& item);
// rouge1.cc
double Rouge1(std::string_view prediction, const Item& item);
double Rouge1Recall(std::string_view prediction, const Item& item);
// token_f1.cc
double QaF1(std::string_view prediction, const Item& item);
double QaF1Chars(std::string_view prediction, const Item& item);
// rouge_l.cc
double RougeL(std::string_view prediction, const Item& item);
double RougeLChars(std::string_view prediction, const Item& item);
// classification.cc, retrieval.cc
double Classification(std::string_view prediction, const Item& item);
double Retrieval(std::string_view prediction, const Item& item);
double RetrievalChinese(std::string_view prediction, const Item& item);
double Count(std::string_view prediction, const Item& item);
// code_sim.cc
double CodeSimDifflib(std::string_view prediction, const Item& item);
double CodeSimIndel(std::string_view prediction, const Item& item);
// numbers.cc
double FirstDigits(std::string_view prediction, const Item& item);
double FirstInteger(std::string_view prediction, const Item& item);
double LastInteger(std::string_view prediction, const Item& item);
double MathCalc(std::string_view prediction, const Item& item);
double KvWord(std::string_view prediction, const Item& item);
// babilong.cc, passkey_words.cc
double Babilong(std::string_view prediction, const Item& item);
double DuoPrefix(std::string_view prediction, const Item& item);
double DuoStrict(std::string_view prediction, const Item& item);
// final_answer.cc
double Gsm8k(std::string_view prediction, const Item& item);
double Boxed(std::string_view prediction, const Item& item);
// choice.cc
double ChoiceAbcd(std::string_view prediction, const Item& item);
double CodeDebug(std::string_view prediction, const Item& item);
double LongBenchV2Choice(std::string_view prediction, const Item& item);

// How many tokens two lists have in common, as multisets. (token_f1.cc)
size_t SharedTokens(const std::vector<Chars>& prediction, const std::vector<Chars>& reference);
// F1 of two lists of tokens as multisets; 0 if they share none. (token_f1.cc)
double TokenF1(const std::vector<Chars>& prediction, const std::vector<Chars>& reference);
// SQuAD's normalisation: lower case, no ASCII punctuation, then no articles, single spaces.
Chars NormalizeAnswer(CharsView text);

// The best of `score(reference)` over the item's answers; 0 without answers.
template <class Score>
double BestOverAnswers(const Item& item, Score score) {
  double best = 0;
  for (const std::string& answer : item.answers) {
    best = std::max(best, static_cast<double>(score(DecodeUtf8(answer))));
  }
  return best;
}

}  // namespace pith
