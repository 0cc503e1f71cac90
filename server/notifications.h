#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "engine/txn.h"

/// Keyspace notifications: the letters of `notify-keyspace-events`, and the messages that subscribers get.
namespace thermocline {

enum NotifyFlag : uint32_t {
  kNotifyGeneric = 1 << 0,     // g
  kNotifyString = 1 << 1,      // $
  kNotifyList = 1 << 2,        // l
  kNotifySet = 1 << 3,         // s
  kNotifyHash = 1 << 4,        // h
  kNotifySortedSet = 1 << 5,   // z
  kNotifyExpired = 1 << 6,     // x
  kNotifyEvicted = 1 << 7,     // e
  kNotifyStream = 1 << 8,      // t
  kNotifyModule = 1 << 9,      // d
  kNotifyAll = (1 << 10) - 1,  // A
  kNotifyNew = 1 << 10,        // n
  kNotifyMiss = 1 << 11,       // m
  kNotifyKeyspace = 1 << 12,   // K
  kNotifyKeyevent = 1 << 13,   // E
};

/// False: a letter is none of these.
bool ParseNotifyFlags(std::string_view letters, uint32_t* flags);
/// The letters in Redis's order, "A" for all that it stands for.
std::string NotifyLetters(uint32_t flags);
uint32_t NotifyFlagOf(EventClass event_class);

/// What a subscriber gets: a push in RESP3, an array in RESP2. `pattern`: through which it came; nullptr:
/// through the channel itself.
std::string PubSubMessage(int protocol, std::string_view channel, std::string_view message,
                          const std::string* pattern, bool shard);

}  // namespace thermocline
