// Channels: who listens is in server/pubsub.h, how messages leave in server/sessions.cc.

#include <algorithm>

#include "server/client.h"
#include "server/command.h"
#include "server/commands/common.h"
#include "server/commands/containers.h"
#include "server/server.h"

namespace thermocline {

namespace {

using Kind = PubSub::Kind;

struct Words {
  std::string_view subscribed, unsubscribed;
};

constexpr Words WordsOf(Kind kind) {
  switch (kind) {
    case Kind::kPattern: return {"psubscribe", "punsubscribe"};
    case Kind::kShard: return {"ssubscribe", "sunsubscribe"};
    default: return {"subscribe", "unsubscribe"};
  }
}

size_t CountOf(const Client& client, Kind kind) {
  return kind == Kind::kShard ? client.subscriptions.shard_channels.size() : client.subscriptions.count();
}

/// One message per channel, as Redis has it; with a channel of nullptr when there was none to leave.
void Confirm(CommandContext& c, Kind kind, std::string_view word, const std::string_view* channel) {
  c.reply.PushHeader(3);
  c.reply.Bulk(word);
  if (channel == nullptr) {
    c.reply.Null();
  } else {
    c.reply.Bulk(*channel);
  }
  c.reply.Integer(static_cast<int64_t>(CountOf(c.client, kind)));
}

void SubscribeTo(CommandContext& c, Kind kind) {
  for (const std::string_view channel : c.args.subspan(1)) {
    c.server.pubsub().Subscribe(c.client, kind, channel);
    Confirm(c, kind, WordsOf(kind).subscribed, &channel);
  }
}

void UnsubscribeFrom(CommandContext& c, Kind kind, const std::unordered_set<std::string>& all) {
  const std::string_view word = WordsOf(kind).unsubscribed;
  if (c.args.size() > 1) {
    for (const std::string_view channel : c.args.subspan(1)) {
      c.server.pubsub().Unsubscribe(c.client, kind, channel);
      Confirm(c, kind, word, &channel);
    }
    return;
  }
  const std::vector<std::string> channels(all.begin(), all.end());
  for (const std::string_view channel : channels) {
    c.server.pubsub().Unsubscribe(c.client, kind, channel);
    Confirm(c, kind, word, &channel);
  }
  if (channels.empty()) Confirm(c, kind, word, nullptr);
}

void Subscribe(CommandContext& c) { SubscribeTo(c, Kind::kChannel); }
void PSubscribe(CommandContext& c) { SubscribeTo(c, Kind::kPattern); }
void SSubscribe(CommandContext& c) {
  // Redis's, and not asked by the other two.
  if (!c.can_block) return c.reply.Error("ERR SSUBSCRIBE isn't allowed for a DENY BLOCKING client");
  SubscribeTo(c, Kind::kShard);
}
void Unsubscribe(CommandContext& c) { UnsubscribeFrom(c, Kind::kChannel, c.client.subscriptions.channels); }
void PUnsubscribe(CommandContext& c) { UnsubscribeFrom(c, Kind::kPattern, c.client.subscriptions.patterns); }
void SUnsubscribe(CommandContext& c) {
  UnsubscribeFrom(c, Kind::kShard, c.client.subscriptions.shard_channels);
}

void PublishTo(CommandContext& c, bool shard) {
  c.reply.Integer(static_cast<int64_t>(c.server.PublishMessage(c.args[1], c.args[2], shard)));
}

void Publish(CommandContext& c) { PublishTo(c, /*shard=*/false); }
void SPublish(CommandContext& c) { PublishTo(c, /*shard=*/true); }

// ---- PUBSUB ----

void ListChannels(CommandContext& c, bool shard) {
  if (c.args.size() > 3) return ReplyBadSubcommand(c, "PUBSUB");
  const std::string pattern(c.args.size() == 3 ? c.args[2] : "");
  const std::vector<std::string> channels =
      c.server.pubsub().Channels(shard, c.args.size() == 3 ? &pattern : nullptr);
  c.reply.ArrayHeader(channels.size());
  for (const std::string& channel : channels) c.reply.Bulk(channel);
}

void CountSubscribers(CommandContext& c, bool shard) {
  const auto channels = c.args.subspan(2);
  c.reply.ArrayHeader(2 * channels.size());
  for (const std::string_view channel : channels) {
    c.reply.Bulk(channel);
    c.reply.Integer(static_cast<int64_t>(c.server.pubsub().Subscribers(shard, channel)));
  }
}

void PubSubChannels(CommandContext& c) { ListChannels(c, /*shard=*/false); }
void PubSubShardChannels(CommandContext& c) { ListChannels(c, /*shard=*/true); }
void PubSubNumSub(CommandContext& c) { CountSubscribers(c, /*shard=*/false); }
void PubSubShardNumSub(CommandContext& c) { CountSubscribers(c, /*shard=*/true); }
void PubSubNumPat(CommandContext& c) {
  c.reply.Integer(static_cast<int64_t>(c.server.pubsub().pattern_count()));
}

constexpr std::string_view kHelp[] = {
    "CHANNELS [<pattern>]",
    "    Return the currently active channels matching a <pattern> (default: '*').",
    "NUMPAT",
    "    Return number of subscriptions to patterns.",
    "NUMSUB [<channel> ...]",
    "    Return the number of subscribers for the specified channels, excluding",
    "    pattern subscriptions(default: no channels).",
    "SHARDCHANNELS [<pattern>]",
    "    Return the currently active shard level channels matching a <pattern> (default: '*').",
    "SHARDNUMSUB [<shardchannel> ...]",
    "    Return the number of subscribers for the specified shard level channel(s)",
};

void PubSubHelp(CommandContext& c) { ReplyHelp(c.reply, "PUBSUB", kHelp); }

constexpr CommandGroup kGroup = CommandGroup::kPubSub;
constexpr uint32_t kSession = kPubSub | kNoScript | kLoading | kStale | kInSubscribed;
constexpr uint32_t kPublishing = kPubSub | kLoading | kStale | kFast | kMayReplicate;
constexpr uint32_t kLooking = kPubSub | kLoading | kStale;
constexpr KeySpec kShardChannels[] = {{.flags = kKeyNotKey, .last = -1}};
constexpr KeySpec kShardChannel[] = {{.flags = kKeyNotKey}};

constexpr Command kSubcommands[] = {
    {"channels", -2, kLooking, kGroup, "2.8.0", "O(N) for N channels",
     "Lists channels that have subscribers.", PubSubChannels},
    {"help", 2, kLoading | kStale, kGroup, "6.2.0", "O(1)", "Explains the subcommands.", PubSubHelp},
    {"numpat", 2, kLooking, kGroup, "2.8.0", "O(1)", "Counts the patterns that have subscribers.",
     PubSubNumPat},
    {"numsub", -2, kLooking, kGroup, "2.8.0", "O(N) for N channels", "Counts the subscribers of channels.",
     PubSubNumSub},
    {"shardchannels", -2, kLooking, kGroup, "7.0.0", "O(N) for N channels",
     "Lists shard channels that have subscribers.", PubSubShardChannels},
    {"shardnumsub", -2, kLooking, kGroup, "7.0.0", "O(N) for N channels",
     "Counts the subscribers of shard channels.", PubSubShardNumSub},
};

constexpr Command kCommands[] = {
    {"psubscribe", -2, kSession, kGroup, "2.0.0", "O(N) for N patterns",
     "Listens to all channels that match a pattern.", PSubscribe},
    {"publish", 3, kPublishing, kGroup, "2.0.0", "O(subscribers + patterns)", "Sends a message to a channel.",
     Publish},
    {"pubsub",
     -2,
     0,
     kGroup,
     "2.8.0",
     "Depends on subcommand.",
     "Everything about channels.",
     nullptr,
     {},
     {},
     kSubcommands},
    {"punsubscribe", -1, kSession, kGroup, "2.0.0", "O(N) for N patterns", "Leaves patterns, or all of them.",
     PUnsubscribe},
    {"spublish", 3, kPublishing, kGroup, "7.0.0", "O(subscribers)", "Sends a message to a shard channel.",
     SPublish, kShardChannel},
    {"ssubscribe", -2, kSession, kGroup, "7.0.0", "O(N) for N channels", "Listens to shard channels.",
     SSubscribe, kShardChannels},
    {"subscribe", -2, kSession, kGroup, "2.0.0", "O(N) for N channels", "Listens to channels.", Subscribe},
    {"sunsubscribe", -1, kSession, kGroup, "7.0.0", "O(N) for N channels",
     "Leaves shard channels, or all of them.", SUnsubscribe, kShardChannels},
    {"unsubscribe", -1, kSession, kGroup, "2.0.0", "O(N) for N channels", "Leaves channels, or all of them.",
     Unsubscribe},
};

}  // namespace

std::span<const Command> PubSubCommands() { return kCommands; }

}  // namespace thermocline
