// thermocline-loadgen: fills a server with objects whose every byte is known, reads and writes them by
// patterns, and measures the disk beneath. The results are JSON, one object a line; see kUsage.

#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "encoding/numbers.h"
#include "loadgen/probe.h"
#include "loadgen/traffic.h"

namespace thermocline::loadgen {
namespace {

constexpr std::string_view kUsage = R"(thermocline-loadgen load --ledger FILE [options]
    Writes all objects once, in scattered order.
      --strings N, --hashes N, --lists N   how many of each; hashes have ten fields, lists ten elements
      --value-bytes 1024                   of a string, or of all fields or elements of a collection
      --compressible                       the second half of each value repeats itself
      --connections 8 --pipeline 16
thermocline-loadgen run --ledger FILE --group SPEC [--group SPEC ...] [options]
    SPEC: name=value,... with
      name=all type=string|hash|list
      pattern=uniform|zipfian|hotset|scan|once
      keys=N            only so many keys are asked for, scattered over all; default: all
      theta=0.99        of zipfian
      hot-requests=90 hot-keys=10   percent, of hotset
      reads=100         percent; the rest are writes
      connections=1 pipeline=1
      rate=0            requests per second of the group, latencies from the intended time; 0: closed loop
      --seconds 10      0: until the patterns (once) have come to their end
      --warmup 0        seconds before that, checked but not counted
both
      --port 6379 --threads 1 --seed 1
thermocline-loadgen probe --path FILE_OR_FOLDER [options]
    Random reads past the system's cache.
      --threads 8 --read-bytes 8192 --seconds 3 --seed 1

Exit code: 0; 1: values were wrong or requests failed; 2: it could not run.
)";

[[noreturn]] void Fail(const std::string& why) {
  fmt::print(stderr, "thermocline-loadgen: {}\n", why);
  std::exit(2);
}

/// Named texts of which each must be asked for: what is left over is a mistake of the caller.
class Settings {
 public:
  void Set(std::string name, std::string value) { values_[std::move(name)] = std::move(value); }
  std::string Text(const std::string& name, const std::string& fallback) {
    const auto it = values_.find(name);
    if (it == values_.end()) return fallback;
    std::string value = it->second;
    values_.erase(it);
    return value;
  }
  uint64_t Count(const std::string& name, uint64_t fallback, uint64_t min, uint64_t max = UINT64_MAX) {
    uint64_t value = fallback;
    const std::string text = Text(name, "");
    if (!text.empty() && !ParseUint64(text, &value)) Fail(fmt::format("{} {}: not a number", name, text));
    if (value < min || value > max) Fail(fmt::format("{} {}: out of range", name, value));
    return value;
  }
  double Number(const std::string& name, double fallback, double min, double max) {
    double value = fallback;
    const std::string text = Text(name, "");
    if (!text.empty() && !ParseDouble(text, &value)) Fail(fmt::format("{} {}: not a number", name, text));
    if (value < min || value > max) Fail(fmt::format("{} {}: out of range", name, value));
    return value;
  }
  void ExpectEmpty() const {
    if (!values_.empty()) Fail(fmt::format("unknown option {}", values_.begin()->first));
  }

