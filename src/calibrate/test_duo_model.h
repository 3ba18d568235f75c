// For tests: models of random or hand-made weights, loaded as gates are learnt.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/rng.h"
#include "calibrate/duo_graph.h"
#include "gguf/gguf.h"
#include "model/weights.h"

namespace pith {

// The values of a tensor by name, of a model whose other values are 0.
using HandMade = std::function<void(const std::string& name, std::vector<float>& values)>;

class DuoModel {
 public:
  // `make` writes a model to a path.
  explicit DuoModel(const std::function<Status(const std::string& path)>& make,
                    const HandMade& values = {})
      : path_(std::filesystem::path(testing::TempDir()) /
              ("duo_" + std::to_string(::getpid()) + "_" + std::to_string(++count) + ".gguf")) {
    const Status made = make(path_.string());
    EXPECT_TRUE(made) << made.error().Message();
    if (values) Overwrite(values);
    auto opened = GgufFile::Open(path_.string());
    EXPECT_TRUE(opened) << opened.error().Message();
    file_ = std::make_unique<GgufFile>(std::move(*opened));
    auto loaded = Model::Load(*file_, {.repack = false});
    EXPECT_TRUE(loaded) << loaded.error().Message();
    model_ = std::move(*loaded);
  }
  ~DuoModel() { std::filesystem::remove(path_); }
  DuoModel(const DuoModel&) = delete;
  DuoModel& operator=(const DuoModel&) = delete;

  const Model& operator*() const { return *model_; }
  const Model* operator->() const { return model_.get(); }
  const GgufFile& file() const { return *file_; }
  std::string path() const { return path_.string(); }
  size_t num_gates() const {
    return size_t{model_->shape().num_layers} * model_->shape().num_kv_heads;
  }

 private:
  static inline int count = 0;

  void Overwrite(const HandMade& fill) const {
    const auto file = GgufFile::Open(path_.string());
    ASSERT_TRUE(file);
    std::fstream out(path_, std::ios::binary | std::ios::in | std::ios::out);
    for (const GgufTensor& tensor : file->tensors()) {
      ASSERT_EQ(tensor.type, GGML_TYPE_F32);
      std::vector<float> values(tensor.size / sizeof(float));
      fill(tensor.name, values);
      out.seekp(static_cast<std::streamoff>(tensor.offset));
      out.write(reinterpret_cast<const char*>(values.data()),
                static_cast<std::streamsize>(tensor.size));
    }
    ASSERT_TRUE(out.good());
  }

  std::filesystem::path path_;
  std::unique_ptr<GgufFile> file_;
  std::unique_ptr<Model> model_;
};

inline std::vector<int32_t> RandomTokens(uint64_t seed, size_t count) {
  Rng rng(seed);
  std::vector<int32_t> tokens;
  for (size_t i = 0; i < count; ++i) tokens.push_back(static_cast<int32_t>(rng.Below(256)));
  return tokens;
}

inline DuoLoss RunStreams(DuoStreams& streams, const DuoText& text,
                          const std::vector<float>& gates) {
  auto result = streams.Run(text, gates);
  EXPECT_TRUE(result) << (result ? "" : result.error().Message());
  return result ? *result : DuoLoss{};
}

}  // namespace pith
