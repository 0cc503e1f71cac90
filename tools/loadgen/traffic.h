#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "encoding/status.h"
#include "loadgen/histogram.h"
#include "loadgen/ledger.h"
#include "loadgen/objects.h"
#include "loadgen/pattern.h"

namespace thermocline::loadgen {

/// Connections that do the same.
struct GroupOptions {
  std::string name = "all";
  Type type = Type::kString;
  PatternOptions pattern;
  double read_share = 1;
  uint32_t connections = 1;
  uint32_t pipeline = 1;  ///< requests that one connection has on their way
  /// Requests per second of the whole group, each at its intended time, or 0: the next one follows a reply.
  /// Either way a latency counts from the intended time, so that a request that has to wait for a reply is
  /// not left out.
  double rate = 0;
};

struct TrafficOptions {
  uint16_t port = 6379;
  std::vector<GroupOptions> groups;
  double seconds = 10;        ///< 0: until all patterns have come to their end
  double warmup_seconds = 0;  ///< before that, checked but not counted
  uint32_t threads = 1;
  uint64_t seed = 1;
};

/// What became of the reads or the writes of one group.
struct Counts {
  Histogram latencies;
  std::vector<uint64_t> by_second;  ///< how many ended in each second; the last may be cut off
  void Merge(const Counts& other);
};

struct GroupResult {
  Counts reads, writes;
  uint64_t errors = 0;  ///< error replies, and requests without a reply
  uint64_t wrong_values = 0;
  uint64_t unsent = 0;  ///< requests of a rate whose time came before the end, but no connection was free
  std::string first_problem;  ///< for people; empty: none
  void Merge(const GroupResult& other);
};

struct TrafficResult {
  std::vector<GroupResult> groups;  ///< as in the options
  double seconds = 0;
};

/// Sends the groups' requests to the server on 127.0.0.1, all groups at one time, and checks every value that
/// is read against `ledger`. Blocking. kIoError: a connection failed or the server sent no RESP2.
Result<TrafficResult> RunTraffic(const TrafficOptions& options, Ledger& ledger);

}  // namespace thermocline::loadgen
