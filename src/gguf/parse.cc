#include "gguf/parse.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <optional>
#include <unordered_set>
#include <utility>

namespace pith {
namespace {

static_assert(std::endian::native == std::endian::little, "GGUF is read as it is stored");

constexpr uint64_t kDefaultAlignment = 32;
constexpr uint64_t kMaxKeyBytes = 65535;          // of the format
constexpr uint64_t kMinKeyBytes = 8 + 1 + 4 + 1;  // length, one letter, type, the smallest value
constexpr uint64_t kMinTensorBytes =
    8 + 1 + 4 + 8 + 4 + 8;  // length, letter, dims, one dim, type, offset
constexpr const char* kDamaged = "The file is damaged; copy, download or convert it again.";

// Walks the bytes; every step is checked against what is left.
class Cursor {
 public:
  explicit Cursor(std::span<const std::byte> bytes) : bytes_(bytes) {}

  uint64_t position() const { return position_; }
  uint64_t remaining() const { return bytes_.size() - position_; }

  template <class T>
  bool Read(T* value) {
    if (remaining() < sizeof(T)) return false;
    std::memcpy(value, bytes_.data() + position_, sizeof(T));
    position_ += sizeof(T);
    return true;
  }

  bool Skip(uint64_t count) {
    if (remaining() < count) return false;
    position_ += count;
    return true;
  }

  // A length and that many characters; the view is into the bytes.
  bool ReadString(std::string_view* text) {
    uint64_t length = 0;
    if (!Read(&length) || remaining() < length) return false;
    *text = {reinterpret_cast<const char*>(bytes_.data()) + position_, length};
    position_ += length;
    return true;
  }

 private:
  std::span<const std::byte> bytes_;
  uint64_t position_ = 0;
};

// What a file with another magic looks like, to save a user the guessing.
std::string_view Likeness(std::span<const std::byte> bytes) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()),
                              std::min<size_t>(bytes.size(), 64));
  struct Known {
    std::string_view prefix, likeness;
  };
  static constexpr Known kKnown[] = {
      {"PK\x03\x04", "a zip archive, perhaps a PyTorch checkpoint"},
      {"lmgg", "a GGML file from before GGUF"},
      {"fmgg", "a GGMF file from before GGUF"},
      {"tjgg", "a GGJT file from before GGUF"},
      {"algg", "a GGLA adapter from before GGUF"},
      {"FUGG", "a GGUF file with its bytes swapped"},
      {"version https://git-lfs", "a Git LFS pointer instead of the file it stands for"},
      {"<!DOCTYPE", "a web page, perhaps a failed download"},
      {"<!doctype", "a web page, perhaps a failed download"},
      {"<html", "a web page, perhaps a failed download"},
      {"\x1f\x8b", "a gzip archive"},
      {"\x28\xb5\x2f\xfd", "a zstd archive"},
      {"\x93NUMPY", "a NumPy array"},
  };
  for (const Known& known : kKnown) {
    if (text.starts_with(known.prefix)) return known.likeness;
  }
  if (text.size() > 9 && text[8] == '{') return "a safetensors file";
  return {};
}

class Parser {
 public:
  Parser(std::span<const std::byte> bytes, const std::string& where)
      : bytes_(bytes), where_(where), cursor_(bytes) {}

  Result<ParsedGguf> Run() {
    PITH_TRY(ReadHeader());
    for (uint64_t i = 0; i < num_keys_; ++i) PITH_TRY(ReadKey(i));
    PITH_TRY(CheckUniqueKeys());
    PITH_TRY(FindAlignment());
    for (uint64_t i = 0; i < num_tensors_; ++i) PITH_TRY(ReadTensor(i));
    PITH_TRY(CheckUniqueTensors());
    PITH_TRY(PlaceTensors());
    return std::move(out_);
  }

 private:
  tl::unexpected<Error> Bad(std::string what, std::string hint = kDamaged) const {
    return InputError(std::move(what), where_, std::move(hint));
  }
  tl::unexpected<Error> Truncated(const std::string& in) const {
    return Bad("the file ends inside " + in, "It is truncated; copy or download it again.");
  }

