// CLIENT: who is connected, and what to do with them.

#include "server/client.h"

#include <algorithm>
#include <optional>
#include <unordered_map>

#include "encoding/numbers.h"
#include "server/commands/containers.h"
#include "server/error_reply.h"
#include "server/server.h"

namespace thermocline {

namespace {

// ---- What is known of a connection
// ---------------------------------------------------------------------------

using CommandNames = std::unordered_map<const Command*, std::string_view>;

/// "client|list" of each row: a client remembers only the row.
CommandNames FullNames(const CommandTable& table) {
  CommandNames names;
  for (const std::unique_ptr<CommandTable::Entry>& entry : table.entries()) {
    names.emplace(entry->command, entry->full_name);
    for (const CommandTable::Entry& sub : entry->subcommands) names.emplace(sub.command, sub.full_name);
  }
  return names;
}

std::string FlagLetters(const Client& client) {
  std::string flags;
  if (client.monitor) flags += 'O';
  if (client.subscriptions.any()) flags += 'P';
  if (client.transaction != nullptr) flags += 'x';
  if (client.suspended() || client.blocked != nullptr) flags += 'b';
  if (client.watch_broken) flags += 'd';
  if (client.close_after_reply) flags += 'c';
  if (client.close_now) flags += 'A';
  if (client.unix_socket) flags += 'U';
  if (client.no_evict) flags += 'e';
  return flags.empty() ? "N" : flags;
}

void AppendField(std::string& out, std::string_view name, std::string_view value) {
  if (!out.empty() && out.back() != '\n') out += ' ';
  out.append(name).append("=").append(value);
}

void AppendField(std::string& out, std::string_view name, uint64_t value) {
  AppendField(out, name, std::to_string(value));
}

/// One line of CLIENT LIST, with its newline: Redis's fields in Redis's order. Fields of features that are
/// not there have the value that they have where the feature is not used.
void AppendClient(std::string& out, const Client& client, uint64_t now_us, const CommandNames& names) {
  const auto command = names.find(client.last_command);
  const uint64_t query_bytes = client.input_bytes();
  AppendField(out, "id", client.id);
  AppendField(out, "addr", client.address);
  AppendField(out, "laddr", client.local_address);
  AppendField(out, "fd", std::to_string(client.fd));
  AppendField(out, "name", client.name);
  AppendField(out, "age", (now_us - client.connected_at_us) / 1000000);
  AppendField(out, "idle", (now_us - std::min(now_us, client.last_active_us)) / 1000000);
  AppendField(out, "flags", FlagLetters(client));
  AppendField(out, "db", static_cast<uint64_t>(client.db));
  AppendField(out, "sub", client.subscriptions.channels.size());
  AppendField(out, "psub", client.subscriptions.patterns.size());
  AppendField(out, "ssub", client.subscriptions.shard_channels.size());
  AppendField(out, "multi",
              client.transaction == nullptr ? "-1" : std::to_string(client.transaction->commands().size()));
  AppendField(out, "qbuf", query_bytes);
  AppendField(out, "qbuf-free", client.input_capacity() - std::min(query_bytes, client.input_capacity()));
  AppendField(out, "argv-mem", "0");
  AppendField(out, "multi-mem", client.transaction == nullptr ? 0 : client.transaction->memory_bytes());
  AppendField(out, "rbs", client.output_size());
  AppendField(out, "rbp", client.output_size());
  AppendField(out, "obl", client.unsent_bytes());
  AppendField(out, "oll", "0");
  AppendField(out, "omem", "0");
  AppendField(out, "tot-mem", sizeof(Client) + client.input_capacity() + client.output_size());
  AppendField(out, "events", client.unsent_bytes() > 0 ? "rw" : "r");
  AppendField(out, "cmd", command == names.end() ? "NULL" : command->second);
  AppendField(out, "user", client.user);
  AppendField(out, "redir", "-1");
  AppendField(out, "resp", static_cast<uint64_t>(client.protocol));
  out += '\n';
}

/// Connections in the order in which they came.
std::vector<Client*> ClientsById(const Server& server) {
  std::vector<Client*> clients;
  clients.reserve(server.clients().size());
  for (const std::unique_ptr<Client>& client : server.clients()) {
    if (client->fd >= 0) clients.push_back(client.get());
  }
  std::sort(clients.begin(), clients.end(), [](const Client* a, const Client* b) { return a->id < b->id; });
  return clients;
}

enum class ClientType : uint8_t { kNormal, kReplica, kPubSub, kMaster };

std::optional<ClientType> ParseType(std::string_view name) {
  if (EqualIgnoreCase(name, "normal")) return ClientType::kNormal;
  if (EqualIgnoreCase(name, "replica") || EqualIgnoreCase(name, "slave")) return ClientType::kReplica;
  if (EqualIgnoreCase(name, "pubsub")) return ClientType::kPubSub;
  if (EqualIgnoreCase(name, "master")) return ClientType::kMaster;
  return std::nullopt;
}

/// There are no replicas yet.
ClientType TypeOf(const Client& client) {
  return client.subscriptions.any() ? ClientType::kPubSub : ClientType::kNormal;
}

void ReplyUnknownType(CommandContext& c, std::string_view name) {
  c.reply.Error("ERR Unknown client type '" + std::string(name.substr(0, 128)) + "'");
}

void ClientId(CommandContext& c) { c.reply.Integer(static_cast<int64_t>(c.client.id)); }

void ClientInfo(CommandContext& c) {
  // Redis shows the running command here, which becomes the last one only when it is done.
  const Command* last = std::exchange(c.client.last_command, &c.command);
  std::string text;
  AppendClient(text, c.client, c.server.clock().MonotonicUs(), FullNames(c.server.commands()));
  c.client.last_command = last;
  c.reply.Verbatim("txt", text);
}

void ClientList(CommandContext& c) {
  std::vector<Client*> clients;
  if (c.args.size() == 2) {
    clients = ClientsById(c.server);
  } else if (EqualIgnoreCase(c.args[2], "type") && c.args.size() == 4) {
    const std::optional<ClientType> type = ParseType(c.args[3]);
    if (!type.has_value()) return ReplyUnknownType(c, c.args[3]);
    clients = ClientsById(c.server);
    std::erase_if(clients, [&](const Client* client) { return TypeOf(*client) != *type; });
  } else if (EqualIgnoreCase(c.args[2], "id") && c.args.size() > 3) {
    for (const std::string_view arg : c.args.subspan(3)) {
      int64_t id;
      if (!ParseInt64(arg, &id)) return c.reply.Error("ERR Invalid client ID");
      Client* client = id > 0 ? c.server.FindClient(static_cast<uint64_t>(id)) : nullptr;
      if (client != nullptr && client->fd >= 0) clients.push_back(client);
    }
  } else {
    return c.reply.Error(error_text::kSyntax);
  }
  const Command* last = std::exchange(c.client.last_command, &c.command);
  const CommandNames names = FullNames(c.server.commands());
  const uint64_t now_us = c.server.clock().MonotonicUs();
  std::string text;
  for (const Client* client : clients) AppendClient(text, *client, now_us, names);
  c.client.last_command = last;
  c.reply.Verbatim("txt", text);
}

void ClientGetName(CommandContext& c) {
  if (c.client.name.empty()) return c.reply.Null();
  c.reply.Bulk(c.client.name);
}

void ClientSetName(CommandContext& c) {
  if (SetClientName(c, c.args[2])) c.reply.Ok();
}

/// Nobody's invalidation messages are redirected: there is no tracking yet.
void ClientGetRedir(CommandContext& c) { c.reply.Integer(-1); }

// ---- What can be done to a connection
// ------------------------------------------------------------------------

/// The clients that CLIENT KILL means: all that pass every filter that is set.
struct KillFilter {
  std::optional<uint64_t> id;
  std::optional<ClientType> type;
  std::optional<std::string_view> address;
  std::optional<std::string_view> local_address;
  std::optional<std::string_view> user;
  bool skip_me = true;

