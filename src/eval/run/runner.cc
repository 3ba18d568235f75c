#include "eval/run/runner.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <string_view>

#include "base/check.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/log.h"
#include "engine/generate.h"
#include "eval/metric/metric.h"
#include "eval/read_summary.h"
#include "eval/run/likelihood.h"
#include "model/weights.h"
#include "text/sampler.h"

namespace pith {
namespace {

using Clock = std::chrono::steady_clock;

double MsSince(Clock::time_point begin) {
  return std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
}

uint64_t HashOf(std::span<const std::byte> bytes) {
  Hasher hasher;
  hasher.Add(bytes);
  return hasher.Finish();
}

// Of the whole files, so that another quantisation or training of the same model is another model.
std::string IdentityOf(const GgufFile& file) {
  std::string text;
  for (const MappedFile& part : file.files()) text += fmt::format("{:016x}", HashOf(part.bytes()));
  return text;
}

uint64_t ResidentBytes() {
  std::ifstream status("/proc/self/status");
  std::string word;
  while (status >> word) {
    uint64_t kib = 0;
    if (word == "VmRSS:" && status >> kib) return kib * 1024;
  }
  return 0;
}

// The key/value pairs of a sequence of so many tokens while nothing is dropped.
uint64_t EntriesOf(const Engine& engine, size_t tokens) {
  const ModelShape& shape = engine.model().shape();
  return uint64_t{shape.num_layers} * shape.num_kv_heads * tokens;
}

RecordedCache DescribeContext(const Engine& engine, const Sequence& sequence) {
  const CacheUsage usage = sequence.Usage();
  RecordedCache cache;
  cache.entries = usage.entries;
  cache.entries_full = EntriesOf(engine, sequence.tokens.size());
  cache.sealed_keys = usage.sealed_keys;
  cache.sealed_values = usage.sealed_values;
  cache.logical = usage.logical;
  cache.metadata = usage.metadata;
  cache.allocated = usage.held;
  cache.full_f16 = engine.model().shape().CacheBytesPerTokenF16() * sequence.tokens.size();
  return cache;
}

std::optional<RecordedTokens> DescribeTokens(const Sequence& sequence) {
  if (!sequence.kv.plan.admits()) return std::nullopt;
  return RecordedTokens{sequence.tokens.size(), sequence.ComputedTokens()};
}

std::optional<RecordedReads> DescribeReads(const EntryReader& reader) {
  const auto reads = SummarizeReads(reader);
  if (!reads || reads->entries_held == 0) return std::nullopt;
  RecordedReads record{reads->entries_held, reads->entries_read, reads->index_bytes, std::nullopt};
  if (reader.rule().top_p > 0) record.attention_kept = reads->attention_kept;
  return record;
}

bool IsFull(const PlannedRun& kv) { return kv.plan.canonical == "full" && !kv.budget; }

}  // namespace

struct EvalRunner::Question {
  const EvalSet* set = nullptr;
  Item item;
  EvalPrompt prompt;
  std::vector<std::string> configs;  // [recipe]
  std::vector<bool> wanted;          // [recipe]: not in the log yet
  ReferenceDistributions reference;  // of the full cache, for likelihood items

