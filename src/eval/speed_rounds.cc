// The measured loops: contestants take turns, and no one runs while another is timed.
#include <algorithm>
#include <chrono>
#include <ctime>
#include <thread>

#include "base/check.h"
#include "base/rng.h"
#include "eval/speed.h"

namespace pith {
namespace {

using Clock = std::chrono::steady_clock;

double MsSince(Clock::time_point begin) {
  return std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
}

double ProcessCpuMs() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e3 + static_cast<double>(now.tv_nsec) * 1e-6;
}

// Worker threads of ggml's pools spin for a while after a graph in the hope of more work, unless
// they are told to rest. Waits until no thread of this process runs, so that the spinning of one
// engine never costs another one time.
Status WaitUntilIdle() {
  constexpr auto kWindow = std::chrono::milliseconds(5);
  constexpr auto kPatience = std::chrono::seconds(10);
  const auto begin = Clock::now();
  for (;;) {
    const auto window_begin = Clock::now();
    const double cpu_begin = ProcessCpuMs();
    std::this_thread::sleep_for(kWindow);
    if (ProcessCpuMs() - cpu_begin < 0.1 * MsSince(window_begin)) return {};
    if (Clock::now() - begin > kPatience) {
      return Failure("threads of this process keep running between measurements");
    }
  }
}

// Feeding `tokens`, `step` at a time.
Result<Cost> Time(Contestant& contestant, std::span<const int32_t> tokens, size_t step) {
  PITH_TRY(WaitUntilIdle());
  const auto begin = Clock::now();
  const double cpu_begin = ProcessCpuMs();
  for (size_t i = 0; i < tokens.size(); i += step) {
    PITH_TRY(contestant.Feed(tokens.subspan(i, std::min(step, tokens.size() - i))));
  }
  const Cost cost{MsSince(begin), ProcessCpuMs() - cpu_begin};
  contestant.Rest();
  return cost;
}

// Calls measure(contestant index) for every contestant; each round begins with another one.
template <class Measure>
Status TakeTurns(size_t num_contestants, uint32_t round, const Measure& measure) {
  for (size_t i = 0; i < num_contestants; ++i) PITH_TRY(measure((i + round) % num_contestants));
  return {};
}

}  // namespace

std::vector<int32_t> BenchTokens(uint32_t count, uint32_t vocabulary) {
  Rng rng(count, vocabulary);
  std::vector<int32_t> tokens(count);
  for (int32_t& token : tokens) token = static_cast<int32_t>(rng.Below(vocabulary));
  return tokens;
}

Result<Samples> MeasureDecode(std::span<Contestant* const> contestants, uint32_t context,
                              std::span<const int32_t> tokens, uint32_t repeats) {
  for (Contestant* contestant : contestants) {
    PITH_TRY(contestant->Fill(context));
    PITH_TRY(contestant->EndPrompt());
  }
  Samples samples(contestants.size());
  for (uint32_t round = 0; round <= repeats; ++round) {
    PITH_TRY(TakeTurns(contestants.size(), round, [&](size_t who) -> Status {
      PITH_ASSIGN(const Cost cost, Time(*contestants[who], tokens, 1));
      const auto n = static_cast<double>(tokens.size());
      if (round > 0) samples[who].push_back({cost.ms / n, cost.cpu_ms / n});
      return contestants[who]->Rewind(context);
    }));
  }
  return samples;
}

Result<std::vector<double>> MeasureCompression(Contestant& contestant, uint32_t context,
                                               uint32_t repeats) {
  std::vector<double> samples;
  for (uint32_t round = 0; round <= repeats; ++round) {
    PITH_TRY(contestant.Fill(context));
    PITH_TRY(WaitUntilIdle());
    const auto begin = Clock::now();
    PITH_TRY(contestant.EndPrompt());
    if (round > 0) samples.push_back(MsSince(begin));
  }
  return samples;
}

