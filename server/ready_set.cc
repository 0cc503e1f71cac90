#include "server/ready_set.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "encoding/check.h"

namespace thermocline {

namespace {
constexpr int kEventsPerPoll = 1024;
}

ReadySet::ReadySet()
    : epoll_(epoll_create1(EPOLL_CLOEXEC)),
      wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      raw_(kEventsPerPoll) {
  CHECK(epoll_ >= 0 && wake_ >= 0 && Add(wake_, nullptr));
}

ReadySet::~ReadySet() {
  close(wake_);
  close(epoll_);
}

bool ReadySet::Add(int fd, void* owner) {
  epoll_event event{};
  event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
  event.data.ptr = owner;
  return epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event) == 0;
}

void ReadySet::Remove(int fd) { epoll_ctl(epoll_, EPOLL_CTL_DEL, fd, nullptr); }

std::span<const ReadySet::Event> ReadySet::Poll(int milliseconds) {
  if (milliseconds > 0) {
    sleeping_.store(true);
    if (woken_.load()) milliseconds = 0;
  }
  const int n = epoll_wait(epoll_, raw_.data(), kEventsPerPoll, milliseconds);
  sleeping_.store(false, std::memory_order_relaxed);
  woken_.store(false);
  events_.clear();
  for (int i = 0; i < n; ++i) {
    // Edge-triggered, so that nobody need read what was written to wake_.
    if (raw_[static_cast<size_t>(i)].data.ptr == nullptr) continue;
    const uint32_t bits = raw_[static_cast<size_t>(i)].events;
    const bool hung_up = (bits & (EPOLLERR | EPOLLHUP)) != 0;
    events_.push_back({raw_[static_cast<size_t>(i)].data.ptr, (bits & (EPOLLIN | EPOLLRDHUP)) != 0 || hung_up,
                       (bits & EPOLLOUT) != 0, hung_up || (bits & EPOLLRDHUP) != 0, hung_up});
  }
  return events_;
}

void ReadySet::Wake() {
  woken_.store(true);
  if (!sleeping_.exchange(false)) return;
  const uint64_t one = 1;
  (void)!write(wake_, &one, sizeof(one));
}

}  // namespace thermocline
