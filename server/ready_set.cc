#include "server/ready_set.h"

#include <sys/epoll.h>
#include <unistd.h>

#include "encoding/check.h"

namespace thermocline {

namespace {
constexpr int kEventsPerPoll = 1024;
}

ReadySet::ReadySet() : epoll_(epoll_create1(EPOLL_CLOEXEC)), raw_(kEventsPerPoll) { CHECK(epoll_ >= 0); }

ReadySet::~ReadySet() { close(epoll_); }

bool ReadySet::Add(int fd, void* owner) {
  epoll_event event{};
  event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
  event.data.ptr = owner;
  return epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event) == 0;
}

void ReadySet::Remove(int fd) { epoll_ctl(epoll_, EPOLL_CTL_DEL, fd, nullptr); }

std::span<const ReadySet::Event> ReadySet::Poll() {
  const int n = epoll_wait(epoll_, raw_.data(), kEventsPerPoll, 0);
  events_.clear();
  for (int i = 0; i < n; ++i) {
    const uint32_t bits = raw_[static_cast<size_t>(i)].events;
    const bool hung_up = (bits & (EPOLLERR | EPOLLHUP)) != 0;
    events_.push_back({raw_[static_cast<size_t>(i)].data.ptr, (bits & (EPOLLIN | EPOLLRDHUP)) != 0 || hung_up,
                       (bits & EPOLLOUT) != 0, hung_up || (bits & EPOLLRDHUP) != 0, hung_up});
  }
  return events_;
}

}  // namespace thermocline
