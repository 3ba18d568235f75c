#include "eval/report/record.h"

#include <fmt/format.h>

#include <limits>
#include <numeric>
#include <set>
#include <string_view>
#include <utility>

#include "base/file.h"

namespace pith {
namespace {

using Json = nlohmann::ordered_json;

// The fields of every record are listed once, in the order in which they stand in the file; Writer
// and Reader walk these lists. `Field` is always there; `Sparse` is left out where it is empty;
// `Group` is an object within the object.

template <class Visitor, class Divergence>
void VisitDivergence(Visitor& v, Divergence& r) {
  v.Field("mean", r.mean);
  v.Field("median", r.median);
  v.Field("p90", r.p90);
  v.Field("p99", r.p99);
  v.Field("p999", r.p999);
  v.Field("max", r.max);
  v.Field("same_top", r.same_top);
  v.Field("p_true_change", r.p_true_change);
  v.Field("p_true_rms", r.p_true_rms);
  v.Field("by_position", r.by_position);
}

template <class Visitor, class Likelihood>
void VisitLikelihood(Visitor& v, Likelihood& r) {
  v.Field("tokens", r.tokens);
  v.Field("nll_sum", r.nll_sum);
  v.Field("nll_sum_squares", r.nll_sum_squares);
  v.SparseGroup("divergence", r.divergence,
                [](auto& inner, auto& divergence) { VisitDivergence(inner, divergence); });
}

template <class Visitor, class Cache>
void VisitCache(Visitor& v, Cache& r) {
  v.Field("entries", r.entries);
  v.Field("entries_full", r.entries_full);
  v.Sparse("sealed_keys", r.sealed_keys);
  v.Sparse("sealed_values", r.sealed_values);
  v.Field("logical", r.logical);
  v.Field("metadata", r.metadata);
  v.Field("allocated", r.allocated);
  v.Field("peak", r.peak);
  v.Field("full_f16", r.full_f16);
}

template <class Visitor, class Reads>
void VisitReads(Visitor& v, Reads& r) {
  v.Field("entries_held", r.entries_held);
  v.Field("entries_read", r.entries_read);
  v.Field("index_bytes", r.index_bytes);
  v.Sparse("attention_kept", r.attention_kept);
}

template <class Visitor, class Tokens>
void VisitTokens(Visitor& v, Tokens& r) {
  v.Field("fed", r.fed);
  v.Field("computed", r.computed);
}

template <class Visitor, class Record>
void VisitTimings(Visitor& v, Record& r) {
  v.Field("prefill_ms", r.prefill_ms);
  v.Field("compress_ms", r.compress_ms);
  v.Field("first_token_ms", r.first_token_ms);
  v.Field("decode_ms", r.decode_ms);
  v.Field("decode_tokens_per_second", r.decode_tokens_per_second);
  v.Field("shared_prefill", r.shared_prefill);
}

template <class Visitor, class Record>
void VisitItem(Visitor& v, Record& r) {
  v.Field("run", r.run);
  v.Field("config", r.config);
  v.Field("model", r.model);
  v.Field("model_hash", r.model_hash);
  v.Field("task", r.task);
  v.Field("length", r.length);
  v.Field("id", r.id);
  v.Field("recipe", r.recipe);
  v.Sparse("budget", r.budget);
  v.Field("query_aware", r.query_aware);
  v.Sparse("haystack", r.haystack);
  v.Sparse("prompts", r.prompts);
  v.Sparse("source", r.source);
  v.Field("seed", r.seed);
  v.Field("prediction", r.prediction);
  v.Field("answers", r.answers);
  v.Field("stop", r.stop);
  v.Sparse("metric", r.metric);
  v.Field("score", r.score);
  v.Field("null_prediction", r.null_prediction);
  v.Sparse("other_scores", r.other_scores);
  v.SparseGroup("likelihood", r.likelihood,
                [](auto& inner, auto& likelihood) { VisitLikelihood(inner, likelihood); });
  v.Field("prompt_tokens", r.prompt_tokens);
  v.Field("generated_tokens", r.generated_tokens);
  v.Group("cache", [&](auto& inner) { VisitCache(inner, r.cache); });
  v.SparseGroup("reads", r.reads, [](auto& inner, auto& reads) { VisitReads(inner, reads); });
  const auto visit_tokens = [](auto& inner, auto& tokens) { VisitTokens(inner, tokens); };
  v.SparseGroup("context_tokens", r.context_tokens, visit_tokens);
  v.SparseGroup("tokens", r.tokens, visit_tokens);
  v.Field("resident_bytes", r.resident_bytes);
  v.Group("timings", [&](auto& inner) { VisitTimings(inner, r); });
  v.Sparse("meta", r.meta);
}

template <class Visitor, class Record>
void VisitRun(Visitor& v, Record& r) {
  v.Field("run", r.run);
  v.Field("command", r.command);
  v.Field("version", r.version);
  v.Field("utc", r.utc);
  v.Field("cpu", r.cpu);
  v.Field("cores", r.cores);
  v.Field("threads", r.threads);
  v.Field("load_average", r.load_average);
  v.Sparse("settings", r.settings);
}

class Writer {
 public:
  explicit Writer(Json& json) : json_(json) {}

