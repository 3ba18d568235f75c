// The canonical bytes of a sequence, docs/save_format.md. The reader trusts nothing but the spec
// that it is given.
#include <cstring>
#include <limits>
#include <numeric>

#include "base/bytes.h"
#include "base/check.h"
#include "base/hash.h"
#include "cache/cache.h"
#include "cache/list.h"
#include "cache/sequence.h"

namespace pith {
namespace {

constexpr uint32_t kMagic = 0x43564B50;  // "PKVC"
constexpr uint32_t kVersion = 1;
constexpr size_t kSizeOffset = 8;
constexpr size_t kChecksumBytes = 8;
constexpr uint32_t kMaxNameBytes = 256;
constexpr size_t kMinBytes = kSizeOffset + 8 + kChecksumBytes;
enum PositionsKind : uint32_t { kContiguous = 0, kExplicit = 1 };

constexpr const char* kSameModelHint =
    "Load it with the model and the recipe that it was saved with";

uint64_t Checksum(std::span<const std::byte> bytes) {
  Hasher hasher;
  hasher.Add(bytes);
  return hasher.Finish();
}

using Writer = ByteWriter;

Error Damage(const std::string& what, const std::string& where) {
  return InputError("damaged cache: " + what, where, "Save it again").value();
}

class Reader : public ByteReader {
 public:
  Reader(std::span<const std::byte> bytes, const std::string& where)
      : ByteReader(bytes, Damage("it ends too early", where)), where_(where) {}

