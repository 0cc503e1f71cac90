#include "server/option_table.h"

#include <algorithm>
#include <cstdio>
#include <iterator>
#include <sstream>

#include "encoding/numbers.h"
#include "server/latency_histogram.h"
#include "server/notifications.h"

namespace thermocline {
namespace {

constexpr std::string_view kLogLevels[] = {"debug", "verbose", "notice", "warning"};
constexpr std::string_view kPolicies[] = {"volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl",
                                          "allkeys-lru",  "allkeys-lfu",  "allkeys-random",  "noeviction"};
constexpr std::string_view kActions[] = {"demote", "delete"};
constexpr std::string_view kFsyncs[] = {"everysec", "always", "no"};
constexpr std::string_view kDebugCommand[] = {"no", "yes", "local"};

/// The field of an enum member: `kMember` keeps its type in ServerOptions, the table sees ints.
template <auto kMember>
constexpr EnumField Enum(std::span<const std::string_view> names) {
  return {names, [](const ServerOptions& options) { return static_cast<int>(options.*kMember); },
          [](ServerOptions& options, int value) {
            options.*kMember = static_cast<std::remove_reference_t<decltype(options.*kMember)>>(value);
          }};
}

bool SameName(std::string_view a, std::string_view b) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
  return a.size() == b.size() &&
         std::equal(a.begin(), a.end(), b.begin(), [&](char x, char y) { return lower(x) == lower(y); });
}

// ---------------------------------------------------------------- bind and client-output-buffer-limit

std::vector<std::string> GetBind(const ServerOptions& options) { return options.bind; }

Status SetBind(ServerOptions& options, std::span<const std::string> words) {
  constexpr size_t kAddressesMax = 16;
  if (words.size() > kAddressesMax) return {Code::kInvalid, "Too many bind addresses specified."};
  options.bind.assign(words.begin(), words.end());
  // A single empty word means: listen on no TCP address.
  if (options.bind.size() == 1 && options.bind[0].empty()) options.bind.clear();
  return {};
}

/// Redis prints the class of replicas as "slave" and takes both names.
constexpr std::string_view kClassNames[] = {"normal", "slave", "pubsub"};

std::vector<std::string> GetOutputLimits(const ServerOptions& options) {
  std::vector<std::string> words;
  for (size_t i = 0; i < options.output_limits.size(); i++) {
    const OutputLimit& limit = options.output_limits[i];
    words.emplace_back(kClassNames[i]);
    words.push_back(std::to_string(limit.hard_bytes));
    words.push_back(std::to_string(limit.soft_bytes));
    words.push_back(std::to_string(limit.soft_seconds));
  }
  return words;
}

/// Groups of four words; classes that are not named keep their limits.
Status SetOutputLimits(ServerOptions& options, std::span<const std::string> words) {
  // CONFIG SET with an empty value arrives as one empty word, and changes nothing.
  if (words.size() == 1 && words[0].empty()) return {};
  // On the command line all groups may come as one quoted argument.
  if (words.size() == 1) {
    std::istringstream text(words[0]);
    const std::vector<std::string> split(std::istream_iterator<std::string>(text), {});
    if (split.size() > 1) return SetOutputLimits(options, split);
  }
  if (words.size() % 4 != 0) {
    return {Code::kInvalid, "Wrong number of arguments in buffer limit configuration."};
  }
  for (; !words.empty(); words = words.subspan(4)) {
    size_t index = 0;
    while (index < std::size(kClassNames) && !SameName(words[0], kClassNames[index])) index++;
    if (SameName(words[0], "replica")) index = static_cast<size_t>(ClientClass::kReplica);
    if (index == std::size(kClassNames)) {
      return {Code::kInvalid, "Invalid client class specified in buffer limit configuration."};
    }
    OutputLimit limit;
    if (!ParseMemory(words[1], &limit.hard_bytes) || !ParseMemory(words[2], &limit.soft_bytes) ||
        !ParseInt64(words[3], &limit.soft_seconds) || limit.soft_seconds < 0) {
      return {Code::kInvalid, "Error in hard, soft or soft_seconds setting in buffer limit configuration."};
    }
    options.output_limits[index] = limit;
  }
  return {};
}

std::vector<std::string> GetNotify(const ServerOptions& options) {
  return {NotifyLetters(options.notify_keyspace_events)};
}

Status SetNotify(ServerOptions& options, std::span<const std::string> words) {
  if (words.size() == 1 && ParseNotifyFlags(words[0], &options.notify_keyspace_events)) return {};
  return {Code::kInvalid, "Invalid event class character. Use 'Ag$lshzxeKEtmdn'."};
}

std::vector<std::string> GetPercentiles(const ServerOptions& options) {
  std::vector<std::string> words;
  for (const double percentile : options.latency_percentiles) words.push_back(PercentileName(percentile));
  return words;
}

/// One empty word: none.
Status SetPercentiles(ServerOptions& options, std::span<const std::string> words) {
  options.latency_percentiles.clear();
  if (words.size() == 1 && words[0].empty()) return {};
  for (const std::string& word : words) {
    double percentile;
    if (!ParseDouble(word, &percentile)) {
      return {Code::kInvalid, "Invalid latency-tracking-info-percentiles parameters"};
    }
    if (percentile < 0 || percentile > 100) {
      return {Code::kInvalid, "latency-tracking-info-percentiles parameters should sit between [0.0,100.0]"};
    }
    options.latency_percentiles.push_back(percentile);
  }
  return {};
}

// ---------------------------------------------------------------- checks

Status CheckDaemonize(ServerOptions& options) {
  if (!options.daemonize) return {};
  return {Code::kInvalid,
          "the server does not put itself into the background: start it under systemd, or with '&'"};
}

Status CheckAppendonly(ServerOptions& options) {
  if (options.appendonly) return {};
  return {Code::kInvalid, "every write goes to the log: only 'yes' is possible, see appendfsync"};
}

Status CheckSave(ServerOptions& options) {
  if (options.save.empty()) return {};
  return {Code::kInvalid,
          "there are no save points, since every write goes to the log: only \"\" is possible. BGSAVE makes "
          "a copy"};
}

Status CheckIoThreads(ServerOptions& options) {
  if (options.io_threads == 1) return {};
  return {Code::kInvalid, "more than one I/O thread is not supported yet"};
}

Status ClampHz(ServerOptions& options) {
  options.hz = std::clamp<int64_t>(options.hz, 1, 500);
  return {};
}

// ---------------------------------------------------------------- the table

using O = ServerOptions;

constexpr OptionRow kRows[] = {
    {"bind", "", Change::kAtStart, WordsField{GetBind, SetBind},
     "Addresses to listen on. `*` and `::*` are all of IPv4 and IPv6; with `-` in front it is no error if "
     "the address "
     "is missing; `\"\"` is none."},
    {"protected-mode", "", Change::kLive, BoolField{&O::protected_mode},
     "While there is no password, serve only clients on this machine."},
    {"port", "", Change::kAtStart, IntField{&O::port, 0, 65535}, "TCP port; 0: none."},
    {"tcp-backlog", "", Change::kAtStart, IntField{&O::tcp_backlog, 0, INT32_MAX},
     "Length of the queue of connections that wait to be accepted."},
    {"unixsocket", "", Change::kAtStart, StringField{&O::unixsocket},
     "Path of a Unix socket to listen on as well."},
    {"unixsocketperm", "", Change::kAtStart, IntField{&O::unixsocketperm, 0, 0777, true},
     "Permissions of the Unix socket, octal; 0: as the umask says."},
    {"timeout", "", Change::kLive, IntField{&O::timeout_seconds, 0, INT32_MAX},
     "Close a client after so many idle seconds; 0: never."},
    {"tcp-keepalive", "", Change::kLive, IntField{&O::tcp_keepalive_seconds, 0, INT32_MAX},
     "Seconds between TCP keepalive probes; 0: none."},
    {"maxclients", "", Change::kLive, IntField{&O::clients_max, 1, UINT32_MAX}, "Connections at one time."},
    {"requirepass", "", Change::kLive, StringField{&O::requirepass},
     "Password that AUTH asks for; empty: none."},
    {"proto-max-bulk-len", "", Change::kLive, MemoryField{&O::bulk_bytes_max, 1 << 20, INT64_MAX},
     "Largest argument of a request and largest string value."},
    {"client-query-buffer-limit", "", Change::kLive,
     MemoryField{&O::query_buffer_bytes_max, 1 << 20, INT64_MAX},
     "Largest unfinished request of one client."},
    {"client-output-buffer-limit", "", Change::kLive, WordsField{GetOutputLimits, SetOutputLimits},
     "`class hard soft seconds`, repeated: a client whose pending replies exceed `hard`, or `soft` for "
     "`seconds`, is "
     "closed. Classes: `normal`, `replica`, `pubsub`; 0: no limit."},
    {"daemonize", "", Change::kAtStart, BoolField{&O::daemonize}, "Only `no`.", CheckDaemonize},
    {"pidfile", "", Change::kAtStart, StringField{&O::pidfile},
     "File to write the process id to; empty: none."},
    {"loglevel", "", Change::kLive, Enum<&O::loglevel>(kLogLevels),
     "`debug`, `verbose`, `notice` or `warning`."},
    {"logfile", "", Change::kAtStart, StringField{&O::logfile}, "File to log to; empty: standard output."},
    {"dir", "", Change::kProtected, StringField{&O::dir}, "The data directory."},
    {"databases", "", Change::kAtStart, IntField{&O::databases, 1, INT32_MAX},
     "How many databases SELECT offers."},
    {"hz", "", Change::kLive, IntField{&O::hz, 0, INT32_MAX},
     "How often a second the background work looks around; kept within 1 and 500.", ClampHz},
    {"io-threads", "", Change::kAtStart, IntField{&O::io_threads, 1, 128},
     "Threads that read, parse and write sockets. Only `1` so far.", CheckIoThreads},
    {"io-readers", "", Change::kAtStart, IntField{&O::io_readers, 1, 256},
     "Threads that fetch cold data from disk; as many cold reads are on their way at one time."},
    {"io-readers-pace", "", Change::kLive, BoolField{&O::io_readers_pace},
     "Where cold reads take the cores that hot commands need, let them through evenly and fewer of them "
     "(INFO's `reads_per_second_max`, 0: no limit), 2000 a second at least."},
    {"maxmemory", "", Change::kLive, AutoMemoryField{&O::maxmemory},
     "RAM for hot data: keys, values and their table, which is INFO's `hot_bytes`; 0: no limit; `auto`: half "
     "of "
     "what the process may use."},
    {"maxmemory-policy", "", Change::kLive, Enum<&O::maxmemory_policy>(kPolicies),
     "What leaves RAM first: `volatile-lru`, `volatile-lfu`, `volatile-random`, `volatile-ttl`, "
     "`allkeys-lru`, "
     "`allkeys-lfu`, `allkeys-random` or `noeviction`."},
    {"maxmemory-action", "", Change::kLive, Enum<&O::maxmemory_action>(kActions),
     "What it is to leave RAM: `demote` (the key stays on disk) or `delete` (the key is deleted, as in "
     "Redis)."},
    {"maxmemory-samples", "", Change::kLive, IntField{&O::maxmemory_samples, 1, INT32_MAX},
     "Keys that the policy compares per eviction; more is closer to the ideal and slower."},
    {"lfu-log-factor", "", Change::kLive, IntField{&O::lfu_log_factor, 0, INT32_MAX},
     "How slowly the access counter of LFU grows."},
    {"lfu-decay-time", "", Change::kLive, IntField{&O::lfu_decay_minutes, 0, INT32_MAX},
     "Minutes until the access counter of LFU falls by one; 0: never."},
    {"warm-start", "", Change::kAtStart, BoolField{&O::warm_start},
     "After a restart, bring the keys back into RAM that were hottest: those that the file `hot-keys` in "
     "`dir` names. "
     "It is written at shutdown and every five minutes."},
    {"hash-max-listpack-entries", "hash-max-ziplist-entries", Change::kLive,
     IntField{&O::hash_listpack_entries_max, 0, INT64_MAX},
     "OBJECT ENCODING calls a hash `listpack` up to so many fields; how it is kept does not depend on it."},
    {"hash-max-listpack-value", "hash-max-ziplist-value", Change::kLive,
     IntField{&O::hash_listpack_value_max, 0, INT64_MAX}, "And while no field or value has more bytes."},
    {"set-max-intset-entries", "", Change::kLive, IntField{&O::set_intset_entries_max, 0, INT64_MAX},
     "OBJECT ENCODING calls a set of integers `intset` up to so many members."},
    {"zset-max-listpack-entries", "zset-max-ziplist-entries", Change::kLive,
     IntField{&O::zset_listpack_entries_max, 0, INT64_MAX},
     "OBJECT ENCODING calls a sorted set `listpack` up to so many members."},
    {"zset-max-listpack-value", "zset-max-ziplist-value", Change::kLive,
     IntField{&O::zset_listpack_value_max, 0, INT64_MAX}, "And while no member has more bytes."},
    {"appendfsync", "", Change::kLive, Enum<&O::appendfsync>(kFsyncs),
     "When the log reaches the disk: `always` (before each reply), `everysec` or `no` (when the system "
     "likes)."},
    {"appendonly", "", Change::kLive, BoolField{&O::appendonly}, "Only `yes`: every write is logged.",
     CheckAppendonly},
    {"save", "", Change::kLive, StringField{&O::save}, "Only `\"\"`: there are no save points.", CheckSave},
    {"notify-keyspace-events", "", Change::kLive, WordsField{GetNotify, SetNotify},
     "Which key events are published to subscribers, as letters: K, E (channels by key, by event), "
     "g$lshzxetd (kinds; A: "
     "all of them), n (new keys), m (misses); `\"\"`: none."},
    {"slowlog-log-slower-than", "", Change::kLive, IntField{&O::slowlog_slower_than_us, -1, INT64_MAX},
     "SLOWLOG keeps commands that ran for so many microseconds; 0: all, -1: none. Waiting for the disk is "
     "not "
     "in it: see latency-monitor-threshold."},
    {"slowlog-max-len", "", Change::kLive, IntField{&O::slowlog_entries_max, 0, INT64_MAX},
     "How many commands SLOWLOG keeps."},
    {"latency-monitor-threshold", "", Change::kLive, IntField{&O::latency_threshold_ms, 0, INT64_MAX},
     "LATENCY keeps what took so many milliseconds: commands, commits, waits for cold reads, stalls, syncs, "
     "expiry, eviction; 0: nothing."},
    {"latency-tracking", "", Change::kLive, BoolField{&O::latency_tracking},
     "Keep how long calls take, per command, for LATENCY HISTOGRAM and INFO latencystats."},
    {"latency-tracking-info-percentiles", "", Change::kLive, WordsField{GetPercentiles, SetPercentiles},
     "The percentiles that INFO latencystats shows; `\"\"`: none."},
    {"enable-debug-command", "", Change::kAtStart, Enum<&O::enable_debug_command>(kDebugCommand),
     "Who may call DEBUG: `no` one, `yes` everyone, `local` clients on this machine."},
    {"rocksdb-write-buffer-size", "", Change::kAtStart,
     AutoMemoryField{&O::rocksdb_write_buffer, kWriteBufferBytesMin},
     "Size of a memtable; all of them together take four times as much. The larger they are, the less "
     "compaction has to do and the longer a restart reads the log. `auto`: 32 MB, less where there is little "
     "memory."},
    {"rocksdb-block-cache-size", "", Change::kLive, AutoMemoryField{&O::rocksdb_block_cache},
     "RAM for blocks of cold data; `auto`: chosen beside maxmemory."},
    {"rocksdb-max-background-jobs", "", Change::kAtStart, IntField{&O::rocksdb_background_jobs_max, 1, 256},
     "Threads that flush and compact."},
    {"rocksdb-rate-limit-bytes-per-sec", "", Change::kAtStart,
     MemoryField{&O::rocksdb_rate_limit_bytes_per_second, 0, INT64_MAX},
     "Limit on what flush and compaction write; 0: none."},
    {"rocksdb-direct-reads", "", Change::kAtStart, BoolField{&O::rocksdb_direct_reads},
     "Read the database past the system's page cache: for data many times larger than memory under a tight "
     "limit, "
     "where each cold read then costs less CPU. The file system must support O_DIRECT."},
    {"rocksdb-compression-zstd-bottom", "", Change::kAtStart, BoolField{&O::rocksdb_zstd_bottom},
     "Compress the last level with ZSTD instead of LZ4: smaller, more CPU."},
    {"rocksdb-blob-min-bytes", "", Change::kAtStart, MemoryField{&O::rocksdb_blob_bytes_min, 0, INT64_MAX},
     "Values from this size on live in blob files, which compaction does not copy; 0: none do."},
    {"rocksdb-max-open-files", "", Change::kAtStart, IntField{&O::rocksdb_open_files_max, -1, INT32_MAX},
     "Table files kept open; -1: all."},
};

// ---------------------------------------------------------------- one word to a value

template <typename Number>
Status OutOfRange(const char* format, Number min, Number max) {
  char text[96];
  std::snprintf(text, sizeof text, format, min, max);
  return {Code::kInvalid, text};
}

Status SetField(const BoolField& field, const std::string& word, ServerOptions& options) {
  if (!SameName(word, "yes") && !SameName(word, "no"))
    return {Code::kInvalid, "argument must be 'yes' or 'no'"};
  options.*field.member = SameName(word, "yes");
  return {};
}

Status SetField(const IntField& field, const std::string& word, ServerOptions& options) {
  int64_t value = 0;
  if (field.octal) {
    if (word.empty() || word.size() > 12 || word.find_first_not_of("01234567") != std::string::npos) {
      return {Code::kInvalid, "argument couldn't be parsed as an octal number"};
    }
    for (char c : word) value = value * 8 + (c - '0');
  } else if (!ParseInt64(word, &value)) {
    return {Code::kInvalid, "argument couldn't be parsed into an integer"};
  }
  if (value < field.min || value > field.max) {
    if (field.octal)
      return OutOfRange<long long>("argument must be between %llo and %llo inclusive", field.min, field.max);
    return OutOfRange<long long>("argument must be between %lld and %lld inclusive", field.min, field.max);
  }
  options.*field.member = value;
  return {};
}

Status SetField(const MemoryField& field, const std::string& word, ServerOptions& options) {
  uint64_t bytes = 0;
  if (!ParseMemory(word, &bytes)) return {Code::kInvalid, "argument must be a memory value"};
  if (bytes < field.min || bytes > field.max) {
    return OutOfRange<unsigned long long>("argument must be between %llu and %llu inclusive", field.min,
                                          field.max);
  }
  options.*field.member = bytes;
  return {};
}

Status SetField(const AutoMemoryField& field, const std::string& word, ServerOptions& options) {
  AutoBytes& value = options.*field.member;
  value.automatic = SameName(word, "auto");
  // The automatic size stays what it was; an apply hook computes it anew if it wants.
  if (value.automatic) return {};
  uint64_t bytes = 0;
  if (!ParseMemory(word, &bytes)) return {Code::kInvalid, "argument must be a memory value"};
  if (bytes < field.min) {
    return OutOfRange<unsigned long long>("argument must be between %llu and %llu inclusive", field.min,
                                          UINT64_MAX);
  }
  value.bytes = bytes;
  return {};
}

Status SetField(const StringField& field, const std::string& word, ServerOptions& options) {
  options.*field.member = word;
  return {};
}

Status SetField(const EnumField& field, const std::string& word, ServerOptions& options) {
  std::string names;
  for (size_t i = 0; i < field.names.size(); i++) {
    if (SameName(word, field.names[i])) {
      field.set(options, static_cast<int>(i));
      return {};
    }
    names.append(i == 0 ? "" : ", ").append(field.names[i]);
  }
  return {Code::kInvalid, "argument(s) must be one of the following: " + names};
}

Status SetField(const WordsField& field, const std::string& word, ServerOptions& options) {
  return field.set(options, {&word, 1});
}

// ---------------------------------------------------------------- a value to words

using Words = std::vector<std::string>;

Words GetField(const BoolField& field, const ServerOptions& options) {
  return {options.*field.member ? "yes" : "no"};
}
Words GetField(const IntField& field, const ServerOptions& options) {
  if (!field.octal) return {std::to_string(options.*field.member)};
  char text[24];
  std::snprintf(text, sizeof text, "%llo", static_cast<unsigned long long>(options.*field.member));
  return {text};
}
Words GetField(const MemoryField& field, const ServerOptions& options) {
  return {std::to_string(options.*field.member)};
}
Words GetField(const AutoMemoryField& field, const ServerOptions& options) {
  return {std::to_string((options.*field.member).bytes)};
}
Words GetField(const StringField& field, const ServerOptions& options) { return {options.*field.member}; }
Words GetField(const EnumField& field, const ServerOptions& options) {
  return {std::string(field.names[static_cast<size_t>(field.get(options))])};
}
Words GetField(const WordsField& field, const ServerOptions& options) { return field.get(options); }

/// "100mb" where that is exact, else bytes.
std::string MemoryWord(uint64_t bytes) {
  static constexpr std::pair<int, const char*> kUnits[] = {{30, "gb"}, {20, "mb"}, {10, "kb"}};
  for (const auto& [shift, unit] : kUnits) {
    if (bytes != 0 && bytes % (1ull << shift) == 0) return std::to_string(bytes >> shift) + unit;
  }
  return std::to_string(bytes);
}

/// `word` as the file's syntax needs it: quoted if it is empty or holds anything out of the ordinary.
std::string QuoteWord(std::string_view word) {
  const auto plain = [](char c) {
    return c > ' ' && c < 0x7f && c != '"' && c != '\'' && c != '\\' && c != '#';
  };
  if (!word.empty() && std::all_of(word.begin(), word.end(), plain)) return std::string(word);
  std::string quoted = "\"";
  for (char c : word) {
    if (c == '"' || c == '\\') {
      quoted.append({'\\', c});
    } else if (c >= ' ' && c < 0x7f) {
      quoted.push_back(c);
    } else {
      char escape[8];
      std::snprintf(escape, sizeof escape, "\\x%02x", static_cast<unsigned char>(c));
      quoted.append(escape);
    }
  }
  return quoted + "\"";
}

}  // namespace

