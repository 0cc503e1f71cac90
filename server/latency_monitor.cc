#include "server/latency_monitor.h"

#include <algorithm>
#include <span>

#include <fmt/format.h>

namespace thermocline {

namespace {

constexpr std::string_view kNames[kLatencyEvents] = {
    "command", "fast-command", "commit", "fault-wait", "flush-stall", "sweep", "fsync", "eviction-cycle"};

/// "12s", "5m", "3h", "2d": how long ago.
std::string Age(uint64_t seconds) {
  if (seconds < 60) return fmt::format("{}s", seconds);
  if (seconds < 3600) return fmt::format("{}m", seconds / 60);
  if (seconds < 86400) return fmt::format("{}h", seconds / 3600);
  return fmt::format("{}d", seconds / 86400);
}

}  // namespace

std::string_view LatencyEventName(LatencyEvent event) { return kNames[static_cast<size_t>(event)]; }

std::optional<LatencyEvent> FindLatencyEvent(std::string_view name) {
  for (size_t i = 0; i < kLatencyEvents; ++i) {
    if (kNames[i] == name) return static_cast<LatencyEvent>(i);
  }
  return std::nullopt;
}

void LatencyMonitor::Series::Add(uint64_t ms, uint64_t now_s) {
  max_ms_ = std::max(max_ms_, ms);
  if (!samples_.empty()) {
    Sample& last = samples_[(next_ + samples_.size() - 1) % samples_.size()];
    if (last.time_s == now_s) {
      last.ms = std::max(last.ms, ms);
      return;
    }
  }
  if (samples_.size() < kSamplesMax) {
    samples_.push_back({now_s, ms});
    next_ = samples_.size() % kSamplesMax;
    return;
  }
  samples_[next_] = {now_s, ms};
  next_ = (next_ + 1) % kSamplesMax;
}

std::vector<LatencyMonitor::Sample> LatencyMonitor::Series::samples() const {
  std::vector<Sample> ordered(samples_);
  if (samples_.size() == kSamplesMax) {
    std::rotate(ordered.begin(), ordered.begin() + static_cast<ptrdiff_t>(next_), ordered.end());
  }
  return ordered;
}

// ---- Graph ----

namespace {

using Sample = LatencyMonitor::Sample;

constexpr size_t kColumns = 80;
constexpr size_t kRows = 4;
/// A row of text shows three heights.
constexpr std::string_view kHeights = "_o#";

/// `columns`: up to kColumns samples. `low` and `high` are those of all samples.
void DrawColumns(std::string& out, std::span<const Sample> columns, uint64_t low, uint64_t high,
                 uint64_t now_s) {
  constexpr size_t kSteps = kRows * kHeights.size();
  const uint64_t range = std::max<uint64_t>(1, high - low);
  for (size_t row = 0; row < kRows; ++row) {
    const size_t below = (kRows - 1 - row) * kHeights.size();
    for (const Sample& sample : columns) {
      const size_t step = std::min<size_t>((sample.ms - low) * kSteps / range, kSteps - 1);
      if (step < below) {
        out += ' ';
      } else {
        out += step - below < kHeights.size() ? kHeights[step - below] : '|';
      }
    }
    out += '\n';
  }
  out.append(columns.size(), ' ') += '\n';
  std::vector<std::string> ages;
  size_t longest = 0;
  for (const Sample& sample : columns) {
    ages.push_back(Age(now_s - std::min(now_s, sample.time_s)));
    longest = std::max(longest, ages.back().size());
  }
  for (size_t i = 0; i < longest; ++i) {
    for (const std::string& age : ages) out += i < age.size() ? age[i] : ' ';
    out += '\n';
  }
}

}  // namespace

std::string LatencyGraph(LatencyEvent event, const LatencyMonitor::Series& series, uint64_t now_s) {
  const std::vector<Sample> samples = series.samples();
  const auto [low, high] = std::minmax_element(samples.begin(), samples.end(),
                                               [](const Sample& a, const Sample& b) { return a.ms < b.ms; });
  std::string out = fmt::format("{} - high {} ms, low {} ms (all time high {} ms)\n", LatencyEventName(event),
                                high->ms, low->ms, series.max_ms());
  out.append(kColumns, '-') += '\n';
  for (size_t from = 0; from < samples.size(); from += kColumns) {
    if (from > 0) out += '\n';
    DrawColumns(out, std::span(samples).subspan(from, std::min(kColumns, samples.size() - from)), low->ms,
                high->ms, now_s);
  }
  return out;
}

// ---- Report ----

namespace {

/// The averages of one kind of event.
struct Averages {
  double ms = 0, deviation_ms = 0, period_s = 0;
};

Averages Average(std::span<const Sample> samples, uint64_t now_s) {
  Averages averages;
  const auto count = static_cast<double>(samples.size());
  for (const Sample& sample : samples) averages.ms += static_cast<double>(sample.ms) / count;
  for (const Sample& sample : samples) {
    const auto ms = static_cast<double>(sample.ms);
    averages.deviation_ms += (ms > averages.ms ? ms - averages.ms : averages.ms - ms) / count;
  }
  averages.period_s = static_cast<double>(now_s - std::min(now_s, samples.front().time_s)) / count;
  return averages;
}

void Advise(std::string& out, LatencyEvent event, const LatencySettings& settings) {
  const auto add = [&out](std::string_view advice) { out.append("   - ").append(advice).append("\n"); };
  switch (event) {
    case LatencyEvent::kCommand:
    case LatencyEvent::kFastCommand:
      if (settings.slowlog_slower_than_us < 0 ||
          settings.slowlog_slower_than_us / 1000 > settings.threshold_ms) {
        add("SLOWLOG does not see all of these: CONFIG SET slowlog-log-slower-than to the same time, in "
            "microseconds.");
      } else {
        add("SLOWLOG GET tells which commands these were.");
      }
      add("Commands run one after the other: split what visits many elements at once, inside MULTI/EXEC "
          "too.");
      break;
    case LatencyEvent::kCommit:
      if (settings.sync_always) {
        add("With appendfsync always each commit waits for the disk. everysec does not, and loses up to a "
            "second when the machine loses power.");
      }
      add("The log shares its disk with flushes and compactions: a faster disk, or "
          "rocksdb-rate-limit-bytes-per-sec, leaves more of it to the log.");
      break;
    case LatencyEvent::kFaultWait:
      add("Keys in use are on disk only. More maxmemory keeps more of them in RAM (hot_hits and faults in "
          "INFO thermocline tell how it goes), more rocksdb-block-cache-size makes reading the others "
          "cheaper.");
      add("Several cold reads can be on their way at one time: io-readers says how many.");
      break;
    case LatencyEvent::kFlushStall:
      add("RocksDB could not flush or compact as fast as was written. Raise rocksdb-max-background-jobs "
          "or rocksdb-write-buffer-size, or write more slowly.");
      break;
    case LatencyEvent::kSweep:
      add("Many keys, or large ones, expired at the same moment: spread their times.");
      break;
    case LatencyEvent::kFsync:
      add("The disk takes long to sync. Commands do not wait for it, but commits that come meanwhile may.");
      break;
    case LatencyEvent::kEviction:
      add("Memory is at maxmemory, and large keys leave it, or many at once. A slice takes no longer than "
          "the "
          "largest of them; a smaller maxmemory-samples makes each choice cheaper.");
      break;
  }
}

}  // namespace

std::string LatencyReport(const LatencyMonitor& monitor, const LatencySettings& settings, uint64_t now_s) {
  std::string out;
  size_t number = 0;
  for (size_t i = 0; i < kLatencyEvents; ++i) {
    const auto event = static_cast<LatencyEvent>(i);
    const LatencyMonitor::Series& series = monitor.series(event);
    if (series.empty()) continue;
    const std::vector<Sample> samples = series.samples();
    const Averages averages = Average(samples, now_s);
    out += fmt::format(
        "{}. {}: {} slow seconds (average {:.0f} ms, mean deviation {:.0f} ms, one in {:.2f} s), the slowest "
        "ever {} ms.\n",
        ++number, LatencyEventName(event), samples.size(), averages.ms, averages.deviation_ms,
        averages.period_s, series.max_ms());
    Advise(out, event, settings);
  }
  if (settings.threshold_ms == 0) {
    out += "Latency monitoring is off: CONFIG SET latency-monitor-threshold <milliseconds> turns it on.\n";
  } else if (number == 0) {
    out += fmt::format("Nothing has taken {} ms or more.\n", settings.threshold_ms);
  }
  return out;
}

}  // namespace thermocline
