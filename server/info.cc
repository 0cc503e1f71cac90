// INFO: Redis's sections and fields, as far as there is a true value to give, and a section of our own.

#include <rocksdb/statistics.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <map>

#include <fmt/format.h>

#include "encoding/numbers.h"
#include "server/allocator.h"
#include "server/process_memory.h"
#include "server/server.h"

namespace thermocline {

namespace {

/// INFO's text as it grows.
class InfoText {
 public:
  void Heading(std::string_view name) {
    if (!text_.empty()) text_ += "\r\n";
    text_.append("# ").append(name).append("\r\n");
  }
  void Add(std::string_view name, std::string_view value) {
    text_.append(name).append(":").append(value).append("\r\n");
  }
  template <std::integral T>
  void Add(std::string_view name, T value) {
    Add(name, fmt::format("{}", value));
  }
  /// Bytes, and beside them the form for people.
  void AddBytes(const std::string& name, uint64_t bytes) {
    Add(name, bytes);
    Add(name + "_human", FormatMemory(bytes));
  }
  void AddRatio(std::string_view name, double a, double b) {
    Add(name, fmt::format("{:.2f}", b == 0 ? 0 : a / b));
  }
  void AddPercent(std::string_view name, double a, double b) {
    Add(name, fmt::format("{:.2f}%", b == 0 ? 0 : a / b * 100));
  }
  std::string Take() { return std::move(text_); }

 private:
  std::string text_;
};

std::string ConfigValue(const Config& config, std::string_view name) {
  const auto values = config.Get({&name, 1});
  return values.empty() ? std::string() : values[0].second;
}

std::string ReadLink(const char* path) {
  char target[PATH_MAX];
  const ssize_t size = readlink(path, target, sizeof(target));
  return size <= 0 ? std::string() : std::string(target, static_cast<size_t>(size));
}

/// Which sections an INFO call wants.
class Selection {
 public:
  explicit Selection(const std::vector<std::string>& names) {
    default_ = names.empty();
    for (const std::string& name : names) {
      if (name == "default") {
        default_ = true;
      } else if (name == "all" || name == "everything") {
        all_ = true;
      } else {
        named_.push_back(name);
      }
    }
  }
  bool Wants(std::string_view section, bool in_default) const {
    return all_ || (default_ && in_default) ||
           std::find(named_.begin(), named_.end(), section) != named_.end();
  }

