#include <algorithm>
#include <array>

#include "eval/metric/metric.h"
#include "eval/metric/scores.h"

namespace pith {
namespace {

constexpr std::array kMetrics = std::to_array<MetricInfo>({
    {"string_match_all", "share of the references that the answer contains, in any case (RULER)",
     StringMatchAll},
    {"string_match_part", "1 if the answer contains any reference, in any case (RULER's questions)",
     StringMatchPart},
    {"niah_contains", "share of the needle's content words that the answer contains", NiahContains},
    {"niah_key_phrase", "1 if the answer contains the needle's key phrase, in any case",
     NiahKeyPhrase},
    {"rouge1x10", "ROUGE-1 F1 of stems, as Google's package; tables show it times 10 (needle grid)",
     Rouge1},
    {"qa_f1", "F1 of words without case, punctuation and articles, best reference (LongBench)",
     QaF1},
    {"qa_f1_zh",
     "F1 of characters in place of segmented words (zh_tokens: char; not comparable "
     "with LongBench's published numbers)",
     QaF1Chars},
    {"rouge_l", "ROUGE-L of the rouge package: unique words over whole summaries (LongBench)",
     RougeL},
    {"rouge_l_zh",
     "rouge_l of characters in place of segmented words (zh_tokens: char; not "
     "comparable with LongBench's published numbers)",
     RougeLChars},
    {"classification",
     "1 / number of class names found, if the right one is among them "
     "(LongBench)",
     Classification},
    {"retrieval", "share of the answer's numbers that name the right paragraph (LongBench)",
     Retrieval},
    {"retrieval_zh", "retrieval with the Chinese word for paragraph (LongBench)", RetrievalChinese},
    {"count", "share of the answer's numbers that are the right count (LongBench)", Count},
    {"code_sim", "likeness of the first line of code, difflib's, in whole percents (LongBench)",
     CodeSimDifflib},
    {"code_sim_indel", "code_sim by edit distance, as with the Levenshtein extension installed",
     CodeSimIndel},
    {"first_digits", "1 if the first run of digits is the reference (InfiniteBench's passkey)",
     FirstDigits},
    {"first_integer", "1 if the first integer equals the reference (InfiniteBench's math_find)",
     FirstInteger},
    {"last_integer", "1 if the last integer equals the reference (InfiniteBench's code_run)",
     LastInteger},
    {"kv_word", "1 if the value is one of the answer's words (InfiniteBench's kv_retrieval)",
     KvWord},
    {"value_substring", "1 if the answer contains the value, in any case (lost in the middle)",
     ValueSubstring},
    {"math_calc", "share of the running values that come first and in order (InfiniteBench)",
     MathCalc},
    {"babilong", "1 if exactly the right labels are named in the first sentence (BABILong)",
     Babilong},
    {"duo_prefix", "share of the passkey's words before the first wrong one (DuoAttention)",
     DuoPrefix},
    {"duo_strict", "1 if the whole passkey comes first (DuoAttention)", DuoStrict},
    {"gsm8k", "1 if the number after ####, or else the last one, equals the reference (GSM8K)",
     Gsm8k},
    {"boxed", "1 if the last \\boxed{} holds the reference (MATH, AIME)", Boxed},
    {"choice_abcd", "1 if the letter A to D chosen is right (InfiniteBench's longbook_choice)",
     ChoiceAbcd},
    {"dialogue_contains", "1 if the answer contains a reference, in any case (InfiniteBench)",
     ValueSubstring},
    {"code_debug", "1 if the letter A to J or the function named first is right (InfiniteBench)",
     CodeDebug},
    {"char_f1_zh", "F1 of characters (InfiniteBench's longbook_qa_chn)", QaF1Chars},
    {"longbench_v2_choice",
     "1 if \"The correct answer is (X)\" has the right letter "
     "(LongBench v2)",
     LongBenchV2Choice},
});

}  // namespace

std::span<const MetricInfo> Metrics() { return kMetrics; }

const MetricInfo* FindMetric(std::string_view name) {
  const auto found = std::find_if(kMetrics.begin(), kMetrics.end(),
                                  [name](const MetricInfo& metric) { return metric.name == name; });
  return found == kMetrics.end() ? nullptr : &*found;
}

double ScoreItem(const MetricInfo& metric, std::string_view prediction, const Item& item) {
  const auto first_line = item.meta.find(kFirstLineKey);
  if (first_line != item.meta.end() && *first_line == true) {
    prediction.remove_prefix(std::min(prediction.find_first_not_of('\n'), prediction.size()));
    prediction = prediction.substr(0, prediction.find('\n'));
  }
  return metric.score(prediction, item);
}

bool IsNullPrediction(std::string_view prediction) { return Strip(DecodeUtf8(prediction)).empty(); }

}  // namespace pith
