#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace thermocline {

class Client;

/// What one client listens to.
struct Subscriptions {
  std::unordered_set<std::string> channels;
  std::unordered_set<std::string> patterns;
  std::unordered_set<std::string> shard_channels;
  /// Channels and patterns, as the replies of SUBSCRIBE count them.
  size_t count() const { return channels.size() + patterns.size(); }
  bool any() const { return count() + shard_channels.size() > 0; }
};

/// Channels and who listens to them. Knows no sockets: Publish says to whom a message goes. Within a channel
/// subscribers are served in the order in which they came, as in Redis. Keyspace thread.
class PubSub {
 public:
  enum class Kind : uint8_t { kChannel, kPattern, kShard };

  /// True when that is new.
  bool Subscribe(Client& client, Kind kind, std::string_view name);
  bool Unsubscribe(Client& client, Kind kind, std::string_view name);
  void UnsubscribeAll(Client& client);
  /// The client listens to what it listened to then, and to nothing else.
  void Restore(Client& client, const Subscriptions& before);

  /// How many times Publish would call.
  size_t Receivers(std::string_view channel, bool shard) const;
  /// Calls `deliver(client, pattern)` for everyone who listens; the pattern is nullptr for a plain channel.
  void Publish(std::string_view channel, bool shard,
               const std::function<void(Client&, const std::string* pattern)>& deliver) const;

  /// The names of channels that have subscribers, those that match `pattern`; nullptr: all.
  std::vector<std::string> Channels(bool shard, const std::string* pattern) const;
  size_t Subscribers(bool shard, std::string_view channel) const;
  size_t pattern_count() const { return patterns_.size(); }
  size_t channel_count() const { return channels_.size(); }
  size_t shard_channel_count() const { return shard_channels_.size(); }

 private:
  using Listeners = std::unordered_map<std::string, std::vector<Client*>>;
  Listeners& Of(Kind kind);
  static std::unordered_set<std::string>& NamesOf(Client& client, Kind kind);

  Listeners channels_;
  Listeners shard_channels_;
  Listeners patterns_;
};

}  // namespace thermocline
