#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace thermocline {

class Client;

/// A key of a logical database.
struct DbKey {
  int db = 0;
  std::string key;
  bool operator==(const DbKey&) const = default;
};
struct DbKeyHash {
  size_t operator()(const DbKey& key) const {
    return std::hash<std::string>()(key.key) ^ static_cast<size_t>(key.db) * 0x9e3779b97f4a7c15ULL;
  }
};

/// A key that a client watches.
struct WatchedKey {
  DbKey key;
  bool was_expired;  ///< its time had come already: then that it is gone is no change
};

/// Who watches which key (WATCH). A client's own list is Client::watched; this is the other direction, and
/// the two always agree. Keyspace thread.
class Watchers {
 public:
  bool empty() const { return by_key_.empty(); }
  /// Watching a key twice is watching it once.
  void Watch(Client& client, int db, std::string_view key, bool is_expired);
  /// The client watches nothing any more, and no change is held against it.
  void Unwatch(Client& client);
  /// The key has changed: whoever watches it cannot EXEC.
  void Changed(const DbKey& key);
  /// The keys of these two databases that are watched (a == b: of one).
  std::vector<DbKey> KeysOf(int a, int b) const;

 private:
  std::unordered_map<DbKey, std::vector<Client*>, DbKeyHash> by_key_;
};

}  // namespace thermocline
