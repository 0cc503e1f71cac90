#pragma once

#include <algorithm>
#include <cstdint>
#include <list>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "engine/object.h"
#include "server/watchers.h"

namespace thermocline {

/// What a client whose command blocks waits for. The request stays the client's current one, and is run again
/// from its start when a key that it waits for has changed.
struct Blocked {
  std::vector<DbKey> keys;         ///< each once; none: it only waits for its time (WAIT)
  std::optional<ObjectType> type;  ///< of what it takes; nullopt: of WAIT
  uint64_t deadline_us = 0;        ///< monotonic; 0: never
  std::string timeout_reply;       ///< in the protocol of the client
  /// While its command, woken, reads from disk: the key that woke it, and keys that became ready meanwhile.
  /// Who came later to one of these keys waits until it is known what this client takes.
  std::vector<DbKey> trying;
  /// It has not blocked yet: its command reads from disk to see whether it must, and has its place in line
  /// already.
  bool undecided = false;
  /// CLIENT UNBLOCK came while its command read from disk: when that has found nothing, the wait is over.
  enum class Unblocked : uint8_t { kNo, kAsTimeout, kAsError } unblocked = Unblocked::kNo;

  void AddKey(DbKey key) {
    if (std::find(keys.begin(), keys.end(), key) == keys.end()) keys.push_back(std::move(key));
  }
};

/// Clients in blocking commands: BLPOP and its kin. Each key has a queue, first come first served.
/// Invariant: a client is in the queues of exactly the keys of Client::blocked. Keyspace thread.
class BlockedClients {
 public:
  bool empty() const { return by_key_.empty(); }
  size_t count() const { return count_; }
  /// Those whose wait has an end.
  size_t timed_count() const { return deadlines_.size(); }
  void Block(Client& client, Blocked blocked);
  /// One that was undecided blocks on these of its keys; it keeps its places.
  void Decide(Client& client, Blocked blocked);
  /// Takes the client out of all queues. The keys that it was trying are to be tried by the next in their
  /// lines.
  void Unblock(Client& client);

  /// The key has come into being, as a value of this type: its clients are to be tried. As in Redis, only if
  /// somebody waits for the type, be it for another key: what is written over the value later in the same
  /// transaction wakes nobody.
  void Changed(const DbKey& key, ObjectType type);
  /// Its clients are to be tried, whatever it holds.
  void MakeReady(const DbKey& key);
  /// The keys of these two databases that somebody waits for.
  std::vector<DbKey> KeysOf(int a, int b) const;
  bool has_ready() const { return !ready_.empty(); }
  /// The next key to be tried, in the order of the changes.
  std::optional<DbKey> TakeReady();
  /// Who waits for the key, in their order.
  std::vector<Client*> WaitingFor(const DbKey& key) const;

  /// Of the clients whose time is over, the one that has waited longest; or nullptr.
  Client* Expired(uint64_t now_us) const;
  void Postpone(Client& client, uint64_t deadline_us);
  /// 0: none.
  uint64_t next_deadline_us() const { return deadlines_.empty() ? 0 : deadlines_.begin()->first; }

 private:
  std::unordered_map<DbKey, std::list<Client*>, DbKeyHash> by_key_;
  std::set<std::pair<uint64_t, Client*>> deadlines_;
  std::unordered_map<ObjectType, size_t> by_type_;  ///< how many wait
  std::vector<DbKey> ready_;                        ///< each once
  size_t ready_next_ = 0;
  size_t count_ = 0;
};

}  // namespace thermocline
