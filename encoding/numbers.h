#pragma once

#include <cstdint>
#include <string>
#include <string_view>

/// Numbers as text, by the rules that Redis 7.0 applies to arguments, stored values, replies and redis.conf.
/// Pure functions; a parser leaves `value` alone when it returns false. The floating point ones use the C
/// library and expect that nobody sets the locale LC_NUMERIC.
namespace thermocline {

/// Decimal, canonical form only: no blanks, no '+', no leading zeros, no "-0". So a text that parses prints
/// back to the same bytes, and may be stored as the number.
[[nodiscard]] bool ParseInt64(std::string_view text, int64_t* value);

/// The same without a sign, up to 2^64 - 1.
[[nodiscard]] bool ParseUint64(std::string_view text, uint64_t* value);

/// What C's strtod takes as a whole: also "+1", ".5", "1e3", hexadecimal, "inf" and "infinity" in any case.
/// Not: the empty text, blanks or NUL anywhere, NaN, and what overflows to infinity or underflows to zero.
[[nodiscard]] bool ParseDouble(std::string_view text, double* value);

/// The same for INCRBYFLOAT and HINCRBYFLOAT, which count in long double; texts of 5 KiB or more are refused.
[[nodiscard]] bool ParseLongDouble(std::string_view text, long double* value);

/// Replies: seventeen significant digits ("0.10000000000000001", "1e+17"), "inf", "-inf", "nan".
std::string FormatDouble(double value);

/// INCRBYFLOAT's result: 17 decimals without an exponent, trailing zeros cut, never "-0". Not for NaN or
/// infinity.
std::string FormatLongDouble(long double value);

/// A size as in redis.conf: digits and an optional unit in any case: b, k (1000), kb (1024), m, mb, g, gb.
/// Leading zeros are fine. Unlike Redis, a text without digits and a size past 2^64 - 1 are refused.
[[nodiscard]] bool ParseMemory(std::string_view text, uint64_t* bytes);

/// A size as INFO shows it to people: "100B", "1.50K", "1.05M", then G, T and P, in powers of 1024.
std::string FormatMemory(uint64_t bytes);

}  // namespace thermocline
