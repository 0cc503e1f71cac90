#pragma once

#include <cstdint>
#include <string>
#include <string_view>

/// Numbers as text, by the rules that Redis 7.0 applies to arguments, stored values and replies.
/// Pure functions; parsers leave `value` alone when they return false.
namespace thermocline {

/// Decimal, canonical form only: no blanks, no '+', no leading zeros, no "-0". So a text that parses prints
/// back to the same bytes, and may be stored as the number.
[[nodiscard]] bool ParseInt64(std::string_view text, int64_t* value);

/// The same without a sign, up to 2^64 - 1.
[[nodiscard]] bool ParseUint64(std::string_view text, uint64_t* value);

}  // namespace thermocline
