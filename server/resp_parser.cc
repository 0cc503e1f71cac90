#include "server/resp_parser.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "encoding/numbers.h"
#include "server/split_args.h"

namespace thermocline {
namespace {

/// The longest line (inline request, count or length) that may arrive without its end.
constexpr size_t kLineBytesMax = 64 * 1024;
constexpr int64_t kArgsMaxBeforeAuth = 10;
constexpr int64_t kBulkBytesMaxBeforeAuth = 16384;

/// memchr from offset `from`; npos when the byte is not there.
size_t FindByte(std::string_view input, size_t from, char byte) {
  if (from >= input.size()) return std::string_view::npos;
  const void* hit = std::memchr(input.data() + from, byte, input.size() - from);
  return hit == nullptr ? std::string_view::npos : static_cast<const char*>(hit) - input.data();
}

}  // namespace

RespParser::Outcome RespParser::Fail(std::string text) {
  state_ = State::kFailed;
  error_ = "Protocol error: " + std::move(text);
  seen_ = {};
  return Outcome::kError;
}

RespParser::Outcome RespParser::SuspendArgs(std::string_view input, size_t first, size_t wanted,
                                            std::vector<std::string_view>& args) {
  // Each finished argument is moved here once, so that a request in many small pieces stays linear.
  for (size_t i = first; i < args.size(); i++) {
    seen_.push_back({static_cast<size_t>(args[i].data() - input.data()), args[i].size()});
  }
  args.resize(first);
  wanted_ = wanted;
  return Outcome::kNeedMore;
}

/// Reads the number behind the '*' or '$' at `at`; on kNumber and kInvalid `at` moves behind the line.
RespParser::Line RespParser::ReadLength(std::string_view input, size_t& at, int64_t& value) {
  // Nearly every line is a few digits and CR LF, whole in the buffer.
  const char* digit = input.data() + at + 1;
  const char* const end = input.data() + input.size();
  if (digit < end && *digit >= '1' && *digit <= '9') {
    int64_t number = 0;
    const char* const digits_end = end - digit > 10 ? digit + 10 : end;
    while (digit < digits_end && *digit >= '0' && *digit <= '9') number = number * 10 + (*digit++ - '0');
    if (end - digit >= 2 && *digit == '\r') {
      at = digit + 2 - input.data();
      value = number;
      return Line::kNumber;
    }
  }
  const size_t line_end = FindByte(input, std::max(scanned_, at), '\r');
  if (line_end == std::string_view::npos || line_end + 1 == input.size()) {
    scanned_ = line_end == std::string_view::npos ? input.size() : line_end;
    return Line::kIncomplete;
  }
  // The line may be empty; its first byte is the caller's to check.
  const bool valid = line_end > at && ParseInt64(input.substr(at + 1, line_end - at - 1), &value);
  at = line_end + 2;
  return valid ? Line::kNumber : Line::kInvalid;
}

RespParser::Outcome RespParser::Next(std::string_view input, const ParseLimits& limits,
                                     std::vector<std::string_view>& args, size_t& consumed) {
  consumed = 0;
  if (state_ == State::kFailed) return Outcome::kError;
  if (state_ == State::kStart) {
    if (input.empty()) {
      wanted_ = 1;
      return Outcome::kNeedMore;
    }
    state_ = input[0] == '*' ? State::kArgCount : State::kInline;
    at_ = 0;
    scanned_ = 0;
  }
  if (state_ == State::kInline) return NextInline(input, args, consumed);

  if (state_ == State::kArgCount) {
    const Outcome outcome = ReadCount(input, limits);
    if (outcome != Outcome::kRequest) return outcome;
    if (args_left_ == 0) {
      state_ = State::kStart;
      consumed = at_;
      return Outcome::kRequest;
    }
  }
  return NextArgs(input, limits, args, consumed);
}

RespParser::Outcome RespParser::ReadCount(std::string_view input, const ParseLimits& limits) {
  size_t at = 0;
  int64_t count = 0;
  const Line line = ReadLength(input, at, count);
  if (line == Line::kIncomplete) {
    // A line whose CR is already there is not too long: only its last byte is missing.
    if (scanned_ == input.size() && input.size() > kLineBytesMax) return Fail("too big mbulk count string");
    wanted_ = input.size() + 1;
    return Outcome::kNeedMore;
  }
  if (line == Line::kInvalid || count > limits.args_max) return Fail("invalid multibulk length");
  if (count > kArgsMaxBeforeAuth && !limits.authenticated) return Fail("unauthenticated multibulk length");
  args_left_ = count > 0 ? static_cast<size_t>(count) : 0;
  state_ = State::kArgLength;
  at_ = at;
  scanned_ = 0;
  return Outcome::kRequest;
}

RespParser::Outcome RespParser::NextArgs(std::string_view input, const ParseLimits& limits,
                                         std::vector<std::string_view>& args, size_t& consumed) {
  const size_t first = args.size();
  size_t at = at_;
  while (true) {
    if (state_ == State::kArgLength) {
      at_ = at;
      if (at >= input.size()) return SuspendArgs(input, first, at + 1, args);
      const Outcome outcome = ReadArgLength(input, limits, at);
      if (outcome == Outcome::kNeedMore) return SuspendArgs(input, first, input.size() + 1, args);
      if (outcome == Outcome::kError) {
        args.resize(first);
        return Outcome::kError;
      }
    }
    if (input.size() - at < arg_bytes_ + 2) {
      state_ = State::kArgBytes;
      at_ = at;
      return SuspendArgs(input, first, at + arg_bytes_ + 2, args);
    }
    args.emplace_back(input.data() + at, arg_bytes_);
    at += arg_bytes_ + 2;
    state_ = State::kArgLength;
    scanned_ = 0;
    if (--args_left_ == 0) break;
  }
  if (!seen_.empty()) ResumeSeen(input, first, args);
  state_ = State::kStart;
  consumed = at;
  return Outcome::kRequest;
}

/// Reads the "$N" line at `at`. kRequest: its number is in arg_bytes_ and `at` is behind it.
inline RespParser::Outcome RespParser::ReadArgLength(std::string_view input, const ParseLimits& limits,
                                                     size_t& at) {
  const size_t line_start = at;
  int64_t bytes = 0;
  const Line line = ReadLength(input, at, bytes);
  if (line == Line::kIncomplete) {
    if (scanned_ != input.size() || input.size() - line_start <= kLineBytesMax) return Outcome::kNeedMore;
    return Fail("too big bulk count string");
  }
  // Like Redis: the first byte of the line is looked at only when the line is whole.
  if (input[line_start] != '$') return Fail(std::string("expected '$', got '") + input[line_start] + "'");
  if (line == Line::kInvalid || bytes < 0 || static_cast<uint64_t>(bytes) > limits.bulk_bytes_max) {
    return Fail("invalid bulk length");
  }
  if (bytes > kBulkBytesMaxBeforeAuth && !limits.authenticated) return Fail("unauthenticated bulk length");
  arg_bytes_ = static_cast<size_t>(bytes);
  return Outcome::kRequest;
}

/// Puts the arguments that earlier calls finished in front of those from `first` on.
void RespParser::ResumeSeen(std::string_view input, size_t first, std::vector<std::string_view>& args) {
  args.insert(args.begin() + static_cast<ptrdiff_t>(first), seen_.size(), {});
  for (size_t i = 0; i < seen_.size(); i++) args[first + i] = input.substr(seen_[i].offset, seen_[i].size);
  seen_.clear();
  // A request of a million arguments should not hold its memory for the life of the connection.
  if (seen_.capacity() > 1024) seen_ = {};
}

RespParser::Outcome RespParser::NextInline(std::string_view input, std::vector<std::string_view>& args,
                                           size_t& consumed) {
  const size_t newline = FindByte(input, scanned_, '\n');
  if (newline == std::string_view::npos) {
    if (input.size() > kLineBytesMax) return Fail("too big inline request");
    scanned_ = input.size();
    wanted_ = input.size() + 1;
    return Outcome::kNeedMore;
  }
  std::string_view line = input.substr(0, newline);
  if (!line.empty() && line.back() == '\r') line.remove_suffix(1);

  if (line.find_first_of("\"'") != std::string_view::npos) {
    std::vector<std::string> words;
    if (!SplitArgs(line, words)) return Fail("unbalanced quotes in request");
    for (std::string& word : words) args.emplace_back(words_.emplace_back(std::move(word)));
  } else {
    size_t at = 0;
    while (true) {
      while (at < line.size() && IsBlank(line[at])) at++;
      if (at == line.size()) break;
      const size_t end = std::min(line.find_first_of(" \t\r\n", at), line.size());
      args.push_back(line.substr(at, end - at));
      at = end;
    }
  }
  state_ = State::kStart;
  consumed = newline + 1;
  return Outcome::kRequest;
}

}  // namespace thermocline
