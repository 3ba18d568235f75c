// Published head scores, gates and bits as sections of a profile. The files are not trusted:
// whatever does not fit the model is an input error that names what differs.
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"
#include "engine/profile.h"

namespace pith {

// A section and what is worth knowing about how it came to be.
struct ImportedSection {
  Profile profile;  // has this section alone
  std::string note;
};

// The head scores of HeadKV (arXiv 2410.19258): a JSON object of "layer-head" and a list with the
// score of that query head in each example. A head counts with the mean of its list; all heads add
// up to 1. `where` names the file.
Result<ImportedSection> ImportHeadScores(std::string_view json, const std::string& where,
                                         const ModelIdentity& model);

// The gates of DuoAttention (arXiv 2410.10819): a line per layer with a number per KV head,
// separated by tabs or spaces. As in its own code, numbers beyond 0 and 1 count as these.
Result<ImportedSection> ImportGates(std::string_view text, const std::string& where,
                                    const ModelIdentity& model);

// The bits of KVTuner (arXiv 2502.04420): for each layer its number, "nbits_key" and "nbits_value",
// 16, 8, 4 or 2 each, as its presets (YAML) write them or as the same object in JSON; 16 leaves a
// layer as it is.
Result<ImportedSection> ImportBits(std::string_view text, const std::string& where,
                                   const ModelIdentity& model);

}  // namespace pith
