// What looking at attention costs beside plain forward passes over the same tokens, in turns: the
// counter `ratio` is the time with it over the time without. The bundled model is a hard case,
// because attention is most of its work.
#include <benchmark/benchmark.h>

#include <chrono>
#include <stdexcept>

#include "calibrate/needle.h"
#include "calibrate/repetition.h"
#include "calibrate/retrieval.h"

namespace pith {
namespace {

constexpr uint32_t kContext = 2048;

std::unique_ptr<Engine> NanoEngine() {
  auto engine =
      Engine::Create({.model_path = PITH_SOURCE_DIR "/models/nano/nano.gguf", .num_threads = 1});
  if (!engine) throw std::runtime_error(engine.error().Message());
  return std::move(*engine);
}

template <class Work>
double Seconds(const Work& work) {
  const auto begin = std::chrono::steady_clock::now();
  if (!work()) throw std::runtime_error("the model could not be run");
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

template <class Plain, class Watched>
void CompareInTurns(benchmark::State& state, const Plain& plain, const Watched& watched) {
  double without = 0, with = 0;
  for (auto _ : state) {
    without += Seconds(plain);
    with += Seconds(watched);
  }
  state.counters["ratio"] = with / without;
}

void BM_Echo(benchmark::State& state) {
  const auto engine = NanoEngine();
  const auto repeated = MakeRepeatedTokens(engine->tokenizer(), 42, kContext).value();
  CompareInTurns(
      state,
      [&] {
        Sequence sequence = engine->NewSequence();
        return engine->Feed(sequence, repeated.tokens).has_value();
      },
      [&] { return CalibrateEcho(*engine, 42, kContext).has_value(); });
}
BENCHMARK(BM_Echo)->Unit(benchmark::kMillisecond);

// The longest texts.
void BM_Retrieval(benchmark::State& state) {
  const auto engine = NanoEngine();
  const Haystack haystack = Haystack::Builtin();
  const auto samples =
      MakeNeedleSamples({engine->tokenizer(), *FindNeedleKind("magic"), haystack, 42, kContext})
          .value();
  const NeedleSample& sample = samples.back();
  CompareInTurns(
      state,
      [&] {
        Sequence sequence = engine->NewSequence();
        Sequence* const one[] = {&sequence};
        bool done = engine->Feed(sequence, std::span(sample.prompt).first(sample.prompt.size() - 1))
                        .has_value();
        for (uint32_t step = 0; step < sample.max_steps; ++step) {
          done = done && engine->Step(one, {&sample.prompt.back(), 1});
        }
        return done;
      },
      [&] { return ScoreSample(*engine, sample, RetrievalRule::kMass).has_value(); });
}
BENCHMARK(BM_Retrieval)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace pith

BENCHMARK_MAIN();
