// The question-answering tasks: made-up facts, and the user's SQuAD and HotpotQA files.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>
#include <set>

#include "eval/task/ruler.h"
#include "eval/task/task_fixture.h"

namespace pith {
namespace {

using testing::HasSubstr;

size_t CountOf(const std::string& text, const std::string& part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

// What stands in `context` between `before` and the next `after`; "" without `before`.
std::string Between(const std::string& context, const std::string& before,
                    const std::string& after) {
  const size_t at = context.find(before);
  if (at == std::string::npos) return "";
  const size_t begin = at + before.size();
  return context.substr(begin, context.find(after, begin) - begin);
}

TEST(RulerFacts, TwoFacts_AnswerFollowsFromTwoSheets) {
  for (const Item& item : Items("ruler/qa_syn_2hop", NanoRequest(2048, 20))) {
    const std::string house = Between(item.question, "keeper of the ",
                                      item.question.find(" live now") != std::string::npos ? " live"
                                      : item.question.find(" born") != std::string::npos   ? " born"
                                                                                           : "?");
    const std::string keeper = Between(item.context, "The keeper of the " + house + " is ", ".");
    ASSERT_FALSE(keeper.empty()) << item.question;
    const std::string born = Between(item.context, "\n" + keeper + " was born in ", ".");
    const std::string trade =
        Between(item.context, "The trade of " + keeper + " is that of a ", ".");
    const std::string home = Between(item.context, keeper + " lives in ", " now");
    const std::string expected = item.question.find("which city") != std::string::npos ? home
                                 : item.question.find("trade") != std::string::npos
                                     ? trade
                                     : born.substr(born.size() - 4);
    EXPECT_EQ(item.answers, std::vector<std::string>{expected}) << item.question;
    EXPECT_EQ(CountOf(item.context, "\nThe " + house + " is "), 1u);
    EXPECT_EQ(CountOf(item.context, "\n" + keeper + " was born"), 1u);
  }
}

TEST(RulerFacts, OneFact_SheetOfTheSubjectHasTheAnswer) {
  std::set<std::string> kinds;
  for (const Item& item : Items("ruler/qa_syn", NanoRequest(2048, 40))) {
    kinds.insert(item.question.substr(0, 22));
    bool found = false;
    for (size_t at = item.context.find("Document "); at != std::string::npos;
         at = item.context.find("\nDocument ", at + 1)) {
      const size_t title = item.context.find(":\n", at) + 2;
      const size_t end = item.context.find("\n\n", at);
      const std::string subject =
          item.context.substr(title, item.context.find('\n', title) - title);
      const std::string name = subject.starts_with("The ") ? subject.substr(4) : subject;
      if (item.question.find(name) == std::string::npos) continue;
      EXPECT_FALSE(found) << "two sheets for " << name;
      found = true;
      EXPECT_THAT(item.context.substr(title, end - title), HasSubstr(item.answers[0]));
    }
    EXPECT_TRUE(found) << item.question;
  }
  EXPECT_EQ(kinds.size(), 3u);  // which city, which year, what trade
}

class TempJson {
 public:
  TempJson(const std::string& name, const std::string& text)
      : path_(testing::TempDir() + "ruler-" + name) {
    std::ofstream(path_) << text;
  }
  ~TempJson() { std::remove(path_.c_str()); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

std::string SquadText() {
  Json data = Json::array();
  for (int article = 0; article < 20; ++article) {
    Json paragraphs = Json::array();
    for (int p = 0; p < 3; ++p) {
      const std::string tag = std::to_string(article) + "-" + std::to_string(p);
      paragraphs.push_back(
          {{"context",
            "The tower " + tag + " was built of stone and has answer" + tag + " inside."},
           {"qas",
            {{{"question", "What cannot be known?"},
              {"is_impossible", true},
              {"answers", Json::array()}},
             {{"question", "What is in " + tag + "?"},
              {"is_impossible", false},
              {"answers",
               {{{"text", "answer" + tag}}, {{"text", "answer" + tag}}, {{"text", "it"}}}}}}}});
    }
    data.push_back({{"title", "T"}, {"paragraphs", paragraphs}});
  }
  return Json{{"version", "v2.0"}, {"data", data}}.dump();
}

TEST(RulerQa, Squad_QuestionIOverItsParagraphItsArticleAndOthers) {
  const TempJson file("squad.json", SquadText());
  TaskRequest request = NanoRequest(512, 4);
  request.settings.squad_file = file.path();
  const auto items = Items("ruler/qa_1", request);
  ASSERT_EQ(items.size(), 4u);
  const char* tags[] = {"0-0", "0-1", "0-2", "1-0"};  // impossible questions are left out
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(items[i].question, std::string("Question: What is in ") + tags[i] + "?");
    EXPECT_EQ(items[i].answers, (std::vector<std::string>{std::string("answer") + tags[i], "it"}));
    for (int p = 0; p < 3; ++p) {  // the whole article
      const std::string tower =
          std::string("The tower ") + tags[i][0] + "-" + std::to_string(p) + " ";
      EXPECT_EQ(CountOf(items[i].context, tower), 1u);
    }
    EXPECT_EQ(CountOf(items[i].context, "The tower "), items[i].meta["size"]);
    EXPECT_EQ(CountOf(items[i].context, "\nDocument 1:\n"), 1u);
  }
}

TEST(RulerQa, Hotpot_AllDocumentsOfTheItemAreThere) {
  Json data = Json::array();
  for (int i = 0; i < 30; ++i) {
    const std::string tag = std::to_string(i);
    const Json book =
        Json::array({"Book " + tag, Json::array({"It is by author" + tag + ".", " It is long."})});
    const Json life = Json::array({"Life " + tag, Json::array({"Nothing is known."})});
    data.push_back({{"question", "Who wrote " + tag + "?"},
                    {"answer", "author" + tag},
                    {"context", Json::array({book, life})}});
  }
  const TempJson file("hotpot.json", data.dump());
  TaskRequest request = NanoRequest(512, 5);
  request.settings.hotpot_file = file.path();
  const auto items = Items("ruler/qa_2", request);
  for (size_t i = 0; i < items.size(); ++i) {
    const std::string tag = std::to_string(i);
    EXPECT_THAT(items[i].context, HasSubstr(":\nBook " + tag + "\nIt is by author" + tag +
                                            ". It is long.\n\nDocument "));
    EXPECT_THAT(items[i].context, HasSubstr(":\nLife " + tag + "\nNothing is known.\n\n"));
    EXPECT_EQ(items[i].answers, std::vector<std::string>{"author" + tag});
  }
}

TEST(RulerQa, NoFile_NamesTheOptionAndTheWayOut) {
  for (const auto& [name, option] :
       {std::pair{"ruler/qa_1", "--squad FILE"}, std::pair{"ruler/qa_2", "--hotpot FILE"}}) {
    const TaskInfo& task = *FindTask(name);
    const auto items = task.generate(task, NanoRequest(1024, 1));
    ASSERT_FALSE(items.has_value());
    EXPECT_EQ(items.error().kind, ErrorKind::kInput);
    EXPECT_THAT(items.error().Message(), HasSubstr(option));
    EXPECT_THAT(items.error().Message(), HasSubstr("ruler/qa_syn"));
  }
}

TEST(RulerQa, BadFile_SaysWhatIsMissing) {
  const std::pair<const char*, const char*> cases[] = {
      {"{\"data\": 3}", "the file.data is not a list"},
      {"[]", "the file lacks data"},
      {"not json", "not JSON"},
      {R"({"data": [{"paragraphs": [{"context": "c"}]}]})",
       "the file.data[0].paragraphs[0] lacks qas"},
      {R"({"data": [{"paragraphs": [{"context": 5}]}]})", "paragraphs[0].context is not a text"},
      {R"({"data": [{"paragraphs": [{"context": "c", "qas": [{"question": "q"}]}]}]})",
       "lacks answers"},
      {R"({"data": []})", "0 questions"},
  };
  const TaskInfo& task = *FindTask("ruler/qa_1");
  for (const auto& [text, message] : cases) {
    const TempJson file("bad.json", text);
    TaskRequest request = NanoRequest(1024, 1);
    request.settings.squad_file = file.path();
    const auto items = task.generate(task, request);
    ASSERT_FALSE(items.has_value()) << text;
    EXPECT_EQ(items.error().kind, ErrorKind::kInput);
    EXPECT_THAT(items.error().Message(), HasSubstr(message));
    EXPECT_THAT(items.error().Message(), HasSubstr(file.path()));
  }
}

TEST(RulerQa, TooFewDocumentsOrQuestions_InputError) {
  const TempJson file("few.json", SquadText());
  const TaskInfo& task = *FindTask("ruler/qa_1");
  TaskRequest request = NanoRequest(32768, 1);
  request.settings.squad_file = file.path();
  EXPECT_THAT(task.generate(task, request).error().Message(), HasSubstr("only 60 documents"));
  request.samples = 61;
  EXPECT_THAT(task.generate(task, request).error().Message(), HasSubstr("60 questions"));
}

// Read by hand: Edgar Anton keeps the Noble Medal (document 4) and lives in Belgrade (document 1).
TEST(RulerGolden, TwoFacts) {
  const TaskRequest request = NanoRequest(512, 1);
  Rng rng(7);
  const Item item = RulerFamilyOf(*FindTask("ruler/qa_syn_2hop"), request)->draw(0, rng, 4).item;
  EXPECT_EQ(item.context,
            "Answer the question from the given documents only. Give nothing but the answer, "
            "without any other words.\n\nThe documents are these.\n\n"
            "Document 1:\nEdgar Anton\nEdgar Anton was born in Bogota in the year 1982. Edgar "
            "Anton lives in Belgrade now. The trade of Edgar Anton is that of a writer.\n\n"
            "Document 2:\nThe Red Scepter\nThe Red Scepter is a bakery in Boston. It was founded "
            "in the year 1810. The keeper of the Red Scepter is Felix Gustav.\n\n"
            "Document 3:\nFelix Gustav\nFelix Gustav was born in Dublin in the year 1919. Felix "
            "Gustav lives in Paris now. The trade of Felix Gustav is that of a farmer.\n\n"
            "Document 4:\nThe Noble Medal\nThe Noble Medal is a theater in Paris. It was founded "
            "in the year 1795. The keeper of the Noble Medal is Edgar Anton.\n\n"
            "Answer the question from the given documents only. Give nothing but the answer, "
            "without any other words.\n\n");
  EXPECT_EQ(item.question, "Question: In which city does the keeper of the Noble Medal live now?");
  EXPECT_EQ(item.answer_prefix, " Answer:");
  EXPECT_EQ(item.answers, std::vector<std::string>{"Belgrade"});
}

}  // namespace
}  // namespace pith
