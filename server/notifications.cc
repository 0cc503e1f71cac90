#include "server/notifications.h"

#include "server/reply.h"

namespace thermocline {

namespace {

struct Letter {
  char letter;
  uint32_t flag;
};
constexpr Letter kClasses[] = {{'g', kNotifyGeneric}, {'$', kNotifyString},  {'l', kNotifyList},
                               {'s', kNotifySet},     {'h', kNotifyHash},    {'z', kNotifySortedSet},
                               {'x', kNotifyExpired}, {'e', kNotifyEvicted}, {'t', kNotifyStream},
                               {'d', kNotifyModule},  {'n', kNotifyNew}};
constexpr Letter kOthers[] = {{'K', kNotifyKeyspace}, {'E', kNotifyKeyevent}, {'m', kNotifyMiss}};

}  // namespace

bool ParseNotifyFlags(std::string_view letters, uint32_t* flags) {
  uint32_t parsed = 0;
  for (const char letter : letters) {
    uint32_t flag = letter == 'A' ? uint32_t{kNotifyAll} : 0;
    for (const Letter& known : kClasses)
      if (known.letter == letter) flag |= known.flag;
    for (const Letter& known : kOthers)
      if (known.letter == letter) flag |= known.flag;
    if (flag == 0) return false;
    parsed |= flag;
  }
  *flags = parsed;
  return true;
}

std::string NotifyLetters(uint32_t flags) {
  std::string letters;
  if ((flags & kNotifyAll) == kNotifyAll) {
    letters += 'A';
  } else {
    for (const Letter& known : kClasses) {
      if ((flags & known.flag) != 0) letters += known.letter;
    }
  }
  for (const Letter& known : kOthers) {
    if ((flags & known.flag) != 0) letters += known.letter;
  }
  return letters;
}

uint32_t NotifyFlagOf(EventClass event_class) {
  switch (event_class) {
    case EventClass::kGeneric: return kNotifyGeneric;
    case EventClass::kString: return kNotifyString;
    case EventClass::kList: return kNotifyList;
    case EventClass::kSet: return kNotifySet;
    case EventClass::kHash: return kNotifyHash;
    case EventClass::kSortedSet: return kNotifySortedSet;
    case EventClass::kStream: return kNotifyStream;
    case EventClass::kExpired: return kNotifyExpired;
    case EventClass::kEvicted: return kNotifyEvicted;
    case EventClass::kNew: return kNotifyNew;
    case EventClass::kMiss: return kNotifyMiss;
  }
  return 0;
}

std::string PubSubMessage(int protocol, std::string_view channel, std::string_view message,
                          const std::string* pattern, bool shard) {
  std::string bytes;
  ReplyWriter writer(bytes, protocol);
  writer.PushHeader(pattern == nullptr ? 3 : 4);
  writer.Bulk(pattern != nullptr ? "pmessage" : shard ? "smessage" : "message");
  if (pattern != nullptr) writer.Bulk(*pattern);
  writer.Bulk(channel);
  writer.Bulk(message);
  return bytes;
}

}  // namespace thermocline
