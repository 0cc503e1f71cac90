// Hit ratios of the hot tier on made-up traces: plain sampled eviction, as in Redis, against what the engine
// does. Drives a real keyspace whose hot tier holds a share of the keys; a hit is a look-up answered from it.
//
//   build/release/bin/eviction-trace [keys [requests [share in percent]]]

#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "engine/keyspace.h"
#include "engine/string.h"

namespace thermocline {
namespace {

class Command final : public Waiter {};

struct Settings {
  const char* name;
  EvictionOptions eviction;
};

/// Numbers of keys with Zipf's distribution (exponent 0.99, as in YCSB), scattered over the key space.
class Zipf {
 public:
  explicit Zipf(size_t n) : cumulative_(n), order_(n) {
    double sum = 0;
    for (size_t i = 0; i < n; ++i) cumulative_[i] = sum += 1 / std::pow(static_cast<double>(i + 1), 0.99);
    for (double& c : cumulative_) c /= sum;
    for (size_t i = 0; i < n; ++i) order_[i] = static_cast<uint32_t>(i);
    std::shuffle(order_.begin(), order_.end(), std::mt19937_64(1));
  }
  template <typename Random>
  uint32_t operator()(Random& random) const {
    const double x = std::uniform_real_distribution<>()(random);
    const auto rank = static_cast<size_t>(std::lower_bound(cumulative_.begin(), cumulative_.end(), x) -
                                          cumulative_.begin());
    return order_[std::min(rank, order_.size() - 1)];
  }

 private:
  std::vector<double> cumulative_;
  std::vector<uint32_t> order_;
};

/// A request reads a key, or writes it.
struct Request {
  uint32_t key;
  bool write = false;
  bool counts = true;  ///< for the hit ratio: requests of the scan itself do not
};

struct Trace {
  const char* name;
  std::vector<Request> requests;
};

std::vector<Trace> MakeTraces(uint32_t keys, size_t requests) {
  std::mt19937_64 random(7);
  const Zipf zipf(keys);
  std::vector<Trace> traces(6);
  traces[0].name = "zipfian";
  traces[1].name = "zipfian + a scan";     // one request of four goes through all keys in turn
  traces[2].name = "zipfian + bulk load";  // one of four writes a new key
  traces[3].name = "shifting";             // the popular keys become others, a tenth of the trace each
  traces[4].name = "recent";               // new keys, read a few times soon after they were written
  traces[5].name = "loop";                 // round and round over twice as many keys as fit
  std::geometric_distribution<uint32_t> recent(0.0005);
  for (size_t i = 0; i < requests; ++i) {
    const uint32_t key = zipf(random);
    traces[0].requests.push_back({key});
    const auto step = static_cast<uint32_t>(i);
    traces[1].requests.push_back(i % 4 == 3 ? Request{step / 4 % keys, false, false} : Request{key});
    traces[2].requests.push_back(i % 4 == 3 ? Request{keys + step / 4, true, false} : Request{key});
    const auto era = static_cast<uint32_t>(i * 10 / requests);
    traces[3].requests.push_back({(key + era * (keys / 10)) % keys});
    const uint32_t newest = step / 4;
    traces[4].requests.push_back(i % 4 == 0 ? Request{keys + newest, true, false}
                                            : Request{keys + newest - std::min(newest, recent(random))});
    traces[5].requests.push_back({step % (keys / 5)});
  }
  return traces;
}

double Play(const Trace& trace, const Settings& settings, uint32_t keys, double share) {
  char pattern[] = "/tmp/eviction-trace-XXXXXX";
  ManualClock clock(1'700'000'000'000);
  KeyspaceOptions options;
  options.dir = mkdtemp(pattern);
  options.store.block_cache_bytes = 256 << 20;
  options.sync_mode = SyncMode::kNo;
  options.active_expiry = false;
  std::unique_ptr<Keyspace> keyspace = std::move(*Keyspace::Open(options, clock));
  Command command;
  const std::string value(64, 'v');
  const auto request = [&](const Request& r) {
    char key[16];
    const auto size = static_cast<size_t>(std::snprintf(key, sizeof(key), "key%08u", r.key));
    for (;;) {
      clock.AdvanceMs(1);  // so that an order by time is exact to a hundred requests
      keyspace->TakeIn();
      const Keyspace::Ran ran = keyspace->Run(command, 0, [&](Txn& txn) {
        if (r.write) {
          txn.SetString(txn.ForWrite({key, size}), value, Encoding::kAuto);
        } else {
          txn.Find({key, size});
        }
      });
      if (ran == Keyspace::Ran::kDone) break;
      std::vector<Waiter*> ready;
      while (ready.empty()) {
        usleep(10);
        keyspace->TakeIn();
        keyspace->TakeReady(&ready);
      }
    }
    if (keyspace->pending()) (void)keyspace->Commit();
    while (keyspace->Housekeeping()) {
    }
  };
  for (uint32_t key = 0; key < keys; ++key) request({key, true});
  const auto limit = static_cast<uint64_t>(static_cast<double>(keyspace->hot().used_bytes()) * share);
  keyspace.reset();
  keyspace = std::move(*Keyspace::Open(options, clock));  // everything is cold
  keyspace->SetHotBytesMax(limit);
  keyspace->SetEviction(settings.eviction);

  uint64_t counted = 0, hits = 0;
  for (size_t i = 0; i < trace.requests.size(); ++i) {
    const KeyspaceStats& stats = keyspace->stats();
    const uint64_t cold = stats.cached_reads + stats.faults;
    request(trace.requests[i]);
    if (!trace.requests[i].counts || i < trace.requests.size() / 5) continue;  // first it warms up
    ++counted;
    hits += stats.cached_reads + stats.faults == cold;
  }
  keyspace.reset();
  std::filesystem::remove_all(options.dir);
  return 100.0 * static_cast<double>(hits) / static_cast<double>(counted);
}

}  // namespace
}  // namespace thermocline

