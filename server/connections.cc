// Connections: listening, accepting, closing, and the limits on them.

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include <asio/ip/v6_only.hpp>

#include "server/network.h"

namespace thermocline {

namespace {

/// Descriptors that RocksDB, the log and the listeners need beside the clients.
constexpr uint64_t kReservedDescriptors = 1024;

std::string AddressText(const sockaddr_storage& address) {
  char text[INET6_ADDRSTRLEN] = "?";
  if (address.ss_family == AF_INET) {
    const auto& in = reinterpret_cast<const sockaddr_in&>(address);
    inet_ntop(AF_INET, &in.sin_addr, text, sizeof(text));
    return std::string(text) + ":" + std::to_string(ntohs(in.sin_port));
  }
  const auto& in6 = reinterpret_cast<const sockaddr_in6&>(address);
  inet_ntop(AF_INET6, &in6.sin6_addr, text, sizeof(text));
  return "[" + std::string(text) + "]:" + std::to_string(ntohs(in6.sin6_port));
}

bool IsLoopback(const sockaddr_storage& address) {
  if (address.ss_family == AF_INET) {
    return (ntohl(reinterpret_cast<const sockaddr_in&>(address).sin_addr.s_addr) >> 24) == 127;
  }
  const in6_addr& in6 = reinterpret_cast<const sockaddr_in6&>(address).sin6_addr;
  return IN6_IS_ADDR_LOOPBACK(&in6) || (IN6_IS_ADDR_V4MAPPED(&in6) && in6.s6_addr[12] == 127);
}

void SendAndClose(int fd, std::string_view text) {
  // Best effort: the peer is turned away whether or not it hears why.
  (void)!send(fd, text.data(), text.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  close(fd);
}

template <typename Acceptor, typename OnAccept>
void KeepAccepting(Acceptor& acceptor, OnAccept on_accept) {
  acceptor.async_accept([&acceptor, on_accept](const asio::error_code& error, auto socket) {
    if (error == asio::error::operation_aborted) return;
    if (!error) {
      asio::error_code ignored;
      const int fd = socket.release(ignored);
      if (!ignored) on_accept(fd);
    }
    KeepAccepting(acceptor, on_accept);
  });
}

}  // namespace

Status Server::Listen() {
  const ServerOptions& o = options();
  rlimit files{};
  if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
    const rlim_t wanted = static_cast<rlim_t>(o.clients_max) + kReservedDescriptors;
    if (files.rlim_cur < wanted) {
      files.rlim_cur = std::min(wanted, files.rlim_max);
      if (files.rlim_max < wanted && geteuid() == 0) files.rlim_cur = files.rlim_max = wanted;
      if (setrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur < wanted) {
        getrlimit(RLIMIT_NOFILE, &files);
        log_.Warning("maxclients " + std::to_string(o.clients_max) + " needs " + std::to_string(wanted) +
                     " open files, the system allows " + std::to_string(files.rlim_cur));
      }
    }
  }
  for (std::string address : o.bind) {
    if (o.port == 0) break;
    const bool optional = address.starts_with('-');  // "-::1": no error when the machine has no such address
    if (optional) address.erase(0, 1);
    if (address == "*") address = "0.0.0.0";
    if (address == "::*") address = "::";
    asio::error_code error;
    const asio::ip::address ip = asio::ip::make_address(address, error);
    std::unique_ptr<asio::ip::tcp::acceptor> acceptor;
    if (!error) {
      const asio::ip::tcp::endpoint endpoint(ip, static_cast<uint16_t>(o.port));
      acceptor = std::make_unique<asio::ip::tcp::acceptor>(network_->io);
      acceptor->open(endpoint.protocol(), error);
      if (!error) acceptor->set_option(asio::ip::tcp::acceptor::reuse_address(true), error);
      if (!error && ip.is_v6()) acceptor->set_option(asio::ip::v6_only(true), error);
      if (!error) acceptor->bind(endpoint, error);
      if (!error) acceptor->listen(static_cast<int>(o.tcp_backlog), error);
    }
    if (error) {
      if (optional) continue;
      return {Code::kIoError, "Could not create server TCP listening socket " + address + ":" +
                                  std::to_string(o.port) + ": " + error.message()};
    }
    KeepAccepting(*acceptor, [this](int fd) { Accepted(fd, /*unix_socket=*/false); });
    network_->tcp.push_back(std::move(acceptor));
  }
  if (!o.unixsocket.empty()) {
    unlink(o.unixsocket.c_str());  // left over from a run that was killed
    asio::error_code error;
    network_->local = std::make_unique<asio::local::stream_protocol::acceptor>(network_->io);
    network_->local->open({}, error);
    if (!error) network_->local->bind(asio::local::stream_protocol::endpoint(o.unixsocket), error);
    if (!error) network_->local->listen(static_cast<int>(o.tcp_backlog), error);
    if (error) return {Code::kIoError, "Failed opening Unix socket " + o.unixsocket + ": " + error.message()};
    if (o.unixsocketperm != 0) chmod(o.unixsocket.c_str(), static_cast<mode_t>(o.unixsocketperm));
    KeepAccepting(*network_->local, [this](int fd) { Accepted(fd, /*unix_socket=*/true); });
  }
  if (network_->tcp.empty() && network_->local == nullptr) {
    return {Code::kInvalid, "Configured to not listen anywhere, exiting."};
  }
  return {};
}

void Server::Network::Stop() {
  io.stop();
  if (thread.joinable()) thread.join();
  tcp.clear();
  local.reset();
  for (const Socket& socket : TakeAccepted()) close(socket.descriptor);
}

std::vector<Server::Network::Socket> Server::Network::TakeAccepted() {
  const std::lock_guard lock(mutex);
  return std::exchange(accepted, {});
}

/// On the network's thread.
void Server::Accepted(int fd, bool unix_socket) {
  {
    const std::lock_guard lock(network_->mutex);
    network_->accepted.push_back({fd, unix_socket});
  }
  accepted_.store(true);
  ready_set_.Wake();
}

void Server::AcceptClients() {
  for (const Network::Socket& socket : network_->TakeAccepted()) MakeClient(socket.descriptor, socket.local);
}

void Server::MakeClient(int fd, bool unix_socket) {
  ++stats_.connections_received;
  if (clients_.size() >= static_cast<size_t>(options().clients_max)) {
    ++stats_.connections_rejected;
    return SendAndClose(fd, "-ERR max number of clients reached\r\n");
  }
  sockaddr_storage peer{}, local{};
  socklen_t size = sizeof(peer);
  if (!unix_socket && getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &size) != 0) {
    close(fd);
    return;
  }
  size = sizeof(local);
  if (!unix_socket) getsockname(fd, reinterpret_cast<sockaddr*>(&local), &size);
  if (!unix_socket && options().protected_mode && options().requirepass.empty() && !IsLoopback(peer)) {
    ++stats_.connections_rejected;
    return SendAndClose(
        fd,
        "-DENIED Thermocline is running in protected mode, because no password is set: only "
        "connections from the loopback interface are accepted. Either set a password (requirepass), "
        "or turn the protection off with 'CONFIG SET protected-mode no' from this machine, or in the "
        "configuration file.\r\n");
  }
  const int on = 1;
  if (!unix_socket) {
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (options().tcp_keepalive_seconds > 0) {
      const int idle = static_cast<int>(options().tcp_keepalive_seconds);
      const int interval = std::max(1, idle / 3), probes = 3;
      setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
      setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
      setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
      setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes));
    }
  }
  const int flags = 1;
  ioctl(fd, FIONBIO, &flags);

  auto client = std::make_unique<Client>(next_client_id_++, fd, buffers_);
  client->unix_socket = unix_socket;
  client->address = unix_socket ? options().unixsocket + ":0" : AddressText(peer);
  client->local_address = unix_socket ? options().unixsocket + ":0" : AddressText(local);
  client->connected_at_us = client->last_active_us = clock_.MonotonicUs();
  client->authenticated = options().requirepass.empty();
  if (!ready_set_.Add(fd, client.get())) return;  // its destructor closes the socket
  const uint64_t id = client->id;
  clients_.push_back(std::move(client));
  by_id_[id] = std::prev(clients_.end());
}

