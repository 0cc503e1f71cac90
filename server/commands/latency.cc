// LATENCY: what was slow, and how long calls take. What counts as slow is decided in server/watching.cc.

#include "encoding/numbers.h"
#include "server/client.h"
#include "server/commands/containers.h"
#include "server/error_reply.h"
#include "server/latency_monitor.h"
#include "server/server.h"

namespace thermocline {

namespace {

using Entry = CommandTable::Entry;

/// The series of an event that has samples; nullptr: there is none of this name.
const LatencyMonitor::Series* FindSeries(CommandContext& c, std::string_view name) {
  const std::optional<LatencyEvent> event = FindLatencyEvent(name);
  if (!event.has_value() || c.server.latency().series(*event).empty()) return nullptr;
  return &c.server.latency().series(*event);
}

uint64_t NowS(const CommandContext& c) { return c.server.clock().WallMs() / 1000; }

void LatencyLatest(CommandContext& c) {
  std::vector<LatencyEvent> events;
  for (size_t i = 0; i < kLatencyEvents; ++i) {
    const auto event = static_cast<LatencyEvent>(i);
    if (!c.server.latency().series(event).empty()) events.push_back(event);
  }
  c.reply.ArrayHeader(events.size());
  for (const LatencyEvent event : events) {
    const LatencyMonitor::Series& series = c.server.latency().series(event);
    c.reply.ArrayHeader(4);
    c.reply.Bulk(LatencyEventName(event));
    c.reply.Integer(static_cast<int64_t>(series.latest().time_s));
    c.reply.Integer(static_cast<int64_t>(series.latest().ms));
    c.reply.Integer(static_cast<int64_t>(series.max_ms()));
  }
}

void LatencyHistory(CommandContext& c) {
  const LatencyMonitor::Series* series = FindSeries(c, c.args[2]);
  if (series == nullptr) return c.reply.ArrayHeader(0);
  const std::vector<LatencyMonitor::Sample> samples = series->samples();
  c.reply.ArrayHeader(samples.size());
  for (const LatencyMonitor::Sample& sample : samples) {
    c.reply.ArrayHeader(2);
    c.reply.Integer(static_cast<int64_t>(sample.time_s));
    c.reply.Integer(static_cast<int64_t>(sample.ms));
  }
}

void LatencyReset(CommandContext& c) {
  int64_t reset = 0;
  for (size_t i = 0; i < kLatencyEvents; ++i) {
    const auto event = static_cast<LatencyEvent>(i);
    const auto names = c.args.subspan(2);
    const bool named =
        names.empty() || std::find(names.begin(), names.end(), LatencyEventName(event)) != names.end();
    if (!named || c.server.latency().series(event).empty()) continue;
    c.server.latency().Reset(event);
    ++reset;
  }
  c.reply.Integer(reset);
}

void LatencyGraphReply(CommandContext& c) {
  const LatencyMonitor::Series* series = FindSeries(c, c.args[2]);
  if (series == nullptr) {
    return c.reply.Error("ERR No samples available for event '" + std::string(Shown(c.args[2])) + "'");
  }
  c.reply.Verbatim("txt", LatencyGraph(*FindLatencyEvent(c.args[2]), *series, NowS(c)));
}

void LatencyDoctor(CommandContext& c) {
  const ServerOptions& o = c.server.options();
  const LatencySettings settings{.threshold_ms = o.latency_threshold_ms,
                                 .slowlog_slower_than_us = o.slowlog_slower_than_us,
                                 .sync_always = o.appendfsync == SyncMode::kAlways};
  c.reply.Verbatim("txt", LatencyReport(c.server.latency(), settings, NowS(c)));
}

void WriteHistogram(ReplyWriter& reply, const Entry& entry) {
  const std::vector<LatencyHistogram::Step> steps = entry.stats.latencies->Cumulative();
  reply.Bulk(entry.full_name);
  reply.MapHeader(2);
  reply.Bulk("calls");
  reply.Integer(static_cast<int64_t>(entry.stats.latencies->calls()));
  reply.Bulk("histogram_usec");
  reply.MapHeader(steps.size());
  for (const LatencyHistogram::Step& step : steps) {
    reply.Integer(static_cast<int64_t>(step.us));
    reply.Integer(static_cast<int64_t>(step.calls));
  }
}

/// All commands, or those named; a container stands for its subcommands. Names that are none are passed over,
/// as are commands that were not called.
void LatencyHistogramReply(CommandContext& c) {
  std::vector<const Entry*> entries;
  const auto add = [&entries](const Entry& entry) {
    if (entry.stats.latencies != nullptr) entries.push_back(&entry);
    for (const Entry& sub : entry.subcommands) {
      if (sub.stats.latencies != nullptr) entries.push_back(&sub);
    }
  };
  const CommandTable& table = c.server.commands();
  if (c.args.size() == 2) {
    for (const std::unique_ptr<Entry>& entry : table.entries()) add(*entry);
  }
  for (const std::string_view name : c.args.subspan(2)) {
    if (const Entry* entry = table.FindByFullName(name); entry != nullptr) add(*entry);
  }
  c.reply.MapHeader(entries.size());
  for (const Entry* entry : entries) WriteHistogram(c.reply, *entry);
}

constexpr std::string_view kHelp[] = {
    "DOCTOR",
    "    Return a human readable latency analysis report.",
    "GRAPH <event>",
    "    Return an ASCII latency graph for the <event> class.",
    "HISTORY <event>",
    "    Return time-latency samples for the <event> class.",
    "LATEST",
    "    Return the latest latency samples for all events.",
    "RESET [<event> ...]",
    "    Reset latency data of one or more <event> classes.",
    "    (default: reset all data for all event classes)",
    "HISTOGRAM [COMMAND ...]",
    "    Return a cumulative distribution of latencies in the format of a histogram for the specified "
    "command "
    "names.",
    "    If no commands are specified then all histograms are replied.",
};

void LatencyHelp(CommandContext& c) { ReplyHelp(c.reply, "LATENCY", kHelp); }

constexpr CommandGroup kServer = CommandGroup::kServer;
constexpr uint32_t kFlags = kAdmin | kNoScript | kLoading | kStale;
constexpr std::string_view kTips[] = {"nondeterministic_output", "request_policy:all_nodes",
                                      "response_policy:special"};
constexpr std::string_view kResetTips[] = {"request_policy:all_nodes", "response_policy:all_succeeded"};

constexpr Command kSubcommands[] = {
    {"doctor",
     2,
     kFlags,
     kServer,
     "2.8.13",
     "O(1)",
     "Says what was slow and what helps.",
     LatencyDoctor,
     {},
     kTips},
    {"graph",
     3,
     kFlags,
     kServer,
     "2.8.13",
     "O(1)",
     "Draws the samples of an event.",
     LatencyGraphReply,
     {},
     kTips},
    {"help", 2, kLoading | kStale, kServer, "2.8.13", "O(1)", "Explains the subcommands.", LatencyHelp},
    {"histogram",
     -2,
     kFlags,
     kServer,
     "7.0.0",
     "O(N) for N commands",
     "Tells how many calls took how long.",
     LatencyHistogramReply,
     {},
     kTips},
    {"history",
     3,
     kFlags,
     kServer,
     "2.8.13",
     "O(1)",
     "Lists the samples of an event.",
     LatencyHistory,
     {},
     kTips},
    {"latest",
     2,
     kFlags,
     kServer,
     "2.8.13",
     "O(1)",
     "Gives the last sample of each event.",
     LatencyLatest,
     {},
     kTips},
    {"reset",
     -2,
     kFlags,
     kServer,
     "2.8.13",
     "O(1)",
     "Removes the samples of events, or of all.",
     LatencyReset,
     {},
     kResetTips},
};

}  // namespace

std::span<const Command> LatencySubcommands() { return kSubcommands; }

}  // namespace thermocline
