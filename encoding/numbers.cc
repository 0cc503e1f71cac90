#include "encoding/numbers.h"

#include <charconv>

namespace thermocline {
namespace {

/// True for digits without a superfluous leading zero. std::from_chars checks the rest.
bool IsCanonicalStart(std::string_view digits) {
  if (digits.empty()) return false;
  return digits[0] != '0' || digits.size() == 1;
}

template <typename Integer>
bool ParseWhole(std::string_view text, Integer* value) {
  Integer parsed{};
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, parsed);
  if (error != std::errc{} || stop != end) return false;
  *value = parsed;
  return true;
}

}  // namespace

bool ParseInt64(std::string_view text, int64_t* value) {
  const bool negative = !text.empty() && text[0] == '-';
  const std::string_view digits = text.substr(negative);
  if (!IsCanonicalStart(digits) || (negative && digits[0] == '0')) return false;
  return ParseWhole(text, value);
}

bool ParseUint64(std::string_view text, uint64_t* value) {
  return IsCanonicalStart(text) && ParseWhole(text, value);
}

}  // namespace thermocline
