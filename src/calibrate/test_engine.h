// For tests only: engines over models of the test's making.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <string>

#include "engine/engine.h"

namespace pith {

// Of the model that `make` writes to the path it is given.
template <class Make>
std::unique_ptr<Engine> MadeEngine(const Make& make, int threads = 1, uint32_t chunk = 512) {
  const auto* test = testing::UnitTest::GetInstance()->current_test_info();
  const std::string path = std::filesystem::path(testing::TempDir()) /
                           (std::string(test->test_suite_name()) + test->name() + ".gguf");
  EXPECT_TRUE(make(path));
  auto engine = Engine::Create({.model_path = path, .num_threads = threads, .chunk = chunk});
  std::filesystem::remove(path);  // mapped until the engine goes
  if (!engine) throw std::runtime_error(engine.error().Message());
  return std::move(*engine);
}

}  // namespace pith