  template <class T>
  void Field(const char* name, const T& value) {
    json_[name] = value;
  }
  template <class T>
  void Sparse(const char* name, const T& value) {
    if (!value.empty()) json_[name] = value;
  }
  void Sparse(const char* name, uint64_t value) {
    if (value != 0) json_[name] = value;
  }
  template <class T>
  void Sparse(const char* name, const std::optional<T>& value) {
    if (value) json_[name] = *value;
  }
  template <class Visit>
  void Group(const char* name, Visit visit) {
    Writer inner(json_[name] = Json::object());
    visit(inner);
  }
  template <class T, class Visit>
  void SparseGroup(const char* name, const std::optional<T>& value, Visit visit) {
    if (value) Group(name, [&](Writer& inner) { visit(inner, *value); });
  }

 private:
  Json& json_;
};

bool Get(const Json& json, std::string& value) {
  if (!json.is_string()) return false;
  value = json.get<std::string>();
  return true;
}

bool Get(const Json& json, bool& value) {
  if (!json.is_boolean()) return false;
  value = json.get<bool>();
  return true;
}

bool Get(const Json& json, double& value) {
  if (!json.is_number()) return false;
  value = json.get<double>();
  return true;
}

bool Get(const Json& json, uint64_t& value) {
  if (!json.is_number_unsigned()) return false;
  value = json.get<uint64_t>();
  return true;
}

bool Get(const Json& json, uint32_t& value) {
  uint64_t wide = 0;
  if (!Get(json, wide) || wide > std::numeric_limits<uint32_t>::max()) return false;
  value = static_cast<uint32_t>(wide);
  return true;
}

bool Get(const Json& json, Json& value) {
  if (!json.is_object()) return false;
  value = json;
  return true;
}

template <class T>
bool Get(const Json& json, std::vector<T>& values) {
  if (!json.is_array()) return false;
  values.resize(json.size());
  for (size_t i = 0; i < json.size(); ++i) {
    if (!Get(json[i], values[i])) return false;
  }
  return true;
}

bool Get(const Json& json, std::map<std::string, double>& values) {
  if (!json.is_object()) return false;
  for (const auto& [name, value] : json.items()) {
    if (!Get(value, values[name])) return false;
  }
  return true;
}

// Reads fields and remembers the first thing that is wrong with them.
class Reader {
 public:
  Reader(const Json& json, std::string path) : json_(json), path_(std::move(path)) {}

