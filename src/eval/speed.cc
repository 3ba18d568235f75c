#include "eval/speed.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "base/check.h"
#include "base/file.h"
#include "eval/hot_keys.h"
#include "eval/llama_peer.h"
#include "eval/text_entries.h"
#include "gguf/gguf.h"
#include "kernel/ref/hot_entries.h"
#include "model/weights.h"

namespace pith {
namespace {

using Progress = std::function<void(std::string_view)>;

constexpr uint32_t kMostRepeated = 1 << 20;  // positions; as far as sequences go
constexpr uint32_t kDefaultContexts[] = {128, 1024, 4096, 16384};
// Attention is concentrated for so many of the decoded tokens at most; the others are the same
// token a little further on.
constexpr size_t kHotTokens = 16;
// A synthetic prefill is sampled about so many times.
constexpr uint32_t kDepthSamples = 8;

template <class Function>
auto Timed(double* ms, const Function& function) {
  const auto begin = std::chrono::steady_clock::now();
  auto result = function();
  *ms = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
  return result;
}

std::vector<uint32_t> DepthsFor(uint32_t length, uint32_t chunk) {
  const uint32_t chunks = (length + chunk - 1) / chunk;
  const uint32_t stride = std::max(1u, chunks / kDepthSamples);
  std::vector<uint32_t> depths;
  for (uint32_t i = 0; i < chunks; i += stride) depths.push_back(i * chunk);
  // The last chunk may be a short one, whose time says nothing about the chunks before it.
  for (uint32_t i = chunks - std::min(chunks, 2u); i < chunks; ++i) {
    if (depths.back() < i * chunk) depths.push_back(i * chunk);
  }
  return depths;
}

Comparison Compare(std::span<Contestant* const> contestants, const Samples& samples,
                   uint32_t tokens_per_sample) {
  Comparison comparison;
  for (size_t who = 0; who < contestants.size(); ++who) {
    std::vector<double> ms, cpu_ms;
    for (const Cost& cost : samples[who]) {
      ms.push_back(cost.ms);
      cpu_ms.push_back(cost.cpu_ms);
    }
    Timing timing{std::string(contestants[who]->name()), SpreadOf(std::move(ms)),
                  SpreadOf(std::move(cpu_ms))};
    timing.tokens_per_second = 1000.0 * tokens_per_sample / timing.ms.median;
    comparison.timings.push_back(std::move(timing));
  }
  return comparison;
}

// One (threads, recipe): the engines are loaded, points remain to be measured.
class Run {
 public:
  Run(const SpeedOptions& options, const LlamaModel* llama, Engine* engine, SpeedRun* run,
      const Progress& progress)
      : options_(options), llama_(llama), engine_(engine), run_(run), progress_(progress) {}

  Status Measure() {
    if (!options_.prefill && !options_.decode) return {};
    for (const uint32_t context : options_.contexts) {
      PITH_ASSIGN(SpeedPoint point, MeasurePoint(context));
      run_->points.push_back(std::move(point));
    }
    return {};
  }

