// A training's state in a file.
#include <algorithm>
#include <array>
#include <cmath>

#include "base/bytes.h"
#include "calibrate/duo.h"
#include "calibrate/training_file.h"

namespace pith {
namespace {

constexpr std::string_view kMagic = "pith gates 1\n";

template <class Archive, class T>
Status Fields(Archive& archive, T& state) {
  PITH_TRY(archive.Field(state.step));
  PITH_TRY(archive.Field(state.loss));
  PITH_TRY(archive.Field(state.gates));
  PITH_TRY(archive.Field(state.mean));
  return archive.Field(state.square);
}

bool InRange(const std::vector<double>& values, size_t count, double least, double most) {
  return values.size() == count && std::ranges::all_of(values, [&](double x) {
           return std::isfinite(x) && x >= least && x <= most;
         });
}

std::array<std::pair<const char*, uint64_t>, 4> TermsOf(uint64_t model_hash,
                                                        const DuoSettings& settings) {
  return {{{"model", model_hash},
           {"--seed", settings.seed},
           {"--steps", settings.steps},
           {"--ctx", settings.context}}};
}

}  // namespace

Status SaveDuoState(const std::string& path, uint64_t model_hash, const DuoSettings& settings,
                    const DuoState& state) {
  std::vector<std::byte> bytes;
  ByteWriter writer(&bytes);
  PITH_TRY(Fields(writer, state));
  return SaveTraining(path, kMagic, TermsOf(model_hash, settings), bytes);
}

Result<DuoState> ReadDuoState(const std::string& path, uint64_t model_hash,
                              const DuoSettings& settings, size_t num_gates) {
  PITH_ASSIGN(const auto bytes, ReadTraining(path, kMagic, TermsOf(model_hash, settings)));
  const Error damaged = DamagedTraining(path);
  ByteReader reader(bytes, damaged);
  DuoState state;
  PITH_TRY(Fields(reader, state));
  const bool whole = reader.remaining() == 0 && state.step <= settings.steps &&
                     std::isfinite(state.loss) && InRange(state.gates, num_gates, 0, 1) &&
                     InRange(state.mean, num_gates, -INFINITY, INFINITY) &&
                     InRange(state.square, num_gates, 0, INFINITY);
  if (!whole) return tl::unexpected<Error>(damaged);
  return state;
}

}  // namespace pith
