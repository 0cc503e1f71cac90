#include "engine/bits.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "engine/keyspace_fixture.h"
#include "engine/string.h"

namespace thermocline {
namespace {

using format::kChunkBytes;

bool BitOf(const std::string& value, uint64_t at) {
  return at / 8 < value.size() && (static_cast<uint8_t>(value[at / 8]) >> (7 - at % 8) & 1) != 0;
}
void PutBit(std::string* value, uint64_t at, bool on) {
  if (at / 8 >= value->size()) value->resize(at / 8 + 1);
  const auto mask = static_cast<char>(1 << (7 - at % 8));
  (*value)[at / 8] = static_cast<char>(on ? (*value)[at / 8] | mask : (*value)[at / 8] & ~mask);
}

class BitsTest : public KeyspaceFixture {
 protected:
  void Set(std::string_view key, std::string_view value) {
    Run([&](Txn& txn) { SetStringValue(txn, txn.ForWrite(key), value, Encoding::kAuto); });
  }
  std::string Get(std::string_view key) {
    return Run([&](Txn& txn) {
      std::string value;
      Object* object = txn.Find(key);
      if (object != nullptr) AppendStringRange(txn, object, 0, StringSize(object), &value);
      return value;
    });
  }
  bool Put(std::string_view key, uint64_t at, bool on) {
    return *Run([&](Txn& txn) { return SetBit(txn, key, at, on); });
  }
  bool Bit(std::string_view key, uint64_t at) {
    return Run([&](Txn& txn) {
      Object* object = txn.Find(key);
      return object != nullptr && GetBit(txn, object, at);
    });
  }
  uint64_t Count(std::string_view key, uint64_t begin, uint64_t end) {
    return Run([&](Txn& txn) { return CountBits(txn, txn.Find(key), begin, end); });
  }
  std::optional<uint64_t> FindFirst(std::string_view key, bool on, uint64_t begin, uint64_t end) {
    return Run([&](Txn& txn) { return FindBit(txn, txn.Find(key), on, begin, end); });
  }
  uint64_t Combine(BitOperator op, std::string_view to, std::vector<std::string_view> from) {
    return *Run([&](Txn& txn) { return CombineBits(txn, op, to, from); });
  }
  std::vector<BitFieldStep> Field(std::string_view key, std::vector<BitFieldStep> steps) {
    Run([&](Txn& txn) { EXPECT_TRUE(RunBitField(txn, key, steps).ok()); });
    return steps;
  }
};

TEST_F(BitsTest, SparseBitmapCostsOneChunk) {
  constexpr uint64_t kFar = (uint64_t{512} << 20) * 8 - 1;
  EXPECT_FALSE(Put("k", kFar, true));
  EXPECT_TRUE(Put("k", kFar, true));
  EXPECT_FALSE(Put("k", 7, true));
  Commit();
  EXPECT_LT(keyspace->stats().committed_bytes, 20'000u);
  for (int i = 0; i < 2; ++i) {
    EXPECT_TRUE(Bit("k", kFar));
    EXPECT_FALSE(Bit("k", kFar - 1));
    EXPECT_FALSE(Bit("k", kFar / 2));
    EXPECT_EQ(Count("k", 0, kFar + 1), 2u);
    EXPECT_EQ(FindFirst("k", true, 8, kFar + 1), kFar);
    EXPECT_EQ(FindFirst("k", false, 7, kFar + 1), 8u);
    EXPECT_EQ(FindFirst("k", false, kFar, kFar + 1), std::nullopt);
    Reopen();
  }
  EXPECT_EQ(Combine(BitOperator::kOr, "to", {"k", "none"}), uint64_t{512} << 20);
  EXPECT_EQ(Combine(BitOperator::kAnd, "k", {"k", "to"}), uint64_t{512} << 20);
  EXPECT_EQ(Count("k", 0, kFar + 1), 2u);
  Commit();
  EXPECT_LT(keyspace->stats().committed_bytes, 60'000u);
}

TEST_F(BitsTest, OneBitOfALargeBitmapWritesOneChunk) {
  Set("k", std::string(2'000'000, '\x55'));
  Commit();
  Reopen();
  EXPECT_FALSE(Put("k", 8'000'000, true));
  Commit();
  EXPECT_LT(keyspace->stats().committed_bytes, 10'000u);
  EXPECT_EQ(Count("k", 0, 16'000'000), 8'000'001u);
}

TEST_F(BitsTest, FieldsOverflowAsTheyAreTold) {
  using Kind = BitFieldStep::Kind;
  using Overflow = BitFieldStep::Overflow;
  const auto step = [](Kind kind, Overflow overflow, bool is_signed, uint8_t bits, int64_t value) {
    return BitFieldStep{kind, overflow, is_signed, bits, 3, value};
  };
  std::vector<BitFieldStep> got = Field("k", {step(Kind::kSet, Overflow::kWrap, false, 8, 255),
                                              step(Kind::kIncrement, Overflow::kWrap, false, 8, 10),
                                              step(Kind::kIncrement, Overflow::kSaturate, false, 8, -100),
                                              step(Kind::kIncrement, Overflow::kFail, false, 8, -1),
                                              step(Kind::kSet, Overflow::kSaturate, false, 8, -1),
                                              step(Kind::kGet, Overflow::kWrap, true, 8, 0),
                                              step(Kind::kSet, Overflow::kSaturate, true, 8, 1000),
                                              step(Kind::kIncrement, Overflow::kWrap, true, 8, 1),
                                              step(Kind::kSet, Overflow::kWrap, true, 64, INT64_MIN),
                                              step(Kind::kIncrement, Overflow::kFail, true, 64, -1),
                                              step(Kind::kIncrement, Overflow::kWrap, true, 64, -1)});
  const std::vector<int64_t> want = {0,         9,        0, 0, 0, -1, -1, -128, -128 * (int64_t{1} << 56),
                                     INT64_MIN, INT64_MAX};
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < want.size(); ++i) {
    EXPECT_EQ(got[i].failed, i == 3 || i == 9) << i;
    if (!got[i].failed) {
      EXPECT_EQ(got[i].result, want[i]) << i;
    }
  }
}

TEST_F(BitsTest, FieldsReachOverChunks) {
  Set("k", std::string(100'000, '\xff'));
  Commit();
  Reopen();
  const uint64_t edge = uint64_t{kChunkBytes} * 8;
  BitFieldStep write{BitFieldStep::Kind::kSet, BitFieldStep::Overflow::kWrap, true, 64, edge - 29,
                     0x0123456789abcdef};
  BitFieldStep read{BitFieldStep::Kind::kGet, BitFieldStep::Overflow::kWrap, true, 64, edge - 29, 0};
  waits = 0;
  EXPECT_EQ(Field("k", {read, write, read})[2].result, 0x0123456789abcdef);
  EXPECT_EQ(waits, 2);  // the head, then both chunks at once
  Commit();
  Reopen();
  EXPECT_EQ(Field("k", {read})[0].result, 0x0123456789abcdef);
  EXPECT_TRUE(Bit("k", edge - 30));
  EXPECT_TRUE(Bit("k", edge + 35));
}

TEST_F(BitsTest, AgreesWithAModel) {
  const char* given = std::getenv("SEED");
  const uint64_t seed = given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device{}();
  SCOPED_TRACE("SEED=" + std::to_string(seed));
  std::mt19937_64 random(seed);
  const std::vector<std::string> keys = {"a", "b", "c", "d"};
  std::map<std::string, std::string> model;
  const auto some_key = [&] { return keys[random() % keys.size()]; };
  for (int i = 0; i < 1500 && !HasFailure(); ++i) {
    const std::string key = some_key();
    std::string& value = model[key];
    const uint64_t bits = value.size() * 8;
    const uint64_t begin = bits == 0 ? 0 : random() % bits;
    const uint64_t end = bits == 0 ? 0 : begin + random() % (bits - begin) + 1;
    switch (random() % 7) {
      case 0: {
        static const size_t sizes[] = {0, 5, 100, kChunkBytes, kChunkBytes + 1, kInlineBytesMax + 9, 400'000};
        value.assign(sizes[random() % std::size(sizes)], random() % 2 ? '\0' : '\xff');
        Set(key, value);
        break;
      }
      case 1:
      case 2: {
        const uint64_t at = random() % (random() % 2 ? 200 : 2'000'000);
        const bool on = random() % 2;
        EXPECT_EQ(Put(key, at, on), BitOf(value, at));
        PutBit(&value, at, on);
        break;
      }
      case 3: {
        if (bits == 0) break;
        uint64_t count = 0;
        for (uint64_t at = begin; at < end; ++at) count += BitOf(value, at);
        EXPECT_EQ(Count(key, begin, end), count) << begin << " to " << end;
        break;
      }
      case 4: {
        if (bits == 0) break;
        const bool on = random() % 2;
        uint64_t at = begin;
        while (at < end && BitOf(value, at) != on) ++at;
        const std::optional<uint64_t> want = at < end ? std::optional(at) : std::nullopt;
        EXPECT_EQ(FindFirst(key, on, begin, end), want) << begin << " to " << end;
        break;
      }
      case 5: {
        const std::string from[2] = {some_key(), some_key()};
        const int op = static_cast<int>(random() % 4);
        const std::string a = model[from[0]], b = op == 3 ? std::string() : model[from[1]];
        std::string want(std::max(a.size(), b.size()), '\0');
        for (size_t j = 0; j < want.size(); ++j) {
          const char x = j < a.size() ? a[j] : '\0', y = j < b.size() ? b[j] : '\0';
          want[j] = static_cast<char>(op == 0 ? x & y : op == 1 ? x | y : op == 2 ? x ^ y : ~x);
        }
        std::vector<std::string_view> sources = {from[0]};
        if (op != 3) sources.push_back(from[1]);
        EXPECT_EQ(Combine(static_cast<BitOperator>(op), key, sources), want.size());
        value = want;
        break;
      }
      default: EXPECT_TRUE(Get(key) == value) << "step " << i;
    }
    if (random() % 4 == 0) Commit();
    if (random() % 40 == 0) EvictAll();
    if (random() % 60 == 0) {
      Commit();
      Reopen();
    }
  }
  for (const std::string& key : keys) EXPECT_TRUE(Get(key) == model[key]);
}

}  // namespace
}  // namespace thermocline
