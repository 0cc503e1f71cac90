// DEBUG: tools for tests and diagnosis. Refused unless enable-debug-command allows it.

#include <cmath>
#include <cstdlib>
#include <thread>

#include <fmt/format.h>

#include "server/client.h"
#include "server/commands/containers.h"
#include "server/error_reply.h"
#include "server/server.h"

namespace thermocline {

namespace {

bool Allowed(const CommandContext& c) {
  switch (c.server.options().enable_debug_command) {
    case DebugCommand::kNo: return false;
    case DebugCommand::kYes: return true;
    case DebugCommand::kLocal: break;
  }
  const std::string_view address = c.client.address;
  return c.client.unix_socket || address.starts_with("127.") || address.starts_with("[::1]");
}

/// Stops the keyspace thread, and with it every client: that is what it is for.
void Sleep(CommandContext& c) {
  constexpr double kSecondsMax = 3600;
  const double seconds = std::strtod(std::string(c.args[2]).c_str(), nullptr);
  if (seconds > 0)
    std::this_thread::sleep_for(std::chrono::duration<double>(std::fmin(seconds, kSecondsMax)));
  c.reply.Ok();
}

void SetActiveExpire(CommandContext& c) {
  c.server.keyspace().SetActiveExpiry(std::atoi(std::string(c.args[2]).c_str()) != 0);
  c.reply.Ok();
}

void ShowObject(CommandContext& c) {
  const Object* object = c.txn.Find(c.args[2], Txn::Access::kQuiet);
  if (object == nullptr) return c.reply.Error(error_text::kNoSuchKey);
  const Eviction& eviction = c.server.keyspace().eviction();
  const uint64_t idle_s = eviction.lfu() ? 0 : eviction.IdleMs(object) / 1000;
  uint64_t bytes = object->value_size;
  if (object->has_rows) {
    bytes = object->type == ObjectType::kString ? object->rows->body.aux0 : object->rows->accounted_bytes;
  }
  c.reply.SimpleString(fmt::format(
      "Value at:{} refcount:1 encoding:{} serializedlength:{} lru:{} lru_seconds_idle:{} hot_bytes:{} "
      "object_id:{} dirty:{} pins:{}",
      fmt::ptr(object), EncodingName(c.txn, object), bytes,
      (c.server.clock().WallMs() / 1000 - idle_s) & 0xffffff, idle_s,
      c.server.keyspace().hot().ObjectBytes(object), object->has_rows ? object->rows->id : 0,
      int{object->dirty()}, object->pins));
}

void ShowHotTier(CommandContext& c) {
  const Keyspace& keyspace = c.server.keyspace();
  const HotTier& hot = keyspace.hot();
  std::string text = fmt::format(
      "objects:{} unpacked:{} bytes:{} bytes_max:{} segments:{} loads:{} purge_backlog:{}\n",
      hot.object_count(), hot.workbench().size(), hot.used_bytes(), keyspace.options().hot_bytes_max,
      hot.segments(), keyspace.loads_under_way(), keyspace.purge_backlog());
  for (int db = 0; db < keyspace.databases(); ++db) {
    if (keyspace.KeyCount(db) == 0) continue;
    text += fmt::format("db{} keys:{} expires:{} all_in_ram:{}\n", db, keyspace.KeyCount(db),
                        keyspace.ExpiryCount(db), int{keyspace.AllResident(db)});
  }
  c.reply.Verbatim("txt", text);
}

/// A property of RocksDB ("rocksdb.stats", "rocksdb.levelstats" ...) of each family.
void ShowRocksDb(CommandContext& c) {
  const std::string property(c.args.size() > 2 ? c.args[2] : "rocksdb.stats");
  constexpr std::string_view kNames[kFamilies] = {"default", "metadata", "fields", "scores"};
  std::string text;
  for (int i = 0; i < kFamilies; ++i) {
    const std::string value = c.server.keyspace().store().TextProperty(static_cast<Family>(i), property);
    if (!value.empty()) text += fmt::format("[{}] {}:\n{}\n", kNames[i], property, value);
  }
  if (text.empty()) return c.reply.Error("ERR RocksDB has no property of that name");
  c.reply.Verbatim("txt", text);
}

constexpr std::string_view kHelp[] = {
    "ERROR <string>",
    "    Return a Redis protocol error with <string> as message. Useful for clients",
    "    unit tests to simulate Redis errors.",
    "HOTTIER",
    "    Show what is in RAM: objects, bytes, segments, and keys by database.",
    "LOG <message>",
    "    Write <message> to the server log.",
    "OBJECT <key>",
    "    Show low level info about `key` and associated value.",
    "ROCKSDB [property]",
    "    Show a property of RocksDB for each column family (default: rocksdb.stats).",
    "SET-ACTIVE-EXPIRE <0|1>",
    "    Setting it to 0 disables expiring keys in background when they are not",
    "    accessed (otherwise the Redis behavior). Setting it to 1 reenables back the",
    "    default.",
    "SLEEP <seconds>",
    "    Stop the server for <seconds>. Decimals allowed.",
};

void ShowHelp(CommandContext& c) { ReplyHelp(c.reply, "DEBUG", kHelp); }

void ShowError(CommandContext& c) { c.reply.Error(c.args[2]); }

void WriteLog(CommandContext& c) {
  c.server.log().Warning("DEBUG LOG: " + std::string(c.args[2]));
  c.reply.Ok();
}

/// DEBUG is one command in COMMAND's eyes, as in Redis, so that its subcommands have a table of their own.
struct Subcommand {
  std::string_view name;
  size_t args_min;
  size_t args_max;
  void (*run)(CommandContext& c);
};
constexpr Subcommand kSubcommands[] = {
    {"help", 2, 2, ShowHelp},
    {"error", 3, 3, ShowError},
    {"hottier", 2, 2, ShowHotTier},
    {"log", 3, 3, WriteLog},
    {"object", 3, 3, ShowObject},
    {"rocksdb", 2, 3, ShowRocksDb},
    {"set-active-expire", 3, 3, SetActiveExpire},
    {"sleep", 3, 3, Sleep},
};

}  // namespace

void Debug(CommandContext& c) {
  if (!Allowed(c)) {
    return c.reply.Error(
        "ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", you can run "
        "it from a "
        "local connection, otherwise you need to set this option in the configuration file, and then restart "
        "the "
        "server.");
  }
  for (const Subcommand& sub : kSubcommands) {
    if (!EqualIgnoreCase(sub.name, c.args[1])) continue;
    if (c.args.size() < sub.args_min || c.args.size() > sub.args_max) break;
    return sub.run(c);
  }
  ReplyBadSubcommand(c, "DEBUG");
}

}  // namespace thermocline
