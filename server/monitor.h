#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace thermocline {

class Client;

/// The connections that MONITOR shows every command to. Invariant: a client is in the list exactly while
/// Client::monitor is set. Keyspace thread.
class Monitors {
 public:
  bool empty() const { return clients_.empty(); }
  const std::vector<Client*>& clients() const { return clients_; }
  void Add(Client& client);
  void Remove(Client& client);

 private:
  std::vector<Client*> clients_;
};

/// The line that MONITOR prints for a command. `source`: the address of the client that sent it, "unix:" and
/// the path of the socket, or "lua" for a call from a script. Source: redis.io/commands/monitor.
std::string MonitorLine(uint64_t now_us, int db, std::string_view source,
                        std::span<const std::string_view> args);

/// What stands in the place of a secret in MONITOR and SLOWLOG.
inline constexpr std::string_view kRedacted = "(redacted)";

}  // namespace thermocline