int main(int argc, char** argv) {
  using namespace thermocline;
  const auto keys = static_cast<uint32_t>(argc > 1 ? std::atoi(argv[1]) : 50000);
  const auto requests = static_cast<size_t>(argc > 2 ? std::atoi(argv[2]) : 500000);
  const double share = (argc > 3 ? std::atof(argv[3]) : 10) / 100;
  using Policy = EvictionPolicy;
  const Settings settings[] = {
      {"lru, sampled", {.policy = Policy::kAllKeysLru, .pool = false, .admission = false}},
      {"lru, pool", {.policy = Policy::kAllKeysLru, .admission = false}},
      {"lru", {.policy = Policy::kAllKeysLru}},
      {"lfu, sampled", {.policy = Policy::kAllKeysLfu, .pool = false, .admission = false}},
      {"lfu, pool", {.policy = Policy::kAllKeysLfu, .admission = false}},
      {"lfu", {.policy = Policy::kAllKeysLfu}},
      {"random, no adm.", {.policy = Policy::kAllKeysRandom, .admission = false}},
      {"random", {.policy = Policy::kAllKeysRandom}},
      {"volatile-ttl", {.policy = Policy::kVolatileTtl}},
      {"noeviction", {.policy = Policy::kNoEviction}},
  };
  std::printf("%u keys, %zu requests, room for %.0f%%: hits in percent\n%-20s", keys, requests, share * 100,
              "");
  for (const Settings& s : settings) std::printf(" %15s", s.name);
  std::printf("\n");
  for (const Trace& trace : MakeTraces(keys, requests)) {
    std::printf("%-20s", trace.name);
    for (const Settings& s : settings) {
      std::printf(" %15.1f", Play(trace, s, keys, share));
      std::fflush(stdout);
    }
    std::printf("\n");
  }
}
