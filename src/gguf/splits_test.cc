#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "gguf/gguf.h"
#include "gguf/test_writer.h"

namespace pith {
namespace {

using testing::HasSubstr;

class GgufOpen : public testing::Test {
 protected:
  GgufOpen() {
    folder_ = std::filesystem::path(testing::TempDir()) / ("gguf_test_" + std::to_string(getpid()));
    std::filesystem::create_directories(folder_);
  }
  ~GgufOpen() override { std::filesystem::remove_all(folder_); }

  std::string Write(const std::string& name, const std::string& bytes) const {
    std::ofstream(folder_ / name, std::ios::binary) << bytes;
    return folder_ / name;
  }
  // Part `number` of three, with one tensor of its own.
  static GgufWriter Part(uint16_t number) {
    GgufWriter writer;
    if (number == 0) writer.Key("general.architecture", GgufType::kString, Text("llama"));
    writer.Key("split.no", GgufType::kU16, Raw(number));
    writer.Key("split.count", GgufType::kU16, Raw<uint16_t>(3));
    writer.Key("split.tensors.count", GgufType::kI32, Raw<int32_t>(3));
    writer.Tensor("t" + std::to_string(number), {4}, GGML_TYPE_F32, 16,
                  static_cast<char>('0' + number));
    return writer;
  }
  static std::string PartName(int number) {
    return "m-0000" + std::to_string(number + 1) + "-of-00003.gguf";
  }
  void ExpectRefused(const std::string& path, const std::string& message) const {
    const auto file = GgufFile::Open(path);
    ASSERT_FALSE(file) << message;
    EXPECT_EQ(file.error().kind, ErrorKind::kInput);
    EXPECT_THAT(file.error().Message(), HasSubstr(message));
  }

  std::filesystem::path folder_;
};

TEST_F(GgufOpen, NoFileDirectoryOrEmpty_IsRefused) {
  ExpectRefused(folder_ / "absent.gguf", "No such file");
  ExpectRefused(folder_, "directory");
  ExpectRefused(Write("empty.gguf", ""), "empty");
}

TEST_F(GgufOpen, Parts_AreReadAsOneModel) {
  for (int i = 0; i < 3; ++i) Write(PartName(i), Part(i).Bytes());
  const auto file = GgufFile::Open(folder_ / PartName(0));
  ASSERT_TRUE(file) << file.error().Message();
  EXPECT_EQ(file->files().size(), 3u);
  EXPECT_EQ(*file->String("general.architecture"), "llama");
  uint64_t bytes = 0;
  for (int i = 0; i < 3; ++i) {
    const GgufTensor* tensor = file->FindTensor("t" + std::to_string(i));
    ASSERT_NE(tensor, nullptr);
    EXPECT_EQ(tensor->file, static_cast<uint32_t>(i));
    const auto data = file->TensorBytes(*tensor);
    EXPECT_EQ(data[0], static_cast<std::byte>('0' + i));
    EXPECT_EQ(data.data(), file->files()[i].bytes().data() + tensor->offset);  // mapped, not copied
    bytes += std::filesystem::file_size(folder_ / PartName(i));
  }
  EXPECT_EQ(file->total_bytes(), bytes);
}

TEST_F(GgufOpen, LaterPart_IsRefusedWithTheNameOfTheFirst) {
  for (int i = 0; i < 3; ++i) Write(PartName(i), Part(i).Bytes());
  ExpectRefused(folder_ / PartName(1), "Name the first part: " + (folder_ / PartName(0)).string());
}

TEST_F(GgufOpen, MissingPart_IsNamed) {
  for (const int i : {0, 2}) Write(PartName(i), Part(i).Bytes());
  ExpectRefused(folder_ / PartName(0), (folder_ / PartName(1)).string());
}

TEST_F(GgufOpen, DamagedPart_IsNamed) {
  for (int i = 0; i < 3; ++i) Write(PartName(i), Part(i).Bytes());
  const std::string bytes = Part(2).Bytes();
  Write(PartName(2), bytes.substr(0, bytes.size() - 20));
  ExpectRefused(folder_ / PartName(0), (folder_ / PartName(2)).string());
}

TEST_F(GgufOpen, RenamedParts_AreRefused) {
  ExpectRefused(Write("model.gguf", Part(0).Bytes()), "does not end in -00001-of-00003.gguf");
}

TEST_F(GgufOpen, PartsThatDoNotBelongTogether_AreRefused) {
  Write(PartName(0), Part(0).Bytes());
  Write(PartName(1), Part(1).Bytes());
  Write(PartName(2), Part(1).Bytes());
  ExpectRefused(folder_ / PartName(0), "says it is part 2 of 3, not part 3 of 3");

  Write(PartName(2), Part(2).Tensor("t0", {4}, GGML_TYPE_F32, 16).Bytes());
  ExpectRefused(folder_ / PartName(0), "'t0' appears in two parts");

  Write(PartName(2), Part(2).Tensor("t9", {4}, GGML_TYPE_F32, 16).Bytes());
  ExpectRefused(folder_ / PartName(0), "hold 4 tensors where 3 are expected");

  Write(PartName(2), GgufWriter().Tensor("t2", {4}, GGML_TYPE_F32, 16).Bytes());
  ExpectRefused(folder_ / PartName(0), "'split.no' is missing");
}

TEST_F(GgufOpen, ImpossiblePartNumber_IsRefused) {
  GgufWriter writer;
  writer.Key("split.no", GgufType::kU16, Raw<uint16_t>(5));
  writer.Key("split.count", GgufType::kU16, Raw<uint16_t>(3));
  ExpectRefused(Write("m-00006-of-00003.gguf", writer.Bytes()), "part 6 of 3");
}

}  // namespace
}  // namespace pith