 private:
  std::map<std::string, std::string> values_;
};

template <typename T>
T Choose(const std::string& name, const std::string& text,
         std::initializer_list<std::pair<std::string_view, T>> choices) {
  for (const auto& [choice, value] : choices) {
    if (choice == text) return value;
  }
  Fail(fmt::format("{}={}: unknown", name, text));
}

GroupOptions ParseGroup(std::string_view spec, const Population& population) {
  using Kind = PatternOptions::Kind;
  Settings settings;
  while (!spec.empty()) {
    const std::string_view setting = spec.substr(0, spec.find(','));
    spec.remove_prefix(std::min(spec.size(), setting.size() + 1));
    const size_t equals = setting.find('=');
    if (equals == std::string_view::npos) Fail(fmt::format("{}: no value", setting));
    settings.Set(std::string(setting.substr(0, equals)), std::string(setting.substr(equals + 1)));
  }
  GroupOptions group;
  group.name = settings.Text("name", group.name);
  group.type = Choose<Type>("type", settings.Text("type", "string"),
                            {{"string", Type::kString}, {"hash", Type::kHash}, {"list", Type::kList}});
  group.pattern.kind = Choose<Kind>("pattern", settings.Text("pattern", "uniform"),
                                    {{"uniform", Kind::kUniform},
                                     {"zipfian", Kind::kZipfian},
                                     {"hotset", Kind::kHotSet},
                                     {"scan", Kind::kScan},
                                     {"once", Kind::kOnce}});
  group.pattern.key_count = population.counts[static_cast<int>(group.type)];
  if (group.pattern.key_count == 0)
    Fail(fmt::format("group {}: there are no objects of this type", group.name));
  group.pattern.ranks = settings.Count("keys", group.pattern.key_count, 1, group.pattern.key_count);
  group.pattern.theta = settings.Number("theta", 0.99, 0.01, 0.999);
  group.pattern.hot_requests = settings.Number("hot-requests", 90, 0, 100) / 100;
  group.pattern.hot_keys = settings.Number("hot-keys", 10, 0, 100) / 100;
  group.read_share = settings.Number("reads", 100, 0, 100) / 100;
  group.connections = static_cast<uint32_t>(settings.Count("connections", 1, 1, 100000));
  group.pipeline = static_cast<uint32_t>(settings.Count("pipeline", 1, 1, 100000));
  group.rate = settings.Number("rate", 0, 0, 1e9);
  settings.ExpectEmpty();
  return group;
}

std::string LatenciesJson(const Histogram& latencies) {
  std::string json;
  for (const auto& [name, percentile] : {std::pair{"p50_us", 50.0}, {"p99_us", 99.0}, {"p999_us", 99.9}}) {
    json +=
        fmt::format("\"{}\":{:.1f},", name, static_cast<double>(latencies.PercentileNs(percentile)) / 1e3);
  }
  return json + fmt::format("\"max_us\":{:.1f}", static_cast<double>(latencies.max_ns()) / 1e3);
}

/// `seconds`: how long was counted; the worst whole second is one of those.
std::string CountsJson(const Counts& counts, double seconds) {
  const uint64_t count = counts.latencies.count();
  std::string worst = "null";
  if (const auto whole = static_cast<size_t>(seconds); whole > 0 && count > 0) {
    std::vector<uint64_t> by_second = counts.by_second;
    by_second.resize(whole);
    worst = fmt::format("{}", *std::min_element(by_second.begin(), by_second.end()));
  }
  return fmt::format("{{\"count\":{},\"per_second\":{:.1f},\"worst_second\":{},{}}}", count,
                     static_cast<double>(count) / seconds, worst, LatenciesJson(counts.latencies));
}

/// Prints a line per group. Returns the exit code.
int PrintTraffic(const TrafficOptions& options, const TrafficResult& result) {
  bool good = true;
  for (size_t i = 0; i < options.groups.size(); ++i) {
    const GroupResult& group = result.groups[i];
    const std::string& name = options.groups[i].name;
    good &= group.errors == 0 && group.wrong_values == 0;
    if (!group.first_problem.empty()) fmt::print(stderr, "group {}: {}\n", name, group.first_problem);
    fmt::print(
        "{{\"group\":\"{}\",\"seconds\":{:.3f},\"wrong_values\":{},\"errors\":{},\"unsent\":{},"
        "\"reads\":{},\"writes\":{}}}\n",
        name, result.seconds, group.wrong_values, group.errors, group.unsent,
        CountsJson(group.reads, result.seconds), CountsJson(group.writes, result.seconds));
  }
  return good ? 0 : 1;
}

TrafficOptions ParseTraffic(Settings& settings) {
  TrafficOptions options;
  options.port = static_cast<uint16_t>(settings.Count("--port", 6379, 1, 65535));
  options.threads = static_cast<uint32_t>(settings.Count("--threads", 1, 1, 1024));
  options.seed = settings.Count("--seed", 1, 0);
  return options;
}

int Traffic(const TrafficOptions& options, Result<std::unique_ptr<Ledger>> ledger) {
  if (!ledger.ok()) Fail(ledger.status().message());
  const Result<TrafficResult> result = RunTraffic(options, **ledger);
  if (!result.ok()) Fail(result.status().message());
  return PrintTraffic(options, *result);
}

int Load(Settings& settings) {
  Population population;
  constexpr std::string_view kNames[] = {"string", "hash", "list"};
  for (int type = 0; type < kTypes; ++type) {
    population.counts[type] =
        settings.Count(fmt::format("--{}{}", kNames[type], type == 1 ? "es" : "s"), 0, 0, 1ull << 40);
  }
  population.shape.value_bytes =
      static_cast<uint32_t>(settings.Count("--value-bytes", 1024, kValueBytesMin, 64 << 20));
  population.shape.compressible = settings.Text("--compressible", "") == "yes";
  const std::string path = settings.Text("--ledger", "");
  TrafficOptions options = ParseTraffic(settings);
  options.seconds = 0;
  const uint64_t connections = settings.Count("--connections", 8, 1, 10000);
  const uint64_t pipeline = settings.Count("--pipeline", 16, 1, 10000);
  settings.ExpectEmpty();
  for (int type = 0; type < kTypes; ++type) {
    if (population.counts[type] == 0) continue;
    options.groups.push_back(
        ParseGroup(fmt::format("name={0},type={0},pattern=once,reads=0,connections={1},pipeline={2}",
                               kNames[type], connections, pipeline),
                   population));
  }
  if (options.groups.empty() || path.empty()) Fail("load what, and with which --ledger?");
  return Traffic(options, Ledger::Create(path, population));
}

int Run(Settings& settings, const std::vector<std::string>& specs) {
  TrafficOptions options = ParseTraffic(settings);
  options.seconds = settings.Number("--seconds", 10, 0, 1e6);
  options.warmup_seconds = settings.Number("--warmup", 0, 0, 1e6);
  const std::string path = settings.Text("--ledger", "");
  settings.ExpectEmpty();
  if (specs.empty() || path.empty()) Fail("run needs --ledger and a --group");
  Result<std::unique_ptr<Ledger>> ledger = Ledger::Open(path);
  if (!ledger.ok()) Fail(ledger.status().message());
  for (const std::string& spec : specs) options.groups.push_back(ParseGroup(spec, (*ledger)->population()));
  return Traffic(options, std::move(ledger));
}

int Probe(Settings& settings) {
  ProbeOptions options;
  options.path = settings.Text("--path", "");
  options.threads = static_cast<uint32_t>(settings.Count("--threads", options.threads, 1, 1024));
  options.read_bytes =
      static_cast<uint32_t>(settings.Count("--read-bytes", options.read_bytes, 512, 16 << 20));
  options.seconds = settings.Number("--seconds", options.seconds, 0, 1e6);
  options.seed = settings.Count("--seed", 1, 0);
  settings.ExpectEmpty();
  const Result<ProbeResult> result = RunProbe(options);
  if (!result.ok()) Fail(result.status().message());
  fmt::print("{{\"threads\":{},\"read_bytes\":{},\"seconds\":{:.3f},\"reads_per_second\":{:.1f},{}}}\n",
             options.threads, options.read_bytes, result->seconds,
             static_cast<double>(result->latencies.count()) / result->seconds,
             LatenciesJson(result->latencies));
  return 0;
}

int Main(int argc, char** argv) {
  const std::string_view call = argc > 1 ? argv[1] : "";
  Settings settings;
  std::vector<std::string> groups;
  for (int i = 2; i < argc; ++i) {
    const std::string name = argv[i];
    if (name == "--compressible") {
      settings.Set(name, "yes");
      continue;
    }
    if (name.substr(0, 2) != "--" || i + 1 == argc) Fail(name + ": an option without a value");
    const std::string value = argv[++i];
    if (name == "--group") {
      groups.push_back(value);
    } else {
      settings.Set(name, value);
    }
  }
  if (call == "load") return Load(settings);
  if (call == "run") return Run(settings, groups);
  if (call == "probe") return Probe(settings);
  fmt::print(call == "--help" || call == "help" ? stdout : stderr, "{}", kUsage);
  return call == "--help" || call == "help" ? 0 : 2;
}

}  // namespace
}  // namespace thermocline::loadgen

int main(int argc, char** argv) { return thermocline::loadgen::Main(argc, argv); }
