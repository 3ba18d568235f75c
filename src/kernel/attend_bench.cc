// Attention against ggml, on the same numbers, in the same thread pool,
// alternating; medians.
//
//   pith_kernel_bench [decode|prefill|ragged|pruned|merged|fold|runs|select]
//                     [--form NAME] [--threads N] [--dim N] [--context N]
//
// Both sides are timed as one ggml graph, ours with the two custom operations
// that the engine uses. ggml's K and V lie as llama.cpp keeps them: [entry][KV
// head][dim], and V transposed for the way without flash attention. Several
// "layers" with K and V of their own keep short contexts from living in the
// nearest caches. Forms of low precision are compared with both f16 ways and with flash attention
// on ggml's type for them (KIVI's: on q4_0, or q8_0 for 8 bits).
#include <fmt/format.h>
#include <ggml-cpu.h>
#include <ggml.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "base/rng.h"
#include "codec/kivi.h"
#include "codec/packed.h"
#include "kernel/attend.h"
#include "kernel/fold_bench.h"
#include "kernel/merged_bench.h"
#include "kernel/pruned_bench.h"
#include "kernel/ragged_bench.h"
#include "kernel/ref/page_builder.h"
#include "kernel/runs_bench.h"
#include "kernel/select_bench.h"

namespace pith {
namespace {

constexpr uint32_t kQueryHeads = 32;
constexpr uint32_t kKvHeads = 8;

struct MeasuredForm {
  const Form* form;
  bool rotated = false;
  std::string name() const { return std::string(form->name) + (rotated ? "+hadamard" : ""); }
};

struct Setting {
  MeasuredForm measured;
  uint32_t dim;
  uint32_t entries;  // rows of this step included
  uint32_t rows;
  uint32_t layers;
  int threads;
};

struct FreeDeleter {
  void operator()(void* p) const { std::free(p); }
};
using Buffer = std::unique_ptr<std::byte, FreeDeleter>;

Buffer Allocate(size_t bytes) {
  return Buffer(static_cast<std::byte*>(std::aligned_alloc(64, (bytes + 63) / 64 * 64)));
}

// One layer of our side.
struct Layer {
  std::vector<std::unique_ptr<BuiltList>> lists;
  std::vector<HeadView> heads;
  AttendSequence sequence;
  AttendCall call;
  std::atomic<uint32_t> next_item{0};
};

void PartialOp(ggml_tensor* /*dst*/, int thread, int num_threads, void* layer) {
  AttendPartial(static_cast<Layer*>(layer)->call, thread, num_threads);
}

void MergeOp(ggml_tensor* /*dst*/, int thread, int num_threads, void* layer) {
  AttendMerge(static_cast<Layer*>(layer)->call, thread, num_threads);
}

// The two sides of one setting.
class Duel {
 public:
  explicit Duel(const Setting& s) : s_(s), low_type_(LowType(*s.measured.form)) {
    // f16 keys, values and transposed values, and both in the other type.
    const size_t kv = size_t{s.entries} * kKvHeads * s.dim * 2 * 5;
    const size_t rows = size_t{s.rows} * kQueryHeads * s.dim * sizeof(float);
    const size_t scores = size_t{s.rows} * kQueryHeads * s.entries * sizeof(float);
    const size_t mask = size_t{s.rows} * s.entries * 2;
    ggml_init_params params{(kv + 2 * scores + 20 * rows) * s.layers + mask + (16 << 20), nullptr,
                            false};
    ctx_.reset(ggml_init(params));
    PITH_CHECK(ctx_ != nullptr);
    ggml_threadpool_params pool = ggml_threadpool_params_default(s.threads);
    pool_.reset(ggml_threadpool_new(&pool));
    MakeMask();
    q_ = ggml_new_tensor_3d(ctx_.get(), GGML_TYPE_F32, s.dim, kQueryHeads, s.rows);
    Rng rng(1);
    std::generate_n(static_cast<float*>(q_->data), ggml_nelements(q_),
                    [&] { return 4 * rng.Float() - 2; });
    for (uint32_t r = 0; r < s.rows; ++r) {
      positions_.push_back(static_cast<int32_t>(s.entries - s.rows + r));
    }
    for (uint32_t l = 0; l < s.layers; ++l) AddLayer(rng);
    BuildGraphs();
  }

