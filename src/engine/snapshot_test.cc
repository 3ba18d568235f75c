#include "engine/snapshot.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>

#include "base/hash.h"
#include "engine/generate.h"

namespace pith {
namespace {

using testing::HasSubstr;

EngineOptions NanoOptions() {
  EngineOptions options;
  options.model_path = PITH_SOURCE_DIR "/models/nano/nano.gguf";
  return options;
}

std::unique_ptr<Engine> NanoEngine(const EngineOptions& options = NanoOptions()) {
  auto engine = Engine::Create(options);
  if (!engine) throw std::runtime_error(engine.error().Message());
  return std::move(*engine);
}

std::string ReadAll(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void WriteAll(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

class SnapshotTest : public testing::Test {
 protected:
  void SetUp() override {
    const auto prompt = engine_->tokenizer().Tokenize("In Oslo the river was calm.", true, false);
    const auto logits = FeedPrompt(*engine_, sequence_, sampler_, *prompt).value();
    GenerateOptions generate;
    generate.max_tokens = 20;
    generate.ignore_eos = true;
    const auto begun = Generate(*engine_, sequence_, sampler_, logits, generate).value();
    const auto last = FeedPending(*engine_, sequence_, begun).value();
    logits_.assign(last.begin(), last.end());
  }
  void TearDown() override { std::filesystem::remove(path_); }

  Status Save() {
    return SaveSnapshot(*engine_, sequence_, sampler_.State(), logits_, "a note", path_);
  }
  // Why loading failed; empty if it did not.
  std::string Refusal(Engine& engine) {
    const auto loaded = LoadSnapshot(engine, path_);
    if (loaded) return "";
    EXPECT_EQ(loaded.error().kind, ErrorKind::kInput);
    EXPECT_EQ(loaded.error().where, path_);
    return loaded.error().Message();
  }
  // Changes the file's bytes and makes its checksum right again, as a forger would.
  void Forge(const std::function<void(std::string*)>& change) {
    std::string bytes = ReadAll(path_);
    bytes.resize(bytes.size() - sizeof(uint64_t));
    change(&bytes);
    Hasher hasher;
    hasher.Add(bytes.data(), bytes.size());
    const uint64_t checksum = hasher.Finish();
    bytes.append(reinterpret_cast<const char*>(&checksum), sizeof checksum);
    WriteAll(path_, bytes);
  }

  std::unique_ptr<Engine> engine_ = NanoEngine();
  Sequence sequence_ = engine_->NewSequence();
  SamplerOptions options_{.temperature = 0.9f, .repeat_penalty = 1.2f, .seed = 7};
  Sampler sampler_ = Sampler::Create(options_).value();
  std::vector<float> logits_;
  const std::string path_ = testing::TempDir() + "pith_snapshot_" +
                            testing::UnitTest::GetInstance()->current_test_info()->name();
};

TEST_F(SnapshotTest, SaveLoadContinue_EqualsContinueBitForBit) {
  ASSERT_TRUE(Save());
  GenerateOptions generate;
  generate.max_tokens = 30;
  generate.ignore_eos = true;
  const Generation straight = Generate(*engine_, sequence_, sampler_, logits_, generate).value();
  const std::vector<float> straight_logits(straight.logits.begin(), straight.logits.end());

  const auto other = NanoEngine();  // as after a restart of the program
  Snapshot loaded = LoadSnapshot(*other, path_).value();
  EXPECT_EQ(loaded.note, "a note");
  EXPECT_EQ(loaded.logits, logits_);
  Sampler sampler = Sampler::Create(options_).value();
  sampler.Restore(loaded.sampler);
  const Generation resumed =
      Generate(*other, loaded.sequence, sampler, loaded.logits, generate).value();
  EXPECT_EQ(resumed.tokens, straight.tokens);
  EXPECT_EQ(resumed.text, straight.text);
  EXPECT_EQ(std::vector<float>(resumed.logits.begin(), resumed.logits.end()), straight_logits);
  EXPECT_EQ(sampler.State().rng, sampler_.State().rng);
  EXPECT_EQ(sampler.State().recent, sampler_.State().recent);
}

TEST_F(SnapshotTest, Saving_IsRepeatable) {
  ASSERT_TRUE(Save());
  const std::string first = ReadAll(path_);
  Snapshot loaded = LoadSnapshot(*engine_, path_).value();
  ASSERT_TRUE(
      SaveSnapshot(*engine_, loaded.sequence, loaded.sampler, loaded.logits, loaded.note, path_));
  EXPECT_EQ(ReadAll(path_), first);
}

TEST_F(SnapshotTest, AnyFlippedByte_IsRefused) {
  ASSERT_TRUE(Save());
  const std::string good = ReadAll(path_);
  for (size_t at = 0; at < good.size(); at += 1 + good.size() / 257) {
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ 0x10);
    WriteAll(path_, bad);
    EXPECT_NE(Refusal(*engine_), "") << "byte " << at;
  }
}

TEST_F(SnapshotTest, AnyTruncation_IsRefused) {
  ASSERT_TRUE(Save());
  const std::string good = ReadAll(path_);
  for (size_t size = 1; size < good.size(); size += 1 + good.size() / 97) {
    WriteAll(path_, good.substr(0, size));
    EXPECT_NE(Refusal(*engine_), "") << size << " bytes";
  }
}

TEST_F(SnapshotTest, ForgedCounts_AreRefused) {
  ASSERT_TRUE(Save());
  const std::string good = ReadAll(path_);
  // The seven counts of docs/save_format.md.
  for (size_t offset = 24; offset < 80; offset += sizeof(uint64_t)) {
    for (const uint64_t value : {uint64_t{0}, uint64_t{1}, ~uint64_t{0}, uint64_t{1} << 62}) {
      if (std::memcmp(&good[offset], &value, sizeof value) == 0) continue;
      WriteAll(path_, good);
      Forge([&](std::string* bytes) { std::memcpy(&(*bytes)[offset], &value, sizeof value); });
      EXPECT_NE(Refusal(*engine_), "") << "offset " << offset << " value " << value;
    }
  }
}

TEST_F(SnapshotTest, ForgedToken_IsRefused) {
  ASSERT_TRUE(Save());
  Forge([](std::string* bytes) { std::memset(&(*bytes)[96], 0xff, 4); });
  EXPECT_THAT(Refusal(*engine_), HasSubstr("damaged"));
}

TEST_F(SnapshotTest, OtherModelHash_IsRefusedAsAnotherModel) {
  ASSERT_TRUE(Save());
  Forge([](std::string* bytes) { (*bytes)[16] = static_cast<char>((*bytes)[16] ^ 1); });
  EXPECT_THAT(Refusal(*engine_), HasSubstr("another model"));
}

TEST_F(SnapshotTest, EarlierVersion_IsRefusedByName) {
  ASSERT_TRUE(Save());
  Forge([](std::string* bytes) { (*bytes)[8] = 1; });
  EXPECT_THAT(Refusal(*engine_), HasSubstr("version 1"));
}

TEST_F(SnapshotTest, EngineOfOtherForms_GoesOnAsItWasSaved) {
  ASSERT_TRUE(Save());
  EngineOptions options = NanoOptions();
  options.key_form = FindForm("f32");
  options.value_form = FindForm("f32");
  const auto other = NanoEngine(options);
  const Snapshot loaded = LoadSnapshot(*other, path_).value();
  EXPECT_EQ(loaded.sequence.kv.plan.canonical, "full");
  EXPECT_EQ(loaded.sequence.cache.spec().keys.form->name, "f16");
}

TEST_F(SnapshotTest, ShorterContext_IsRefused) {
  ASSERT_TRUE(Save());
  EngineOptions options = NanoOptions();
  options.context = 16;
  EXPECT_THAT(Refusal(*NanoEngine(options)), HasSubstr("--ctx"));
}

TEST_F(SnapshotTest, ForeignFile_IsRefusedByName) {
  WriteAll(path_, "this is no session at all, only some text in a file that is long enough");
  EXPECT_THAT(Refusal(*engine_), HasSubstr("not a session file"));
}

TEST_F(SnapshotTest, UnwritableFolder_LeavesNothing) {
  const auto saved =
      SaveSnapshot(*engine_, sequence_, sampler_.State(), logits_, "", "/no/such/folder/session");
  ASSERT_FALSE(saved);
  EXPECT_EQ(saved.error().where, "/no/such/folder/session");
}

}  // namespace
}  // namespace pith
