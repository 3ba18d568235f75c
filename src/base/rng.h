// The project's random numbers: PCG32 (M. O'Neill, "PCG", 2014, variant XSH RR 64/32), chosen
// because the stream is defined by a few lines of integer arithmetic and so is the same on every
// machine. The helpers below fix their algorithms for the same reason; std::shuffle and std
// distributions differ between libraries.
#pragma once

#include <cstdint>
#include <span>
#include <utility>

namespace pith {

class Rng {
 public:
  explicit Rng(uint64_t seed, uint64_t stream = 0) : inc_((stream << 1) | 1) {
    Next();
    state_ += seed;
    Next();
  }

  uint32_t Next() {
    const uint64_t old = state_;
    state_ = old * 6364136223846793005ULL + inc_;
    const auto shifted = static_cast<uint32_t>(((old >> 18) ^ old) >> 27);
    const auto rot = static_cast<uint32_t>(old >> 59);
    return (shifted >> rot) | (shifted << ((32 - rot) & 31));
  }

  // Uniform in [0, bound), without modulo bias (rejection). bound must not be 0.
  uint32_t Below(uint32_t bound) {
    const uint32_t threshold = (0u - bound) % bound;
    for (;;) {
      const uint32_t r = Next();
      if (r >= threshold) return r % bound;
    }
  }

  // Uniform in [0, 1): 24 random bits.
  float Float() { return static_cast<float>(Next() >> 8) * (1.0f / 16777216.0f); }

  // Uniform in [0, 1): 53 random bits from two draws.
  double Double() {
    const uint64_t high = Next() >> 5;
    const uint64_t low = Next() >> 6;
    return static_cast<double>((high << 26) | low) * (1.0 / 9007199254740992.0);
  }

  // Sum of twelve uniforms minus six: near enough to a normal variate, and exact on every machine.
  float Normal() {
    float sum = -6.0f;
    for (int i = 0; i < 12; ++i) sum += Float();
    return sum;
  }

  // Fisher-Yates from the back.
  template <class T>
  void Shuffle(std::span<T> items) {
    for (size_t i = items.size(); i > 1; --i) {
      std::swap(items[i - 1], items[Below(static_cast<uint32_t>(i))]);
    }
  }

  // The whole state, for save files.
  std::pair<uint64_t, uint64_t> State() const { return {state_, inc_}; }
  void SetState(std::pair<uint64_t, uint64_t> s) {
    state_ = s.first;
    inc_ = s.second | 1;
  }

 private:
  uint64_t state_ = 0;
  uint64_t inc_;
};

}  // namespace pith
