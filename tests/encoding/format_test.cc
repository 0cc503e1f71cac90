#include "encoding/format.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

namespace thermocline::format {
namespace {

/// Bytes written as in format.h: "01 05 ff".
std::string Hex(std::string_view text) {
  std::string bytes;
  for (size_t i = 0; i + 1 < text.size(); i += text[i + 2 < text.size() ? i + 2 : i] == ' ' ? 3 : 2) {
    bytes.push_back(static_cast<char>(std::stoi(std::string(text.substr(i, 2)), nullptr, 16)));
  }
  return bytes;
}

// ---- Golden bytes: every layout of format.h
// ----------------------------------------------------------------

TEST(FormatTest, FrozenNumbers) {
  EXPECT_EQ(kFormatVersion, 3u);
  EXPECT_EQ(static_cast<int>(ObjectType::kString), 1);
  EXPECT_EQ(static_cast<int>(ObjectType::kList), 2);
  EXPECT_EQ(static_cast<int>(ObjectType::kSet), 3);
  EXPECT_EQ(static_cast<int>(ObjectType::kSortedSet), 4);
  EXPECT_EQ(static_cast<int>(ObjectType::kHash), 5);
  EXPECT_EQ(static_cast<int>(ObjectType::kStream), 6);
  EXPECT_EQ(static_cast<int>(Encoding::kAuto), 0);
  EXPECT_EQ(static_cast<int>(Encoding::kRaw), 1);
  EXPECT_EQ(static_cast<int>(Encoding::kText), 2);
  EXPECT_EQ(kHasExpiry, 1);
  EXPECT_EQ(kSpread, 2);
  EXPECT_EQ(kChunkBytes, 8192u);
  EXPECT_EQ(kVersionKey, "version");
  EXPECT_EQ(kStateKey, "state");
}

State GoldenState() {
  State state;
  state.next_object_id = 42;
  state.next_physical = 7;
  state.databases = {{0, 3, 5, 2}};
  state.dropped = {1};
  return state;
}

TEST(FormatTest, GoldenState) {
  std::string out;
  AppendState(out, GoldenState());
  EXPECT_EQ(out, Hex("2a 07 01 00 00 00 03 05 02 01 00 01"));
  State state;
  ASSERT_TRUE(DecodeState(out, &state).ok());
  EXPECT_EQ(state, GoldenState());
}

TEST(FormatTest, GoldenMetadataRow) {
  std::string key;
  AppendMetadataKey(key, 0, "user:1");
  EXPECT_EQ(key, Hex("00 00 75 73 65 72 3a 31"));
  std::string value;
  AppendHead(value, {ObjectType::kString, Encoding::kAuto, 0x18bcfe56800, 0});
  value += "hi";
  EXPECT_EQ(value, Hex("01 01 00 00 01 8b cf e5 68 00 68 69"));
  uint16_t db;
  std::string_view user_key;
  ASSERT_TRUE(DecodeMetadataKey(key, &db, &user_key));
  EXPECT_EQ(db, 0);
  EXPECT_EQ(user_key, "user:1");
}

TEST(FormatTest, GoldenHeads) {
  const std::pair<Head, std::string> cases[] = {
      {{ObjectType::kString}, "01 00"},
      {{ObjectType::kString, Encoding::kRaw}, "01 04"},
      {{ObjectType::kString, Encoding::kText}, "01 08"},
      {{ObjectType::kHash, Encoding::kAuto, 0, 0x1122334455667788}, "05 02 11 22 33 44 55 66 77 88"},
      {{ObjectType::kStream, Encoding::kText, 1, 2}, "06 0b 00 00 00 00 00 00 00 01 00 00 00 00 00 00 00 02"},
  };
  for (const auto& [head, hex] : cases) {
    std::string out;
    AppendHead(out, head);
    EXPECT_EQ(out, Hex(hex));
    const std::string whole = out + "body";
    std::string_view in = whole;
    Head decoded;
    ASSERT_TRUE(DecodeHead(in, &decoded).ok()) << hex;
    EXPECT_EQ(decoded, head);
    EXPECT_EQ(in, "body");
  }
}

TEST(FormatTest, GoldenCollectionBody) {
  std::string out;
  AppendCollectionBody(out, {3, 300, 0});
  EXPECT_EQ(out, Hex("03 ac 02 00"));
  std::string_view in = out;
  CollectionBody body;
  ASSERT_TRUE(DecodeCollectionBody(in, &body));
  EXPECT_EQ(body, (CollectionBody{3, 300, 0}));
  EXPECT_TRUE(in.empty());
}

TEST(FormatTest, GoldenListBody) {
  const uint64_t head = uint64_t{1} << 62;
  std::string out;
  AppendCollectionBody(out, {4, head, (head + 3) << 1 | 1});
  EXPECT_EQ(out, Hex("04 80 80 80 80 80 80 80 80 40 87 80 80 80 80 80 80 80 80 01"));
  std::string_view in = out;
  CollectionBody body;
  ASSERT_TRUE(DecodeCollectionBody(in, &body));
  EXPECT_EQ(body, (CollectionBody{4, head, (head + 3) << 1 | 1}));
}

TEST(FormatTest, GoldenListBodyWithRowsLeft) {
  const uint64_t head = uint64_t{1} << 62;
  const CollectionBody left{5000, head, (head + 5000) << 1, 0, 7};
  std::string out;
  AppendSpreadBody(out, left);
  EXPECT_EQ(out, Hex("88 27 80 80 80 80 80 80 80 80 40 90 ce 80 80 80 80 80 80 80 01 00 07"));
  CollectionBody body;
  ASSERT_TRUE(DecodeSpreadBody(out, &body));
  EXPECT_EQ(body, left);
  for (const std::string_view bad : {std::string_view(out).substr(0, out.size() - 1), std::string_view()})
    EXPECT_FALSE(DecodeSpreadBody(bad, &body));
  EXPECT_FALSE(DecodeSpreadBody(out + '\0', &body));

  out.clear();
  AppendSpreadBody(out, {3, 300, 0});
  EXPECT_EQ(out, Hex("03 ac 02 00"));
  ASSERT_TRUE(DecodeSpreadBody(out, &body));
  EXPECT_EQ(body, (CollectionBody{3, 300, 0}));
}

TEST(FormatTest, GoldenSortedSetBody) {
  std::string out;
  AppendCollectionBody(out, {7, SortableScore(100), ~SortableScore(799)});
  EXPECT_EQ(out, Hex("07 80 80 80 80 80 80 c0 ac c0 01 ff ff ff ff ff ff c1 bb 3f"));
}

TEST(FormatTest, GoldenPackedRows) {
  const std::string bytes = Hex("02 01 61 02 31 32 00 00");
  std::string_view in = bytes;
  std::vector<std::pair<std::string, std::string>> rows;
  ASSERT_TRUE(DecodePackedRows(
      in, [&](std::string_view key, std::string_view value) { rows.emplace_back(key, value); }));
  EXPECT_EQ(rows, (std::vector<std::pair<std::string, std::string>>{{"a", "12"}, {"", ""}}));
  EXPECT_TRUE(in.empty());
}

TEST(FormatTest, GoldenRowKey) {
  std::string out;
  AppendRowKey(out, 258, "field");
  EXPECT_EQ(out, Hex("00 00 00 00 00 00 01 02 66 69 65 6c 64"));
  uint64_t id;
  std::string_view row_key;
  ASSERT_TRUE(DecodeRowKey(out, &id, &row_key));
  EXPECT_EQ(id, 258u);
  EXPECT_EQ(row_key, "field");
}

TEST(FormatTest, GoldenExpiryIndexKey) {
  std::string out;
  AppendExpiryIndexKey(out, 0x18bcfe56800, 9, "k");
  EXPECT_EQ(out, Hex("00 00 00 00 00 00 00 00 00 00 01 8b cf e5 68 00 00 09 6b"));
  ExpiryIndexKey row;
  ASSERT_TRUE(DecodeExpiryIndexKey(out, &row));
  EXPECT_EQ(row.expire_at_ms, 0x18bcfe56800u);
  EXPECT_EQ(row.db, 9);
  EXPECT_EQ(row.key, "k");
  out[7] = 1;  // a row of the object with id 1
  EXPECT_FALSE(DecodeExpiryIndexKey(out, &row));
}

TEST(FormatTest, GoldenVersion) {
  std::string out;
  AppendVersion(out, 1, "thermocline");
  EXPECT_EQ(out, Hex("00 00 00 01") + "thermocline");
  uint32_t version;
  std::string_view program;
  ASSERT_TRUE(DecodeVersion(out, &version, &program).ok());
  EXPECT_EQ(version, 1u);
  EXPECT_EQ(program, "thermocline");
}

TEST(FormatTest, GoldenPurgeKey) {
  std::string out;
  AppendPurgeKey(out, 0x0102);
  EXPECT_EQ(out, Hex("70 00 00 00 00 00 00 01 02"));
  uint64_t id;
  ASSERT_TRUE(DecodePurgeKey(out, &id));
  EXPECT_EQ(id, 0x0102u);
}

// ---- Scores
// ------------------------------------------------------------------------------------------------

TEST(FormatTest, SortableScoresKeepTheOrder) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  const double ordered[] = {-kInfinity,
                            std::numeric_limits<double>::lowest(),
                            -1e300,
                            -3.5,
                            -3.25,
                            -1,
                            -std::numeric_limits<double>::min(),
                            -std::numeric_limits<double>::denorm_min(),
                            0,
                            std::numeric_limits<double>::denorm_min(),
                            std::numeric_limits<double>::min(),
                            0.1,
                            1,
                            3.25,
                            3.5,
                            9007199254740993.0,
                            1e300,
                            std::numeric_limits<double>::max(),
                            kInfinity};
  for (size_t i = 0; i < std::size(ordered); ++i) {
    EXPECT_EQ(ScoreFromSortable(SortableScore(ordered[i])), ordered[i]);
    if (i == 0) continue;
    EXPECT_LT(SortableScore(ordered[i - 1]), SortableScore(ordered[i])) << ordered[i];
    std::string a, b;
    AppendBig64(a, SortableScore(ordered[i - 1]));
    AppendBig64(b, SortableScore(ordered[i]));
    EXPECT_LT(a, b);
  }
}

TEST(FormatTest, GoldenScores) {
  EXPECT_EQ(SortableScore(0.0), 0x8000000000000000u);
  EXPECT_EQ(SortableScore(-0.0), 0x8000000000000000u);
  EXPECT_FALSE(std::signbit(ScoreFromSortable(SortableScore(-0.0))));
  EXPECT_EQ(SortableScore(1.0), 0xbff0000000000000u);
  EXPECT_EQ(SortableScore(-1.0), 0x400fffffffffffffu);
  EXPECT_EQ(SortableScore(std::numeric_limits<double>::infinity()), 0xfff0000000000000u);
  EXPECT_EQ(SortableScore(-std::numeric_limits<double>::infinity()), 0x000fffffffffffffu);
}

// ---- Broken bytes
// ------------------------------------------------------------------------------------------

/// A decoder, as a function that says whether the bytes were accepted and, if so, gives what they mean
/// encoded again.
struct Decoder {
  const char* name;
  std::string bytes;  ///< a good example
  bool whole;         ///< takes all bytes: no shorter prefix is good
  std::function<std::optional<std::string>(std::string_view)> round_trip;
};

std::vector<Decoder> Decoders() {
  std::vector<Decoder> all;
  std::string bytes;
  State state = GoldenState();
  state.databases.push_back({1, 900, 70'000, 69'999});
  state.dropped.push_back(65'535);
  AppendState(bytes, state);
  all.push_back({"state", bytes, true, [](std::string_view in) -> std::optional<std::string> {
                   State decoded;
                   std::string out;
                   if (!DecodeState(in, &decoded).ok()) return std::nullopt;
                   AppendState(out, decoded);
                   return out;
                 }});
  bytes.clear();
  AppendHead(bytes, {ObjectType::kHash, Encoding::kRaw, 12345, 678});
  all.push_back({"head", bytes, true, [](std::string_view in) -> std::optional<std::string> {
                   Head head;
                   std::string out;
                   if (!DecodeHead(in, &head).ok()) return std::nullopt;
                   AppendHead(out, head);
                   return out + std::string(in);
                 }});
  bytes.clear();
  AppendCollectionBody(bytes, {70'000, 1ull << 40, 3});
  all.push_back({"collection body", bytes, true, [](std::string_view in) -> std::optional<std::string> {
                   CollectionBody body;
                   std::string out;
                   if (!DecodeCollectionBody(in, &body)) return std::nullopt;
                   AppendCollectionBody(out, body);
                   return out + std::string(in);
                 }});
  all.push_back({"packed rows", Hex("02 01 61 02 31 32 00 00"), true,
                 [](std::string_view in) -> std::optional<std::string> {
                   std::string rows, out;
                   uint64_t count = 0;
                   if (!DecodePackedRows(in, [&](std::string_view key, std::string_view value) {
                         AppendSized(rows, key), AppendSized(rows, value), ++count;
                       })) {
                     return std::nullopt;
                   }
                   AppendVarint(out, count);
                   return out + rows + std::string(in);
                 }});
  all.push_back({"metadata key", Hex("01 02"), true, [](std::string_view in) -> std::optional<std::string> {
                   uint16_t db;
                   std::string_view key;
                   std::string out;
                   if (!DecodeMetadataKey(in, &db, &key)) return std::nullopt;
                   AppendMetadataKey(out, db, key);
                   return out;
                 }});
  bytes.clear();
  AppendRowKey(bytes, 77, "");
  all.push_back({"row key", bytes, true, [](std::string_view in) -> std::optional<std::string> {
                   uint64_t id;
                   std::string_view key;
                   std::string out;
                   if (!DecodeRowKey(in, &id, &key)) return std::nullopt;
                   AppendRowKey(out, id, key);
                   return out;
                 }});
  bytes.clear();
  AppendExpiryIndexKey(bytes, 1234567, 3, "");
  all.push_back({"expiry index key", bytes, true, [](std::string_view in) -> std::optional<std::string> {
                   ExpiryIndexKey row;
                   std::string out;
                   if (!DecodeExpiryIndexKey(in, &row)) return std::nullopt;
                   AppendExpiryIndexKey(out, row.expire_at_ms, row.db, row.key);
                   return out;
                 }});
  bytes.clear();
  AppendVersion(bytes, 5, "");
  all.push_back({"version", bytes, true, [](std::string_view in) -> std::optional<std::string> {
                   uint32_t version;
                   std::string_view program;
                   std::string out;
                   if (!DecodeVersion(in, &version, &program).ok()) return std::nullopt;
                   AppendVersion(out, version, program);
                   return out;
                 }});
  bytes.clear();
  AppendPurgeKey(bytes, 99);
  all.push_back({"purge key", bytes, true, [](std::string_view in) -> std::optional<std::string> {
                   uint64_t id;
                   std::string out;
                   if (!DecodePurgeKey(in, &id)) return std::nullopt;
                   AppendPurgeKey(out, id);
                   return out;
                 }});
  return all;
}

TEST(FormatTest, GoodExamplesRoundTrip) {
  for (const Decoder& decoder : Decoders())
    EXPECT_EQ(decoder.round_trip(decoder.bytes), decoder.bytes) << decoder.name;
}

TEST(FormatTest, TruncatedBytesAreRefused) {
  for (const Decoder& decoder : Decoders()) {
    for (size_t size = 0; size < decoder.bytes.size(); ++size) {
      // A copy of its own, so that a sanitizer sees a read past the end.
      const std::vector<char> cut(decoder.bytes.begin(),
                                  decoder.bytes.begin() + static_cast<ptrdiff_t>(size));
      EXPECT_EQ(decoder.round_trip({cut.data(), cut.size()}), std::nullopt)
          << decoder.name << " cut to " << size;
    }
  }
}

TEST(FormatTest, FlippedBytesAreRefusedOrMeanSomethingElse) {
  for (const Decoder& decoder : Decoders()) {
    for (size_t i = 0; i < decoder.bytes.size(); ++i) {
      for (int flip = 1; flip < 256; ++flip) {
        std::string bytes = decoder.bytes;
        bytes[i] = static_cast<char>(bytes[i] ^ flip);
        const std::optional<std::string> again = decoder.round_trip(bytes);
        // Never taken for the example: every byte counts.
        EXPECT_NE(again, decoder.bytes) << decoder.name << " byte " << i << " flipped by " << flip;
      }
    }
  }
}

TEST(FormatTest, UnknownHeadsAreRefused) {
  for (const char* hex : {"00 00", "07 00", "ff 00", "01 10", "01 80", "01 0c",
                          "05 01 00 00 00 00 00 00 00 00", "05 02 00 00 00 00 00 00 00 00"}) {
    const std::string bytes = Hex(hex);
    std::string_view in = bytes;
    Head head;
    EXPECT_EQ(DecodeHead(in, &head).code(), Code::kCorruption) << hex;
  }
}

TEST(FormatTest, ImpossibleStatesAreRefused) {
  for (const char* hex : {
           "00 07 00 00",                          // object id 0 is never given out
           "2a 81 80 04 00 00",                    // over 65536 databases
           "2a 07 81 80 04 00",                    //
           "2a 07 00 81 80 04",                    //
           "2a 07 01 00 00 00 03 02 05 00",        // more expiries than keys
           "2a 07 00 00 00",                       // bytes behind the end
           "2a 07 ff ff ff ff ff ff ff ff ff 01",  // a count without rows
       }) {
    State state;
    EXPECT_EQ(DecodeState(Hex(hex), &state).code(), Code::kCorruption) << hex;
  }
}

}  // namespace
}  // namespace thermocline::format
