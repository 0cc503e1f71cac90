// Commands on keys of any type.

#include "engine/keys.h"

#include <algorithm>
#include <memory>

#include "encoding/glob.h"
#include "encoding/numbers.h"
#include "server/client.h"
#include "server/command.h"
#include "server/commands/common.h"
#include "server/commands/scan.h"
#include "server/error_reply.h"
#include "server/server.h"

namespace thermocline {

namespace {

std::string_view TypeName(ObjectType type) {
  switch (type) {
    case ObjectType::kString: return "string";
    case ObjectType::kList: return "list";
    case ObjectType::kSet: return "set";
    case ObjectType::kSortedSet: return "zset";
    case ObjectType::kHash: return "hash";
    case ObjectType::kStream: return "stream";
  }
  return "none";
}

// ---- Whether, what, which ----

void Del(CommandContext& c) {
  const auto keys = c.args.subspan(1);
  c.txn.Prefetch(keys);
  int64_t removed = 0;
  for (const std::string_view key : keys) {
    Object* object = c.txn.Find(key, Txn::Access::kPeek);
    if (object == nullptr) continue;
    c.txn.Remove(object);
    c.txn.Changed(object, EventClass::kGeneric, "del");
    ++removed;
  }
  c.reply.Integer(removed);
}

void CountKeys(CommandContext& c, Txn::Access access) {
  const auto keys = c.args.subspan(1);
  c.txn.Prefetch(keys);
  int64_t found = 0;
  for (const std::string_view key : keys) found += c.txn.Find(key, access) != nullptr;
  c.reply.Integer(found);
}

void Exists(CommandContext& c) { CountKeys(c, Txn::Access::kPeek); }
void Touch(CommandContext& c) { CountKeys(c, Txn::Access::kUse); }

void Type(CommandContext& c) {
  const Object* object = c.txn.Find(c.args[1], Txn::Access::kPeek);
  c.reply.SimpleString(object == nullptr ? "none" : TypeName(object->type));
}

void RandomKey(CommandContext& c) {
  Keyspace& keyspace = c.server.keyspace();
  if (keyspace.KeyCount(c.client.db) == 0) return c.reply.Null();
  if (keyspace.AllResident(c.client.db)) {
    if (const std::optional<std::string> key = keyspace.RandomResidentKey(c.client.db))
      return c.reply.Bulk(*key);
  }
  auto found = std::make_shared<Result<std::optional<std::string>>>(std::optional<std::string>());
  c.Offload([found, seed = keyspace.now_ms() ^ keyspace.stats().keyspace_hits * 0x9e3779b97f4a7c15ULL ^
                           c.server.stats().commands_processed](
                const SnapshotView& view) { *found = view.RandomKey(seed); },
            [found](ReplyWriter& reply) {
              if (!found->ok()) return WriteError(reply, found->status());
              if (!(*found)->has_value()) return reply.Null();
              reply.Bulk(***found);
            });
}

// ---- KEYS and SCAN ----

/// What a reader thread gathers for SCAN.
struct KeyList {
  std::vector<std::string> keys;
  std::optional<std::string> next;  ///< where a SCAN goes on; nullopt: it is done
  Status status;
};

/// The reply of KEYS in pieces. The header tells how many keys there are: while the first piece is read,
/// those behind it are counted.
class KeysReply {
 public:
  explicit KeysReply(std::string_view pattern)
      : options_{.match = std::string(pattern)}, prefix_(LiteralPrefix(pattern).bytes), from_(prefix_) {}

  Status Next(const SnapshotView& view, ReplyWriter& reply, bool* more) {
    const bool first = !left_.has_value();
    std::string piece;
    ReplyWriter rows(piece);
    uint64_t written = 0, behind = 0;
    const auto visit = [&](const SnapshotView::Key& key, bool expired) {
      if (expired || !ScanMatches(options_, key.key)) return true;
      if (piece.size() >= kReplyPieceBytes) {
        ++behind;
        return first;
      }
      rows.Bulk(key.key);
      ++written;
      if (piece.size() >= kReplyPieceBytes) from_ = std::string(key.key) + '\0';
      return true;
    };
    if (Status s = view.ForEachKey(prefix_, from_, visit); !s.ok()) return s;
    if (first) {
      left_ = written + behind;
      reply.ArrayHeader(*left_);
    }
    *more = behind > 0;
    if (written > *left_ || *more != (written < *left_)) {
      return {Code::kCorruption, "a scan of the keys met others than the one before it"};
    }
    *left_ -= written;
    reply.Append(std::move(piece));
    return {};
  }

