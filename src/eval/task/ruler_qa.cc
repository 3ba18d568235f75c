// RULER's question answering on the user's copies of SQuAD 2.0 and HotpotQA.
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <set>

#include "base/file.h"
#include "eval/task/ruler.h"
#include "text/utf8.h"

namespace pith {
namespace {

constexpr const char* kInstruction =
    "Answer the question from the given documents only. Give nothing but the answer, without any "
    "other words.";

struct Question {
  std::string text;
  std::vector<std::string> answers;
  std::vector<std::string> gold;  // documents that must be there
  // Documents that are taken before any others; null: none.
  std::shared_ptr<const std::vector<std::string>> related;
};

struct QaSet {
  std::vector<std::string> documents;  // distinct, sorted
  std::vector<Question> questions;
};

// Walks a data file and knows where it is, so that errors can say what is missing.
class Node {
 public:
  Node(const Json& json, std::string path, const std::string& file)
      : json_(&json), path_(std::move(path)), file_(&file) {}

  Result<Node> Field(const char* name) const {
    if (!json_->is_object() || !json_->contains(name)) return Wrong(fmt::format("lacks {}", name));
    return Node((*json_)[name], fmt::format("{}.{}", path_, name), *file_);
  }

  Result<Node> Element(size_t index) const {
    if (!json_->is_array() || index >= json_->size()) {
      return Wrong(fmt::format("lacks element {}", index));
    }
    return Node((*json_)[index], fmt::format("{}[{}]", path_, index), *file_);
  }

  Result<size_t> Size() const {
    if (!json_->is_array()) return Wrong("is not a list");
    return json_->size();
  }

  Result<std::string> Text() const {
    if (!json_->is_string()) return Wrong("is not a text");
    return json_->get<std::string>();
  }

  Result<std::string> Text(const char* field) const {
    PITH_ASSIGN(const Node node, Field(field));
    return node.Text();
  }

  // False where the field is not there.
  bool Flag(const char* name) const {
    return json_->is_object() && json_->value(name, Json()) == true;
  }

  // Calls `visit` for each element of the list `field`; stops at the first error.
  template <class F>
  Status Each(const char* field, F visit) const {
    PITH_ASSIGN(const Node list, Field(field));
    return list.Each(visit);
  }

  template <class F>
  Status Each(F visit) const {
    PITH_ASSIGN(const size_t size, Size());
    for (size_t i = 0; i < size; ++i) {
      PITH_ASSIGN(const Node element, Element(i));
      PITH_TRY(visit(element));
    }
    return {};
  }

 private:
  tl::unexpected<Error> Wrong(const std::string& what) const {
    return InputError(fmt::format("{} {}", path_, what), *file_,
                      "It is not the data set in its published form.");
  }

