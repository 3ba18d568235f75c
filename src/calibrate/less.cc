#include "calibrate/less.h"

#include <fmt/format.h>
#include <ggml.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <future>
#include <memory>
#include <numeric>
#include <optional>
#include <thread>

#include "base/check.h"
#include "base/hash.h"
#include "calibrate/origin.h"
#include "engine/observer.h"
#include "model/weights.h"

namespace pith {
namespace {

constexpr double kPeakRate = 1e-3;
constexpr double kMeanDecay = 0.9, kSquareDecay = 0.999;
constexpr double kEpsilon = 1e-12;  // gradients are tiny as long as the sigmas are
constexpr uint64_t kSampleBytes = uint64_t{1} << 30;  // of the layers that are taught together
constexpr std::chrono::seconds kBetweenSaves{30};
constexpr std::chrono::milliseconds kBetweenReports{100};

using Samples = std::vector<FoldSample<float>>;  // of one layer, for each text

// W W^T of a layer's output matrix, as the model file stores it.
std::vector<float> OutputGram(const Model& model, uint32_t layer) {
  const ggml_tensor* matrix = model.layer(layer).wo;
  const GgufTensor* source = model.file().FindTensor(ggml_get_name(matrix));
  PITH_CHECK(source != nullptr);
  const std::byte* bytes = model.file().TensorBytes(*source).data();
  const auto width = static_cast<size_t>(matrix->ne[0]), rows = static_cast<size_t>(matrix->ne[1]);
  const size_t row_bytes = ggml_row_size(matrix->type, matrix->ne[0]);
  std::vector<float> row(width);
  std::vector<double> gram(width * width);
  for (size_t i = 0; i < rows; ++i) {
    if (matrix->type == GGML_TYPE_F32) {
      std::memcpy(row.data(), bytes + i * row_bytes, row_bytes);
    } else {
      ggml_get_type_traits(matrix->type)
          ->to_float(bytes + i * row_bytes, row.data(), matrix->ne[0]);
    }
    for (size_t a = 0; a < width; ++a) {
      for (size_t b = 0; b < width; ++b) gram[a * width + b] += double{row[a]} * double{row[b]};
    }
  }
  return {gram.begin(), gram.end()};
}

// The layers [first, first + samples.size()) of the texts as they are read.
class Collector : public StepObserver {
 public:
  Collector(const FoldLayer& shape, uint32_t first_layer, std::vector<Samples>* samples)
      : shape_(shape), first_layer_(first_layer), samples_(samples) {}

  // Another text.
  void Begin(size_t num_rows) {
    for (Samples& layer : *samples_) {
      layer.push_back({.num_rows = num_rows});
      layer.back().queries.resize(shape_.num_query_heads * num_rows * shape_.key_dim);
    }
  }

  void Observe(uint32_t layer, const SequenceCache& cache, const QueryRows& queries,
               const QueryRows&, int thread, int num_threads) override {
    if (layer < first_layer_ || layer >= first_layer_ + samples_->size()) return;
    FoldSample<float>& sample = (*samples_)[layer - first_layer_].back();
    const size_t first_row = cache.num_entries(layer, 0) - queries.count;
    for (auto head = static_cast<uint32_t>(thread); head < shape_.num_query_heads;
         head += static_cast<uint32_t>(num_threads)) {
      for (size_t row = 0; row < queries.count; ++row) {
        std::copy_n(queries.Row(head, row), shape_.key_dim,
                    &sample.queries[(head * sample.num_rows + first_row + row) * shape_.key_dim]);
      }
    }
  }

  // The text is read.
  void TakeEntries(const SequenceCache& cache) {
    for (uint32_t i = 0; i < samples_->size(); ++i) {
      FoldSample<float>& sample = (*samples_)[i].back();
      const size_t n = sample.num_rows;
      sample.keys.resize(shape_.num_kv_heads * n * shape_.key_dim);
      sample.values.resize(shape_.num_kv_heads * n * shape_.value_dim);
      for (uint32_t head = 0; head < shape_.num_kv_heads; ++head) {
        cache.ReadKeys(first_layer_ + i, head, 0, static_cast<uint32_t>(n),
                       &sample.keys[head * n * shape_.key_dim]);
        cache.ReadValues(first_layer_ + i, head, 0, static_cast<uint32_t>(n),
                         &sample.values[head * n * shape_.value_dim]);
      }
    }
  }