 private:
  const ScanOptions options_;
  const std::string prefix_;
  std::string from_;              ///< where the next piece begins
  std::optional<uint64_t> left_;  ///< keys that are to come; nullopt: nothing has been read yet
};

void Keys(CommandContext& c) {
  auto keys = std::make_shared<KeysReply>(c.args[1]);
  c.Stream([keys](const SnapshotView& view, ReplyWriter& reply, bool* more) {
    return keys->Next(view, reply, more);
  });
}

void CollectScan(const SnapshotView& view, const ScanOptions& scan, const std::string& from, KeyList& list) {
  const std::string prefix = scan.match.has_value() ? LiteralPrefix(*scan.match).bytes : std::string();
  uint64_t steps = 0;
  list.status =
      view.ForEachKey(prefix, std::max(from, prefix), [&](const SnapshotView::Key& key, bool expired) {
        // One step per key that was looked at, so that a call's time is bounded whatever matches.
        if (steps++ == scan.count) {
          list.next = key.key;
          return false;
        }
        if (!expired && ScanMatches(scan, key.key) &&
            (!scan.type.has_value() || EqualIgnoreCase(*scan.type, TypeName(key.head.type)))) {
          list.keys.emplace_back(key.key);
        }
        return true;
      });
}

void Scan(CommandContext& c) {
  uint64_t cursor;
  ScanOptions scan;
  if (!ParseScanCursor(c, c.args[1], &cursor) || !ParseScanOptions(c, 2, /*with_type=*/true, &scan)) return;
  // A cursor that is not known (any more) begins again: everything is returned at least once all the same.
  const std::string* place = c.server.cursors().Find(cursor);
  std::string from = place == nullptr ? std::string() : *place;
  auto list = std::make_shared<KeyList>();
  c.Offload([list, scan = std::move(scan),
             from = std::move(from)](const SnapshotView& view) { CollectScan(view, scan, from, *list); },
            [list, &cursors = c.server.cursors()](ReplyWriter& reply) {
              if (!list->status.ok()) return WriteError(reply, list->status);
              reply.ArrayHeader(2);
              reply.Bulk(list->next.has_value() ? std::to_string(cursors.Save(*std::move(list->next))) : "0");
              reply.ArrayHeader(list->keys.size());
              for (const std::string& key : list->keys) reply.Bulk(key);
            });
}

// ---- From one key to another ----

void RenameGeneric(CommandContext& c, bool only_if_absent) {
  c.txn.Prefetch(c.args.subspan(1, 2));
  Object* from = c.txn.Find(c.args[1]);
  if (from == nullptr) return c.reply.Error(error_text::kNoSuchKey);
  if (c.args[1] == c.args[2]) {
    if (only_if_absent) return c.reply.Integer(0);
    return c.reply.Ok();
  }
  Object* to = c.txn.ForWrite(c.args[2]);
  if (only_if_absent && to->live()) return c.reply.Integer(0);
  c.txn.Move(from, to);
  c.txn.Changed(from, EventClass::kGeneric, "rename_from");
  c.txn.Changed(to, EventClass::kGeneric, "rename_to");
  if (only_if_absent) return c.reply.Integer(1);
  c.reply.Ok();
}

void Rename(CommandContext& c) { RenameGeneric(c, /*only_if_absent=*/false); }
void RenameNx(CommandContext& c) { RenameGeneric(c, /*only_if_absent=*/true); }

constexpr std::string_view kSameObject = "ERR source and destination objects are the same";

void Move(CommandContext& c) {
  int db;
  if (!ReadDatabase(c, c.args[2], &db)) return;
  if (db == c.client.db) return c.reply.Error(kSameObject);
  Object* from = c.txn.Find(c.args[1]);
  if (from == nullptr) return c.reply.Integer(0);
  c.txn.Select(db);
  Object* to = c.txn.ForWrite(c.args[1]);
  if (to->live()) return c.reply.Integer(0);
  c.txn.Move(from, to);
  c.txn.Select(c.client.db);
  c.txn.Changed(from, EventClass::kGeneric, "move_from");
  c.txn.Select(db);
  c.txn.Changed(to, EventClass::kGeneric, "move_to");
  c.reply.Integer(1);
}

void Copy(CommandContext& c) {
  int db = c.client.db;
  bool replace = false;
  for (size_t i = 3; i < c.args.size(); ++i) {
    if (EqualIgnoreCase(c.args[i], "replace")) {
      replace = true;
    } else if (EqualIgnoreCase(c.args[i], "db") && i + 1 < c.args.size()) {
      if (!ReadDatabase(c, c.args[++i], &db)) return;
    } else {
      return c.reply.Error(error_text::kSyntax);
    }
  }
  if (db == c.client.db && c.args[1] == c.args[2]) return c.reply.Error(kSameObject);
  Object* from = c.txn.Find(c.args[1]);
  if (from == nullptr) return c.reply.Integer(0);
  c.txn.Select(db);
  Object* to = c.txn.ForWrite(c.args[2]);
  if (to->live()) {
    if (!replace) return c.reply.Integer(0);
    c.txn.Remove(to);  // the copy is a new key, for those who wait for one
  }
  CopyObject(c.txn, from, to);
  c.txn.Changed(to, EventClass::kGeneric, "copy_to");
  c.reply.Integer(1);
}

// ---- Expiry ----

struct ExpireFlags {
  bool nx = false, xx = false, gt = false, lt = false;
};

bool ParseExpireFlags(CommandContext& c, ExpireFlags* flags) {
  for (const std::string_view option : c.args.subspan(3)) {
    if (EqualIgnoreCase(option, "nx")) {
      flags->nx = true;
    } else if (EqualIgnoreCase(option, "xx")) {
      flags->xx = true;
    } else if (EqualIgnoreCase(option, "gt")) {
      flags->gt = true;
    } else if (EqualIgnoreCase(option, "lt")) {
      flags->lt = true;
    } else {
      c.reply.Error("ERR Unsupported option " + std::string(Shown(option)));
      return false;
    }
    if (flags->nx && (flags->xx || flags->gt || flags->lt)) {
      c.reply.Error("ERR NX and XX, GT or LT options at the same time are not compatible");
      return false;
    }
    if (flags->gt && flags->lt) {
      c.reply.Error("ERR GT and LT options at the same time are not compatible");
      return false;
    }
  }
  return true;
}

/// `unit_ms`: 1000 for times in seconds. `base_ms`: now for times that are relative to it, else 0.
void ExpireGeneric(CommandContext& c, int64_t unit_ms, int64_t base_ms) {
  ExpireFlags flags;
  if (!ParseExpireFlags(c, &flags)) return;
  int64_t time;
  if (!ReadInteger(c, c.args[2], &time)) return;
  int64_t at_ms;
  if (__builtin_mul_overflow(time, unit_ms, &at_ms) || __builtin_add_overflow(at_ms, base_ms, &at_ms)) {
    return c.reply.Error("ERR invalid expire time in '" + std::string(c.command.name) + "' command");
  }
  Object* object = c.txn.Find(c.args[1]);
  if (object == nullptr) return c.reply.Integer(0);
  // No expiry counts as one at the end of time.
  const uint64_t old = object->expire_at_ms;
  const bool earlier = old == 0 || at_ms < static_cast<int64_t>(old);
  const bool later = old != 0 && at_ms > static_cast<int64_t>(old);
  if ((flags.nx && old != 0) || (flags.xx && old == 0) || (flags.gt && !later) || (flags.lt && !earlier)) {
    return c.reply.Integer(0);
  }
  if (at_ms <= static_cast<int64_t>(c.txn.now_ms())) {
    c.txn.Remove(object);
    c.txn.Changed(object, EventClass::kGeneric, "del");
  } else {
    c.txn.SetExpiry(object, static_cast<uint64_t>(at_ms));
    c.txn.Changed(object, EventClass::kGeneric, "expire");
  }
  c.reply.Integer(1);
}

void Expire(CommandContext& c) { ExpireGeneric(c, 1000, static_cast<int64_t>(c.txn.now_ms())); }
void PExpire(CommandContext& c) { ExpireGeneric(c, 1, static_cast<int64_t>(c.txn.now_ms())); }
void ExpireAt(CommandContext& c) { ExpireGeneric(c, 1000, 0); }
void PExpireAt(CommandContext& c) { ExpireGeneric(c, 1, 0); }

/// -2: no such key; -1: it never expires; else its time, as asked for.
void TtlGeneric(CommandContext& c, bool in_seconds, bool absolute) {
  const Object* object = c.txn.Find(c.args[1], Txn::Access::kPeek);
  if (object == nullptr) return c.reply.Integer(-2);
  if (object->expire_at_ms == 0) return c.reply.Integer(-1);
  const uint64_t ms = absolute ? object->expire_at_ms : object->expire_at_ms - c.txn.now_ms();
  c.reply.Integer(static_cast<int64_t>(in_seconds ? (ms + 500) / 1000 : ms));
}

void Ttl(CommandContext& c) { TtlGeneric(c, /*in_seconds=*/true, /*absolute=*/false); }
void PTtl(CommandContext& c) { TtlGeneric(c, /*in_seconds=*/false, /*absolute=*/false); }
void ExpireTime(CommandContext& c) { TtlGeneric(c, /*in_seconds=*/true, /*absolute=*/true); }
void PExpireTime(CommandContext& c) { TtlGeneric(c, /*in_seconds=*/false, /*absolute=*/true); }

void Persist(CommandContext& c) {
  Object* object = c.txn.Find(c.args[1]);
  if (object == nullptr || object->expire_at_ms == 0) return c.reply.Integer(0);
  c.txn.SetExpiry(object, 0);
  c.txn.Changed(object, EventClass::kGeneric, "persist");
  c.reply.Integer(1);
}

// ---- The table ----

constexpr auto kGeneric = CommandGroup::kGeneric;
constexpr KeySpec kDeleteAll[] = {{.flags = kKeyRm | kKeyDelete, .last = -1}};
constexpr KeySpec kReadAll[] = {{.flags = kKeyRo, .last = -1}};
constexpr KeySpec kLook[] = {{.flags = kKeyRo}};
constexpr KeySpec kRead[] = {{.flags = kKeyRo | kKeyAccess}};
constexpr KeySpec kUpdate[] = {{.flags = kKeyRw | kKeyUpdate}};
constexpr KeySpec kMoveKey[] = {{.flags = kKeyRw | kKeyAccess | kKeyUpdate}};
constexpr KeySpec kRenameKeys[] = {{.flags = kKeyRw | kKeyAccess | kKeyDelete},
                                   {.flags = kKeyOw | kKeyUpdate, .index = 2}};
constexpr KeySpec kRenameNxKeys[] = {{.flags = kKeyRw | kKeyAccess | kKeyDelete},
                                     {.flags = kKeyOw | kKeyInsert, .index = 2}};
constexpr KeySpec kCopyKeys[] = {{.flags = kKeyRo | kKeyAccess}, {.flags = kKeyOw | kKeyUpdate, .index = 2}};

constexpr std::string_view kSumOverShards[] = {"request_policy:multi_shard", "response_policy:agg_sum"};
constexpr std::string_view kKeysTips[] = {"request_policy:all_shards", "nondeterministic_output_order"};
constexpr std::string_view kScanTips[] = {"nondeterministic_output", "request_policy:special"};
constexpr std::string_view kRandomTips[] = {"request_policy:all_shards", "nondeterministic_output"};
constexpr std::string_view kTimeTips[] = {"nondeterministic_output"};

constexpr Command kCommands[] = {
    {"copy", -3, kWrite | kDenyOom, kGeneric, "6.2.0", "O(1) for strings, O(N) for N rows of a collection",
     "Copies a key, with its expiry.", Copy, kCopyKeys},
    {"del", -2, kWrite, kGeneric, "1.0.0", "O(N) for N keys, of any size", "Deletes keys.", Del, kDeleteAll,
     kSumOverShards},
    {"exists", -2, kReadOnly | kFast, kGeneric, "1.0.0", "O(N) for N keys", "Counts the keys that exist.",
     Exists, kReadAll, kSumOverShards},
    {"expire", -3, kWrite | kFast, kGeneric, "1.0.0", "O(1)", "Sets a key's time to live in seconds.", Expire,
     kUpdate},
    {"expireat", -3, kWrite | kFast, kGeneric, "1.2.0", "O(1)",
     "Sets a key's expiry to a Unix time in seconds.", ExpireAt, kUpdate},
    {"expiretime", 2, kReadOnly | kFast, kGeneric, "7.0.0", "O(1)",
     "Tells a key's expiry as a Unix time in seconds.", ExpireTime, kRead},
    {"keys",
     2,
     kReadOnly,
     kGeneric,
     "1.0.0",
     "O(N) for N keys with the pattern's literal prefix, beside other clients",
     "Lists the keys that match a pattern.",
     Keys,
     {},
     kKeysTips,
     {},
     kAclDangerous},
    {"move", 3, kWrite | kFast, kGeneric, "1.0.0", "O(1)", "Moves a key to another database.", Move,
     kMoveKey},
    {"persist", 2, kWrite | kFast, kGeneric, "2.2.0", "O(1)", "Takes a key's expiry away.", Persist, kUpdate},
    {"pexpire", -3, kWrite | kFast, kGeneric, "2.6.0", "O(1)", "Sets a key's time to live in milliseconds.",
     PExpire, kUpdate},
    {"pexpireat", -3, kWrite | kFast, kGeneric, "2.6.0", "O(1)",
     "Sets a key's expiry to a Unix time in milliseconds.", PExpireAt, kUpdate},
    {"pexpiretime", 2, kReadOnly | kFast, kGeneric, "7.0.0", "O(1)",
     "Tells a key's expiry as a Unix time in milliseconds.", PExpireTime, kRead},
    {"pttl", 2, kReadOnly | kFast, kGeneric, "2.6.0", "O(1)", "Tells a key's time to live in milliseconds.",
     PTtl, kRead, kTimeTips},
    {"randomkey",
     1,
     kReadOnly,
     kGeneric,
     "1.0.0",
     "O(1) when the database is in RAM, O(key length) reads else",
     "Gives a random key.",
     RandomKey,
     {},
     kRandomTips},
    {"rename", 3, kWrite, kGeneric, "1.0.0", "O(1)", "Renames a key; an existing key of that name goes.",
     Rename, kRenameKeys},
    {"renamenx", 3, kWrite | kFast, kGeneric, "1.0.0", "O(1)", "Renames a key unless the new name is taken.",
     RenameNx, kRenameNxKeys},
    {"scan",
     -2,
     kReadOnly,
     kGeneric,
     "2.8.0",
     "O(COUNT) per call",
     "Walks over the keys, a piece per call.",
     Scan,
     {},
     kScanTips},
    {"touch", -2, kReadOnly | kFast, kGeneric, "3.2.1", "O(N) for N keys",
     "Marks keys as used now; counts them.", Touch, kReadAll, kSumOverShards},
    {"ttl", 2, kReadOnly | kFast, kGeneric, "1.0.0", "O(1)", "Tells a key's time to live in seconds.", Ttl,
     kRead, kTimeTips},
    {"type", 2, kReadOnly | kFast, kGeneric, "1.0.0", "O(1)", "Names the type of a key's value.", Type,
     kLook},
    {"unlink", -2, kWrite | kFast, kGeneric, "4.0.0", "O(N) for N keys, of any size",
     "Deletes keys, as DEL does here.", Del, kDeleteAll, kSumOverShards},
};

}  // namespace

std::span<const Command> KeyCommands() { return kCommands; }

}  // namespace thermocline
