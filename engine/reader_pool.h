#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace thermocline {

/// Threads that do blocking reads for the keyspace thread. A job has two halves: `read` runs on a reader
/// thread, `finish` on the keyspace thread, when it takes the finished jobs. The queue holds at most one job
/// per suspended command and a few of the background's own, so it is bounded by `maxclients`.
class ReaderPool {
 public:
  struct Job {
    std::function<void()> read;
    std::function<void()> finish;
  };

  /// `wake` is called on a reader thread after each finished job.
  ReaderPool(int threads, std::function<void()> wake);
  /// Finishes the jobs under way, drops the others.
  ~ReaderPool();

  /// Any thread.
  void Submit(Job job);
  /// Runs `finish` of the jobs that are done. Keyspace thread.
  void TakeIn();
  void Stop();
  /// Waits for the jobs under way, and lets no other begin until Resume().
  void Pause();
  void Resume();

 private:
  void Work();

  const std::function<void()> wake_;
  std::mutex mutex_;
  std::condition_variable condition_;
  std::deque<Job> queue_;                        ///< under mutex_
  std::vector<std::function<void()>> finished_;  ///< under mutex_
  bool stopping_ = false;                        ///< under mutex_
  bool paused_ = false;                          ///< under mutex_
  int running_ = 0;                              ///< under mutex_
  std::condition_variable idle_;                 ///< running_ has become 0
  std::vector<std::thread> threads_;
};

}  // namespace thermocline
