#include "server/read_pace.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstddef>

namespace thermocline {

namespace {

// What a newer window weighs in an average.
constexpr double kNewest = 0.25;
// A smaller share of all commands does not slow down the others.
constexpr double kHotMin = 0.1;
constexpr double kDelayedMax = 0.04;
// It takes as long to get an idle core going: nobody has been in the way.
constexpr uint64_t kWakeNs = 10'000;
// Who waits as long each time waits for other programs, which read on: a reader takes a tenth of it.
constexpr uint64_t kOthersNs = 500'000;
constexpr double kDown = 0.95;
constexpr uint32_t kUp = 50;

}  // namespace

RunDelay::~RunDelay() {
  if (fd_ >= 0) close(fd_);
}

std::optional<RunDelay::Reading> RunDelay::Read() {
  if (!opened_) {
    opened_ = true;
    fd_ = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
  }
  char text[96];
  const ssize_t size = fd_ < 0 ? -1 : pread(fd_, text, sizeof(text), 0);
  if (size <= 0) return std::nullopt;
  // Nanoseconds on a core, nanoseconds waiting for one, slices.
  uint64_t numbers[3];
  const char* at = text;
  const char* const end = text + size;
  for (uint64_t& number : numbers) {
    while (at < end && *at == ' ') ++at;
    const auto [next, error] = std::from_chars(at, end, number);
    if (error != std::errc()) return std::nullopt;
    at = next;
  }
  return Reading{numbers[1], numbers[2]};
}

uint32_t ReadPace::Look(const Counts& counts) {
  // CONFIG RESETSTAT sets some of them back.
  const auto grown = [](uint64_t now, uint64_t before) { return now > before ? now - before : 0; };
  const auto average = [](double* value, double sample) { *value += (sample - *value) * kNewest; };
  const auto us = static_cast<double>(std::max<uint64_t>(grown(counts.us, last_.us), 1));
  const uint64_t slices = grown(counts.run_delay.slices, last_.run_delay.slices);
  uint64_t waited_ns = grown(counts.run_delay.waited_ns, last_.run_delay.waited_ns);
  waited_ns = waited_ns > slices * kOthersNs ? 0 : grown(waited_ns, slices * kWakeNs);
  const auto commands = static_cast<double>(grown(counts.commands, last_.commands));
  const auto hot_commands = static_cast<double>(grown(counts.hot_commands, last_.hot_commands));
  average(&delayed_, static_cast<double>(waited_ns) / 1e3 / us);
  average(&hot_, commands > 0 ? hot_commands / commands : 0);
  average(&reads_per_second_, static_cast<double>(grown(counts.reads, last_.reads)) * 1e6 / us);
  last_ = counts;

  if (hot_ < kHotMin) {
    limit_ = 0;
  } else if (delayed_ > kDelayedMax) {
    const double before = limit_ > 0 ? limit_ : reads_per_second_;
    limit_ = std::max(kFloor, static_cast<uint32_t>(std::min(before * kDown, 1e9)));
  } else if (limit_ > 0) {
    limit_ += kUp;
    // Fewer are asked for: there is nothing to limit.
    if (limit_ > 2 * std::max<double>(kFloor, reads_per_second_)) limit_ = 0;
  }
  return limit_;
}

}  // namespace thermocline
