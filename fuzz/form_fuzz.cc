// Any numbers at all in any form: what is read back is within the form's bound of what was stored,
// not-finite numbers contained, and moving entries between pages and files changes nothing.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>
#include <vector>

#include "codec/kivi.h"
#include "codec/packed.h"
#include "codec/test_bounds.h"

namespace {

using pith::Form;
using pith::PageShape;
using pith::Side;

void Require(bool holds) {
  if (!holds) std::abort();
}

const Form& FormOf(uint8_t choice) {
  const std::span<const Form* const> kivi = pith::KiviForms();
  const size_t index = choice % (2 + kivi.size());
  return index < 2 ? *pith::FindForm(index == 0 ? "q8_0" : "q4_0") : *kivi[index - 2];
}

// What a form stores in place of what F16 cannot hold.
float Contained(float x) {
  constexpr float kLargest = 65504;
  return std::isnan(x) ? 0 : std::fmin(std::fmax(x, -kLargest), kLargest);
}

struct Page {
  Page(const Form& f, Side s, PageShape p)
      : form(f), side(s), shape(p), bytes(f.page_bytes(s, p)) {}
  std::vector<float> Load(uint32_t count) const {
    std::vector<float> rows(size_t{count} * shape.dim);
    form.load(side, bytes.data(), shape, 0, count, rows.data(), shape.dim);
    return rows;
  }

  const Form& form;
  Side side;
  PageShape shape;
  std::vector<std::byte> bytes;
};

// The largest error that number (entry, channel) may have, from the numbers of its group alone.
double Bound(const Page& page, std::span<const float> rows, uint32_t count, uint32_t entry,
             uint32_t channel) {
  const uint32_t dim = page.shape.dim, bits = page.form.packing->bits;
  const bool affine = page.form.key_group > 0;
  const bool per_channel = affine && page.side == Side::kKeys;
  const uint32_t width = affine ? page.form.key_group : 32;
  const uint32_t first = channel / width * width, end = std::min(first + width, dim);
  double lowest = HUGE_VAL, highest = -HUGE_VAL;
  for (uint32_t i = 0; i < (per_channel ? count : end - first); ++i) {
    const size_t at = per_channel ? size_t{i} * dim + channel : size_t{entry} * dim + first + i;
    const double x = Contained(rows[at]);
    lowest = std::fmin(lowest, x);
    highest = std::fmax(highest, x);
  }
  if (affine) return pith::AffineBound(lowest, highest, bits);
  return pith::GgmlBound(std::fmax(-lowest, highest), bits);
}

void CheckNumbers(const Page& page, std::span<const float> rows, uint32_t count) {
  const std::vector<float> read = page.Load(count);
  for (uint32_t i = 0; i < count; ++i) {
    for (uint32_t c = 0; c < page.shape.dim; ++c) {
      const size_t at = size_t{i} * page.shape.dim + c;
      const double error = std::abs(double{read[at]} - Contained(rows[at]));
      Require(error <= Bound(page, rows, count, i, c));
    }
  }
}

// Through the bytes of a file, entry by entry or as a whole page.
void CheckCanonical(const Page& page, uint32_t count) {
  const Form& form = page.form;
  const bool sealed = form.group(page.side) > 0;
  const size_t size = sealed ? form.canonical_page_bytes(page.side, page.shape.dim, count)
                             : count * form.canonical_bytes(page.shape.dim);
  std::vector<std::byte> file(size), again(size);
  Page other(form, page.side, page.shape);
  if (sealed) {
    form.export_page(page.side, page.bytes.data(), page.shape, count, file.data());
    form.import_page(page.side, other.bytes.data(), other.shape, count, file.data());
    form.export_page(page.side, other.bytes.data(), other.shape, count, again.data());
  } else {
    form.export_entries(page.side, page.bytes.data(), page.shape, 0, count, file.data());
    form.import_entries(page.side, other.bytes.data(), other.shape, 0, count, file.data());
    form.export_entries(page.side, other.bytes.data(), other.shape, 0, count, again.data());
  }
  Require(file == again);
  Require(other.Load(count) == page.Load(count));
}

void CheckKeep(const Page& page, uint32_t count, uint8_t pattern) {
  if (page.form.keep_entries == nullptr || page.form.group(page.side) == 0) return;
  std::vector<uint32_t> kept;
  std::vector<float> wanted;
  const std::vector<float> before = page.Load(count);
  for (uint32_t i = 0; i < count; ++i) {
    if ((pattern >> (i % 8) & 1) == 0) continue;
    kept.push_back(i);
    const auto row = before.begin() + static_cast<ptrdiff_t>(size_t{i} * page.shape.dim);
    wanted.insert(wanted.end(), row, row + page.shape.dim);
  }
  Page same = page;
  page.form.keep_entries(page.side, same.bytes.data(), same.shape, kept, same.bytes.data(),
                         same.shape);
  Require(same.Load(static_cast<uint32_t>(kept.size())) == wanted);
}

}  // namespace

// Bytes: form, side, dim, entries to keep; then numbers, f32 or, by the lowest bit of the side's
// byte, the upper half of one.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 5) return 0;
  const Form& form = FormOf(data[0]);
  const Side side = (data[1] & 2) == 0 ? Side::kKeys : Side::kValues;
  const uint32_t dim =
      form.dim_multiple > 1 ? (1 + data[2] % 4) * form.dim_multiple : 1 + data[2] % 160;
  const size_t width = (data[1] & 1) == 0 ? 2 : 4;
  const uint32_t capacity = form.group(side) > 0 ? form.group(side) : 32;
  const size_t numbers = (size - 4) / width;
  const auto count = static_cast<uint32_t>(std::min<size_t>(capacity, 1 + numbers / dim));
  std::vector<float> rows(size_t{count} * dim);
  for (size_t i = 0; i < std::min(numbers, rows.size()); ++i) {
    uint32_t bits = 0;
    std::memcpy(&bits, data + 4 + i * width, width);
    if (width == 2) bits <<= 16;
    std::memcpy(&rows[i], &bits, sizeof(bits));
  }
  Page page(form, side, {dim, capacity});
  form.store(side, page.bytes.data(), page.shape, 0, count, rows.data(), dim);
  CheckNumbers(page, rows, count);
  CheckCanonical(page, count);
  CheckKeep(page, count, data[3]);
  return 0;
}
