// The simulation's randomness: xoshiro256**, seeded by splitmix64 (both by Blackman and Vigna, public
// domain). The same seed gives the same numbers on every machine; std's distributions would not.
#pragma once

#include <cstdint>
#include <string_view>

namespace reprise::sim {

class Prng {
 public:
  explicit Prng(std::uint64_t seed) {
    for (auto& word : state_) word = splitmix(seed);
  }

  std::uint64_t next() {
    const std::uint64_t result = rotate(state_[1] * 5, 7) * 9, shifted = state_[1] << 17;
    state_[2] ^= state_[0];
    state_[3] ^= state_[1];
    state_[1] ^= state_[2];
    state_[0] ^= state_[3];
    state_[2] ^= shifted;
    state_[3] = rotate(state_[3], 45);
    return result;
  }
  // 0 … limit-1, each as likely; limit > 0.
  std::uint64_t below(std::uint64_t limit) {
    const std::uint64_t unfair = -limit % limit;  // 2^64 mod limit: what is below would come once more often
    for (;;) {
      const auto number = next();
      if (number >= unfair) return number % limit;
    }
  }
  // low … high, both included.
  std::int64_t between(std::int64_t low, std::int64_t high) {
    return high <= low ? low
                       : low + static_cast<std::int64_t>(below(static_cast<std::uint64_t>(high - low) + 1));
  }
  bool chance(unsigned per_mille) { return per_mille > 0 && below(1000) < per_mille; }
  // One of its own for a part of the world, so that what one part draws does not move another's numbers.
  Prng fork(std::string_view name) {
    std::uint64_t seed = next();
    for (const char c : name) seed = (seed ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
    return Prng(seed);
  }

 private:
  static std::uint64_t rotate(std::uint64_t value, int by) { return (value << by) | (value >> (64 - by)); }
  static std::uint64_t splitmix(std::uint64_t& state) {
    std::uint64_t value = (state += 0x9e3779b97f4a7c15u);
    value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9u;
    value = (value ^ (value >> 27)) * 0x94d049bb133111ebu;
    return value ^ (value >> 31);
  }

  std::uint64_t state_[4];
};

}  // namespace reprise::sim