  // Milliseconds per layer, medians of `repeats` alternating runs.
  struct Times {
    double ours, flash, products, low_flash;
  };
  Times Run(int repeats) {
    std::vector<double> ours, flash, products, low_flash;
    for (int i = -1; i < repeats; ++i) {  // the first round only warms up
      const double a = TimeOurs(), b = Time(flash_), c = Time(products_), d = Time(low_flash_);
      if (i < 0) continue;
      ours.push_back(a);
      flash.push_back(b);
      products.push_back(c);
      low_flash.push_back(d);
    }
    return {Median(ours), Median(flash), Median(products), Median(low_flash)};
  }

  // The largest difference of the last layer's outputs over the largest magnitude. ggml rounds
  // queries and weights to f16, and flash attention of one row adds values up in f16.
  double DifferenceToFlash() const { return Difference(low_flash_out_); }
  double DifferenceToProducts() const { return Difference(products_out_); }
  ggml_type low_type() const { return low_type_; }

 private:
  struct Graph {
    ggml_cgraph* graph = nullptr;
    ggml_cplan plan;
    Buffer work;
  };

  double Difference(const ggml_tensor* tensor) const {
    const auto* ours = static_cast<const float*>(ours_out_->data);
    const auto* theirs = static_cast<const float*>(tensor->data);
    double worst = 0, largest = 0;
    for (size_t i = 0; i < size_t{s_.rows} * kQueryHeads * s_.dim; ++i) {
      worst = std::max(worst, std::abs(double{ours[i]} - theirs[i]));
      largest = std::max(largest, std::abs(double{theirs[i]}));
    }
    return worst / largest;
  }

  void MakeMask() {
    mask_ = ggml_new_tensor_2d(ctx_.get(), GGML_TYPE_F16, s_.entries, s_.rows);
    auto* mask = static_cast<ggml_fp16_t*>(mask_->data);
    const ggml_fp16_t seen = ggml_fp32_to_fp16(0.0f);
    const ggml_fp16_t hidden = ggml_fp32_to_fp16(-std::numeric_limits<float>::infinity());
    for (uint32_t r = 0; r < s_.rows; ++r) {
      for (uint32_t e = 0; e < s_.entries; ++e) {
        mask[size_t{r} * s_.entries + e] = e <= s_.entries - s_.rows + r ? seen : hidden;
      }
    }
  }

  static ggml_type LowType(const Form& form) {
    if (form.packing == nullptr) return GGML_TYPE_F16;
    return form.packing->bits == 8 ? GGML_TYPE_Q8_0 : GGML_TYPE_Q4_0;
  }

  // A sealed form's pages hold one group of keys.
  uint32_t PageEntries(Side side) const {
    return s_.measured.form->group(side) > 0 ? s_.measured.form->group(side) : 128;
  }

