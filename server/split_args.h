#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace thermocline {

/// True for the bytes that C's isspace() calls blank in the "C" locale. Locale-free, and safe for any byte.
constexpr bool IsBlank(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

/// Splits one line (without its newline) into words, by the rules that redis-cli, redis.conf and inline
/// requests share:
///   word     runs to the next space, tab, CR or LF (VT and FF separate only in front of a word)
///   "..."    with the escapes \n \r \t \b \a \xHH; any other escaped byte stands for itself
///   '...'    literal, but \' is a quote
///   A quote may open inside a word; after a closing quote the word must end.
/// A NUL byte is an ordinary byte. `words` is replaced.
/// Returns false on unbalanced quotes; `words` is then empty.
[[nodiscard]] bool SplitArgs(std::string_view line, std::vector<std::string>& words);

}  // namespace thermocline