  bool Wants(size_t recipe) const { return wanted[recipe]; }
  // Recipes are compared with the full cache's distributions, so that is run for them too.
  bool NeedsReference() const {
    return AsksLikelihood(item) && std::ranges::find(wanted, true) != wanted.end();
  }
  bool Runs(size_t recipe) const { return Wants(recipe) || (recipe == 0 && NeedsReference()); }
};

// What is known once a context has been read, and then compressed.
struct EvalRunner::Reading {
  std::vector<float> logits;  // of its last token
  double prefill_ms = 0, compress_ms = 0;
  bool shared = false;
  RecordedCache cache;
  std::optional<RecordedTokens> tokens;
};

Result<std::vector<PlannedRun>> WithFullCache(std::vector<PlannedRun> recipes) {
  std::erase_if(recipes, IsFull);
  PITH_ASSIGN(const Plan full, ParseRecipe("full"));
  recipes.insert(recipes.begin(), PlannedRun{full, std::nullopt});
  return recipes;
}

std::string ConfigHash(const std::string& model_identity, const Item& item, const PlannedRun& kv,
                       const EvalSettings& settings, uint32_t chunk) {
  const Json config = {{"model", model_identity},
                       {"item", ToJson(item)},
                       {"recipe", kv.plan.canonical},
                       {"budget", kv.budget ? kv.budget->text : ""},
                       {"query_aware", settings.query_aware},
                       {"chat_template", settings.chat_template},
                       {"chunk", chunk},
                       {"version", settings.version}};
  const std::string text = config.dump(-1, ' ', false, Json::error_handler_t::replace);
  return fmt::format("{:016x}", HashOf(std::as_bytes(std::span(text))));
}

Result<EvalRunner> EvalRunner::Create(Engine* engine, EvalSettings settings) {
  PITH_CHECK(!settings.recipes.empty() && IsFull(settings.recipes.front()));
  EvalRunner runner;
  runner.engine_ = engine;
  runner.settings_ = std::move(settings);
  if (runner.settings_.chat_template) {
    PITH_ASSIGN(runner.parts_, ChatTemplateParts(engine->tokenizer()));
  } else {
    runner.parts_ = NoTemplate();
  }
  runner.model_identity_ = IdentityOf(engine->file());
  const auto needs_profile = [](const PlannedRun& kv) { return kv.plan.needs().profile != 0; };
  if (std::ranges::any_of(runner.settings_.recipes, needs_profile)) {
    PITH_ASSIGN(const MappedFile profile, MappedFile::Open(engine->options().profile_path));
    runner.profile_identity_ = fmt::format("+{:016x}", HashOf(profile.bytes()));
  }
  const std::vector<PlannedRun>& recipes = runner.settings_.recipes;
  for (size_t i = 0; i < recipes.size(); ++i) {
    const auto group = std::ranges::find_if(runner.groups_, [&](const auto& members) {
      return std::ranges::all_of(
          members, [&](size_t member) { return SharesPrefill(recipes[member], recipes[i]); });
    });
    if (group == runner.groups_.end()) {
      runner.groups_.push_back({i});
    } else {
      group->push_back(i);
    }
  }
  return runner;
}

Result<EvalRunner::Question> EvalRunner::Prepare(const EvalSet& set, const Item& item,
                                                 const ResultLog& log) {
  Question question{&set, item, {}, {}, {}, {}};
  const uint32_t room = engine_->options().context;
  if (set.length == 0) {  // data as others made it: cut to what the model holds, and say so
    const uint32_t most = settings_.max_context != 0 ? settings_.max_context
                                                     : room - std::min(room, item.max_new_tokens);
    PITH_ASSIGN(const bool cut, CutMiddle(engine_->tokenizer(), parts_, most, &question.item));
    if (cut) question.item.meta["cut_to"] = most;
  }
  PITH_ASSIGN(question.prompt,
              PreparePrompt(engine_->tokenizer(), question.item, parts_, settings_.query_aware));
  const EvalPrompt& prompt = question.prompt;
  const size_t tokens = prompt.context.size() + prompt.rest.size() + prompt.scored.size();
  if (tokens + item.max_new_tokens > room) {
    return InputError(fmt::format("{} tokens and {} new ones do not fit the model's context of {}",
                                  tokens, item.max_new_tokens, room),
                      fmt::format("{}, item {}", item.task, item.id),
                      set.length == 0 ? "Give a smaller --max-context." : "Give a smaller --ctx.");
  }
  for (const PlannedRun& kv : settings_.recipes) {
    const std::string identity =
        kv.plan.needs().profile == 0 ? model_identity_ : model_identity_ + profile_identity_;
    question.configs.push_back(
        ConfigHash(identity, question.item, kv, settings_, engine_->options().chunk));
    question.wanted.push_back(!log.Has(question.configs.back()));
  }
  return question;
}

Status EvalRunner::Run(const EvalSet& set, ResultLog* log,
                       const std::function<void(size_t)>& progress,
                       const std::atomic<bool>* interrupted) {
  interrupted_ = interrupted;
  std::vector<Question> questions;  // to one context
  const auto ask = [&]() -> Status {
    PITH_TRY(RunContext(questions, log));
    if (progress) progress(questions.size() * settings_.recipes.size());
    questions.clear();
    return {};
  };
  for (const Item& item : set.items) {
    if (Interrupted()) return Failure("interrupted");
    PITH_ASSIGN(Question question, Prepare(set, item, *log));
    if (!questions.empty() && question.prompt.context != questions.front().prompt.context) {
      PITH_TRY(ask());
    }
    questions.push_back(std::move(question));
  }
  return questions.empty() ? Status() : ask();
}

Status EvalRunner::RunContext(std::vector<Question>& questions, ResultLog* log) {
  for (const std::vector<size_t>& group : groups_) {
    const bool needed = std::ranges::any_of(group, [&](size_t recipe) {
      return std::ranges::any_of(questions, [&](const Question& q) { return q.Runs(recipe); });
    });
    if (needed) PITH_TRY(RunGroup(group, questions, log));
  }
  return {};
}

Status EvalRunner::RunGroup(const std::vector<size_t>& group, std::vector<Question>& questions,
                            ResultLog* log) {
  std::vector<PlannedRun> kvs;
  for (const size_t recipe : group) kvs.push_back(settings_.recipes[recipe]);
  PITH_ASSIGN(Sequence context, engine_->NewSequence(std::span<const PlannedRun>(kvs)));
  Reading reading;
  reading.shared = group.size() > 1 || questions.size() > 1;
  const auto begin = Clock::now();
  PITH_ASSIGN(const auto logits, engine_->Feed(context, questions.front().prompt.context,
                                               [this](size_t, size_t) { return !Interrupted(); }));
  reading.prefill_ms = MsSince(begin);
  reading.logits.assign(logits.begin(), logits.end());
  for (const size_t recipe : group) {
    if (std::ranges::any_of(questions, [&](const Question& q) { return q.Runs(recipe); })) {
      PITH_TRY(RunRecipe(recipe, context, reading, questions, log));
    }
  }
  return {};
}

Status EvalRunner::RunRecipe(size_t recipe, const Sequence& context, const Reading& read,
                             std::vector<Question>& questions, ResultLog* log) {
  Reading reading = read;
  PITH_ASSIGN(Sequence kept, engine_->ForkAs(context, settings_.recipes[recipe]));
  for (const Question& question : questions) {
    kept.tokens_to_come = std::max(
        kept.tokens_to_come, question.prompt.rest.size() + uint64_t{question.item.max_new_tokens});
  }
  const auto begin = Clock::now();
  PITH_TRY(engine_->Compress(kept, nullptr, [this](size_t, size_t) { return !Interrupted(); }));
  reading.compress_ms = MsSince(begin);
  reading.cache = DescribeContext(*engine_, kept);
  reading.tokens = DescribeTokens(kept);
  for (Question& question : questions) {
    if (!question.Runs(recipe)) continue;
    PITH_ASSIGN(const ItemRecord record, Ask(question, recipe, kept.Fork(), reading));
    if (question.Wants(recipe)) PITH_TRY(log->Append(record));
  }
  return {};
}

Result<ItemRecord> EvalRunner::Ask(Question& question, size_t recipe, Sequence sequence,
                                   const Reading& reading) {
  const Item& item = question.item;
  ItemRecord record;
  record.run = settings_.run;
  record.config = question.configs[recipe];
  record.model = std::filesystem::path(engine_->options().model_path).filename().string();
  record.model_hash = fmt::format("{:016x}", engine_->model_hash());
  record.task = item.task;
  record.length = question.set->length;
  record.id = item.id;
  record.recipe = settings_.recipes[recipe].plan.canonical;
  if (const auto& budget = settings_.recipes[recipe].budget) record.budget = budget->text;
  record.query_aware = settings_.query_aware;
  record.haystack = question.set->haystack;
  record.prompts = question.set->prompts;
  record.source = question.set->source;
  record.seed = settings_.seed;
  record.answers = item.answers;
  record.meta = item.meta;
  record.prompt_tokens = question.prompt.context.size() + question.prompt.rest.size();
  record.cache = reading.cache;
  record.context_tokens = reading.tokens;
  record.prefill_ms = reading.prefill_ms;
  record.compress_ms = reading.compress_ms;
  record.shared_prefill = reading.shared;
  if (AsksLikelihood(item)) {
    PITH_ASSIGN(record.likelihood,
                ScoreText(*engine_, sequence, reading.logits, question.prompt.scored,
                          &question.reference, interrupted_));
    // The context's logits give the first token. The time per token is left out: most of it would
    // be that of the scoring.
    record.first_token_ms = reading.prefill_ms + reading.compress_ms;
    record.answers.clear();  // the text that was scored is long, and the item's hash stands for it
  } else {
    PITH_TRY(Answer(question, sequence, &record));
  }
  record.cache.peak = sequence.Usage().held_peak;
  record.reads = DescribeReads(sequence.reader);
  record.tokens = DescribeTokens(sequence);
  record.resident_bytes = ResidentBytes();
  return record;
}

Status EvalRunner::Answer(const Question& question, Sequence& sequence, ItemRecord* record) {
  const Item& item = question.item;
  const auto begin = Clock::now();
  PITH_ASSIGN(const std::span<const float> logits, engine_->Feed(sequence, question.prompt.rest));
  record->first_token_ms = record->prefill_ms + record->compress_ms + MsSince(begin);
  GenerateOptions options;
  options.max_tokens = item.max_new_tokens;
  if (!item.stop.empty()) options.stop_strings = {item.stop};
  SamplerOptions greedy;
  greedy.temperature = 0;
  PITH_ASSIGN(Sampler sampler, Sampler::Create(greedy));
  PITH_ASSIGN(const Generation generation,
              Generate(*engine_, sequence, sampler, logits, options, {}, interrupted_));
  if (generation.stop == StopReason::kInterrupt) return Failure("interrupted");
  record->generated_tokens = generation.tokens.size();
  record->stop = StopReasonName(generation.stop);
  record->decode_ms = generation.decode_ms;
  if (generation.steps > 0) {
    record->decode_tokens_per_second = generation.steps * 1000.0 / generation.decode_ms;
  }
  record->prediction = generation.text;
  record->null_prediction = IsNullPrediction(generation.text);
  for (const std::string& name : item.metrics) {
    const MetricInfo* metric = FindMetric(name);
    if (metric == nullptr) {
      return InputError("there is no metric '" + name + "'", item.task + ", item " + item.id,
                        "pith eval --list prints them.");
    }
    const double score = ScoreItem(*metric, generation.text, item);
    if (&name == &item.metrics.front()) {
      record->metric = name;
      record->score = score;
    } else {
      record->other_scores[name] = score;
    }
  }
  return {};
}

}  // namespace pith
