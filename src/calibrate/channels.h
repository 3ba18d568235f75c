// Which channels of the keys decide the scores of a head, whatever the text.
#pragma once

#include <cstdint>
#include <vector>

#include "calibrate/texts.h"
#include "engine/observer.h"
#include "engine/profile.h"

namespace pith {

// Adds up per channel of every KV head, with queries and keys after rope. Heads may be observed
// from different threads.
class ChannelScores : public StepObserver {
 public:
  explicit ChannelScores(const ModelShape& shape);

  void Observe(uint32_t layer, const SequenceCache& cache, const QueryRows& queries,
               const QueryRows& before_rope, int thread, int num_threads) override;

  // [layer][kv_head][key_dim]; those of a head add up to 1, or are 0 if nothing was seen.
  //
  // Label channels (Double Sparsity, arXiv 2408.07092): the mean of |q k|, of a token's own query
  // and key, over the query heads of the group.
  std::vector<float> Labels() const;
  // ThinK's score (arXiv 2407.21018) over all tokens instead of the last 32: mean q^2 x mean k^2.
  std::vector<float> Energies() const;

 private:
  struct Sums {
    double products = 0, queries = 0, keys = 0;
  };
  std::vector<float> Shares(double (*score)(const Sums&)) const;

  uint32_t num_kv_heads_, group_, key_dim_;
  std::vector<Sums> sums_;  // [layer][kv_head][key_dim]
};

// The section "channels" of the model's profile.
Result<Profile> CalibrateChannels(Engine& engine, const TextRequest& request,
                                  const FeedProgress& progress = {});

}  // namespace pith
