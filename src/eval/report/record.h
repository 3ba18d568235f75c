// What the runner writes: one line of JSON per measured item, and one per run that says how
// (docs/evaluation.md, "Result files").
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"

namespace pith {

// Bytes of one sequence's cache, as docs/cache.md counts them.
struct RecordedCache {
  uint64_t entries = 0, entries_full = 0;  // key/value pairs over all layers and KV heads
  // Those of `entries` whose key, or whose value, is in its sealed form.
  uint64_t sealed_keys = 0, sealed_values = 0;
  uint64_t logical = 0, metadata = 0;
  uint64_t allocated = 0;      // pages of this sequence, metadata included
  uint64_t peak = 0;           // the highest `allocated` while the item ran
  uint64_t full_f16 = 0;       // what the same tokens take as full f16
  double Saving() const;       // 1 - allocated / full_f16; 0 if full_f16 is 0
  double SealedShare() const;  // of keys and values together; 0 without entries
};

// Against the full cache, over scored tokens. Natural logarithms.
struct RecordedDivergence {
  double mean = 0, median = 0, p90 = 0, p99 = 0, p999 = 0, max = 0;
  double same_top = 0;              // share of tokens with the same most likely next token
  double p_true_change = 0;         // mean change of the true token's probability
  double p_true_rms = 0;            // root of its mean square
  std::vector<double> by_position;  // means over equal parts of the scored stretch, at most 32
};

// Divergence of the next-token distributions from those of the full cache, over scored tokens, and
// the text's likelihood. Natural logarithms.
struct RecordedLikelihood {
  uint64_t tokens = 0;
  double nll_sum = 0, nll_sum_squares = 0;
  // Against the full cache on the same tokens; only for recipes other than full.
  using Divergence = RecordedDivergence;
  std::optional<Divergence> divergence;
};

// What was read of the cache by a recipe that reads a part of it: means over the tokens that were
// fed one by one and those heads that choose (layers that read everything are left out).
struct RecordedReads {
  double entries_held = 0, entries_read = 0;  // of a KV head
  uint64_t index_bytes = 0;
  // Of the attention among the candidates, by the recipe's guess; none if it makes none.
  std::optional<double> attention_kept;
  double Share() const;  // of the entries held; 0 without any
};

// What was computed by a recipe that sends a part of the tokens on to the next layer.
struct RecordedTokens {
  uint64_t fed = 0;
  std::vector<uint64_t> computed;  // [layer]
  double Share() const;            // of pairs of token and layer; 0 without any
};

struct ItemRecord {
  std::string run;     // of which run
  std::string config;  // hash of everything that decides the result; the key for resuming
  std::string model, model_hash;  // file name; hex
  std::string task;               // "ruler/niah_single_2"
  uint32_t length = 0;            // wanted tokens; 0: as the data set has it
  std::string id;
  std::string recipe;                 // canonical
  std::optional<std::string> budget;  // as given
  bool query_aware = false;
  std::string haystack, prompts, source;  // where the item comes from; empty: does not apply
  uint64_t seed = 0;
  std::string prediction;
  std::vector<std::string> answers;
  std::string stop;    // "eos", "length", "string"
  std::string metric;  // of `score`; empty if only likelihood was measured
  double score = 0;    // 0 to 1
  bool null_prediction = false;
  std::map<std::string, double> other_scores;  // further metrics by name
  std::optional<RecordedLikelihood> likelihood;
  uint64_t prompt_tokens = 0, generated_tokens = 0;
  RecordedCache cache;
  std::optional<RecordedReads> reads;  // none: everything was read, or no token was fed alone
  // Of the context alone, and with the question and the answer, for which tokens may come back;
  // none: each token goes through all layers.
  std::optional<RecordedTokens> context_tokens, tokens;
  uint64_t resident_bytes = 0;  // of the process, after the item
  double prefill_ms = 0, compress_ms = 0, first_token_ms = 0, decode_ms = 0;
  double decode_tokens_per_second = 0;  // 0 if nothing was decoded after the first token
  bool shared_prefill = false;          // the prompt was read once for several recipes
  nlohmann::ordered_json meta = nlohmann::ordered_json::object();  // the item's: depth ...
};

struct RunRecord {
  std::string run;  // unique in the file: UTC time and a counter
  std::string command, version, utc;
  std::string cpu;
  uint32_t cores = 0, threads = 0;
  double load_average = 0;
  nlohmann::ordered_json settings;  // everything else of the configuration
};

nlohmann::ordered_json ToJson(const ItemRecord& record);
nlohmann::ordered_json ToJson(const RunRecord& record);
// The record as its line of the file, with line end. Bytes that are no UTF-8 (a prediction may end
// inside a character) become U+FFFD.
std::string ToLine(const nlohmann::ordered_json& record);

struct ResultFile {
  std::vector<RunRecord> runs;
  std::vector<ItemRecord> items;
};
// Reads a results file. Input error with the line number for a line that is no record, lacks a
// field or has one that is not known here; a last line without line end (an interrupted write) is
// left out, and `torn` says so.
Result<ResultFile> ReadResults(const std::string& path, bool* torn = nullptr);

}  // namespace pith
