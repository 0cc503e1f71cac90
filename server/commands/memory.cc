// MEMORY: what memory is used for.

#include <algorithm>

#include <fmt/format.h>

#include "encoding/numbers.h"
#include "server/allocator.h"
#include "server/client.h"
#include "server/commands/containers.h"
#include "server/error_reply.h"
#include "server/process_memory.h"
#include "server/server.h"

namespace thermocline {

namespace {

/// The bytes of the key in RAM: a key that came from disk for this has only its head there, and rows as far
/// as they are. So the number is exact and free, and SAMPLES has nothing to sample; it is checked as in
/// Redis.
void MemoryUsage(CommandContext& c) {
  for (size_t i = 3; i < c.args.size(); i += 2) {
    if (!EqualIgnoreCase(c.args[i], "samples") || i + 1 == c.args.size())
      return c.reply.Error(error_text::kSyntax);
    int64_t samples;
    if (!ParseInt64(c.args[i + 1], &samples)) return c.reply.Error(error_text::kNotInteger);
    if (samples < 0) return c.reply.Error(error_text::kSyntax);
  }
  const Object* object = c.txn.Find(c.args[2], Txn::Access::kQuiet);
  if (object == nullptr) return c.reply.Null();
  c.reply.Integer(static_cast<int64_t>(c.server.keyspace().hot().ObjectBytes(object)));
}

/// The numbers behind MEMORY STATS and MEMORY DOCTOR.
struct MemoryPicture {
  explicit MemoryPicture(Server& server) : allocator(ReadAllocator()) {
    used = server.UsedMemory();
    peak = std::max(used, server.peak_memory_bytes());
    resident = ResidentBytes();
    hot = server.keyspace().hot().used_bytes();
    for (int db = 0; db < server.keyspace().databases(); ++db) keys += server.keyspace().KeyCount(db);
    hot_objects = server.keyspace().hot().object_count();
    memtables = server.keyspace().store().memtable_bytes();
    block_cache = server.keyspace().store().block_cache_usage_bytes();
    for (const std::unique_ptr<Client>& client : server.clients()) {
      const uint64_t bytes = sizeof(Client) + client->input_capacity() + client->output_size();
      clients += bytes;
      unsent += client->unsent_bytes();
    }
  }

