#include "cache/save_spec.h"

#include <fmt/format.h>

#include <vector>

namespace pith {
namespace {

constexpr uint32_t kMaxNameBytes = 256;

constexpr const char* kSameModelHint =
    "Load it with the model, the recipe and the profile that it was saved with";

Error Damage(const std::string& what, const std::string& where) {
  return InputError("damaged cache: " + what, where, "Save it again").value();
}

}  // namespace

SavedReader::SavedReader(std::span<const std::byte> bytes, const std::string& where)
    : ByteReader(bytes, Damage("it ends too early", where)), where_(where) {}

tl::unexpected<Error> SavedReader::Damaged(const std::string& what) const {
  return tl::unexpected<Error>(Damage(what, where_));
}

tl::unexpected<Error> SavedReader::Differs(const std::string& what, const std::string& saved,
                                           const std::string& here) const {
  return InputError(what + " of the saved cache: " + saved + " instead of " + here, where_,
                    kSameModelHint);
}

Status SavedReader::Expect(const std::string& what, uint32_t here) {
  PITH_ASSIGN(const uint32_t saved, Number<uint32_t>());
  if (saved != here) return Differs(what, std::to_string(saved), std::to_string(here));
  return {};
}

Status SavedReader::ExpectText(const std::string& what, std::string_view here) {
  PITH_ASSIGN(const uint32_t size, Number<uint32_t>());
  if (size > kMaxNameBytes) return Damaged(what + " is too long");
  PITH_ASSIGN(const auto bytes, Take(size));
  std::string saved(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (saved == here) return {};
  for (char& c : saved) c = c >= ' ' && c <= '~' ? c : '?';  // it is about to be printed
  return Differs(what, saved, std::string(here));
}

namespace {

// What is said about the sealed form of a list that has none.
constexpr Form kNoForm = {.name = "none"};
const Form& FormOr(const Form* form) { return form != nullptr ? *form : kNoForm; }

// What is the same of all sealed lists of a side.
struct SealedLists {
  bool rotated = false;
  uint32_t num_sinks = 0;
  uint32_t num_channels = 0;  // 0: all
  bool mixed = false;         // mixtures of them
  bool merged = false;        // of some layers
};

// A sealed form's name, and whether what it stores was rotated: its codes mean something else then.
// Lists with sinks have one number more, lists of some channels say which, and layers that merge
// have entries in common.
std::string SealedName(const Form* form, const SealedLists& lists) {
  std::string name(FormOr(form).name);
  if (form != nullptr && lists.rotated) name += "+hadamard";
  if (form != nullptr && lists.num_sinks > 0) name += "+sinks" + std::to_string(lists.num_sinks);
  if (form != nullptr && lists.num_channels > 0) {
    name += (lists.mixed ? "+mixtures" : "+channels") + std::to_string(lists.num_channels);
  }
  if (lists.merged) name += "+merged";
  return name;
}

SealedLists SealedListsOf(const ListSpec& list, const CacheSpec& spec) {
  return {list.rotated, spec.num_sinks, list.pruned() ? list.sealed_dim : 0, list.sealed_mixed,
          !spec.merged_with.empty()};
}

void WriteForm(const Form& form, std::string_view name, Side side, ByteWriter* out) {
  out->Text(name);
  out->Number(static_cast<uint32_t>(form.id));
  out->Number(form.version);
  out->Number(form.group(side));
}

Status CheckForm(const Form& form, std::string_view name, Side side, const std::string& of,
                 SavedReader* in) {
  PITH_TRY(in->ExpectText("form of the " + of, name));
  PITH_TRY(in->Expect("form number of the " + of, static_cast<uint32_t>(form.id)));
  PITH_TRY(in->Expect("form version of the " + of, form.version));
  return in->Expect("group of the " + of, form.group(side));
}

void WriteListSpec(const ListSpec& list, const CacheSpec& spec, Side side, ByteWriter* out) {
  const SealedLists lists = SealedListsOf(list, spec);
  WriteForm(*list.form, list.form->name, side, out);
  WriteForm(FormOr(list.sealed), SealedName(list.sealed, lists), side, out);
  out->Number(static_cast<uint32_t>(list.sealed_by_layer.size()));
  for (const Form* form : list.sealed_by_layer) {
    WriteForm(FormOr(form), SealedName(form, lists), side, out);
  }
  out->Number(list.dim);
  out->Number(static_cast<uint32_t>(list.scope));
}

Status CheckListSpec(const ListSpec& list, const CacheSpec& spec, Side side, SavedReader* in) {
  const std::string name = side == Side::kKeys ? "keys" : "values";
  const SealedLists lists = SealedListsOf(list, spec);
  PITH_TRY(CheckForm(*list.form, list.form->name, side, name, in));
  PITH_TRY(
      CheckForm(FormOr(list.sealed), SealedName(list.sealed, lists), side, "sealed " + name, in));
  const std::vector<const Form*>& by_layer = list.sealed_by_layer;
  PITH_TRY(in->Expect("layers with their own form of sealed " + name,
                      static_cast<uint32_t>(by_layer.size())));
  for (size_t layer = 0; layer < by_layer.size(); ++layer) {
    PITH_TRY(CheckForm(FormOr(by_layer[layer]), SealedName(by_layer[layer], lists), side,
                       fmt::format("sealed {} of layer {}", name, layer), in));
  }
  PITH_TRY(in->Expect("head size of the " + name, list.dim));
  return in->Expect("owner scope of the " + name, static_cast<uint32_t>(list.scope));
}

}  // namespace

void WriteSpec(const CacheSpec& spec, ByteWriter* out) {
  out->Number(spec.num_layers);
  out->Number(spec.num_kv_heads);
  WriteListSpec(spec.keys, spec, Side::kKeys, out);
  WriteListSpec(spec.values, spec, Side::kValues, out);
  for (const uint32_t first : spec.merged_with) out->Number(first);
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

Status CheckSpec(const CacheSpec& spec, SavedReader* in) {
  PITH_TRY(in->Expect("number of layers", spec.num_layers));
  PITH_TRY(in->Expect("number of KV heads", spec.num_kv_heads));
  PITH_TRY(CheckListSpec(spec.keys, spec, Side::kKeys, in));
  PITH_TRY(CheckListSpec(spec.values, spec, Side::kValues, in));
  for (const uint32_t first : spec.merged_with) {
    PITH_TRY(in->Expect("first layer that a layer is merged with", first));
  }
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

}  // namespace pith
