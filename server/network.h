#pragma once

#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/local/stream_protocol.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/signal_set.hpp>
#include <asio/steady_timer.hpp>

#include <atomic>
#include <memory>
#include <vector>

#include "server/server.h"

namespace thermocline {

/// What asio does for the server: listening, timers, signals, sleeping, and being woken by other threads.
struct Server::Network {
  explicit Network(const ReadySet& ready_set)
      : io(ASIO_CONCURRENCY_HINT_UNSAFE_IO), work(io.get_executor()), signals(io), cron(io), ready(io) {
    ready.assign(ready_set.descriptor());
  }
  ~Network() { ready.release(); }  // the descriptor is the ReadySet's

  /// Any thread: ends or prevents the sleep of the keyspace thread.
  void Wake() {
    woken.store(true);
    if (sleeping.load()) asio::post(io, [] {});
  }
  /// Waits until a socket is ready, a timer fires, or somebody wakes us; at most `milliseconds` when not 0.
  void Sleep(int milliseconds);

  asio::io_context io;
  asio::executor_work_guard<asio::io_context::executor_type> work;
  asio::signal_set signals;
  asio::steady_timer cron;
  asio::posix::stream_descriptor ready;
  bool ready_armed = false;
  std::vector<std::unique_ptr<asio::ip::tcp::acceptor>> tcp;
  std::unique_ptr<asio::local::stream_protocol::acceptor> local;
  std::atomic<bool> woken{false};
  std::atomic<bool> sleeping{false};
  uint64_t last_poll_us = 0;
};

}  // namespace thermocline
