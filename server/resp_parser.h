#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

namespace thermocline {

/// What a connection may send right now. Numbers and texts are Redis 7.0.15's.
struct ParseLimits {
  uint64_t bulk_bytes_max = 512ull << 20;  ///< option proto-max-bulk-len
  int64_t args_max = INT32_MAX;            ///< Redis 7.0's limit; the query buffer limit bites first
  bool authenticated = true;  ///< false: the client must still AUTH; 10 arguments of 16384 bytes at most
};

/// Cuts the byte stream of one connection into requests: multibulk ("*2\r\n$3\r\nGET\r\n$1\r\nk\r\n") and
/// inline
/// ("GET k\r\n"). Binary-safe; arguments are views into the caller's buffer, nothing is copied, except for
/// inline requests with quotes, whose words live in the parser.
///
/// The caller keeps the unconsumed bytes and calls Next() with all of them:
///
///   while ((outcome = parser.Next(buffer.substr(at), limits, args, consumed)) == kRequest) {
///     requests.push_back({args.size()});   // args between the previous size and this one
///     at += consumed;
///   }
///
/// - Between calls the buffer may move and grow; the parser keeps offsets only. It remembers how far it got
/// in an
///   incomplete request, so every byte is looked at a bounded number of times however small the reads are.
/// - Limits apply as of the call. Redis executes each request before it parses the next, so a caller must not
/// parse
///   ahead while `limits.authenticated` is false (an AUTH in the pipeline lifts the limits behind it).
/// - Like Redis it does not look at the two bytes behind an argument, nor at the byte behind a CR that ends a
/// length.
/// - Unlike Redis a NUL byte in a line is an ordinary byte (Redis would wait for ever for the end of the
/// line).
///
/// Memory: 16 bytes per argument of an incomplete request, which costs the client at least 6 bytes of stream.
/// Threads: none of its own; one per connection, used by one thread at a time.
class RespParser {
 public:
  enum class Outcome : uint8_t {
    kRequest,   ///< one request was appended
    kNeedMore,  ///< `input` ends inside a request
    kError,     ///< the stream is broken: reply error() and close. Every later call says kError too
  };

  /// Parses the request at the beginning of `input`, which must start where the previous request ended.
  /// `args`: on kRequest the request's arguments are appended, else it is left as it was. Requests without
  /// arguments (an empty line, "*0\r\n", "*-1\r\n") are requests with nothing appended: the caller skips
  /// them. `consumed`: bytes of this request on kRequest, else 0. Views into them stay valid as long as the
  /// caller keeps those bytes where they are; words of quoted inline requests until ReleaseWords().
  Outcome Next(std::string_view input, const ParseLimits& limits, std::vector<std::string_view>& args,
               size_t& consumed);

  /// After kNeedMore: the least size of `input` with which another call can get further. Large only while the
  /// bytes of a large argument are on their way (then: up to its end), so that the caller can reserve
  /// exactly. At most the size of `input` + bulk_bytes_max + 2.
  size_t wanted() const { return wanted_; }

  /// True when no part of an unfinished request has been seen.
  bool idle() const { return state_ == State::kStart; }

  /// After kError: the text behind "-ERR ", such as "Protocol error: invalid bulk length". May hold any byte.
  const std::string& error() const { return error_; }

  /// Frees the words of quoted inline requests. Call when the arguments of all requests so far are done with.
  void ReleaseWords() { words_.clear(); }

 private:
  enum class State : uint8_t { kStart, kInline, kArgCount, kArgLength, kArgBytes, kFailed };
  struct Span {
    size_t offset;
    size_t size;
  };
  enum class Line : uint8_t { kNumber, kInvalid, kIncomplete };

  Outcome NextInline(std::string_view input, std::vector<std::string_view>& args, size_t& consumed);
  Outcome NextArgs(std::string_view input, const ParseLimits& limits, std::vector<std::string_view>& args,
                   size_t& consumed);
  Outcome ReadCount(std::string_view input, const ParseLimits& limits);
  Outcome ReadArgLength(std::string_view input, const ParseLimits& limits, size_t& at);
  Line ReadLength(std::string_view input, size_t& at, int64_t& value);
  Outcome SuspendArgs(std::string_view input, size_t first, size_t wanted,
                      std::vector<std::string_view>& args);
  void ResumeSeen(std::string_view input, size_t first, std::vector<std::string_view>& args);
  Outcome Fail(std::string text);

  State state_ = State::kStart;
  size_t at_ = 0;         ///< where the current line or argument begins, from the start of the request
  size_t scanned_ = 0;    ///< no line end before this offset; only of use while a line is incomplete
  size_t args_left_ = 0;  ///< arguments still to come, the current one included
  size_t arg_bytes_ = 0;  ///< in kArgBytes: size of the current argument
  size_t wanted_ = 0;
  std::vector<Span> seen_;         ///< finished arguments of a request that earlier calls saw a part of
  std::deque<std::string> words_;  ///< a deque, because views point into its elements
  std::string error_;
};

}  // namespace thermocline
