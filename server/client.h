#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/hot_tier.h"
#include "engine/waiter.h"
#include "server/blocked_clients.h"
#include "server/pubsub.h"
#include "server/reply.h"
#include "server/resp_parser.h"
#include "server/transaction.h"
#include "server/watchers.h"

namespace thermocline {

struct Command;

/// Buffers that clients share: a client holds one only while it has bytes in it, so that an idle connection
/// costs next to nothing.
class BufferPool {
 public:
  std::string Take();
  void Give(std::string&& buffer);
  size_t held_bytes() const { return free_.size() * kBytes; }
  /// Buffers of long replies, which take milliseconds to free: for a thread that has the time.
  std::vector<std::string> TakeLarge() { return std::exchange(large_, {}); }

  static constexpr size_t kBytes = 16 << 10;

 private:
  static constexpr size_t kFreeMax = 128;
  static constexpr size_t kLargeBytes = 4 << 20;
  std::vector<std::string> free_;
  std::vector<std::string> large_;
};

/// Bytes from the socket that are not executed yet. Views into it stay valid until the next Read or Drop.
class InputBuffer {
 public:
  ~InputBuffer();
  InputBuffer() = default;
  InputBuffer(const InputBuffer&) = delete;
  InputBuffer& operator=(const InputBuffer&) = delete;

  std::string_view unread() const { return {data_ + begin_, end_ - begin_}; }
  size_t capacity() const { return capacity_; }
  void Consume(size_t bytes) { begin_ += bytes; }
  /// Space for at least `bytes` more behind the unread ones.
  std::span<char> Space(size_t bytes);
  void Filled(size_t bytes) { end_ += bytes; }
  /// Frees the memory when nothing is left in it.
  void Release();

 private:
  char* data_ = nullptr;
  size_t begin_ = 0, end_ = 0, capacity_ = 0;
};

/// A reply that is read and sent in pieces (streaming.cc).
struct ReplyStream {
  std::string piece;         ///< belongs to the reader thread while it reads
  Status status;             ///< likewise
  bool begun = false;        ///< part of the reply is in the output, or sent
  bool waits = false;        ///< a piece was handed over; the next is read once the client has taken it
  uint64_t progress_us = 0;  ///< when it began to wait, monotonic
  std::string behind;        ///< messages to the client, which come after the reply
};

/// One connection: its socket, its session, its requests and its replies. Three stages use it one after the
/// other and share only what is named here: reading fills `requests`, executing empties them and appends to
/// the output, writing sends what the turn has published.
class Client final : public Waiter, public Session {
 public:
  Client(uint64_t id, int fd, BufferPool& pool) : id(id), fd(fd), pool_(pool) {}
  ~Client() override;

  // -- Identity (set when it connects)
  const uint64_t id;
  int fd;               ///< -1: closed
  std::string address;  ///< "127.0.0.1:4711", or the path of the Unix socket with ":0"
  std::string local_address;
  bool unix_socket = false;
  uint64_t connected_at_us = 0;
  uint64_t last_active_us = 0;

  // -- Session (executing); more of it in Session
  std::unique_ptr<Transaction> transaction;  ///< MULTI is open
  std::vector<WatchedKey> watched;           ///< see Watchers
  bool watch_broken = false;                 ///< a watched key has changed
  Subscriptions subscriptions;               ///< see PubSub
  /// In RESP2 it cannot tell replies from messages, so that hardly any command is allowed.
  bool only_subscribed() const { return protocol == 2 && subscriptions.any(); }
  std::unique_ptr<Blocked> blocked;  ///< see BlockedClients
  /// Its command has run and found nothing, and waits.
  bool has_blocked() const { return blocked != nullptr && !blocked->undecided; }
  bool monitor = false;  ///< see Monitors
  const Command* last_command = nullptr;
  bool close_after_reply = false;  ///< no further request is executed; closed once the output is sent
  bool close_now = false;          ///< closed at the end of the turn, without sending
  bool paused = false;             ///< waits for the end of CLIENT PAUSE

  /// Back to a fresh connection, as RESET does.
  void ResetSession();

  // -- Reading
  bool readable = false;       ///< the socket may have more
  bool peer_closed = false;    ///< the end of the stream is in the socket, behind what is left to read
  bool end_of_stream = false;  ///< the peer sends no more, or the connection broke