  const Json* json_;
  std::string path_;
  const std::string* file_;
};

Result<Json> ReadJson(const std::string& path) {
  PITH_ASSIGN(const std::string text, ReadText(path));
  if (const size_t bad = FindInvalidUtf8(text); bad != std::string::npos) {
    return InputError(fmt::format("the data file is not UTF-8 at byte {}", bad), path);
  }
  Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) return InputError("the data file is not JSON", path);
  return json;
}

Status ReadSquadQuestion(const Node& node, const Question& base, QaSet& set) {
  if (node.Flag("is_impossible")) return {};
  Question question = base;
  PITH_ASSIGN(question.text, node.Text("question"));
  PITH_TRY(node.Each("answers", [&](const Node& answer) -> Status {
    PITH_ASSIGN(std::string text, answer.Text("text"));
    auto& answers = question.answers;
    if (std::find(answers.begin(), answers.end(), text) == answers.end()) {
      answers.push_back(std::move(text));
    }
    return {};
  }));
  if (!question.answers.empty()) set.questions.push_back(std::move(question));
  return {};
}

Status ReadSquadArticle(const Node& article, QaSet& set) {
  std::vector<std::string> paragraphs;
  PITH_TRY(article.Each("paragraphs", [&](const Node& paragraph) -> Status {
    PITH_ASSIGN(std::string text, paragraph.Text("context"));
    paragraphs.push_back(std::move(text));
    return {};
  }));
  set.documents.insert(set.documents.end(), paragraphs.begin(), paragraphs.end());
  const auto related = std::make_shared<const std::vector<std::string>>(std::move(paragraphs));
  size_t index = 0;
  return article.Each("paragraphs", [&](const Node& paragraph) {
    Question base;
    base.gold = {(*related)[index++]};
    base.related = related;
    return paragraph.Each("qas", [&](const Node& qa) { return ReadSquadQuestion(qa, base, set); });
  });
}

Result<QaSet> ReadSquad(const std::string& path) {
  PITH_ASSIGN(const Json json, ReadJson(path));
  QaSet set;
  PITH_TRY(Node(json, "the file", path).Each("data", [&](const Node& article) {
    return ReadSquadArticle(article, set);
  }));
  return set;
}

Result<std::string> ReadHotpotDocument(const Node& node) {
  PITH_ASSIGN(const Node title, node.Element(0));
  PITH_ASSIGN(std::string document, title.Text());
  document += '\n';
  PITH_ASSIGN(const Node sentences, node.Element(1));
  PITH_TRY(sentences.Each([&](const Node& sentence) -> Status {
    PITH_ASSIGN(const std::string text, sentence.Text());
    document += text;
    return {};
  }));
  return document;
}

Result<QaSet> ReadHotpot(const std::string& path) {
  PITH_ASSIGN(const Json json, ReadJson(path));
  QaSet set;
  PITH_TRY(Node(json, "the file", path).Each([&](const Node& node) -> Status {
    Question question;
    PITH_ASSIGN(question.text, node.Text("question"));
    PITH_ASSIGN(std::string answer, node.Text("answer"));
    question.answers = {std::move(answer)};
    PITH_TRY(node.Each("context", [&](const Node& entry) -> Status {
      PITH_ASSIGN(std::string document, ReadHotpotDocument(entry));
      set.documents.push_back(document);
      question.gold.push_back(std::move(document));
      return {};
    }));
    set.questions.push_back(std::move(question));
    return {};
  }));
  return set;
}

// Gold documents, then related ones, then others, up to `size` in all (the gold ones in any case).
std::vector<std::string> Choose(const QaSet& set, const Question& question, uint32_t size,
                                Rng& rng) {
  std::vector<std::string> chosen;
  std::set<std::string_view> taken;
  const auto take = [&](const std::string& document) {
    if (taken.insert(document).second) chosen.push_back(document);
  };
  for (const std::string& document : question.gold) take(document);
  if (question.related) {
    for (const std::string& document : *question.related) {
      if (chosen.size() < size) take(document);
    }
  }
  std::vector<uint32_t> order;
  for (uint32_t i = 0; chosen.size() < size && i < set.documents.size(); ++i) order.push_back(i);
  rng.Shuffle(std::span(order));
  for (const uint32_t i : order) {
    if (chosen.size() < size) take(set.documents[i]);
  }
  rng.Shuffle(std::span(chosen));
  return chosen;
}

RulerDraft DrawSample(const QaSet& set, uint64_t sample, uint32_t size, Rng& rng) {
  const Question& question = set.questions[sample];
  RulerDraft draft = QaDraft(Choose(set, question, size, rng), question.text, question.answers);
  for (const std::string& document : question.gold) {
    const size_t begin = draft.item.context.find(document);
    draft.needle = std::min(draft.needle, begin);
    const size_t answer = document.find(question.answers[0]);
    if (answer != std::string::npos) draft.answer = std::min(draft.answer, begin + answer);
  }
  draft.item.meta["haystack"] = "documents";
  return draft;
}

}  // namespace

RulerDraft QaDraft(const std::vector<std::string>& documents, const std::string& question,
                   std::vector<std::string> answers) {
  RulerDraft draft;
  std::string& context = draft.item.context;
  context = fmt::format("{}\n\nThe documents are these.\n\n", kInstruction);
  draft.haystack = context.size();
  for (size_t i = 0; i < documents.size(); ++i) {
    context += fmt::format("Document {}:\n{}\n\n", i + 1, documents[i]);
  }
  context += fmt::format("{}\n\n", kInstruction);
  draft.item.question = "Question: " + question;
  draft.item.answer_prefix = " Answer:";
  draft.item.answers = std::move(answers);
  return draft;
}

Result<RulerFamily> QaFileFamily(const TaskInfo& task, const TaskRequest& request) {
  const bool squad = task.name == "ruler/qa_1";
  const char* option = squad ? "--squad" : "--hotpot";
  const std::string& path = squad ? request.settings.squad_file : request.settings.hotpot_file;
  if (path.empty()) {
    return InputError(fmt::format("{} needs {}", task.name,
                                  squad ? "SQuAD 2.0's dev-v2.0.json"
                                        : "HotpotQA's hotpot_dev_distractor_v1.json"),
                      fmt::format("{} FILE", option),
                      "Give the file, or take ruler/qa_syn, which needs none.");
  }
  auto read = squad ? ReadSquad(path) : ReadHotpot(path);
  if (!read) return tl::unexpected(std::move(read).error());
  const auto set = std::make_shared<QaSet>(std::move(*read));
  std::sort(set->documents.begin(), set->documents.end());
  set->documents.erase(std::unique(set->documents.begin(), set->documents.end()),
                       set->documents.end());
  if (set->questions.empty() || set->questions.size() < request.samples) {
    return InputError(fmt::format("the file has {} questions that can be answered, and {} samples "
                                  "are asked for",
                                  set->questions.size(), request.samples),
                      path, "Ask for fewer samples with --samples.");
  }
  RulerFamily family;
  family.increment = 10;
  family.limit = static_cast<uint32_t>(set->documents.size());
  family.draw = [set](uint64_t sample, Rng& rng, uint32_t size) {
    return DrawSample(*set, sample, size, rng);
  };
  return family;
}

}  // namespace pith
