// What a saved cache says first: the layout that it was made for, against that of this engine; and
// the reader of both files' parts (docs/save_format.md).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/status.h"
#include "cache/cache.h"

namespace pith {

// Bounds and values are checked; errors say where the bytes come from. `where` outlives it.
class SavedReader : public ByteReader {
 public:
  SavedReader(std::span<const std::byte> bytes, const std::string& where);

  tl::unexpected<Error> Damaged(const std::string& what) const;
  // The next number or text must be the same as here.
  Status Expect(const std::string& what, uint32_t here);
  Status ExpectText(const std::string& what, std::string_view here);

 private:
  tl::unexpected<Error> Differs(const std::string& what, const std::string& saved,
                                const std::string& here) const;

  const std::string& where_;
};

void WriteSpec(const CacheSpec& spec, ByteWriter* out);
Status CheckSpec(const CacheSpec& spec, SavedReader* in);

}  // namespace pith
