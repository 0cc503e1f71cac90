#include "engine/reader_pool.h"

#include <gtest/gtest.h>

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <string>

namespace thermocline {
namespace {

using Lane = ReaderPool::Lane;

class ReaderPoolTest : public testing::Test {
 protected:
  void Submit(ReaderPool& pool, Lane lane, char name, uint32_t reads = 1) {
    pool.Submit(lane, {[this, name] {
                         const std::lock_guard lock(mutex_);
                         order_ += name;
                         done_.notify_all();
                       },
                       [this] { ++finished_; }, reads});
  }
  std::string Await(size_t jobs) {
    std::unique_lock lock(mutex_);
    done_.wait(lock, [&] { return order_.size() >= jobs; });
    return order_;
  }

  std::mutex mutex_;
  std::condition_variable done_;
  std::string order_;
  int finished_ = 0;
};

TEST_F(ReaderPoolTest, UrgentJobsGoFirst) {
  ReaderPool pool(1, [] {});
  pool.Pause();
  Submit(pool, Lane::kShort, 's');
  Submit(pool, Lane::kLong, 'l');
  Submit(pool, Lane::kShort, 's');
  Submit(pool, Lane::kUrgent, 'u');
  Submit(pool, Lane::kUrgent, 'u');
  EXPECT_EQ(pool.queued(), 5u);
  pool.Resume();
  EXPECT_EQ(Await(5), "uusls") << "and a long one every fourth time";
  pool.Stop();
  pool.TakeIn();
  EXPECT_EQ(finished_, 5);
}

TEST_F(ReaderPoolTest, ThePaceHoldsForShortJobs) {
  using std::chrono::steady_clock;
  constexpr int kJobs = 20;
  ReaderPool pool(4, [] {});
  pool.Pace(1000);
  const steady_clock::time_point began = steady_clock::now();
  for (int i = 0; i < kJobs; ++i) Submit(pool, Lane::kShort, 's', 2);
  Await(kJobs);
  EXPECT_GE(steady_clock::now() - began, std::chrono::milliseconds(2 * (kJobs - 1)));
}

TEST_F(ReaderPoolTest, UrgentJobsHeedNoPace) {
  ReaderPool pool(2, [] {});
  pool.Pace(1);
  Submit(pool, Lane::kShort, 's');
  Await(1);
  Submit(pool, Lane::kShort, 's');  // in a second
  Submit(pool, Lane::kUrgent, 'u');
  EXPECT_EQ(Await(2), "su");
}

}  // namespace
}  // namespace thermocline
