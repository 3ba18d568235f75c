// For benchmarks: what the attention of one token costs.
#pragma once

#include <algorithm>
#include <atomic>
#include <ctime>
#include <memory>
#include <span>
#include <vector>

#include "base/rng.h"
#include "kernel/attend.h"
#include "kernel/ref/page_builder.h"

namespace pith {

struct BenchLayer {
  std::vector<std::unique_ptr<BuiltList>> lists;
  std::vector<HeadView> heads;
  AttendSequence sequence;
};

// How entries are stored.
struct OneTokenPages {
  const ChannelList* channels = nullptr;  // of keys; nullptr: all
  const Form* form = FindForm(FormId::kF16);
  bool directions = false;  // with norms
};

// The token behind `context` entries attends to `held` entries of each head, spread evenly over
// them, in several layers with memory of their own.
class OneToken {
 public:
  OneToken(const AttendShape& shape, uint32_t context, const std::vector<uint32_t>& held,
           uint32_t num_layers, OneTokenPages pages = {})
      : shape_(shape),
        pages_(pages),
        position_{static_cast<int32_t>(context)},
        layers_(num_layers) {
    Rng rng(1);
    query_.resize(size_t{shape.num_query_heads} * shape.key_dim);
    for (float& x : query_) x = 4 * rng.Float() - 2;
    out_.resize(size_t{shape.num_query_heads} * shape.value_dim);
    for (BenchLayer& layer : layers_) {
      for (const uint32_t count : held) AddHead(rng, layer, context, count);
      layer.sequence = {0, position_, layer.heads};
    }
    plan_ = std::make_unique<AttendPlan>(shape, std::span(&layers_[0].sequence, 1), 1);
    scratch_.resize(plan_->scratch_bytes() + 64);
  }

  // From now on only these entries are read, [num_kv_heads]; they stay the caller's. Cutting the
  // plan is part of the time, as it is in a step.
  void Select(std::span<const std::span<const EntryRun>> runs) {
    if (layers_[0].sequence.runs.empty()) {
      plan_->ReserveRuns(std::span(&layers_[0].sequence, 1));
      scratch_.resize(plan_->scratch_bytes() + 64);
    }
    for (BenchLayer& layer : layers_) layer.sequence.runs = runs;
  }

  // From now on every layer has entries that were folded, [layer][num_kv_heads]; they stay the
  // caller's.
  void Fold(std::span<const std::span<const AttendFold>> folds) {
    for (size_t i = 0; i < layers_.size(); ++i) layers_[i].sequence.folds = folds[i];
    plan_ = std::make_unique<AttendPlan>(shape_, std::span(&layers_[0].sequence, 1), 1);
    scratch_.resize(plan_->scratch_bytes() + 64);
  }

  // Milliseconds per layer, of the processor's time: one thread needs no more, and other programs
  // that run at the same time count less.
  double Time() {
    const std::clock_t start = std::clock();
    for (BenchLayer& layer : layers_) {
      if (!layer.sequence.runs.empty()) plan_->Recut(std::span(&layer.sequence, 1));
      std::atomic<uint32_t> next_item{0};
      void* scratch = scratch_.data();
      size_t room = scratch_.size();
      const AttendCall call{plan_.get(),
                            std::span(&layer.sequence, 1),
                            query_.data(),
                            query_.size(),
                            out_.data(),
                            out_.size(),
                            static_cast<std::byte*>(std::align(64, 1, scratch, room)),
                            &next_item};
      AttendPartial(call, 0, 1);
      AttendMerge(call, 0, 1);
    }
    const double ticks = static_cast<double>(std::clock() - start);
    return 1e3 * ticks / CLOCKS_PER_SEC / static_cast<double>(layers_.size());
  }

 private:
  static constexpr uint32_t kPage = 128;

  void AddHead(Rng& rng, BenchLayer& layer, uint32_t context, uint32_t count) {
    std::vector<float> rows(size_t{kPage} * shape_.key_dim);
    std::vector<int32_t> positions(count);
    for (uint32_t i = 0; i < count; ++i) {
      positions[i] = static_cast<int32_t>(uint64_t{i} * context / count);
    }
    for (const Side side : {Side::kKeys, Side::kValues}) {
      layer.lists.push_back(std::make_unique<BuiltList>(side, shape_.key_dim));
      const uint32_t page = pages_.form->group(side) > 0 ? pages_.form->group(side) : kPage;
      for (uint32_t first = 0; first < count; first += page) {
        for (float& x : rows) x = 2 * rng.Float() - 1;
        layer.lists.back()->AddPage(
            *pages_.form, page, std::min(page, count - first), rows.data(), positions[first],
            count == context ? nullptr : &positions[first], false,
            side == Side::kKeys ? pages_.channels : nullptr, pages_.directions);
      }
    }
    const size_t n = layer.lists.size();
    layer.heads.push_back({layer.lists[n - 2]->pages(), layer.lists[n - 1]->pages(), count});
  }

  AttendShape shape_;
  OneTokenPages pages_;
  std::vector<int32_t> position_;
  std::vector<BenchLayer> layers_;
  std::unique_ptr<AttendPlan> plan_;
  std::vector<float> query_, out_;
  std::vector<std::byte> scratch_;
};

inline double MedianOf(std::vector<double> times) {
  const auto middle = times.begin() + static_cast<ptrdiff_t>(times.size() / 2);
  std::ranges::nth_element(times, middle);
  return *middle;
}

}  // namespace pith
