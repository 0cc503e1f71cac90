#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace thermocline {

/// How fast a count has grown lately: the average over the last samples, for INFO's instantaneous values.
class Rate {
 public:
  /// To be called about ten times a second with the count as it is. One that fell was reset.
  void Sample(uint64_t now_us, uint64_t count) {
    if (last_us_ != 0 && now_us > last_us_) {
      const uint64_t grown = count >= last_count_ ? count - last_count_ : 0;
      samples_[next_++ % samples_.size()] =
          static_cast<double>(grown) * 1e6 / static_cast<double>(now_us - last_us_);
    }
    last_us_ = now_us;
    last_count_ = count;
  }
  double PerSecond() const {
    double sum = 0;
    for (const double sample : samples_) sum += sample;
    return sum / static_cast<double>(samples_.size());
  }

 private:
  std::array<double, 16> samples_{};
  size_t next_ = 0;
  uint64_t last_us_ = 0;
  uint64_t last_count_ = 0;
};

}  // namespace thermocline
