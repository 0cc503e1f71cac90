#include "engine/reader_pool.h"

#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

namespace thermocline {

namespace {

constexpr int kNice = 5;

}  // namespace

ReaderPool::ReaderPool(int threads, std::function<void()> wake)
    : wake_(std::move(wake)), long_max_(std::max(1, threads / 2)) {
  for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { Work(); });
}

ReaderPool::~ReaderPool() { Stop(); }

void ReaderPool::Stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  condition_.notify_all();
  for (std::thread& thread : threads_) {
    if (thread.joinable()) thread.join();
  }
}

void ReaderPool::Submit(Lane lane, Job job) {
  {
    const std::lock_guard lock(mutex_);
    (lane == Lane::kShort ? short_ : long_).push_back(std::move(job));
  }
  condition_.notify_one();
}

size_t ReaderPool::queued() const {
  const std::lock_guard lock(mutex_);
  return short_.size() + long_.size();
}

void ReaderPool::Pause() {
  std::unique_lock lock(mutex_);
  paused_ = true;
  idle_.wait(lock, [this] { return running_ == 0; });
}

void ReaderPool::Resume() {
  {
    const std::lock_guard lock(mutex_);
    paused_ = false;
  }
  condition_.notify_all();
}

void ReaderPool::TakeIn() {
  std::vector<std::function<void()>> finished;
  {
    const std::lock_guard lock(mutex_);
    finished.swap(finished_);
  }
  for (const std::function<void()>& finish : finished) finish();
}

/// REQUIRES: mutex_ is held, and there is a job that may run.
ReaderPool::Job ReaderPool::TakeNext(bool* is_long) {
  *is_long = LongMayRun() && (short_.empty() || ++taken_ % 4 == 0);
  std::deque<Job>& queue = *is_long ? long_ : short_;
  Job job = std::move(queue.front());
  queue.pop_front();
  return job;
}

void ReaderPool::Work() {
  // When all cores are busy the keyspace thread comes first: it has the hot requests, and work for us.
  // Nor is it interrupted whenever a read of ours has come: threads of this class do not preempt others.
  setpriority(PRIO_PROCESS, static_cast<id_t>(gettid()), kNice);
  const sched_param none{};
  (void)sched_setscheduler(0, SCHED_BATCH, &none);
  for (;;) {
    Job job;
    bool is_long;
    {
      std::unique_lock lock(mutex_);
      condition_.wait(lock, [this] { return stopping_ || (!paused_ && (!short_.empty() || LongMayRun())); });
      if (stopping_) return;
      ++running_;
      job = TakeNext(&is_long);
      long_running_ += is_long ? 1 : 0;
    }
    job.read();
    bool first;
    {
      const std::lock_guard lock(mutex_);
      first = finished_.empty();
      finished_.push_back(std::move(job.finish));
      if (--running_ == 0) idle_.notify_all();
      long_running_ -= is_long ? 1 : 0;
    }
    if (first) wake_();
  }
}

}  // namespace thermocline
