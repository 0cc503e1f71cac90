#include "engine/reader_pool.h"

namespace thermocline {

ReaderPool::ReaderPool(int threads, std::function<void()> wake) : wake_(std::move(wake)) {
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

void ReaderPool::Submit(Job job) {
  {
    const std::lock_guard lock(mutex_);
    queue_.push_back(std::move(job));
  }
  condition_.notify_one();
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

void ReaderPool::Work() {
  for (;;) {
    Job job;
    {
      std::unique_lock lock(mutex_);
      condition_.wait(lock, [this] { return stopping_ || (!queue_.empty() && !paused_); });
      if (stopping_) return;
      ++running_;
      job = std::move(queue_.front());
      queue_.pop_front();
    }
    job.read();
    bool first;
    {
      const std::lock_guard lock(mutex_);
      first = finished_.empty();
      finished_.push_back(std::move(job.finish));
      if (--running_ == 0) idle_.notify_all();
    }
    if (first) wake_();
  }
}

}  // namespace thermocline
