#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>

namespace thermocline {

/// Where time comes from; passed in, so that tests move it. Thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;
  /// Wall clock, microseconds since the epoch. May jump.
  virtual uint64_t WallUs() const = 0;
  /// Never goes backwards; for durations and timeouts.
  virtual uint64_t MonotonicUs() const = 0;
  uint64_t WallMs() const { return WallUs() / 1000; }
};

class SystemClock final : public Clock {
 public:
  uint64_t WallUs() const override {
    return Microseconds(std::chrono::system_clock::now().time_since_epoch());
  }
  uint64_t MonotonicUs() const override {
    return Microseconds(std::chrono::steady_clock::now().time_since_epoch());
  }

 private:
  template <typename D>
  static uint64_t Microseconds(D d) {
    return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(d).count());
  }
};

class ManualClock final : public Clock {
 public:
  explicit ManualClock(uint64_t start_ms) : now_us_(start_ms * 1000) {}
  uint64_t WallUs() const override { return now_us_; }
  uint64_t MonotonicUs() const override { return now_us_; }
  void AdvanceMs(uint64_t ms) { now_us_ += ms * 1000; }
  /// The wall clock as an operator sets it: forwards or back.
  void SetWallMs(uint64_t ms) { now_us_ = ms * 1000; }

 private:
  std::atomic<uint64_t> now_us_;
};

}  // namespace thermocline
