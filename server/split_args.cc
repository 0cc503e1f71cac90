#include "server/split_args.h"

namespace thermocline {
namespace {

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

char Unescape(char c) {
  switch (c) {
    case 'n': return '\n';
    case 'r': return '\r';
    case 't': return '\t';
    case 'b': return '\b';
    case 'a': return '\a';
    default: return c;
  }
}

/// Reads the inside of "..." from `at` (behind the opening quote) into `word`. Returns the position behind
/// the closing quote, or npos when there is none.
size_t ReadDoubleQuoted(std::string_view line, size_t at, std::string& word) {
  while (at < line.size()) {
    const char c = line[at];
    if (c == '"') return at + 1;
    if (c != '\\' || at + 1 == line.size()) {
      word.push_back(c);
      at++;
      continue;
    }
    if (at + 3 < line.size() && line[at + 1] == 'x') {
      const int high = HexDigit(line[at + 2]);
      const int low = HexDigit(line[at + 3]);
      if (high >= 0 && low >= 0) {
        word.push_back(static_cast<char>(high * 16 + low));
        at += 4;
        continue;
      }
    }
    word.push_back(Unescape(line[at + 1]));
    at += 2;
  }
  return std::string_view::npos;
}

/// The same for '...'.
size_t ReadSingleQuoted(std::string_view line, size_t at, std::string& word) {
  while (at < line.size()) {
    if (line[at] == '\'') return at + 1;
    if (line[at] == '\\' && at + 1 < line.size() && line[at + 1] == '\'') at++;
    word.push_back(line[at++]);
  }
  return std::string_view::npos;
}

/// Reads one word from `at` (not blank). Returns the position behind it, or npos on unbalanced quotes.
size_t ReadWord(std::string_view line, size_t at, std::string& word) {
  while (at < line.size()) {
    const char c = line[at];
    if (c == ' ' || c == '\t' || c == '\r' || c == '\n') return at;
    if (c == '"' || c == '\'') {
      at = c == '"' ? ReadDoubleQuoted(line, at + 1, word) : ReadSingleQuoted(line, at + 1, word);
      if (at == std::string_view::npos || (at < line.size() && !IsBlank(line[at])))
        return std::string_view::npos;
      return at;
    }
    word.push_back(c);
    at++;
  }
  return at;
}

}  // namespace

bool SplitArgs(std::string_view line, std::vector<std::string>& words) {
  words.clear();
  size_t at = 0;
  while (true) {
    while (at < line.size() && IsBlank(line[at])) at++;
    if (at == line.size()) return true;
    at = ReadWord(line, at, words.emplace_back());
    if (at == std::string_view::npos) {
      words.clear();
      return false;
    }
  }
}

}  // namespace thermocline
