#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace thermocline {

/// What can be slow. The first two and the last are Redis's, the others are about the disk beneath.
enum class LatencyEvent : uint8_t {
  kCommand,      ///< a command ran on the keyspace thread
  kFastCommand,  ///< one with the flag "fast"
  kCommit,       ///< a turn's writes were put into the log; with appendfsync always on the disk, too
  kFaultWait,    ///< a command waited for a cold read, from its suspension to its next run
  kFlushStall,   ///< a commit was held up because RocksDB was behind
  kSweep,        ///< a slice of the work on expired keys
  kFsync,        ///< the log was synced beside the commands
  kEviction,     ///< a slice of eviction; Redis's, too
};
inline constexpr size_t kLatencyEvents = 8;

std::string_view LatencyEventName(LatencyEvent event);
/// Exact names only, as in Redis.
std::optional<LatencyEvent> FindLatencyEvent(std::string_view name);

/// The slow events of late, per kind: at most one sample a second, the slowest of that second. What counts as
/// slow is the caller's to say. Times are wall clock seconds. Threads: none.
/// Source: redis.io/docs/management/optimization/latency-monitor.
class LatencyMonitor {
 public:
  struct Sample {
    uint64_t time_s = 0;
    uint64_t ms = 0;
    bool operator==(const Sample&) const = default;
  };

  /// What is known of one kind of event.
  class Series {
   public:
    static constexpr size_t kSamplesMax = 160;

    void Add(uint64_t ms, uint64_t now_s);
    bool empty() const { return samples_.empty(); }
    /// The slowest ever, also when its sample is gone.
    uint64_t max_ms() const { return max_ms_; }
    /// Oldest first.
    std::vector<Sample> samples() const;
    Sample latest() const { return samples_[(next_ + samples_.size() - 1) % samples_.size()]; }

   private:
    std::vector<Sample> samples_;  ///< a ring once it is full
    size_t next_ = 0;              ///< where the next one goes: behind the last, or onto the oldest
    uint64_t max_ms_ = 0;
  };

  void Add(LatencyEvent event, uint64_t ms, uint64_t now_s) { Of(event).Add(ms, now_s); }
  const Series& series(LatencyEvent event) const { return series_[static_cast<size_t>(event)]; }
  void Reset(LatencyEvent event) { Of(event) = {}; }

 private:
  Series& Of(LatencyEvent event) { return series_[static_cast<size_t>(event)]; }

  std::array<Series, kLatencyEvents> series_;
};

/// A picture of the samples in columns of text, with their ages below: Redis's. REQUIRES samples.
std::string LatencyGraph(LatencyEvent event, const LatencyMonitor::Series& series, uint64_t now_s);

/// What the settings are that the advice depends on.
struct LatencySettings {
  int64_t threshold_ms = 0;            ///< latency-monitor-threshold; 0: off
  int64_t slowlog_slower_than_us = 0;  ///< microseconds; -1: off
  bool sync_always = false;
};
/// What was slow, and what can be done about it, for people.
std::string LatencyReport(const LatencyMonitor& monitor, const LatencySettings& settings, uint64_t now_s);

}  // namespace thermocline
