#include "server/server.h"
namespace thermocline {
namespace {
void Ping(CommandContext& c) { c.reply.SimpleString("PONG"); }
void Dbsize(CommandContext& c) { c.reply.Integer(c.server.keyspace().KeyCount(c.client.db)); }
void Cmd(CommandContext& c) { c.reply.ArrayHeader(0); }
void FlushAll(CommandContext& c) { (void)c.server.keyspace().FlushAll(); c.reply.Ok(); }
constexpr Command k1[] = {{"ping", -1, kFast, CommandGroup::kConnection, "1", "", "", Ping},{"dbsize", 1, kFast, CommandGroup::kConnection, "1", "", "", Dbsize},{"command", -1, kFast, CommandGroup::kConnection, "1", "", "", Cmd},{"config", -1, kFast, CommandGroup::kConnection, "1", "", "", Cmd},{"flushall", -1, kWrite, CommandGroup::kConnection, "1", "", "", FlushAll}};
}
std::span<const Command> ConnectionCommands() { return k1; }
std::span<const Command> ServerCommands() { return {}; }
std::span<const Command> ObjectCommands() { return {}; }
}