  /// Reads what the socket has, up to a limit for one turn, and cuts it into requests. Returns the bytes
  /// read. REQUIRES no requests left.
  size_t Read(const ParseLimits& limits, uint64_t query_bytes_max);
  bool has_request() const { return next_request_ < ends_.size(); }
  /// The request to execute; valid until NextRequest finds no more and Read is called.
  std::span<const std::string_view> request() const {
    const uint32_t begin = next_request_ == 0 ? 0 : ends_[next_request_ - 1];
    return {args_.data() + begin, ends_[next_request_] - begin};
  }
  void NextRequest() { ++next_request_; }
  /// The second words of the next requests, mostly their keys. Returns how many were written to `hints`.
  size_t PeekKeys(std::span<KeyHint> hints) const;
  /// Parses more of what was read already; true when that gave requests.
  bool ParseMore(const ParseLimits& limits);
  /// The stream is broken: the text of the error to reply with before closing. Empty: it is fine.
  const std::string& protocol_error() const { return protocol_error_; }
  size_t input_bytes() const { return input_.unread().size(); }
  size_t input_capacity() const { return input_.capacity(); }

  // -- Replies

  /// The output that the current command writes to.
  std::string& output() {
    if (output_.empty() && output_.capacity() < 32) output_ = pool_.Take();
    return output_;
  }
  size_t output_size() const { return output_.size(); }
  size_t unsent_bytes() const { return output_.size() - sent_; }
  void TruncateOutput(size_t size) { output_.resize(size); }

  /// The first reply of a turn marks where the turn's replies begin.
  void BeginTurn() { turn_mark_ = output_.size(); }
  uint32_t turn_replies = 0;  ///< commands that have replied in this turn
  bool in_turn = false;       ///< it is in the server's list of clients with replies to publish
  bool woken = false;         ///< some of them end a wait in a blocking command
  bool held = false;          ///< its replies wait for a stalled commit
  bool runnable = false;      ///< it is in the server's list of clients with requests
  /// Puts an error in the place of each reply of the turn.
  void FailTurn(std::string_view error);
  /// Sends what is published, up to a limit for one turn. False: the connection broke.
  bool Flush();
  bool more_to_send = false;  ///< Flush stopped at its limit: the socket may take more
  uint64_t over_soft_limit_since_us = 0;

  // -- Waiting
  uint64_t waiting_since_us = 0;  ///< for a cold read, monotonic; 0: it does not
  /// Until its command has run again, and so knows whether it has to read more.
  bool waits_for_disk() const { return suspended() || waiting_since_us != 0; }
  /// It asks for what is on disk: one of its last commands has waited for a read. Others go before it.
  bool cold() const { return commands_until_hot_ > kCommandsUntilHot - kCommandsCold; }
  /// As cold(), but what changes something counts too: the next command may well wait for a read as well.
  bool may_wait() const { return commands_until_hot_ > kCommandsUntilHot - 2 * kCommandsCold; }
  /// It has asked for nothing on disk for long.
  bool hot() const { return commands_until_hot_ == 0; }
  /// A command of its has to wait for a cold read. `only_reads`: it changes nothing.
  void Waits(bool only_reads) {
    commands_until_hot_ = only_reads ? kCommandsUntilHot : kCommandsUntilHot - kCommandsCold;
  }
  /// A command of its is through. `waited`: for a cold read.
  void Through(bool waited) {
    if (!waited && commands_until_hot_ > 0) --commands_until_hot_;
  }
  /// Writes the reply of a command that ran on a reader thread; set while that is under way or done.
  std::function<void(ReplyWriter&)> offload_finish;
  std::shared_ptr<ReplyStream> stream;  ///< nullptr: none is under way
  /// What a reader thread has prepared for the command that is to run again (CommandContext::Prepare).
  std::shared_ptr<void> prepared;

 private:
  // A client all over the data finds some of it in RAM by luck.
  static constexpr uint8_t kCommandsCold = 8;
  static constexpr uint8_t kCommandsUntilHot = 64;

  BufferPool& pool_;
  InputBuffer input_;
  RespParser parser_;
  std::vector<std::string_view> args_;  ///< of all parsed requests, one behind the other
  std::vector<uint32_t> ends_;          ///< of each request, in args_
  size_t next_request_ = 0;
  std::string protocol_error_;
  std::string output_;
  size_t sent_ = 0;
  size_t turn_mark_ = 0;
  uint8_t commands_until_hot_ = 0;  ///< that must not wait; 0: it is hot
};

}  // namespace thermocline