Client* Server::FindClient(uint64_t id) const {
  const auto found = by_id_.find(id);
  return found == by_id_.end() ? nullptr : found->second->get();
}

void Server::Kill(Client& client, bool after_reply) {
  if (after_reply) {
    client.close_after_reply = true;
  } else {
    client.close_now = true;
  }
  // With nothing to send and no turn to come it would stay: have it looked at.
  doomed_.push_back(&client);
}

void Server::CloseDoomed() {
  std::vector<Client*> doomed;
  doomed.swap(doomed_);
  std::sort(doomed.begin(), doomed.end());
  doomed.erase(std::unique(doomed.begin(), doomed.end()), doomed.end());
  for (Client* client : doomed) {
    if (client->close_now || (client->close_after_reply && client->unsent_bytes() == 0)) Close(*client);
  }
}

/// Ends a connection. Its object lives on while a suspended command refers to it.
void Server::Close(Client& client) {
  if (client.fd >= 0) {
    ready_set_.Remove(client.fd);
    close(client.fd);
    client.fd = -1;
  }
  client.close_now = true;
  DiscardTransaction(client);
  pubsub_.UnsubscribeAll(client);
  monitors_.Remove(client);
  blocked_.Unblock(client);
  if (client.stream != nullptr && std::exchange(client.stream->waits, false)) keyspace_->EndPieces(client);
  if (client.suspended()) return;  // TakeReadyClients comes back here
  for (std::vector<Client*>* list :
       {&to_read_, &to_send_, &runnable_, &cold_, &turn_clients_, &held_clients_, &paused_, &doomed_}) {
    std::erase(*list, &client);
  }
  keyspace_->Forget(client);
  const auto found = by_id_.find(client.id);
  clients_.erase(found->second);
  by_id_.erase(found);
}