std::span<const OptionRow> OptionTable() { return kRows; }

const OptionRow* FindOption(std::string_view name) {
  for (const OptionRow& row : kRows) {
    if (SameName(name, row.name) || (!row.alias.empty() && SameName(name, row.alias))) return &row;
  }
  return nullptr;
}

Status SetOption(const OptionRow& row, std::span<const std::string> words, ServerOptions& options) {
  Status status;
  if (const auto* field = std::get_if<WordsField>(&row.field)) {
    if (words.empty()) return {Code::kInvalid, "wrong number of arguments"};
    status = field->set(options, words);
  } else if (words.size() != 1) {
    return {Code::kInvalid, "wrong number of arguments"};
  } else {
    status = std::visit([&](const auto& field) { return SetField(field, words[0], options); }, row.field);
  }
  if (status.ok() && row.check != nullptr) status = row.check(options);
  return status;
}

std::string GetOption(const OptionRow& row, const ServerOptions& options) {
  const Words words = std::visit([&](const auto& field) { return GetField(field, options); }, row.field);
  std::string value;
  for (size_t i = 0; i < words.size(); i++) value.append(i == 0 ? "" : " ").append(words[i]);
  return value;
}

std::string OptionLine(const OptionRow& row, const ServerOptions& options) {
  Words words = std::visit([&](const auto& field) { return GetField(field, options); }, row.field);
  if (words.empty()) words.emplace_back();
  if (const auto* field = std::get_if<MemoryField>(&row.field)) words = {MemoryWord(options.*field->member)};
  if (const auto* field = std::get_if<AutoMemoryField>(&row.field)) {
    const AutoBytes& value = options.*field->member;
    words = {value.automatic ? "auto" : MemoryWord(value.bytes)};
  }
  std::string line(row.name);
  for (const std::string& word : words) line.append(" ").append(QuoteWord(word));
  return line;
}

std::string OptionReference() {
  const ServerOptions defaults;
  std::string table = "| option | default | CONFIG SET | meaning |\n|---|---|---|---|\n";
  for (const OptionRow& row : kRows) {
    const std::string line = OptionLine(row, defaults);
    table.append("| `")
        .append(row.name)
        .append("` | `")
        .append(line.substr(row.name.size() + 1))
        .append("` | ");
    table.append(row.change == Change::kLive ? "yes" : "no").append(" | ").append(row.summary).append(" |\n");
  }
  return table;
}

}  // namespace thermocline
