// Errors as values. Three kinds of failure are kept apart (docs/architecture.md):
//   bad input            -> Error with kInput, named so that a user can mend it (exit status 2)
//   not the user's doing -> Error with kFailure (exit status 1)
//   a caller's bug       -> PITH_CHECK in check.h
#pragma once

#include <string>
#include <tl/expected.hpp>
#include <utility>

namespace pith {

enum class ErrorKind { kInput, kFailure };

// One line for people: "WHAT (WHERE). HINT". `what` says what is wrong, `where` names the thing
// (file, option, key), `hint` the way out. `where` and `hint` may be empty.
struct Error {
  ErrorKind kind = ErrorKind::kFailure;
  std::string what;
  std::string where;
  std::string hint;

  std::string Message() const {
    std::string text = what;
    if (!where.empty()) text += " (" + where + ")";
    text += ".";
    if (!hint.empty()) text += " " + hint;
    for (char& c : text) {
      if (c == '\n' || c == '\r') c = ' ';  // an error is one line, whatever a file put into it
    }
    return text;
  }
};

template <class T>
using Result = tl::expected<T, Error>;
using Status = Result<void>;

inline tl::unexpected<Error> InputError(std::string what, std::string where = {},
                                        std::string hint = {}) {
  return tl::unexpected<Error>(
      Error{ErrorKind::kInput, std::move(what), std::move(where), std::move(hint)});
}

inline tl::unexpected<Error> Failure(std::string what, std::string where = {},
                                     std::string hint = {}) {
  return tl::unexpected<Error>(
      Error{ErrorKind::kFailure, std::move(what), std::move(where), std::move(hint)});
}

}  // namespace pith

#define PITH_CONCAT_INNER(a, b) a##b
#define PITH_CONCAT(a, b) PITH_CONCAT_INNER(a, b)

// Returns the error of `expr` from the enclosing function, if it has one.
#define PITH_TRY(expr)                                                         \
  do {                                                                         \
    if (auto pith_status_ = (expr); !pith_status_)                             \
      return ::tl::unexpected<::pith::Error>(std::move(pith_status_).error()); \
  } while (0)

// PITH_ASSIGN(auto x, F()) binds the value of a Result or returns its error.
#define PITH_ASSIGN(lhs, expr) PITH_ASSIGN_INNER(PITH_CONCAT(pith_result_, __LINE__), lhs, expr)
#define PITH_ASSIGN_INNER(result, lhs, expr)                                      \
  auto result = (expr);                                                           \
  if (!result) return ::tl::unexpected<::pith::Error>(std::move(result).error()); \
  lhs = std::move(*result)
