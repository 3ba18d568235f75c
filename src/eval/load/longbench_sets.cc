#include "eval/load/longbench_sets.h"

#include <array>

namespace pith {
namespace {

constexpr std::string_view kStoryPrompt =
    "Here is a story, followed by a question about it. Answer as briefly as you can, with a single "
    "phrase where that is possible, and explain nothing.\n\nStory: {context}\n\n"
    "Answer the question about the story as briefly as you can, with a single phrase where that is "
    "possible, and explain nothing.\n\nQuestion: {input}\n\nAnswer:";

constexpr std::string_view kArticlePrompt =
    "Here is a scientific article, followed by a question about it. Answer as briefly as you can, "
    "with a phrase or one sentence. Write \"unanswerable\" if the article does not hold the "
    "answer. "
    "To a yes-or-no question reply \"yes\", \"no\" or \"unanswerable\". Explain nothing.\n\n"
    "Article: {context}\n\n"
    "Answer the question about the article as briefly as you can, with a phrase or one sentence. "
    "Write \"unanswerable\" if the article does not hold the answer. To a yes-or-no question reply "
    "\"yes\", \"no\" or \"unanswerable\". Explain nothing.\n\nQuestion: {input}\n\nAnswer:";

constexpr std::string_view kTextPrompt =
    "Read the text below, then answer a short question.\n\n{context}\n\n"
    "Now answer the question from the text above, in as few words as you can and with nothing "
    "else.\n\nQuestion: {input}\nAnswer:";

constexpr std::string_view kTextChinesePrompt =
    "请先阅读下面的材料，然后简短回答一个问题。\n\n{context}\n\n"
    "现在请根据上面的材料作答，越简短越好，不要写其他内容。\n\n问题：{input}\n回答：";

constexpr std::string_view kPassagesPrompt =
    "Use the passages below to answer a question. Give the answer alone, without other words.\n\n"
    "Passages:\n{context}\n\n"
    "Use the passages above to answer the question. Give the answer alone, without other words."
    "\n\nQuestion: {input}\nAnswer:";

constexpr std::string_view kArticlesChinesePrompt =
    "请依据下面的几篇文章回答一个问题。\n\n{context}\n\n"
    "请依据上面的几篇文章回答下面的问题。\n\n问题：{input}\n回答：";

constexpr std::string_view kReportPrompt =
    "Below is a report of a government office. You will write a summary of one page.\n\n"
    "Report:\n{context}\n\nWrite a summary of this report, one page long.\n\nSummary:";

constexpr std::string_view kMeetingPrompt =
    "Below is the transcript of a meeting and a query about it. Reply to the query in one or more "
    "sentences.\n\nTranscript:\n{context}\n\n"
    "Reply to the query about the meeting above in one or more sentences.\n\n"
    "Query: {input}\nAnswer:";

constexpr std::string_view kNewsPrompt =
    "Below are several news articles. You will write one summary of them all, of one page.\n\n"
    "News:\n{context}\n\nWrite one summary of all this news, one page long.\n\nSummary:";

constexpr std::string_view kMinutesChinesePrompt =
    "下面是一次会议的记录，请在读完以后写出会议总结。\n\n会议记录：\n{context}\n\n"
    "请为上面的会议写一份总结。\n\n会议总结：";

constexpr std::string_view kQuestionTypePrompt =
    "Name the type of the last question. Here are examples of questions and their types.\n"
    "{context}\n{input}";

constexpr std::string_view kTriviaPrompt =
    "Answer the question from the passage and give the answer alone. Here are examples.\n\n"
    "{context}\n\n{input}";

constexpr std::string_view kDialoguePrompt =
    "Sum up the dialogue in a few short sentences. Here are examples.\n\n{context}\n\n{input}";

constexpr std::string_view kNewsTypeChinesePrompt =
    "请说出最后一篇新闻属于哪个类别，下面是一些例子。\n\n{context}\n{input}";

constexpr std::string_view kParagraphCountPrompt =
    "Below are numbered paragraphs; some of them appear more than once. Find out how many "
    "different "
    "paragraphs there are when repetitions are left out.\n\n{context}\n\n"
    "How many different paragraphs are there when repetitions are left out? Write a single number "
    "and no other words.\n\nThe final answer is: ";

constexpr std::string_view kParagraphPrompt =
    "Below are thirty paragraphs, and then the abstract of one of them. Find out which one.\n\n"
    "{context}\n\nThis is the abstract:\n\n{input}\n\n"
    "Which paragraph does the abstract belong to? Write your answer like \"Paragraph 7\".\n\n"
    "The answer is: ";

constexpr std::string_view kParagraphChinesePrompt =
    "下面有若干段落，之后是其中一段的摘要。请找出摘要对应的段落。\n\n{context}\n\n"
    "摘要如下：\n\n{input}\n\n请写出对应段落的编号，格式如“段落7”。\n\n答案是：";

constexpr std::string_view kCodePrompt =
    "Please complete the code given below.\n{context}Next line of code:\n";

constexpr std::string_view kRepositoryPrompt =
    "Please complete the code given below.\n{context}{input}Next line of code:\n";

constexpr bool kE = true;
constexpr LongBenchSet Plain(std::string_view name, std::string_view metric, uint32_t tokens,
                             std::string_view prompt, bool in_e = false) {
  return {name, metric, tokens, prompt, false, false, in_e};
}
constexpr LongBenchSet FewShot(std::string_view name, std::string_view metric, uint32_t tokens,
                               std::string_view prompt, bool in_e, std::string_view stop = {}) {
  return {name, metric, tokens, prompt, true, true, in_e, stop};
}
constexpr LongBenchSet Code(std::string_view name, std::string_view prompt) {
  return {name, "code_sim", 64, prompt, true, false, kE};
}

constexpr std::array kSets = {
    Plain("narrativeqa", "qa_f1", 128, kStoryPrompt),
    Plain("qasper", "qa_f1", 128, kArticlePrompt, kE),
    Plain("multifieldqa_en", "qa_f1", 64, kTextPrompt, kE),
    Plain("multifieldqa_zh", "qa_f1_zh", 64, kTextChinesePrompt),
    Plain("hotpotqa", "qa_f1", 32, kPassagesPrompt, kE),
    Plain("2wikimqa", "qa_f1", 32, kPassagesPrompt, kE),
    Plain("musique", "qa_f1", 32, kPassagesPrompt),
    Plain("dureader", "rouge_l_zh", 128, kArticlesChinesePrompt),
    Plain("gov_report", "rouge_l", 512, kReportPrompt, kE),
    Plain("qmsum", "rouge_l", 512, kMeetingPrompt),
    Plain("multi_news", "rouge_l", 512, kNewsPrompt, kE),
    Plain("vcsum", "rouge_l_zh", 512, kMinutesChinesePrompt),
    FewShot("trec", "classification", 64, kQuestionTypePrompt, kE),
    FewShot("triviaqa", "qa_f1", 32, kTriviaPrompt, kE),
    FewShot("samsum", "rouge_l", 128, kDialoguePrompt, kE, "\n"),
    FewShot("lsht", "classification", 64, kNewsTypeChinesePrompt, false),
    Plain("passage_count", "count", 32, kParagraphCountPrompt, kE),
    Plain("passage_retrieval_en", "retrieval", 32, kParagraphPrompt, kE),
    Plain("passage_retrieval_zh", "retrieval_zh", 32, kParagraphChinesePrompt),
    Code("lcc", kCodePrompt),
    Code("repobench-p", kRepositoryPrompt),
};

}  // namespace

std::span<const LongBenchSet> LongBenchSets() { return kSets; }

}  // namespace pith
