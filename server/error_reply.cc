#include "server/error_reply.h"

#include <string>

namespace thermocline {

void WriteError(ReplyWriter& reply, const Status& status) {
  switch (status.code()) {
    case Code::kWrongType:
      return reply.Error("WRONGTYPE Operation against a key holding the wrong kind of value");
    case Code::kNotInteger: return reply.Error(error_text::kNotInteger);
    case Code::kNotFloat: return reply.Error(error_text::kNotFloat);
    case Code::kOverflow: return reply.Error("ERR increment or decrement would overflow");
    case Code::kNotFinite: return reply.Error("ERR increment would produce NaN or Infinity");
    case Code::kTooLarge: return reply.Error("ERR string exceeds maximum allowed size (proto-max-bulk-len)");
    case Code::kNoSuchKey: return reply.Error(error_text::kNoSuchKey);
    case Code::kCorruption:
      return reply.Error("ERR the stored data of this key is damaged; see the server's log");
    case Code::kIoError:
      return reply.Error("ERR the disk could not be read or written; see the server's log");
    case Code::kBusy: return reply.Error("ERR " + status.message());
    default: return reply.Error("ERR " + status.message());
  }
}

}  // namespace thermocline