 private:
  const FoldLayer& shape_;
  uint32_t first_layer_;
  std::vector<Samples>* samples_;
};

class Training {
 public:
  Training(Engine& engine, const TextRequest& request, const LessSettings& settings,
           std::string checkpoint, const FeedProgress& progress);

  Result<Profile> Run();

 private:
  Status MakeTexts();
  Status TeachGroup(uint32_t count);
  Result<std::vector<Samples>> ReadTexts(uint32_t count);
  Status Epoch(const std::vector<Samples>& samples);
  void TeachLayer(uint32_t layer, const Samples& samples, FoldLoss<float>& loss);
  bool DoTogether(size_t count, const std::function<void(size_t)>& work);
  Status Save() { return SaveLessState(checkpoint_, terms_, state_); }
  Status Interrupted();
  Profile ToProfile() const;

  uint32_t LayersAtOnce() const;
  std::span<float> Of(std::vector<float>& all, uint32_t layer) const {
    return std::span(all).subspan(layer * terms_.layer_size, terms_.layer_size);
  }

  Engine& engine_;
  const TextRequest& request_;
  const LessSettings& settings_;
  const std::string checkpoint_;
  const FeedProgress& progress_;
  FoldLayer shape_;
  LessTerms terms_;
  LessState state_;
  std::vector<std::vector<int32_t>> texts_;
  std::vector<std::unique_ptr<FoldLoss<float>>> losses_;  // of the layers that are taught together
  // In units of a text in a layer: done before what runs now, done by it, and in all.
  size_t before_ = 0, total_ = 0;
  std::atomic<size_t> done_{0};
  std::atomic<bool> stop_{false};
  std::chrono::steady_clock::time_point saved_ = std::chrono::steady_clock::now();
};

Training::Training(Engine& engine, const TextRequest& request, const LessSettings& settings,
                   std::string checkpoint, const FeedProgress& progress)
    : engine_(engine),
      request_(request),
      settings_(settings),
      checkpoint_(std::move(checkpoint)),
      progress_(progress) {
  const ModelShape& s = engine.model().shape();
  shape_ = {.num_query_heads = s.num_query_heads,
            .num_kv_heads = s.num_kv_heads,
            .key_dim = s.key_dim,
            .value_dim = s.value_dim,
            .hidden = settings.hidden,
            .rank = settings.rank,
            .sinks = kLessSinks,
            .recent = LessRecent(request.length),
            .scale = 1.0f / std::sqrt(static_cast<float>(s.key_dim))};
  terms_ = {.model_hash = engine.model_hash(),
            .settings = settings,
            .num_layers = s.num_layers,
            .layer_size = shape_.num_parameters()};
}

Status Training::MakeTexts() {
  if (request_.length < kLeastLessLength) {
    return InputError(fmt::format("texts of {} tokens have nothing to fold", request_.length),
                      "--length", fmt::format("Take {} or more.", kLeastLessLength));
  }
  PITH_ASSIGN(texts_, TextPieces(engine_, request_));
  Hasher hasher;
  for (const auto& text : texts_) {
    const auto length = static_cast<uint32_t>(text.size());
    hasher.Add(&length, sizeof(length));
    hasher.Add(text.data(), text.size() * sizeof(int32_t));
  }
  terms_.texts_hash = hasher.Finish();
  return {};
}

uint32_t Training::LayersAtOnce() const {
  const FoldLayer& s = shape_;
  const uint64_t floats = (uint64_t{s.num_query_heads} + s.num_kv_heads) * s.key_dim +
                          uint64_t{s.num_kv_heads} * s.value_dim + 2 * s.width() +
                          s.num_query_heads;
  // And for each layer the products of its output weights.
  const uint64_t bytes =
      sizeof(float) * (floats * request_.count * request_.length + uint64_t{s.width()} * s.width());
  return static_cast<uint32_t>(std::clamp<uint64_t>(kSampleBytes / bytes, 1, terms_.num_layers));
}

// Calls work(i) for i < count on the engine's number of threads, and reports what they count in
// done_. False if it was told to stop.
bool Training::DoTogether(size_t count, const std::function<void(size_t)>& work) {
  std::atomic<size_t> next{0};
  const auto run = [&] {
    for (size_t i = next++; i < count && !stop_; i = next++) work(i);
  };
  std::vector<std::future<void>> threads;
  for (int t = 0; t < engine_.options().num_threads; ++t) {
    threads.push_back(std::async(std::launch::async, run));
  }
  for (const std::future<void>& thread : threads) {
    while (thread.wait_for(kBetweenReports) != std::future_status::ready) {
      if (progress_ && !progress_(before_ + done_, total_)) stop_ = true;
    }
  }
  before_ += done_.exchange(0);
  if (progress_ && !progress_(before_, total_)) stop_ = true;
  return !stop_;
}

Status Training::Interrupted() {
  PITH_TRY(Save());
  return Failure("interrupted", checkpoint_, "The same command goes on from there.");
}

Result<std::vector<Samples>> Training::ReadTexts(uint32_t count) {
  std::vector<Samples> samples(count);
  Collector collector(shape_, state_.layer, &samples);
  for (const auto& text : texts_) {
    collector.Begin(text.size());
    const auto take = [&](const Sequence& sequence) { collector.TakeEntries(sequence.cache); };
    const auto go_on = [&](size_t, size_t) { return !progress_ || progress_(before_, total_); };
    PITH_TRY(ReadPieces(engine_, {text}, &collector, take, go_on));
    before_ += count;
  }
  engine_.Pause();
  if (!DoTogether(count * texts_.size(), [&](size_t i) {
        AttendFully(shape_, &samples[i / texts_.size()][i % texts_.size()]);
        ++done_;
      })) {
    return tl::unexpected<Error>(Interrupted().error());
  }
  return samples;
}

// An epoch of one layer: a step for each text, in an order of the epoch's own.
void Training::TeachLayer(uint32_t layer, const Samples& samples, FoldLoss<float>& loss) {
  std::vector<size_t> order(samples.size());
  std::iota(order.begin(), order.end(), size_t{0});
  Rng rng(settings_.seed, uint64_t{1} + state_.epoch);
  rng.Shuffle(std::span(order));
  const std::span<float> values = Of(state_.parameters, layer);
  const double rate = LessRate(state_.epoch, settings_.epochs);
  uint64_t step = uint64_t{state_.epoch} * samples.size();
  double sum = 0;
  for (const size_t text : order) {
    if (stop_) return;
    std::vector<float> gradient(values.size());
    sum += loss.Run(values, samples[text], gradient);
    AdamStep(gradient, rate, step++, values, Of(state_.mean, layer), Of(state_.square, layer));
    ++done_;
  }
  state_.losses[layer] = sum / static_cast<double>(samples.size());
}

Status Training::Epoch(const std::vector<Samples>& samples) {
  const LessState before = state_;
  const bool whole = DoTogether(samples.size(), [&](size_t i) {
    TeachLayer(state_.layer + static_cast<uint32_t>(i), samples[i], *losses_[i]);
  });
  // An epoch that was broken off is begun again.
  if (!whole && before_ < total_) {
    state_ = before;
    return Interrupted();
  }
  for (const double loss : state_.losses) {
    if (std::isfinite(loss)) continue;
    return Failure("the training gave no finite loss", "fold networks",
                   "The model's numbers overflow; nothing can be learnt from it.");
  }
  ++state_.epoch;
  if (std::chrono::steady_clock::now() - saved_ < kBetweenSaves) return {};
  saved_ = std::chrono::steady_clock::now();
  return Save();
}

// The next `count` layers, from where the state stands to the end.
Status Training::TeachGroup(uint32_t count) {
  PITH_ASSIGN(const std::vector<Samples> samples, ReadTexts(count));
  losses_.clear();
  for (uint32_t i = 0; i < count; ++i) {
    losses_.push_back(
        std::make_unique<FoldLoss<float>>(shape_, OutputGram(engine_.model(), state_.layer + i)));
  }
  if (state_.epoch == 0) {
    for (uint32_t i = 0; i < count; ++i) {
      losses_[i]->ScaleSigmas(samples[i].front(), Of(state_.parameters, state_.layer + i));
    }
  }
  while (state_.epoch < settings_.epochs) PITH_TRY(Epoch(samples));
  state_.layer += count;
  state_.epoch = 0;
  return Save();
}

Result<Profile> Training::Run() {
  PITH_TRY(MakeTexts());
  std::error_code error;
  if (std::filesystem::exists(checkpoint_, error)) {
    PITH_ASSIGN(state_, ReadLessState(checkpoint_, terms_));
  } else {
    for (uint32_t layer = 0; layer < terms_.num_layers; ++layer) {
      Rng rng(settings_.seed, uint64_t{layer} << 32);
      const std::vector<float> first = FirstParameters(shape_, rng);
      state_.parameters.insert(state_.parameters.end(), first.begin(), first.end());
    }
    state_.mean.resize(state_.parameters.size());
    state_.square.resize(state_.parameters.size());
    state_.losses.resize(terms_.num_layers);
  }
  // Reading, attending, and the epochs.
  const size_t left = terms_.num_layers - state_.layer;
  const size_t epochs_done = std::min<size_t>(left, LayersAtOnce()) * state_.epoch;
  total_ = texts_.size() * (left * (size_t{2} + settings_.epochs) - epochs_done);
  while (state_.layer < terms_.num_layers) {
    PITH_TRY(TeachGroup(std::min(LayersAtOnce(), terms_.num_layers - state_.layer)));
  }
  return ToProfile();
}

Profile Training::ToProfile() const {
  Profile profile;
  HeadProfile& heads = profile.heads;
  const auto add = [](const float*& from, size_t count, std::vector<float>* table) {
    table->insert(table->end(), from, from + count);
    from += count;
  };
  const size_t out = size_t{shape_.hidden} * shape_.rank;
  const float* next = state_.parameters.data();
  for (uint32_t layer = 0; layer < terms_.num_layers; ++layer) {
    for (uint32_t head = 0; head < shape_.num_query_heads; ++head) {
      add(next, shape_.in_size(), &heads.fold_query_in);
      add(next, out, &heads.fold_query_out);
    }
    for (uint32_t head = 0; head < shape_.num_kv_heads; ++head) {
      add(next, shape_.in_size(), &heads.fold_key_in);
      add(next, out, &heads.fold_key_out);
      add(next, size_t{shape_.rank} * shape_.rank, &heads.fold_mix);
      add(next, shape_.rank, &heads.fold_sigma1);
      add(next, shape_.rank, &heads.fold_sigma2);
    }
  }
  const double loss = std::accumulate(state_.losses.begin(), state_.losses.end(), 0.0) /
                      static_cast<double>(state_.losses.size());
  SetOrigin(kProfileFold,
            fmt::format("{}: {} epochs, seed {}, {}, window {} + {}, error {:.3g} of dropping's",
                        MeasuredOn(engine_), settings_.epochs, settings_.seed,
                        DescribeTexts(request_), shape_.sinks, shape_.recent, loss),
            &profile);
  return profile;
}

}  // namespace

uint32_t LessRecent(uint32_t length) {
  constexpr uint32_t kKept = 10;
  return std::max(1u, length / kKept - std::min(kLessSinks, length / kKept));
}

double LessRate(uint32_t epoch, uint32_t epochs) {
  const uint32_t quarter = std::max(1u, epochs / 4);
  return kPeakRate * std::pow(0.5, epoch / quarter);
}

void AdamStep(std::span<const float> gradient, double rate, uint64_t step, std::span<float> values,
              std::span<float> mean, std::span<float> square) {
  const auto updates = static_cast<double>(step + 1);
  const auto of_mean = static_cast<float>(rate / (1 - std::pow(kMeanDecay, updates)));
  const auto of_square = static_cast<float>(1 / (1 - std::pow(kSquareDecay, updates)));
  for (size_t i = 0; i < values.size(); ++i) {
    const float g = gradient[i];
    mean[i] = static_cast<float>(kMeanDecay) * mean[i] + static_cast<float>(1 - kMeanDecay) * g;
    square[i] =
        static_cast<float>(kSquareDecay) * square[i] + static_cast<float>(1 - kSquareDecay) * g * g;
    values[i] -=
        of_mean * mean[i] / (std::sqrt(of_square * square[i]) + static_cast<float>(kEpsilon));
  }
}

Result<Profile> TeachLess(Engine& engine, const TextRequest& request, const LessSettings& settings,
                          const std::string& checkpoint, const FeedProgress& progress) {
  return Training(engine, request, settings, checkpoint, progress).Run();
}

}  // namespace pith
