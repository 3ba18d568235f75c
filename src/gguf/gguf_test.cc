#include "gguf/gguf.h"

#include <gguf.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "gguf/test_writer.h"

namespace pith {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

GgufWriter EveryKind() {
  GgufWriter w;
  w.Key("general.architecture", GgufType::kString, Text("llama"));
  w.Key("u8", GgufType::kU8, Raw<uint8_t>(200)).Key("i8", GgufType::kI8, Raw<int8_t>(-100));
  w.Key("u16", GgufType::kU16, Raw<uint16_t>(60000)).Key("i16", GgufType::kI16, Raw<int16_t>(-2));
  w.Key("u32", GgufType::kU32, Raw<uint32_t>(4000000000));
  w.Key("i32", GgufType::kI32, Raw<int32_t>(7));
  w.Key("u64", GgufType::kU64, Raw<uint64_t>(1) + "").Key("i64", GgufType::kI64, Raw<int64_t>(9));
  w.Key("f32", GgufType::kF32, Raw(0.5f)).Key("f64", GgufType::kF64, Raw(0.25));
  w.Key("yes", GgufType::kBool, Raw<uint8_t>(1)).Key("no", GgufType::kBool, Raw<uint8_t>(0));
  w.Array("strings", GgufType::kString, 3, Text("a") + Text("") + Text("ccc"));
  w.Array("floats", GgufType::kF32, 2, Raw(1.5f) + Raw(-2.0f));
  w.Array("doubles", GgufType::kF64, 1, Raw(3.0));
  w.Array("bytes", GgufType::kI8, 2, Raw<int8_t>(-1) + Raw<int8_t>(5));
  w.Array("wide", GgufType::kU64, 1, Raw<uint64_t>(1ull << 40));
  w.Array("none", GgufType::kI32, 0, "");
  w.Tensor("token_embd.weight", {4, 3}, GGML_TYPE_F32, 48, 'a');
  w.Tensor("blk.0.attn_q.weight", {32, 2, 2}, GGML_TYPE_Q8_0, 4 * 34, 'b');
  w.Tensor("blk.0.attn_norm.weight", {5}, GGML_TYPE_F32, 20, 'c');
  return w;
}

std::span<const std::byte> AsBytes(const std::string& text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

// In a block of exactly its size, so that the sanitizer sees any read beyond it.
class Exact {
 public:
  explicit Exact(const std::string& text) : data_(new std::byte[text.size()]), size_(text.size()) {
    std::memcpy(data_.get(), text.data(), text.size());
  }
  std::span<const std::byte> bytes() const { return {data_.get(), size_}; }

 private:
  std::unique_ptr<std::byte[]> data_;
  size_t size_;
};

struct GgufDeleter {
  void operator()(gguf_context* context) const { gguf_free(context); }
  void operator()(ggml_context* context) const { ggml_free(context); }
};
using Peer = std::unique_ptr<gguf_context, GgufDeleter>;

// ggml's own reader, over the same bytes.
Peer ReadWithGgml(std::span<const std::byte> bytes) {
  ggml_log_set([](ggml_log_level, const char*, void*) {}, nullptr);
  return Peer(gguf_init_from_buffer(bytes.data(), bytes.size(), {true, nullptr}));
}

// Keys, values, tensors and places are those that ggml's reader finds.
void ExpectSameAsPeer(const GgufFile& file, const gguf_context* peer) {
  ASSERT_EQ(gguf_get_n_kv(peer), static_cast<int64_t>(file.values().size()));
  for (int64_t i = 0; i < gguf_get_n_kv(peer); ++i) {
    const GgufValue& value = file.values()[i];
    ASSERT_EQ(value.key, gguf_get_key(peer, i));
    ASSERT_EQ(static_cast<int>(value.type), static_cast<int>(gguf_get_kv_type(peer, i)));
    if (value.type == GgufType::kArray) {
      const auto& array = std::get<GgufArray>(value.value);
      ASSERT_EQ(static_cast<int>(array.type), static_cast<int>(gguf_get_arr_type(peer, i)));
      ASSERT_EQ(array.count, gguf_get_arr_n(peer, i));
      if (array.type == GgufType::kString) {
        const auto texts = file.Strings(value.key);
        for (size_t k = 0; k < array.count; ++k) {
          ASSERT_EQ((*texts)[k].substr(0, (*texts)[k].find('\0')), gguf_get_arr_str(peer, i, k));
        }
      } else if (array.type != GgufType::kBool && array.count > 0) {  // ggml has no data for none
        ASSERT_EQ(std::memcmp(array.bytes.data(), gguf_get_arr_data(peer, i), array.bytes.size()),
                  0);
      }
    } else if (value.type == GgufType::kString) {
      const auto text = std::get<std::string_view>(value.value);
      ASSERT_EQ(text.substr(0, text.find('\0')), gguf_get_val_str(peer, i));
    }
  }
  ASSERT_EQ(gguf_get_n_tensors(peer), static_cast<int64_t>(file.tensors().size()));
  for (int64_t i = 0; i < gguf_get_n_tensors(peer); ++i) {
    const GgufTensor& tensor = file.tensors()[i];
    ASSERT_EQ(tensor.name, gguf_get_tensor_name(peer, i));
    ASSERT_EQ(tensor.type, gguf_get_tensor_type(peer, i));
    ASSERT_EQ(tensor.size, gguf_get_tensor_size(peer, i));
    ASSERT_EQ(tensor.offset, gguf_get_data_offset(peer) + gguf_get_tensor_offset(peer, i));
    ASSERT_TRUE(std::equal(tensor.ne.begin(), tensor.ne.end(), gguf_get_tensor_ne(peer, i)));
  }
}

// Every getter on every key, and every byte of every tensor.
uint64_t TouchEverything(const GgufFile& file) {
  uint64_t sum = 0;
  for (const GgufValue& value : file.values()) {
    sum += file.Integer(value.key).value_or(1) + file.BoolOr(value.key, true).value_or(true);
    sum += file.Float(value.key).has_value();
    sum += file.String(value.key).value_or("").size();
    sum += file.Floats(value.key).value_or(std::vector<float>{}).size();
    sum += file.Integers(value.key).value_or(std::vector<int64_t>{}).size();
    for (const auto text : file.Strings(value.key).value_or(std::vector<std::string_view>{})) {
      for (const char c : text) sum += static_cast<unsigned char>(c);
    }
  }
  for (const GgufTensor& tensor : file.tensors()) {
    for (const std::byte b : file.TensorBytes(tensor)) sum += static_cast<uint64_t>(b);
  }
  return sum;
}

TEST(Gguf, WellFormed_GivesEveryKindOfValue) {
  const std::string bytes = EveryKind().Bytes();
  const auto file = GgufFile::Parse(AsBytes(bytes), "x.gguf");
  ASSERT_TRUE(file) << file.error().Message();
  EXPECT_EQ(*file->String("general.architecture"), "llama");
  EXPECT_EQ(*file->Integer("u8"), 200u);
  EXPECT_EQ(*file->Integer("u16"), 60000u);
  EXPECT_EQ(*file->Integer("u32"), 4000000000u);
  EXPECT_EQ(*file->Integer("i32"), 7u);
  EXPECT_EQ(*file->Integer("i64"), 9u);
  EXPECT_EQ(std::get<int64_t>(file->Find("i8")->value), -100);
  EXPECT_EQ(*file->Float("f32"), 0.5);
  EXPECT_EQ(*file->Float("f64"), 0.25);
  EXPECT_EQ(*file->BoolOr("yes", false), true);
  EXPECT_EQ(*file->BoolOr("no", true), false);
  EXPECT_THAT(*file->Strings("strings"), ElementsAre("a", "", "ccc"));
  EXPECT_THAT(*file->Floats("floats", 2), ElementsAre(1.5f, -2.0f));
  EXPECT_THAT(*file->Floats("doubles"), ElementsAre(3.0f));
  EXPECT_THAT(*file->Integers("bytes"), ElementsAre(-1, 5));
  EXPECT_THAT(*file->Integers("wide"), ElementsAre(int64_t{1} << 40));
  EXPECT_THAT(*file->Integers("none"), ElementsAre());
  EXPECT_EQ(*file->IntegerOr("absent", 3), 3u);
  EXPECT_EQ(*file->FloatOr("absent", 0.1), 0.1);
  EXPECT_EQ(*file->StringOr("absent", "s"), "s");
  EXPECT_EQ(file->total_bytes(), bytes.size());
}

TEST(Gguf, WellFormed_GivesTensorsWithTheirBytes) {
  const std::string bytes = EveryKind().Bytes();
  const auto file = GgufFile::Parse(AsBytes(bytes), "x.gguf");
  ASSERT_TRUE(file) << file.error().Message();
  const GgufTensor* tensor = file->FindTensor("blk.0.attn_q.weight");
  ASSERT_NE(tensor, nullptr);
  EXPECT_EQ(tensor->type, GGML_TYPE_Q8_0);
  EXPECT_EQ(tensor->num_dims, 3u);
  EXPECT_THAT(tensor->ne, ElementsAre(32, 2, 2, 1));
  const auto data = file->TensorBytes(*tensor);
  EXPECT_EQ(data.size(), 136u);
  EXPECT_TRUE(std::ranges::all_of(data, [](std::byte b) { return b == std::byte{'b'}; }));
  EXPECT_EQ(file->FindTensor("absent"), nullptr);
}

TEST(Gguf, WellFormed_IsReadAsGgmlReadsIt) {
  for (const uint32_t version : {2u, 3u}) {
    GgufWriter writer = EveryKind();
    writer.version = version;
    const std::string bytes = writer.Bytes();
    const auto file = GgufFile::Parse(AsBytes(bytes), "x.gguf");
    ASSERT_TRUE(file) << file.error().Message();
    const Peer peer = ReadWithGgml(AsBytes(bytes));
    ASSERT_NE(peer, nullptr);
    ExpectSameAsPeer(*file, peer.get());
  }
}

TEST(Gguf, OtherAlignment_IsHonoured) {
  GgufWriter writer;
  writer.alignment = 64;
  writer.Key("general.alignment", GgufType::kU32, Raw<uint32_t>(64));
  writer.Tensor("a", {3}, GGML_TYPE_F32, 12).Tensor("b", {4}, GGML_TYPE_F32, 16);
  const std::string bytes = writer.Bytes();
  const auto file = GgufFile::Parse(AsBytes(bytes), "x.gguf");
  ASSERT_TRUE(file) << file.error().Message();
  const Peer peer = ReadWithGgml(AsBytes(bytes));
  ASSERT_NE(peer, nullptr);
  ExpectSameAsPeer(*file, peer.get());
}

TEST(Gguf, BundledModel_IsReadAsGgmlReadsIt) {
  const std::string path = PITH_SOURCE_DIR "/models/nano/nano.gguf";
  const auto file = GgufFile::Open(path);
  ASSERT_TRUE(file) << file.error().Message();
  const Peer peer(gguf_init_from_file(path.c_str(), {true, nullptr}));
  ASSERT_NE(peer, nullptr);
  ASSERT_GT(file->tensors().size(), 0u);
  ExpectSameAsPeer(*file, peer.get());
}

struct Refusal {
  const char* name;
  std::function<std::string()> bytes;
  const char* message;  // part of it
};
void PrintTo(const Refusal& refusal, std::ostream* out) { *out << refusal.name; }

std::string Changed(const std::function<void(GgufWriter&)>& change) {
  GgufWriter writer = EveryKind();
  change(writer);
  return writer.Bytes();
}
std::string WithTensor(const std::vector<int64_t>& ne, int type, uint64_t offset = 0) {
  return GgufWriter().TensorInfo("t", ne, type, offset).Bytes() + std::string(4096, 0);
}
std::string WithAlignment(GgufType type, const std::string& value) {
  return GgufWriter().Key("general.alignment", type, value).Bytes();
}

const Refusal kRefusals[] = {
    {"Zip", [] { return "PK\x03\x04" + std::string(60, 0); }, "zip archive"},
    {"Safetensors", [] { return Raw<uint64_t>(50) + "{\"a\":{}}" + std::string(60, 0); },
     "safetensors"},
    {"OldGgml", [] { return "tjgg" + std::string(60, 0); }, "GGJT file from before GGUF"},
    {"WebPage", [] { return std::string("<!DOCTYPE html>"); }, "web page"},
    {"OtherMagic", [] { return std::string("what is this"); }, "not a GGUF file"},
    {"TwoBytes", [] { return std::string("GG"); }, "ends inside the header"},
    {"Version1", [] { return Changed([](GgufWriter& w) { w.version = 1; }); }, "GGUF version 1 "},
    {"Version0", [] { return Changed([](GgufWriter& w) { w.version = 0; }); }, "GGUF version 0 "},
    {"Version4", [] { return Changed([](GgufWriter& w) { w.version = 4; }); }, "GGUF version 4 "},
    {"BigEndian", [] { return Changed([](GgufWriter& w) { w.version = 0x03000000; }); },
     "big-endian"},
    {"AbsurdKeyCount", [] { return Changed([](GgufWriter& w) { w.extra_keys = 1ll << 60; }); },
     "keys, more than the file can hold"},
    {"NegativeKeyCount", [] { return Changed([](GgufWriter& w) { w.extra_keys = -100; }); },
     "keys, more than the file can hold"},
    {"AbsurdTensorCount",
     [] { return Changed([](GgufWriter& w) { w.extra_tensors = 1ll << 60; }); },
     "tensors, more than the file can hold"},
    {"OneKeyTooMany",
     [] {
       GgufWriter w = EveryKind();
       w.extra_keys = 1;  // tensor names are then read as keys
       return w.Bytes();
     },
     "ends inside the name of tensor 0"},
    {"KeyNameBeyondFile",
     [] {
       GgufWriter w;
       w.extra_keys = 1;
       return w.Bytes() + Raw<uint64_t>(~0ull) + std::string(40, 'a');
     },
     "ends inside the name of key 0"},
    {"EmptyKeyName", [] { return GgufWriter().Key("", GgufType::kU8, "1").Bytes() + "pad"; },
     "empty name"},
    {"LongKeyName",
     [] { return GgufWriter().Key(std::string(65536, 'k'), GgufType::kU8, "1").Bytes(); },
     "65536 bytes long"},
    {"ZeroByteInKeyName",
     [] { return GgufWriter().Key(std::string_view("a\0b", 3), GgufType::kU8, "1").Bytes(); },
     "zero byte"},
    {"UnknownValueType", [] { return GgufWriter().Key("k", GgufType{13}, "1234").Bytes(); },
     "'k' has the unknown value type 13"},
    {"BoolOfTwo", [] { return GgufWriter().Key("k", GgufType::kBool, "\x02").Bytes(); },
     "neither 0 nor 1"},
    {"StringBeyondFile",
     [] { return GgufWriter().Key("k", GgufType::kString, Raw<uint64_t>(1000) + "abc").Bytes(); },
     "ends inside the key 'k'"},
    {"ArrayBeyondFile",
     [] { return GgufWriter().Array("k", GgufType::kU32, 1ull << 62, "abcd").Bytes(); },
     "array 'k' announces"},
    {"StringArrayBeyondFile",
     [] { return GgufWriter().Array("k", GgufType::kString, 2, Text("a") + Raw(~0ull)).Bytes(); },
     "ends inside element 1 of the array 'k'"},
    {"NestedArray",
     [] { return GgufWriter().Array("k", GgufType::kArray, 1, std::string(32, 0)).Bytes(); },
     "'k' is an array of arrays"},
    {"UnknownArrayType", [] { return GgufWriter().Array("k", GgufType{99}, 1, "a").Bytes(); },
     "'k' has the unknown value type 99"},
    {"DuplicateKey", [] { return Changed([](GgufWriter& w) { w.Key("u8", GgufType::kU8, "1"); }); },
     "the key 'u8' appears twice"},
    {"AlignmentOfWrongType", [] { return WithAlignment(GgufType::kU64, Raw<uint64_t>(32)); },
     "general.alignment is of type u64"},
    {"AlignmentZero", [] { return WithAlignment(GgufType::kU32, Raw<uint32_t>(0)); },
     "general.alignment is 0"},
    {"AlignmentFour", [] { return WithAlignment(GgufType::kU32, Raw<uint32_t>(4)); },
     "general.alignment is 4"},
    {"AlignmentNoPowerOfTwo", [] { return WithAlignment(GgufType::kU32, Raw<uint32_t>(48)); },
     "general.alignment is 48"},
    {"DuplicateTensor",
     [] {
       return Changed([](GgufWriter& w) { w.Tensor("token_embd.weight", {4}, GGML_TYPE_F32, 16); });
     },
     "the tensor 'token_embd.weight' appears twice"},
    {"LongTensorName",
     [] { return GgufWriter().Tensor(std::string(64, 't'), {4}, GGML_TYPE_F32, 16).Bytes(); },
     "64 bytes long, more than the 63"},
    {"NoDimensions", [] { return WithTensor({}, GGML_TYPE_F32); }, "'t' has 0 dimensions"},
    {"FiveDimensions", [] { return WithTensor({1, 1, 1, 1, 1}, GGML_TYPE_F32); },
     "'t' has 5 dimensions"},
    {"ZeroDimension", [] { return WithTensor({4, 0}, GGML_TYPE_F32); }, "size 0 in dimension 1"},
    {"NegativeDimension", [] { return WithTensor({-4}, GGML_TYPE_F32); }, "size -4 in dimension 0"},
    {"ElementsOverflow", [] { return WithTensor({1ll << 40, 1ll << 40}, GGML_TYPE_F32); },
     "larger than any file"},
    {"BytesOverflow",
     [] { return WithTensor({std::numeric_limits<int64_t>::max()}, GGML_TYPE_F32); },
     "larger than any file"},
    {"UnknownType", [] { return WithTensor({4}, GGML_TYPE_COUNT); }, "unknown type"},
    {"NegativeType", [] { return WithTensor({4}, -1); }, "unknown type 4294967295"},
    {"RemovedType", [] { return WithTensor({32}, 4); }, "ggml has removed"},
    {"RemovedRepackedType", [] { return WithTensor({32}, 31); }, "ggml has removed"},
    {"BrokenBlock", [] { return WithTensor({33}, GGML_TYPE_Q8_0); }, "whole blocks of 32 of q8_0"},
    {"UnalignedOffset", [] { return WithTensor({4}, GGML_TYPE_F32, 16); },
     "not on a multiple of 32"},
    {"OffsetBeyondFile", [] { return WithTensor({4}, GGML_TYPE_F32, 1 << 20); },
     "ends inside the tensor 't'"},
    {"OffsetOverflow", [] { return WithTensor({4}, GGML_TYPE_F32, ~uint64_t{31}); },
     "beyond the end of any file"},
    {"TensorBeyondFile", [] { return WithTensor({1 << 20}, GGML_TYPE_F32); },
     "ends inside the tensor 't'"},
    {"OverlappingTensors",
     [] {
       return GgufWriter()
                  .TensorInfo("late", {16}, GGML_TYPE_F32, 32)
                  .TensorInfo("early", {9}, GGML_TYPE_F32, 0)
                  .Bytes() +
              std::string(256, 0);
     },
     "'early' and 'late' overlap"},
};

class GgufRefusal : public testing::TestWithParam<Refusal> {};

TEST_P(GgufRefusal, BadBytes_AreRefusedByOneLineThatNamesTheThing) {
  const Exact bytes(GetParam().bytes());
  const auto file = GgufFile::Parse(bytes.bytes(), "x.gguf");
  ASSERT_FALSE(file);
  const std::string message = file.error().Message();
  EXPECT_EQ(file.error().kind, ErrorKind::kInput);
  EXPECT_THAT(message, HasSubstr(GetParam().message));
  EXPECT_THAT(message, HasSubstr("(x.gguf)."));
  EXPECT_EQ(message.find('\n'), std::string::npos);
  EXPECT_LT(message.size(), 400u);
}

INSTANTIATE_TEST_SUITE_P(Gguf, GgufRefusal, testing::ValuesIn(kRefusals),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(Gguf, ControlCharactersInNames_DoNotReachTheTerminal) {
  const std::string bytes = GgufWriter().Key("a\x1b[2J\n", GgufType{77}, "1234").Bytes();
  const auto file = GgufFile::Parse(AsBytes(bytes), "x.gguf");
  ASSERT_FALSE(file);
  EXPECT_THAT(file.error().Message(), HasSubstr("'a?[2J?'"));
}

TEST(Gguf, MissingKeyOrWrongType_IsRefusedByName) {
  GgufWriter writer = EveryKind();
  writer.Key("nan", GgufType::kF32, Raw(std::nanf("")));
  writer.Array("huge", GgufType::kU64, 1, Raw(~0ull)).Array("big", GgufType::kF64, 1, Raw(1e300));
  const std::string bytes = writer.Bytes();
  const auto file = GgufFile::Parse(AsBytes(bytes), "x.gguf");
  ASSERT_TRUE(file) << file.error().Message();
  const auto expect = [](const auto& result, const char* message) {
    ASSERT_FALSE(result) << message;
    EXPECT_EQ(result.error().kind, ErrorKind::kInput);
    EXPECT_EQ(result.error().where, "x.gguf");
    EXPECT_THAT(result.error().Message(), HasSubstr(message));
  };
  expect(file->Integer("absent"), "the key 'absent' is missing");
  expect(file->Float("absent"), "the key 'absent' is missing");
  expect(file->String("absent"), "the key 'absent' is missing");
  expect(file->Strings("absent"), "the key 'absent' is missing");
  expect(file->Integer("f32"), "'f32' is of type f32, not an integer");
  expect(file->Integer("i8"), "'i8' is negative: -100");
  expect(file->Float("u8"), "'u8' is of type u8, not a floating-point number");
  expect(file->Float("nan"), "'nan' is not a finite number");
  expect(file->String("floats"), "'floats' is of type array of f32, not a string");
  expect(file->IntegerOr("yes", 1), "'yes' is of type bool, not an integer");
  expect(file->FloatOr("yes", 1), "not a floating-point number");
  expect(file->StringOr("yes", ""), "not a string");
  expect(file->BoolOr("u8", false), "not a truth value");
  expect(file->Strings("floats"), "array of f32, not an array of strings");
  expect(file->Strings("strings", 4), "has 3 elements where 4 are expected");
  expect(file->Floats("strings"), "array of string, not an array of floating-point numbers");
  expect(file->Floats("big"), "too large for 32 bits");
  expect(file->Integers("floats"), "not an array of integers");
  expect(file->Integers("u8"), "'u8' is of type u8, not an array of integers");
  expect(file->Integers("huge"), "too large for 63 bits");
}

TEST(Gguf, TruncatedAnywhere_IsRefused) {
  const std::string whole = EveryKind().Bytes();
  const auto complete = GgufFile::Parse(AsBytes(whole), "x.gguf");
  ASSERT_TRUE(complete);
  const GgufTensor& last = complete->tensors().back();
  for (size_t size = 0; size < whole.size(); ++size) {
    const Exact bytes(whole.substr(0, size));
    const auto file = GgufFile::Parse(bytes.bytes(), "x.gguf");
    // Only the padding after the last tensor may be missing.
    EXPECT_EQ(file.has_value(), size >= last.offset + last.size) << size;
  }
}

TEST(Gguf, AnyByteChanged_NeverCrashesUsOrGgmlBehindUs) {
  const std::string whole = EveryKind().Bytes();
  int accepted = 0, refused = 0;
  for (size_t i = 0; i < whole.size(); ++i) {
    for (const int mask : {0x01, 0x02, 0x10, 0x80, 0xff}) {
      std::string changed = whole;
      changed[i] = static_cast<char>(changed[i] ^ mask);
      const Exact bytes(changed);
      const auto file = GgufFile::Parse(bytes.bytes(), "x.gguf");
      if (!file) {
        EXPECT_FALSE(file.error().Message().empty());
        ++refused;
        continue;
      }
      ++accepted;
      TouchEverything(*file);
      const Peer peer = ReadWithGgml(bytes.bytes());
      if (peer) ExpectSameAsPeer(*file, peer.get());
    }
  }
  EXPECT_GT(accepted, 100);
  EXPECT_GT(refused, 100);
}

}  // namespace
}  // namespace pith
