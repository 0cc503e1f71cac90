// Strings: SET, GET, INCR, APPEND and their kin. The type itself is engine/string.h.

#include <algorithm>
#include <limits>
#include <string>

#include "encoding/numbers.h"
#include "engine/keyspace.h"
#include "engine/lcs.h"
#include "engine/string.h"
#include "server/command.h"
#include "server/command_table.h"
#include "server/commands/common.h"
#include "server/error_reply.h"

namespace thermocline {

namespace {

using Args = std::span<const std::string_view>;

// ---- Replies ----

/// The bytes from `begin` to `end` of a live string.
void ReplyRange(CommandContext& context, Object* object, uint64_t begin, uint64_t end) {
  if (!object->has_rows) return context.reply.Bulk(object->inline_value().substr(begin, end - begin));
  // A large value goes to the reply piece by piece, without a copy in between.
  std::string& out = context.reply.buffer();
  out += '$';
  out += std::to_string(end - begin);
  out += "\r\n";
  AppendStringRange(context.txn, object, begin, end, &out);
  out += "\r\n";
}

void ReplyValue(CommandContext& context, Object* object) {
  ReplyRange(context, object, 0, StringSize(object));
}

template <typename T>
bool ReplyUnlessOk(CommandContext& context, const Result<T>& result) {
  if (result.ok()) return true;
  WriteError(context.reply, result.status());
  return false;
}

/// Heads of keys that stand at every `step`-th argument from `first` on.
void PrefetchKeys(CommandContext& context, size_t first, size_t step) {
  if (context.args.size() <= first + step || context.txn.keyspace().AllResident(context.txn.db())) return;
  std::vector<std::string_view> keys;
  keys.reserve(context.args.size() / step);
  for (size_t i = first; i < context.args.size(); i += step) keys.push_back(context.args[i]);
  context.txn.Prefetch(keys);
}

// ---- SET and its options ----

enum class ExpiryOption : uint8_t { kNone, kEx, kPx, kExAt, kPxAt };

/// What may follow the value of SET and the key of GETEX.
struct SetOptions {
  bool if_absent = false;
  bool if_present = false;
  bool get = false;
  bool keep_ttl = false;
  bool persist = false;
  ExpiryOption expiry = ExpiryOption::kNone;
  std::string_view expiry_text;
};

enum class OptionsOf : uint8_t { kSet, kGetEx };

ExpiryOption ExpiryOptionNamed(std::string_view name) {
  if (EqualIgnoreCase(name, "ex")) return ExpiryOption::kEx;
  if (EqualIgnoreCase(name, "px")) return ExpiryOption::kPx;
  if (EqualIgnoreCase(name, "exat")) return ExpiryOption::kExAt;
  if (EqualIgnoreCase(name, "pxat")) return ExpiryOption::kPxAt;
  return ExpiryOption::kNone;
}

/// False: a syntax error. An option may be given twice; one that contradicts an earlier one may not be given.
bool ParseOptions(Args args, OptionsOf of, SetOptions* options) {
  const bool set = of == OptionsOf::kSet;
  for (size_t i = 0; i < args.size(); ++i) {
    const std::string_view name = args[i];
    if (set && EqualIgnoreCase(name, "nx") && !options->if_present) {
      options->if_absent = true;
    } else if (set && EqualIgnoreCase(name, "xx") && !options->if_absent) {
      options->if_present = true;
    } else if (set && EqualIgnoreCase(name, "get")) {
      options->get = true;
    } else if (set && EqualIgnoreCase(name, "keepttl") && options->expiry == ExpiryOption::kNone) {
      options->keep_ttl = true;
    } else if (!set && EqualIgnoreCase(name, "persist") && options->expiry == ExpiryOption::kNone) {
      options->persist = true;
    } else {
      const ExpiryOption option = ExpiryOptionNamed(name);
      if (option == ExpiryOption::kNone || options->keep_ttl || options->persist || i + 1 == args.size())
        return false;
      if (options->expiry != ExpiryOption::kNone && options->expiry != option) return false;
      options->expiry = option;
      options->expiry_text = args[++i];
    }
  }
  return true;
}

/// The time of expiry in milliseconds since the epoch. False: it is none, and the reply says so.
bool ReadExpiry(CommandContext& context, ExpiryOption option, std::string_view text, uint64_t* at_ms) {
  constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
  int64_t value;
  if (!ReadInteger(context, text, &value)) return false;
  const bool seconds = option == ExpiryOption::kEx || option == ExpiryOption::kExAt;
  const bool relative = option == ExpiryOption::kEx || option == ExpiryOption::kPx;
  const auto now = static_cast<int64_t>(context.txn.now_ms());
  bool valid = value > 0 && (!seconds || value <= kMax / 1000);
  if (valid && seconds) value *= 1000;
  if (valid && relative) valid = !__builtin_add_overflow(value, now, &value);
  if (!valid) {
    context.reply.Error("ERR invalid expire time in '" + std::string(context.command.name) + "' command");
    return false;
  }
  *at_ms = static_cast<uint64_t>(value);
  return true;
}

void StoreValue(CommandContext& context, Object* object, std::string_view value, uint64_t expire_at_ms) {
  SetStringValue(context.txn, object, value, Encoding::kAuto, expire_at_ms);
  context.txn.Changed(object, EventClass::kString, "set");
}

void SetCommand(CommandContext& context) {
  const Args args = context.args;
  Txn& txn = context.txn;
  if (args.size() == 3) {
    StoreValue(context, txn.ForWrite(args[1]), args[2], kNoExpiry);
    return context.reply.Ok();
  }
  SetOptions options;
  if (!ParseOptions(args.subspan(3), OptionsOf::kSet, &options))
    return context.reply.Error(error_text::kSyntax);
  uint64_t expire_at_ms = options.keep_ttl ? kKeepExpiry : kNoExpiry;
  if (options.expiry != ExpiryOption::kNone &&
      !ReadExpiry(context, options.expiry, options.expiry_text, &expire_at_ms)) {
    return;
  }
  if (options.get) {
    Object* old;
    if (!FindObject(context, args[1], ObjectType::kString, &old)) return;
    if (old == nullptr) {
      context.reply.Null();
    } else {
      ReplyValue(context, old);
    }
  }
  Object* object = txn.ForWrite(args[1]);
  if (object->live() ? options.if_absent : options.if_present) {
    if (!options.get) context.reply.Null();
    return;
  }
  StoreValue(context, object, args[2], expire_at_ms);
  if (options.expiry != ExpiryOption::kNone) txn.Changed(object, EventClass::kGeneric, "expire");
  if (!options.get) context.reply.Ok();
}

void SetWithTtl(CommandContext& context, ExpiryOption unit) {
  uint64_t expire_at_ms;
  if (!ReadExpiry(context, unit, context.args[2], &expire_at_ms)) return;
  Object* object = context.txn.ForWrite(context.args[1]);
  StoreValue(context, object, context.args[3], expire_at_ms);
  context.txn.Changed(object, EventClass::kGeneric, "expire");
  context.reply.Ok();
}

void SetExCommand(CommandContext& context) { SetWithTtl(context, ExpiryOption::kEx); }
void PSetExCommand(CommandContext& context) { SetWithTtl(context, ExpiryOption::kPx); }

void SetNxCommand(CommandContext& context) {
  Object* object = context.txn.ForWrite(context.args[1]);
  const bool absent = !object->live();
  if (absent) StoreValue(context, object, context.args[2], kNoExpiry);
  context.reply.Integer(absent);
}

bool ArePairs(CommandContext& context) {
  if (context.args.size() % 2 == 1) return true;
  context.reply.Error("ERR wrong number of arguments for '" + std::string(context.command.name) +
                      "' command");
  return false;
}

void StorePairs(CommandContext& context) {
  for (size_t i = 1; i < context.args.size(); i += 2) {
    StoreValue(context, context.txn.ForWrite(context.args[i]), context.args[i + 1], kNoExpiry);
  }
}

void MSetCommand(CommandContext& context) {
  if (!ArePairs(context)) return;
  PrefetchKeys(context, 1, 2);
  StorePairs(context);
  context.reply.Ok();
}

void MSetNxCommand(CommandContext& context) {
  if (!ArePairs(context)) return;
  PrefetchKeys(context, 1, 2);
  for (size_t i = 1; i < context.args.size(); i += 2) {
    if (context.txn.Find(context.args[i]) != nullptr) return context.reply.Integer(0);
  }
  StorePairs(context);
  context.reply.Integer(1);
}

// ---- GET and its kin ----

void GetCommand(CommandContext& context) {
  Object* object;
  if (!FindObject(context, context.args[1], ObjectType::kString, &object)) return;
  if (object == nullptr) return context.reply.Null();
  ReplyValue(context, object);
}

void MGetCommand(CommandContext& context) {
  const Args keys = context.args.subspan(1);
  if (keys.size() > 1) context.txn.Prefetch(keys);
  context.reply.ArrayHeader(keys.size());
  for (const std::string_view key : keys) {
    Object* object = context.txn.Find(key);
    if (object == nullptr || object->type != ObjectType::kString) {
      context.reply.Null();
    } else {
      ReplyValue(context, object);
    }
  }
}

void GetSetCommand(CommandContext& context) {
  Object* old;
  if (!FindObject(context, context.args[1], ObjectType::kString, &old)) return;
  if (old == nullptr) {
    context.reply.Null();
  } else {
    ReplyValue(context, old);
  }
  StoreValue(context, context.txn.ForWrite(context.args[1]), context.args[2], kNoExpiry);
}

void GetDelCommand(CommandContext& context) {
  Object* object;
  if (!FindObject(context, context.args[1], ObjectType::kString, &object)) return;
  if (object == nullptr) return context.reply.Null();
  ReplyValue(context, object);
  context.txn.Remove(object);
  context.txn.Changed(object, EventClass::kGeneric, "del");
}

void GetExCommand(CommandContext& context) {
  Txn& txn = context.txn;
  SetOptions options;
  if (!ParseOptions(context.args.subspan(2), OptionsOf::kGetEx, &options)) {
    return context.reply.Error(error_text::kSyntax);
  }
  Object* object;
  if (!FindObject(context, context.args[1], ObjectType::kString, &object)) return;
  if (object == nullptr) return context.reply.Null();
  uint64_t expire_at_ms = kNoExpiry;
  if (options.expiry != ExpiryOption::kNone &&
      !ReadExpiry(context, options.expiry, options.expiry_text, &expire_at_ms)) {
    return;
  }
  ReplyValue(context, object);
  if (options.expiry != ExpiryOption::kNone) {
    const bool past = expire_at_ms <= txn.now_ms();
    if (past) {
      txn.Remove(object);
    } else {
      txn.SetExpiry(object, expire_at_ms);
    }
    txn.Changed(object, EventClass::kGeneric, past ? "del" : "expire");
  } else if (options.persist && object->expire_at_ms != 0) {
    txn.SetExpiry(object, kNoExpiry);
    txn.Changed(object, EventClass::kGeneric, "persist");
  }
}

/// GETRANGE and SUBSTR.
void GetRangeCommand(CommandContext& context) {
  int64_t start, end;
  if (!ReadInteger(context, context.args[2], &start) || !ReadInteger(context, context.args[3], &end)) return;
  Object* object;
  if (!FindObject(context, context.args[1], ObjectType::kString, &object)) return;
  const auto size = object == nullptr ? 0 : static_cast<int64_t>(StringSize(object));
  if (start < 0 && end < 0 && start > end) return context.reply.Bulk({});
  if (start < 0) start = std::max<int64_t>(start + size, 0);
  if (end < 0) end = std::max<int64_t>(end + size, 0);
  end = std::min(end, size - 1);
  if (start > end) return context.reply.Bulk({});
  ReplyRange(context, object, static_cast<uint64_t>(start), static_cast<uint64_t>(end) + 1);
}

void StrLenCommand(CommandContext& context) {
  Object* object;
  if (!FindObject(context, context.args[1], ObjectType::kString, &object)) return;
  context.reply.Integer(object == nullptr ? 0 : static_cast<int64_t>(StringSize(object)));
}

// ---- Changes in place ----

void AppendCommand(CommandContext& context) {
  const Result<uint64_t> size = StringAppend(context.txn, context.args[1], context.args[2]);
  if (ReplyUnlessOk(context, size)) context.reply.Integer(static_cast<int64_t>(*size));
}

void SetRangeCommand(CommandContext& context) {
  int64_t offset;
  if (!ReadInteger(context, context.args[2], &offset)) return;
  if (offset < 0) return context.reply.Error("ERR offset is out of range");
  const Result<uint64_t> size =
      StringSetRange(context.txn, context.args[1], static_cast<uint64_t>(offset), context.args[3]);
  if (ReplyUnlessOk(context, size)) context.reply.Integer(static_cast<int64_t>(*size));
}

void Increment(CommandContext& context, int64_t delta) {
  const Result<int64_t> value = StringIncrement(context.txn, context.args[1], delta);
  if (ReplyUnlessOk(context, value)) context.reply.Integer(*value);
}

void IncrCommand(CommandContext& context) { Increment(context, 1); }
void DecrCommand(CommandContext& context) { Increment(context, -1); }

void IncrByCommand(CommandContext& context) {
  int64_t delta;
  if (ReadInteger(context, context.args[2], &delta)) Increment(context, delta);
}

void DecrByCommand(CommandContext& context) {
  int64_t delta;
  if (!ReadInteger(context, context.args[2], &delta)) return;
  if (delta == std::numeric_limits<int64_t>::min())
    return context.reply.Error("ERR decrement would overflow");
  Increment(context, -delta);
}

void IncrByFloatCommand(CommandContext& context) {
  const Result<std::string> value = StringIncrementFloat(context.txn, context.args[1], context.args[2]);
  if (ReplyUnlessOk(context, value)) context.reply.Bulk(*value);
}

// ---- LCS ----

struct LcsOptions {
  bool length = false;
  bool indexes = false;
  bool match_lengths = false;
  int64_t match_bytes_min = 0;
};

/// False: the reply says why.
bool ParseLcsOptions(CommandContext& context, LcsOptions* options) {
  const Args args = context.args;
  for (size_t i = 3; i < args.size(); ++i) {
    if (EqualIgnoreCase(args[i], "idx")) {
      options->indexes = true;
    } else if (EqualIgnoreCase(args[i], "len")) {
      options->length = true;
    } else if (EqualIgnoreCase(args[i], "withmatchlen")) {
      options->match_lengths = true;
    } else if (EqualIgnoreCase(args[i], "minmatchlen") && i + 1 < args.size()) {
      if (!ReadInteger(context, args[++i], &options->match_bytes_min)) return false;
    } else {
      context.reply.Error(error_text::kSyntax);
      return false;
    }
  }
  if (options->indexes && options->length) {
    context.reply.Error("ERR If you want both the length and indexes, please just use IDX.");
    return false;
  }
  return true;
}

void ReplyMatches(ReplyWriter& reply, const Lcs& lcs, const LcsOptions& options) {
  const auto wanted = [&](const LcsMatch& match) { return match.size >= options.match_bytes_min; };
  reply.MapHeader(2);
  reply.Bulk("matches");
  reply.ArrayHeader(static_cast<size_t>(std::count_if(lcs.matches.begin(), lcs.matches.end(), wanted)));
  for (const LcsMatch& match : lcs.matches) {
    if (!wanted(match)) continue;
    reply.ArrayHeader(options.match_lengths ? 3 : 2);
    for (const uint32_t first : {match.a_first, match.b_first}) {
      reply.ArrayHeader(2);
      reply.Integer(first);
      reply.Integer(int64_t{first} + match.size - 1);
    }
    if (options.match_lengths) reply.Integer(match.size);
  }
  reply.Bulk("len");
  reply.Integer(static_cast<int64_t>(lcs.text.size()));
}

void LcsCommand(CommandContext& context) {
  Txn& txn = context.txn;
  txn.Prefetch(context.args.subspan(1, 2));
  Object* objects[] = {txn.Find(context.args[1]), txn.Find(context.args[2])};
  for (const Object* object : objects) {
    if (object != nullptr && object->type != ObjectType::kString) {
      return context.reply.Error("ERR The specified keys must contain string values");
    }
  }
  LcsOptions options;
  if (!ParseLcsOptions(context, &options)) return;
  std::string buffers[2];
  std::string_view values[2];
  for (int i = 0; i < 2; ++i) {
    if (objects[i] != nullptr)
      values[i] = StringRange(txn, objects[i], 0, StringSize(objects[i]), &buffers[i]);
  }
  if (LcsTableBytes(values[0], values[1]) > txn.keyspace().options().string_bytes_max) {
    return context.reply.Error(
        "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len");
  }
  if (options.length) return context.reply.Integer(LcsLength(values[0], values[1]));
  const Lcs lcs = FindLcs(values[0], values[1]);
  if (options.indexes) return ReplyMatches(context.reply, lcs, options);
  context.reply.Bulk(lcs.text);
}

// ---- The table ----

constexpr KeySpec kSetKeys[] = {{.flags = kKeyRw | kKeyAccess | kKeyUpdate | kKeyVariableFlags,
                                 .notes = "RW and ACCESS due to the optional `GET` argument"}};
/// SET reads the old value only with GET.
uint32_t SetKeyFlags(std::span<const std::string_view> args) {
  for (size_t i = 3; i < args.size(); ++i) {
    if (EqualIgnoreCase(args[i], "get")) return kKeyRw | kKeyAccess | kKeyUpdate;
  }
  return kKeyOw | kKeyUpdate;
}

constexpr KeySpec kSetNxKeys[] = {{.flags = kKeyOw | kKeyInsert}};
constexpr KeySpec kSetExKeys[] = {{.flags = kKeyOw | kKeyUpdate}};
constexpr KeySpec kMSetKeys[] = {{.flags = kKeyOw | kKeyUpdate, .last = -1, .step = 2}};
constexpr KeySpec kMSetNxKeys[] = {{.flags = kKeyOw | kKeyInsert, .last = -1, .step = 2}};
constexpr KeySpec kGetKeys[] = {{.flags = kKeyRo | kKeyAccess}};
constexpr KeySpec kMGetKeys[] = {{.flags = kKeyRo | kKeyAccess, .last = -1}};
constexpr KeySpec kGetSetKeys[] = {{.flags = kKeyRw | kKeyAccess | kKeyUpdate}};
constexpr KeySpec kGetExKeys[] = {
    {.flags = kKeyRw | kKeyAccess | kKeyUpdate, .notes = "RW and UPDATE because it changes the TTL"}};
constexpr KeySpec kGetDelKeys[] = {{.flags = kKeyRw | kKeyAccess | kKeyDelete}};
constexpr KeySpec kSetRangeKeys[] = {{.flags = kKeyRw | kKeyUpdate}};
constexpr KeySpec kStrLenKeys[] = {{.flags = kKeyRo}};
constexpr KeySpec kAppendKeys[] = {{.flags = kKeyRw | kKeyInsert}};
constexpr KeySpec kLcsKeys[] = {{.flags = kKeyRo | kKeyAccess, .last = 1}};
constexpr std::string_view kMSetTips[] = {"request_policy:multi_shard", "response_policy:all_succeeded"};
constexpr std::string_view kMSetNxTips[] = {"request_policy:multi_shard", "response_policy:agg_min"};
constexpr std::string_view kMGetTips[] = {"request_policy:multi_shard"};

constexpr Command kStringRows[] = {
    {"set",
     -3,
     kWrite | kDenyOom,
     CommandGroup::kString,
     "1.0.0",
     "O(1)",
     "Sets a string, with conditions and an expiry if wanted.",
     SetCommand,
     kSetKeys,
     {},
     {},
     0,
     SetKeyFlags},
    {"setnx", 3, kWrite | kDenyOom | kFast, CommandGroup::kString, "1.0.0", "O(1)",
     "Sets a string unless the key exists.", SetNxCommand, kSetNxKeys},
    {"setex", 4, kWrite | kDenyOom, CommandGroup::kString, "2.0.0", "O(1)",
     "Sets a string that lives for so many seconds.", SetExCommand, kSetExKeys},
    {"psetex", 4, kWrite | kDenyOom, CommandGroup::kString, "2.6.0", "O(1)",
     "Sets a string that lives for so many milliseconds.", PSetExCommand, kSetExKeys},
    {"mset", -3, kWrite | kDenyOom, CommandGroup::kString, "1.0.1", "O(N) for N keys",
     "Sets several strings in one step.", MSetCommand, kMSetKeys, kMSetTips},
    {"msetnx", -3, kWrite | kDenyOom, CommandGroup::kString, "1.0.1", "O(N) for N keys",
     "Sets several strings in one step, or none if one of the keys exists.", MSetNxCommand, kMSetNxKeys,
     kMSetNxTips},
    {"get", 2, kReadOnly | kFast, CommandGroup::kString, "1.0.0", "O(1)", "Gives a string.", GetCommand,
     kGetKeys},
    {"mget", -2, kReadOnly | kFast, CommandGroup::kString, "1.0.0", "O(N) for N keys",
     "Gives several strings.", MGetCommand, kMGetKeys, kMGetTips},
    {"getset", 3, kWrite | kDenyOom | kFast, CommandGroup::kString, "1.0.0", "O(1)",
     "Sets a string and gives the old one.", GetSetCommand, kGetSetKeys},
    {"getex", -2, kWrite | kFast, CommandGroup::kString, "6.2.0", "O(1)",
     "Gives a string and changes its expiry if wanted.", GetExCommand, kGetExKeys},
    {"getdel", 2, kWrite | kFast, CommandGroup::kString, "6.2.0", "O(1)",
     "Gives a string and deletes the key.", GetDelCommand, kGetDelKeys},
    {"getrange", 4, kReadOnly, CommandGroup::kString, "2.4.0",
     "O(N) for N bytes given; a large value costs only the chunks that they touch",
     "Gives a part of a string.", GetRangeCommand, kGetKeys},
    {"substr", 4, kReadOnly, CommandGroup::kString, "1.0.0",
     "O(N) for N bytes given; a large value costs only the chunks that they touch",
     "Gives a part of a string; an old name of GETRANGE.", GetRangeCommand, kGetKeys},
    {"setrange", 4, kWrite | kDenyOom, CommandGroup::kString, "2.2.0",
     "O(N) for N bytes written; a large value costs only the chunks that they touch",
     "Overwrites a part of a string, which grows if need be.", SetRangeCommand, kSetRangeKeys},
    {"strlen", 2, kReadOnly | kFast, CommandGroup::kString, "2.2.0", "O(1)",
     "Tells the length of a string in bytes.", StrLenCommand, kStrLenKeys},
    {"append", 3, kWrite | kDenyOom | kFast, CommandGroup::kString, "2.0.0",
     "O(N) for N bytes appended; a large value costs its last chunk", "Appends to a string.", AppendCommand,
     kAppendKeys},
    {"incr", 2, kWrite | kDenyOom | kFast, CommandGroup::kString, "1.0.0", "O(1)", "Adds one to an integer.",
     IncrCommand, kGetSetKeys},
    {"decr", 2, kWrite | kDenyOom | kFast, CommandGroup::kString, "1.0.0", "O(1)",
     "Subtracts one from an integer.", DecrCommand, kGetSetKeys},
    {"incrby", 3, kWrite | kDenyOom | kFast, CommandGroup::kString, "1.0.0", "O(1)", "Adds to an integer.",
     IncrByCommand, kGetSetKeys},
    {"decrby", 3, kWrite | kDenyOom | kFast, CommandGroup::kString, "1.0.0", "O(1)",
     "Subtracts from an integer.", DecrByCommand, kGetSetKeys},
    {"incrbyfloat", 3, kWrite | kDenyOom | kFast, CommandGroup::kString, "2.6.0", "O(1)",
     "Adds to a floating-point number.", IncrByFloatCommand, kGetSetKeys},
    {"lcs", -3, kReadOnly, CommandGroup::kString, "7.0.0", "O(N*M) for strings of N and M bytes",
     "Finds the longest common subsequence of two strings.", LcsCommand, kLcsKeys},
};

}  // namespace

std::span<const Command> StringCommands() { return kStringRows; }

}  // namespace thermocline
