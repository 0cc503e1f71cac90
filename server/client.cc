#include "server/client.h"

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <new>

#include "encoding/check.h"

namespace thermocline {

namespace {

// One client's share of a turn: enough for a deep pipeline, little enough that the others do not wait for it.
constexpr size_t kReadBytesPerTurn = 256 << 10;
constexpr size_t kRequestsPerTurn = 1024;

}  // namespace

std::string BufferPool::Take() {
  if (free_.empty()) {
    std::string fresh;
    fresh.reserve(kBytes);
    return fresh;
  }
  std::string buffer = std::move(free_.back());
  free_.pop_back();
  return buffer;
}

void BufferPool::Give(std::string&& buffer) {
  if (free_.size() >= kFreeMax || buffer.capacity() < kBytes || buffer.capacity() > 2 * kBytes) {
    std::string().swap(buffer);
    return;
  }
  buffer.clear();
  free_.push_back(std::move(buffer));
  std::string().swap(buffer);
}

InputBuffer::~InputBuffer() { std::free(data_); }

std::span<char> InputBuffer::Space(size_t bytes) {
  if (begin_ > 0 && capacity_ - end_ < bytes) {
    std::memmove(data_, data_ + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
  }
  if (capacity_ - end_ < bytes) {
    const size_t capacity = end_ + bytes;
    auto* data = static_cast<char*>(std::realloc(data_, capacity));
    if (data == nullptr) throw std::bad_alloc();
    data_ = data;
    capacity_ = capacity;
  }
  return {data_ + end_, capacity_ - end_};
}

void InputBuffer::Release() {
  if (begin_ != end_) return;
  begin_ = end_ = 0;
  std::free(data_);
  data_ = nullptr;
  capacity_ = 0;
}

Client::~Client() {
  if (fd >= 0) close(fd);
}

void Client::ResetSession() {
  db = 0;
  protocol = 2;
  name.clear();
  no_evict = false;
  reply_mode = ReplyMode::kOn;
}

size_t Client::Read(const ParseLimits& limits, uint64_t query_bytes_max) {
  CHECK(!has_request());
  size_t total = 0;
  while (readable && total < kReadBytesPerTurn) {
    // A large argument gets its exact space at once; everything else is read in pieces of one buffer.
    const size_t have = input_.unread().size();
    const size_t wanted = parser_.idle() || parser_.wanted() <= have ? 0 : parser_.wanted() - have;
    const std::span<char> space = input_.Space(std::max(wanted, BufferPool::kBytes));
    const ssize_t n = recv(fd, space.data(), space.size(), 0);
    if (n > 0) {
      input_.Filled(static_cast<size_t>(n));
      total += static_cast<size_t>(n);
      // A short read has emptied the socket; the next byte will raise a new edge. But the edge of an end that
      // is there already has passed.
      if (static_cast<size_t>(n) < space.size() && !peer_closed) readable = false;
      continue;
    }
    if (n < 0 && errno == EINTR) continue;
    readable = false;
    if (n == 0 || (errno != EAGAIN && errno != EWOULDBLOCK)) end_of_stream = true;
  }
  ParseMore(limits);
  if (!has_request() && input_.unread().size() > query_bytes_max) close_now = true;
  return total;
}

bool Client::ParseMore(const ParseLimits& limits) {
  args_.clear();
  ends_.clear();
  next_request_ = 0;
  parser_.ReleaseWords();
  if (!protocol_error_.empty()) return false;
  // Before authentication each request may change the limits for the next.
  const size_t requests_max = limits.authenticated ? kRequestsPerTurn : 1;
  while (ends_.size() < requests_max && !input_.unread().empty()) {
    size_t consumed = 0;
    const size_t args = args_.size();
    const RespParser::Outcome outcome = parser_.Next(input_.unread(), limits, args_, consumed);
    if (outcome == RespParser::Outcome::kNeedMore) break;
    if (outcome == RespParser::Outcome::kError) {
      protocol_error_ = parser_.error();
      break;
    }
    input_.Consume(consumed);
    if (args_.size() > args) ends_.push_back(static_cast<uint32_t>(args_.size()));
  }
  if (ends_.empty()) input_.Release();
  return !ends_.empty();
}

size_t Client::PeekKeys(std::span<KeyHint> hints) const {
  size_t count = 0;
  for (size_t i = next_request_; i < ends_.size() && count < hints.size(); ++i) {
    const uint32_t begin = i == 0 ? 0 : ends_[i - 1], words = ends_[i] - begin;
    if (words < 2) continue;
    const std::string_view* word = &args_[begin];
    hints[count++] = {word[1], words > 2 ? word[2] : std::string_view(),
                      words > 3 ? word[3] : std::string_view()};
  }
  return count;
}

void Client::FailTurn(std::string_view error) {
  output_.resize(turn_mark_);
  ReplyWriter reply(output_, protocol);
  for (uint32_t i = 0; i < turn_replies; ++i) reply.Error(error);
}

bool Client::Flush() {
  while (sent_ < output_.size()) {
    const ssize_t n = send(fd, output_.data() + sent_, output_.size() - sent_, MSG_NOSIGNAL);
    if (n < 0) {
      if (errno == EINTR) continue;
      if (errno != EAGAIN && errno != EWOULDBLOCK) return false;
      // The peer reads slowly. What was sent need not be kept.
      if (sent_ > output_.size() / 2) {
        output_.erase(0, sent_);
        sent_ = 0;
      }
      return true;
    }
    sent_ += static_cast<size_t>(n);
  }
  sent_ = 0;
  pool_.Give(std::move(output_));
  output_ = std::string();
  return true;
}

}  // namespace thermocline
