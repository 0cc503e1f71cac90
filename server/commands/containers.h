#pragma once

#include <span>
#include <string_view>

#include "server/command.h"

/// What the files of the connection and server families share: subcommands that are large enough for a file
/// of their own, and the replies that every container has.
namespace thermocline {

std::span<const Command> ClientSubcommands();   // client.cc
std::span<const Command> CommandSubcommands();  // command.cc
std::span<const Command> LatencySubcommands();  // latency.cc
std::span<const Command> MemorySubcommands();   // memory.cc
std::span<const Command> SlowLogSubcommands();  // slowlog.cc
void CommandBare(CommandContext& c);            // command.cc
void Debug(CommandContext& c);                  // debug.cc

/// What OBJECT ENCODING says of a live object. May unwind. (object.cc)
std::string_view EncodingName(Txn& txn, const Object* object);

/// Takes a new name for the connection (empty: none). False, and an error is written: it has forbidden bytes.
bool SetClientName(CommandContext& c, std::string_view name);

/// The reply of `container` HELP; `lines` are those between the first and the last two, which all have in
/// common.
void ReplyHelp(ReplyWriter& reply, std::string_view container, std::span<const std::string_view> lines);

/// The error of a subcommand that got too many arguments.
void ReplyBadSubcommand(CommandContext& c, std::string_view container);

}  // namespace thermocline