Result<Samples> MeasurePrefill(std::span<Contestant* const> contestants,
                               std::span<const int32_t> tokens, uint32_t chunk, uint32_t repeats) {
  Samples samples(contestants.size());
  const bool whole = std::ranges::any_of(contestants, &Contestant::reads_whole_prompts);
  for (uint32_t round = 0; round <= repeats; ++round) {
    for (Contestant* contestant : contestants) PITH_TRY(contestant->Rewind(0));
    // The warm-up takes one chunk only. Turns change after every chunk, so that a slow moment hits
    // everyone.
    const size_t length = round == 0 ? std::min<size_t>(chunk, tokens.size()) : tokens.size();
    const size_t turn = whole ? length : chunk;
    std::vector<Cost> total(contestants.size());
    for (size_t i = 0; i < length; i += turn) {
      const auto part = tokens.subspan(i, std::min(turn, length - i));
      PITH_TRY(TakeTurns(contestants.size(), round, [&](size_t who) -> Status {
        const size_t step = contestants[who]->reads_whole_prompts() ? turn : chunk;
        PITH_ASSIGN(const Cost cost, Time(*contestants[who], part, step));
        total[who].ms += cost.ms;
        total[who].cpu_ms += cost.cpu_ms;
        return {};
      }));
    }
    if (round == 0) continue;
    for (size_t who = 0; who < contestants.size(); ++who) samples[who].push_back(total[who]);
  }
  return samples;
}

Result<Samples> MeasurePrefillAtDepths(std::span<Contestant* const> contestants,
                                       std::span<const int32_t> tokens, uint32_t chunk,
                                       std::span<const uint32_t> depths, uint32_t repeats) {
  const auto length = static_cast<uint32_t>(tokens.size());
  // Of chunks, [contestant][repeat][depth].
  struct Chunks {
    std::vector<double> ms, cpu_ms;
  };
  std::vector<std::vector<Chunks>> times(contestants.size(), std::vector<Chunks>(repeats));
  for (const uint32_t depth : depths) {
    for (Contestant* contestant : contestants) PITH_TRY(contestant->Fill(depth));
    const auto part = tokens.subspan(depth, std::min(chunk, length - depth));
    for (uint32_t round = 0; round <= repeats; ++round) {
      PITH_TRY(TakeTurns(contestants.size(), round, [&](size_t who) -> Status {
        PITH_ASSIGN(const Cost cost, Time(*contestants[who], part, chunk));
        if (round > 0) {
          times[who][round - 1].ms.push_back(cost.ms);
          times[who][round - 1].cpu_ms.push_back(cost.cpu_ms);
        }
        return contestants[who]->Rewind(depth);
      }));
    }
  }
  Samples samples(contestants.size());
  for (size_t who = 0; who < contestants.size(); ++who) {
    for (const Chunks& chunks : times[who]) {
      samples[who].push_back({SumOfChunks(depths, chunks.ms, length, chunk),
                              SumOfChunks(depths, chunks.cpu_ms, length, chunk)});
    }
  }
  return samples;
}

double SumOfChunks(std::span<const uint32_t> depths, std::span<const double> ms, uint32_t length,
                   uint32_t chunk) {
  PITH_CHECK(!depths.empty() && depths.size() == ms.size() && depths.front() == 0);
  double sum = 0;
  size_t right = 0;
  for (uint32_t depth = 0; depth < length; depth += chunk) {
    while (depths[right] < depth) PITH_CHECK(++right < depths.size());
    if (depths[right] == depth) {
      sum += ms[right];
      continue;
    }
    const double share =
        double(depth - depths[right - 1]) / double(depths[right] - depths[right - 1]);
    sum += ms[right - 1] + share * (ms[right] - ms[right - 1]);
  }
  return sum;
}

Spread SpreadOf(std::vector<double> samples) {
  PITH_CHECK(!samples.empty());
  std::sort(samples.begin(), samples.end());
  const size_t half = samples.size() / 2;
  const double median =
      samples.size() % 2 == 1 ? samples[half] : (samples[half - 1] + samples[half]) / 2;
  return {samples.front(), median, samples.back()};
}

}  // namespace pith