  AllocatorNumbers allocator;
  uint64_t used = 0, peak = 0, resident = 0, hot = 0, keys = 0, hot_objects = 0, memtables = 0,
           block_cache = 0;
  uint64_t clients = 0, unsent = 0;
};

double Ratio(uint64_t a, uint64_t b) { return b == 0 ? 0 : static_cast<double>(a) / static_cast<double>(b); }

void MemoryStats(CommandContext& c) {
  const MemoryPicture m(c.server);
  const AllocatorNumbers& a = m.allocator;
  const uint64_t data = std::min(m.hot, m.used);
  struct Number {
    std::string_view name;
    uint64_t value;
  };
  struct Share {
    std::string_view name;
    double value;
  };
  const Number numbers[] = {
      {"peak.allocated", m.peak},
      {"total.allocated", m.used},
      {"replication.backlog", 0},
      {"clients.slaves", 0},
      {"clients.normal", m.clients},
      {"cluster.links", 0},
      {"aof.buffer", 0},
      {"rocksdb.memtables", m.memtables},
      {"rocksdb.block-cache", m.block_cache},
      {"overhead.total", m.used - data},
      {"keys.count", m.keys},
      {"keys.in-ram", m.hot_objects},
      {"keys.bytes-per-key", m.hot_objects == 0 ? 0 : m.hot / m.hot_objects},
      {"dataset.bytes", data},
      {"allocator.allocated", a.allocated_bytes},
      {"allocator.active", a.active_bytes},
      {"allocator.resident", a.resident_bytes},
      {"allocator-fragmentation.bytes", a.active_bytes - a.allocated_bytes},
      {"allocator-rss.bytes", a.resident_bytes - a.active_bytes},
      {"rss-overhead.bytes", m.resident - a.resident_bytes},
      {"fragmentation.bytes", m.resident - m.used},
  };
  const Share shares[] = {
      {"dataset.percentage", Ratio(data, m.used) * 100},
      {"peak.percentage", Ratio(m.used, m.peak) * 100},
      {"allocator-fragmentation.ratio", Ratio(a.active_bytes, a.allocated_bytes)},
      {"allocator-rss.ratio", Ratio(a.resident_bytes, a.active_bytes)},
      {"rss-overhead.ratio", Ratio(m.resident, a.resident_bytes)},
      {"fragmentation", Ratio(m.resident, m.used)},
  };
  c.reply.MapHeader(std::size(numbers) + std::size(shares));
  for (const Number& number : numbers) {
    c.reply.Bulk(number.name);
    c.reply.Integer(static_cast<int64_t>(number.value));
  }
  for (const Share& share : shares) {
    c.reply.Bulk(share.name);
    c.reply.Double(share.value);
  }
}

void MemoryDoctor(CommandContext& c) {
  const MemoryPicture m(c.server);
  constexpr uint64_t kEnoughToJudge = 64 << 20;
  std::string report;
  if (m.used > kEnoughToJudge) {
    if (Ratio(m.peak, m.used) > 1.5) {
      report += fmt::format(
          " * The peak ({}) was far above what is used now ({}). The allocator may keep some of the "
          "difference; "
          "MEMORY PURGE gives it back.\n",
          FormatMemory(m.peak), FormatMemory(m.used));
    }
    if (m.allocator.allocated_bytes > 0 &&
        Ratio(m.allocator.active_bytes, m.allocator.allocated_bytes) > 1.3) {
      report += fmt::format(
          " * Fragmentation: {} of the pages in use are holes (ratio {:.2f}). Values of many changing sizes "
          "do that; a "
          "restart, which loads nothing in advance, undoes it.\n",
          FormatMemory(m.allocator.active_bytes - m.allocator.allocated_bytes),
          Ratio(m.allocator.active_bytes, m.allocator.allocated_bytes));
    }
    if (m.unsent > m.used / 4) {
      report += fmt::format(
          " * Replies that clients do not read take {}. CLIENT LIST shows whose (omem, obl); see "
          "client-output-buffer-limit.\n",
          FormatMemory(m.unsent));
    }
    const uint64_t limit = c.server.options().maxmemory.bytes;
    if (limit == 0 || limit > UsableMemoryBytes()) {
      report += fmt::format(
          " * maxmemory ({}) does not keep the process within the {} that it may use. Set it to half of "
          "that, or to "
          "'auto'.\n",
          limit == 0 ? "no limit" : FormatMemory(limit), FormatMemory(UsableMemoryBytes()));
    }
  }
  if (m.used <= kEnoughToJudge) {
    report = "Very little memory is in use: too little to find anything wrong with it.\n";
  } else if (report.empty()) {
    report = "No problem with memory was found.\n";
  } else {
    report = "This stands out:\n\n" + report;
  }
  c.reply.Verbatim("txt", report);
}

void MemoryPurge(CommandContext& c) {
  PurgeAllocator();
  c.reply.Ok();
}

void MemoryMallocStats(CommandContext& c) {
  std::string report = AllocatorReport();
  if (report.empty()) report = "Stats not supported for the current allocator";
  c.reply.Verbatim("txt", report);
}

constexpr std::string_view kHelp[] = {
    "DOCTOR",
    "    Return memory problems reports.",
    "MALLOC-STATS",
    "    Return internal statistics report from the memory allocator.",
    "PURGE",
    "    Attempt to purge dirty pages for reclamation by the allocator.",
    "STATS",
    "    Return information about the memory usage of the server.",
    "USAGE <key> [SAMPLES <count>]",
    "    Return memory in bytes used by <key> and its value. Nested values are",
    "    sampled up to <count> times (default: 5, 0 means sample all).",
};

void MemoryHelp(CommandContext& c) { ReplyHelp(c.reply, "MEMORY", kHelp); }

constexpr CommandGroup kServer = CommandGroup::kServer;
constexpr KeySpec kLook[] = {{.flags = kKeyRo, .index = 2}};
constexpr std::string_view kReportTips[] = {"nondeterministic_output", "request_policy:all_shards",
                                            "response_policy:special"};
constexpr std::string_view kPurgeTips[] = {"request_policy:all_shards", "response_policy:all_succeeded"};

constexpr Command kSubcommands[] = {
    {"doctor",
     2,
     0,
     kServer,
     "4.0.0",
     "O(N) for N connections",
     "Looks for problems with memory.",
     MemoryDoctor,
     {},
     kReportTips},
    {"help", 2, kLoading | kStale, kServer, "4.0.0", "O(1)", "Explains the subcommands.", MemoryHelp},
    {"malloc-stats",
     2,
     0,
     kServer,
     "4.0.0",
     "O(bins of the allocator)",
     "Gives the allocator's own report.",
     MemoryMallocStats,
     {},
     kReportTips},
    {"purge",
     2,
     0,
     kServer,
     "4.0.0",
     "O(free pages)",
     "Asks the allocator to give memory back.",
     MemoryPurge,
     {},
     kPurgeTips},
    {"stats",
     2,
     0,
     kServer,
     "4.0.0",
     "O(N) for N connections",
     "Tells what memory is used for.",
     MemoryStats,
     {},
     kReportTips},
    {"usage", -3, kReadOnly, kServer, "4.0.0", "O(1)", "Tells the bytes that a key takes in RAM.",
     MemoryUsage, kLook},
};

}  // namespace

std::span<const Command> MemorySubcommands() { return kSubcommands; }

}  // namespace thermocline
