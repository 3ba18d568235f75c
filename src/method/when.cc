// When a cache is compressed.
#include "method/method.h"

namespace pith {
namespace {

constexpr ParameterInfo kParameters[] = {
    {.name = "every",
     .type = ParameterType::kInteger,
     .default_value = "1",
     .min = 1,
     .max = 65536,
     .meaning = "generated tokens between two compressions"},
};

constexpr ParameterInfo kBatchParameters[] = {
    {.name = "drop",
     .type = ParameterType::kNumber,
     .default_value = "0.5",
     .min = 0.001,
     .max = 0.999,
     .meaning = "share of the budget that is dropped at once"},
};

uint32_t Every(Parameters parameters) { return static_cast<uint32_t>(parameters[0].number); }

}  // namespace

const MethodInfo& WhenMethod() {
  static constexpr Part kParts[] = {
      {.stage = Stage::kWhen,
       .name = "prompt",
       .summary = "at the end of every prompt; what is generated stays until the next one"},
      {.stage = Stage::kWhen,
       .name = "chunks",
       .summary = "also after every chunk of a prompt, so that the cache never holds more than the "
                  "budget and one chunk; results then depend on the size of the chunks",
       .between_chunks = true},
      {.stage = Stage::kWhen,
       .name = "decode",
       .summary = "at the end of every prompt and again while generating",
       .parameters = kParameters,
       .decode_interval = Every},
      {.stage = Stage::kWhen,
       .name = "always",
       .summary = "after every chunk of a prompt and again while generating",
       .parameters = kParameters,
       .between_chunks = true,
       .decode_interval = Every},
      {.stage = Stage::kWhen,
       .name = "batch",
       .summary =
           "at the end of every prompt, and while generating whenever there are more entries "
           "than the budget: then many are dropped at once",
       .parameters = kBatchParameters,
       .drop = [](Parameters p) { return p[0].number; }},
  };
  static constexpr MethodInfo kInfo = {.name = "times",
                                       .summary = "The times at which a cache is compressed.",
                                       .parts = kParts,
                                       .identity = "a budget of at least the prompt's length"};
  return kInfo;
}

}  // namespace pith
