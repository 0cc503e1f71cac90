#pragma once

#include <cstdint>

namespace thermocline::loadgen {

/// A bijection of 64 bits whose result looks random. Source: the finalizer of splitmix64 (Steele, Lea, Flood
/// 2014).
inline uint64_t Mix(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

/// splitmix64: quick, and good enough to choose keys.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t Next() { return Mix(state_ += kStep); }
  /// Uniform in [0, bound).
  uint64_t Below(uint64_t bound) {
    return static_cast<uint64_t>(static_cast<unsigned __int128>(Next()) * bound >> 64);
  }
  /// Uniform in [0, 1).
  double Unit() { return static_cast<double>(Next() >> 11) * 0x1p-53; }

  static constexpr uint64_t kStep = 0x9e3779b97f4a7c15;

 private:
  uint64_t state_;
};

}  // namespace thermocline::loadgen