  void AddLayer(Rng& rng) {
    ggml_tensor* k = ggml_new_tensor_3d(ctx_.get(), GGML_TYPE_F16, s_.dim, kKvHeads, s_.entries);
    ggml_tensor* v = ggml_new_tensor_3d(ctx_.get(), GGML_TYPE_F16, s_.dim, kKvHeads, s_.entries);
    ggml_tensor* vt = ggml_new_tensor_3d(ctx_.get(), GGML_TYPE_F16, s_.entries, s_.dim, kKvHeads);
    ggml_tensor* low_k = ggml_new_tensor_3d(ctx_.get(), low_type_, s_.dim, kKvHeads, s_.entries);
    ggml_tensor* low_v = ggml_new_tensor_3d(ctx_.get(), low_type_, s_.dim, kKvHeads, s_.entries);
    auto layer = std::make_unique<Layer>();
    std::vector<float> rows(size_t{s_.entries} * s_.dim);
    for (uint32_t h = 0; h < kKvHeads; ++h) {
      for (const Side side : {Side::kKeys, Side::kValues}) {
        for (float& x : rows) x = 2 * rng.Float() - 1;
        layer->lists.push_back(std::make_unique<BuiltList>(side, s_.dim));
        const uint32_t capacity = PageEntries(side);
        for (uint32_t first = 0; first < s_.entries; first += capacity) {
          const uint32_t count = std::min(capacity, s_.entries - first);
          layer->lists.back()->AddPage(*s_.measured.form, capacity, count,
                                       rows.data() + size_t{first} * s_.dim,
                                       static_cast<int32_t>(first), nullptr, s_.measured.rotated);
        }
        auto* to = static_cast<ggml_fp16_t*>((side == Side::kKeys ? k : v)->data);
        for (size_t e = 0; e < s_.entries; ++e) {
          ggml_fp32_to_fp16_row(rows.data() + e * s_.dim, to + (e * kKvHeads + h) * s_.dim, s_.dim);
        }
        const ggml_tensor* low = side == Side::kKeys ? low_k : low_v;
        for (size_t e = 0; e < s_.entries; ++e) {
          ggml_quantize_chunk(low_type_, rows.data() + e * s_.dim,
                              static_cast<std::byte*>(low->data) + e * low->nb[2] + h * low->nb[1],
                              0, 1, s_.dim, nullptr);
        }
      }
      auto* transposed = static_cast<ggml_fp16_t*>(vt->data) + size_t{h} * s_.dim * s_.entries;
      for (size_t e = 0; e < s_.entries; ++e) {
        for (size_t c = 0; c < s_.dim; ++c) {
          transposed[c * s_.entries + e] = ggml_fp32_to_fp16(rows[e * s_.dim + c]);
        }
      }
      const size_t n = layer->lists.size();
      layer->heads.push_back(
          {layer->lists[n - 2]->pages(), layer->lists[n - 1]->pages(), s_.entries});
    }
    layer->sequence = {0, positions_, layer->heads};
    layers_.push_back(std::move(layer));
    keys_.push_back(k);
    values_.push_back(v);
    low_keys_.push_back(low_k);
    low_values_.push_back(low_v);
    transposed_.push_back(vt);
  }

  float Scale() const { return 1.0f / std::sqrt(static_cast<float>(s_.dim)); }

  void BuildGraphs() {
    ours_.graph = ggml_new_graph(ctx_.get());
    flash_.graph = ggml_new_graph(ctx_.get());
    products_.graph = ggml_new_graph(ctx_.get());
    low_flash_.graph = ggml_new_graph(ctx_.get());
    for (size_t l = 0; l < layers_.size(); ++l) {
      AddOurs(*layers_[l]);
      AddFlash(keys_[l], values_[l], flash_.graph);
      low_flash_out_ = AddFlash(low_keys_[l], low_values_[l], low_flash_.graph);
      AddProducts(l);
    }
    for (Graph* g : {&ours_, &flash_, &products_, &low_flash_}) {
      g->plan = ggml_graph_plan(g->graph, s_.threads, pool_.get());
      g->work = Allocate(g->plan.work_size + 64);
      g->plan.work_data = reinterpret_cast<uint8_t*>(g->work.get());
    }
  }

  void AddOurs(Layer& layer) {
    const AttendShape shape{kQueryHeads, kKvHeads, s_.dim, s_.dim, Scale(), 0};
    if (plan_ == nullptr) {
      plan_ = std::make_unique<AttendPlan>(shape, std::span(&layer.sequence, 1), s_.threads);
      scratch_ = Allocate(plan_->scratch_bytes());
    }
    ggml_tensor* args[] = {q_};
    ggml_tensor* partial = ggml_custom_4d(ctx_.get(), GGML_TYPE_F32, s_.dim, kQueryHeads, s_.rows,
                                          1, args, 1, PartialOp, s_.threads, &layer);
    ggml_tensor* merge_args[] = {partial};
    ours_out_ = ggml_custom_4d(ctx_.get(), GGML_TYPE_F32, 1, 1, 1, 1, merge_args, 1, MergeOp,
                               s_.threads, &layer);
    const size_t q_stride = size_t{kQueryHeads} * s_.dim;
    layer.call = {plan_.get(),
                  std::span(&layer.sequence, 1),
                  static_cast<const float*>(q_->data),
                  q_stride,
                  static_cast<float*>(partial->data),
                  q_stride,
                  scratch_.get(),
                  &layer.next_item};
    ggml_build_forward_expand(ours_.graph, ours_out_);
    ours_out_ = partial;
  }

