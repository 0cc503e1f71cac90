#include "server/watchers.h"

#include <algorithm>

#include "server/client.h"

namespace thermocline {

void Watchers::Watch(Client& client, int db, std::string_view key, bool is_expired) {
  DbKey watched{db, std::string(key)};
  const auto same = [&](const WatchedKey& other) { return other.key == watched; };
  if (std::any_of(client.watched.begin(), client.watched.end(), same)) return;
  by_key_[watched].push_back(&client);
  client.watched.push_back({std::move(watched), is_expired});
}

void Watchers::Unwatch(Client& client) {
  for (const WatchedKey& watched : client.watched) {
    const auto found = by_key_.find(watched.key);
    std::erase(found->second, &client);
    if (found->second.empty()) by_key_.erase(found);
  }
  client.watched.clear();
  client.watch_broken = false;
}

void Watchers::Changed(const DbKey& key) {
  const auto found = by_key_.find(key);
  if (found == by_key_.end()) return;
  for (Client* client : found->second) client->watch_broken = true;
}

std::vector<DbKey> Watchers::KeysOf(int a, int b) const {
  std::vector<DbKey> keys;
  for (const auto& [key, clients] : by_key_) {
    if (key.db == a || key.db == b) keys.push_back(key);
  }
  return keys;
}

}  // namespace thermocline