  Status ReadHeader() {
    uint32_t magic = 0;
    if (!cursor_.Read(&magic)) return Truncated("the header");
    if (magic != 0x46554747) {  // "GGUF"
      const std::string_view likeness = Likeness(bytes_);
      return Bad("this is not a GGUF file" +
                     (likeness.empty() ? "" : "; it looks like " + std::string(likeness)),
                 "Name a model in GGUF format.");
    }
    uint32_t version = 0;
    if (!cursor_.Read(&version)) return Truncated("the header");
    if (version != 0 && (version & 0xffff) == 0) {
      return Bad("the file is big-endian", "Convert the model to little-endian GGUF.");
    }
    if (version != 2 && version != 3) {
      return Bad("GGUF version " + std::to_string(version) + " is not supported",
                 "Versions 2 and 3 are; convert the model again.");
    }
    if (!cursor_.Read(&num_tensors_) || !cursor_.Read(&num_keys_)) return Truncated("the header");
    if (num_keys_ > cursor_.remaining() / kMinKeyBytes) {
      return Bad("the header announces " + std::to_string(num_keys_) +
                 " keys, more than the file can hold");
    }
    if (num_tensors_ > cursor_.remaining() / kMinTensorBytes) {
      return Bad("the header announces " + std::to_string(num_tensors_) +
                 " tensors, more than the file can hold");
    }
    out_.values.reserve(num_keys_);
    out_.tensors.reserve(num_tensors_);
    return {};
  }

  // A key or tensor name: within the file, not empty, without the zero bytes that C strings would
  // end at.
  Status ReadName(const std::string& kind, uint64_t max_bytes, std::string* name) {
    std::string_view text;
    if (!cursor_.ReadString(&text)) return Truncated("the name of " + kind);
    if (text.empty()) return Bad(kind + " has an empty name");
    if (text.size() > max_bytes) {
      return Bad("the name of " + kind + " is " + std::to_string(text.size()) +
                 " bytes long, more than the " + std::to_string(max_bytes) +
                 " allowed: " + QuoteName(text));
    }
    if (text.find('\0') != text.npos) return Bad("the name of " + kind + " holds a zero byte");
    *name = text;
    return {};
  }

  Status ReadKey(uint64_t index) {
    GgufValue value;
    PITH_TRY(ReadName("key " + std::to_string(index), kMaxKeyBytes, &value.key));
    PITH_ASSIGN(value.type, ReadType(value.key));
    switch (value.type) {
      case GgufType::kU8:
        return ReadScalar<uint8_t, uint64_t>(std::move(value));
      case GgufType::kI8:
        return ReadScalar<int8_t, int64_t>(std::move(value));
      case GgufType::kU16:
        return ReadScalar<uint16_t, uint64_t>(std::move(value));
      case GgufType::kI16:
        return ReadScalar<int16_t, int64_t>(std::move(value));
      case GgufType::kU32:
        return ReadScalar<uint32_t, uint64_t>(std::move(value));
      case GgufType::kI32:
        return ReadScalar<int32_t, int64_t>(std::move(value));
      case GgufType::kU64:
        return ReadScalar<uint64_t, uint64_t>(std::move(value));
      case GgufType::kI64:
        return ReadScalar<int64_t, int64_t>(std::move(value));
      case GgufType::kF32:
        return ReadScalar<float, double>(std::move(value));
      case GgufType::kF64:
        return ReadScalar<double, double>(std::move(value));
      case GgufType::kBool:
        return ReadBool(std::move(value));
      case GgufType::kString:
        return ReadText(std::move(value));
      case GgufType::kArray:
        return ReadArray(std::move(value));
    }
    return {};
  }

  Result<GgufType> ReadType(const std::string& key) {
    uint32_t number = 0;
    if (!cursor_.Read(&number)) return Truncated("the key " + QuoteName(key));
    if (number > static_cast<uint32_t>(GgufType::kF64)) {
      return Bad("the key " + QuoteName(key) + " has the unknown value type " +
                 std::to_string(number));
    }
    return static_cast<GgufType>(number);
  }

  template <class Stored, class Kept>
  Status ReadScalar(GgufValue value) {
    Stored stored{};
    if (!cursor_.Read(&stored)) return Truncated("the key " + QuoteName(value.key));
    value.value = static_cast<Kept>(stored);
    out_.values.push_back(std::move(value));
    return {};
  }

  Status ReadBool(GgufValue value) {
    uint8_t stored = 0;
    if (!cursor_.Read(&stored)) return Truncated("the key " + QuoteName(value.key));
    if (stored > 1) {
      return Bad("the key " + QuoteName(value.key) + " is a truth value of " +
                 std::to_string(stored) + ", neither 0 nor 1");
    }
    value.value = stored == 1;
    out_.values.push_back(std::move(value));
    return {};
  }

