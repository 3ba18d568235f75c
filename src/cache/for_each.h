// Work of one kind on several lists, on the threads that a caller offers.
#pragma once

#include <cstddef>

#include "cache/cache.h"

namespace pith {

// Calls visit(index) for every index below `count`, on all threads that `run` offers; on the
// calling one without it.
template <class Visit>
void ForEach(size_t count, const RunParallel& run, const Visit& visit) {
  const auto work = [&](int thread, int num_threads) {
    for (auto i = static_cast<size_t>(thread); i < count; i += static_cast<size_t>(num_threads)) {
      visit(i);
    }
  };
  if (run != nullptr) {
    run(work);
  } else {
    work(0, 1);
  }
}

}  // namespace pith
