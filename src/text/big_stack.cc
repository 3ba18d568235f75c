#include "text/big_stack.h"

#include <pthread.h>

#include <string>

namespace pith {

Status CallWithStack(size_t stack_bytes, const std::function<void()>& call) {
  const auto run = [](void* argument) -> void* {
    (*static_cast<const std::function<void()>*>(argument))();
    return nullptr;
  };
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_t thread{};
  const bool started =
      pthread_attr_setstacksize(&attributes, stack_bytes) == 0 &&
      pthread_create(&thread, &attributes, run, const_cast<std::function<void()>*>(&call)) == 0;
  pthread_attr_destroy(&attributes);
  if (!started) {
    return Failure(
        "there is no memory for a stack of " + std::to_string(stack_bytes >> 20) + " MiB",
        "tokenizer", "Break up the longest stretch of text without spaces.");
  }
  pthread_join(thread, nullptr);
  return {};
}

}  // namespace pith
