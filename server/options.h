#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "engine/eviction.h"
#include "engine/sync_mode.h"

namespace thermocline {

enum class LogLevel : uint8_t { kDebug, kVerbose, kNotice, kWarning };
enum class DebugCommand : uint8_t { kNo, kYes, kLocal };

/// Indexes ServerOptions::output_limits.
enum class ClientClass : uint8_t { kNormal, kReplica, kPubsub };

struct OutputLimit {
  uint64_t hard_bytes = 0;  ///< closed at once above this; 0: no limit
  uint64_t soft_bytes = 0;  ///< closed when above this for soft_seconds
  int64_t soft_seconds = 0;
  bool operator==(const OutputLimit&) const = default;
};

/// No memtable is smaller.
inline constexpr uint64_t kWriteBufferBytesMin = 1 << 20;

/// A size that the server chooses itself unless told. While `automatic`, `bytes` is what the owner computed.
struct AutoBytes {
  bool automatic = true;
  uint64_t bytes = 0;
  bool operator==(const AutoBytes&) const = default;
};

/// Every setting with its default. Names, bounds, units and meanings are in the table of option_table.cc.
struct ServerOptions {
  // Network.
  std::vector<std::string> bind = {"*", "-::*"};
  bool protected_mode = true;
  int64_t port = 6379;
  int64_t tcp_backlog = 511;
  std::string unixsocket;
  int64_t unixsocketperm = 0;
  int64_t timeout_seconds = 0;
  int64_t tcp_keepalive_seconds = 300;
  int64_t clients_max = 10000;
  std::string requirepass;
  uint64_t bulk_bytes_max = 512ull << 20;
  uint64_t query_buffer_bytes_max = 1ull << 30;
  std::array<OutputLimit, 3> output_limits = {
      OutputLimit{}, {256ull << 20, 64ull << 20, 60}, {32ull << 20, 8ull << 20, 60}};

  // Process.
  bool daemonize = false;
  std::string pidfile;
  LogLevel loglevel = LogLevel::kNotice;
  std::string logfile;
  std::string dir = ".";
  int64_t databases = 16;
  int64_t hz = 10;
  int64_t io_threads = 1;
  int64_t io_readers = 8;
  bool io_readers_pace = true;

  // Memory.
  AutoBytes maxmemory;
  EvictionPolicy maxmemory_policy = EvictionPolicy::kAllKeysLru;
  EvictionAction maxmemory_action = EvictionAction::kDemote;
  int64_t maxmemory_samples = 5;
  int64_t lfu_log_factor = 10;
  int64_t lfu_decay_minutes = 1;

  // What OBJECT ENCODING calls compact.
  int64_t hash_listpack_entries_max = 512;
  int64_t hash_listpack_value_max = 64;
  int64_t set_intset_entries_max = 512;
  int64_t zset_listpack_entries_max = 128;
  int64_t zset_listpack_value_max = 64;

  uint32_t notify_keyspace_events = 0;  ///< NotifyFlag bits

  // Durability.
  SyncMode appendfsync = SyncMode::kEverySecond;
  bool appendonly = true;
  bool warm_start = true;
  std::string save;

  // Diagnosis.
  DebugCommand enable_debug_command = DebugCommand::kNo;
  int64_t slowlog_slower_than_us = 10000;  ///< -1: off
  int64_t slowlog_entries_max = 128;
  int64_t latency_threshold_ms = 0;  ///< 0: off
  bool latency_tracking = true;
  std::vector<double> latency_percentiles = {50, 99, 99.9};

  // Storage.
  AutoBytes rocksdb_write_buffer;
  AutoBytes rocksdb_block_cache;
  int64_t rocksdb_background_jobs_max = 2;
  uint64_t rocksdb_rate_limit_bytes_per_second = 0;
  bool rocksdb_zstd_bottom = true;
  bool rocksdb_direct_reads = false;
  uint64_t rocksdb_blob_bytes_min = 4096;
  int64_t rocksdb_open_files_max = -1;
};

}  // namespace thermocline
