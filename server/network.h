#pragma once

#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/local/stream_protocol.hpp>
#include <asio/signal_set.hpp>

#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "server/server.h"

namespace thermocline {

/// What asio does for the server: listening and signals, on a thread of its own. The keyspace thread sleeps
/// in its ReadySet, so that a request finds it one system call away.
struct Server::Network {
  struct Socket {
    int descriptor;
    bool local;  ///< a Unix socket
  };

  Network() : io(1), signals(io) {}
  ~Network() { Stop(); }

  void Start() {
    thread = std::thread([this] { io.run(); });
  }
  /// No connection is accepted from here on.
  void Stop();
  std::vector<Socket> TakeAccepted();

  asio::io_context io;
  asio::signal_set signals;
  std::vector<std::unique_ptr<asio::ip::tcp::acceptor>> tcp;
  std::unique_ptr<asio::local::stream_protocol::acceptor> local;
  std::thread thread;
  std::mutex mutex;
  std::vector<Socket> accepted;  ///< guarded by mutex; the keyspace thread makes clients of them
};

}  // namespace thermocline