void Server::CheckOutputLimit(Client& client) {
  const ClientClass of = client.subscriptions.any() ? ClientClass::kPubsub : ClientClass::kNormal;
  const OutputLimit& limit = options().output_limits[static_cast<size_t>(of)];
  const uint64_t bytes =
      client.unsent_bytes() + (client.stream != nullptr ? client.stream->behind.size() : 0);
  bool over = limit.hard_bytes > 0 && bytes > limit.hard_bytes;
  if (limit.soft_bytes > 0 && bytes > limit.soft_bytes) {
    if (client.over_soft_limit_since_us == 0) client.over_soft_limit_since_us = turn_us_;
    over |= turn_us_ - client.over_soft_limit_since_us > static_cast<uint64_t>(limit.soft_seconds) * 1000000;
  } else {
    client.over_soft_limit_since_us = 0;
  }
  if (!over) return;
  ++stats_.output_limit_closes;
  log_.Warning("Client id=" + std::to_string(client.id) + " addr=" + client.address +
               " closed for overcoming of output buffer limits: " + std::to_string(bytes) + " bytes unsent");
  client.close_now = true;
  doomed_.push_back(&client);
}

void Server::Pause(PauseMode mode, uint64_t until_us) {
  // A later pause never shortens an earlier one, nor weakens it.
  pause_mode_ = std::max(pause_mode_, mode);
  pause_until_us_ = std::max(pause_until_us_, until_us);
}

void Server::Unpause() {
  pause_mode_ = PauseMode::kNone;
  pause_until_us_ = 0;
  std::vector<Client*> paused;
  paused.swap(paused_);
  for (Client* client : paused) {
    client->paused = false;
    MakeRunnable(*client);
  }
}

}  // namespace thermocline