 private:
  Result<SpeedPoint> MeasurePoint(uint32_t context) {
    const Plan& plan = run_->recipe.plan;
    PITH_ASSIGN(const auto ours, PithContestant::Create(engine_, run_->recipe));
    std::vector<Contestant*> contestants{ours.get()};
    std::unique_ptr<PithContestant> full;
    if (ComparesWithFull(plan)) {
      const PlannedRun everything = engine_->NewSequence().kv;
      PITH_ASSIGN(full, PithContestant::Create(engine_, everything, kPithFullName));
      contestants.push_back(full.get());
    }
    std::vector<std::unique_ptr<LlamaContestant>> peers;
    if (llama_ != nullptr) {
      for (const bool flash_attention : {true, false}) {
        LlamaSettings settings;
        settings.context = context + options_.decode_tokens;
        settings.chunk = options_.chunk;
        settings.num_threads = run_->threads;
        settings.flash_attention = flash_attention;
        // libllama reads values with fewer bits through flash attention only.
        if (!flash_attention && plan.storage.value_sealed != nullptr) continue;
        settings.key_type = LlamaCacheType(run_->recipe.plan.storage.key_form());
        settings.value_type = LlamaCacheType(run_->recipe.plan.storage.value_form());
        PITH_ASSIGN(peers.emplace_back(), LlamaContestant::Create(*llama_, settings));
        contestants.push_back(peers.back().get());
      }
    }

    SpeedPoint point;
    point.context = context;
    const uint32_t vocabulary = engine_->model().shape().vocabulary;
    if (options_.prefill) {
      Say(context, "prefill");
      const auto tokens = BenchTokens(context, vocabulary);
      PITH_ASSIGN(point.prefill, Prefill(contestants, tokens));
      if (plan.admits()) {
        point.work = PromptWork{ours->ComputedTokens(), full->Usage().held_peak,
                                uint64_t{context} * engine_->model().shape().width * sizeof(float)};
      }
    }
    if (options_.decode) {
      Say(context, "decode");
      auto tokens = BenchTokens(options_.decode_tokens, vocabulary);
      if (options_.text_path.empty()) {
        PITH_ASSIGN(point.hot, Concentrate(contestants, context, &tokens));
      } else {
        PITH_ASSIGN(point.text_tokens, RepeatText(contestants, context, &tokens));
      }
      PITH_ASSIGN(const Samples samples,
                  MeasureDecode(contestants, context, tokens, options_.repeats));
      point.decode = Compare(contestants, samples, 1);
      point.reads = ours->Reads();
    }
    full.reset();  // its pages are none of ours
    if (!plan.keeps_all()) {
      Say(context, "compression");
      PITH_ASSIGN(std::vector<double> samples,
                  MeasureCompression(*ours, context, options_.repeats));
      point.compress_ms = SpreadOf(std::move(samples));
    } else if (!point.reads && !plan.admits()) {  // what they left is wanted as it is
      PITH_TRY(ours->Fill(context));
      PITH_TRY(ours->EndPrompt());
    }
    point.cache = ours->Usage();
    point.cache_full_f16 = engine_->model().shape().CacheBytesPerTokenF16() * context;
    return point;
  }

  // Makes all contestants hold keys to which the attention of the tokens is concentrated, if that
  // is wanted. All tokens become the same then: queries of different ones have nothing in common in
  // a model of random weights.
  Result<std::optional<HotAttention>> Concentrate(std::span<Contestant* const> contestants,
                                                  uint32_t context, std::vector<int32_t>* tokens) {
    const Plan& plan = run_->recipe.plan;
    const bool chooses = plan.keeps_all() && !plan.read_rule().reads_all();
    const HotLayout layout = options_.hot.value_or(chooses ? HotLayout::kRuns : HotLayout::kNone);
    if (layout == HotLayout::kNone) return std::nullopt;
    const uint32_t run = layout == HotLayout::kRuns ? std::min(kHotRun, context) : 1;
    std::ranges::fill(*tokens, tokens->front());
    const size_t num_seen = std::min({tokens->size(), kHotTokens, size_t{options_.chunk}});
    const auto seen = std::span(*tokens).first(num_seen);
    PITH_ASSIGN(HotKeys keys, HotKeys::Make(*engine_, context, seen, run));
    const HotAttention hot{run, kHotShare, keys.mean_mass(), keys.least_mass()};
    const auto entries = std::make_shared<const HotKeys>(std::move(keys));
    for (Contestant* contestant : contestants) contestant->UseEntries(entries);
    return hot;
  }

  // Makes all contestants hold the entries of the text. Its last tokens are those that are decoded;
  // gives the number of those before them.
  Result<uint32_t> RepeatText(std::span<Contestant* const> contestants, uint32_t context,
                              std::vector<int32_t>* tokens) {
    PITH_ASSIGN(const std::string text, ReadText(options_.text_path));
    PITH_ASSIGN(const std::vector<int32_t> all, engine_->tokenizer().Tokenize(text, true, false));
    const uint32_t most = engine_->model().shape().context;
    if (all.size() <= tokens->size() || all.size() > most) {
      return InputError(
          fmt::format(
              "the text has {} tokens; more than the {} that are decoded and at most the {} "
              "of the model's context are wanted",
              all.size(), tokens->size(), most),
          options_.text_path, "Give another text, or a smaller -n.");
    }
    const auto behind = std::span(all).last(tokens->size());
    const auto read = std::span(all).first(all.size() - tokens->size());
    std::ranges::copy(behind, tokens->begin());
    PITH_ASSIGN(TextEntries made, TextEntries::Make(*engine_, read, context));
    const auto entries = std::make_shared<const TextEntries>(std::move(made));
    for (Contestant* contestant : contestants) contestant->UseEntries(entries);
    return static_cast<uint32_t>(std::min<size_t>(read.size(), context));
  }

