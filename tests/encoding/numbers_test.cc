#include "encoding/numbers.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace thermocline {
namespace {

using std::string_literals::operator""s;

TEST(Numbers, ParseInt64TakesTheCanonicalFormOnly) {
  int64_t value = 77;
  for (const std::string& bad :
       {""s, "-"s, "+1"s, " 1"s, "1 "s, "01"s, "-0"s, "-01"s, "00"s, "1\0"s, "0x1"s, "1.0"s, "--1"s,
        "9223372036854775808"s, "-9223372036854775809"s, "99999999999999999999999"s}) {
    EXPECT_FALSE(ParseInt64(bad, &value)) << bad;
  }
  EXPECT_EQ(value, 77);
  for (int64_t number : {int64_t{0}, int64_t{1}, int64_t{-1}, int64_t{10}, INT64_MAX, INT64_MIN}) {
    EXPECT_TRUE(ParseInt64(std::to_string(number), &value));
    EXPECT_EQ(value, number);
  }
}

TEST(Numbers, ParseUint64) {
  uint64_t value = 77;
  for (const char* bad : {"", "-1", "-0", "+1", "01", " 1", "18446744073709551616"})
    EXPECT_FALSE(ParseUint64(bad, &value));
  EXPECT_TRUE(ParseUint64("0", &value));
  EXPECT_TRUE(ParseUint64("18446744073709551615", &value));
  EXPECT_EQ(value, UINT64_MAX);
}

TEST(Numbers, ParseDouble) {
  double value = 0;
  for (const std::string& bad : {""s, " 1"s, "1 "s, "\t1"s, "1\0"s, "nan"s, "-nan"s, "nan(1)"s, "1e"s, "1_0"s,
                                 "abc"s, "--1"s, "1e400"s, "-1e400"s, "4.9e-4950"s}) {
    EXPECT_FALSE(ParseDouble(bad, &value)) << bad;
  }
  const std::pair<const char*, double> good[] = {{"0", 0},     {"+1", 1},          {"3.", 3},
                                                 {".5", 0.5},  {"5.0e3", 5000},    {"0x10", 16},
                                                 {"0x1p3", 8}, {"5e-324", 5e-324}, {"1e300", 1e300}};
  for (const auto& [text, number] : good) {
    EXPECT_TRUE(ParseDouble(text, &value)) << text;
    EXPECT_EQ(value, number);
  }
  for (const char* text : {"inf", "+inf", "INF", "Infinity", "inFinIty"}) {
    EXPECT_TRUE(ParseDouble(text, &value));
    EXPECT_TRUE(std::isinf(value));
  }
}

TEST(Numbers, LongDoubleRoundTripsAsIncrByFloatShowsIt) {
  const std::pair<std::string, std::string> cases[] = {
      {"0", "0"},
      {"-0", "0"},
      {"10.5", "10.5"},
      {"5.0e3", "5000"},
      {"1e17", "100000000000000000"},
      {"0.1", "0.1"},
      {"1e-20", "0"},
      {"-1e-20", "0"},
      {"0x1p3", "8"},
      {"3.0000000000000000001", "3"},
      {"-1.50", "-1.5"},
      {"123456789012345678901234567890", "123456789012345678899921813504"},
      {"1.23456789012345678", "1.23456789012345678"}};
  for (const auto& [text, shown] : cases) {
    long double value = 1;
    ASSERT_TRUE(ParseLongDouble(text, &value)) << text;
    EXPECT_EQ(FormatLongDouble(value), shown);
  }
  long double value = 1;
  EXPECT_TRUE(ParseLongDouble("1e400", &value));
  EXPECT_EQ(FormatLongDouble(std::numeric_limits<long double>::max()).size(), 4933u);
  EXPECT_FALSE(ParseLongDouble("1e-5000", &value));
  EXPECT_FALSE(ParseLongDouble("1e5000", &value));
  EXPECT_FALSE(ParseLongDouble(std::string(5120, '1'), &value));
  EXPECT_FALSE(ParseLongDouble("0." + std::string(5118, '1'), &value));
  EXPECT_TRUE(ParseLongDouble("0." + std::string(5117, '1'), &value));
}

TEST(Numbers, FormatDouble) {
  const std::pair<double, const char*> cases[] = {{0, "0"},
                                                  {1, "1"},
                                                  {1.5, "1.5"},
                                                  {0.1, "0.10000000000000001"},
                                                  {1e16, "10000000000000000"},
                                                  {1e17, "1e+17"},
                                                  {2.5e17, "2.5e+17"},
                                                  {1e-4, "0.0001"},
                                                  {1e-5, "1.0000000000000001e-05"},
                                                  {-123, "-123"},
                                                  {1e100, "1e+100"},
                                                  {123456789.123, "123456789.123"},
                                                  {1.7976931348623157e308, "1.7976931348623157e+308"},
                                                  {5e-324, "4.9406564584124654e-324"},
                                                  {9007199254740993.0, "9007199254740992"}};
  for (const auto& [value, text] : cases) EXPECT_EQ(FormatDouble(value), text);
  EXPECT_EQ(FormatDouble(HUGE_VAL), "inf");
  EXPECT_EQ(FormatDouble(-HUGE_VAL), "-inf");
  EXPECT_EQ(FormatDouble(-std::nan("")), "nan");
}

TEST(Numbers, Memory) {
  const std::pair<const char*, uint64_t> good[] = {{"0", 0},
                                                   {"100", 100},
                                                   {"007", 7},
                                                   {"1b", 1},
                                                   {"1k", 1000},
                                                   {"1KB", 1024},
                                                   {"2m", 2000000},
                                                   {"512mb", 512u << 20},
                                                   {"1g", 1000000000},
                                                   {"1Gb", 1u << 30},
                                                   {"10000000000gb", 10737418240000000000u},
                                                   {"18446744073709551615", UINT64_MAX}};
  uint64_t bytes = 0;
  for (const auto& [text, expected] : good) {
    EXPECT_TRUE(ParseMemory(text, &bytes)) << text;
    EXPECT_EQ(bytes, expected);
  }
  for (const char* bad : {"", "gb", "-1", "+1", " 1", "1 kb", "1kk", "1tb", "1.5mb", "1e3", "0x10",
                          "18446744073709551616", "20000000000gb"}) {
    EXPECT_FALSE(ParseMemory(bad, &bytes)) << bad;
  }
  const std::pair<uint64_t, const char*> shown[] = {{0, "0B"},
                                                    {1023, "1023B"},
                                                    {1024, "1.00K"},
                                                    {1536, "1.50K"},
                                                    {1101005, "1.05M"},
                                                    {1ull << 30, "1.00G"},
                                                    {1ull << 41, "2.00T"},
                                                    {3ull << 50, "3.00P"},
                                                    {1ull << 62, "4096.00P"}};
  for (const auto& [size, text] : shown) EXPECT_EQ(FormatMemory(size), text);
}

}  // namespace
}  // namespace thermocline
