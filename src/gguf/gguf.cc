#include "gguf/gguf.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "base/check.h"
#include "gguf/parse.h"

namespace pith {
namespace {

tl::unexpected<Error> Missing(std::string_view key, const std::string& where) {
  return InputError("the key " + QuoteName(key) + " is missing", where,
                    "The model file is incomplete; convert it again.");
}

std::string TypeTitle(const GgufValue& value) {
  std::string name(GgufTypeName(value.type));
  if (value.type != GgufType::kArray) return name;
  return name + " of " + std::string(GgufTypeName(std::get<GgufArray>(value.value).type));
}

tl::unexpected<Error> WrongType(const GgufValue& value, const std::string& where,
                                const std::string& expected) {
  return InputError(
      "the key " + QuoteName(value.key) + " is of type " + TypeTitle(value) + ", not " + expected,
      where, "Convert the model again.");
}

tl::unexpected<Error> OutOfRange(const GgufValue& value, const std::string& where,
                                 const std::string& problem) {
  return InputError("the key " + QuoteName(value.key) + " " + problem, where,
                    "Convert the model again.");
}

template <class T>
T Load(const std::byte* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

// The elements of an array of fixed-size values, each handed to `take`.
template <class Stored, class Take>
void ForEach(const GgufArray& array, Take take) {
  for (uint64_t i = 0; i < array.count; ++i) {
    take(Load<Stored>(array.bytes.data() + i * sizeof(Stored)));
  }
}

Result<const GgufArray*> ArrayOf(const GgufValue* value, std::string_view key,
                                 const std::string& where, std::optional<uint64_t> count,
                                 const std::string& expected) {
  if (value == nullptr) return Missing(key, where);
  const auto* array = std::get_if<GgufArray>(&value->value);
  if (array == nullptr) return WrongType(*value, where, expected);
  if (count && array->count != *count) {
    return OutOfRange(*value, where,
                      "has " + std::to_string(array->count) + " elements where " +
                          std::to_string(*count) + " are expected");
  }
  return array;
}

}  // namespace

const char* TensorTypeName(ggml_type type) { return ggml_type_name(type); }

std::string_view GgufTypeName(GgufType type) {
  constexpr std::string_view kNames[] = {"u8",   "i8",     "u16",   "i16", "u32", "i32", "f32",
                                         "bool", "string", "array", "u64", "i64", "f64"};
  const auto number = static_cast<size_t>(type);
  return number < std::size(kNames) ? kNames[number] : "unknown";
}

Result<GgufFile> GgufFile::Parse(std::span<const std::byte> bytes, const std::string& where) {
  PITH_ASSIGN(ParsedGguf parsed, ParseGguf(bytes, where));
  GgufFile file;
  file.path_ = where;
  file.bytes_.push_back(bytes);
  file.values_ = std::move(parsed.values);
  file.tensors_ = std::move(parsed.tensors);
  return file;
}

uint64_t GgufFile::total_bytes() const {
  uint64_t total = 0;
  for (const auto& bytes : bytes_) total += bytes.size();
  return total;
}

const GgufValue* GgufFile::Find(std::string_view key) const {
  for (const GgufValue& value : values_) {
    if (value.key == key) return &value;
  }
  return nullptr;
}

const GgufTensor* GgufFile::FindTensor(std::string_view name) const {
  for (const GgufTensor& tensor : tensors_) {
    if (tensor.name == name) return &tensor;
  }
  return nullptr;
}

std::span<const std::byte> GgufFile::TensorBytes(const GgufTensor& tensor) const {
  PITH_CHECK(tensor.file < bytes_.size());
  return bytes_[tensor.file].subspan(tensor.offset, tensor.size);
}

Result<uint64_t> GgufFile::Integer(std::string_view key) const {
  const GgufValue* value = Find(key);
  if (value == nullptr) return Missing(key, path_);
  if (const auto* number = std::get_if<uint64_t>(&value->value)) return *number;
  const auto* number = std::get_if<int64_t>(&value->value);
  if (number == nullptr) return WrongType(*value, path_, "an integer");
  if (*number < 0) return OutOfRange(*value, path_, "is negative: " + std::to_string(*number));
  return static_cast<uint64_t>(*number);
}

Result<double> GgufFile::Float(std::string_view key) const {
  const GgufValue* value = Find(key);
  if (value == nullptr) return Missing(key, path_);
  const auto* number = std::get_if<double>(&value->value);
  if (number == nullptr) return WrongType(*value, path_, "a floating-point number");
  if (!std::isfinite(*number)) return OutOfRange(*value, path_, "is not a finite number");
  return *number;
}

Result<std::string_view> GgufFile::String(std::string_view key) const {
  const GgufValue* value = Find(key);
  if (value == nullptr) return Missing(key, path_);
  const auto* text = std::get_if<std::string_view>(&value->value);
  if (text == nullptr) return WrongType(*value, path_, "a string");
  return *text;
}

Result<uint64_t> GgufFile::IntegerOr(std::string_view key, uint64_t fallback) const {
  if (Find(key) == nullptr) return fallback;
  return Integer(key);
}

Result<double> GgufFile::FloatOr(std::string_view key, double fallback) const {
  if (Find(key) == nullptr) return fallback;
  return Float(key);
}

Result<std::string_view> GgufFile::StringOr(std::string_view key, std::string_view fallback) const {
  if (Find(key) == nullptr) return fallback;
  return String(key);
}

Result<bool> GgufFile::BoolOr(std::string_view key, bool fallback) const {
  const GgufValue* value = Find(key);
  if (value == nullptr) return fallback;
  const auto* truth = std::get_if<bool>(&value->value);
  if (truth == nullptr) return WrongType(*value, path_, "a truth value");
  return *truth;
}

Result<std::vector<std::string_view>> GgufFile::Strings(std::string_view key,
                                                        std::optional<uint64_t> count) const {
  const GgufValue* value = Find(key);
  PITH_ASSIGN(const GgufArray* array, ArrayOf(value, key, path_, count, "an array of strings"));
  if (array->type != GgufType::kString) return WrongType(*value, path_, "an array of strings");
  std::vector<std::string_view> texts;
  texts.reserve(array->count);
  const std::byte* at = array->bytes.data();
  for (uint64_t i = 0; i < array->count; ++i) {  // the parser has walked these lengths
    const auto length = Load<uint64_t>(at);
    at += sizeof length;
    texts.emplace_back(reinterpret_cast<const char*>(at), length);
    at += length;
  }
  return texts;
}

Result<std::vector<float>> GgufFile::Floats(std::string_view key,
                                            std::optional<uint64_t> count) const {
  constexpr const char* kExpected = "an array of floating-point numbers";
  const GgufValue* value = Find(key);
  PITH_ASSIGN(const GgufArray* array, ArrayOf(value, key, path_, count, kExpected));
  if (array->type != GgufType::kF32 && array->type != GgufType::kF64) {
    return WrongType(*value, path_, kExpected);
  }
  std::vector<float> numbers;
  numbers.reserve(array->count);
  if (array->type == GgufType::kF32) {
    ForEach<float>(*array, [&](float number) { numbers.push_back(number); });
    return numbers;
  }
  bool fits = true;
  ForEach<double>(*array, [&](double number) {
    const bool small = !(std::abs(number) > std::numeric_limits<float>::max());
    fits = fits && (small || std::isinf(number));
    numbers.push_back(fits ? static_cast<float>(number) : 0.0f);
  });
  if (!fits) return OutOfRange(*value, path_, "holds numbers too large for 32 bits");
  return numbers;
}

Result<std::vector<int64_t>> GgufFile::Integers(std::string_view key,
                                                std::optional<uint64_t> count) const {
  constexpr const char* kExpected = "an array of integers";
  const GgufValue* value = Find(key);
  PITH_ASSIGN(const GgufArray* array, ArrayOf(value, key, path_, count, kExpected));
  std::vector<int64_t> numbers;
  numbers.reserve(array->count);
  bool fits = true;
  const auto take = [&](auto number) {
    fits = fits && std::in_range<int64_t>(number);
    numbers.push_back(static_cast<int64_t>(number));
  };
  switch (array->type) {
    case GgufType::kU8:
      ForEach<uint8_t>(*array, take);
      break;
    case GgufType::kI8:
      ForEach<int8_t>(*array, take);
      break;
    case GgufType::kU16:
      ForEach<uint16_t>(*array, take);
      break;
    case GgufType::kI16:
      ForEach<int16_t>(*array, take);
      break;
    case GgufType::kU32:
      ForEach<uint32_t>(*array, take);
      break;
    case GgufType::kI32:
      ForEach<int32_t>(*array, take);
      break;
    case GgufType::kU64:
      ForEach<uint64_t>(*array, take);
      break;
    case GgufType::kI64:
      ForEach<int64_t>(*array, take);
      break;
    case GgufType::kF32:
    case GgufType::kF64:
    case GgufType::kBool:
    case GgufType::kString:
    case GgufType::kArray:
      return WrongType(*value, path_, kExpected);
  }
  if (!fits) return OutOfRange(*value, path_, "holds numbers too large for 63 bits");
  return numbers;
}

}  // namespace pith
