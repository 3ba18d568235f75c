#include "cache/cache.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <iterator>
#include <set>
#include <utility>

#include "base/check.h"
#include "cache/list.h"
#include "cache/page.h"
#include "cache/sequence.h"

namespace pith {
namespace {

ListLayouts LayoutsOf(const CacheSpec& spec, Side side, uint32_t layer) {
  const ListSpec& list = side == Side::kKeys ? spec.keys : spec.values;
  const Form* sealed = list.SealedIn(layer);
  PITH_CHECK(list.form != nullptr && list.dim > 0 && list.form->group(side) == 0);
  PITH_CHECK(list.dim % list.form->dim_multiple == 0);
  const bool merges = spec.Merges(layer);
  if (merges && sealed == nullptr) sealed = list.form;
  const bool rotated = list.rotated && sealed != nullptr;
  ListLayouts layouts{.tail = {.form = list.form, .side = side, .dim = list.dim},
                      .sealed = {.form = sealed,
                                 .side = side,
                                 .dim = list.SealedDim(),
                                 .rotated = rotated,
                                 .pruned = list.pruned(),
                                 .mixed = list.sealed_mixed,
                                 .directions = merges,
                                 .shared = merges && spec.merged_with[layer] != layer}};
  layouts.has_exact = merges || (sealed != nullptr && spec.num_sinks > 0);
  // Exact entries are stored a second time, without loss.
  PITH_CHECK(!layouts.has_exact || list.form->packing == nullptr);
  std::copy_if(spec.side_blocks.begin(), spec.side_blocks.end(),
               std::back_inserter(layouts.tail.side_blocks),
               [side](const SideBlock& block) { return block.side == side; });
  if (sealed != nullptr) {
    PITH_CHECK(layouts.tail.side_blocks.empty());
    PITH_CHECK(sealed->group(side) <= kMaxPageEntries);
    PITH_CHECK(layouts.sealed.dim % sealed->dim_multiple == 0);
  }
  return layouts;
}

// Of every list of a side.
std::vector<ListLayouts> LayoutsOf(const CacheSpec& spec, Side side, const ListMap& map) {
  std::vector<ListLayouts> layouts;
  for (const uint32_t owner : map.owner_of_list) {
    layouts.push_back(LayoutsOf(spec, side, owner / spec.num_kv_heads));
  }
  return layouts;
}

bool UsesGroups(const CacheSpec& spec) {
  return spec.keys.scope == OwnerScope::kLayerGroup || spec.values.scope == OwnerScope::kLayerGroup;
}

void CheckMerges(const CacheSpec& spec) {
  if (spec.merged_with.empty()) return;
  PITH_CHECK(spec.merged_with.size() == spec.num_layers && spec.num_sinks == 0);
  PITH_CHECK(spec.side_blocks.empty());
  for (uint32_t layer = 0; layer < spec.num_layers; ++layer) {
    PITH_CHECK(spec.merged_with[layer] == layer ||
               (layer > 0 && spec.merged_with[layer] == spec.merged_with[layer - 1]));
  }
  for (const ListSpec* list : {&spec.keys, &spec.values}) {
    PITH_CHECK(list->scope == OwnerScope::kHead && !list->rotated && !list->pruned());
    PITH_CHECK(list->sealed_by_layer.empty());
  }
}

CacheSpec Checked(const CacheSpec& spec) {
  PITH_CHECK(spec.num_layers > 0 && spec.num_kv_heads > 0);
  PITH_CHECK(spec.layer_group.size() == (UsesGroups(spec) ? spec.num_layers : 0));
  for (const ListSpec* list : {&spec.keys, &spec.values}) {
    PITH_CHECK(!list->rotated || list->sealed != nullptr || !list->sealed_by_layer.empty());
    PITH_CHECK(!list->pruned() || (list == &spec.keys && !list->rotated));
    if (list->sealed_by_layer.empty()) continue;
    PITH_CHECK(list->sealed_by_layer.size() == spec.num_layers && list->sealed == nullptr);
    PITH_CHECK(list->scope != OwnerScope::kLayerGroup);
  }
  PITH_CHECK(spec.num_sinks <= kMaxPageEntries);
  CheckMerges(spec);
  std::set<std::string> names;
  for (const SideBlock& block : spec.side_blocks) {
    PITH_CHECK(block.bytes > 0 && block.entries_per_unit > 0);
    PITH_CHECK(kBlockEntries % block.entries_per_unit == 0);
    PITH_CHECK(block.name.size() <= 256 && names.insert(block.name).second);
  }
  return spec;
}

uint64_t FullPageBytes(const ListLayout& layout, uint32_t capacity) {
  const uint64_t norms = layout.directions ? NormBlock::BlockBytes(capacity) : 0;
  if (layout.shared) return norms;
  const size_t positions = layout.side == Side::kKeys ? capacity * sizeof(int32_t) : 0;
  return norms + PagePool::BlockBytes(layout.PageBytes(capacity)) + PagePool::BlockBytes(positions);
}

// Of pages that are filled one after the other.
uint64_t NewBytes(const ListLayout& layout, uint64_t entries) {
  const uint32_t full = layout.GroupEntries();
  const auto rest = static_cast<uint32_t>(entries % full);
  return entries / full * FullPageBytes(layout, full) +
         (rest == 0 ? 0 : FullPageBytes(layout, CapacityClass(rest)));
}

// Of a list whose pages are as Keep leaves them, and of what Reserve adds to it.
uint64_t ListBytes(const ListLayout& layout, uint64_t entries, uint64_t room) {
  uint64_t bytes = NewBytes(layout, entries);
  if (const auto last = static_cast<uint32_t>(entries % kMaxPageEntries); last > 0) {
    const auto joined = static_cast<uint32_t>(std::min<uint64_t>(room, kMaxPageEntries - last));
    if (last + joined > CapacityClass(last)) {
      bytes += FullPageBytes(layout, CapacityClass(last + joined));
    }
    room -= joined;
  }
  return bytes + NewBytes(layout, room);
}

// About how many entries of a list are not sealed.
uint64_t InTail(const ListLayout& sealed, uint64_t entries, uint64_t residual) {
  if (sealed.form == nullptr) return entries;
  return std::min(entries, std::max<uint64_t>(residual, sealed.form->group(sealed.side)));
}

// Of a list's entries, those that are never sealed.
uint64_t NumSinks(const CacheSpec& spec, const ListLayouts& layouts, uint64_t entries) {
  return layouts.has_exact ? std::min<uint64_t>(entries, spec.num_sinks) : 0;
}

}  // namespace

uint64_t HeadBytes(const CacheSpec& spec, uint32_t layer, uint64_t entries, uint64_t room,
                   uint64_t residual) {
  uint64_t bytes = 0;
  for (const Side side : {Side::kKeys, Side::kValues}) {
    const ListLayouts layouts = LayoutsOf(spec, side, layer);
    const uint64_t stay = InTail(layouts.sealed, entries, residual);
    const uint64_t sinks = NumSinks(spec, layouts, entries);
    // In front of sealed entries, or in the tail while there are none.
    bytes += std::max(ListBytes(layouts.tail, stay, room) + NewBytes(layouts.tail, sinks),
                      ListBytes(layouts.tail, std::min(entries, stay + sinks), room));
    if (stay < entries) bytes += NewBytes(layouts.sealed, entries - stay);
  }
  return bytes;
}

uint64_t SealingBytes(const CacheSpec& spec, uint32_t layer, uint64_t entries, uint64_t room,
                      uint64_t residual) {
  uint64_t bytes = 0;
  for (const Side side : {Side::kKeys, Side::kValues}) {
    const ListLayouts layouts = LayoutsOf(spec, side, layer);
    if (layouts.sealed.form == nullptr) continue;
    bytes += NewBytes(layouts.sealed, InTail(layouts.sealed, entries, residual) + room) +
             NewBytes(layouts.tail, NumSinks(spec, layouts, entries + room));
  }
  return bytes;
}

ListMap::ListMap(const CacheSpec& spec, OwnerScope scope) {
  for (uint32_t layer = 0; layer < spec.num_layers; ++layer) {
    first_list_of_layer.push_back(static_cast<uint32_t>(owner_of_list.size()));
    const auto first_head = static_cast<uint32_t>(list_of_head.size());
    if (scope == OwnerScope::kLayerGroup) {
      const auto& groups = spec.layer_group;
      const auto first_layer = static_cast<uint32_t>(
          std::find(groups.begin(), groups.end(), groups[layer]) - groups.begin());
      if (first_layer < layer) {
        list_of_head.insert(list_of_head.end(), spec.num_kv_heads,
                            list_of_head[size_t{first_layer} * spec.num_kv_heads]);
        continue;
      }
    }
    for (uint32_t head = 0; head < spec.num_kv_heads; ++head) {
      if (head == 0 || scope == OwnerScope::kHead) owner_of_list.push_back(first_head + head);
      list_of_head.push_back(static_cast<uint32_t>(owner_of_list.size() - 1));
    }
  }
  first_list_of_layer.push_back(static_cast<uint32_t>(owner_of_list.size()));
}

CachePlan::CachePlan(const CacheSpec& s)
    : spec(Checked(s)),
      key_map(s, s.keys.scope),
      value_map(s, s.values.scope),
      key_layouts(LayoutsOf(s, Side::kKeys, key_map)),
      value_layouts(LayoutsOf(s, Side::kValues, value_map)) {}

SequenceCache::Impl::Impl(PagePool* pool_of_pages, std::shared_ptr<const CachePlan> shared_plan)
    : pool(pool_of_pages), plan(std::move(shared_plan)) {
  heads.resize(plan->key_map.list_of_head.size());
  key_lists.reserve(plan->key_map.owner_of_list.size());
  value_lists.reserve(plan->value_map.owner_of_list.size());
}

SequenceCache::Impl::~Impl() {
  key_lists.clear();
  value_lists.clear();
  pool->Trim();
}

uint32_t SequenceCache::Impl::HeadNumber(uint32_t layer, uint32_t kv_head) const {
  PITH_CHECK(layer < plan->spec.num_layers && kv_head < plan->spec.num_kv_heads);
  return layer * plan->spec.num_kv_heads + kv_head;
}

tl::unexpected<Error> SequenceCache::Impl::NoMemory() const {
  constexpr double kMiB = 1 << 20;
  const double held = static_cast<double>(pool->allocated_bytes()) / kMiB;
  const double limit = static_cast<double>(pool->limit_bytes()) / kMiB;
  return Failure("no memory for the cache",
                 limit > 0 ? fmt::format("{:.1f} MiB of at most {:.1f} MiB are in use", held, limit)
                           : fmt::format("the system gives no more than {:.1f} MiB", held),
                 "Allow it more memory, or keep fewer tokens in it");
}

Status SequenceCache::Impl::Extend(uint32_t begin, uint32_t end,
                                   std::span<const int32_t> positions) {
  if (positions.empty()) return {};
  PITH_CHECK(positions.front() >= 0);
  PITH_CHECK(std::adjacent_find(positions.begin(), positions.end(), std::greater_equal<>()) ==
             positions.end());
  const auto lists_of = [&](std::vector<EntryList>& lists, const ListMap& map) {
    return std::span(lists).subspan(map.first_list_of_layer[begin],
                                    map.first_list_of_layer[end] - map.first_list_of_layer[begin]);
  };
  const std::span<EntryList> both[] = {lists_of(key_lists, plan->key_map),
                                       lists_of(value_lists, plan->value_map)};
  for (const EntryList& list : both[0]) PITH_CHECK(positions.front() > list.last_position());

  bool complete = true, new_pages = false;
  for (const auto& lists : both) {
    for (EntryList& list : lists) {
      complete = complete && list.Reserve(positions);
      new_pages = new_pages || list.has_reserved_pages();
    }
  }
  for (const auto& lists : both) {
    for (EntryList& list : lists) complete ? list.Commit(positions) : list.Cancel();
  }
  // What larger pages replaced, or what was got for nothing, goes back to the system.
  if (new_pages || !complete) pool->Trim();
  if (!complete) return NoMemory();
  RefreshHeads(begin, end);
  return {};
}

void SequenceCache::Impl::RefreshHeads(uint32_t begin, uint32_t end) {
  const uint32_t num_kv_heads = plan->spec.num_kv_heads;
  if (UsesGroups(plan->spec)) begin = 0, end = plan->spec.num_layers;
  for (uint32_t head = begin * num_kv_heads; head < end * num_kv_heads; ++head) {
    const EntryList& keys = KeysOf(head);
    const EntryList& values = ValuesOf(head);
    // They differ only while layers of a group are extended one by one.
    heads[head] = {keys.views(), values.views(), std::min(keys.size(), values.size())};
  }
}

SequenceCache::SequenceCache(PagePool* pool, const CacheSpec& spec)
    : impl_(std::make_unique<Impl>(pool, std::make_shared<const CachePlan>(spec))) {
  const CachePlan& plan = *impl_->plan;
  for (const ListLayouts& layouts : plan.key_layouts) {
    impl_->key_lists.emplace_back(pool, &layouts, &impl_->held);
  }
  for (const ListLayouts& layouts : plan.value_layouts) {
    impl_->value_lists.emplace_back(pool, &layouts, &impl_->held);
  }
}

SequenceCache::SequenceCache(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
SequenceCache::~SequenceCache() = default;
SequenceCache::SequenceCache(SequenceCache&&) noexcept = default;
SequenceCache& SequenceCache::operator=(SequenceCache&&) noexcept = default;

const CacheSpec& SequenceCache::spec() const { return impl_->plan->spec; }

uint64_t SequenceCache::num_entries(uint32_t layer, uint32_t kv_head) const {
  return Head(layer, kv_head).num_entries;
}

Status SequenceCache::Extend(std::span<const int32_t> positions) {
  return impl_->Extend(0, spec().num_layers, positions);
}

Status SequenceCache::ExtendLayer(uint32_t layer, std::span<const int32_t> positions) {
  PITH_CHECK(layer < spec().num_layers);
  return impl_->Extend(layer, layer + 1, positions);
}

void SequenceCache::WriteKeys(uint32_t layer, uint32_t kv_head, uint64_t first, uint32_t count,
                              const float* rows, size_t row_stride) {
  const uint32_t head = impl_->HeadNumber(layer, kv_head);
  const ListMap& map = impl_->plan->key_map;
  PITH_CHECK(map.owner_of_list[map.list_of_head[head]] == head);
  impl_->KeysOf(head).Write(first, count, rows, row_stride);
}

void SequenceCache::WriteValues(uint32_t layer, uint32_t kv_head, uint64_t first, uint32_t count,
                                const float* rows, size_t row_stride) {
  const uint32_t head = impl_->HeadNumber(layer, kv_head);
  const ListMap& map = impl_->plan->value_map;
  PITH_CHECK(map.owner_of_list[map.list_of_head[head]] == head);
  impl_->ValuesOf(head).Write(first, count, rows, row_stride);
}

HeadView SequenceCache::Head(uint32_t layer, uint32_t kv_head) const {
  return impl_->heads[impl_->HeadNumber(layer, kv_head)];
}

std::span<const HeadView> SequenceCache::Heads(uint32_t layer) const {
  return std::span(impl_->heads).subspan(impl_->HeadNumber(layer, 0), spec().num_kv_heads);
}

void SequenceCache::ReadKeys(uint32_t layer, uint32_t kv_head, uint64_t first, uint32_t count,
                             float* rows) const {
  ReadRows(Head(layer, kv_head), Side::kKeys, first, count, rows);
}

void SequenceCache::ReadValues(uint32_t layer, uint32_t kv_head, uint64_t first, uint32_t count,
                               float* rows) const {
  ReadRows(Head(layer, kv_head), Side::kValues, first, count, rows);
}

void SequenceCache::Positions(uint32_t layer, uint32_t kv_head, std::span<int32_t> out) const {
  ReadPositions(Head(layer, kv_head), out);
}

uint64_t SequenceCache::TakeUnchangedKeys(uint32_t layer, uint32_t kv_head) {
  PITH_CHECK(spec().keys.scope == OwnerScope::kHead);
  return impl_->KeysOf(impl_->HeadNumber(layer, kv_head)).TakeUnchanged();
}

Result<std::span<std::byte>> SequenceCache::SideUnit(std::string_view name, uint32_t layer,
                                                     uint32_t kv_head, uint64_t unit) {
  const uint32_t head = impl_->HeadNumber(layer, kv_head);
  for (EntryList* list : {&impl_->KeysOf(head), &impl_->ValuesOf(head)}) {
    const auto& blocks = list->tail_layout().side_blocks;
    const auto found = std::find_if(blocks.begin(), blocks.end(),
                                    [&](const SideBlock& block) { return block.name == name; });
    if (found == blocks.end()) continue;
    const auto bytes = list->SideUnit(static_cast<size_t>(found - blocks.begin()), unit);
    if (bytes.empty()) return impl_->NoMemory();
    return bytes;
  }
  PITH_CHECK(!"a side block of this name");
}

SequenceCache SequenceCache::Fork() const {
  auto fork = std::make_unique<Impl>(impl_->pool, impl_->plan);
  fork->held.peak = impl_->held.peak;
  for (const EntryList& list : impl_->key_lists) {
    const ListLayouts& layouts = impl_->plan->key_layouts[fork->key_lists.size()];
    fork->key_lists.push_back(list.Fork(impl_->pool, &layouts, &fork->held));
  }
  for (const EntryList& list : impl_->value_lists) {
    const ListLayouts& layouts = impl_->plan->value_layouts[fork->value_lists.size()];
    fork->value_lists.push_back(list.Fork(impl_->pool, &layouts, &fork->held));
  }
  fork->RefreshHeads(0, spec().num_layers);
  return SequenceCache(std::move(fork));
}

void SequenceCache::Truncate(int32_t end_position) {
  const CachePlan& plan = *impl_->plan;
  // Values have no positions of their own: their owner's keys say how many stay.
  for (size_t i = 0; i < impl_->value_lists.size(); ++i) {
    const uint32_t owner = plan.value_map.owner_of_list[i];
    impl_->value_lists[i].Truncate(end_position, impl_->KeysOf(owner));
  }
  for (EntryList& list : impl_->key_lists) list.Truncate(end_position, list);
  impl_->pool->Trim();  // before the last pages shrink, so that the pool's peak does not grow
  for (auto* lists : {&impl_->key_lists, &impl_->value_lists}) {
    for (EntryList& list : *lists) list.Shrink();
  }
  impl_->pool->Trim();
  impl_->RefreshHeads(0, spec().num_layers);
}

uint64_t SequenceCache::BytesWhileExtended(uint64_t room) const {
  // Blocks that were freed leave system pages behind that are in use in part.
  const uint64_t unused = impl_->pool->allocated_bytes() - impl_->pool->used_bytes();
  uint64_t bytes = impl_->held.now + unused, sealing = 0, sealing_here = 0;
  for (uint32_t layer = 0; layer < spec().num_layers; ++layer) {
    // Layers of a group are sealed together.
    if (!spec().Merges(layer) || spec().merged_with[layer] == layer) sealing_here = 0;
    for (uint32_t head = 0; head < spec().num_kv_heads; ++head) {
      const uint32_t number = impl_->HeadNumber(layer, head);
      for (const EntryList* list : {&impl_->KeysOf(number), &impl_->ValuesOf(number)}) {
        const uint64_t tail = list->tail().size();
        bytes +=
            ListBytes(list->tail_layout(), tail, room) - ListBytes(list->tail_layout(), tail, 0);
        if (list->sealed() == nullptr) continue;
        sealing_here += NewBytes(list->sealed()->layout(), tail + room);
        if (list->exact() == nullptr) continue;
        sealing_here +=
            NewBytes(list->tail_layout(), list->merges() ? tail + room : spec().num_sinks);
      }
    }
    sealing = std::max(sealing, sealing_here);
  }
  return bytes + sealing;
}

CacheUsage SequenceCache::Usage() const {
  CacheUsage usage;
  for (uint32_t head = 0; head < impl_->heads.size(); ++head) {
    usage.entries += impl_->heads[head].num_entries;
    usage.sealed_keys += impl_->KeysOf(head).num_sealed();
    usage.sealed_values += impl_->ValuesOf(head).num_sealed();
  }
  for (const auto* lists : {&impl_->key_lists, &impl_->value_lists}) {
    for (const EntryList& list : *lists) {
      usage.logical += list.LogicalBytes();
      usage.metadata += list.MetadataBytes();
    }
  }
  usage.held = impl_->held.now;
  usage.held_peak = impl_->held.peak;
  usage.allocated = impl_->pool->allocated_bytes();
  usage.peak = impl_->pool->peak_bytes();
  return usage;
}

CacheUsage SequenceCache::Usage(uint32_t layer, uint32_t kv_head) const {
  const uint32_t head = impl_->HeadNumber(layer, kv_head);
  const CachePlan& plan = *impl_->plan;
  CacheUsage usage;
  usage.entries = impl_->heads[head].num_entries;
  usage.sealed_keys = impl_->KeysOf(head).num_sealed();
  usage.sealed_values = impl_->ValuesOf(head).num_sealed();
  const auto add = [&](const EntryList& list, const ListMap& map) {
    if (map.owner_of_list[map.list_of_head[head]] != head) return;  // counted where the owner is
    usage.logical += list.LogicalBytes();
    usage.metadata += list.MetadataBytes();
    usage.allocated += list.AllocatedBytes();
  };
  add(impl_->KeysOf(head), plan.key_map);
  add(impl_->ValuesOf(head), plan.value_map);
  usage.held = usage.allocated;
  return usage;
}

}  // namespace pith