  bool Matches(const Client& client) const {
    return (!id.has_value() || *id == client.id) && (!type.has_value() || *type == TypeOf(client)) &&
           (!address.has_value() || *address == client.address) &&
           (!local_address.has_value() || *local_address == client.local_address) &&
           (!user.has_value() || *user == client.user);
  }
};

/// False: an error is written.
bool ParseKillFilter(CommandContext& c, KillFilter* filter) {
  const auto fail = [&](std::string_view error) {
    c.reply.Error(error);
    return false;
  };
  for (size_t i = 2; i < c.args.size(); i += 2) {
    if (i + 1 == c.args.size()) return fail(error_text::kSyntax);
    const std::string_view name = c.args[i], value = c.args[i + 1];
    if (EqualIgnoreCase(name, "id")) {
      int64_t id;
      if (!ParseInt64(value, &id) || id < 1) return fail("ERR client-id should be greater than 0");
      filter->id = static_cast<uint64_t>(id);
    } else if (EqualIgnoreCase(name, "type")) {
      filter->type = ParseType(value);
      if (!filter->type.has_value()) {
        ReplyUnknownType(c, value);
        return false;
      }
    } else if (EqualIgnoreCase(name, "addr")) {
      filter->address = value;
    } else if (EqualIgnoreCase(name, "laddr")) {
      filter->local_address = value;
    } else if (EqualIgnoreCase(name, "user")) {
      if (value != "default") return fail("ERR No such user '" + std::string(value) + "'");
      filter->user = value;
    } else if (EqualIgnoreCase(name, "skipme")) {
      if (!EqualIgnoreCase(value, "yes") && !EqualIgnoreCase(value, "no")) return fail(error_text::kSyntax);
      filter->skip_me = EqualIgnoreCase(value, "yes");
    } else {
      return fail(error_text::kSyntax);
    }
  }
  return true;
}

void ClientKill(CommandContext& c) {
  KillFilter filter;
  const bool old_form = c.args.size() == 3;
  if (old_form) {
    filter.address = c.args[2];
    filter.skip_me = false;
  } else if (!ParseKillFilter(c, &filter)) {
    return;
  }
  int64_t killed = 0;
  for (Client* client : ClientsById(c.server)) {
    if (!filter.Matches(*client) || (client == &c.client && filter.skip_me)) continue;
    if (client == &c.client) {
      c.server.Kill(*client, /*after_reply=*/true);
    } else {
      c.server.AfterRun([&server = c.server, id = client->id] {
        if (Client* doomed = server.FindClient(id)) server.Kill(*doomed, /*after_reply=*/false);
      });
    }
    ++killed;
  }
  if (!old_form) return c.reply.Integer(killed);
  if (killed == 0) return c.reply.Error("ERR No such client");
  c.reply.Ok();
}

void ClientPause(CommandContext& c) {
  if (c.args.size() > 4) return ReplyBadSubcommand(c, "CLIENT");
  PauseMode mode = PauseMode::kAll;
  if (c.args.size() == 4) {
    if (EqualIgnoreCase(c.args[3], "write")) {
      mode = PauseMode::kWrites;
    } else if (!EqualIgnoreCase(c.args[3], "all")) {
      return c.reply.Error("ERR CLIENT PAUSE mode must be WRITE or ALL");
    }
  }
  int64_t timeout_ms;
  if (!ParseInt64(c.args[2], &timeout_ms))
    return c.reply.Error("ERR timeout is not an integer or out of range");
  if (timeout_ms < 0) return c.reply.Error("ERR timeout is negative");
  if (timeout_ms > INT64_MAX - static_cast<int64_t>(c.server.clock().WallMs())) {
    return c.reply.Error("ERR timeout is out of range");
  }
  // A hundred years is for ever, and leaves no overflow in microseconds.
  constexpr int64_t kForEverMs = int64_t{100} * 365 * 24 * 3600 * 1000;
  const auto pause_us = static_cast<uint64_t>(std::min(timeout_ms, kForEverMs)) * 1000;
  c.server.Pause(mode, c.server.clock().MonotonicUs() + pause_us);
  c.reply.Ok();
}

void ClientUnpause(CommandContext& c) {
  c.server.Unpause();
  c.reply.Ok();
}

void ClientReply(CommandContext& c) {
  if (EqualIgnoreCase(c.args[2], "on")) {
    c.client.reply_mode = ReplyMode::kOn;
    c.reply.Ok();
  } else if (EqualIgnoreCase(c.args[2], "off")) {
    c.client.reply_mode = ReplyMode::kOff;
  } else if (EqualIgnoreCase(c.args[2], "skip")) {
    if (c.client.reply_mode != ReplyMode::kOff) c.client.reply_mode = ReplyMode::kSkipNext;
  } else {
    c.reply.Error(error_text::kSyntax);
  }
}

void ClientNoEvict(CommandContext& c) {
  const bool on = EqualIgnoreCase(c.args[2], "on");
  if (!on && !EqualIgnoreCase(c.args[2], "off")) return c.reply.Error(error_text::kSyntax);
  c.client.no_evict = on;
  c.reply.Ok();
}

void ClientUnblock(CommandContext& c) {
  if (c.args.size() > 4) return ReplyBadSubcommand(c, "CLIENT");
  if (c.args.size() == 4 && !EqualIgnoreCase(c.args[3], "timeout") && !EqualIgnoreCase(c.args[3], "error")) {
    return c.reply.Error("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR");
  }
  int64_t id;
  if (!ParseInt64(c.args[2], &id)) return c.reply.Error(error_text::kNotInteger);
  const bool error = c.args.size() == 4 && EqualIgnoreCase(c.args[3], "error");
  const Client* client = id > 0 ? c.server.FindClient(static_cast<uint64_t>(id)) : nullptr;
  if (client == nullptr || client->blocked == nullptr) return c.reply.Integer(0);
  c.server.AfterRun([&server = c.server, id = client->id, error] {
    Client* waiting = server.FindClient(id);
    if (waiting != nullptr && waiting->blocked != nullptr) server.UnblockByCommand(*waiting, error);
  });
  c.reply.Integer(1);
}

constexpr std::string_view kHelp[] = {
    "GETREDIR",
    "    Return the client ID we are redirecting to when tracking is enabled.",
    "GETNAME",
    "    Return the name of the current connection.",
    "ID",
    "    Return the ID of the current connection.",
    "INFO",
    "    Return information about the current client connection.",
    "KILL <ip:port>",
    "    Kill connection made from <ip:port>.",
    "KILL <option> <value> [<option> <value> [...]]",
    "    Kill connections. Options are:",
    "    * ADDR (<ip:port>|<unixsocket>:0)",
    "      Kill connections made from the specified address",
    "    * LADDR (<ip:port>|<unixsocket>:0)",
    "      Kill connections made to specified local address",
    "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
    "      Kill connections by type.",
    "    * USER <username>",
    "      Kill connections authenticated by <username>.",
    "    * SKIPME (YES|NO)",
    "      Skip killing current connection (default: yes).",
    "LIST [options ...]",
    "    Return information about client connections. Options:",
    "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
    "      Return clients of specified type.",
    "UNPAUSE",
    "    Stop the current client pause, resuming traffic.",
    "PAUSE <timeout> [WRITE|ALL]",
    "    Suspend all, or just write, clients for <timeout> milliseconds.",
    "REPLY (ON|OFF|SKIP)",
    "    Control the replies sent to the current connection.",
    "SETNAME <name>",
    "    Assign the name <name> to the current connection.",
    "UNBLOCK <clientid> [TIMEOUT|ERROR]",
    "    Unblock the specified blocked client.",
    "NO-EVICT (ON|OFF)",
    "    Protect current client connection from eviction.",
};

void ClientHelp(CommandContext& c) { ReplyHelp(c.reply, "CLIENT", kHelp); }

constexpr CommandGroup kConnection = CommandGroup::kConnection;
constexpr uint32_t kAsk = kNoScript | kLoading | kStale;
constexpr uint32_t kManage = kAdmin | kNoScript | kLoading | kStale;
constexpr std::string_view kListTips[] = {"nondeterministic_output"};

constexpr Command kSubcommands[] = {
    {"getname", 2, kAsk, kConnection, "2.6.9", "O(1)", "Gives the connection's name.", ClientGetName},
    {"getredir", 2, kAsk, kConnection, "6.0.0", "O(1)", "Gives the client that invalidation messages go to.",
     ClientGetRedir},
    {"help", 2, kLoading | kStale, kConnection, "5.0.0", "O(1)", "Explains the subcommands.", ClientHelp},
    {"id", 2, kAsk, kConnection, "5.0.0", "O(1)", "Gives the connection's number.", ClientId},
    {"info", 2, kAsk, kConnection, "6.2.0", "O(1)", "Describes the connection.", ClientInfo, {}, kListTips},
    {"kill", -3, kManage, kConnection, "2.4.0", "O(N log N) for N connections", "Closes connections.",
     ClientKill},
    {"list",
     -2,
     kManage,
     kConnection,
     "2.4.0",
     "O(N log N) for N connections",
     "Describes all open connections.",
     ClientList,
     {},
     kListTips},
    {"no-evict", 3, kManage, kConnection, "7.0.0", "O(1)",
     "Keeps the connection from being closed for memory.", ClientNoEvict},
    {"pause", -3, kManage, kConnection, "2.9.50", "O(1)", "Holds commands back for a while.", ClientPause},
    {"reply", 3, kAsk, kConnection, "3.2.0", "O(1)", "Switches replies on and off.", ClientReply},
    {"setname", 3, kAsk, kConnection, "2.6.9", "O(1)", "Names the connection.", ClientSetName},
    {"unblock", -3, kManage, kConnection, "5.0.0", "O(1)", "Ends the wait of a blocked client.",
     ClientUnblock},
    {"unpause", 2, kManage, kConnection, "6.2.0", "O(N) for N paused connections", "Ends a pause.",
     ClientUnpause},
};

}  // namespace

std::span<const Command> ClientSubcommands() { return kSubcommands; }

}  // namespace thermocline
