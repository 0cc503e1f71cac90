#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace thermocline {

/// Commands that took long, the last ones first. What is kept of each is bounded: 32 arguments of about 128
/// bytes. Threads: none. Source: redis.io/commands/slowlog-get.
class SlowLog {
 public:
  struct Entry {
    uint64_t id = 0;      ///< counts from 0, over resets too
    uint64_t time_s = 0;  ///< wall clock, when the command was through
    uint64_t us = 0;      ///< that it ran on the keyspace thread, in its last run; waiting is not in it
    std::vector<std::string> args;
    std::string address;
    std::string client_name;
  };

  static constexpr size_t kArgsMax = 32;
  static constexpr size_t kArgBytesMax = 128;

  /// `entry` comes without id; its arguments are cut, and others behind them summed up, by CutArguments.
  void Add(Entry entry, size_t entries_max);
  /// Drops the oldest ones.
  void Trim(size_t entries_max);
  void Clear() { entries_.clear(); }
  const std::deque<Entry>& entries() const { return entries_; }

 private:
  std::deque<Entry> entries_;
  uint64_t next_id_ = 0;
};

/// Copies of arguments as an entry keeps them, in Redis's form: "... (7 more bytes)" at the end of a long
/// one, "... (3 more arguments)" as the last one of many.
std::vector<std::string> CutArguments(std::span<const std::string_view> args);

}  // namespace thermocline
