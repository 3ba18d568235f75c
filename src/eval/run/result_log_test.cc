#include "eval/run/result_log.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace pith {
namespace {

class ResultLogTest : public testing::Test {
 protected:
  void SetUp() override {
    path_ = testing::TempDir() + "pith_result_log_" + std::to_string(getpid()) + ".jsonl";
    std::filesystem::remove(path_);
  }
  void TearDown() override { std::filesystem::remove(path_); }

  std::string Text() const {
    std::ifstream in(path_);
    std::stringstream text;
    text << in.rdbuf();
    return text.str();
  }

  static ItemRecord Record(const std::string& config) {
    ItemRecord record;
    record.run = "r";
    record.config = config;
    record.model = "m.gguf";
    record.model_hash = "0";
    record.task = "ruler/vt";
    record.id = "0";
    record.recipe = "full";
    record.metric = "string_match_all";
    return record;
  }

  std::string path_;
};

TEST_F(ResultLogTest, Reopened_KnowsWhatIsThere) {
  {
    auto log = ResultLog::Open(path_);
    ASSERT_TRUE(log) << log.error().Message();
    ASSERT_TRUE(log->Append(Record("a")));
    EXPECT_TRUE(log->Has("a"));
  }
  auto log = ResultLog::Open(path_);
  ASSERT_TRUE(log) << log.error().Message();
  EXPECT_TRUE(log->Has("a"));
  EXPECT_FALSE(log->Has("b"));
  const std::string before = Text();
  ASSERT_TRUE(log->Append(Record("b")));
  EXPECT_EQ(Text().substr(0, before.size()), before);  // nothing is overwritten
  EXPECT_EQ(log->results().items.size(), 2u);
}

TEST_F(ResultLogTest, Run_IsWrittenWithItsFirstItem) {
  auto log = ResultLog::Open(path_);
  RunRecord run;
  run.run = "r";
  log->BeginRun(run);
  EXPECT_EQ(Text(), "");
  ASSERT_TRUE(log->Append(Record("a")));
  ASSERT_TRUE(log->Append(Record("b")));
  EXPECT_EQ(log->results().runs.size(), 1u);
  EXPECT_EQ(std::ranges::count(Text(), '\n'), 3);
}

TEST_F(ResultLogTest, TornLastLine_IsCutOff) {
  {
    auto log = ResultLog::Open(path_);
    ASSERT_TRUE(log->Append(Record("a")));
  }
  const std::string whole = Text();
  std::ofstream(path_, std::ios::app) << R"({"kind":"item","run":"r","con)";
  auto log = ResultLog::Open(path_);
  ASSERT_TRUE(log) << log.error().Message();
  EXPECT_EQ(log->results().items.size(), 1u);
  EXPECT_EQ(Text(), whole);
}

TEST_F(ResultLogTest, LineThatIsNoRecord_IsRefusedByNumber) {
  {
    auto log = ResultLog::Open(path_);
    ASSERT_TRUE(log->Append(Record("a")));
  }
  std::ofstream(path_, std::ios::app) << "nonsense\n";
  const auto log = ResultLog::Open(path_);
  ASSERT_FALSE(log);
  EXPECT_EQ(log.error().kind, ErrorKind::kInput);
  EXPECT_NE(log.error().Message().find("2"), std::string::npos) << log.error().Message();
}

TEST_F(ResultLogTest, SecondWriter_IsRefused) {
  auto first = ResultLog::Open(path_);
  ASSERT_TRUE(first);
  const auto second = ResultLog::Open(path_);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().kind, ErrorKind::kInput);
}

TEST_F(ResultLogTest, Directory_IsRefused) {
  const auto log = ResultLog::Open(testing::TempDir());
  ASSERT_FALSE(log);
  EXPECT_EQ(log.error().kind, ErrorKind::kInput);
}

// A limit on the file's size stands for a full disk: the write comes out short in the same way.
TEST_F(ResultLogTest, DiskFull_KeepsWholeLines) {
  auto log = ResultLog::Open(path_);
  ASSERT_TRUE(log);
  ASSERT_TRUE(log->Append(Record("a")));
  const std::string whole = Text();
  rlimit old{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &old), 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  rlimit tight = old;
  tight.rlim_cur = whole.size() + 10;
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &tight), 0);
  const Status failed = log->Append(Record("b"));
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &old), 0);
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().kind, ErrorKind::kFailure);
  EXPECT_EQ(Text(), whole);
  EXPECT_FALSE(log->Has("b"));
  EXPECT_TRUE(log->Append(Record("b")));  // once there is room again
  std::signal(SIGXFSZ, handler);
}

}  // namespace
}  // namespace pith
