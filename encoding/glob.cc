#include "encoding/glob.h"

#include <utility>

namespace thermocline {
namespace {

char Lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool SameByte(char a, char b, bool ignore_case) { return ignore_case ? Lower(a) == Lower(b) : a == b; }

/// The class whose '[' is at `at`; moves `at` behind it.
bool ClassMatches(std::string_view pattern, size_t& at, char c, bool ignore_case) {
  at++;
  const bool negated = at < pattern.size() && pattern[at] == '^';
  if (negated) at++;
  bool found = false;
  while (at < pattern.size() && pattern[at] != ']') {
    const size_t left = pattern.size() - at;
    if (pattern[at] == '\\' && left >= 2) {
      found |= pattern[at + 1] == c;
      at += 2;
    } else if (left >= 3 && pattern[at + 1] == '-') {
      auto low = static_cast<signed char>(pattern[at]);
      auto high = static_cast<signed char>(pattern[at + 2]);
      // Redis puts the bounds in order before it folds their case.
      if (low > high) std::swap(low, high);
      auto byte = static_cast<signed char>(c);
      if (ignore_case) {
        low = static_cast<signed char>(Lower(static_cast<char>(low)));
        high = static_cast<signed char>(Lower(static_cast<char>(high)));
        byte = static_cast<signed char>(Lower(c));
      }
      found |= low <= byte && byte <= high;
      at += 3;
    } else {
      found |= SameByte(pattern[at], c, ignore_case);
      at++;
    }
  }
  if (at < pattern.size()) at++;
  return found != negated;
}

/// Whether the element at `at` (no '*') takes `c`; if so `at` moves behind the element.
bool ElementMatches(std::string_view pattern, size_t& at, char c, bool ignore_case) {
  switch (pattern[at]) {
    case '?': at++; return true;
    case '[': return ClassMatches(pattern, at, c, ignore_case);
    case '\\':
      if (at + 1 < pattern.size()) at++;
      [[fallthrough]];
    default: return SameByte(pattern[at++], c, ignore_case);
  }
}

}  // namespace

bool GlobMatch(std::string_view pattern, std::string_view text, bool ignore_case) {
  if (text.empty()) return pattern.empty();
  size_t pattern_at = 0;
  size_t text_at = 0;
  // Where to go on when an element fails: behind the last '*', which then takes one byte more.
  size_t star_pattern_at = std::string_view::npos;
  size_t star_text_at = 0;
  while (text_at < text.size()) {
    if (pattern_at < pattern.size() && pattern[pattern_at] == '*') {
      while (pattern_at < pattern.size() && pattern[pattern_at] == '*') pattern_at++;
      if (pattern_at == pattern.size()) return true;
      star_pattern_at = pattern_at;
      star_text_at = text_at;
    } else if (pattern_at < pattern.size() &&
               ElementMatches(pattern, pattern_at, text[text_at], ignore_case)) {
      text_at++;
    } else if (star_pattern_at != std::string_view::npos) {
      pattern_at = star_pattern_at;
      text_at = ++star_text_at;
    } else {
      return false;
    }
  }
  while (pattern_at < pattern.size() && pattern[pattern_at] == '*') pattern_at++;
  return pattern_at == pattern.size();
}

GlobPrefix LiteralPrefix(std::string_view pattern) {
  GlobPrefix prefix;
  for (size_t i = 0; i < pattern.size(); i++) {
    char c = pattern[i];
    if (c == '*' || c == '?' || c == '[') return prefix;
    if (c == '\\' && i + 1 < pattern.size()) c = pattern[++i];
    prefix.bytes.push_back(c);
  }
  prefix.exact = true;
  return prefix;
}

}  // namespace thermocline
