// What a recipe gathers about a sequence while its tokens are read: queries and attention sums. The
// results do not depend on how the tokens were cut into steps.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/bytes.h"
#include "cache/cache.h"
#include "engine/observer.h"
#include "method/stage.h"
#include "model/model.h"

namespace pith {

class Observations : public StepObserver {
 public:
  Observations() = default;  // gathers nothing
  Observations(const ModelShape& shape, const Needs& needs);

  const Needs& needs() const { return needs_; }

  // Before tokens are read: how many there will be in all, which the width of the band depends on.
  void Expect(size_t num_tokens);
  // Before a step, on the main thread: the cache has been extended by `positions` already.
  void Begin(const SequenceCache& cache, std::span<const int32_t> positions);
  void Observe(uint32_t layer, const SequenceCache& cache, const QueryRows& queries,
               const QueryRows& before_rope, int thread, int num_threads) override;

  // Follow what happens to the cache.
  void Keep(uint32_t layer, uint32_t kv_head, std::span<const uint32_t> entries);
  // Forgets the queries from `end_position` on. What their tokens added to sums and moments stays
  // counted.
  void Truncate(int32_t end_position);

  // What was gathered, as bytes and back into an object of the same shape and needs. Load trusts
  // the bytes; Fits says whether they can belong to this cache of a text of `num_tokens`.
  void Save(ByteWriter* out) const;
  Status Load(ByteReader* in);
  bool Fits(const SequenceCache& cache, uint64_t num_tokens) const;

  // For scores; the vectors are what HeadInput's fields view.
  void Window(uint32_t layer, uint32_t kv_head, std::vector<float>* queries,
              std::vector<int32_t>* positions) const;
  std::span<const std::vector<float>> ColumnSums(uint32_t layer, uint32_t kv_head) const;
  std::span<const std::vector<float>> BandSums(uint32_t layer, uint32_t kv_head) const;
  int32_t band_width() const { return band_width_; }
  void Moments(uint32_t layer, uint32_t kv_head, std::vector<float>* mean,
               std::vector<float>* covariance) const;

 private:
  // Sums over tokens, of the queries before rope.
  struct QueryMoments {
    std::vector<double> sum;       // [key_dim]
    std::vector<double> products;  // [key_dim][key_dim], the lower triangle
  };

  // What is saved; Self is Observations or const Observations.
  template <class Archive, class Self>
  static Status Fields(Archive& archive, Self& self);

  size_t HeadNumber(uint32_t layer, uint32_t query_head) const {
    return size_t{layer} * num_query_heads_ + query_head;
  }
  void CopyWindow(uint32_t layer, uint32_t head, const QueryRows& queries);
  void AddMoments(uint32_t layer, uint32_t head, const QueryRows& before_rope);
  void AddAttention(uint32_t layer, const SequenceCache& cache, const QueryRows& queries,
                    int thread, int num_threads);

  Needs needs_;
  uint32_t num_layers_ = 0, num_query_heads_ = 0, group_ = 1, key_dim_ = 0;
  std::vector<int32_t> step_positions_;    // of the step under way
  std::vector<int32_t> window_positions_;  // [window] ring; -1: nothing
  std::vector<float> window_;              // [layer][query_head][window][key_dim]
  uint64_t num_moments_ = 0;               // tokens in sums and products
  std::vector<QueryMoments> moments_;      // [layer][query_head]
  int32_t band_width_ = 0;
  std::vector<std::vector<float>> column_sums_, band_sums_;  // [layer][query_head][entries]
};

}  // namespace pith
