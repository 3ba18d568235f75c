#include "eval/task/item.h"

#include <fmt/format.h>

#include <limits>

namespace pith {
namespace {

// Reads the fields of one object; the first error is kept and later reads do nothing.
class Fields {
 public:
  Fields(const Json& json, const std::string& where) : json_(json), where_(where) {}

  void Text(const char* name, std::string& value, bool required = false) {
    const Json* field = Find(name, required);
    if (field == nullptr) return;
    if (!field->is_string()) return Refuse(name, "a text");
    value = field->get<std::string>();
  }

  void TextOrNumber(const char* name, std::string& value) {
    const Json* field = Find(name, true);
    if (field == nullptr) return;
    if (!field->is_string() && !field->is_number_integer()) {
      return Refuse(name, "a text or a whole number");
    }
    value = field->is_string() ? field->get<std::string>() : field->dump();
  }

  void Texts(const char* name, std::vector<std::string>& values) {
    const Json* field = Find(name, false);
    if (field == nullptr) return;
    if (!field->is_array()) return Refuse(name, "a list of texts");
    for (const Json& text : *field) {
      if (!text.is_string()) return Refuse(name, "a list of texts");
      values.push_back(text.get<std::string>());
    }
  }

  template <class T>
  void Number(const char* name, T& value) {
    const Json* field = Find(name, false);
    if (field == nullptr) return;
    if (!field->is_number_unsigned() || field->get<uint64_t>() > std::numeric_limits<T>::max()) {
      return Refuse(name, "a whole number that is not negative");
    }
    value = field->get<T>();
  }

  void Bool(const char* name, bool& value) {
    const Json* field = Find(name, false);
    if (field == nullptr) return;
    if (!field->is_boolean()) return Refuse(name, "true or false");
    value = field->get<bool>();
  }

  void Object(const char* name, Json& value) {
    const Json* field = Find(name, false);
    if (field == nullptr) return;
    if (!field->is_object()) return Refuse(name, "an object");
    value = *field;
  }

  Status Finish() const { return status_; }

 private:
  // Null if the field is not there (null counts as not there) or an error came before.
  const Json* Find(const char* name, bool required) {
    if (!status_) return nullptr;
    const auto field = json_.find(name);
    if (field != json_.end() && !field->is_null()) return &*field;
    if (required) {
      status_ = InputError(fmt::format("an item lacks the field \"{}\"", name), where_,
                           "The fields of an item are named in docs/evaluation.md.");
    }
    return nullptr;
  }

  void Refuse(const char* name, const char* wanted) {
    status_ =
        InputError(fmt::format("the field \"{}\" of an item is not {}", name, wanted), where_);
  }

  const Json& json_;
  const std::string& where_;
  Status status_;
};

}  // namespace

Json ToJson(const Item& item) {
  Json json = {{"task", item.task}, {"id", item.id}, {"context", item.context}};
  const auto add = [&json](const char* name, const auto& value, bool present) {
    if (present) json[name] = value;
  };
  add("question", item.question, !item.question.empty());
  add("answer_prefix", item.answer_prefix, !item.answer_prefix.empty());
  add("answers", item.answers, !item.answers.empty());
  add("all_classes", item.all_classes, !item.all_classes.empty());
  add("metrics", item.metrics, !item.metrics.empty());
  add("length", item.length, item.length != 0);
  add("max_new_tokens", item.max_new_tokens, item.max_new_tokens != 0);
  add("stop", item.stop, !item.stop.empty());
  add("chat_template", item.chat_template, !item.chat_template);
  add("meta", item.meta, !item.meta.empty());
  return json;
}

Result<Item> ItemFromJson(const Json& json, const std::string& where) {
  if (!json.is_object()) return InputError("an item is not a JSON object", where);
  Item item;
  Fields fields(json, where);
  fields.Text("task", item.task, true);
  fields.TextOrNumber("id", item.id);
  fields.Text("context", item.context, true);
  fields.Text("question", item.question);
  fields.Text("answer_prefix", item.answer_prefix);
  fields.Texts("answers", item.answers);
  fields.Texts("all_classes", item.all_classes);
  fields.Texts("metrics", item.metrics);
  fields.Number("length", item.length);
  fields.Number("max_new_tokens", item.max_new_tokens);
  fields.Text("stop", item.stop);
  fields.Bool("chat_template", item.chat_template);
  fields.Object("meta", item.meta);
  PITH_TRY(fields.Finish());
  return item;
}

}  // namespace pith
