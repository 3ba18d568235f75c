#include "calibrate/training_file.h"

#include <fmt/format.h>

#include "base/bytes.h"
#include "base/file.h"
#include "base/hash.h"

namespace pith {
namespace {

uint64_t HashOf(std::span<const std::byte> bytes) {
  Hasher hasher;
  hasher.Add(bytes);
  return hasher.Finish();
}

}  // namespace

Error DamagedTraining(const std::string& path) {
  return InputError("the saved training is damaged", path, "Delete it to begin again.").value();
}

Status SaveTraining(const std::string& path, std::string_view magic, TrainingTerms terms,
                    std::span<const std::byte> state) {
  std::vector<std::byte> bytes;
  ByteWriter writer(&bytes);
  writer.Add(magic.data(), magic.size());
  for (const auto& [name, number] : terms) writer.Number(number);
  writer.Add(state.data(), state.size());
  writer.Number(HashOf(bytes));
  PITH_ASSIGN(AtomicFile file, AtomicFile::Create(path));
  PITH_TRY(file.Write(bytes));
  return file.Commit();
}

Result<std::vector<std::byte>> ReadTraining(const std::string& path, std::string_view magic,
                                            TrainingTerms terms) {
  PITH_ASSIGN(const std::string text, ReadText(path));
  const std::span bytes = std::as_bytes(std::span(text));
  const Error damaged = DamagedTraining(path);
  if (!text.starts_with(magic) || bytes.size() < magic.size() + sizeof(uint64_t)) {
    return tl::unexpected<Error>(damaged);
  }
  const auto hashed = bytes.first(bytes.size() - sizeof(uint64_t));
  ByteReader tail(bytes.subspan(hashed.size()), damaged);
  PITH_ASSIGN(const uint64_t hash, tail.Number<uint64_t>());
  if (hash != HashOf(hashed)) return tl::unexpected<Error>(damaged);
  ByteReader reader(hashed.subspan(magic.size()), damaged);
  for (const auto& [name, wanted] : terms) {
    PITH_ASSIGN(const uint64_t saved, reader.Number<uint64_t>());
    if (saved == wanted) continue;
    return InputError(fmt::format("a training with another {} was not finished ({} instead of {})",
                                  name, saved, wanted),
                      path, "Go on with its options, or delete the file to begin again.");
  }
  PITH_ASSIGN(const auto state, reader.Take(reader.remaining()));
  return std::vector<std::byte>(state.begin(), state.end());
}

}  // namespace pith
