// The library never prints. What it has to say goes to one callback, which the program sets.
#pragma once

#include <functional>
#include <string_view>

namespace pith {

enum class LogLevel { kInfo, kWarning };
using LogSink = std::function<void(LogLevel, std::string_view)>;

// Replaces the sink (default: nothing is said). Not thread-safe: set it once, before work begins.
void SetLogSink(LogSink sink);
void Log(LogLevel level, std::string_view message);

}  // namespace pith
