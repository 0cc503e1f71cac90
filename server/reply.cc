#include "server/reply.h"

#include <charconv>
#include <cmath>
#include <cstring>

#include "encoding/check.h"
#include "encoding/numbers.h"

namespace thermocline {
namespace {

/// Room for a type byte, a 64-bit number and CR LF.
constexpr size_t kLineBytesMax = 32;

/// Writes "<type><value>\r\n" to `line`; returns the end.
template <typename Number>
char* WriteLine(char* line, char type, Number value) {
  *line++ = type;
  line = std::to_chars(line, line + kLineBytesMax - 3, value).ptr;
  *line++ = '\r';
  *line++ = '\n';
  return line;
}

}  // namespace

void ReplyWriter::Header(char type, uint64_t count) {
  char line[kLineBytesMax];
  out_->append(line, WriteLine(line, type, count));
}

void ReplyWriter::SimpleString(std::string_view text) {
  DCHECK(text.find_first_of("\r\n") == std::string_view::npos);
  out_->push_back('+');
  out_->append(text);
  out_->append("\r\n", 2);
}

void ReplyWriter::Error(std::string_view text) {
  while (!text.empty() && (text.front() == '\r' || text.front() == '\n')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == '\r' || text.back() == '\n')) text.remove_suffix(1);
  out_->push_back('-');
  const size_t start = out_->size();
  out_->append(text);
  for (size_t i = start; i < out_->size(); i++) {
    if ((*out_)[i] == '\r' || (*out_)[i] == '\n') (*out_)[i] = ' ';
  }
  out_->append("\r\n", 2);
}

void ReplyWriter::Integer(int64_t value) {
  char line[kLineBytesMax];
  out_->append(line, WriteLine(line, ':', value));
}

void ReplyWriter::Bulk(std::string_view bytes) {
  // One append for the common small reply: each call of append checks and may move the buffer.
  constexpr size_t kSmallBytes = 224;
  char small[kLineBytesMax + kSmallBytes + 2];
  char* end = WriteLine(small, '$', bytes.size());
  if (bytes.size() > kSmallBytes) {
    out_->append(small, end);
    out_->append(bytes);
    out_->append("\r\n", 2);
    return;
  }
  if (!bytes.empty()) std::memcpy(end, bytes.data(), bytes.size());
  end += bytes.size();
  *end++ = '\r';
  *end++ = '\n';
  out_->append(small, end);
}

void ReplyWriter::BulkInteger(int64_t value) {
  char digits[kLineBytesMax];
  const char* const end = std::to_chars(digits, digits + kLineBytesMax, value).ptr;
  Bulk({digits, static_cast<size_t>(end - digits)});
}

void ReplyWriter::Null() {
  if (resp3_) {
    out_->append("_\r\n", 3);
  } else {
    out_->append("$-1\r\n", 5);
  }
}

void ReplyWriter::NullArray() {
  if (resp3_) {
    out_->append("_\r\n", 3);
  } else {
    out_->append("*-1\r\n", 5);
  }
}

void ReplyWriter::Double(double value) {
  const std::string text = FormatDouble(value);
  if (!resp3_) return Bulk(text);
  out_->push_back(',');
  out_->append(text);
  out_->append("\r\n", 2);
}

void ReplyWriter::Bool(bool value) {
  if (resp3_) {
    out_->append(value ? "#t\r\n" : "#f\r\n", 4);
  } else {
    out_->append(value ? ":1\r\n" : ":0\r\n", 4);
  }
}

void ReplyWriter::BigNumber(std::string_view digits) {
  if (!resp3_) return Bulk(digits);
  out_->push_back('(');
  out_->append(digits);
  out_->append("\r\n", 2);
}

void ReplyWriter::Verbatim(std::string_view format, std::string_view text) {
  DCHECK(format.size() == 3);
  if (!resp3_) return Bulk(text);
  Header('=', text.size() + 4);
  out_->append(format);
  out_->push_back(':');
  out_->append(text);
  out_->append("\r\n", 2);
}

}  // namespace thermocline
