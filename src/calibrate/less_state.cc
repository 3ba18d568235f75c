// LESS's training in a file.
#include <algorithm>
#include <array>
#include <cmath>

#include "base/bytes.h"
#include "calibrate/less.h"
#include "calibrate/training_file.h"

namespace pith {
namespace {

constexpr std::string_view kMagic = "pith less 1\n";

template <class Archive, class T>
Status Fields(Archive& archive, T& state) {
  PITH_TRY(archive.Field(state.layer));
  PITH_TRY(archive.Field(state.epoch));
  PITH_TRY(archive.Field(state.parameters));
  PITH_TRY(archive.Field(state.mean));
  PITH_TRY(archive.Field(state.square));
  return archive.Field(state.losses);
}

template <class T>
bool AreFinite(const std::vector<T>& values, size_t count) {
  return values.size() == count &&
         std::ranges::all_of(values, [](T x) { return std::isfinite(x); });
}

std::array<std::pair<const char*, uint64_t>, 6> TermsOf(const LessTerms& terms) {
  return {{{"model", terms.model_hash},
           {"--seed", terms.settings.seed},
           {"--epochs", terms.settings.epochs},
           {"--hidden", terms.settings.hidden},
           {"--features", terms.settings.rank},
           {"set of texts", terms.texts_hash}}};
}

}  // namespace

Status SaveLessState(const std::string& path, const LessTerms& terms, const LessState& state) {
  std::vector<std::byte> bytes;
  ByteWriter writer(&bytes);
  PITH_TRY(Fields(writer, state));
  return SaveTraining(path, kMagic, TermsOf(terms), bytes);
}

Result<LessState> ReadLessState(const std::string& path, const LessTerms& terms) {
  PITH_ASSIGN(const auto bytes, ReadTraining(path, kMagic, TermsOf(terms)));
  const Error damaged = DamagedTraining(path);
  ByteReader reader(bytes, damaged);
  LessState state;
  PITH_TRY(Fields(reader, state));
  const size_t count = terms.num_layers * terms.layer_size;
  const bool whole = reader.remaining() == 0 && state.layer <= terms.num_layers &&
                     state.epoch <= terms.settings.epochs && AreFinite(state.parameters, count) &&
                     AreFinite(state.mean, count) && AreFinite(state.square, count) &&
                     AreFinite(state.losses, terms.num_layers) &&
                     std::ranges::all_of(state.square, [](float x) { return x >= 0; });
  if (!whole) return tl::unexpected<Error>(damaged);
  return state;
}

}  // namespace pith
