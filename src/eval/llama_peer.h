// libllama on the same model file, as llama.cpp ships it: mapped weights, repacked where that is
// faster, ggml's own thread pool attached. The peer that `pith bench --vs llama` measures against.
#pragma once

#include <ggml.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "eval/contestant.h"
#include "model/model.h"

struct llama_context;
struct llama_model;

namespace pith {

class LlamaModel {
 public:
  // A file that passed our own reader (libllama may abort on a damaged one), and its shape.
  static Result<std::unique_ptr<LlamaModel>> Load(const std::string& path, const ModelShape& shape);
  ~LlamaModel();

  llama_model* get() const { return model_; }
  const ModelShape& shape() const { return shape_; }

 private:
  LlamaModel() = default;
  llama_model* model_ = nullptr;
  ModelShape shape_;
};

// libllama's cache type nearest to one of our forms: q8_0 for 8 bits and q4_0 for fewer.
ggml_type LlamaCacheType(const Form* form);

struct LlamaSettings {
  uint32_t context = 0;  // tokens; libllama rounds up
  uint32_t chunk = 512;  // n_batch and n_ubatch
  int num_threads = 1;
  bool flash_attention = true;
  ggml_type key_type = GGML_TYPE_F16;  // f32, f16 or bf16
  ggml_type value_type = GGML_TYPE_F16;
};

std::string_view LlamaName(bool flash_attention);  // "llama.cpp fa=on", "llama.cpp fa=off"

class LlamaContestant : public Contestant {
 public:
  // The model outlives it.
  static Result<std::unique_ptr<LlamaContestant>> Create(const LlamaModel& model,
                                                         const LlamaSettings& settings);
  ~LlamaContestant() override;

  std::string_view name() const override { return LlamaName(settings_.flash_attention); }
  Result<std::span<const float>> Feed(std::span<const int32_t> tokens) override;
  Status Rewind(uint32_t position) override;
  // Through the state interface; what was filled in is read back and compared, byte for byte.
  Status Fill(uint32_t count) override;
  void Rest() override;

 private:
  LlamaContestant() = default;
  std::vector<uint8_t> SyntheticState(uint32_t count) const;

  LlamaSettings settings_;
  const LlamaModel* model_ = nullptr;
  llama_context* context_ = nullptr;
  struct ggml_threadpool* threads_ = nullptr;
};

}  // namespace pith
