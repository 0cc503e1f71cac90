#include "server/latency_histogram.h"

#include <algorithm>
#include <bit>

#include <fmt/format.h>

namespace thermocline {

namespace {

int Octave(uint64_t ns) { return std::bit_width(ns) - 1; }

}  // namespace

size_t LatencyHistogram::LongBucket(uint64_t us) {
  const uint64_t ns = std::min(us, kLongestUs) * 1000;
  const int octave = Octave(ns);
  return kExactUs + static_cast<size_t>(octave - kFirstOctave) * (1 << kDigits) +
         (ns >> (octave - kDigits) & ((1 << kDigits) - 1));
}

LatencyHistogram::Range LatencyHistogram::RangeAround(uint64_t ns) {
  const uint64_t unit = uint64_t{1} << std::max(0, Octave(ns) - kDigits);
  const uint64_t low = ns & ~(unit - 1);
  return {low, low + unit - 1};
}

LatencyHistogram::Range LatencyHistogram::RangeOf(size_t bucket) {
  // Redis counts what took no microsecond as one nanosecond.
  if (bucket < kExactUs) return RangeAround(std::max<uint64_t>(1, bucket * 1000));
  const size_t index = bucket - kExactUs;
  const uint64_t mantissa = (1 << kDigits) + index % (1 << kDigits);
  return RangeAround(mantissa << (index / (1 << kDigits) + kFirstOctave - kDigits));
}

double LatencyHistogram::PercentileUs(double percentile) const {
  const auto rank =
      static_cast<uint64_t>(std::min(percentile, 100.0) / 100 * static_cast<double>(calls_) + 0.5);
  const uint64_t wanted = std::max<uint64_t>(1, rank);
  uint64_t seen = 0;
  for (size_t bucket = 0; bucket < kBuckets; ++bucket) {
    seen += counts_[bucket];
    if (seen < wanted) continue;
    const Range range = RangeOf(bucket);
    return static_cast<double>(percentile == 0 ? range.low : range.high) / 1000;
  }
  return 0;  // nothing was recorded
}

std::vector<LatencyHistogram::Step> LatencyHistogram::Cumulative() const {
  std::vector<Step> steps;
  uint64_t seen = 0;
  size_t bucket = 0;
  constexpr int kFirstStep = 10;
  for (int octave = kFirstStep; octave <= kLastOctave + 1; ++octave) {
    const uint64_t before = seen;
    // A step takes in the whole bucket that it falls into. The last one is the end of what is told apart.
    const uint64_t high =
        octave <= kLastOctave ? RangeAround(uint64_t{1} << octave).high : (uint64_t{1} << octave) - 1;
    for (; bucket < kBuckets && RangeOf(bucket).high <= high; ++bucket) seen += counts_[bucket];
    if (seen > before) steps.push_back({high / 1000, seen});
  }
  return steps;
}

std::string PercentileName(double percentile) {
  std::string name = fmt::format("{:f}", percentile);
  name.erase(name.find_last_not_of('0') + 1);
  if (name.ends_with('.')) name.pop_back();
  return name;
}

}  // namespace thermocline
