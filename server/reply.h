#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace thermocline {

/// Appends RESP replies to a buffer that the caller owns and that must outlive the writer. Holds no reply
/// state: the caller writes a header and then as many elements as it announced. `protocol` is 2 or 3 (HELLO);
/// types that RESP2 lacks are written in the form that Redis 7.0 gives them there. Cheap to make, one per
/// command. Threads: none; as safe as the buffer.
class ReplyWriter {
 public:
  explicit ReplyWriter(std::string& out, int protocol = 2) : out_(&out), resp3_(protocol >= 3) {}

  bool resp3() const { return resp3_; }
  std::string& buffer() { return *out_; }
  /// Appends replies that another writer made; without a copy where nothing is before long ones. (Short ones
  /// would leave the owner with a buffer smaller than the one it had.)
  void Append(std::string&& replies) {
    if (out_->empty() && replies.size() > out_->capacity()) {
      out_->swap(replies);
    } else {
      out_->append(replies);
    }
  }

  void Ok() { out_->append("+OK\r\n", 5); }
  /// `text` must hold no CR or LF.
  void SimpleString(std::string_view text);
  /// `text` begins with the error code: "ERR syntax error". It may quote bytes of the client: CR and LF
  /// around it are dropped, inside it become blanks, so that no reply can be forged.
  void Error(std::string_view text);
  void Integer(int64_t value);
  void Bulk(std::string_view bytes);
  /// The decimal text of `value` as a bulk string.
  void BulkInteger(int64_t value);
  /// "$-1" or "_": there is no such value.
  void Null();
  /// "*-1" or "_": there is no such list (a blocking pop that timed out, an aborted EXEC).
  void NullArray();

  void ArrayHeader(size_t count) { Header('*', count); }
  /// `count` pairs follow, as 2 x `count` elements.
  void MapHeader(size_t count) { resp3_ ? Header('%', count) : Header('*', 2 * count); }
  void SetHeader(size_t count) { Header(resp3_ ? '~' : '*', count); }
  void PushHeader(size_t count) { Header(resp3_ ? '>' : '*', count); }

  /// Seventeen significant digits, "inf", "-inf" or "nan"; a bulk string in RESP2.
  void Double(double value);
  /// :1 and :0 in RESP2.
  void Bool(bool value);
  /// `digits`: an optional '-' and decimal digits.
  void BigNumber(std::string_view digits);
  /// Text for people. `format` has three letters: "txt" or "mkd". A bulk string in RESP2.
  void Verbatim(std::string_view format, std::string_view text);

 private:
  void Header(char type, uint64_t count);

  std::string* out_;
  bool resp3_;
};

}  // namespace thermocline
