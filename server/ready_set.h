#pragma once

#include <cstdint>
#include <span>
#include <vector>

struct epoll_event;

namespace thermocline {

/// The client sockets of one thread and which of them became ready: an epoll instance of its own,
/// edge-triggered, in which each socket is registered once for everything. asio watches the instance as a
/// whole (its descriptor becomes readable), so that the thread sleeps in asio and wakes for both.
///
/// Why not asio's own sockets: every asynchronous wait costs an epoll_ctl, or a recv that finds nothing, per
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

  int descriptor() const { return epoll_; }
  /// `owner` comes back with each event, until Remove. False: the system refused.
  bool Add(int fd, void* owner);
  void Remove(int fd);
  /// What happened since the last call; does not wait. The span is valid until the next call.
  std::span<const Event> Poll();

 private:
  int epoll_;
  std::vector<epoll_event> raw_;
  std::vector<Event> events_;
};

}  // namespace thermocline
