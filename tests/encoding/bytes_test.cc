#include "encoding/bytes.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>

namespace thermocline {
namespace {

TEST(BytesTest, BigEndianIntegers) {
  std::string out;
  AppendBig16(out, 0x0102);
  AppendBig32(out, 0x03040506);
  AppendBig64(out, 0x0708090a0b0c0d0e);
  EXPECT_EQ(out, "\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e");
  std::string_view in = out;
  uint16_t a;
  uint32_t b;
  uint64_t c;
  ASSERT_TRUE(ReadBig16(in, &a));
  ASSERT_TRUE(ReadBig32(in, &b));
  ASSERT_TRUE(ReadBig64(in, &c));
  EXPECT_EQ(a, 0x0102);
  EXPECT_EQ(b, 0x03040506u);
  EXPECT_EQ(c, 0x0708090a0b0c0d0eu);
  EXPECT_TRUE(in.empty());
}

TEST(BytesTest, ReadersLeaveTheViewWhenBytesAreMissing) {
  const std::string bytes(7, '\x80');
  const auto unchanged = [](std::string_view all, auto read) {
    std::string_view in = all;
    EXPECT_FALSE(read(in));
    EXPECT_EQ(in.data(), all.data());
    EXPECT_EQ(in.size(), all.size());
  };
  uint8_t u8;
  uint16_t u16;
  uint32_t u32;
  uint64_t u64;
  std::string_view view;
  unchanged("", [&](std::string_view& in) { return ReadU8(in, &u8); });
  unchanged("1", [&](std::string_view& in) { return ReadBig16(in, &u16); });
  unchanged("123", [&](std::string_view& in) { return ReadBig32(in, &u32); });
  unchanged(bytes, [&](std::string_view& in) { return ReadBig64(in, &u64); });
  unchanged(bytes, [&](std::string_view& in) { return ReadVarint(in, &u64); });
  unchanged("", [&](std::string_view& in) { return ReadVarint(in, &u64); });
  unchanged("\x05hell", [&](std::string_view& in) { return ReadSized(in, &view); });
  unchanged("\x85", [&](std::string_view& in) { return ReadSized(in, &view); });
  // A size near 2^64 must not wrap around.
  unchanged("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01hello",
            [&](std::string_view& in) { return ReadSized(in, &view); });
}

TEST(BytesTest, VarintGoldenBytes) {
  const std::pair<uint64_t, std::string> cases[] = {
      {0, std::string(1, '\0')},
      {1, "\x01"},
      {127, "\x7f"},
      {128, "\x80\x01"},
      {300, "\xac\x02"},
      {16383, "\xff\x7f"},
      {16384, "\x80\x80\x01"},
      {UINT64_MAX, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"},
  };
  for (const auto& [value, bytes] : cases) {
    std::string out;
    AppendVarint(out, value);
    EXPECT_EQ(out, bytes) << value;
  }
}

TEST(BytesTest, VarintsOfEverySize) {
  for (int bits = 0; bits < 64; ++bits) {
    for (const uint64_t value : {uint64_t{1} << bits, (uint64_t{1} << bits) - 1, ~uint64_t{0} >> bits}) {
      std::string out;
      AppendVarint(out, value);
      const std::string whole = out + "rest";
      std::string_view in = whole;
      uint64_t read;
      ASSERT_TRUE(ReadVarint(in, &read));
      EXPECT_EQ(read, value);
      EXPECT_EQ(in, "rest");
      for (size_t size = 0; size < out.size(); ++size) {
        in = std::string_view(out).substr(0, size);
        EXPECT_FALSE(ReadVarint(in, &read));
      }
    }
  }
}

TEST(BytesTest, VarintsThatDoNotFitAreRefused) {
  for (const std::string bytes :
       {"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", "\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01",
        "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"}) {
    std::string_view in = bytes;
    uint64_t value;
    EXPECT_FALSE(ReadVarint(in, &value));
  }
}

TEST(BytesTest, SizedBytes) {
  for (const size_t size : {0, 1, 127, 128, 100'000}) {
    std::string out;
    AppendSized(out, std::string(size, 'x'));
    AppendSized(out, "next");
    std::string_view in = out, bytes;
    ASSERT_TRUE(ReadSized(in, &bytes));
    EXPECT_EQ(bytes, std::string(size, 'x'));
    ASSERT_TRUE(ReadSized(in, &bytes));
    EXPECT_EQ(bytes, "next");
    EXPECT_TRUE(in.empty());
  }
}

}  // namespace
}  // namespace thermocline