 private:
  bool all_ = false;
  bool default_ = false;
  std::vector<std::string> named_;
};

void AddServer(InfoText& out, Server& server) {
  utsname system{};
  uname(&system);
  const uint64_t uptime_s = (server.clock().MonotonicUs() - server.started_at_us()) / 1000000;
  const ServerOptions& o = server.options();
  out.Add("redis_version", "7.0.15");  // what clients choose their behaviour by
  out.Add("thermocline_version", THERMOCLINE_VERSION);
  out.Add("redis_git_sha1", "00000000");
  out.Add("redis_git_dirty", 0);
  out.Add("redis_build_id", "0");
  out.Add("redis_mode", "standalone");
  out.Add("os", fmt::format("{} {} {}", system.sysname, system.release, system.machine));
  out.Add("arch_bits", static_cast<int>(sizeof(void*) * 8));
  out.Add("monotonic_clock", "POSIX clock_gettime");
  out.Add("multiplexing_api", "epoll");
  out.Add("atomicvar_api", "c11-builtin");
#if defined(__GNUC__) && !defined(__clang__)
  out.Add("gcc_version", fmt::format("{}.{}.{}", __GNUC__, __GNUC_MINOR__, __GNUC_PATCHLEVEL__));
#else
  out.Add("gcc_version", "0.0.0");
#endif
  out.Add("process_id", getpid());
  out.Add("process_supervised", "no");
  out.Add("run_id", server.run_id());
  out.Add("tcp_port", o.port);
  out.Add("server_time_usec", server.clock().WallUs());
  out.Add("uptime_in_seconds", uptime_s);
  out.Add("uptime_in_days", uptime_s / 86400);
  out.Add("hz", o.hz);
  out.Add("configured_hz", o.hz);
  out.Add("lru_clock", server.clock().WallMs() / 1000 & 0xffffff);
  out.Add("executable", ReadLink("/proc/self/exe"));
  out.Add("config_file", server.config().file());
  out.Add("io_threads_active", 0);
}

void AddClients(InfoText& out, Server& server) {
  size_t input_max = 0, output_max = 0, waiting = 0;
  for (const std::unique_ptr<Client>& client : server.clients()) {
    input_max = std::max(input_max, client->input_bytes());
    output_max = std::max(output_max, client->unsent_bytes());
    waiting += client->waits_for_disk();
  }
  out.Add("connected_clients", server.clients().size());
  out.Add("cluster_connections", 0);
  out.Add("maxclients", server.options().clients_max);
  out.Add("client_recent_max_input_buffer", input_max);
  out.Add("client_recent_max_output_buffer", output_max);
  out.Add("blocked_clients", server.blocked().count());
  out.Add("tracking_clients", 0);
  out.Add("clients_in_timeout_table", server.blocked().timed_count());
  out.Add("clients_waiting_for_disk", waiting);
}

void AddMemory(InfoText& out, Server& server) {
  const AllocatorNumbers allocator = ReadAllocator();
  const uint64_t used = server.UsedMemory();
  const uint64_t peak = std::max(used, server.peak_memory_bytes());
  const uint64_t resident = ResidentBytes();
  const uint64_t data = std::min<uint64_t>(used, server.keyspace().hot().used_bytes());
  const auto machine =
      static_cast<uint64_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  uint64_t clients = 0;
  for (const std::unique_ptr<Client>& client : server.clients()) {
    clients += sizeof(Client) + client->input_capacity() + client->output_size();
  }
  out.AddBytes("used_memory", used);
  out.AddBytes("used_memory_rss", resident);
  out.AddBytes("used_memory_peak", peak);
  out.AddPercent("used_memory_peak_perc", static_cast<double>(used), static_cast<double>(peak));
  out.Add("used_memory_overhead", used - data);
  out.Add("used_memory_startup", server.startup_memory_bytes());
  out.Add("used_memory_dataset", data);
  out.AddPercent("used_memory_dataset_perc", static_cast<double>(data), static_cast<double>(used));
  out.Add("allocator_allocated", allocator.allocated_bytes);
  out.Add("allocator_active", allocator.active_bytes);
  out.Add("allocator_resident", allocator.resident_bytes);
  out.AddBytes("total_system_memory", machine);
  // There are no scripts and no functions yet: they take nothing.
  out.AddBytes("used_memory_lua", 0);
  out.Add("used_memory_vm_eval", 0);
  out.Add("used_memory_scripts_eval", 0);
  out.Add("number_of_cached_scripts", 0);
  out.Add("number_of_functions", 0);
  out.Add("number_of_libraries", 0);
  out.Add("used_memory_vm_functions", 0);
  out.AddBytes("used_memory_vm_total", 0);
  out.Add("used_memory_functions", 0);
  out.AddBytes("used_memory_scripts", 0);
  out.AddBytes("maxmemory", server.options().maxmemory.bytes);
  out.Add("maxmemory_policy", ConfigValue(server.config(), "maxmemory-policy"));
  out.AddRatio("allocator_frag_ratio", static_cast<double>(allocator.active_bytes),
               static_cast<double>(allocator.allocated_bytes));
  out.Add("allocator_frag_bytes", allocator.active_bytes - allocator.allocated_bytes);
  out.AddRatio("allocator_rss_ratio", static_cast<double>(allocator.resident_bytes),
               static_cast<double>(allocator.active_bytes));
  out.Add("allocator_rss_bytes", static_cast<int64_t>(allocator.resident_bytes - allocator.active_bytes));
  out.AddRatio("rss_overhead_ratio", static_cast<double>(resident),
               static_cast<double>(allocator.resident_bytes));
  out.Add("rss_overhead_bytes", static_cast<int64_t>(resident - allocator.resident_bytes));
  out.AddRatio("mem_fragmentation_ratio", static_cast<double>(resident), static_cast<double>(used));
  out.Add("mem_fragmentation_bytes", static_cast<int64_t>(resident - used));
  out.Add("mem_not_counted_for_evict", 0);
  out.Add("mem_replication_backlog", 0);
  out.Add("mem_total_replication_buffers", 0);
  out.Add("mem_clients_slaves", 0);
  out.Add("mem_clients_normal", clients);
  out.Add("mem_cluster_links", 0);
  out.Add("mem_aof_buffer", 0);
  out.Add("mem_allocator", AllocatorName());
  out.Add("active_defrag_running", 0);
  out.Add("lazyfree_pending_objects", server.keyspace().purge_backlog());
  out.Add("lazyfreed_objects", server.keyspace().stats().purged_objects);
}

/// The log is RocksDB's; it is always on, so that it stands where Redis has the AOF. The RDB fields are about
/// checkpoints (SAVE, BGSAVE).
void AddPersistence(InfoText& out, Server& server) {
  out.Add("loading", 0);
  out.Add("async_loading", 0);
  out.Add("current_cow_peak", 0);
  out.Add("current_cow_size", 0);
  out.Add("current_cow_size_age", 0);
  out.Add("current_fork_perc", "0.00");
  out.Add("current_save_keys_processed", 0);  // a checkpoint links files, it does not visit keys
  out.Add("current_save_keys_total", 0);
  out.Add("rdb_bgsave_in_progress", int{server.checkpoint_running()});
  out.Add("rdb_last_save_time", server.last_checkpoint_s());
  out.Add("rdb_last_bgsave_status", server.last_checkpoint_ok() ? "ok" : "err");
  const uint64_t started_us = server.checkpoint_started_us();
  out.Add("rdb_last_bgsave_time_sec", server.last_checkpoint_took_s());
  out.Add("rdb_current_bgsave_time_sec",
          started_us == 0 ? -1 : static_cast<int64_t>((server.clock().MonotonicUs() - started_us) / 1000000));
  out.Add("rdb_saves", server.checkpoints());
  out.Add("rdb_last_cow_size", 0);
  out.Add("rdb_last_load_keys_expired", 0);  // nothing is loaded at start
  out.Add("rdb_last_load_keys_loaded", 0);
  out.Add("aof_enabled", 1);
  out.Add("aof_rewrite_in_progress", 0);
  out.Add("aof_rewrite_scheduled", 0);
  out.Add("aof_last_rewrite_time_sec", -1);
  out.Add("aof_current_rewrite_time_sec", -1);
  out.Add("aof_last_bgrewrite_status", "ok");
  out.Add("aof_rewrites", 0);
  out.Add("aof_rewrites_consecutive_failures", 0);
  out.Add("aof_last_write_status", server.keyspace().writable() ? "ok" : "err");
  out.Add("aof_last_cow_size", 0);
  const ReadFailures& failures = server.stats().read_failures;
  out.Add("read_failures", failures.count);
  out.Add("damaged_compactions", server.keyspace().store().damaged_compactions());
  out.Add("last_read_failure_time", failures.last_s);
  out.Add("last_read_failure_file", failures.last_file);
  out.Add("module_fork_in_progress", 0);
  out.Add("module_fork_last_cow_size", 0);
}

struct Rates {
  double commands, bytes_received, bytes_sent;
};

void AddStats(InfoText& out, Server& server, const Rates& rates) {
  const ServerStats& stats = server.stats();
  const KeyspaceStats& keyspace = server.keyspace().stats();
  out.Add("total_connections_received", stats.connections_received);
  out.Add("total_commands_processed", stats.commands_processed);
  out.Add("instantaneous_ops_per_sec", static_cast<uint64_t>(rates.commands));
  out.Add("total_net_input_bytes", stats.bytes_received);
  out.Add("total_net_output_bytes", stats.bytes_sent);
  out.Add("total_net_repl_input_bytes", 0);
  out.Add("total_net_repl_output_bytes", 0);
  out.Add("instantaneous_input_kbps", fmt::format("{:.2f}", rates.bytes_received / 1024));
  out.Add("instantaneous_output_kbps", fmt::format("{:.2f}", rates.bytes_sent / 1024));
  out.Add("instantaneous_input_repl_kbps", "0.00");
  out.Add("instantaneous_output_repl_kbps", "0.00");
  out.Add("rejected_connections", stats.connections_rejected);
  out.Add("sync_full", 0);
  out.Add("sync_partial_ok", 0);
  out.Add("sync_partial_err", 0);
  out.Add("expired_keys", keyspace.expired_keys);
  out.Add("evicted_keys", keyspace.evicted_keys);
  out.Add("evicted_clients", 0);
  const uint64_t exceeded_since_us = server.keyspace().over_limit_since_us();
  const uint64_t exceeded_us = exceeded_since_us == 0 ? 0 : server.clock().MonotonicUs() - exceeded_since_us;
  out.Add("total_eviction_exceeded_time", (keyspace.over_limit_us + exceeded_us) / 1000);
  out.Add("current_eviction_exceeded_time", exceeded_us / 1000);
  out.Add("keyspace_hits", keyspace.keyspace_hits);
  out.Add("keyspace_misses", keyspace.keyspace_misses);
  out.Add("pubsub_channels", server.pubsub().channel_count());
  out.Add("pubsub_patterns", server.pubsub().pattern_count());
  out.Add("pubsubshard_channels", server.pubsub().shard_channel_count());
  out.Add("latest_fork_usec", 0);
  out.Add("total_forks", 0);
  out.Add("migrate_cached_sockets", 0);
  out.Add("slave_expires_tracked_keys", 0);
  out.Add("total_active_defrag_time", 0);
  out.Add("current_active_defrag_time", 0);
  out.Add("active_defrag_hits", 0);
  out.Add("active_defrag_misses", 0);
  out.Add("active_defrag_key_hits", 0);
  out.Add("active_defrag_key_misses", 0);
  out.Add("tracking_total_keys", 0);
  out.Add("tracking_total_items", 0);
  out.Add("tracking_total_prefixes", 0);
  out.Add("unexpected_error_replies", 0);
  out.Add("total_error_replies", stats.errors);
  out.Add("dump_payload_sanitizations", 0);
  out.Add("io_threaded_reads_processed", 0);
  out.Add("io_threaded_writes_processed", 0);
  out.Add("client_query_buffer_limit_disconnections", stats.input_limit_closes);
  out.Add("client_output_buffer_limit_disconnections", stats.output_limit_closes);
}

void AddReplication(InfoText& out, Server& server) {
  out.Add("role", "master");
  out.Add("connected_slaves", 0);
  out.Add("master_failover_state", "no-failover");
  out.Add("master_replid", server.run_id());
  out.Add("master_replid2", std::string(40, '0'));
  out.Add("master_repl_offset", 0);
  out.Add("second_repl_offset", -1);
  out.Add("repl_backlog_active", 0);
  out.Add("repl_backlog_size", 0);
  out.Add("repl_backlog_first_byte_offset", 0);
  out.Add("repl_backlog_histlen", 0);
}

void AddCpu(InfoText& out) {
  const auto add = [&out](const char* name, const timeval& time) {
    out.Add(name, fmt::format("{}.{:06}", time.tv_sec, time.tv_usec));
  };
  rusage self{}, children{}, thread{};
  getrusage(RUSAGE_SELF, &self);
  getrusage(RUSAGE_CHILDREN, &children);
  getrusage(RUSAGE_THREAD, &thread);
  add("used_cpu_sys", self.ru_stime);
  add("used_cpu_user", self.ru_utime);
  add("used_cpu_sys_children", children.ru_stime);
  add("used_cpu_user_children", children.ru_utime);
  add("used_cpu_sys_main_thread", thread.ru_stime);
  add("used_cpu_user_main_thread", thread.ru_utime);
}

/// Calls `visit` with each command and each subcommand.
template <typename Visit>
void ForEachEntry(const CommandTable& table, Visit&& visit) {
  for (const std::unique_ptr<CommandTable::Entry>& entry : table.entries()) {
    visit(*entry);
    for (const CommandTable::Entry& sub : entry->subcommands) visit(sub);
  }
}

void AddCommandStats(InfoText& out, const CommandTable& table) {
  ForEachEntry(table, [&out](const CommandTable::Entry& entry) {
    const CommandStats& s = entry.stats;
    if (s.calls == 0 && s.rejected == 0 && s.failed == 0) return;
    out.Add("cmdstat_" + entry.full_name,
            fmt::format("calls={},usec={},usec_per_call={:.2f},rejected_calls={},failed_calls={}", s.calls,
                        s.us, s.calls == 0 ? 0.0 : static_cast<double>(s.us) / static_cast<double>(s.calls),
                        s.rejected, s.failed));
  });
}

std::string Percentiles(const LatencyHistogram& latencies, const ServerOptions& options) {
  std::string values;
  for (const double percentile : options.latency_percentiles) {
    values += fmt::format("{}p{}={:.3f}", values.empty() ? "" : ",", PercentileName(percentile),
                          latencies.PercentileUs(percentile));
  }
  return values;
}

void AddLatencyStats(InfoText& out, const CommandTable& table, const ServerOptions& options) {
  if (!options.latency_tracking) return;
  ForEachEntry(table, [&](const CommandTable::Entry& entry) {
    if (entry.stats.latencies == nullptr) return;
    out.Add("latency_percentiles_usec_" + entry.full_name, Percentiles(*entry.stats.latencies, options));
  });
}

void AddErrorStats(InfoText& out, const ServerStats& stats) {
  const std::map<std::string_view, uint64_t> sorted(stats.errors_by_code.begin(), stats.errors_by_code.end());
  for (const auto& [code, count] : sorted) {
    out.Add(fmt::format("errorstat_{}", code), fmt::format("count={}", count));
  }
}

void AddKeyspace(InfoText& out, const Keyspace& keyspace) {
  for (int db = 0; db < keyspace.databases(); ++db) {
    if (keyspace.KeyCount(db) == 0) continue;
    out.Add(fmt::format("db{}", db),
            fmt::format("keys={},expires={},avg_ttl=0", keyspace.KeyCount(db), keyspace.ExpiryCount(db)));
  }
}

/// What Redis has no word for: the hot tier, the turns, and RocksDB beneath.
void AddThermocline(InfoText& out, Server& server) {
  Keyspace& keyspace = server.keyspace();
  const KeyspaceStats& stats = keyspace.stats();
  const Store& store = keyspace.store();
  out.Add("version", THERMOCLINE_VERSION);
  out.Add("build_type", THERMOCLINE_BUILD_TYPE);
  out.Add("hot_objects", keyspace.hot().object_count());
  out.Add("hot_bytes", keyspace.hot().used_bytes());
  out.Add("hot_bytes_max", keyspace.options().hot_bytes_max);
  out.Add("memory_promised", server.PromisedMemory());
  out.Add("memory_cut_from_hot_tier", server.memory_budget().cut());
  out.Add("hot_hits", stats.hot_hits);
  out.Add("cached_reads", stats.cached_reads);
  out.Add("faults", stats.faults);
  out.Add("shared_faults", stats.shared_faults);
  out.Add("fault_jobs", stats.fault_jobs);
  out.Add("fault_waits", server.stats().fault_waits);
  out.Add("fault_wait_us", server.stats().fault_wait_us);
  out.Add("fault_wait_percentiles_usec", Percentiles(server.stats().fault_wait_histogram, server.options()));
  out.Add("loads_under_way", keyspace.loads_under_way());
  out.Add("reader_queue", keyspace.reader_queue());
  out.Add("reads_per_second_max", server.reads_per_second_max());
  out.Add("commands_rerun", stats.commands_rerun);
  out.Add("warming", int{keyspace.warming()});
  out.Add("warmed_keys", stats.warmed_keys);
  out.Add("demoted_row_blocks", stats.demoted_leaves);
  out.Add("demoted_objects", stats.demoted_objects);
  out.Add("evict_us", stats.evict_us);
  out.Add("turns", server.stats().turns);
  out.Add("commits", stats.commits);
  out.Add("commit_us", stats.commit_us);
  out.Add("committed_bytes", stats.committed_bytes);
  out.Add("commit_stalls", stats.commit_stalls);
  out.Add("commit_stall_us", stats.commit_stall_us);
  out.Add("commit_failures", stats.commit_failures);
  out.Add("syncs", stats.syncs);
  out.Add("sync_us", stats.sync_us);
  out.Add("sync_failures", stats.sync_failures);
  out.Add("sweep_us", stats.sweep_us);
  out.Add("stalled", int{keyspace.stalled()});
  out.Add("writable", int{keyspace.writable()});
  out.Add("purge_backlog", keyspace.purge_backlog());
  out.Add("purged_objects", stats.purged_objects);
  out.Add("protocol_errors", server.stats().protocol_errors);
  out.Add("memtable_bytes", store.memtable_bytes());
  out.Add("block_cache_bytes", store.block_cache_usage_bytes());
  out.Add("block_cache_bytes_max", server.options().rocksdb_block_cache.bytes);
  out.Add("disk_bytes", store.disk_bytes());
  // Reads of table files (and blob files), those of compaction too: what a command's cold read costs the
  // disk.
  out.Add("rocksdb_file_reads",
          store.Ticker(rocksdb::LAST_LEVEL_READ_COUNT) + store.Ticker(rocksdb::NON_LAST_LEVEL_READ_COUNT));
  struct Ticker {
    std::string_view name;
    uint32_t ticker;
  };
  constexpr Ticker kTickers[] = {
      {"rocksdb_block_cache_hits", rocksdb::BLOCK_CACHE_HIT},
      {"rocksdb_block_cache_misses", rocksdb::BLOCK_CACHE_MISS},
      {"rocksdb_bloom_useful", rocksdb::BLOOM_FILTER_USEFUL},
      {"rocksdb_bytes_read", rocksdb::BYTES_READ},
      {"rocksdb_bytes_written", rocksdb::BYTES_WRITTEN},
      {"rocksdb_wal_bytes", rocksdb::WAL_FILE_BYTES},
      {"rocksdb_wal_syncs", rocksdb::WAL_FILE_SYNCED},
      {"rocksdb_flush_write_bytes", rocksdb::FLUSH_WRITE_BYTES},
      {"rocksdb_compaction_read_bytes", rocksdb::COMPACT_READ_BYTES},
      {"rocksdb_compaction_write_bytes", rocksdb::COMPACT_WRITE_BYTES},
      {"rocksdb_stall_us", rocksdb::STALL_MICROS},
  };
  for (const Ticker& ticker : kTickers) out.Add(ticker.name, store.Ticker(ticker.ticker));
}

}  // namespace

std::string Server::Info(const std::vector<std::string>& sections) {
  const Selection selection(sections);
  InfoText out;
  const auto section = [&](std::string_view name, bool in_default, auto&& add) {
    std::string lower(name);
    std::transform(lower.begin(), lower.end(), lower.begin(), ::tolower);
    if (!selection.Wants(lower, in_default)) return;
    out.Heading(name);
    add();
  };
  section("Server", true, [&] { AddServer(out, *this); });
  section("Clients", true, [&] { AddClients(out, *this); });
  section("Memory", true, [&] { AddMemory(out, *this); });
  section("Persistence", true, [&] { AddPersistence(out, *this); });
  section("Stats", true, [&] {
    AddStats(out, *this,
             {commands_rate_.PerSecond(), bytes_received_rate_.PerSecond(), bytes_sent_rate_.PerSecond()});
  });
  section("Replication", true, [&] { AddReplication(out, *this); });
  section("CPU", true, [&] { AddCpu(out); });
  section("Modules", true, [] {});
  section("Commandstats", false, [&] { AddCommandStats(out, commands_); });
  section("Errorstats", true, [&] { AddErrorStats(out, stats_); });
  section("Latencystats", false, [&] { AddLatencyStats(out, commands_, options()); });
  section("Cluster", true, [&] { out.Add("cluster_enabled", 0); });
  section("Keyspace", true, [&] { AddKeyspace(out, *keyspace_); });
  section("Thermocline", true, [&] { AddThermocline(out, *this); });
  return out.Take();
}

}  // namespace thermocline