  Result<Comparison> Prefill(std::span<Contestant* const> contestants,
                             std::span<const int32_t> tokens) {
    const auto length = static_cast<uint32_t>(tokens.size());
    std::vector<uint32_t> depths;
    const bool whole = options_.prefill_full || run_->recipe.plan.admits();
    if (length > kLongestFullPrefill && !whole) {
      depths = DepthsFor(length, options_.chunk);
    }
    PITH_ASSIGN(const Samples samples,
                depths.empty()
                    ? MeasurePrefill(contestants, tokens, options_.chunk, options_.repeats)
                    : MeasurePrefillAtDepths(contestants, tokens, options_.chunk, depths,
                                             options_.repeats));
    Comparison comparison = Compare(contestants, samples, length);
    comparison.depths = std::move(depths);
    return comparison;
  }

  void Say(uint32_t context, std::string_view what) const {
    if (!progress_) return;
    progress_(fmt::format("{} thread{}, {}, context {}: {}", run_->threads,
                          run_->threads == 1 ? "" : "s", RunText(run_->recipe), context, what));
  }

  const SpeedOptions& options_;
  const LlamaModel* llama_;
  Engine* engine_;
  SpeedRun* run_;
  const Progress& progress_;
};

Status FillDefaults(SpeedOptions* options, const ModelShape& shape) {
  if (options->contexts.empty()) {
    for (const uint32_t context : kDefaultContexts) {
      if (context + options->decode_tokens <= shape.context) options->contexts.push_back(context);
    }
  }
  if (options->contexts.empty()) {
    return InputError("the model's context is too short for the default measurements",
                      options->model_path, "Give shorter ones with --ctx and -n.");
  }
  std::sort(options->contexts.begin(), options->contexts.end());
  // Also keeps libllama from setting aside a cache of any size that somebody types. A repeated text
  // is never further away than it is long, so that the model's own limit does not matter to it.
  const bool repeated = !options->text_path.empty();
  const uint32_t most = repeated ? kMostRepeated : shape.context;
  if (uint64_t{options->contexts.back()} + options->decode_tokens > most) {
    return InputError(
        fmt::format("a context of {} and {} decoded tokens is beyond {} {}",
                    options->contexts.back(), options->decode_tokens,
                    repeated ? "the most that a text is repeated to," : "the model's", most),
        options->model_path, "Give shorter ones with --ctx and -n.");
  }
  if (options->threads.empty()) {
    options->threads = {static_cast<int>(std::max(1u, std::thread::hardware_concurrency()))};
  }
  if (options->recipes.empty()) {
    PITH_ASSIGN(Plan full, ParseRecipe("full"));
    options->recipes.push_back({std::move(full), std::nullopt});
  }
  PITH_CHECK(options->repeats > 0 && options->decode_tokens > 0 && options->chunk > 0);
  return {};
}

EngineOptions EngineOptionsFor(const SpeedOptions& options, int threads, const Plan& plan) {
  EngineOptions engine;
  engine.model_path = options.model_path;
  engine.profile_path = options.profile_path;
  engine.context = options.contexts.back() + options.decode_tokens;
  engine.num_threads = threads;
  engine.chunk = options.chunk;
  engine.key_form = plan.storage.key_tail;
  engine.value_form = plan.storage.value_tail;
  return engine;
}

}  // namespace

std::string RunText(const PlannedRun& kv) {
  return kv.plan.canonical + (kv.budget ? ", budget " + kv.budget->text : "");
}

Status CheckCanMeasure(const PlannedRun& kv, bool prompts_alone) {
  if (kv.plan.between_chunks()) {
    return InputError("\"" + kv.plan.canonical +
                          "\" compresses between chunks, and prompts are measured chunk by chunk",
                      "--kv", "Name a recipe that compresses at the end of the prompt.");
  }
  if (kv.plan.admits() && !prompts_alone) {
    return InputError("\"" + kv.plan.canonical +
                          "\" reads a prompt layer by layer, and no synthetic cache takes the "
                          "place of that: only the reading of prompts is measured",
                      "--kv", "Give --prefill alone, and not --vs llama.");
  }
  if (InBytes(kv)) {
    return InputError("budgets in bytes are not measured yet", "budget \"" + kv.budget->text + "\"",
                      "Give entries per head (512) or a share of the prompt (10%).");
  }
  return {};
}

bool ComparesWithFull(const Plan& plan) {
  return !plan.keeps_all() || plan.admits() || plan.storage.seals() ||
         !plan.read_rule().reads_all();
}

const Timing* Comparison::Full() const {
  return timings.size() > 1 && timings[1].contestant == kPithFullName ? &timings[1] : nullptr;
}

const Timing* Comparison::BestPeer() const {
  const Timing* best = nullptr;
  for (size_t i = Full() != nullptr ? 2 : 1; i < timings.size(); ++i) {
    if (best == nullptr || timings[i].tokens_per_second > best->tokens_per_second) {
      best = &timings[i];
    }
  }
  return best;
}

std::optional<double> Comparison::Ratio() const {
  const Timing* peer = BestPeer();
  if (peer == nullptr) return std::nullopt;
  return timings.front().tokens_per_second / peer->tokens_per_second;
}

std::optional<double> Comparison::RatioToFull() const {
  const Timing* full = Full();
  if (full == nullptr) return std::nullopt;
  return timings.front().tokens_per_second / full->tokens_per_second;
}

std::optional<double> Comparison::CpuRatioToFull() const {
  const Timing* full = Full();
  if (full == nullptr) return std::nullopt;
  return full->cpu_ms.median / timings.front().cpu_ms.median;
}

std::optional<double> SpeedPoint::CompressShare() const {
  if (!compress_ms || !prefill) return std::nullopt;
  return compress_ms->median / prefill->timings.front().ms.median;
}

Result<SpeedReport> MeasureSpeed(SpeedOptions options, const Progress& progress) {
  PITH_ASSIGN(const GgufFile file, GgufFile::Open(options.model_path));
  PITH_ASSIGN(const ModelShape shape, ReadModelShape(file));
  PITH_TRY(FillDefaults(&options, shape));
  SpeedReport report;
  report.architecture = shape.architecture;
  report.model_name = shape.name;
  report.model_parameters = shape.num_parameters;
  report.model_bytes = file.total_bytes();

  std::unique_ptr<LlamaModel> llama;
  double llama_load_ms = 0;
  for (const int threads : options.threads) {
    for (const PlannedRun& recipe : options.recipes) {
      SpeedRun run;
      run.threads = threads;
      run.recipe = recipe;
      PITH_ASSIGN(const std::unique_ptr<Engine> engine, Timed(&run.load_ms, [&] {
                    return Engine::Create(EngineOptionsFor(options, threads, recipe.plan));
                  }));
      report.model_hash = engine->model_hash();
      // Ours goes first: what its reader refuses must not reach libllama.
      const bool wanted = options.versus_llama && (options.prefill || options.decode);
      if (wanted && llama == nullptr) {
        PITH_ASSIGN(llama, Timed(&llama_load_ms,
                                 [&] { return LlamaModel::Load(options.model_path, shape); }));
      }
      if (llama != nullptr) {
        run.llama_load_ms = llama_load_ms;
        run.llama_key_type = ggml_type_name(LlamaCacheType(recipe.plan.storage.key_form()));
        run.llama_value_type = ggml_type_name(LlamaCacheType(recipe.plan.storage.value_form()));
      }
      PITH_TRY(Run(options, llama.get(), engine.get(), &run, progress).Measure());
      report.runs.push_back(std::move(run));
    }
  }
  report.options = std::move(options);
  return report;
}

}  // namespace pith
