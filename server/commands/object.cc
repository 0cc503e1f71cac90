// OBJECT: how a value is kept.

#include "engine/string.h"
#include "server/commands/containers.h"
#include "server/error_reply.h"
#include "server/server.h"

namespace thermocline {

namespace {

constexpr std::string_view kSwitchNote =
    "Please note that when switching between policies at runtime LRU and LFU data will take some time to "
    "adjust.";

/// Looking at a key does not make it hotter. nullptr: null is written.
Object* FindOrNull(CommandContext& c) {
  Object* object = c.txn.Find(c.args[2], Txn::Access::kQuiet);
  if (object == nullptr) c.reply.Null();
  return object;
}

void ObjectEncoding(CommandContext& c) {
  if (const Object* object = FindOrNull(c)) c.reply.Bulk(EncodingName(c.txn, object));
}

void ObjectRefCount(CommandContext& c) {
  // Nothing is shared here, as in Redis under an LRU or LFU policy (else it shares the small integers).
  if (FindOrNull(c) != nullptr) c.reply.Integer(1);
}

void ObjectIdleTime(CommandContext& c) {
  const Object* object = FindOrNull(c);
  if (object == nullptr) return;
  const Eviction& eviction = c.server.keyspace().eviction();
  if (eviction.lfu()) {
    return c.reply.Error("ERR An LFU maxmemory policy is selected, idle time not tracked. " +
                         std::string(kSwitchNote));
  }
  c.reply.Integer(static_cast<int64_t>(eviction.IdleMs(object) / 1000));
}

void ObjectFreq(CommandContext& c) {
  const Object* object = FindOrNull(c);
  if (object == nullptr) return;
  const Eviction& eviction = c.server.keyspace().eviction();
  if (!eviction.lfu()) {
    return c.reply.Error("ERR An LFU maxmemory policy is not selected, access frequency not tracked. " +
                         std::string(kSwitchNote));
  }
  c.reply.Integer(eviction.Frequency(object));
}

constexpr std::string_view kHelp[] = {
    "ENCODING <key>",
    "    Return the kind of internal representation used in order to store the value",
    "    associated with a <key>.",
    "FREQ <key>",
    "    Return the access frequency index of the <key>. The returned integer is",
    "    proportional to the logarithm of the recent access frequency of the key.",
    "IDLETIME <key>",
    "    Return the idle time of the <key>, that is the approximated number of",
    "    seconds elapsed since the last access to the key.",
    "REFCOUNT <key>",
    "    Return the number of references of the value associated with the specified",
    "    <key>.",
};

void ObjectHelp(CommandContext& c) { ReplyHelp(c.reply, "OBJECT", kHelp); }

constexpr CommandGroup kGeneric = CommandGroup::kGeneric;
constexpr KeySpec kLook[] = {{.flags = kKeyRo, .index = 2}};
constexpr std::string_view kTips[] = {"nondeterministic_output"};

constexpr Command kSubcommands[] = {
    {"encoding", 3, kReadOnly, kGeneric, "2.2.3", "O(1)", "Names the representation of a key's value.",
     ObjectEncoding, kLook, kTips},
    {"freq", 3, kReadOnly, kGeneric, "4.0.0", "O(1)", "Tells how often a key is used (LFU).", ObjectFreq,
     kLook, kTips},
    {"help", 2, kLoading | kStale, kGeneric, "6.2.0", "O(1)", "Explains the subcommands.", ObjectHelp},
    {"idletime", 3, kReadOnly, kGeneric, "2.2.3", "O(1)",
     "Tells since when a key is not used (LRU), in seconds.", ObjectIdleTime, kLook, kTips},
    {"refcount", 3, kReadOnly, kGeneric, "2.2.3", "O(1)", "Tells how many references a key's value has.",
     ObjectRefCount, kLook, kTips},
};

constexpr Command kCommands[] = {
    {"object",
     -2,
     0,
     kGeneric,
     "2.2.3",
     "Depends on subcommand.",
     "Everything about how a value is kept.",
     nullptr,
     {},
     {},
     kSubcommands},
};

}  // namespace

std::string_view EncodingName(Txn& txn, const Object* object) {
  switch (object->type) {
    case ObjectType::kString: return StringEncodingName(txn, object);
    case ObjectType::kList: return "quicklist";
    case ObjectType::kSet: return object->encoding == Encoding::kAuto ? "intset" : "hashtable";
    case ObjectType::kSortedSet: return object->encoding == Encoding::kAuto ? "listpack" : "skiplist";
    case ObjectType::kHash: return object->encoding == Encoding::kAuto ? "listpack" : "hashtable";
    case ObjectType::kStream: return "stream";
  }
  return "raw";
}

std::span<const Command> ObjectCommands() { return kCommands; }

}  // namespace thermocline
