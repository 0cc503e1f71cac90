#include "loadgen/traffic.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <ctime>
#include <deque>
#include <memory>
#include <thread>

#include <fmt/format.h>

#include "loadgen/reply.h"

namespace thermocline::loadgen {

namespace {

constexpr int64_t kSecondNs = 1'000'000'000;
// A request that the server has not answered so long after the end is an error.
constexpr int64_t kLastReplyNs = 60 * kSecondNs;
constexpr int64_t kWaitMaxNs = kSecondNs / 10;
constexpr size_t kInputBytes = 64 << 10;
// Keys of writes are drawn again when one has a write on its way; so often at most.
constexpr int kDrawsMax = 100;

int64_t NowNs() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * kSecondNs + now.tv_nsec;
}

Status SystemError(const char* what) {
  return {Code::kIoError, fmt::format("{}: {}", what, std::strerror(errno))};
}

/// What the threads share of one group.
struct Group {
  explicit Group(const GroupOptions& o) : options(o), pattern(o.pattern) {}
  const GroupOptions options;
  Pattern pattern;
};

struct Request {
  int64_t intended_ns;
  uint64_t key;
  uint32_t version;  ///< a write's own; of a read, what had been acknowledged when it was sent
  uint8_t replies;   ///< that are still to come
  bool write;
};

/// Invariant: `requests` are those without a complete reply, in the order of their sending.
struct Connection {
  int fd = -1;
  size_t group = 0;
  std::deque<Request> requests;
  std::vector<char> input;
  std::string output;
  size_t input_begin = 0, input_end = 0, output_begin = 0;
  int64_t next_ns = 0;  ///< intended time of the next request, with a rate
  int64_t interval_ns = 0;
  bool ended = false;           ///< the pattern gives no more
  bool waits_to_write = false;  ///< the socket is full
};

/// One thread with its connections. All members are that thread's own, but the ledger and the groups'
/// patterns.
class Worker {
 public:
  Worker(const TrafficOptions& options, std::vector<std::unique_ptr<Group>>& groups, Ledger& ledger,
         uint64_t seed)
      : options_(options), groups_(groups), ledger_(ledger), random_(seed), results_(groups.size()) {}
  ~Worker() {
    for (const auto& connection : connections_) close(connection->fd);
    if (epoll_ >= 0) close(epoll_);
  }

  /// `offset`: where in the group's interval the connection's requests are, with a rate; in [0, 1).
  Status Connect(size_t group, double offset);
  /// Sends and receives until the end.
  void Run(int64_t begin_ns);

  const Status& status() const { return status_; }
  const std::vector<GroupResult>& results() const { return results_; }
  int64_t ended_ns() const { return ended_ns_; }

 private:
  void Fill(Connection& c, int64_t now);
  bool AppendRequest(Connection& c, int64_t intended_ns);
  void Send(Connection& c);
  void Receive(Connection& c);
  void Complete(Connection& c, const Reply& reply, int64_t now);
  void CheckRead(const Connection& c, const Request& request, const Reply& reply);
  void CountUnanswered();
  int64_t WaitNs(int64_t now) const;
  bool Done(int64_t now) const;

