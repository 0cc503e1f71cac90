#include "server/server.h"

#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>

#include "server/allocator.h"
#include "server/network.h"
#include "server/process_memory.h"

namespace thermocline {

namespace {

std::string RandomHex(size_t digits) {
  std::random_device device;
  std::string text;
  while (text.size() < digits) text += "0123456789abcdef"[device() & 15];
  return text;
}

EvictionOptions ToEviction(const ServerOptions& o) {
  return {.policy = o.maxmemory_policy,
          .action = o.maxmemory_action,
          .samples = static_cast<int>(o.maxmemory_samples),
          .lfu_log_factor = static_cast<int>(o.lfu_log_factor),
          .lfu_decay_minutes = static_cast<int>(o.lfu_decay_minutes)};
}

CompactLimits ToCompactLimits(const ServerOptions& o) {
  return {.hash_entries = o.hash_listpack_entries_max,
          .hash_value_bytes = o.hash_listpack_value_max,
          .set_intset_entries = o.set_intset_entries_max,
          .sorted_set_entries = o.zset_listpack_entries_max,
          .sorted_set_value_bytes = o.zset_listpack_value_max};
}

/// What the process may take beside hot keys, when nothing is out of the ordinary.
uint64_t PromisedBesideHot(const ServerOptions& o) {
  return o.rocksdb_block_cache.bytes + kMemtablesPerStore * o.rocksdb_write_buffer.bytes +
         MemoryBudget::kFixedBytes;
}

/// Sizes that the operator leaves to us: half of the memory for hot keys, a sixteenth for blocks of cold
/// ones, an eighth at most for memtables; the rest is for clients and the system's page cache. Where there is
/// little of it, hot keys get less, so that the process may take somewhat more than is promised.
void FillAutomatic(ServerOptions& o) {
  const uint64_t usable = UsableMemoryBytes();
  if (o.rocksdb_block_cache.automatic) {
    o.rocksdb_block_cache.bytes = std::clamp<uint64_t>(usable / 16, 8 << 20, uint64_t{4} << 30);
  }
  if (o.rocksdb_write_buffer.automatic) {
    o.rocksdb_write_buffer.bytes =
        std::clamp<uint64_t>(usable / 8 / kMemtablesPerStore, kWriteBufferBytesMin, 32 << 20);
  }
  if (o.maxmemory.automatic) {
    const uint64_t whole = usable / 100 * (100 - MemoryBudget::kSparePercent);
    const uint64_t others = PromisedBesideHot(o);
    o.maxmemory.bytes = std::clamp(whole - std::min(whole, others), usable / 8, usable / 2);
  }
}

KeyspaceOptions ToKeyspaceOptions(const ServerOptions& o) {
  KeyspaceOptions keyspace;
  keyspace.dir = o.dir;
  keyspace.databases = static_cast<int>(o.databases);
  keyspace.hot_bytes_max = o.maxmemory.bytes;
  keyspace.eviction = ToEviction(o);
  keyspace.sync_mode = o.appendfsync;
  keyspace.string_bytes_max = o.bulk_bytes_max;
  keyspace.readers = static_cast<int>(o.io_readers);
  keyspace.compact = ToCompactLimits(o);
  keyspace.warm_start = o.warm_start;
  keyspace.store.block_cache_bytes = o.rocksdb_block_cache.bytes;
  keyspace.store.write_buffer_bytes = o.rocksdb_write_buffer.bytes;
  keyspace.store.background_jobs = static_cast<int>(o.rocksdb_background_jobs_max);
  keyspace.store.rate_limit_bytes_per_second = o.rocksdb_rate_limit_bytes_per_second;
  keyspace.store.zstd_bottom = o.rocksdb_zstd_bottom;
  keyspace.store.direct_reads = o.rocksdb_direct_reads;
  keyspace.store.blob_bytes_min = o.rocksdb_blob_bytes_min;
  keyspace.store.open_files_max = static_cast<int>(o.rocksdb_open_files_max);
  return keyspace;
}

}  // namespace

Server::Server(Config& config, Log& log, const Clock& clock)
    : config_(config),
      log_(log),
      clock_(clock),
      commands_(CommandTable::All()),
      network_(std::make_unique<Network>()),
      run_id_(RandomHex(40)),
      started_at_us_(clock.MonotonicUs()),
      last_checkpoint_s_(clock.WallMs() / 1000) {}

Result<std::unique_ptr<Server>> Server::Start(Config& config, Log& log, const Clock& clock) {
  ServerOptions& o = config.startup_options();
  std::error_code error;
  o.dir = std::filesystem::absolute(o.dir, error).lexically_normal().string();
  if (o.dir.size() > 1 && o.dir.ends_with('/')) o.dir.pop_back();
  FillAutomatic(o);
  auto server = std::unique_ptr<Server>(new Server(config, log, clock));
  KeyspaceOptions options = ToKeyspaceOptions(o);
  options.wake = [raw = server.get()] { raw->ready_set_.Wake(); };
  options.read_failed = [raw = server.get()](std::string_view work, const Status& why) {
    raw->NoteReadFailure(work, why);
  };
  options.took = [raw = server.get()](KeyspaceWork work, uint64_t us) { raw->NoteWork(work, us); };
  Result<std::unique_ptr<Keyspace>> keyspace = Keyspace::Open(std::move(options), clock);
  if (!keyspace.ok()) return keyspace.status();
  server->keyspace_ = std::move(*keyspace);
  server->turn_us_ = server->clock_us_ = clock.MonotonicUs();
  server->InstallConfigHooks();
  server->InstallWatchHooks();
  if (Status s = server->Listen(); !s.ok()) return s;
  if (!o.pidfile.empty()) {
    std::ofstream(o.pidfile) << getpid() << "\n";
  }
  signal(SIGPIPE, SIG_IGN);
  signal(SIGHUP, SIG_IGN);
  server->network_->signals.add(SIGINT);
  server->network_->signals.add(SIGTERM);
  server->network_->signals.async_wait([raw = server.get()](const asio::error_code& e, int) {
    if (!e) raw->RequestShutdown();
  });
  server->network_->Start();
  server->Cron();
  server->startup_memory_bytes_ = server->UsedMemory();
  return server;
}

Server::~Server() {
  network_->Stop();
  if (!options().unixsocket.empty()) unlink(options().unixsocket.c_str());
  if (keyspace_ != nullptr) {
    // The turn that asked for the shutdown is committed and published; what the background added is not lost
    // either.
    (void)keyspace_->Commit();
    if (Status s = keyspace_->RememberHotKeys(); !s.ok()) log_.Warning(s.message());
    if (Status s = keyspace_->SyncNow(); !s.ok()) log_.Warning("The log could not be synced: " + s.message());
  }
  // Clients wait on the keyspace, whose threads wake the ReadySet: in this order.
  keyspace_.reset();
  clients_.clear();
  if (!options().pidfile.empty()) unlink(options().pidfile.c_str());
}

void Server::RequestShutdown() {
  shutdown_.store(true);
  ready_set_.Wake();
}

void Server::InstallConfigHooks() {
  config_.OnChange({"maxmemory"}, [this](ServerOptions& o) -> Status {
    FillAutomatic(o);
    keyspace_->SetHotBytesMax(o.maxmemory.bytes);  // LookAtMemory comes by soon
    return {};
  });
  config_.OnChange(
      {"maxmemory-policy", "maxmemory-action", "maxmemory-samples", "lfu-log-factor", "lfu-decay-time"},
      [this](ServerOptions& o) -> Status {
        keyspace_->SetEviction(ToEviction(o));
        return {};
      });
  config_.OnChange({"appendfsync"}, [this](ServerOptions& o) -> Status {
    keyspace_->SetSyncMode(o.appendfsync);
    return {};
  });
  config_.OnChange({"proto-max-bulk-len"}, [this](ServerOptions& o) -> Status {
    keyspace_->options().string_bytes_max = o.bulk_bytes_max;
    return {};
  });
  config_.OnChange({"hash-max-listpack-entries", "hash-max-listpack-value", "set-max-intset-entries",
                    "zset-max-listpack-entries", "zset-max-listpack-value"},
                   [this](ServerOptions& o) -> Status {
                     keyspace_->options().compact = ToCompactLimits(o);
                     return {};
                   });
  config_.OnChange({"loglevel"}, [this](ServerOptions& o) -> Status {
    log_.SetLevel(o.loglevel);
    return {};
  });
  config_.OnChange({"rocksdb-block-cache-size"}, [this](ServerOptions& o) -> Status {
    FillAutomatic(o);
    keyspace_->store().SetBlockCacheBytes(o.rocksdb_block_cache.bytes);
    return {};
  });
}

Status Server::StartCheckpoint() {
  if (checkpoint_running_) return {Code::kInvalid, "Background save already in progress"};
  Status s = keyspace_->StartCheckpoint(checkpoint_path(), [this](const Status& done) {
    checkpoint_running_ = false;
    last_checkpoint_took_s_ = static_cast<int64_t>((clock_.MonotonicUs() - checkpoint_started_us_) / 1000000);
    CheckpointDone(done);
  });
  checkpoint_running_ = s.ok();
  checkpoint_started_us_ = clock_.MonotonicUs();
  return s;
}

Status Server::Checkpoint() {
  if (checkpoint_running_) return {Code::kInvalid, "Background save already in progress"};
  Status s = keyspace_->CheckpointNow(checkpoint_path());
  CheckpointDone(s);
  return s;
}

void Server::CheckpointDone(const Status& status) {
  last_checkpoint_ok_ = status.ok();
  if (status.ok()) {
    ++checkpoints_;
    last_checkpoint_s_ = clock_.WallMs() / 1000;
    log_.Notice("Checkpoint written to " + checkpoint_path());
  } else {
    log_.Warning("The checkpoint failed: " + status.message());
  }
}

uint64_t Server::PromisedMemory() const {
  const ServerOptions& o = options();
  if (o.maxmemory.bytes == 0) return 0;
  return o.maxmemory.bytes + PromisedBesideHot(o);
}

/// Some times a second: the peak, and the hot tier's share of the budget.
void Server::LookAtMemory() {
  const ServerOptions& o = options();
  const AllocatorNumbers allocator = ReadAllocator();
  peak_memory_bytes_ = std::max(peak_memory_bytes_, UsedMemory(allocator));
  const uint64_t resident = ResidentBytes();
  const uint64_t taken = resident - std::min(resident, allocator.free_bytes());
  if (o.maxmemory.bytes == 0 || allocator.active_bytes == 0 ||
      o.maxmemory_action != EvictionAction::kDemote) {
    budget_.Reset();
    keyspace_->SetHotBytesMax(o.maxmemory.bytes);
    return;
  }
  keyspace_->SetHotBytesMax(budget_.HotBytesMax(o.maxmemory.bytes, PromisedMemory(), taken));
}

uint64_t Server::UsedMemory() const { return UsedMemory(ReadAllocator()); }

uint64_t Server::UsedMemory(const AllocatorNumbers& allocator) const {
  if (allocator.allocated_bytes > 0) return allocator.allocated_bytes;
  return keyspace_->hot().used_bytes() + keyspace_->store().memtable_bytes() +
         keyspace_->store().block_cache_usage_bytes();
}

uint64_t Server::Cursors::Save(std::string next_key) {
  if (places_.empty()) places_.resize(kPlacesMax);
  const uint64_t cursor = next_++;
  places_[cursor % kPlacesMax] = {cursor, std::move(next_key)};
  return cursor;
}

const std::string* Server::Cursors::Find(uint64_t cursor) const {
  if (places_.empty() || cursor == 0) return nullptr;
  const Place& place = places_[cursor % kPlacesMax];
  return place.cursor == cursor ? &place.next_key : nullptr;
}

}  // namespace thermocline