  template <class T>
  void Field(const char* name, T& value) {
    const Json* json = Find(name);
    if (json == nullptr) {
      Complain(name, "is missing");
    } else if (!Get(*json, value)) {
      Complain(name, "has a value of the wrong type");
    }
  }
  template <class T>
  void Sparse(const char* name, T& value) {
    if (Find(name) != nullptr) Field(name, value);
  }
  template <class T>
  void Sparse(const char* name, std::optional<T>& value) {
    if (Find(name) != nullptr) Field(name, value.emplace());
  }
  template <class Visit>
  void Group(const char* name, Visit visit) {
    const Json* json = Find(name);
    if (json == nullptr) return Complain(name, "is missing");
    if (!json->is_object()) return Complain(name, "has a value of the wrong type");
    Reader inner(*json, path_ + name + ".");
    visit(inner);
    if (problem_.empty()) problem_ = inner.Finish();
  }
  template <class T, class Visit>
  void SparseGroup(const char* name, std::optional<T>& value, Visit visit) {
    if (Find(name) == nullptr) return;
    Group(name, [&](Reader& inner) { visit(inner, value.emplace()); });
  }

  // What is wrong with the fields, those that no list above mentions included; empty: nothing.
  std::string Finish() {
    for (const auto& [name, value] : json_.items()) {
      if (!known_.contains(name)) Complain(name, "is not known to this version");
    }
    return problem_;
  }

 private:
  const Json* Find(const char* name) {
    known_.insert(name);
    const auto found = json_.find(name);
    return found == json_.end() ? nullptr : &*found;
  }
  void Complain(const std::string& name, const char* what) {
    if (problem_.empty()) problem_ = "field '" + path_ + name + "' " + what;
  }

  const Json& json_;
  const std::string path_;  // of json_ within the record: "cache."
  std::set<std::string> known_;
  std::string problem_;
};

// Adds the record to `results`; returns what is wrong with it, or nothing.
std::string ReadRecord(const Json& json, ResultFile& results) {
  if (!json.is_object()) return "it is no JSON object";
  Reader reader(json, "");
  std::string kind;
  reader.Field("kind", kind);
  if (kind == "item") {
    VisitItem(reader, results.items.emplace_back());
    const double score = results.items.back().score;
    if (score < 0 || score > 1) return "field 'score' is outside 0 to 1";
  } else if (kind == "run") {
    VisitRun(reader, results.runs.emplace_back());
  } else {
    return "field 'kind' is neither \"item\" nor \"run\"";
  }
  return reader.Finish();
}

}  // namespace

double RecordedCache::Saving() const {
  if (full_f16 == 0) return 0;
  return 1 - static_cast<double>(allocated) / static_cast<double>(full_f16);
}

double RecordedCache::SealedShare() const {
  if (entries == 0) return 0;
  return static_cast<double>(sealed_keys + sealed_values) / (2.0 * static_cast<double>(entries));
}

double RecordedReads::Share() const { return entries_held > 0 ? entries_read / entries_held : 0; }

double RecordedTokens::Share() const {
  const double pairs = static_cast<double>(fed) * static_cast<double>(computed.size());
  const uint64_t sum = std::accumulate(computed.begin(), computed.end(), uint64_t{0});
  return pairs > 0 ? static_cast<double>(sum) / pairs : 0;
}

Json ToJson(const ItemRecord& record) {
  Json json{{"kind", "item"}};
  Writer writer(json);
  VisitItem(writer, record);
  return json;
}

Json ToJson(const RunRecord& record) {
  Json json{{"kind", "run"}};
  Writer writer(json);
  VisitRun(writer, record);
  return json;
}

std::string ToLine(const Json& record) {
  return record.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

Result<ResultFile> ReadResults(const std::string& path, bool* torn) {
  PITH_ASSIGN(const std::string text, ReadText(path));
  ResultFile results;
  size_t start = 0;
  for (size_t number = 1, end; (end = text.find('\n', start)) != std::string::npos; ++number) {
    const auto line = std::string_view(text).substr(start, end - start);
    start = end + 1;
    const Json json = Json::parse(line, nullptr, /*allow_exceptions=*/false);
    const std::string problem = json.is_discarded() ? "it is not JSON" : ReadRecord(json, results);
    if (!problem.empty()) {
      return InputError(
          fmt::format("line {} of the results file is no record: {}", number, problem), path,
          "Mend or delete that line, or name another file.");
    }
  }
  if (torn != nullptr) *torn = start != text.size();
  return results;
}

}  // namespace pith