  const TrafficOptions& options_;
  std::vector<std::unique_ptr<Group>>& groups_;
  Ledger& ledger_;
  Random random_;
  std::vector<GroupResult> results_;
  std::vector<std::unique_ptr<Connection>> connections_;
  int epoll_ = -1;
  int64_t counted_from_ns_ = 0, end_ns_ = 0, ended_ns_ = 0;
  Status status_;
};

Status Worker::Connect(size_t group, double offset) {
  if (epoll_ < 0) epoll_ = epoll_create1(EPOLL_CLOEXEC);
  if (epoll_ < 0) return SystemError("epoll");
  auto c = std::make_unique<Connection>();
  c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (c->fd < 0) return SystemError("socket");
  c->group = group;
  Connection& connection = *connections_.emplace_back(std::move(c));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(options_.port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (connect(connection.fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) {
    return SystemError("connect");
  }
  const int on = 1;
  setsockopt(connection.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.ptr = &connection;
  if (epoll_ctl(epoll_, EPOLL_CTL_ADD, connection.fd, &event) != 0) return SystemError("epoll");
  const GroupOptions& o = groups_[group]->options;
  if (o.rate > 0) {
    connection.interval_ns = static_cast<int64_t>(1e9 * o.connections / o.rate);
    connection.next_ns = static_cast<int64_t>(offset * static_cast<double>(connection.interval_ns));
  }
  return {};
}

void Worker::Run(int64_t begin_ns) {
  counted_from_ns_ = begin_ns + static_cast<int64_t>(options_.warmup_seconds * 1e9);
  end_ns_ =
      options_.seconds == 0 ? INT64_MAX : counted_from_ns_ + static_cast<int64_t>(options_.seconds * 1e9);
  for (const auto& c : connections_) c->next_ns += begin_ns;
  std::vector<epoll_event> events(connections_.size() + 1);
  int64_t now = NowNs();
  while (status_.ok()) {
    for (const auto& c : connections_) {
      if (c->requests.size() < groups_[c->group]->options.pipeline) Fill(*c, now);
    }
    now = NowNs();
    if (Done(now)) break;
    const int64_t wait_ns = WaitNs(now);
    const timespec timeout{wait_ns / kSecondNs, wait_ns % kSecondNs};
    const int count = epoll_pwait2(epoll_, events.data(), static_cast<int>(events.size()), &timeout, nullptr);
    if (count < 0 && errno != EINTR) status_ = SystemError("epoll");
    now = NowNs();
    for (int i = 0; i < count; ++i) {
      auto& c = *static_cast<Connection*>(events[static_cast<size_t>(i)].data.ptr);
      if (events[static_cast<size_t>(i)].events & EPOLLOUT) Send(c);
      if (events[static_cast<size_t>(i)].events & ~static_cast<uint32_t>(EPOLLOUT)) Receive(c);
    }
  }
  ended_ns_ = std::min(end_ns_, NowNs());
  CountUnanswered();
}

/// All that was sent is answered, or has waited too long, and nothing more is to be sent.
bool Worker::Done(int64_t now) const {
  if (end_ns_ != INT64_MAX && now >= end_ns_ + kLastReplyNs) return true;
  return std::all_of(connections_.begin(), connections_.end(),
                     [&](const auto& c) { return c->requests.empty() && (c->ended || now >= end_ns_); });
}

/// Until the next request with a rate is due.
int64_t Worker::WaitNs(int64_t now) const {
  int64_t wait_ns = kWaitMaxNs;
  for (const auto& c : connections_) {
    const bool due_later = c->interval_ns > 0 && c->requests.size() < groups_[c->group]->options.pipeline;
    if (due_later && c->next_ns < end_ns_) wait_ns = std::min(wait_ns, c->next_ns - now);
  }
  return std::max<int64_t>(wait_ns, 0);
}

/// Gives the connection as many requests as it may have on their way and as are due.
void Worker::Fill(Connection& c, int64_t now) {
  const GroupOptions& o = groups_[c.group]->options;
  while (c.requests.size() < o.pipeline && now < end_ns_ && !c.ended) {
    int64_t intended_ns = now;
    if (c.interval_ns > 0) {
      if (c.next_ns > now) break;
      intended_ns = c.next_ns;
      c.next_ns += c.interval_ns;
    }
    if (!AppendRequest(c, intended_ns)) break;
  }
  if (c.output_begin < c.output.size() && !c.waits_to_write) Send(c);
}

/// False when the pattern has come to its end.
bool Worker::AppendRequest(Connection& c, int64_t intended_ns) {
  Group& group = *groups_[c.group];
  const Type type = group.options.type;
  Request request{intended_ns, 0, 0, 1, random_.Unit() >= group.options.read_share};
  for (int draws = 0;; ++draws) {
    const std::optional<uint64_t> key = group.pattern.Next(random_);
    if (!key.has_value()) {
      c.ended = true;
      return false;
    }
    request.key = *key;
    if (!request.write) break;
    request.version = ledger_.BeginWrite(type, *key);
    if (request.version != 0) break;
    // All keys have a write on their way: few keys, or errors. A read does no harm.
    if (draws == kDrawsMax) request.write = false;
    if (!request.write) break;
  }
  if (request.write) {
    AppendWrite(type, request.key, request.version, ledger_.population().shape, &c.output, &request.replies);
  } else {
    request.version = ledger_.acknowledged(type, request.key);
    AppendRead(type, request.key, &c.output);
  }
  c.requests.push_back(request);
  return true;
}

void Worker::Send(Connection& c) {
  while (c.output_begin < c.output.size()) {
    const ssize_t sent = send(c.fd, c.output.data() + c.output_begin, c.output.size() - c.output_begin,
                              MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0 && errno != EAGAIN) {
      status_ = SystemError("send");
      return;
    }
    if (sent < 0) break;
    c.output_begin += static_cast<size_t>(sent);
  }
  const bool full = c.output_begin < c.output.size();
  if (!full) {
    c.output.clear();
    c.output_begin = 0;
  }
  if (full == c.waits_to_write) return;
  c.waits_to_write = full;
  epoll_event event{};
  event.events = EPOLLIN | (full ? EPOLLOUT : 0u);
  event.data.ptr = &c;
  if (epoll_ctl(epoll_, EPOLL_CTL_MOD, c.fd, &event) != 0) status_ = SystemError("epoll");
}

void Worker::Receive(Connection& c) {
  // What is left of an unfinished reply moves to the front; a reply that fills the buffer makes it grow.
  if (c.input_begin > 0)
    std::memmove(c.input.data(), c.input.data() + c.input_begin, c.input_end - c.input_begin);
  c.input_end -= c.input_begin;
  c.input_begin = 0;
  if (c.input.size() - c.input_end < kInputBytes) c.input.resize(2 * c.input.size() + kInputBytes);
  const ssize_t got = recv(c.fd, c.input.data() + c.input_end, c.input.size() - c.input_end, MSG_DONTWAIT);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got <= 0) {
    status_ = got == 0 ? Status(Code::kIoError, "the server closed a connection") : SystemError("recv");
    return;
  }
  c.input_end += static_cast<size_t>(got);
  const int64_t now = NowNs();
  thread_local Reply reply;
  while (c.input_begin < c.input_end) {
    const std::string_view input(c.input.data() + c.input_begin, c.input_end - c.input_begin);
    const ptrdiff_t bytes = ParseReply(input, &reply);
    if (bytes == 0) break;
    if (bytes < 0 || c.requests.empty()) {
      status_ = Status(Code::kIoError, "the server sent something that is no reply");
      return;
    }
    Complete(c, reply, now);
    c.input_begin += static_cast<size_t>(bytes);
  }
}

void Worker::Complete(Connection& c, const Reply& reply, int64_t now) {
  GroupResult& result = results_[c.group];
  Request& request = c.requests.front();
  const bool error = reply.kind == Reply::Kind::kError;
  if (error) {
    ++result.errors;
    if (result.first_problem.empty()) result.first_problem = fmt::format("error reply: {}", reply.text);
  }
  if (--request.replies > 0) return;
  if (request.write && !error) ledger_.EndWrite(groups_[c.group]->options.type, request.key, request.version);
  if (!request.write && !error) CheckRead(c, request, reply);
  if (now >= counted_from_ns_ && now < end_ns_) {
    Counts& counts = request.write ? result.writes : result.reads;
    counts.latencies.Record(static_cast<uint64_t>(std::max<int64_t>(now - request.intended_ns, 0)));
    const auto second = static_cast<size_t>((now - counted_from_ns_) / kSecondNs);
    if (counts.by_second.size() <= second) counts.by_second.resize(second + 1);
    ++counts.by_second[second];
  }
  c.requests.pop_front();
}

void Worker::CheckRead(const Connection& c, const Request& request, const Reply& reply) {
  const Type type = groups_[c.group]->options.type;
  const std::optional<uint32_t> version =
      VersionInReply(type, request.key, reply, ledger_.population().shape);
  const uint32_t sent = ledger_.sent(type, request.key);
  if (version.has_value() && *version >= request.version && *version <= sent) return;
  GroupResult& result = results_[c.group];
  ++result.wrong_values;
  if (!result.first_problem.empty()) return;
  result.first_problem = fmt::format(
      "key {} of type {}: {} where one of versions {} to {} was expected", request.key,
      static_cast<int>(type), version.has_value() ? fmt::format("version {}", *version) : "damaged bytes",
      request.version, sent);
}

void Worker::CountUnanswered() {
  for (const auto& c : connections_) {
    GroupResult& result = results_[c->group];
    result.errors += c->requests.size();
    if (!c->requests.empty() && result.first_problem.empty())
      result.first_problem = "requests without a reply";
    if (c->interval_ns > 0 && c->next_ns < end_ns_ && end_ns_ != INT64_MAX) {
      result.unsent += static_cast<uint64_t>((end_ns_ - c->next_ns) / c->interval_ns);
    }
  }
}

}  // namespace

void Counts::Merge(const Counts& other) {
  latencies.Merge(other.latencies);
  if (by_second.size() < other.by_second.size()) by_second.resize(other.by_second.size());
  for (size_t i = 0; i < other.by_second.size(); ++i) by_second[i] += other.by_second[i];
}

void GroupResult::Merge(const GroupResult& other) {
  reads.Merge(other.reads);
  writes.Merge(other.writes);
  errors += other.errors;
  wrong_values += other.wrong_values;
  unsent += other.unsent;
  if (first_problem.empty()) first_problem = other.first_problem;
}

Result<TrafficResult> RunTraffic(const TrafficOptions& options, Ledger& ledger) {
  std::vector<std::unique_ptr<Group>> groups;
  for (const GroupOptions& group : options.groups) groups.push_back(std::make_unique<Group>(group));
  std::vector<std::unique_ptr<Worker>> workers;
  for (uint32_t i = 0; i < options.threads; ++i) {
    workers.push_back(std::make_unique<Worker>(options, groups, ledger, Mix(options.seed) + i));
  }
  size_t next_worker = 0;
  for (size_t group = 0; group < groups.size(); ++group) {
    const uint32_t connections = groups[group]->options.connections;
    for (uint32_t i = 0; i < connections; ++i) {
      Worker& worker = *workers[next_worker++ % workers.size()];
      if (Status s = worker.Connect(group, static_cast<double>(i) / connections); !s.ok()) return s;
    }
  }
  const int64_t begin_ns = NowNs();
  std::vector<std::thread> threads;
  for (const auto& worker : workers) threads.emplace_back([&worker, begin_ns] { worker->Run(begin_ns); });
  for (std::thread& thread : threads) thread.join();

  TrafficResult result;
  result.groups.resize(groups.size());
  int64_t ended_ns = begin_ns;
  for (const auto& worker : workers) {
    if (!worker->status().ok()) return worker->status();
    ended_ns = std::max(ended_ns, worker->ended_ns());
    for (size_t i = 0; i < groups.size(); ++i) result.groups[i].Merge(worker->results()[i]);
  }
  result.seconds = static_cast<double>(ended_ns - begin_ns) / 1e9 - options.warmup_seconds;
  return result;
}

}  // namespace thermocline::loadgen
