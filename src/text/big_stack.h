// Calls a function on a thread with a stack of its own size, for code of others that recurses over
// its input.
#pragma once

#include <cstddef>
#include <functional>

#include "base/status.h"

namespace pith {

// `call` must not throw. kFailure if the system does not give a stack of that many bytes (it is
// only used as far as the call gets, but reserved whole).
Status CallWithStack(size_t stack_bytes, const std::function<void()>& call);

}  // namespace pith
