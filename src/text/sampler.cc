#include "text/sampler.h"

#include <fmt/format.h>
#include <llama.h>

#include <algorithm>
#include <cmath>
#include <deque>
#include <limits>
#include <string>
#include <string_view>

#include "base/check.h"
#include "base/rng.h"

namespace pith {
namespace {

struct SamplerDeleter {
  void operator()(llama_sampler* sampler) const { llama_sampler_free(sampler); }
};
using SamplerPtr = std::unique_ptr<llama_sampler, SamplerDeleter>;

constexpr float kMaxTemperature = 100.0f;
constexpr float kMinRepeatPenalty = 0.01f;  // below, penalised logits could overflow
constexpr float kMaxRepeatPenalty = 10.0f;
constexpr int32_t kMaxRepeatLastN = 1 << 20;

Status CheckOption(bool valid, std::string_view name, double value, std::string_view range) {
  if (valid) return {};
  return InputError(fmt::format("{} is {}, which is out of range", name, value), "sampler options",
                    fmt::format("It must be {}.", range));
}

// Written so that NaN fails every comparison.
Status CheckOptions(const SamplerOptions& o) {
  PITH_TRY(CheckOption(o.temperature >= 0 && o.temperature <= kMaxTemperature, "temperature",
                       o.temperature, "from 0 (greedy) to 100"));
  PITH_TRY(CheckOption(o.top_k >= 0, "top_k", o.top_k, "0 (off) or more"));
  PITH_TRY(
      CheckOption(o.top_p > 0 && o.top_p <= 1, "top_p", o.top_p, "above 0 and at most 1 (off)"));
  PITH_TRY(CheckOption(o.min_p >= 0 && o.min_p <= 1, "min_p", o.min_p, "from 0 (off) to 1"));
  PITH_TRY(
      CheckOption(o.repeat_penalty >= kMinRepeatPenalty && o.repeat_penalty <= kMaxRepeatPenalty,
                  "repeat_penalty", o.repeat_penalty, "from 0.01 to 10 (1 is off)"));
  PITH_TRY(CheckOption(o.repeat_last_n >= 0 && o.repeat_last_n <= kMaxRepeatLastN, "repeat_last_n",
                       o.repeat_last_n, "from 0 to 1048576"));
  return {};
}

// Higher logit first, then the lower token: a total order, so that equal logits never depend on the
// sort.
bool Before(const llama_token_data& a, const llama_token_data& b) {
  return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
}

void CheckLogits(std::span<const float> logits) {
  bool any = false;
  for (const float logit : logits) {
    PITH_CHECK(logit < std::numeric_limits<float>::infinity());  // not NaN either
    any = any || logit > -std::numeric_limits<float>::infinity();
  }
  PITH_CHECK(any);
}

}  // namespace

struct Sampler::Impl {
  explicit Impl(const SamplerOptions& o)
      : options(o),
        rng(o.seed),
        penalties(llama_sampler_init_penalties(0, o.repeat_last_n, o.repeat_penalty, 0.0f, 0.0f)),
        top_k(llama_sampler_init_top_k(o.top_k)),
        top_p(llama_sampler_init_top_p(o.top_p, 1)),
        min_p(llama_sampler_init_min_p(o.min_p, 1)) {}

  void Accept(int32_t token) {
    llama_sampler_accept(penalties.get(), token);
    recent.push_back(token);
    if (recent.size() > static_cast<size_t>(options.repeat_last_n)) recent.pop_front();
  }

  // The filters' survivors in `candidates`.
  llama_token_data_array Filter(std::span<const float> logits);
  int32_t Draw(const llama_token_data_array& kept);

  SamplerOptions options;
  Rng rng;
  SamplerPtr penalties, top_k, top_p, min_p;
  std::deque<int32_t> recent;
  std::vector<llama_token_data> candidates;
  std::vector<double> weights;
};

llama_token_data_array Sampler::Impl::Filter(std::span<const float> logits) {
  candidates.resize(logits.size());
  for (size_t i = 0; i < logits.size(); ++i) {
    candidates[i] = {static_cast<llama_token>(i), logits[i], 0.0f};
  }
  llama_token_data_array array{candidates.data(), candidates.size(), -1, false};
  llama_sampler_apply(penalties.get(), &array);
  if (options.temperature == 0.0f) return array;

  // Our own sort, as far as the filters need one, so that the order of equal logits is defined.
  if (options.top_k > 0 || options.top_p < 1.0f) {
    size_t needed = array.size;
    if (options.top_k > 0) needed = std::min(needed, static_cast<size_t>(options.top_k));
    std::nth_element(array.data, array.data + needed, array.data + array.size, Before);
    std::sort(array.data, array.data + needed, Before);
    array.sorted = true;  // as far as top_k lets anything through
  }
  for (llama_sampler* filter : {top_k.get(), top_p.get(), min_p.get()}) {
    llama_sampler_apply(filter, &array);
  }
  return array;
}

// The temperature is applied in the exponent, in double precision, where no temperature can
// overflow.
int32_t Sampler::Impl::Draw(const llama_token_data_array& kept) {
  const auto less = [](const auto& a, const auto& b) { return a.logit < b.logit; };
  const double highest = std::max_element(kept.data, kept.data + kept.size, less)->logit;
  weights.resize(kept.size);
  double total = 0.0;
  for (size_t i = 0; i < kept.size; ++i) {
    weights[i] = std::exp((kept.data[i].logit - highest) / options.temperature);
    total += weights[i];
  }
  double rest = rng.Double() * total;
  size_t last = 0;
  for (size_t i = 0; i < kept.size; ++i) {
    if (weights[i] == 0.0) continue;
    last = i;
    rest -= weights[i];
    if (rest < 0.0) break;
  }
  return kept.data[last].id;
}

Sampler::Sampler() = default;
Sampler::~Sampler() = default;
Sampler::Sampler(Sampler&&) noexcept = default;
Sampler& Sampler::operator=(Sampler&&) noexcept = default;

Result<Sampler> Sampler::Create(const SamplerOptions& options) {
  PITH_TRY(CheckOptions(options));
  Sampler sampler;
  sampler.impl_ = std::make_unique<Impl>(options);
  return sampler;
}

int32_t Sampler::Sample(std::span<const float> logits) {
  CheckLogits(logits);
  const llama_token_data_array kept = impl_->Filter(logits);
  if (impl_->options.temperature > 0.0f) return impl_->Draw(kept);
  return std::min_element(kept.data, kept.data + kept.size, Before)->id;
}

void Sampler::Accept(int32_t token) { impl_->Accept(token); }

SamplerState Sampler::State() const {
  return {impl_->rng.State(), {impl_->recent.begin(), impl_->recent.end()}};
}

void Sampler::Restore(const SamplerState& state) {
  impl_->rng.SetState(state.rng);
  impl_->recent.clear();
  llama_sampler_reset(impl_->penalties.get());
  for (const int32_t token : state.recent) impl_->Accept(token);
}

}  // namespace pith
