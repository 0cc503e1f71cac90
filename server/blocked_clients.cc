#include "server/blocked_clients.h"

#include <algorithm>

#include "encoding/check.h"
#include "server/client.h"

namespace thermocline {

void BlockedClients::Block(Client& client, Blocked blocked) {
  CHECK(client.blocked == nullptr);
  for (const DbKey& key : blocked.keys) by_key_[key].push_back(&client);
  if (blocked.deadline_us != 0) deadlines_.emplace(blocked.deadline_us, &client);
  if (blocked.type.has_value()) ++by_type_[*blocked.type];
  client.blocked = std::make_unique<Blocked>(std::move(blocked));
  ++count_;
}

void BlockedClients::Decide(Client& client, Blocked blocked) {
  const std::vector<DbKey> places = std::exchange(client.blocked->keys, blocked.keys);
  for (const DbKey& key : places) {
    if (std::find(blocked.keys.begin(), blocked.keys.end(), key) != blocked.keys.end()) continue;
    const auto found = by_key_.find(key);
    found->second.remove(&client);
    if (found->second.empty()) by_key_.erase(found);
  }
  for (const DbKey& key : blocked.keys) {
    if (std::find(places.begin(), places.end(), key) == places.end()) by_key_[key].push_back(&client);
  }
  if (blocked.deadline_us != 0) deadlines_.emplace(blocked.deadline_us, &client);
  client.blocked->deadline_us = blocked.deadline_us;
  client.blocked->timeout_reply = std::move(blocked.timeout_reply);
  client.blocked->undecided = false;
}

void BlockedClients::Unblock(Client& client) {
  if (client.blocked == nullptr) return;
  for (const DbKey& key : client.blocked->keys) {
    const auto found = by_key_.find(key);
    found->second.erase(std::find(found->second.begin(), found->second.end(), &client));
    if (found->second.empty()) by_key_.erase(found);
  }
  if (client.blocked->deadline_us != 0) deadlines_.erase({client.blocked->deadline_us, &client});
  const std::unique_ptr<Blocked> was = std::move(client.blocked);
  if (was->type.has_value()) --by_type_[*was->type];
  --count_;
  for (const DbKey& key : was->trying) MakeReady(key);
}

void BlockedClients::Changed(const DbKey& key, ObjectType type) {
  const auto waiting = by_type_.find(type);
  if (waiting != by_type_.end() && waiting->second > 0) MakeReady(key);
}

void BlockedClients::MakeReady(const DbKey& key) {
  if (!by_key_.contains(key)) return;
  const auto from = ready_.begin() + static_cast<ptrdiff_t>(ready_next_);
  if (std::find(from, ready_.end(), key) == ready_.end()) ready_.push_back(key);
}

std::vector<DbKey> BlockedClients::KeysOf(int a, int b) const {
  std::vector<DbKey> keys;
  for (const auto& [key, clients] : by_key_) {
    if (key.db == a || key.db == b) keys.push_back(key);
  }
  return keys;
}

std::optional<DbKey> BlockedClients::TakeReady() {
  if (ready_next_ < ready_.size()) return std::move(ready_[ready_next_++]);
  ready_.clear();
  ready_next_ = 0;
  return std::nullopt;
}

std::vector<Client*> BlockedClients::WaitingFor(const DbKey& key) const {
  const auto found = by_key_.find(key);
  if (found == by_key_.end()) return {};
  return {found->second.begin(), found->second.end()};
}

void BlockedClients::Postpone(Client& client, uint64_t deadline_us) {
  deadlines_.erase({client.blocked->deadline_us, &client});
  client.blocked->deadline_us = deadline_us;
  deadlines_.emplace(deadline_us, &client);
}

Client* BlockedClients::Expired(uint64_t now_us) const {
  if (deadlines_.empty() || deadlines_.begin()->first > now_us) return nullptr;
  return deadlines_.begin()->second;
}

}  // namespace thermocline
