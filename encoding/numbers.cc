#include "encoding/numbers.h"

#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <utility>

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

double ToFloat(const char* text, char** end, double) { return std::strtod(text, end); }
long double ToFloat(const char* text, char** end, long double) { return std::strtold(text, end); }

template <typename Float>
bool ParseFloat(std::string_view text, Float* value) {
  if (text.empty() || text[0] == ' ' || (text[0] >= '\t' && text[0] <= '\r')) return false;
  const std::string terminated(text);
  char* end = nullptr;
  errno = 0;
  const Float parsed = ToFloat(terminated.c_str(), &end, Float{});
  if (end != terminated.c_str() + terminated.size() || std::isnan(parsed)) return false;
  // ERANGE is also set for a denormal result, which is as exact as it can be.
  if (errno == ERANGE && (std::isinf(parsed) || parsed == 0)) return false;
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

bool ParseDouble(std::string_view text, double* value) { return ParseFloat(text, value); }

bool ParseLongDouble(std::string_view text, long double* value) {
  constexpr size_t kTextBytesMax = 5 * 1024 - 1;
  return text.size() <= kTextBytesMax && ParseFloat(text, value);
}

std::string FormatDouble(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  char digits[32];
  return std::string(
      digits, std::to_chars(digits, digits + sizeof digits, value, std::chars_format::general, 17).ptr);
}

std::string FormatLongDouble(long double value) {
  // The largest long double has 4933 digits before the point.
  char digits[5 * 1024];
  std::string text(digits, static_cast<size_t>(std::snprintf(digits, sizeof digits, "%.17Lf", value)));
  text.resize(text.find_last_not_of('0') + 1);
  if (text.ends_with('.')) text.pop_back();
  if (text == "-0") text = "0";
  return text;
}

bool ParseMemory(std::string_view text, uint64_t* bytes) {
  static constexpr std::pair<std::string_view, uint64_t> kUnits[] = {
      {"", 1},          {"b", 1},           {"k", 1000},          {"kb", 1ull << 10},
      {"m", 1'000'000}, {"mb", 1ull << 20}, {"g", 1'000'000'000}, {"gb", 1ull << 30}};
  uint64_t number = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{}) return false;
  std::string unit(stop, text.data() + text.size());
  for (char& c : unit) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  for (const auto& [name, factor] : kUnits) {
    if (name == unit) return !__builtin_mul_overflow(number, factor, bytes);
  }
  return false;
}

std::string FormatMemory(uint64_t bytes) {
  if (bytes < 1024) return std::to_string(bytes) + "B";
  double scaled = static_cast<double>(bytes);
  const char* unit = "BKMGTP";
  do {
    scaled /= 1024;
    unit++;
  } while (scaled >= 1024 && unit[1] != '\0');
  char text[32];
  std::snprintf(text, sizeof text, "%.2f%c", scaled, *unit);
  return text;
}

}  // namespace thermocline
