#include "make_model.h"

#include <gguf.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <memory>
#include <span>
#include <thread>
#include <utility>
#include <vector>

#include "base/file.h"
#include "base/hash.h"
#include "base/rng.h"
#include "keys.h"
#include "plan.h"

namespace pith {
namespace {

constexpr int64_t kChunkElements =
    1 << 20;  // bounds the memory: a few MiB per thread whatever the model's size
constexpr int kThreads = 2;

struct Deleter {
  void operator()(gguf_context* context) const { gguf_free(context); }
  void operator()(ggml_context* context) const { ggml_free(context); }
};

// Rows [row_begin, row_end) of a tensor, encoded. Every chunk has random numbers of its own, named
// by seed, tensor and place, so that neither threads nor the split into files change a weight.
std::vector<std::byte> MakeRows(const PlannedTensor& tensor, uint64_t seed, int64_t row_begin,
                                int64_t row_end) {
  const int64_t row_size = tensor.ne[0];
  std::vector<float> weights(static_cast<size_t>((row_end - row_begin) * row_size));
  if (!tensor.values.empty()) {
    std::copy_n(tensor.values.begin() + row_begin * row_size, weights.size(), weights.begin());
  } else {
    Hasher hasher;
    hasher.Add(&seed, sizeof seed);
    hasher.Add(tensor.name.data(), tensor.name.size());
    hasher.Add(&row_begin, sizeof row_begin);
    Rng rng(hasher.Finish());
    const float width =
        tensor.spread * 3.46410162f;  // sqrt(12): a uniform of width 1 has deviation 1/sqrt(12)
    const float low = tensor.mean - 0.5f * width;
    for (float& weight : weights) weight = low + width * rng.Float();
  }
  const size_t row_bytes = ggml_row_size(tensor.type, row_size);
  std::vector<std::byte> encoded(static_cast<size_t>(row_end - row_begin) * row_bytes);
  ggml_quantize_chunk(tensor.type, weights.data(), encoded.data(), 0, row_end - row_begin, row_size,
                      nullptr);
  return encoded;
}

Status WritePadding(uint64_t written, AtomicFile* file) {
  const std::array<std::byte, GGUF_DEFAULT_ALIGNMENT> zeros{};
  const uint64_t rest = written % zeros.size();
  if (rest == 0) return {};
  return file->Write(zeros.data(), zeros.size() - rest);
}

Status WriteTensor(const PlannedTensor& tensor, uint64_t seed, AtomicFile* file) {
  const int64_t rows = tensor.ne[1] * tensor.ne[2] * tensor.ne[3];
  const int64_t step = std::max<int64_t>(1, kChunkElements / tensor.ne[0]);
  uint64_t written = 0;
  for (int64_t begin = 0; begin < rows; begin += kThreads * step) {
    std::array<std::vector<std::byte>, kThreads> chunks;
    {
      std::vector<std::jthread> threads;
      for (int t = 0; t < kThreads; ++t) {
        const int64_t chunk_begin = std::min(rows, begin + t * step);
        const int64_t chunk_end = std::min(rows, chunk_begin + step);
        if (chunk_begin == chunk_end) continue;
        threads.emplace_back([&, t, chunk_begin, chunk_end] {
          chunks[t] = MakeRows(tensor, seed, chunk_begin, chunk_end);
        });
      }
    }
    for (const auto& chunk : chunks) {
      PITH_TRY(file->Write(chunk));
      written += chunk.size();
    }
  }
  return WritePadding(written, file);
}

// The file's head: its keys, and the names, shapes and places of its tensors, padded to where the
// data begins.
std::vector<std::byte> MakeHead(gguf_context* keys, std::span<const PlannedTensor> tensors) {
  const ggml_init_params params{ggml_tensor_overhead() * tensors.size(), nullptr, true};
  const std::unique_ptr<ggml_context, Deleter> shapes(ggml_init(params));
  for (const PlannedTensor& planned : tensors) {
    ggml_tensor* tensor = ggml_new_tensor(shapes.get(), planned.type, 4, planned.ne.data());
    ggml_set_name(tensor, planned.name.c_str());
    gguf_add_tensor(keys, tensor);
  }
  std::vector<std::byte> head(gguf_get_meta_size(keys));
  gguf_get_meta_data(keys, head.data());
  return head;
}

std::string PartSuffix(uint32_t part, uint32_t count) {
  char text[32];
  std::snprintf(text, sizeof text, "-%05u-of-%05u.gguf", part + 1, count);
  return text;
}

Result<std::vector<std::string>> PartPaths(const std::string& path, uint32_t count) {
  if (count == 1) return std::vector<std::string>{path};
  const std::string suffix = PartSuffix(0, count);
  if (!path.ends_with(suffix)) {
    return InputError("the first of " + std::to_string(count) + " files must end in " + suffix,
                      path, "Change the name.");
  }
  std::vector<std::string> paths;
  for (uint32_t part = 0; part < count; ++part) {
    paths.push_back(path.substr(0, path.size() - suffix.size()) + PartSuffix(part, count));
  }
  return paths;
}

}  // namespace

std::string_view MakeArchitectureName(MakeArchitecture architecture) {
  switch (architecture) {
    case MakeArchitecture::kLlama:
      return "llama";
    case MakeArchitecture::kQwen2:
      return "qwen2";
    case MakeArchitecture::kQwen3:
      return "qwen3";
    case MakeArchitecture::kQwen3Moe:
      return "qwen3moe";
    case MakeArchitecture::kPhi3:
      return "phi3";
  }
  return "";
}

std::optional<MakeArchitecture> MakeArchitectureFromName(std::string_view name) {
  using enum MakeArchitecture;
  for (const MakeArchitecture architecture : {kLlama, kQwen2, kQwen3, kQwen3Moe, kPhi3}) {
    if (MakeArchitectureName(architecture) == name) return architecture;
  }
  return std::nullopt;
}

Status MakeModel(const MakeModelOptions& options, const std::string& path) {
  PITH_TRY(CheckOptions(options));
  PITH_ASSIGN(const std::vector<std::string> paths, PartPaths(path, options.split_files));
  const std::vector<PlannedTensor> tensors = PlanTensors(options);

  std::vector<AtomicFile> files;  // committed together at the end
  for (size_t part = 0; part < paths.size(); ++part) {
    const size_t begin = tensors.size() * part / paths.size();
    const size_t end = tensors.size() * (part + 1) / paths.size();
    const auto own = std::span(tensors).subspan(begin, end - begin);

    const std::unique_ptr<gguf_context, Deleter> keys(gguf_init_empty());
    if (part == 0) SetModelKeys(options, keys.get());
    if (paths.size() > 1) {  // of the widths that llama.cpp's loader insists on
      gguf_set_val_u16(keys.get(), "split.no", static_cast<uint16_t>(part));
      gguf_set_val_u16(keys.get(), "split.count", static_cast<uint16_t>(paths.size()));
      gguf_set_val_i32(keys.get(), "split.tensors.count", static_cast<int32_t>(tensors.size()));
    }
    PITH_ASSIGN(AtomicFile file, AtomicFile::Create(paths[part]));
    PITH_TRY(file.Write(MakeHead(keys.get(), own)));
    for (const PlannedTensor& tensor : own) PITH_TRY(WriteTensor(tensor, options.seed, &file));
    files.push_back(std::move(file));
  }
  for (AtomicFile& file : files) PITH_TRY(file.Commit());
  return {};
}

}  // namespace pith