  Status ReadText(GgufValue value) {
    std::string_view text;
    if (!cursor_.ReadString(&text)) return Truncated("the key " + QuoteName(value.key));
    value.value = text;
    out_.values.push_back(std::move(value));
    return {};
  }

  Status ReadArray(GgufValue value) {
    GgufArray array{};
    PITH_ASSIGN(array.type, ReadType(value.key));
    if (array.type == GgufType::kArray) {
      return Bad("the key " + QuoteName(value.key) + " is an array of arrays",
                 "Nested arrays are not supported.");
    }
    if (!cursor_.Read(&array.count)) return Truncated("the key " + QuoteName(value.key));
    const uint64_t fixed_bytes = GgufTypeSize(array.type);
    const uint64_t min_bytes = fixed_bytes == 0 ? sizeof(uint64_t) : fixed_bytes;
    if (array.count > cursor_.remaining() / min_bytes) {
      return Bad("the array " + QuoteName(value.key) + " announces " + std::to_string(array.count) +
                     " elements, more than the file can hold",
                 "It is damaged or truncated; copy or download it again.");
    }
    const uint64_t begin = cursor_.position();
    if (fixed_bytes != 0) {
      cursor_.Skip(array.count * fixed_bytes);  // checked above
    } else {
      std::string_view text;
      for (uint64_t i = 0; i < array.count; ++i) {
        if (!cursor_.ReadString(&text)) {
          return Truncated("element " + std::to_string(i) + " of the array " +
                           QuoteName(value.key));
        }
      }
    }
    array.bytes = bytes_.subspan(begin, cursor_.position() - begin);
    value.value = array;
    out_.values.push_back(std::move(value));
    return {};
  }

  Status CheckUniqueKeys() const {
    std::unordered_set<std::string_view> seen;
    for (const GgufValue& value : out_.values) {
      if (!seen.insert(value.key).second) {
        return Bad("the key " + QuoteName(value.key) + " appears twice");
      }
    }
    return {};
  }

  Status FindAlignment() {
    for (const GgufValue& value : out_.values) {
      if (value.key != "general.alignment") continue;
      if (value.type != GgufType::kU32) {
        return Bad("general.alignment is of type " + std::string(GgufTypeName(value.type)) +
                   ", not u32");
      }
      alignment_ = std::get<uint64_t>(value.value);
      if (!std::has_single_bit(alignment_) || alignment_ < 8) {
        return Bad("general.alignment is " + std::to_string(alignment_) +
                   ", not a power of two of at least 8");
      }
    }
    return {};
  }

  Status ReadTensor(uint64_t index) {
    GgufTensor tensor{};
    tensor.ne.fill(1);
    PITH_TRY(ReadName("tensor " + std::to_string(index), GGML_MAX_NAME - 1, &tensor.name));
    const std::string title = "the tensor " + QuoteName(tensor.name);
    if (!cursor_.Read(&tensor.num_dims)) return Truncated(title);
    if (tensor.num_dims == 0 || tensor.num_dims > tensor.ne.size()) {
      return Bad(title + " has " + std::to_string(tensor.num_dims) + " dimensions, not 1 to 4");
    }
    for (uint32_t d = 0; d < tensor.num_dims; ++d) {
      if (!cursor_.Read(&tensor.ne[d])) return Truncated(title);
      if (tensor.ne[d] <= 0) {
        return Bad(title + " has the size " + std::to_string(tensor.ne[d]) + " in dimension " +
                   std::to_string(d));
      }
    }
    uint32_t type = 0;
    if (!cursor_.Read(&type) || !cursor_.Read(&tensor.offset)) return Truncated(title);
    PITH_TRY(CheckType(title, type, &tensor));
    out_.tensors.push_back(std::move(tensor));
    return {};
  }

