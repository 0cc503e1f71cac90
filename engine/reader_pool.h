#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace thermocline {

/// Threads that do blocking reads for the keyspace thread. A job has two halves: `read` runs on a reader
/// thread, `finish` on the keyspace thread, when it takes the finished jobs. A command that waits keeps its
/// client from sending more, so that the queue is bounded by what `maxclients` commands ask for.
///
/// Short jobs are a few point reads that a client waits for, and there may be a pace for them (Pace); urgent
/// ones are the same for a client that seldom has to wait, go first and heed no pace. Long ones are all else:
/// ranges, snapshots, the reads of a command that wants thousands of rows, the background's own. Long jobs
/// get half of the threads at most, and every fourth turn of a thread that could do either: neither kind can
/// starve the other.
class ReaderPool {
 public:
  enum class Lane : uint8_t { kUrgent, kShort, kLong };
  struct Job {
    std::function<void()> read;
    std::function<void()> finish;
    uint32_t reads = 1;  ///< how many reads of the pace it takes
  };

  /// `wake` is called on a reader thread after each finished job.
  ReaderPool(int threads, std::function<void()> wake);
  /// Finishes the jobs under way, drops the others.
  ~ReaderPool();

  /// Any thread.
  void Submit(Lane lane, Job job);
  size_t threads() const { return threads_.size(); }
  /// Jobs that wait for a thread. Any thread.
  size_t queued() const;
  /// From now on so many reads of short jobs begin a second, evenly; 0: each as soon as there is a thread. A
  /// reader that keeps a pace interrupts other threads, for short slices: many small delays of what else runs
  /// on its core, where readers that wait until the system lets them run one after another and make a long
  /// one. Any thread.
  void Pace(uint32_t reads_per_second) { pace_.store(reads_per_second, std::memory_order_relaxed); }
  /// Runs `finish` of the jobs that are done. Keyspace thread.
  void TakeIn();
  void Stop();
  /// Waits for the jobs under way, and lets no other begin until Resume().
  void Pause();
  void Resume();

 private:
  void Work();
  void AwaitSlot(uint32_t reads, uint32_t pace);
  bool LongMayRun() const { return !long_.empty() && long_running_ < long_max_; }
  bool ShortWaits() const { return !urgent_.empty() || !short_.empty(); }
  std::deque<Job>& Queue(Lane lane) {
    return lane == Lane::kUrgent ? urgent_ : lane == Lane::kShort ? short_ : long_;
  }
  Job TakeNext(Lane* lane);

  const std::function<void()> wake_;
  mutable std::mutex mutex_;
  std::condition_variable condition_;
  const int long_max_;                           ///< long jobs at one time
  std::deque<Job> urgent_;                       ///< under mutex_
  std::deque<Job> short_;                        ///< under mutex_
  std::deque<Job> long_;                         ///< under mutex_
  int long_running_ = 0;                         ///< under mutex_
  uint32_t taken_ = 0;                           ///< under mutex_
  std::vector<std::function<void()>> finished_;  ///< under mutex_
  std::atomic<uint32_t> pace_{0};
  std::chrono::steady_clock::time_point next_slot_;  ///< under mutex_
  bool stopping_ = false;                            ///< under mutex_
  bool paused_ = false;                              ///< under mutex_
  int running_ = 0;                                  ///< under mutex_
  std::condition_variable idle_;                     ///< running_ has become 0
  std::vector<std::thread> threads_;
};

}  // namespace thermocline
