#include "engine/admission.h"

#include <algorithm>

namespace pith {

// In place, so that no second buffer is needed for what stays.
TokenRows TokenRows::Extract(std::span<const uint32_t> rows, size_t width) {
  TokenRows taken;
  taken.positions.reserve(rows.size());
  taken.hidden.reserve(rows.size() * width);
  size_t left = 0;
  for (uint32_t i = 0; i < positions.size(); ++i) {
    const auto row = hidden.begin() + static_cast<std::ptrdiff_t>(i * width);
    const auto end = row + static_cast<std::ptrdiff_t>(width);
    if (taken.positions.size() < rows.size() && rows[taken.positions.size()] == i) {
      taken.positions.push_back(positions[i]);
      taken.hidden.insert(taken.hidden.end(), row, end);
      continue;
    }
    if (left < i) {
      positions[left] = positions[i];
      std::copy(row, end, hidden.begin() + static_cast<std::ptrdiff_t>(left * width));
    }
    ++left;
  }
  positions.resize(left);
  hidden.resize(left * width);
  return taken;
}

void TokenRows::Merge(const TokenRows& other, size_t width) {
  if (other.positions.empty()) return;
  TokenRows all;
  all.positions.reserve(positions.size() + other.positions.size());
  all.hidden.reserve(hidden.size() + other.hidden.size());
  const auto take = [&](const TokenRows& from, size_t i) {
    const auto row = from.hidden.begin() + static_cast<std::ptrdiff_t>(i * width);
    all.positions.push_back(from.positions[i]);
    all.hidden.insert(all.hidden.end(), row, row + static_cast<std::ptrdiff_t>(width));
  };
  size_t mine = 0, theirs = 0;
  while (mine < positions.size() || theirs < other.positions.size()) {
    const bool from_mine = theirs == other.positions.size() ||
                           (mine < positions.size() && positions[mine] < other.positions[theirs]);
    from_mine ? take(*this, mine++) : take(other, theirs++);
  }
  *this = std::move(all);
}

Admission::Admission(const Plan& plan, const ModelShape& shape) {
  if (!plan.admits()) return;
  computed.resize(shape.num_layers);
  waiting.resize(plan.revives() ? shape.num_layers : 0);
}

void Admission::Truncate(int32_t end_position) {
  for (TokenRows& rows : waiting) {
    const auto end = std::ranges::lower_bound(rows.positions, end_position);
    const auto left = static_cast<size_t>(end - rows.positions.begin());
    const size_t width = rows.positions.empty() ? 0 : rows.hidden.size() / rows.positions.size();
    rows.positions.resize(left);
    rows.hidden.resize(left * width);
  }
  blocks.Truncate(end_position);
}

uint64_t Admission::bytes() const {
  uint64_t bytes = blocks.bytes();
  for (const TokenRows& rows : waiting) {
    bytes += rows.positions.size() * sizeof(int32_t) + rows.hidden.size() * sizeof(float);
  }
  return bytes;
}

}  // namespace pith