  // The type and, from it and the shape, the size in bytes.
  Status CheckType(const std::string& title, uint32_t type, GgufTensor* tensor) const {
    constexpr const char* kUnknownHint =
        "It may be newer than this program or an abandoned type; convert the model again.";
    if (type >= GGML_TYPE_COUNT) {
      return Bad(title + " has the unknown type " + std::to_string(type), kUnknownHint);
    }
    tensor->type = static_cast<ggml_type>(type);
    const int64_t block = ggml_blck_size(tensor->type);
    const size_t block_bytes = ggml_type_size(tensor->type);
    if (block <= 0 || block_bytes == 0) {
      return Bad(title + " has the type " + std::to_string(type) + ", which ggml has removed",
                 kUnknownHint);
    }
    if (tensor->ne[0] % block != 0) {
      return Bad(title + " has rows of " + std::to_string(tensor->ne[0]) +
                 ", which do not fill whole blocks of " + std::to_string(block) + " of " +
                 ggml_type_name(tensor->type));
    }
    int64_t elements = 1;
    bool overflow = false;
    for (const int64_t n : tensor->ne) overflow |= __builtin_mul_overflow(elements, n, &elements);
    overflow = overflow || __builtin_mul_overflow(static_cast<uint64_t>(elements / block),
                                                  uint64_t{block_bytes}, &tensor->size);
    if (overflow) return Bad(title + " is larger than any file");
    return {};
  }

  Status CheckUniqueTensors() const {
    std::unordered_set<std::string_view> seen;
    for (const GgufTensor& tensor : out_.tensors) {
      if (!seen.insert(tensor.name).second) {
        return Bad("the tensor " + QuoteName(tensor.name) + " appears twice");
      }
    }
    return {};
  }

  // Offsets from the beginning of the data to offsets in the file; everything inside it and apart
  // from each other.
  Status PlaceTensors() {
    const uint64_t data_begin = (cursor_.position() + alignment_ - 1) / alignment_ * alignment_;
    for (GgufTensor& tensor : out_.tensors) {
      const std::string title = "the tensor " + QuoteName(tensor.name);
      if (tensor.offset % alignment_ != 0) {
        return Bad(title + " begins at " + std::to_string(tensor.offset) +
                   ", not on a multiple of " + std::to_string(alignment_));
      }
      uint64_t end = 0;
      if (__builtin_add_overflow(tensor.offset, data_begin, &tensor.offset) ||
          __builtin_add_overflow(tensor.offset, tensor.size, &end)) {
        return Bad(title + " lies beyond the end of any file");
      }
      if (end > bytes_.size()) {
        return Truncated(title + ": it reaches to byte " + std::to_string(end) + " of " +
                         std::to_string(bytes_.size()));
      }
    }
    return CheckOverlap();
  }

  Status CheckOverlap() const {
    std::vector<const GgufTensor*> order;
    order.reserve(out_.tensors.size());
    for (const GgufTensor& tensor : out_.tensors) order.push_back(&tensor);
    std::ranges::sort(order, {}, &GgufTensor::offset);
    for (size_t i = 1; i < order.size(); ++i) {
      if (order[i - 1]->offset + order[i - 1]->size > order[i]->offset) {
        return Bad("the tensors " + QuoteName(order[i - 1]->name) + " and " +
                   QuoteName(order[i]->name) + " overlap");
      }
    }
    return {};
  }

  std::span<const std::byte> bytes_;
  const std::string& where_;
  Cursor cursor_;
  uint64_t num_tensors_ = 0, num_keys_ = 0;
  uint64_t alignment_ = kDefaultAlignment;
  ParsedGguf out_;
};

}  // namespace

uint64_t GgufTypeSize(GgufType type) {
  switch (type) {
    case GgufType::kU8:
    case GgufType::kI8:
    case GgufType::kBool:
      return 1;
    case GgufType::kU16:
    case GgufType::kI16:
      return 2;
    case GgufType::kU32:
    case GgufType::kI32:
    case GgufType::kF32:
      return 4;
    case GgufType::kU64:
    case GgufType::kI64:
    case GgufType::kF64:
      return 8;
    case GgufType::kString:
    case GgufType::kArray:
      return 0;
  }
  return 0;
}

std::string QuoteName(std::string_view name) {
  constexpr size_t kShown = 80;
  std::string text = "'";
  for (const char c : name.substr(0, kShown)) {
    const auto code = static_cast<unsigned char>(c);
    text += code < 0x20 || code == 0x7f ? '?' : c;
  }
  text += name.size() > kShown ? "...'" : "'";
  return text;
}

Result<ParsedGguf> ParseGguf(std::span<const std::byte> bytes, const std::string& where) {
  return Parser(bytes, where).Run();
}

}  // namespace pith
