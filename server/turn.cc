// The loop of the keyspace thread and its turn: take in, read, execute, commit once, publish.

#include <algorithm>

#include "server/network.h"

namespace thermocline {

namespace {

// A turn is bounded, so that a flood delays nobody for long.
constexpr size_t kRequestsPerClient = 1024;
constexpr uint64_t kTurnUsMax = 5000;
// Nor does one without writes, of which nothing is won by its length, keep its first replies for long: beside
// many cold reads a hot one waits no longer than it must.
constexpr uint64_t kReadTurnUsMax = 150;
// Cold clients (Client::cold) are served behind the others, for half as long as these took, or for this long:
// a turn is at most so much longer for them.
constexpr uint64_t kColdUsMin = 15;
// Where nobody else has asked for anything so long, they wait for nobody.
constexpr uint64_t kNoHotUs = 1000;
// A pipeline of large replies is sent, and measured against its limit, before more of it is copied.
constexpr size_t kReplyBytesPerClient = 1 << 20;
constexpr size_t kBatchBytesMax = 8 << 20;
constexpr int kStallRetryMs = 2;
constexpr uint64_t kRecoverUs = 500'000;
constexpr uint64_t kStreamIdleUs = 60'000'000;

}  // namespace

int Server::Run() {
  while (!shutdown_.load(std::memory_order_relaxed)) {
    const std::span<const ReadySet::Event> events = ready_set_.Poll(HasWork() ? 0 : SleepMs());
    turn_us_ = clock_us_ = clock_.MonotonicUs();
    if (accepted_.exchange(false)) AcceptClients();
    if (turn_us_ >= next_cron_us_) Cron();
    for (const ReadySet::Event& event : events) {
      Client& client = *static_cast<Client*>(event.owner);
      if (event.peer_closed) client.peer_closed = true;
      if (event.readable && !client.readable) {
        client.readable = true;
        if (!client.has_request()) MakeReadable(client);
      }
      if (event.writable && client.unsent_bytes() > 0 && !client.in_turn && !client.held) {
        Send(client);
      }
      if (event.hung_up && client.suspended()) client.end_of_stream = true;
      // It will not take its element, which stays for another.
      if (event.peer_closed && client.blocked != nullptr) Kill(client, /*after_reply=*/false);
    }
    Turn();
  }
  return 0;
}

/// Sends what the client has outside of a turn: the socket takes more again.
void Server::Send(Client& client) {
  if (!client.Flush()) client.close_now = true;
  if (client.more_to_send) to_send_.push_back(&client);
  GoOnStreaming(client);
  if (client.close_now || client.close_after_reply) doomed_.push_back(&client);
}

/// How long to sleep when there is nothing to do.
int Server::SleepMs() const {
  if (keyspace_->stalled()) return kStallRetryMs;
  uint64_t until_us = next_cron_us_;
  if (const uint64_t deadline_us = blocked_.next_deadline_us()) until_us = std::min(until_us, deadline_us);
  const uint64_t now_us = clock_.MonotonicUs();
  return until_us <= now_us ? 1 : static_cast<int>((until_us - now_us) / 1000 + 1);
}

void Server::Turn() {
  ++stats_.turns;
  PaceReads();
  keyspace_->TakeIn();
  if (keyspace_->stalled()) {
    const Keyspace::Committed committed = keyspace_->RetryCommit();
    if (committed == Keyspace::Committed::kFailed) FailTurn(held_clients_);
    if (committed != Keyspace::Committed::kStalled) Publish(held_clients_);
  } else if (!keyspace_->writable() && turn_us_ >= next_recover_us_) {
    next_recover_us_ = turn_us_ + kRecoverUs;
    if (keyspace_->TryRecover()) log_.Notice("The store is writable again");
  }
  TakeReadyClients();
  EndExpiredBlocking();
  for (Client* client : std::exchange(to_send_, {})) {
    // What it has in this turn is sent with the turn.
    if (client->more_to_send && !client->in_turn && !client->held) Send(*client);
  }
  if (turn_us_ - hot_us_ > kNoHotUs) ServeColdAsOthers();
  ReadClients();
  ExecuteClients();
  ServeCold();
  keyspace_->StartReads();
  CommitAndPublish();
  CloseDoomed();
  ListenToKeys();
  housekeeping_ = keyspace_->Housekeeping();
  RunEffects(nullptr, nullptr);  // what has expired
  if (blocked_.has_ready()) ServeBlocked();
  keyspace_->StartReads();
  for (std::string& buffer : buffers_.TakeLarge()) keyspace_->FreeElsewhere(std::move(buffer));
}

/// Looks whether cold reads take the cores that hot commands need.
void Server::PaceReads() {
  if (turn_us_ - read_pace_.looked_us() < ReadPace::kWindowUs) return;
  const std::optional<RunDelay::Reading> run_delay = run_delay_.Read();
  if (!run_delay) return;
  keyspace_->PaceReads(read_pace_.Look({.us = turn_us_,
                                        .run_delay = *run_delay,
                                        .commands = stats_.commands_processed,
                                        .hot_commands = options().io_readers_pace ? hot_commands_ : 0,
                                        .reads = keyspace_->stats().faults}));
}

void Server::TakeReadyClients() {
  keyspace_->TakeReady(&ready_waiters_);
  for (Waiter* waiter : ready_waiters_) {
    Client& client = static_cast<Client&>(*waiter);
    if (client.close_now) {
      doomed_.push_back(&client);
      continue;
    }
    MakeRunnable(client);
  }
  ready_waiters_.clear();
}

ParseLimits Server::Limits(const Client& client) const {
  ParseLimits limits;
  limits.bulk_bytes_max = options().bulk_bytes_max;
  limits.authenticated = client.authenticated;
  return limits;
}

/// The client has a request to execute.
void Server::MakeRunnable(Client& client) {
  if (client.runnable) return;
  client.runnable = true;
  (client.cold() ? cold_ : runnable_).push_back(&client);
}

/// The client has no request; its socket may have.
void Server::MakeReadable(Client& client) {
  if (client.cold()) return MakeRunnable(client);
  to_read_.push_back(&client);
}

/// Reads what the client's socket has. True: there is something to execute.
bool Server::ReadClient(Client& client) {
  if (client.close_now || client.has_request() || client.suspended()) return false;
  stats_.bytes_received += client.Read(Limits(client), options().query_buffer_bytes_max);
  client.last_active_us = turn_us_;
  if (client.close_now) {
    ++stats_.input_limit_closes;
    log_.Warning("Client id=" + std::to_string(client.id) + " addr=" + client.address +
                 " closed: its request is larger than client-query-buffer-limit");
    doomed_.push_back(&client);
    return false;
  }
  return client.has_request() || client.end_of_stream || !client.protocol_error().empty();
}

void Server::ReadClients() {
  for (Client* client : to_read_) {
    if (ReadClient(*client)) MakeRunnable(*client);
  }
  // Those that had more than a turn's share stay in the list.
  std::erase_if(to_read_, [](const Client* client) { return !client->readable || client->has_request(); });
}

void Server::ExecuteClients() {
  std::vector<Client*> now;
  now.swap(runnable_);
  for (size_t i = 0; i < now.size(); ++i) {
    if (i % HotTier::kPrefetchMax == 0) PrefetchFirstKeys(std::span(now).subspan(i));
    now[i]->runnable = false;
    clock_us_ = clock_.MonotonicUs();
    const uint64_t turn_us_max = keyspace_->pending() ? kTurnUsMax : kReadTurnUsMax;
    if (clock_us_ - turn_us_ > turn_us_max || keyspace_->pending_bytes() > kBatchBytesMax) {
      for (; i < now.size(); ++i) {
        now[i]->runnable = true;
        runnable_.push_back(now[i]);
      }
      break;
    }
    if (!now[i]->cold()) hot_us_ = turn_us_;
    ExecuteClient(*now[i]);
  }
  if (runnable_.empty()) {
    now.clear();
    runnable_.swap(now);  // keeps its capacity
  }
}

/// Reads, executes and answers cold clients, once the others have their replies.
void Server::ServeCold() {
  if (cold_.empty()) return;
  if (!keyspace_->pending()) CommitAndPublish();
  const uint64_t began_us = clock_us_ = clock_.MonotonicUs();
  const uint64_t us_max = std::max((began_us - turn_us_) / 2, kColdUsMin);
  size_t i = 0;
  for (const size_t count = cold_.size(); i < count && (i == 0 || clock_us_ - began_us < us_max); ++i) {
    Client& client = *cold_[i];
    client.runnable = false;
    if (client.has_request() || ReadClient(client)) {
      ExecuteClient(client);
      if (!keyspace_->pending()) CommitAndPublish();
    } else if (client.readable && !client.close_now) {
      MakeRunnable(client);
    }
    clock_us_ = clock_.MonotonicUs();
  }
  cold_.erase(cold_.begin(), cold_.begin() + static_cast<ptrdiff_t>(i));
}

/// Nobody else has asked for anything: the cold clients are served side by side as the others would be.
void Server::ServeColdAsOthers() {
  for (Client* client : cold_) {
    if (client->has_request()) {
      runnable_.push_back(client);
    } else {
      client->runnable = false;
      to_read_.push_back(client);
    }
  }
  cold_.clear();
}

/// Clients that send one command at a time: their look-ups gain from each other's company too.
void Server::PrefetchFirstKeys(std::span<Client* const> clients) {
  KeyHint hints[HotTier::kPrefetchMax];
  size_t count = 0;
  for (const Client* client : clients.subspan(0, std::min(clients.size(), HotTier::kPrefetchMax))) {
    if (client->db == clients[0]->db) count += client->PeekKeys({&hints[count], 1});
  }
  if (count > 1) keyspace_->WillUse(clients[0]->db, {hints, count});
}

void Server::ExecuteClient(Client& client) {
  if (client.held || client.paused || client.suspended()) return;
  const size_t output_before = client.output_size();
  for (size_t requests = 0;; ++requests) {
    if (client.close_now || client.close_after_reply) {
      doomed_.push_back(&client);
      return;
    }
    if (!client.has_request()) {
      if (!client.ParseMore(Limits(client))) break;
      clock_us_ = clock_.MonotonicUs();  // the parsing is not the next command's
    }
    if (requests % HotTier::kPrefetchMax == 0) {
      KeyHint hints[HotTier::kPrefetchMax];
      if (const size_t count = client.PeekKeys(hints); count > 1)
        keyspace_->WillUse(client.db, {hints, count});
    }
    const bool late = requests > 0 && clock_us_ - turn_us_ > kTurnUsMax;
    if (late || requests == kRequestsPerClient || keyspace_->pending_bytes() > kBatchBytesMax ||
        client.output_size() > output_before + kReplyBytesPerClient) {
      return MakeRunnable(client);
    }
    const Step step = ExecuteRequest(client);
    if (step == Step::kDone) client.NextRequest();
    if (client.blocked != nullptr && !client.suspended()) ContinueLine(client);
    if (blocked_.has_ready()) ServeBlocked();
    if (step == Step::kWait) return;
  }
  if (!client.protocol_error().empty()) {
    ++stats_.protocol_errors;
    AddToTurn(client);
    ReplyWriter(client.output(), client.protocol).Error("ERR " + client.protocol_error());
    ++client.turn_replies;
    client.close_after_reply = true;
  } else if (client.end_of_stream) {
    client.close_after_reply = true;
  } else if (client.readable) {
    MakeReadable(client);
  }
  if (client.close_after_reply) doomed_.push_back(&client);
}

void Server::AddToTurn(Client& client) {
  if (client.in_turn) return;
  client.in_turn = true;
  client.turn_replies = 0;
  client.BeginTurn();
  turn_clients_.push_back(&client);
}

void Server::CommitAndPublish() {
  // While an earlier turn's commit is stalled nothing is written, and this turn's replies show nothing of it.
  if (keyspace_->stalled() && !held_clients_.empty()) return Publish(turn_clients_);
  switch (keyspace_->Commit()) {
    case Keyspace::Committed::kYes: break;
    case Keyspace::Committed::kStalled:
      for (Client* client : turn_clients_) client->held = true;
      held_clients_.swap(turn_clients_);
      return;
    case Keyspace::Committed::kFailed: FailTurn(turn_clients_); break;
  }
  Publish(turn_clients_);
}

void Server::FailTurn(std::vector<Client*>& clients) {
  log_.Warning("A commit failed, writes are refused until the store is writable again: " +
               keyspace_->failure().message());
  const std::string error = "MISCONF Errors writing to the log: " + keyspace_->failure().message();
  for (Client* client : clients) client->FailTurn(error);
  next_recover_us_ = turn_us_ + kRecoverUs;
}

void Server::Publish(std::vector<Client*>& clients) {
  std::vector<Client*> publish;
  publish.swap(clients);
  // Whoever has waited hears of it before those who only get their reply: Redis's order, and each send costs
  // the next.
  if (std::exchange(woken_, false)) {
    std::stable_partition(publish.begin(), publish.end(), [](const Client* client) { return client->woken; });
  }
  for (Client* client : publish) {
    client->in_turn = false;
    client->woken = false;
    if (client->held) {
      client->held = false;
      MakeRunnable(*client);
    }
    if (client->fd < 0) continue;
    const size_t before = client->unsent_bytes();
    if (!client->Flush()) client->close_now = true;
    if (client->more_to_send) to_send_.push_back(client);
    stats_.bytes_sent += before - client->unsent_bytes();
    GoOnStreaming(*client);
    if (client->close_now || client->close_after_reply) {
      doomed_.push_back(client);
    } else if (client->unsent_bytes() > 0) {
      CheckOutputLimit(*client);
    }
  }
  publish.clear();
  if (clients.empty()) clients.swap(publish);  // keeps its capacity
}

void Server::Cron() {
  next_cron_us_ =
      clock_.MonotonicUs() + 1'000'000 / static_cast<uint64_t>(std::max<int64_t>(1, options().hz));
  keyspace_->Tick();
  LookAtMemory();
  const uint64_t now = clock_.MonotonicUs();
  commands_rate_.Sample(now, stats_.commands_processed);
  bytes_received_rate_.Sample(now, stats_.bytes_received);
  bytes_sent_rate_.Sample(now, stats_.bytes_sent);
  if (pause_mode_ != PauseMode::kNone && now >= pause_until_us_) Unpause();
  const auto timeout_us = static_cast<uint64_t>(options().timeout_seconds) * 1000000;
  // A long reply that is not taken holds a snapshot, and that keeps the disk from being cleaned up.
  const uint64_t stream_us = timeout_us > 0 ? std::min(timeout_us, kStreamIdleUs) : kStreamIdleUs;
  // A share of the clients each time, so that ten thousand idle ones cost no visible pause.
  for (size_t n = std::min<size_t>(clients_.size(), std::max<size_t>(clients_.size() / 10, 50)); n > 0; --n) {
    clients_.splice(clients_.end(), clients_, clients_.begin());
    Client& client = *clients_.back();
    // Those who wait for something to be sent to them are not idle.
    const bool waits =
        client.suspended() || client.blocked != nullptr || client.subscriptions.any() || client.monitor;
    if (timeout_us > 0 && !waits && !client.in_turn && now - client.last_active_us > timeout_us) {
      client.close_now = true;
      doomed_.push_back(&client);
    } else if (client.stream != nullptr && client.stream->waits &&
               now - client.stream->progress_us > stream_us) {
      log_.Warning("Client id=" + std::to_string(client.id) + " addr=" + client.address +
                   " closed: it has stopped taking a long reply");
      client.close_now = true;
      doomed_.push_back(&client);
    } else if (client.unsent_bytes() > 0) {
      CheckOutputLimit(client);
    }
  }
}

}  // namespace thermocline