  ggml_tensor* AddFlash(ggml_tensor* keys, ggml_tensor* values, ggml_cgraph* graph) {
    ggml_context* ctx = ctx_.get();
    ggml_tensor* out = ggml_flash_attn_ext(
        ctx, ggml_permute(ctx, q_, 0, 2, 1, 3), ggml_permute(ctx, keys, 0, 2, 1, 3),
        ggml_permute(ctx, values, 0, 2, 1, 3), mask_, Scale(), 0.0f, 0.0f);
    ggml_build_forward_expand(graph, out);
    return out;
  }

  void AddProducts(size_t l) {
    ggml_context* ctx = ctx_.get();
    ggml_tensor* scores = ggml_mul_mat(ctx, ggml_permute(ctx, keys_[l], 0, 2, 1, 3),
                                       ggml_permute(ctx, q_, 0, 2, 1, 3));
    ggml_tensor* weights = ggml_soft_max_ext(ctx, scores, mask_, Scale(), 0.0f);
    ggml_tensor* out = ggml_mul_mat(ctx, transposed_[l], weights);
    products_out_ = ggml_cont(ctx, ggml_permute(ctx, out, 0, 2, 1, 3));
    ggml_build_forward_expand(products_.graph, products_out_);
  }

  double TimeOurs() {
    for (auto& layer : layers_) layer->next_item.store(0);
    return Time(ours_);
  }

  double Time(Graph& g) {
    const auto start = std::chrono::steady_clock::now();
    PITH_CHECK(ggml_graph_compute(g.graph, &g.plan) == GGML_STATUS_SUCCESS);
    const std::chrono::duration<double, std::milli> time = std::chrono::steady_clock::now() - start;
    return time.count() / s_.layers;
  }

  static double Median(std::vector<double> times) {
    std::nth_element(times.begin(), times.begin() + static_cast<ptrdiff_t>(times.size() / 2),
                     times.end());
    return times[times.size() / 2];
  }

  struct ContextDeleter {
    void operator()(ggml_context* c) const { ggml_free(c); }
  };
  struct PoolDeleter {
    void operator()(ggml_threadpool* p) const { ggml_threadpool_free(p); }
  };

