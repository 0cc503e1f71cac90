#include "engine/reader_pool.h"

#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

namespace thermocline {

namespace {

// When all cores are busy the keyspace thread comes first: it has the hot requests, and work for readers.
constexpr int kNice = 5;
// The shortest that Linux allows for (since 6.12; earlier ones keep to their own).
constexpr uint64_t kEagerSliceNs = 100'000;

/// What sched_setattr(2) takes; glibc 2.36 does not declare it.
struct SchedAttr {
  uint32_t size = sizeof(SchedAttr);
  uint32_t policy = SCHED_BATCH;
  uint64_t flags = 0;
  int32_t nice = kNice;
  uint32_t priority = 0;
  uint64_t slice_ns = 0;
  uint64_t deadline_ns = 0;
  uint64_t period_ns = 0;
};

/// Of the calling thread: whether it interrupts others as soon as it has something to do.
void SetEager(bool eager) {
  SchedAttr attributes;
  if (eager) {
    attributes.policy = SCHED_OTHER;
    attributes.slice_ns = kEagerSliceNs;
  }
  (void)syscall(SYS_sched_setattr, 0, &attributes, 0);
}

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
    Queue(lane).push_back(std::move(job));
  }
  condition_.notify_one();
}

size_t ReaderPool::queued() const {
  const std::lock_guard lock(mutex_);
  return urgent_.size() + short_.size() + long_.size();
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
ReaderPool::Job ReaderPool::TakeNext(Lane* lane) {
  const bool is_long = LongMayRun() && (!ShortWaits() || ++taken_ % 4 == 0);
  *lane = is_long ? Lane::kLong : urgent_.empty() ? Lane::kShort : Lane::kUrgent;
  std::deque<Job>& queue = Queue(*lane);
  Job job = std::move(queue.front());
  queue.pop_front();
  return job;
}

void ReaderPool::AwaitSlot(uint32_t reads, uint32_t pace) {
  std::chrono::steady_clock::time_point slot;
  {
    const std::lock_guard lock(mutex_);
    slot = std::max(next_slot_, std::chrono::steady_clock::now());
    next_slot_ = slot + std::chrono::nanoseconds(uint64_t{1'000'000'000} * reads / pace);
  }
  std::this_thread::sleep_until(slot);
}

void ReaderPool::Work() {
  bool eager = false;
  SetEager(eager);
  for (;;) {
    Job job;
    Lane lane;
    {
      std::unique_lock lock(mutex_);
      condition_.wait(lock, [this] { return stopping_ || (!paused_ && (ShortWaits() || LongMayRun())); });
      if (stopping_) return;
      ++running_;
      job = TakeNext(&lane);
      long_running_ += lane == Lane::kLong ? 1 : 0;
    }
    const uint32_t pace = pace_.load(std::memory_order_relaxed);
    if (eager != (pace > 0)) SetEager(eager = pace > 0);
    if (pace > 0 && lane == Lane::kShort) AwaitSlot(job.reads, pace);
    job.read();
    bool first;
    {
      const std::lock_guard lock(mutex_);
      first = finished_.empty();
      finished_.push_back(std::move(job.finish));
      if (--running_ == 0) idle_.notify_all();
      long_running_ -= lane == Lane::kLong ? 1 : 0;
    }
    if (first) wake_();
  }
}

}  // namespace thermocline
