// Commands on the connection itself; CLIENT is in client.cc.

#include <algorithm>

#include "encoding/numbers.h"
#include "server/client.h"
#include "server/commands/common.h"
#include "server/commands/containers.h"
#include "server/error_reply.h"
#include "server/server.h"

namespace thermocline {

namespace {

constexpr std::string_view kWrongPassword = "WRONGPASS invalid username-password pair or user is disabled.";

void Ping(CommandContext& c) {
  if (c.args.size() > 2) return c.reply.Error("ERR wrong number of arguments for 'ping' command");
  if (c.client.only_subscribed()) {  // in the form of a message
    c.reply.ArrayHeader(2);
    c.reply.Bulk("pong");
    return c.reply.Bulk(c.args.size() == 2 ? c.args[1] : "");
  }
  if (c.args.size() == 2) return c.reply.Bulk(c.args[1]);
  c.reply.SimpleString("PONG");
}

void Echo(CommandContext& c) { c.reply.Bulk(c.args[1]); }

void Quit(CommandContext& c) {
  c.reply.Ok();
  c.client.close_after_reply = true;
}

void Reset(CommandContext& c) {
  c.server.DiscardTransaction(c.client);
  c.server.pubsub().UnsubscribeAll(c.client);
  c.server.monitors().Remove(c.client);
  c.client.ResetSession();
  c.client.authenticated = c.server.options().requirepass.empty();
  c.client.user = "default";
  c.reply.SimpleString("RESET");
}

void Select(CommandContext& c) {
  int db;
  if (!ReadDatabase(c, c.args[1], &db)) return;
  c.client.db = db;
  c.reply.Ok();
}

/// Takes the same time wherever the first difference is.
bool EqualSecret(std::string_view given, std::string_view secret) {
  unsigned char difference = given.size() == secret.size() ? 0 : 1;
  for (size_t i = 0; i < given.size(); ++i) {
    difference |= static_cast<unsigned char>(given[i] ^ secret[secret.empty() ? 0 : i % secret.size()]);
  }
  return difference == 0;
}

/// There is one user; without requirepass it takes any password, as in Redis.
bool Authenticate(CommandContext& c, std::string_view user, std::string_view password) {
  const std::string& secret = c.server.options().requirepass;
  if (user != "default" || (!secret.empty() && !EqualSecret(password, secret))) return false;
  c.client.authenticated = true;
  c.client.user = "default";
  return true;
}

void Auth(CommandContext& c) {
  if (c.args.size() > 3) return c.reply.Error(error_text::kSyntax);
  if (c.args.size() == 2 && c.server.options().requirepass.empty()) {
    return c.reply.Error(
        "ERR AUTH <password> called without any password configured for the default user. Are you sure your "
        "configuration is correct?");
  }
  const std::string_view user = c.args.size() == 3 ? c.args[1] : "default";
  if (!Authenticate(c, user, c.args.back())) return c.reply.Error(kWrongPassword);
  c.reply.Ok();
}

void WriteHello(CommandContext& c) {
  ReplyWriter reply(c.reply.buffer(), c.client.protocol);
  reply.MapHeader(7);
  reply.Bulk("server");
  reply.Bulk("redis");
  reply.Bulk("version");
  reply.Bulk("7.0.15");
  reply.Bulk("proto");
  reply.Integer(c.client.protocol);
  reply.Bulk("id");
  reply.Integer(static_cast<int64_t>(c.client.id));
  reply.Bulk("mode");
  reply.Bulk("standalone");
  reply.Bulk("role");
  reply.Bulk("master");
  reply.Bulk("modules");
  reply.ArrayHeader(0);
}

void Hello(CommandContext& c) {
  int64_t protocol = c.client.protocol;
  if (c.args.size() >= 2) {
    if (!ParseInt64(c.args[1], &protocol)) {
      return c.reply.Error("ERR Protocol version is not an integer or out of range");
    }
    if (protocol < 2 || protocol > 3) return c.reply.Error("NOPROTO unsupported protocol version");
  }
  // Each option takes effect as it is met, even when a later one is wrong: so does Redis.
  for (size_t i = 2; i < c.args.size(); ++i) {
    const size_t more = c.args.size() - 1 - i;
    if (EqualIgnoreCase(c.args[i], "auth") && more >= 2) {
      if (!Authenticate(c, c.args[i + 1], c.args[i + 2])) return c.reply.Error(kWrongPassword);
      i += 2;
    } else if (EqualIgnoreCase(c.args[i], "setname") && more >= 1) {
      if (!SetClientName(c, c.args[i + 1])) return;
      i += 1;
    } else {
      return c.reply.Error("ERR Syntax error in HELLO option '" + std::string(Shown(c.args[i])) + "'");
    }
  }
  if (!c.client.authenticated) {
    return c.reply.Error(
        "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO AUTH "
        "<user> "
        "<pass> option can be used to authenticate the client and select the RESP protocol version at the "
        "same time");
  }
  c.client.protocol = static_cast<int>(protocol);
  WriteHello(c);
}

bool IsAuthSecret(std::span<const std::string_view>, size_t index) { return index >= 1; }

/// The two arguments behind each AUTH.
bool IsHelloSecret(std::span<const std::string_view> args, size_t index) {
  for (size_t i = 2; i < args.size(); ++i) {
    if (EqualIgnoreCase(args[i], "setname")) {
      i += 1;
    } else if (EqualIgnoreCase(args[i], "auth")) {
      if (index == i + 1 || index == i + 2) return true;
      i += 2;
    }
  }
  return false;
}

constexpr CommandGroup kConnection = CommandGroup::kConnection;
/// AUTH and its like: allowed at any time, before authentication too.
constexpr uint32_t kAlways = kNoScript | kLoading | kStale | kFast | kNoAuth | kAllowBusy;
constexpr std::string_view kPingTips[] = {"request_policy:all_shards", "response_policy:all_succeeded"};

}  // namespace

bool SetClientName(CommandContext& c, std::string_view name) {
  // It stands in CLIENT LIST, whose fields end at a blank.
  if (!std::all_of(name.begin(), name.end(), [](char byte) { return byte >= '!' && byte <= '~'; })) {
    c.reply.Error("ERR Client names cannot contain spaces, newlines or special characters.");
    return false;
  }
  c.client.name = name;
  return true;
}

void ReplyHelp(ReplyWriter& reply, std::string_view container, std::span<const std::string_view> lines) {
  reply.ArrayHeader(lines.size() + 3);
  reply.SimpleString(std::string(container) + " <subcommand> [<arg> [value] [opt] ...]. Subcommands are:");
  for (const std::string_view line : lines) reply.SimpleString(line);
  reply.SimpleString("HELP");
  reply.SimpleString("    Prints this help.");
}

void ReplyBadSubcommand(CommandContext& c, std::string_view container) {
  c.reply.Error("ERR unknown subcommand or wrong number of arguments for '" +
                std::string(Shown(c.args[1]).substr(0, 128)) + "'. Try " + std::string(container) + " HELP.");
}

std::span<const Command> ConnectionCommands() {
  static const Command rows[] = {
      {.name = "auth",
       .arity = -2,
       .flags = kAlways,
       .group = kConnection,
       .since = "1.0.0",
       .complexity = "O(1)",
       .summary = "Authenticates the connection.",
       .handler = Auth,
       .is_secret = IsAuthSecret},
      {"client",
       -2,
       0,
       kConnection,
       "2.4.0",
       "Depends on subcommand.",
       "Everything about client connections.",
       nullptr,
       {},
       {},
       ClientSubcommands()},
      {"echo", 2, kLoading | kStale | kFast, kConnection, "1.0.0", "O(1)", "Gives the message back.", Echo},
      {.name = "hello",
       .arity = -1,
       .flags = kAlways,
       .group = kConnection,
       .since = "6.0.0",
       .complexity = "O(1)",
       .summary = "Agrees on a protocol version, and authenticates and names the connection on the way.",
       .handler = Hello,
       .is_secret = IsHelloSecret},
      {"ping",
       -1,
       kFast | kInSubscribed,
       kConnection,
       "1.0.0",
       "O(1)",
       "Answers, with the message if there is one.",
       Ping,
       {},
       kPingTips},
      {"quit", -1, kAlways | kInSubscribed | kNotQueued | kLeavesMulti, kConnection, "1.0.0", "O(1)",
       "Closes the connection.", Quit},
      {"reset", 1, kAlways | kInSubscribed | kNotQueued | kLeavesMulti, kConnection, "6.2.0", "O(1)",
       "Makes the connection as good as new.", Reset},
      {"select", 2, kLoading | kStale | kFast, kConnection, "1.0.0", "O(1)",
       "Chooses the connection's database.", Select},
  };
  return rows;
}

}  // namespace thermocline