  Setting s_;
  std::unique_ptr<ggml_context, ContextDeleter> ctx_;
  std::unique_ptr<ggml_threadpool, PoolDeleter> pool_;
  std::vector<int32_t> positions_;
  std::vector<std::unique_ptr<Layer>> layers_;
  std::unique_ptr<AttendPlan> plan_;
  Buffer scratch_;
  ggml_tensor* q_ = nullptr;
  ggml_tensor* mask_ = nullptr;
  const ggml_type low_type_;
  std::vector<ggml_tensor*> keys_, values_, transposed_, low_keys_, low_values_;
  Graph ours_, flash_, products_, low_flash_;
  ggml_tensor* ours_out_ = nullptr;
  ggml_tensor* low_flash_out_ = nullptr;
  ggml_tensor* products_out_ = nullptr;
};

struct Filter {
  std::string regime, form;
  uint32_t threads = 0, dim = 0, context = UINT32_MAX;
  bool Takes(const std::string& r, int t, uint32_t d, uint32_t c) const {
    return (regime.empty() || regime == r) &&
           (threads == 0 || threads == static_cast<uint32_t>(t)) && (dim == 0 || dim == d) &&
           (context == UINT32_MAX || context == c);
  }
};

void Report(const std::string& regime, const Setting& s, uint32_t context, int repeats) {
  Duel duel(s);
  const Duel::Times t = duel.Run(repeats);
  const double numbers = double{2} * s.entries * kKvHeads * s.dim;
  const double pairs = double(s.rows) * (s.entries - s.rows) + double(s.rows) * (s.rows + 1) / 2;
  const double flops = 4 * pairs * kQueryHeads * s.dim;
  const double best = std::min(t.flash, t.products);
  fmt::print(
      "| {} | {} | {} | {} | {} | {:.3f} | {:.3f} | {:.3f} | {:.3f} ({}) | {:.2f} | {:.2f} | "
      "{:.1f} | "
      "{:.1f} | {:.0e} | {:.0e} |\n",
      regime, s.measured.name(), s.dim, context, s.threads, t.ours, t.flash, t.products,
      t.low_flash, ggml_type_name(duel.low_type()), best / t.ours, t.low_flash / t.ours,
      numbers * s.measured.form->bits_per_value / 8 / t.ours / 1e6, flops / t.ours / 1e6,
      duel.DifferenceToFlash(), duel.DifferenceToProducts());
  std::fflush(stdout);
}

// f16, ggml's two, q4_0 rotated as well, and KIVI's for groups of 32 and 128.
std::vector<MeasuredForm> MeasuredForms() {
  const Form* const q4_0 = FindForm("q4_0");
  std::vector<MeasuredForm> forms = {{FindForm("f16")}, {FindForm("q8_0")}, {q4_0}, {q4_0, true}};
  for (const uint32_t bits : {8u, 4u, 2u}) {
    for (const uint32_t group : {32u, 128u}) forms.push_back({FindKivi(bits, group)});
  }
  return forms;
}

int Main(int argc, char** argv) {
  Filter filter;
  for (int i = 1; i < argc; ++i) {
    const std::string arg = argv[i];
    const auto number = [&] { return static_cast<uint32_t>(std::stoul(argv[++i])); };
    if (arg == "decode" || arg == "prefill" || arg == "ragged" || arg == "pruned" ||
        arg == "merged" || arg == "fold" || arg == "runs" || arg == "select") {
      filter.regime = arg;
    } else if (i + 1 < argc && arg == "--form") {
      filter.form = argv[++i];
    } else if (i + 1 < argc && arg == "--threads") {
      filter.threads = number();
    } else if (i + 1 < argc && arg == "--dim") {
      filter.dim = number();
    } else if (i + 1 < argc && arg == "--context") {
      filter.context = number();
    } else {
      fmt::print(stderr,
                 "usage: {} [decode|prefill|ragged|pruned|merged|fold|runs|select] [--form NAME] "
                 "[--threads N] "
                 "[--dim N] "
                 "[--context N]\n",
                 argv[0]);
      return 2;
    }
  }
  fmt::print("{} query heads, {} KV heads; ms per layer\n\n", kQueryHeads, kKvHeads);
  fmt::print(
      "| regime | form | head size | context or depth | threads | ours | flash f16 | products f16 "
      "| "
      "flash low | best f16 / ours | flash low / ours | GB/s | GFLOP/s | off flash low | off "
      "products f16 |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n");
  for (const uint32_t dim : {64u, 128u}) {
    for (const int threads : {1, 2}) {
      for (const MeasuredForm& form : MeasuredForms()) {
        if (!filter.form.empty() && filter.form != form.name()) continue;
        for (const uint32_t context : {128u, 4096u, 16384u, 32768u}) {
          if (!filter.Takes("decode", threads, dim, context)) continue;
          const uint32_t layers = std::clamp(16384u / context, 1u, 16u);
          Report("decode", {form, dim, context, 1, layers, threads}, context, 11);
        }
        for (const uint32_t depth : {0u, 4096u, 16384u}) {
          if (!filter.Takes("prefill", threads, dim, depth)) continue;
          Report("prefill", {form, dim, depth + 512, 512, 1, threads}, depth, 3);
        }
      }
    }
  }
  for (const uint32_t dim : {64u, 128u}) {
    for (const uint32_t context : {16384u, 32768u}) {
      if (filter.Takes("ragged", 1, dim, context)) {
        ReportRagged(kQueryHeads, kKvHeads, dim, context);
      }
      if (filter.Takes("pruned", 1, dim, context)) {
        ReportPruned(kQueryHeads, kKvHeads, dim, context);
      }
      if (filter.Takes("merged", 1, dim, context)) {
        ReportMerged(kQueryHeads, kKvHeads, dim, context);
      }
      if (filter.Takes("fold", 1, dim, context)) ReportFold(kQueryHeads, kKvHeads, dim, context);
    }
    for (const uint32_t context : {32768u, 131072u}) {
      if (filter.Takes("runs", 1, dim, context)) ReportRuns(kQueryHeads, kKvHeads, dim, context);
      for (const Form* form : {FindForm("f16"), FindKivi(4, 32)}) {
        if (!filter.Takes("select", 1, dim, context)) continue;
        if (!filter.form.empty() && filter.form != form->name) continue;
        ReportSelection(kQueryHeads, kKvHeads, dim, context, *form);
      }
    }
  }
  return 0;
}

}  // namespace
}  // namespace pith

int main(int argc, char** argv) { return pith::Main(argc, argv); }
