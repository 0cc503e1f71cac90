#pragma once

#include <cstdint>
#include <optional>

namespace thermocline {

/// Of one thread: for how long it has waited for a core though it had work. Source: schedstat in proc(5).
class RunDelay {
 public:
  RunDelay() = default;
  ~RunDelay();
  RunDelay(const RunDelay&) = delete;
  RunDelay& operator=(const RunDelay&) = delete;

  struct Reading {
    uint64_t waited_ns;  ///< since the thread began
    uint64_t slices;     ///< times that it got a core
  };
  /// Of the calling thread, which must always be the same. Nothing: the system does not count it.
  std::optional<Reading> Read();

 private:
  bool opened_ = false;
  int fd_ = -1;
};

/// How many cold reads a second may begin beside hot commands.
///
/// Each cold read takes some 25 us of CPU and changes of threads. Where cores are short they are the keyspace
/// thread's or the clients', and all hot commands on their way wait meanwhile. So while there are clients
/// that need nothing from disk, and the keyspace thread has to wait for a core, reads are let through evenly,
/// and as many as keep that waiting within bounds; at least kFloor, whatever else keeps the cores busy. Where
/// there are cores to spare, and where all clients need the disk, there is no limit.
///
/// It moves as a TCP sender's window does: down by a factor, up by steps (Chiu and Jain, "Analysis of the
/// Increase and Decrease Algorithms for Congestion Avoidance", 1989).
class ReadPace {
 public:
  static constexpr uint64_t kWindowUs = 10'000;
  static constexpr uint32_t kFloor = 2000;

  /// What has been counted until now.
  struct Counts {
    uint64_t us = 0;  ///< monotonic time
    RunDelay::Reading run_delay{};
    uint64_t commands = 0;
    uint64_t hot_commands = 0;  ///< of clients that have asked for nothing on disk for long
    uint64_t reads = 0;         ///< that commands waited for
  };
  /// To be called about every kWindowUs. The limit from now on, in reads per second; 0: none.
  uint32_t Look(const Counts& counts);
  uint64_t looked_us() const { return last_.us; }
  uint32_t limit() const { return limit_; }

 private:
  Counts last_;
  uint32_t limit_ = 0;
  // Averages over the last windows.
  double delayed_ = 0;  ///< share of the time
  double hot_ = 0;      ///< share of the commands
  double reads_per_second_ = 0;
};

}  // namespace thermocline
