// pith inspect -f FILE: which entries of a text a recipe keeps.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "base/status.h"
#include "cli/options.h"

namespace pith {

struct InspectCacheFlags {
  EngineFlags engine;  // its model too
  std::string file, html;
  bool scores = false, json = false;
};

// Reads the text, compresses the cache and shows what is left of it.
Status InspectCache(const InspectCacheFlags& flags);

}  // namespace pith
