// PITH_CHECK: a caller's bug, always on. It throws std::logic_error, so that the library never
// exits by itself and a server may drop one request; PITH_DCHECK is for hot loops and only on in
// debug builds.
#pragma once

#include <stdexcept>
#include <string>

namespace pith {

[[noreturn]] inline void CheckFailed(const char* expr, const char* file, int line) {
  throw std::logic_error(std::string("check failed: ") + expr + " (" + file + ":" +
                         std::to_string(line) + ")");
}

}  // namespace pith

#define PITH_CHECK(expr) \
  ((expr) ? static_cast<void>(0) : ::pith::CheckFailed(#expr, __FILE__, __LINE__))

#ifdef NDEBUG
#define PITH_DCHECK(expr) static_cast<void>(0)
#else
#define PITH_DCHECK(expr) PITH_CHECK(expr)
#endif
