// A training's state in a file: what it belongs to, the numbers, and a hash of all that.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/bytes.h"
#include "base/file.h"
#include "base/hash.h"
#include "calibrate/duo.h"

namespace pith {
namespace {

constexpr std::string_view kMagic = "pith gates 1\n";

tl::unexpected<Error> Damaged(const std::string& path) {
  return InputError("the saved training is damaged", path, "Delete it to begin again.");
}
Error TooShort(const std::string& path) { return Damaged(path).value(); }

template <class Archive, class T>
Status Fields(Archive& archive, T& state) {
  PITH_TRY(archive.Field(state.step));
  PITH_TRY(archive.Field(state.loss));
  PITH_TRY(archive.Field(state.gates));
  PITH_TRY(archive.Field(state.mean));
  return archive.Field(state.square);
}

uint64_t HashOf(std::span<const std::byte> bytes) {
  Hasher hasher;
  hasher.Add(bytes);
  return hasher.Finish();
}

bool InRange(const std::vector<double>& values, size_t count, double least, double most) {
  return values.size() == count && std::ranges::all_of(values, [&](double x) {
           return std::isfinite(x) && x >= least && x <= most;
         });
}

// Refuses a file of another training.
Status CheckSame(const std::string& path, const char* what, uint64_t saved, uint64_t wanted) {
  if (saved == wanted) return {};
  return InputError(fmt::format("a training with another {} was not finished ({} instead of {})",
                                what, saved, wanted),
                    path, "Go on with its options, or delete the file to begin again.");
}

}  // namespace

Status SaveDuoState(const std::string& path, uint64_t model_hash, const DuoSettings& settings,
                    const DuoState& state) {
  std::vector<std::byte> bytes;
  ByteWriter writer(&bytes);
  writer.Add(kMagic.data(), kMagic.size());
  for (const uint64_t number :
       {model_hash, settings.seed, uint64_t{settings.steps}, uint64_t{settings.context}}) {
    writer.Number(number);
  }
  PITH_TRY(Fields(writer, state));
  writer.Number(HashOf(bytes));
  PITH_ASSIGN(AtomicFile file, AtomicFile::Create(path));
  PITH_TRY(file.Write(bytes));
  return file.Commit();
}

Result<DuoState> ReadDuoState(const std::string& path, uint64_t model_hash,
                              const DuoSettings& settings, size_t num_gates) {
  PITH_ASSIGN(const std::string text, ReadText(path));
  const std::span bytes = std::as_bytes(std::span(text));
  if (!text.starts_with(kMagic) || bytes.size() < kMagic.size() + sizeof(uint64_t)) {
    return Damaged(path);
  }
  const auto hashed = bytes.first(bytes.size() - sizeof(uint64_t));
  ByteReader tail(bytes.subspan(hashed.size()), TooShort(path));
  PITH_ASSIGN(const uint64_t hash, tail.Number<uint64_t>());
  if (hash != HashOf(hashed)) return Damaged(path);
  ByteReader reader(hashed.subspan(kMagic.size()), TooShort(path));
  const std::pair<const char*, uint64_t> expected[] = {{"model", model_hash},
                                                       {"--seed", settings.seed},
                                                       {"--steps", settings.steps},
                                                       {"--ctx", settings.context}};
  for (const auto& [what, wanted] : expected) {
    PITH_ASSIGN(const uint64_t saved, reader.Number<uint64_t>());
    PITH_TRY(CheckSame(path, what, saved, wanted));
  }
  DuoState state;
  PITH_TRY(Fields(reader, state));
  const bool whole = reader.remaining() == 0 && state.step <= settings.steps &&
                     std::isfinite(state.loss) && InRange(state.gates, num_gates, 0, 1) &&
                     InRange(state.mean, num_gates, -INFINITY, INFINITY) &&
                     InRange(state.square, num_gates, 0, INFINITY);
  if (!whole) return Damaged(path);
  return state;
}

}  // namespace pith
