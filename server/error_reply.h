#pragma once

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

/// Writes the error reply for a failed engine call. The one place where codes become texts.
void WriteError(ReplyWriter& reply, const Status& status);

}  // namespace thermocline
