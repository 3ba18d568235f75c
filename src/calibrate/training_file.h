// A training that was not finished, in a file: what it belongs to, its numbers, and a hash of all
// that.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"

namespace pith {

// What must be the same for a training to go on, by its name for people: {"--seed", 1}.
using TrainingTerms = std::span<const std::pair<const char*, uint64_t>>;

// The file is there whole, or as it was before. `magic` says which kind of training it is.
Status SaveTraining(const std::string& path, std::string_view magic, TrainingTerms terms,
                    std::span<const std::byte> state);
// The state. Trusts nothing; a file of another training is an input error that says what differs.
Result<std::vector<std::byte>> ReadTraining(const std::string& path, std::string_view magic,
                                            TrainingTerms terms);

// What a state that does not fit is refused as.
Error DamagedTraining(const std::string& path);

}  // namespace pith
