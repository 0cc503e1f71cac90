#include "server/pubsub.h"

#include <algorithm>

#include "encoding/glob.h"
#include "server/client.h"

namespace thermocline {

PubSub::Listeners& PubSub::Of(Kind kind) {
  switch (kind) {
    case Kind::kPattern: return patterns_;
    case Kind::kShard: return shard_channels_;
    default: return channels_;
  }
}

std::unordered_set<std::string>& PubSub::NamesOf(Client& client, Kind kind) {
  switch (kind) {
    case Kind::kPattern: return client.subscriptions.patterns;
    case Kind::kShard: return client.subscriptions.shard_channels;
    default: return client.subscriptions.channels;
  }
}

bool PubSub::Subscribe(Client& client, Kind kind, std::string_view name) {
  if (!NamesOf(client, kind).emplace(name).second) return false;
  Of(kind)[std::string(name)].push_back(&client);
  return true;
}

bool PubSub::Unsubscribe(Client& client, Kind kind, std::string_view name) {
  const std::string owned(name);
  if (NamesOf(client, kind).erase(owned) == 0) return false;
  Listeners& listeners = Of(kind);
  const auto found = listeners.find(owned);
  std::erase(found->second, &client);
  if (found->second.empty()) listeners.erase(found);
  return true;
}

void PubSub::UnsubscribeAll(Client& client) {
  for (const Kind kind : {Kind::kChannel, Kind::kPattern, Kind::kShard}) {
    const std::unordered_set<std::string> names = NamesOf(client, kind);
    for (const std::string& name : names) Unsubscribe(client, kind, name);
  }
}

void PubSub::Restore(Client& client, const Subscriptions& before) {
  const Subscriptions now = client.subscriptions;
  using Names = std::unordered_set<std::string>;
  const auto restore = [&](Kind kind, const Names& was, const Names& is) {
    for (const std::string& name : is) {
      if (!was.contains(name)) Unsubscribe(client, kind, name);
    }
    for (const std::string& name : was) Subscribe(client, kind, name);
  };
  restore(Kind::kChannel, before.channels, now.channels);
  restore(Kind::kPattern, before.patterns, now.patterns);
  restore(Kind::kShard, before.shard_channels, now.shard_channels);
}

size_t PubSub::Receivers(std::string_view channel, bool shard) const {
  size_t count = Subscribers(shard, channel);
  if (shard) return count;
  for (const auto& [pattern, clients] : patterns_) {
    if (GlobMatch(pattern, channel)) count += clients.size();
  }
  return count;
}

void PubSub::Publish(std::string_view channel, bool shard,
                     const std::function<void(Client&, const std::string* pattern)>& deliver) const {
  const Listeners& listeners = shard ? shard_channels_ : channels_;
  if (const auto found = listeners.find(std::string(channel)); found != listeners.end()) {
    for (Client* client : found->second) deliver(*client, nullptr);
  }
  if (shard) return;
  for (const auto& [pattern, clients] : patterns_) {
    if (!GlobMatch(pattern, channel)) continue;
    for (Client* client : clients) deliver(*client, &pattern);
  }
}

std::vector<std::string> PubSub::Channels(bool shard, const std::string* pattern) const {
  std::vector<std::string> names;
  for (const auto& [name, clients] : shard ? shard_channels_ : channels_) {
    if (pattern == nullptr || GlobMatch(*pattern, name)) names.push_back(name);
  }
  return names;
}

size_t PubSub::Subscribers(bool shard, std::string_view channel) const {
  const Listeners& listeners = shard ? shard_channels_ : channels_;
  const auto found = listeners.find(std::string(channel));
  return found == listeners.end() ? 0 : found->second.size();
}

}  // namespace thermocline
