#include "engine/string.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <random>
#include <string>

#include "engine/keyspace_fixture.h"

namespace thermocline {
namespace {

using format::kChunkBytes;

std::string Pattern(size_t size, uint32_t seed = 1) {
  std::string text(size, '\0');
  for (size_t i = 0; i < size; ++i) text[i] = static_cast<char>('a' + (i * 7 + i / 251 + seed) % 26);
  return text;
}

class StringTest : public KeyspaceFixture {
 protected:
  void Set(std::string_view key, std::string_view value, uint64_t expiry = kNoExpiry) {
    Run([&](Txn& txn) { SetStringValue(txn, txn.ForWrite(key), value, Encoding::kAuto, expiry); });
  }
  std::optional<std::string> Get(std::string_view key) {
    return Run([&](Txn& txn) -> std::optional<std::string> {
      Object* object = txn.Find(key);
      if (object == nullptr) return std::nullopt;
      std::string value;
      AppendStringRange(txn, object, 0, StringSize(object), &value);
      return value;
    });
  }
  std::optional<std::string> Range(std::string_view key, uint64_t begin, uint64_t end) {
    return Run([&](Txn& txn) -> std::optional<std::string> {
      Object* object = txn.Find(key);
      if (object == nullptr) return std::nullopt;
      std::string buffer;
      return std::string(StringRange(txn, object, begin, end, &buffer));
    });
  }
  uint64_t Append(std::string_view key, std::string_view bytes) {
    return *Run([&](Txn& txn) { return StringAppend(txn, key, bytes); });
  }
  uint64_t SetRange(std::string_view key, uint64_t offset, std::string_view bytes) {
    return *Run([&](Txn& txn) { return StringSetRange(txn, key, offset, bytes); });
  }
  std::string Encoding(std::string_view key) {
    return Run([&](Txn& txn) { return std::string(StringEncodingName(txn, txn.Find(key))); });
  }
  bool HasRows(std::string_view key) {
    return Run([&](Txn& txn) { return txn.Find(key)->has_rows; });
  }
  void Remove(std::string_view key) {
    Run([&](Txn& txn) {
      if (Object* object = txn.Find(key)) txn.Remove(object);
    });
  }
  size_t ResidentChunks(std::string_view key) {
    return Run([&](Txn& txn) { return size_t{txn.Find(key)->rows->fields.count()}; });
  }
};

TEST_F(StringTest, SetsAndGetsEverySize) {
  const std::vector<size_t> sizes = {0,
                                     1,
                                     44,
                                     4095,
                                     4096,
                                     kChunkBytes - 1,
                                     kChunkBytes,
                                     kChunkBytes + 1,
                                     kInlineBytesMax - 1,
                                     kInlineBytesMax,
                                     kInlineBytesMax + 1,
                                     2 * kInlineBytesMax,
                                     1'000'003};
  for (const size_t size : sizes) Set("k" + std::to_string(size), Pattern(size));
  const auto check = [&] {
    for (const size_t size : sizes) {
      EXPECT_EQ(Get("k" + std::to_string(size)), Pattern(size)) << size;
      EXPECT_EQ(HasRows("k" + std::to_string(size)), size > kInlineBytesMax);
    }
    EXPECT_EQ(Get("none"), std::nullopt);
    EXPECT_EQ(keyspace->KeyCount(0), sizes.size());
  };
  check();
  Commit();
  check();
  EvictAll();
  check();
  Reopen();
  check();
  EXPECT_GT(waits, 0);
}

TEST_F(StringTest, OverwritesAcrossForms) {
  const size_t sizes[] = {3, kInlineBytesMax + 5, 0, 3 * kInlineBytesMax, kInlineBytesMax};
  for (const bool commit : {false, true}) {
    for (const size_t size : sizes) {
      Set("k", Pattern(size));
      if (!commit) continue;
      Commit();
      Reopen();
    }
    Commit();
    Reopen();
    EXPECT_EQ(Get("k"), Pattern(kInlineBytesMax));
    EXPECT_EQ(keyspace->KeyCount(0), 1u);
    Remove("k");
    EXPECT_EQ(Get("k"), std::nullopt);
    Commit();
    Reopen();
    EXPECT_EQ(Get("k"), std::nullopt);
    EXPECT_EQ(keyspace->KeyCount(0), 0u);
  }
  RunBackground([&] { return keyspace->purge_backlog() == 0; });
}

TEST_F(StringTest, AppendsOverTheEdgeOfAChunk) {
  std::string model;
  for (int i = 0; i < 40; ++i) {
    const std::string piece = Pattern(1009, static_cast<uint32_t>(i));
    model += piece;
    EXPECT_EQ(Append("k", piece), model.size());
    EXPECT_EQ(HasRows("k"), i > 0 && model.size() > kChunkBytes);
    if (i % 7 == 0) Commit();
    if (i % 13 == 0) {
      Commit();
      Reopen();
    }
  }
  EXPECT_EQ(Get("k"), model);
  EXPECT_EQ(Append("k", ""), model.size());
  Commit();
  Reopen();
  EXPECT_EQ(Get("k"), model);
}

TEST_F(StringTest, WritesOneChunkOfALargeValue) {
  Set("k", Pattern(3'000'000));
  Commit();
  Reopen();
  const uint64_t before = keyspace->stats().committed_bytes;
  EXPECT_EQ(SetRange("k", 1'500'000, "hello"), 3'000'000u);
  EXPECT_EQ(ResidentChunks("k"), 1u);
  Commit();
  EXPECT_LT(keyspace->stats().committed_bytes - before, kChunkBytes + 1000);
  EXPECT_EQ(Range("k", 1'499'999, 1'500'006),
            Pattern(3'000'000).substr(1'499'999, 1) + "hello" + Pattern(3'000'000).substr(1'500'005, 1));
  EXPECT_EQ(ResidentChunks("k"), 1u);
}

TEST_F(StringTest, LeavesHolesOutOfASparseValue) {
  constexpr uint64_t kFar = 500ull << 20;
  EXPECT_EQ(SetRange("k", kFar, "end"), kFar + 3);
  EXPECT_EQ(ResidentChunks("k"), 1u);
  EXPECT_EQ(Range("k", kFar - 2, kFar + 3), std::string("\0\0end", 5));
  EXPECT_EQ(Range("k", 100, 103), std::string(3, '\0'));
  Commit();
  EXPECT_LT(keyspace->stats().committed_bytes, 20'000u);
  Reopen();
  EXPECT_EQ(Range("k", kFar - 2, kFar + 3), std::string("\0\0end", 5));
  EXPECT_EQ(Range("k", 100, 400'000), std::string(399'900, '\0'));
  EXPECT_EQ(SetRange("k", 5, "start"), kFar + 3);
  EXPECT_EQ(Range("k", 4, 11), std::string("\0start\0", 7));
  Commit();
  EXPECT_LT(keyspace->stats().committed_bytes, 40'000u);
  EXPECT_EQ(Run([](Txn& txn) { return StringAppend(txn, "k", std::string(20 << 20, 'x')); }).code(),
            Code::kTooLarge);
}

TEST_F(StringTest, RefusesTooLargeValues) {
  keyspace->options().string_bytes_max = 1 << 20;
  const auto set_range = [&](uint64_t offset, std::string_view bytes) {
    return Run([&](Txn& txn) { return StringSetRange(txn, "k", offset, bytes); });
  };
  EXPECT_EQ(set_range((1 << 20) - 1, "x").code(), Code::kOk);
  EXPECT_EQ(set_range((1 << 20) - 1, "xy").code(), Code::kTooLarge);
  EXPECT_EQ(set_range(UINT64_MAX / 2, "x").code(), Code::kTooLarge);
  EXPECT_EQ(set_range(UINT64_MAX / 2, "").code(), Code::kOk);
  EXPECT_EQ(Run([](Txn& txn) { return StringAppend(txn, "k", "x"); }).code(), Code::kTooLarge);
}

TEST_F(StringTest, CountsWithIntegersAndFloats) {
  const auto add = [&](std::string_view key, int64_t delta) {
    return Run([&](Txn& txn) { return StringIncrement(txn, key, delta); });
  };
  const auto add_float = [&](std::string_view key, std::string_view delta) {
    return Run([&](Txn& txn) { return StringIncrementFloat(txn, key, delta); });
  };
  EXPECT_EQ(*add("n", 5), 5);
  EXPECT_EQ(*add("n", -15), -10);
  EXPECT_EQ(Get("n"), "-10");
  EXPECT_EQ(Encoding("n"), "int");
  EXPECT_EQ(*add_float("n", "0.5"), "-9.5");
  EXPECT_EQ(Encoding("n"), "embstr");
  EXPECT_EQ(add("n", 1).code(), Code::kNotInteger);
  EXPECT_EQ(*add_float("n", "9.5"), "0");
  EXPECT_EQ(Encoding("n"), "embstr");
  EXPECT_EQ(*add("n", INT64_MAX), INT64_MAX);
  EXPECT_EQ(add("n", 1).code(), Code::kOverflow);
  Set("n", "-9223372036854775808");
  EXPECT_EQ(Encoding("n"), "int");
  EXPECT_EQ(add("n", -1).code(), Code::kOverflow);
  EXPECT_EQ(add_float("n", "nan").code(), Code::kNotFloat);
  EXPECT_EQ(add_float("n", "inf").code(), Code::kNotFinite);
  Set("n", " 1");
  EXPECT_EQ(add("n", 1).code(), Code::kNotInteger);
  EXPECT_EQ(add_float("n", "1").code(), Code::kNotFloat);
  Set("n", Pattern(kInlineBytesMax + 1));
  EXPECT_EQ(add("n", 1).code(), Code::kNotInteger);
  EXPECT_EQ(add_float("n", "1").code(), Code::kNotFloat);
  Run([](Txn& txn) { txn.MakeRows(txn.ForWrite("list"), ObjectType::kList); });
  EXPECT_EQ(add("list", 1).code(), Code::kWrongType);
  EXPECT_EQ(Run([](Txn& txn) { return StringAppend(txn, "list", "x"); }).code(), Code::kWrongType);
}

TEST_F(StringTest, NamesEncodingsAsRedisDoes) {
  Set("k", "123");
  EXPECT_EQ(Encoding("k"), "int");
  Set("k", "0123");
  EXPECT_EQ(Encoding("k"), "embstr");
  Set("k", std::string(44, 'x'));
  EXPECT_EQ(Encoding("k"), "embstr");
  Set("k", std::string(45, 'x'));
  EXPECT_EQ(Encoding("k"), "raw");
  Append("new", "123");
  EXPECT_EQ(Encoding("new"), "int");
  Append("new", "4");
  EXPECT_EQ(Encoding("new"), "raw");
  SetRange("range", 0, "1");
  EXPECT_EQ(Encoding("range"), "raw");
  Commit();
  Reopen();
  EXPECT_EQ(Encoding("new"), "raw");
}

TEST_F(StringTest, KeepsAndDropsExpiries) {
  const uint64_t now = clock.WallMs();
  for (const size_t size : {size_t{3}, kInlineBytesMax + 1}) {
    const std::string value = Pattern(size);
    Set("k", value, now + 1000);
    EXPECT_EQ(keyspace->ExpiryCount(0), 1u);
    Append("k", Pattern(kChunkBytes));  // becomes one in chunks
    Set("kept", value, now + 1000);
    Set("kept", "v", kKeepExpiry);
    Set("dropped", value, now + 1000);
    Set("dropped", value);
    Set("later", value, now + 1000);
    Set("later", value, now + 5000);
    EXPECT_EQ(keyspace->ExpiryCount(0), 3u);
    Commit();
    Reopen();
    clock.AdvanceMs(1000);
    EXPECT_TRUE(Get("k").has_value());
    clock.AdvanceMs(1);
    EXPECT_EQ(Get("k"), std::nullopt);
    EXPECT_EQ(Get("kept"), std::nullopt);
    EXPECT_EQ(Get("dropped"), value);
    EXPECT_EQ(Get("later"), value);
    EXPECT_EQ(keyspace->ExpiryCount(0), 1u);
    EXPECT_EQ(keyspace->KeyCount(0), 2u);
    clock.AdvanceMs(4000);
    Commit();
    RunBackground([&] { return keyspace->KeyCount(0) == 1; });
    Reopen();
    EXPECT_EQ(keyspace->KeyCount(0), 1u);
    clock.AdvanceMs(-5001);  // back to the start
    Remove("dropped");
  }
}

TEST_F(StringTest, PrefetchWaitsOnceForAllKeys) {
  std::vector<std::string> names;
  for (int i = 0; i < 100; ++i) {
    names.push_back("k" + std::to_string(i));
    Set(names.back(), std::to_string(i));
  }
  Commit();
  Reopen();
  const std::vector<std::string_view> keys(names.begin(), names.end());
  waits = 0;
  Run([&](Txn& txn) {
    txn.Prefetch(keys);
    for (const std::string_view key : keys) EXPECT_NE(txn.Find(key), nullptr);
  });
  EXPECT_EQ(waits, 1);
}

/// Commands that unwind in the middle leave nothing behind.
TEST_F(StringTest, TakesBackWhatAnUnwoundCommandDid) {
  Set("a", "1");
  Set("big", Pattern(200'000));
  Set("cold", "2");
  Commit();
  Reopen();
  int runs = 0;
  Run([&](Txn& txn) {
    ++runs;
    (void)*StringIncrement(txn, "a", 1);
    (void)*StringAppend(txn, "big", "x");
    (void)*StringIncrement(txn, "fresh", 1);
    (void)*StringIncrement(txn, "cold", 1);
  });
  EXPECT_GT(runs, 2);
  EXPECT_EQ(Get("a"), "2");
  EXPECT_EQ(Get("fresh"), "1");
  EXPECT_EQ(Get("cold"), "3");
  EXPECT_EQ(Get("big"), Pattern(200'000) + "x");
  Commit();
  Reopen();
  EXPECT_EQ(Get("big"), Pattern(200'000) + "x");
  EXPECT_EQ(keyspace->KeyCount(0), 4u);
}

/// Random commands against a map of strings, with eviction and reopening in between.
class StringModelTest : public StringTest {
 protected:
  size_t RandomSize() {
    static const size_t edges[] = {
        0, 1, kChunkBytes, 2 * kChunkBytes, kInlineBytesMax, kInlineBytesMax + kChunkBytes};
    switch (random_() % 4) {
      case 0: return edges[random_() % std::size(edges)] + random_() % 3;
      case 1: return random_() % (3 * kInlineBytesMax);
      default: return random_() % 100;
    }
  }

  void Step() {
    const std::string key = "k" + std::to_string(random_() % 6);
    const bool there = model_.contains(key);
    std::string& value = model_[key];
    const auto seed = static_cast<uint32_t>(random_());
    switch (random_() % 8) {
      case 0:
        value = Pattern(RandomSize(), seed);
        Set(key, value);
        break;
      case 1: {
        const std::string piece = Pattern(RandomSize(), seed);
        value += piece;
        EXPECT_EQ(Append(key, piece), value.size());
        break;
      }
      case 2:
      case 3: {
        const size_t offset = random_() % 2 ? RandomSize() : random_() % (value.size() + 1);
        const std::string piece = Pattern(1 + RandomSize(), seed);
        if (value.size() < offset + piece.size()) value.resize(offset + piece.size());
        value.replace(offset, piece.size(), piece);
        EXPECT_EQ(SetRange(key, offset, piece), value.size());
        break;
      }
      case 4:
        if (random_() % 4 == 0) {
          Remove(key);
          model_.erase(key);
        } else if (!there) {
          model_.erase(key);
        }
        break;
      default: {
        const size_t begin = random_() % (value.size() + 1);
        const size_t end = begin + random_() % (value.size() - begin + 1);
        const std::optional<std::string> got = Range(key, begin, end);
        ASSERT_EQ(got.has_value(), there);
        if (there) {
          EXPECT_TRUE(*got == value.substr(begin, end - begin)) << begin << " to " << end;
        }
        if (!there) model_.erase(key);
      }
    }
  }

  void CheckAll() {
    for (int i = 0; i < 6; ++i) {
      const std::string key = "k" + std::to_string(i);
      const std::optional<std::string> got = Get(key);
      ASSERT_EQ(got.has_value(), model_.contains(key)) << key;
      if (got.has_value()) {
        EXPECT_TRUE(*got == model_[key]) << key << " of " << got->size();
      }
    }
    ASSERT_EQ(keyspace->KeyCount(0), model_.size());
  }

  std::mt19937_64 random_;
  std::map<std::string, std::string> model_;
};

TEST_F(StringModelTest, AgreesWithAMap) {
  const char* given = std::getenv("SEED");
  const uint64_t seed = given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device{}();
  SCOPED_TRACE("SEED=" + std::to_string(seed));
  random_.seed(seed);
  for (int i = 0; i < 3000; ++i) {
    Step();
    if (random_() % 4 == 0) Commit();
    if (random_() % 40 == 0) EvictAll();
    if (random_() % 100 == 0) {
      Commit();
      Reopen();
    }
    if (random_() % 50 == 0) {
      keyspace->Tick();
      keyspace->TakeIn();
      keyspace->Housekeeping();
    }
    if (random_() % 100 == 0) CheckAll();
    ASSERT_FALSE(HasFailure()) << "step " << i;
  }
  CheckAll();
  EXPECT_GT(waits, 10);
}

}  // namespace
}  // namespace thermocline
