#pragma once

#include <atomic>
#include <cstdint>
#include <span>
#include <vector>

struct epoll_event;

namespace thermocline {

/// The client sockets of one thread and which of them became ready: an epoll instance, edge-triggered, in
/// which each socket is registered once for everything. The thread sleeps in it; others may wake it.
///
/// Why not asio's sockets: every asynchronous wait costs an epoll_ctl, or a recv that finds nothing, per
/// request (asio 1.22, epoll_reactor::start_op). Here a request costs one recv and one send, and a turn one
/// epoll_wait.
class ReadySet {
 public:
  struct Event {
    void* owner;
    bool readable;
    bool writable;
    bool peer_closed;  ///< the peer sends no more
    bool hung_up;
  };

  ReadySet();
  ~ReadySet();
  ReadySet(const ReadySet&) = delete;
  ReadySet& operator=(const ReadySet&) = delete;

  /// `owner` comes back with each event, until Remove. False: the system refused.
  bool Add(int fd, void* owner);
  void Remove(int fd);
  /// What happened since the last call. If that is nothing it waits, so many milliseconds at most, until
  /// something does or somebody calls Wake, unless that was called since the last Poll. The span is valid
  /// until the next call.
  std::span<const Event> Poll(int milliseconds);
  /// Any thread: ends or prevents the waiting.
  void Wake();

 private:
  int epoll_;
  int wake_;  ///< an eventfd in it
  std::atomic<bool> woken_{false};
  std::atomic<bool> sleeping_{false};
  std::vector<epoll_event> raw_;
  std::vector<Event> events_;
};

}  // namespace thermocline
