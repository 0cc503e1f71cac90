// COMMAND: the command table, told to clients (INFO), to people (DOCS), and put to use (GETKEYS).

#include <algorithm>
#include <bit>

#include "encoding/glob.h"
#include "server/acl_categories.h"
#include "server/commands/containers.h"
#include "server/error_reply.h"
#include "server/server.h"

namespace thermocline {

namespace {

using Entry = CommandTable::Entry;

struct FlagName {
  uint32_t flag;
  std::string_view name;
};

/// In Redis's order. kProtected and kTouchesArbitraryKeys are for the server alone, as in Redis.
constexpr FlagName kFlagNames[] = {
    {kWrite, "write"},
    {kReadOnly, "readonly"},
    {kDenyOom, "denyoom"},
    {kAdmin, "admin"},
    {kPubSub, "pubsub"},
    {kNoScript, "noscript"},
    {kBlocking, "blocking"},
    {kLoading, "loading"},
    {kStale, "stale"},
    {kSkipMonitor, "skip_monitor"},
    {kSkipSlowlog, "skip_slowlog"},
    {kAsking, "asking"},
    {kFast, "fast"},
    {kNoAuth, "no_auth"},
    {kMayReplicate, "may_replicate"},
    {kNoMandatoryKeys, "no_mandatory_keys"},
    {kNoAsyncLoading, "no_async_loading"},
    {kNoMulti, "no_multi"},
    {kMovableKeys, "movablekeys"},
    {kAllowBusy, "allow_busy"},
};

constexpr FlagName kKeyFlagNames[] = {
    {kKeyRw, "RW"},
    {kKeyRo, "RO"},
    {kKeyOw, "OW"},
    {kKeyRm, "RM"},
    {kKeyAccess, "access"},
    {kKeyUpdate, "update"},
    {kKeyInsert, "insert"},
    {kKeyDelete, "delete"},
    {kKeyNotKey, "not_key"},
    {kKeyIncomplete, "incomplete"},
    {kKeyVariableFlags, "variable_flags"},
};

std::string_view GroupName(CommandGroup group) {
  switch (group) {
    case CommandGroup::kGeneric: return "generic";
    case CommandGroup::kString: return "string";
    case CommandGroup::kList: return "list";
    case CommandGroup::kSet: return "set";
    case CommandGroup::kSortedSet: return "sorted-set";
    case CommandGroup::kHash: return "hash";
    case CommandGroup::kPubSub: return "pubsub";
    case CommandGroup::kTransactions: return "transactions";
    case CommandGroup::kConnection: return "connection";
    case CommandGroup::kServer: return "server";
    case CommandGroup::kScripting: return "scripting";
    case CommandGroup::kHyperLogLog: return "hyperloglog";
    case CommandGroup::kCluster: return "cluster";
    case CommandGroup::kSentinel: return "sentinel";
    case CommandGroup::kGeo: return "geo";
    case CommandGroup::kStream: return "stream";
    case CommandGroup::kBitmap: return "bitmap";
  }
  return "generic";
}

void WriteFlags(ReplyWriter& reply, uint32_t flags, std::span<const FlagName> names) {
  size_t count = 0;
  for (const FlagName& name : names) count += (flags & name.flag) != 0;
  reply.SetHeader(count);
  for (const FlagName& name : names) {
    if ((flags & name.flag) != 0) reply.SimpleString(name.name);
  }
}

// ---- INFO
// ----------------------------------------------------------------------------------------------------

/// First key, last key and step as old clients want them: one range that covers what the key specs say as far
/// as one range can. `movable`: it cannot say all.
struct LegacyRange {
  int first = 0;
  int last = 0;
  int step = 0;
  bool movable = false;
};

LegacyRange LegacyRangeOf(const Command& command) {
  LegacyRange range;
  if (command.keys.size() == 1 && command.keys[0].is_plain()) {
    const KeySpec& spec = command.keys[0];
    return {spec.index, spec.last >= 0 ? spec.index + spec.last : spec.last, spec.step,
            (spec.flags & kKeyIncomplete) != 0};
  }
  int previous_last = 0;
  for (const KeySpec& spec : command.keys) {
    if (!spec.is_plain() || spec.step != 1 || (previous_last != 0 && previous_last != spec.index - 1)) {
      range.movable = true;
      continue;
    }
    range.movable |= (spec.flags & kKeyIncomplete) != 0;
    if (range.first == 0) range.first = spec.index;
    range.step = 1;
    range.last = previous_last = spec.last >= 0 ? spec.index + spec.last : spec.last;
  }
  return range;
}

void WritePair(ReplyWriter& reply, std::string_view name, int64_t value) {
  reply.Bulk(name);
  reply.Integer(value);
}

/// "begin_search" and "find_keys" have this shape: a type, and a map of `pairs` that the caller writes.
void WriteSearch(ReplyWriter& reply, std::string_view name, std::string_view type, size_t pairs) {
  reply.Bulk(name);
  reply.MapHeader(2);
  reply.Bulk("type");
  reply.Bulk(type);
  reply.Bulk("spec");
  reply.MapHeader(pairs);
}

void WriteKeySpec(ReplyWriter& reply, const KeySpec& spec) {
  reply.MapHeader(spec.notes.empty() ? 3 : 4);
  if (!spec.notes.empty()) {
    reply.Bulk("notes");
    reply.Bulk(spec.notes);
  }
  reply.Bulk("flags");
  WriteFlags(reply, spec.flags, kKeyFlagNames);
  switch (spec.begin) {
    case KeySpec::Begin::kIndex:
      WriteSearch(reply, "begin_search", "index", 1);
      WritePair(reply, "index", spec.index);
      break;
    case KeySpec::Begin::kKeyword:
      WriteSearch(reply, "begin_search", "keyword", 2);
      reply.Bulk("keyword");
      reply.Bulk(spec.keyword);
      WritePair(reply, "startfrom", spec.start_from);
      break;
    case KeySpec::Begin::kUnknown: WriteSearch(reply, "begin_search", "unknown", 0); break;
  }
  switch (spec.find) {
    case KeySpec::Find::kRange:
      WriteSearch(reply, "find_keys", "range", 3);
      WritePair(reply, "lastkey", spec.last);
      WritePair(reply, "keystep", spec.step);
      WritePair(reply, "limit", spec.limit);
      break;
    case KeySpec::Find::kKeyNumber:
      WriteSearch(reply, "find_keys", "keynum", 3);
      WritePair(reply, "keynumidx", spec.key_number);
      WritePair(reply, "firstkey", spec.first_key);
      WritePair(reply, "keystep", spec.step);
      break;
    case KeySpec::Find::kUnknown: WriteSearch(reply, "find_keys", "unknown", 0); break;
  }
}

void WriteInfo(ReplyWriter& reply, const Entry& entry) {
  const Command& command = *entry.command;
  const LegacyRange range = LegacyRangeOf(command);
  reply.ArrayHeader(10);
  reply.Bulk(entry.full_name);
  reply.Integer(command.arity);
  WriteFlags(reply, range.movable ? command.flags | kMovableKeys : command.flags, kFlagNames);
  reply.Integer(range.first);
  reply.Integer(range.last);
  reply.Integer(range.step);
  const uint32_t categories = AclCategoriesOf(command);
  reply.SetHeader(static_cast<size_t>(std::popcount(categories)));
  for (size_t i = 0; i < AclCategoryNames().size(); ++i) {
    if ((categories >> i & 1) != 0) reply.SimpleString("@" + std::string(AclCategoryNames()[i]));
  }
  reply.SetHeader(command.tips.size());
  for (const std::string_view tip : command.tips) reply.Bulk(tip);
  reply.SetHeader(command.keys.size());
  for (const KeySpec& spec : command.keys) WriteKeySpec(reply, spec);
  // Redis's own inconsistency: no subcommands are an empty set, some are an array.
  if (entry.subcommands.empty()) return reply.SetHeader(0);
  reply.ArrayHeader(entry.subcommands.size());
  for (const Entry& sub : entry.subcommands) WriteInfo(reply, sub);
}

void CommandInfo(CommandContext& c) {
  const CommandTable& table = c.server.commands();
  if (c.args.size() == 2) return CommandBare(c);
  c.reply.ArrayHeader(c.args.size() - 2);
  for (const std::string_view name : c.args.subspan(2)) {
    const Entry* entry = table.FindByFullName(name);
    if (entry == nullptr) {
      c.reply.Null();
    } else {
      WriteInfo(c.reply, *entry);
    }
  }
}

void CommandCount(CommandContext& c) {
  c.reply.Integer(static_cast<int64_t>(c.server.commands().entries().size()));
}

// ---- DOCS
// ----------------------------------------------------------------------------------------------------

void WriteDocs(ReplyWriter& reply, const Entry& entry) {
  const Command& command = *entry.command;
  reply.Bulk(entry.full_name);
  reply.MapHeader(4 + (entry.subcommands.empty() ? 0 : 1));
  reply.Bulk("summary");
  reply.Bulk(command.summary);
  reply.Bulk("since");
  reply.Bulk(command.since);
  reply.Bulk("group");
  reply.Bulk(GroupName(command.group));
  reply.Bulk("complexity");
  reply.Bulk(command.complexity);
  if (entry.subcommands.empty()) return;
  reply.Bulk("subcommands");
  reply.MapHeader(entry.subcommands.size());
  for (const Entry& sub : entry.subcommands) WriteDocs(reply, sub);
}

void CommandDocs(CommandContext& c) {
  const CommandTable& table = c.server.commands();
  std::vector<const Entry*> entries;
  if (c.args.size() == 2) {
    for (const std::unique_ptr<Entry>& entry : table.entries()) entries.push_back(entry.get());
  }
  for (const std::string_view name : c.args.subspan(2)) {
    if (const Entry* entry = table.FindByFullName(name)) entries.push_back(entry);
  }
  c.reply.MapHeader(entries.size());
  for (const Entry* entry : entries) WriteDocs(c.reply, *entry);
}

// ---- LIST
// ----------------------------------------------------------------------------------------------------

void CommandList(CommandContext& c) {
  enum class By : uint8_t { kAll, kNone, kCategory, kPattern } by = By::kAll;
  uint32_t category = 0;
  if (c.args.size() == 5 && EqualIgnoreCase(c.args[2], "filterby")) {
    if (EqualIgnoreCase(c.args[3], "module")) {
      by = By::kNone;  // there are no modules
    } else if (EqualIgnoreCase(c.args[3], "aclcat")) {
      by = By::kCategory;
      for (size_t i = 0; i < AclCategoryNames().size(); ++i) {
        if (EqualIgnoreCase(AclCategoryNames()[i], c.args[4])) category = uint32_t{1} << i;
      }
    } else if (EqualIgnoreCase(c.args[3], "pattern")) {
      by = By::kPattern;
    } else {
      return c.reply.Error(error_text::kSyntax);
    }
  } else if (c.args.size() != 2) {
    return c.reply.Error(error_text::kSyntax);
  }
  std::vector<std::string_view> names;
  const auto consider = [&](const Entry& entry) {
    const bool listed = by == By::kAll ||
                        (by == By::kCategory && (AclCategoriesOf(*entry.command) & category) != 0) ||
                        (by == By::kPattern && GlobMatch(c.args[4], entry.full_name, /*ignore_case=*/true));
    if (listed) names.push_back(entry.full_name);
  };
  for (const std::unique_ptr<Entry>& entry : c.server.commands().entries()) {
    consider(*entry);
    for (const Entry& sub : entry->subcommands) consider(sub);
  }
  c.reply.ArrayHeader(names.size());
  for (const std::string_view name : names) c.reply.Bulk(name);
}

// ---- GETKEYS
// -------------------------------------------------------------------------------------------------

/// A key among the arguments, and how the command uses it.
struct FoundKey {
  size_t position;
  uint32_t flags;
};

/// The keys of the call that begins at the third argument. False: an error, or an empty list, is written.
bool FindKeysOfCall(CommandContext& c, std::vector<FoundKey>* keys) {
  const auto fail = [&](std::string_view error) {
    c.reply.Error(error);
    return false;
  };
  const std::span<const std::string_view> call = c.args.subspan(2);
  const Entry* entry = c.server.commands().Find(call[0]);
  if (entry != nullptr && !entry->subcommands.empty() && call.size() >= 2) {
    entry = CommandTable::FindSubcommand(*entry, call[1]);
  }
  if (entry == nullptr) return fail("ERR Invalid command specified");
  const Command& command = *entry->command;
  if (command.keys.empty()) return fail("ERR The command has no key arguments");
  const auto count = static_cast<int>(call.size());
  if ((command.arity > 0 && command.arity != count) || count < -command.arity) {
    return fail("ERR Invalid number of arguments specified for command");
  }
  for (size_t i = 0; i < command.keys.size(); ++i) {
    Command one = command;
    one.keys = command.keys.subspan(i, 1);
    std::vector<size_t> positions;
    if (!FindKeys(one, call, &positions)) {
      keys->clear();
      break;
    }
    const bool varies = (one.keys[0].flags & kKeyVariableFlags) != 0 && command.key_flags != nullptr;
    const uint32_t flags = varies ? command.key_flags(call) : one.keys[0].flags;
    for (const size_t position : positions) keys->push_back({position, flags});
  }
  if (!keys->empty()) return true;
  if ((command.flags & kNoMandatoryKeys) == 0) return fail("ERR Invalid arguments specified for command");
  c.reply.ArrayHeader(0);
  return false;
}

void CommandGetKeys(CommandContext& c) {
  std::vector<FoundKey> keys;
  if (!FindKeysOfCall(c, &keys)) return;
  c.reply.ArrayHeader(keys.size());
  for (const FoundKey& key : keys) c.reply.Bulk(c.args[2 + key.position]);
}

void CommandGetKeysAndFlags(CommandContext& c) {
  std::vector<FoundKey> keys;
  if (!FindKeysOfCall(c, &keys)) return;
  c.reply.ArrayHeader(keys.size());
  for (const FoundKey& key : keys) {
    c.reply.ArrayHeader(2);
    c.reply.Bulk(c.args[2 + key.position]);
    WriteFlags(c.reply, key.flags, kKeyFlagNames);
  }
}

constexpr std::string_view kHelp[] = {
    "(no subcommand)",
    "    Return details about all Redis commands.",
    "COUNT",
    "    Return the total number of commands in this Redis server.",
    "LIST",
    "    Return a list of all commands in this Redis server.",
    "INFO [<command-name> ...]",
    "    Return details about multiple Redis commands.",
    "    If no command names are given, documentation details for all",
    "    commands are returned.",
    "DOCS [<command-name> ...]",
    "    Return documentation details about multiple Redis commands.",
    "    If no command names are given, documentation details for all",
    "    commands are returned.",
    "GETKEYS <full-command>",
    "    Return the keys from a full Redis command.",
    "GETKEYSANDFLAGS <full-command>",
    "    Return the keys and the access flags from a full Redis command.",
};

void CommandHelp(CommandContext& c) { ReplyHelp(c.reply, "COMMAND", kHelp); }

constexpr CommandGroup kServer = CommandGroup::kServer;
constexpr uint32_t kAsk = kLoading | kStale;
constexpr std::string_view kOrderTips[] = {"nondeterministic_output_order"};

constexpr Command kSubcommands[] = {
    {"count",
     2,
     kAsk,
     kServer,
     "2.8.13",
     "O(1)",
     "Counts the commands.",
     CommandCount,
     {},
     {},
     {},
     kAclConnection},
    {"docs",
     -2,
     kAsk,
     kServer,
     "7.0.0",
     "O(N) for N commands",
     "Explains commands to people.",
     CommandDocs,
     {},
     kOrderTips,
     {},
     kAclConnection},
    {"getkeys",
     -4,
     kAsk,
     kServer,
     "2.8.13",
     "O(N) for N arguments",
     "Finds the keys in a full command.",
     CommandGetKeys,
     {},
     {},
     {},
     kAclConnection},
    {"getkeysandflags",
     -4,
     kAsk,
     kServer,
     "7.0.0",
     "O(N) for N arguments",
     "Finds the keys in a full command, and how it uses them.",
     CommandGetKeysAndFlags,
     {},
     {},
     {},
     kAclConnection},
    {"help",
     2,
     kAsk,
     kServer,
     "5.0.0",
     "O(1)",
     "Explains the subcommands.",
     CommandHelp,
     {},
     {},
     {},
     kAclConnection},
    {"info",
     -2,
     kAsk,
     kServer,
     "2.8.13",
     "O(N) for N commands",
     "Describes commands to clients.",
     CommandInfo,
     {},
     kOrderTips,
     {},
     kAclConnection},
    {"list",
     -2,
     kAsk,
     kServer,
     "7.0.0",
     "O(N) for N commands",
     "Lists the names of commands.",
     CommandList,
     {},
     kOrderTips,
     {},
     kAclConnection},
};

}  // namespace

std::span<const Command> CommandSubcommands() { return kSubcommands; }

void CommandBare(CommandContext& c) {
  const auto entries = c.server.commands().entries();
  c.reply.ArrayHeader(entries.size());
  for (const std::unique_ptr<Entry>& entry : entries) WriteInfo(c.reply, *entry);
}

}  // namespace thermocline
