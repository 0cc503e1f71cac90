#pragma once

#include <string_view>

#include "encoding/status.h"
#include "server/reply.h"

namespace thermocline {

/// Texts of errors that many commands share, as Redis has them.
namespace error_text {
inline constexpr std::string_view kSyntax = "ERR syntax error";
inline constexpr std::string_view kNotInteger = "ERR value is not an integer or out of range";
inline constexpr std::string_view kNotFloat = "ERR value is not a valid float";
inline constexpr std::string_view kNoSuchKey = "ERR no such key";
inline constexpr std::string_view kDbIndex = "ERR DB index is out of range";
}  // namespace error_text

/// What an error text shows of bytes that a client sent: Redis prints them up to the first zero byte.
inline std::string_view Shown(std::string_view bytes) { return bytes.substr(0, bytes.find('\0')); }

/// Writes the error reply for a failed engine call. The one place where codes become texts.
void WriteError(ReplyWriter& reply, const Status& status);

}  // namespace thermocline