  tl::unexpected<Error> Damaged(const std::string& what) const {
    return tl::unexpected<Error>(Damage(what, where_));
  }
  tl::unexpected<Error> Differs(const std::string& what, const std::string& saved,
                                const std::string& here) const {
    return InputError(what + " of the saved cache: " + saved + " instead of " + here, where_,
                      kSameModelHint);
  }
  Status Expect(const std::string& what, uint32_t here) {
    PITH_ASSIGN(const uint32_t saved, Number<uint32_t>());
    if (saved != here) return Differs(what, std::to_string(saved), std::to_string(here));
    return {};
  }
  Status ExpectText(const std::string& what, std::string_view here) {
    PITH_ASSIGN(const uint32_t size, Number<uint32_t>());
    if (size > kMaxNameBytes) return Damaged(what + " is too long");
    PITH_ASSIGN(const auto bytes, Take(size));
    std::string saved(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    if (saved == here) return {};
    for (char& c : saved) c = c >= ' ' && c <= '~' ? c : '?';  // it is about to be printed
    return Differs(what, saved, std::string(here));
  }

 private:
  const std::string& where_;
};

void WriteListSpec(const ListSpec& list, Writer* out) {
  out->Text(list.form->name);
  out->Number(static_cast<uint32_t>(list.form->id));
  out->Number(list.form->version);
  out->Number(list.dim);
  out->Number(static_cast<uint32_t>(list.scope));
}

Status CheckListSpec(const ListSpec& list, const std::string& side, Reader* in) {
  PITH_TRY(in->ExpectText("form of the " + side, list.form->name));
  PITH_TRY(in->Expect("form number of the " + side, static_cast<uint32_t>(list.form->id)));
  PITH_TRY(in->Expect("form version of the " + side, list.form->version));
  PITH_TRY(in->Expect("head size of the " + side, list.dim));
  return in->Expect("owner scope of the " + side, static_cast<uint32_t>(list.scope));
}

void WriteSpec(const CacheSpec& spec, Writer* out) {
  out->Number(spec.num_layers);
  out->Number(spec.num_kv_heads);
  WriteListSpec(spec.keys, out);
  WriteListSpec(spec.values, out);
  out->Number(static_cast<uint32_t>(spec.layer_group.size()));
  for (const uint32_t group : spec.layer_group) out->Number(group);
  out->Number(static_cast<uint32_t>(spec.side_blocks.size()));
  for (const SideBlock& block : spec.side_blocks) {
    out->Text(block.name);
    out->Number(static_cast<uint32_t>(block.side));
    out->Number(block.bytes);
    out->Number(block.entries_per_unit);
  }
}

Status CheckSpec(const CacheSpec& spec, Reader* in) {
  PITH_TRY(in->Expect("number of layers", spec.num_layers));
  PITH_TRY(in->Expect("number of KV heads", spec.num_kv_heads));
  PITH_TRY(CheckListSpec(spec.keys, "keys", in));
  PITH_TRY(CheckListSpec(spec.values, "values", in));
  PITH_TRY(in->Expect("layers in groups", static_cast<uint32_t>(spec.layer_group.size())));
  for (const uint32_t group : spec.layer_group) PITH_TRY(in->Expect("layer group", group));
  PITH_TRY(in->Expect("number of side blocks", static_cast<uint32_t>(spec.side_blocks.size())));
  for (const SideBlock& block : spec.side_blocks) {
    PITH_TRY(in->ExpectText("name of a side block", block.name));
    PITH_TRY(in->Expect("side of side block " + block.name, static_cast<uint32_t>(block.side)));
    PITH_TRY(in->Expect("bytes of side block " + block.name, block.bytes));
    PITH_TRY(in->Expect("entries per unit of side block " + block.name, block.entries_per_unit));
  }
  return {};
}

void WritePositions(const PageList& list, Writer* out) {
  const std::span<const PageView> views = list.views();
  const int32_t first = views.front().Position(0);
  if (list.last_position() - int64_t{first} == static_cast<int64_t>(list.size()) - 1) {
    out->Number(uint32_t{kContiguous});
    out->Number(first);
    return;
  }
  out->Number(uint32_t{kExplicit});
  for (const PageView& view : views) {
    for (uint32_t i = 0; i < view.count; ++i) out->Number(view.Position(i));
  }
}

Result<std::vector<int32_t>> ReadPositions(uint64_t count, Reader* in) {
  PITH_ASSIGN(const uint32_t kind, in->Number<uint32_t>());
  std::vector<int32_t> positions;
  if (kind == kContiguous) {
    PITH_ASSIGN(const int32_t first, in->Number<int32_t>());
    if (first < 0 || count > uint64_t{std::numeric_limits<int32_t>::max()} - first) {
      return in->Damaged("positions out of range");
    }
    positions.resize(static_cast<size_t>(count));
    std::iota(positions.begin(), positions.end(), first);
    return positions;
  }
  if (kind != kExplicit) return in->Damaged("unknown kind of positions");
  if (count > in->remaining() / sizeof(int32_t)) return in->Damaged("it ends too early");
  PITH_ASSIGN(const auto bytes, in->Take(count * sizeof(int32_t)));
  positions.resize(static_cast<size_t>(count));
  std::memcpy(positions.data(), bytes.data(), bytes.size());
  int64_t last = -1;
  for (const int32_t position : positions) {
    if (position <= last) return in->Damaged("positions do not ascend");
    last = position;
  }
  if (last - positions.front() == static_cast<int64_t>(count) - 1) {
    return in->Damaged("contiguous positions written out");
  }
  return positions;
}

void WriteList(const PageList& list, Writer* out) {
  const ListLayout& layout = list.layout();
  out->Number(list.size());
  if (list.size() == 0) return;
  if (layout.side == Side::kKeys) WritePositions(list, out);
  const size_t entry_bytes = layout.form->canonical_bytes(layout.dim);
  for (const PageView& view : list.views()) {
    layout.form->export_entries(layout.side, view.data, view.shape, 0, view.count,
                                out->Grow(view.count * entry_bytes));
  }
  for (size_t i = 0; i < layout.side_blocks.size(); ++i) {
    for (const PageView& view : list.views()) {
      out->Add(view.data + layout.SideOffset(i, view.shape.capacity),
               layout.SideBytes(i, view.count));
    }
  }
}

// Fills an empty list. `false`: there is no memory for it.
Result<bool> ReadList(PageList* list, Reader* in) {
  const ListLayout& layout = list->layout();
  PITH_ASSIGN(const uint64_t count, in->Number<uint64_t>());
  if (count == 0) return true;
  const size_t entry_bytes = layout.form->canonical_bytes(layout.dim);
  // Before anything of that size is allocated; also bounds the products below.
  if (count > in->remaining() / entry_bytes) return in->Damaged("it ends too early");
  std::vector<int32_t> positions(layout.side == Side::kValues ? static_cast<size_t>(count) : 0);
  if (layout.side == Side::kKeys) {
    PITH_ASSIGN(positions, ReadPositions(count, in));
  }
  if (!list->Reserve(positions)) {
    list->Cancel();
    return false;
  }
  list->Commit(positions);
  const std::span<const PageView> views = list->views();
  for (size_t page = 0; page < views.size(); ++page) {
    PITH_ASSIGN(const auto bytes, in->Take(views[page].count * entry_bytes));
    layout.form->import_entries(layout.side, list->OwnPage(page), views[page].shape, 0,
                                views[page].count, bytes.data());
  }
  for (size_t i = 0; i < layout.side_blocks.size(); ++i) {
    for (size_t page = 0; page < views.size(); ++page) {
      PITH_ASSIGN(const auto bytes, in->Take(layout.SideBytes(i, views[page].count)));
      std::memcpy(list->OwnPage(page) + layout.SideOffset(i, views[page].shape.capacity),
                  bytes.data(), bytes.size());
    }
  }
  return true;
}

// Magic, version, size and checksum; gives the reader of what lies between.
Result<Reader> OpenEnvelope(std::span<const std::byte> bytes, const std::string& where) {
  Reader in(bytes, where);
  if (bytes.size() < kMinBytes) return in.Damaged("it ends too early");
  PITH_ASSIGN(const uint32_t magic, in.Number<uint32_t>());
  if (magic != kMagic) return InputError("not a saved cache", where, "Name a file saved by pith");
  PITH_ASSIGN(const uint32_t version, in.Number<uint32_t>());
  if (version != kVersion) {
    return InputError("saved cache of version " + std::to_string(version) + ", known is " +
                          std::to_string(kVersion),
                      where, "Save it again with this version of pith");
  }
  PITH_ASSIGN(const uint64_t size, in.Number<uint64_t>());
  if (size != bytes.size()) {
    return in.Damaged(std::to_string(bytes.size()) + " bytes instead of " + std::to_string(size));
  }
  uint64_t checksum;
  std::memcpy(&checksum, bytes.data() + bytes.size() - kChecksumBytes, kChecksumBytes);
  if (checksum != Checksum(bytes.first(bytes.size() - kChecksumBytes))) {
    return in.Damaged("its checksum does not match");
  }
  PITH_ASSIGN(const auto body, in.Take(in.remaining() - kChecksumBytes));
  return Reader(body, where);
}

}  // namespace

void SequenceCache::Save(std::vector<std::byte>* out) const {
  const size_t begin = out->size();
  Writer writer(out);
  writer.Number(kMagic);
  writer.Number(kVersion);
  writer.Number(uint64_t{0});  // the size, known at the end
  WriteSpec(spec(), &writer);
  for (uint32_t head = 0; head < impl_->heads.size(); ++head) {
    PITH_CHECK(impl_->KeysOf(head).size() == impl_->ValuesOf(head).size());
  }
  for (const PageList& list : impl_->key_lists) WriteList(list, &writer);
  for (const PageList& list : impl_->value_lists) WriteList(list, &writer);
  const uint64_t size = out->size() - begin + kChecksumBytes;
  std::memcpy(out->data() + begin + kSizeOffset, &size, sizeof(size));
  writer.Number(Checksum(std::span(*out).subspan(begin)));
}

Result<SequenceCache> SequenceCache::Load(PagePool* pool, const CacheSpec& spec,
                                          std::span<const std::byte> bytes,
                                          const std::string& where) {
  PITH_ASSIGN(Reader in, OpenEnvelope(bytes, where));
  PITH_TRY(CheckSpec(spec, &in));
  SequenceCache cache(pool, spec);
  Impl& impl = *cache.impl_;
  for (auto* lists : {&impl.key_lists, &impl.value_lists}) {
    for (PageList& list : *lists) {
      PITH_ASSIGN(const bool has_memory, ReadList(&list, &in));
      if (!has_memory) return impl.NoMemory();
    }
  }
  if (in.remaining() > 0) return in.Damaged("bytes behind its end");
  for (uint32_t head = 0; head < impl.heads.size(); ++head) {
    if (impl.KeysOf(head).size() != impl.ValuesOf(head).size()) {
      return in.Damaged("keys and values differ in number");
    }
  }
  impl.RefreshHeads(0, spec.num_layers);
  return cache;
}

}  // namespace pith
