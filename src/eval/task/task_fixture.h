// For the tests of tasks: requests with the bundled model's tokenizer, and what every task must
// hold to.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "eval/task/task.h"
#include "gguf/gguf.h"
#include "text/tokenizer.h"

namespace pith {

inline const Tokenizer& NanoTokenizer() {
  static const std::unique_ptr<Tokenizer> tokenizer = [] {
    auto file = GgufFile::Open(PITH_SOURCE_DIR "/models/nano/nano.gguf");
    EXPECT_TRUE(file.has_value());
    auto loaded = Tokenizer::Load(*file);
    EXPECT_TRUE(loaded.has_value());
    return std::move(*loaded);
  }();
  return *tokenizer;
}

inline TaskRequest NanoRequest(uint32_t length, uint32_t samples) {
  static const Haystack haystack = Haystack::Builtin();
  TaskRequest request;
  request.tokenizer = &NanoTokenizer();
  request.length = length;
  request.samples = samples;
  request.haystack = &haystack;
  return request;
}

inline Result<std::vector<Item>> TryItems(std::string_view name, const TaskRequest& request) {
  const TaskInfo* task = FindTask(name);
  if (task == nullptr) return Failure("no such task", std::string(name));
  return task->generate(*task, request);
}

inline std::vector<Item> Items(std::string_view name, const TaskRequest& request) {
  auto items = TryItems(name, request);
  EXPECT_TRUE(items.has_value()) << (items ? "" : items.error().Message());
  return items ? std::move(*items) : std::vector<Item>{};
}

// The length rule, that `least_filled` of the length is used, and that the fields are there.
inline void ExpectWellFormed(std::string_view name, const TaskRequest& request,
                             double least_filled) {
  SCOPED_TRACE(name);
  SCOPED_TRACE(request.length);
  std::set<std::string> ids;
  const std::vector<Item> items = Items(name, request);
  EXPECT_GE(items.size(), request.samples);
  for (const Item& item : items) {
    const size_t tokens = request.Count(item.context + item.question + item.answer_prefix) +
                          item.max_new_tokens + request.reserved;
    EXPECT_LE(tokens, request.length);
    EXPECT_GE(static_cast<double>(tokens), least_filled * request.length);
    EXPECT_EQ(item.task, name);
    EXPECT_TRUE(ids.insert(item.id).second) << item.id;
    EXPECT_FALSE(item.context.empty());
    EXPECT_FALSE(item.answers.empty());
    EXPECT_FALSE(item.metrics.empty());
    EXPECT_EQ(item.meta.at("length"), request.length);
  }
}

// The same request gives the same items, and a sample does not depend on how many there are.
inline void ExpectReproducible(std::string_view name, TaskRequest request) {
  SCOPED_TRACE(name);
  const std::vector<Item> items = Items(name, request);
  const std::vector<Item> again = Items(name, request);
  request.samples += 5;
  const std::vector<Item> more = Items(name, request);
  ASSERT_EQ(items.size(), again.size());
  ASSERT_GT(more.size(), items.size());
  for (size_t i = 0; i < items.size(); ++i) {
    EXPECT_EQ(ToJson(items[i]), ToJson(again[i]));
    EXPECT_EQ(ToJson(items[i]), ToJson(more[i]));
  }
}

inline void ExpectInputError(std::string_view name, const TaskRequest& request,
                             std::string_view part) {
  const auto items = TryItems(name, request);
  ASSERT_FALSE(items.has_value()) << name;
  EXPECT_EQ(items.error().kind, ErrorKind::kInput);
  EXPECT_NE(items.error().Message().find(part), std::string::npos) << items.error().Message();
}

}  // namespace pith
