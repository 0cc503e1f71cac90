#pragma once

#include <string>
#include <string_view>

namespace thermocline {

/// What KEYS, SCAN MATCH, PSUBSCRIBE and CONFIG GET call a pattern:
///   *        any bytes, also none          ?       one byte
///   [abc]    one of these bytes            [a-z]   one of this range (in either order)
///   [^a]     one byte that is none of them \x      the byte x itself, also inside [ ]
/// An unclosed '[' ends with the pattern; a '\' at the very end stands for itself. Ranges compare bytes as
/// signed char, as Redis does on x86. An empty `text` matches the empty pattern only, not "*": commands for
/// which "*" means everything test for that first, as in Redis. `ignore_case`: ASCII letters are equal in
/// both cases; a byte behind '\' inside [ ] stays exact, as in Redis. Binary-safe. Time O(pattern x text) at
/// worst, memory O(1): since every element but '*' takes exactly one byte, it is enough to fall back to the
/// last '*' seen, so a*a*a*a*b cannot blow up.
[[nodiscard]] bool GlobMatch(std::string_view pattern, std::string_view text, bool ignore_case = false);

struct GlobPrefix {
  std::string bytes;   ///< every text that matches begins with these; bounds a range scan
  bool exact = false;  ///< the pattern has no wildcards: it matches `bytes` and nothing else
};

/// The literal beginning of `pattern`, escapes resolved.
GlobPrefix LiteralPrefix(std::string_view pattern);

}  // namespace thermocline
