// A loaded model: hyper-parameters and placed weights.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "model/architecture.h"
#include "model/binder.h"

namespace pith {

struct ModelOptions {
  bool repack = true;    // see Binder
  uint32_t context = 0;  // tokens a sequence may have; chooses long or short rope factors
};

class Model {
 public:
  // The file must outlive the model.
  static Result<std::unique_ptr<Model>> Load(const GgufFile& file, const ModelOptions& options);

  const GgufFile& file() const { return binder_.file(); }
  const HyperParams& params() const { return params_; }
  const ModelShape& shape() const { return params_; }
  const CommonWeights& common() const { return common_; }
  const LayerWeights& layer(uint32_t index) const { return layers_[index]; }
  uint64_t repacked_bytes() const { return binder_.repacked_bytes(); }

 private:
  Model(const GgufFile& file, bool repack) : binder_(file, repack) {}
  Status BindCommon(const GgufFile& file, uint32_t context);

  HyperParams params_;
  Binder binder_;
  CommonWeights common_;
  std::vector<LayerWeights> layers_;
};

// Identity of a model whatever its quantisation: architecture, hyper-parameters, vocabulary and the
// norm tensors.
Result<uint64_t> HashModel(const GgufFile& file, const HyperParams& params);

}  // namespace pith
