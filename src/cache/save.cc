// The canonical bytes of a sequence, docs/save_format.md. The reader trusts nothing but the spec
// that it is given.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <numeric>

#include "base/bytes.h"
#include "base/check.h"
#include "base/hash.h"
#include "cache/cache.h"
#include "cache/list.h"
#include "cache/save_channels.h"
#include "cache/save_spec.h"
#include "cache/sequence.h"

namespace pith {
namespace {

constexpr uint32_t kMagic = 0x43564B50;  // "PKVC"
constexpr uint32_t kVersion = 3;
constexpr size_t kSizeOffset = 8;
constexpr size_t kChecksumBytes = 8;
constexpr size_t kMinBytes = kSizeOffset + 8 + kChecksumBytes;
enum PositionsKind : uint32_t { kContiguous = 0, kExplicit = 1 };

uint64_t Checksum(std::span<const std::byte> bytes) {
  Hasher hasher;
  hasher.Add(bytes);
  return hasher.Finish();
}

using Writer = ByteWriter;

using Reader = SavedReader;

// Of pages in which positions ascend.
void WritePositions(std::span<const PageView> views, Writer* out) {
  if (views.empty()) return;
  const int32_t first = views.front().Position(0);
  uint64_t count = 0;
  for (const PageView& view : views) count += view.count;
  if (Contiguous(first, views.back().Position(views.back().count - 1), count)) {
    out->Number(uint32_t{kContiguous});
    out->Number(first);
    return;
  }
  out->Number(uint32_t{kExplicit});
  for (const PageView& view : views) {
    for (uint32_t i = 0; i < view.count; ++i) out->Number(view.Position(i));
  }
}

void WritePositions(const EntryList& list, Writer* out) {
  if (!list.merges()) return WritePositions(list.views(), out);
  WritePositions(list.exact()->views(), out);
  WritePositions(list.sealed()->views(), out);
  WritePositions(list.tail().views(), out);
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

// Whether entries are sealed in groups, and whether these share what was measured over them.
bool HasGroups(const ListLayout& layout) {
  return layout.directions || layout.form->group(layout.side) > 0;
}
bool IsMeasured(const ListLayout& layout) { return layout.form->group(layout.side) > 0; }

size_t GroupBytes(const ListLayout& layout, uint32_t count) {
  return IsMeasured(layout) ? layout.form->canonical_page_bytes(layout.side, layout.dim, count)
                            : count * layout.form->canonical_bytes(layout.dim);
}

// How much of the list is sealed. Groups are contents: what they share was measured over them, and
// pages that layers share end where these were merged.
void WriteSealedCount(const ListPart& sealed, Writer* out) {
  if (!HasGroups(sealed.layout())) {
    out->Number(sealed.size());
    return;
  }
  out->Number(static_cast<uint32_t>(sealed.views().size()));
  for (const PageView& view : sealed.views()) out->Number(view.count);
}

void WritePart(const ListPart& part, Writer* out) {
  const ListLayout& layout = part.layout();
  const Form& form = *layout.form;
  for (const PageView& view : part.views()) {
    if (IsMeasured(layout)) {
      form.export_page(layout.side, view.data, view.shape, view.count,
                       out->Grow(GroupBytes(layout, view.count)));
    } else {
      form.export_entries(layout.side, view.data, view.shape, 0, view.count,
                          out->Grow(view.count * form.canonical_bytes(layout.dim)));
    }
  }
}

void WriteNorms(const ListPart& part, Writer* out) {
  for (const PageView& view : part.views()) {
    for (uint32_t i = 0; i < view.count; ++i) out->Number(view.norms[i].bits);
  }
}

// Of lists that share the pages of another one only what is their own.
void WriteList(const EntryList& list, Writer* out) {
  const ListLayout& layout = list.tail().layout();
  if (list.merges() && list.sealed()->layout().shared) {
    WriteNorms(*list.sealed(), out);
    WritePart(*list.exact(), out);
    WritePart(list.tail(), out);
    return;
  }
  out->Number(list.size());
  if (list.size() == 0) return;
  if (list.exact() != nullptr) out->Number(list.num_exact());
  if (list.sealed() != nullptr) WriteSealedCount(*list.sealed(), out);
  if (list.channels() != nullptr) WriteChannels(*list.channels(), out);
  if (list.merges()) {
    out->Number(list.merge_range().least);
    out->Number(list.merge_range().greatest);
  }
  if (layout.side == Side::kKeys) WritePositions(list, out);
  if (list.exact() != nullptr) WritePart(*list.exact(), out);
  if (list.sealed() != nullptr) WritePart(*list.sealed(), out);
  if (list.merges()) WriteNorms(*list.sealed(), out);
  WritePart(list.tail(), out);
  for (size_t i = 0; i < layout.side_blocks.size(); ++i) {
    for (const PageView& view : list.tail().views()) {
      out->Add(view.data + layout.SideOffset(i, view.shape.capacity),
               layout.SideBytes(i, view.count));
    }
  }
}

// What is sealed of a list, in groups if its form has them.
struct SealedCount {
  uint64_t entries = 0;
  uint64_t bytes = 0;
  std::vector<uint32_t> groups;
};

Result<SealedCount> ReadSealedCount(const ListPart& sealed, Reader* in) {
  const ListLayout& layout = sealed.layout();
  SealedCount count;
  if (!HasGroups(layout)) {
    PITH_ASSIGN(count.entries, in->Number<uint64_t>());
    const size_t entry_bytes = layout.form->canonical_bytes(layout.dim);
    if (count.entries > in->remaining() / entry_bytes) return in->Damaged("it ends too early");
    count.bytes = count.entries * entry_bytes;
    return count;
  }
  PITH_ASSIGN(const uint32_t num_groups, in->Number<uint32_t>());
  PITH_ASSIGN(const auto bytes, in->Take(uint64_t{num_groups} * sizeof(uint32_t)));
  count.groups.resize(num_groups);
  if (num_groups > 0) std::memcpy(count.groups.data(), bytes.data(), bytes.size());
  for (const uint32_t group : count.groups) {
    if (group == 0 || group > layout.GroupEntries()) {
      return in->Damaged("a group of " + std::to_string(group) + " entries");
    }
    count.entries += group;
    count.bytes += GroupBytes(layout, group);
  }
  return count;
}

// Appends to a part. `false`: there is no memory for it.
bool Append(ListPart* part, std::span<const int32_t> positions) {
  if (part->Reserve(positions)) {
    part->Commit(positions);
    return true;
  }
  part->Cancel();
  return false;
}

Result<bool> ReadEntries(ListPart* part, std::span<const int32_t> positions, Reader* in) {
  const ListLayout& layout = part->layout();
  if (!Append(part, positions)) return false;
  const std::span<const PageView> views = part->views();
  for (size_t page = 0; page < views.size(); ++page) {
    PITH_ASSIGN(const auto bytes,
                in->Take(views[page].count * layout.form->canonical_bytes(layout.dim)));
    layout.form->import_entries(layout.side, part->OwnPage(page), views[page].shape, 0,
                                views[page].count, bytes.data());
  }
  return true;
}

Result<bool> ReadGroups(ListPart* part, std::span<const int32_t> positions,
                        std::span<const uint32_t> groups, Reader* in) {
  const ListLayout& layout = part->layout();
  for (size_t page = 0; page < groups.size(); ++page) {
    if (!Append(part, positions.first(groups[page]))) return false;
    positions = positions.subspan(groups[page]);
    PITH_ASSIGN(const auto bytes, in->Take(GroupBytes(layout, groups[page])));
    const PageShape shape = part->views()[page].shape;
    if (IsMeasured(layout)) {
      layout.form->import_page(layout.side, part->OwnPage(page), shape, groups[page], bytes.data());
    } else {
      layout.form->import_entries(layout.side, part->OwnPage(page), shape, 0, groups[page],
                                  bytes.data());
    }
  }
  return true;
}

Status ReadSideBlocks(PageList* tail, Reader* in) {
  const ListLayout& layout = tail->layout();
  for (size_t i = 0; i < layout.side_blocks.size(); ++i) {
    for (size_t page = 0; page < tail->views().size(); ++page) {
      const PageView& view = tail->views()[page];
      PITH_ASSIGN(const auto bytes, in->Take(layout.SideBytes(i, view.count)));
      std::memcpy(tail->OwnPage(page) + layout.SideOffset(i, view.shape.capacity), bytes.data(),
                  bytes.size());
    }
  }
  return {};
}

Status ReadNorms(ListPart* part, Reader* in) {
  for (size_t page = 0; page < part->views().size(); ++page) {
    const std::span norms(part->NewNorms(page), part->views()[page].count);
    for (F16& norm : norms) {
      PITH_ASSIGN(norm.bits, in->Number<uint16_t>());
      if (!std::isfinite(F32FromF16(norm))) return in->Damaged("a norm that is not finite");
    }
  }
  return {};
}

Result<MergeRange> ReadMergeRange(Reader* in) {
  MergeRange range;
  PITH_ASSIGN(range.least, in->Number<float>());
  PITH_ASSIGN(range.greatest, in->Number<float>());
  for (const float x : {range.least, range.greatest}) {
    if (!(x >= 0 && x <= 1)) return in->Damaged("a distance between layers");
  }
  return range;
}

// Of all parts of a list in which positions ascend by themselves.
Result<std::vector<int32_t>> ReadMergedPositions(std::span<const uint64_t> counts, Reader* in) {
  std::vector<int32_t> positions;
  for (const uint64_t count : counts) {
    if (count == 0) continue;
    PITH_ASSIGN(const auto part, ReadPositions(count, in));
    positions.insert(positions.end(), part.begin(), part.end());
  }
  std::vector<int32_t> sorted = positions;
  std::ranges::sort(sorted);
  if (std::ranges::adjacent_find(sorted) != sorted.end()) {
    return in->Damaged("a position that repeats");
  }
  return positions;
}

std::vector<int32_t> PositionsOf(std::span<const PageView> views) {
  std::vector<int32_t> positions;
  for (const PageView& view : views) {
    for (uint32_t i = 0; i < view.count; ++i) positions.push_back(view.Position(i));
  }
  return positions;
}

// Fills an empty list that shares the sealed pages of `first`. `false`: there is no memory for it.
Result<bool> ReadSharing(EntryList* list, const EntryList& first, Reader* in) {
  const ListLayout& layout = list->tail().layout();
  const uint64_t alone = first.num_exact() + first.tail().size();
  const uint64_t norms = first.num_sealed() * sizeof(F16);
  if (norms > in->remaining() ||
      alone > (in->remaining() - norms) / layout.form->canonical_bytes(layout.dim)) {
    return in->Damaged("it ends too early");
  }
  ListPart* const sealed = list->mutable_sealed();
  for (const PageView& view : first.sealed()->views()) {
    if (!Append(sealed, std::vector<int32_t>(view.count))) return false;
  }
  sealed->SharePages(*first.sealed());
  PITH_TRY(ReadNorms(sealed, in));
  PITH_ASSIGN(bool has_memory,
              ReadEntries(list->mutable_exact(), PositionsOf(first.exact()->views()), in));
  if (!has_memory) return false;
  PITH_ASSIGN(has_memory, ReadEntries(list->mutable_tail(), PositionsOf(first.tail().views()), in));
  list->Refresh();
  return has_memory;
}

// Fills an empty list. `false`: there is no memory for it.
Result<bool> ReadList(EntryList* list, Reader* in) {
  const ListLayout& layout = list->tail().layout();
  PITH_ASSIGN(const uint64_t count, in->Number<uint64_t>());
  if (count == 0) return true;
  uint64_t num_sinks = 0;
  if (list->exact() != nullptr) {
    PITH_ASSIGN(num_sinks, in->Number<uint64_t>());
    if (num_sinks > count) return in->Damaged("more sinks than entries");
  }
  SealedCount sealed;
  if (list->sealed() != nullptr) {
    PITH_ASSIGN(sealed, ReadSealedCount(*list->sealed(), in));
    if (sealed.entries > count - num_sinks) {
      return in->Damaged("more sealed entries than there are");
    }
  }
  if (sealed.entries > 0 && list->sealed()->layout().pruned) {
    PITH_ASSIGN(auto channels, ReadChannels(layout.dim, list->sealed()->layout().dim,
                                            list->sealed()->layout().mixed, in));
    list->SetChannels(std::move(channels));
  }
  // Before anything of that size is allocated; also bounds all products of counts and sizes.
  const size_t entry_bytes = layout.form->canonical_bytes(layout.dim);
  if (sealed.bytes > in->remaining() ||
      count - sealed.entries > (in->remaining() - sealed.bytes) / entry_bytes) {
    return in->Damaged("it ends too early");
  }
  std::vector<int32_t> positions(layout.side == Side::kValues ? static_cast<size_t>(count) : 0);
  if (list->merges()) {
    PITH_ASSIGN(const MergeRange range, ReadMergeRange(in));
    list->SetMergeRange(range);
  }
  if (layout.side == Side::kKeys && list->merges()) {
    const uint64_t counts[] = {num_sinks, sealed.entries, count - num_sinks - sealed.entries};
    PITH_ASSIGN(positions, ReadMergedPositions(counts, in));
  } else if (layout.side == Side::kKeys) {
    PITH_ASSIGN(positions, ReadPositions(count, in));
  }
  const auto of_sinks = std::span(positions).first(static_cast<size_t>(num_sinks));
  const auto behind = std::span(positions).subspan(of_sinks.size());
  const auto of_sealed = behind.first(static_cast<size_t>(sealed.entries));
  const auto of_tail = behind.subspan(of_sealed.size());
  PageList* const tail = list->mutable_tail();
  bool has_memory = true;
  if (num_sinks > 0) {
    PITH_ASSIGN(has_memory, ReadEntries(list->mutable_exact(), of_sinks, in));
  }
  if (!has_memory) return false;
  if (!sealed.groups.empty()) {
    PITH_ASSIGN(has_memory, ReadGroups(list->mutable_sealed(), of_sealed, sealed.groups, in));
  } else if (sealed.entries > 0) {
    PITH_ASSIGN(has_memory, ReadEntries(list->mutable_sealed(), of_sealed, in));
  }
  if (!has_memory) return false;
  if (list->merges()) PITH_TRY(ReadNorms(list->mutable_sealed(), in));
  PITH_ASSIGN(has_memory, ReadEntries(tail, of_tail, in));
  if (!has_memory) return false;
  PITH_TRY(ReadSideBlocks(tail, in));
  list->Refresh();
  return true;
}

// Once entries are sealed, all sinks and nothing else lies in front of them. Where layers merge,
// keys and values have the same parts.
bool PartsFit(const EntryList& list, const EntryList& keys, uint32_t num_sinks) {
  if (list.exact() == nullptr) return true;
  if (list.merges()) {
    return list.num_exact() == keys.num_exact() && list.num_sealed() == keys.num_sealed();
  }
  const uint64_t most = keys.CountBefore(static_cast<int32_t>(num_sinks));
  return list.num_sealed() > 0 ? list.num_exact() == most : list.num_exact() <= most;
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
  for (const EntryList& list : impl_->key_lists) WriteList(list, &writer);
  for (const EntryList& list : impl_->value_lists) WriteList(list, &writer);
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
    for (size_t i = 0; i < lists->size(); ++i) {
      EntryList& list = (*lists)[i];
      const bool shares = list.merges() && list.sealed()->layout().shared;
      // One list for every head.
      PITH_ASSIGN(
          const bool has_memory,
          shares ? ReadSharing(&list, (*lists)[spec.FirstOfGroup(i)], &in) : ReadList(&list, &in));
      if (!has_memory) return impl.NoMemory();
    }
  }
  if (in.remaining() > 0) return in.Damaged("bytes behind its end");
  for (uint32_t head = 0; head < impl.heads.size(); ++head) {
    if (impl.KeysOf(head).size() != impl.ValuesOf(head).size()) {
      return in.Damaged("keys and values differ in number");
    }
    for (const EntryList* list : {&impl.KeysOf(head), &impl.ValuesOf(head)}) {
      if (!PartsFit(*list, impl.KeysOf(head), spec.num_sinks)) {
        return in.Damaged("sinks that lie elsewhere");
      }
    }
  }
  impl.RefreshHeads(0, spec.num_layers);
  return cache;
}

}  // namespace pith
