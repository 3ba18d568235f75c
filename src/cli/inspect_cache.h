// pith inspect -f FILE: which entries of a text a recipe keeps.
#pragma once

#include <CLI/CLI.hpp>
#include <initializer_list>
#include <string>

#include "base/status.h"
#include "cli/options.h"

namespace pith {

struct InspectCacheFlags {
  EngineFlags engine;  // its model too
  std::string file, html;
  bool scores = false, json = false;
};

// Input error if the page, where one is asked for, cannot be all that is written, or would take the
// place of one of the files that are read.
Status CheckPage(const InspectCacheFlags& flags, std::initializer_list<std::string> read);

// Reads the text, compresses the cache and shows what is left of it.
Status InspectCache(const InspectCacheFlags& flags);

}  // namespace pith
