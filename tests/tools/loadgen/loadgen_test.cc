// The parts of the load generator: what it asks for, what it believes, what it reports.

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <set>

#include "loadgen/histogram.h"
#include "loadgen/ledger.h"
#include "loadgen/objects.h"
#include "loadgen/pattern.h"
#include "loadgen/probe.h"
#include "loadgen/reply.h"

namespace thermocline::loadgen {
namespace {

using Kind = PatternOptions::Kind;

TEST(Histogram, PercentilesAreWithinOnePercent) {
  for (const uint64_t unit_ns : {1u, 37u, 1000u, 1000003u}) {
    Histogram histogram;
    for (uint64_t i = 1; i <= 10000; ++i) histogram.Record(i * unit_ns);
    for (const double percentile : {0.01, 1.0, 50.0, 99.0, 99.9, 100.0}) {
      const double exact = percentile * 100 * static_cast<double>(unit_ns);
      const auto got = static_cast<double>(histogram.PercentileNs(percentile));
      EXPECT_GE(got, exact * 0.9999) << unit_ns << " " << percentile;
      EXPECT_LE(got, exact * 1.01) << unit_ns << " " << percentile;
    }
    EXPECT_EQ(histogram.max_ns(), 10000 * unit_ns);
  }
}

TEST(Histogram, HoldsExtremesAndMerges) {
  Histogram empty, a, b;
  EXPECT_EQ(empty.PercentileNs(50), 0u);
  a.Record(0);
  a.Record(UINT64_MAX);
  b.Record(5);
  a.Merge(b);
  EXPECT_EQ(a.count(), 3u);
  EXPECT_EQ(a.PercentileNs(1), 0u);
  EXPECT_EQ(a.PercentileNs(50), 5u);
  EXPECT_GT(a.PercentileNs(100), uint64_t{3} * 3600 * 1'000'000'000);
}

TEST(Pattern, ZipfianRanksHaveTheirShare) {
  constexpr uint64_t kCount = 100000;
  constexpr int kDraws = 1000000;
  const Zipfian zipfian(kCount, 0.99);
  Random random(7);
  std::vector<int> seen(kCount);
  for (int i = 0; i < kDraws; ++i) ++seen[zipfian.Next(random)];
  // The first two ranks are exact in Gray's method; the others together follow the sum of the series.
  EXPECT_NEAR(seen[0] / double{kDraws}, 1 / zipfian.zeta(), 0.002);
  EXPECT_NEAR(seen[1] / double{kDraws}, std::pow(0.5, 0.99) / zipfian.zeta(), 0.002);
  double expected = 0;
  int first = 0;
  for (int rank = 0; rank < 1000; ++rank) {
    expected += std::pow(rank + 1, -0.99) / zipfian.zeta();
    first += seen[static_cast<size_t>(rank)];
  }
  EXPECT_NEAR(first / double{kDraws}, expected, 0.02);
}

TEST(Pattern, ScatterIsABijection) {
  for (const uint64_t count : {1u, 2u, 10u, 4096u, 99991u}) {
    std::set<uint64_t> keys;
    for (uint64_t rank = 0; rank < count; ++rank) keys.insert(Scatter(rank, count));
    EXPECT_EQ(keys.size(), count);
    EXPECT_LT(*keys.rbegin(), count);
  }
}

TEST(Pattern, OnceGivesEachKeyOnceAndScanTheirOrder) {
  Random random(1);
  Pattern once({.kind = Kind::kOnce, .ranks = 100, .key_count = 100});
  std::set<uint64_t> keys;
  while (const std::optional<uint64_t> key = once.Next(random)) EXPECT_TRUE(keys.insert(*key).second);
  EXPECT_EQ(keys.size(), 100u);
  Pattern scan({.kind = Kind::kScan, .ranks = 3, .key_count = 100});
  for (uint64_t i = 0; i < 7; ++i) EXPECT_EQ(scan.Next(random), i % 3);
}

TEST(Pattern, HotSetAndLimitedKeysAreKept) {
  Random random(1);
  Pattern hot(
      {.kind = Kind::kHotSet, .ranks = 1000, .key_count = 1000, .hot_requests = 0.8, .hot_keys = 0.01});
  std::set<uint64_t> hot_keys;
  for (uint64_t rank = 0; rank < 10; ++rank) hot_keys.insert(Scatter(rank, 1000));
  int hits = 0;
  for (int i = 0; i < 100000; ++i) hits += static_cast<int>(hot_keys.count(*hot.Next(random)));
  EXPECT_NEAR(hits / 100000.0, 0.8, 0.01);
  Pattern few({.kind = Kind::kUniform, .ranks = 10, .key_count = 1000});
  std::set<uint64_t> seen;
  for (int i = 0; i < 1000; ++i) seen.insert(*few.Next(random));
  EXPECT_EQ(seen, hot_keys);
}

/// A bulk reply or an array of them.
std::string ReplyOf(Type type, std::string_view value) {
  if (type == Type::kString) return "$" + std::to_string(value.size()) + "\r\n" + std::string(value) + "\r\n";
  std::string out = type == Type::kHash ? "*20\r\n" : "*10\r\n";
  const size_t part = value.size() / kElements;
  for (size_t i = 0; i < kElements; ++i) {
    const size_t n = type == Type::kHash ? kElements - 1 - i : i;  // a hash in any order
    if (type == Type::kHash) out += "$2\r\nf" + std::to_string(n) + "\r\n";
    out += ReplyOf(Type::kString, value.substr(n * part, part));
  }
  return out;
}

TEST(Objects, EveryWrongByteIsSeen) {
  for (const Type type : {Type::kString, Type::kHash, Type::kList}) {
    for (const bool compressible : {false, true}) {
      const Shape shape{kValueBytesMin, compressible};
      std::string value;
      AppendValue(type, 77, 3, shape, &value);
      Reply reply;
      const std::string good = ReplyOf(type, value);
      ASSERT_EQ(ParseReply(good, &reply), static_cast<ptrdiff_t>(good.size()));
      EXPECT_EQ(VersionInReply(type, 77, reply, shape), 3u);
      EXPECT_EQ(VersionInReply(type, 78, reply, shape), std::nullopt);
      for (size_t i = 0; i < value.size(); ++i) {
        std::string damaged = value;
        damaged[i] = static_cast<char>(damaged[i] ^ 1);
        const std::string bad = ReplyOf(type, damaged);
        ASSERT_EQ(ParseReply(bad, &reply), static_cast<ptrdiff_t>(bad.size()));
        EXPECT_EQ(VersionInReply(type, 77, reply, shape), std::nullopt) << i;
      }
    }
  }
}

TEST(Objects, MixedVersionsAndMissingPartsAreWrong) {
  const Shape shape{kValueBytesMin, false};
  std::string old_value, new_value;
  AppendValue(Type::kList, 5, 1, shape, &old_value);
  AppendValue(Type::kList, 5, 2, shape, &new_value);
  Reply reply;
  const std::string mixed = ReplyOf(Type::kList, old_value.substr(0, 16) + new_value.substr(16));
  ASSERT_GT(ParseReply(mixed, &reply), 0);
  EXPECT_EQ(VersionInReply(Type::kList, 5, reply, shape), std::nullopt);
  const std::string whole = ReplyOf(Type::kList, old_value);
  ASSERT_GT(ParseReply(whole, &reply), 0);
  reply.elements.pop_back();
  EXPECT_EQ(VersionInReply(Type::kList, 5, reply, shape), std::nullopt);
  ASSERT_EQ(ParseReply("*0\r\n", &reply), 4);
  EXPECT_EQ(VersionInReply(Type::kList, 5, reply, shape), 0u);
  ASSERT_EQ(ParseReply("$-1\r\n", &reply), 5);
  EXPECT_EQ(VersionInReply(Type::kString, 5, reply, shape), 0u);
}

TEST(Reply, IncompleteOnesWaitAndNonsenseIsRefused) {
  const std::string whole = "*3\r\n:12\r\n$3\r\na\r\n\r\n*1\r\n+OK\r\n";
  Reply reply;
  for (size_t i = 0; i < whole.size(); ++i) EXPECT_EQ(ParseReply(whole.substr(0, i), &reply), 0) << i;
  const std::string two = whole + "+next";  // views point into it
  ASSERT_EQ(ParseReply(two, &reply), static_cast<ptrdiff_t>(whole.size()));
  EXPECT_EQ(reply.kind, Reply::Kind::kArray);
  EXPECT_EQ(reply.elements, (std::vector<std::string_view>{"12", "a\r\n", "OK"}));
  for (const char* bad : {"\r\n", "?1\r\n", "$x\r\n", "$-2\r\n", "$1\r\nabc\r\n", ":1x\r\n"}) {
    EXPECT_EQ(ParseReply(bad, &reply), -1) << bad;
  }
  ASSERT_EQ(ParseReply("*2\r\n:1\r\n-ERR no\r\n", &reply), 17);
  EXPECT_EQ(reply.kind, Reply::Kind::kError);
  EXPECT_EQ(reply.text, "ERR no");
}

class TemporaryFile {
 public:
  TemporaryFile()
      : path_(std::filesystem::temp_directory_path() / ("loadgen_test." + std::to_string(getpid()))) {}
  ~TemporaryFile() { std::filesystem::remove(path_); }
  std::string path() const { return path_; }

 private:
  std::filesystem::path path_;
};

TEST(Ledger, OutlivesTheProgramAndAllowsOneWriteAtATime) {
  const TemporaryFile file;
  Population population;
  population.counts[0] = 10;
  population.counts[2] = 5;
  population.shape.value_bytes = 2000;
  {
    auto ledger = Ledger::Create(file.path(), population);
    ASSERT_TRUE(ledger.ok());
    EXPECT_EQ((*ledger)->BeginWrite(Type::kList, 4), 1u);
    EXPECT_EQ((*ledger)->BeginWrite(Type::kList, 4), 0u);
    EXPECT_EQ((*ledger)->sent(Type::kList, 4), 1u);
    EXPECT_EQ((*ledger)->acknowledged(Type::kList, 4), 0u);
    (*ledger)->EndWrite(Type::kList, 4, 1);
  }
  auto ledger = Ledger::Open(file.path());
  ASSERT_TRUE(ledger.ok());
  EXPECT_EQ((*ledger)->population().shape.value_bytes, 2000u);
  EXPECT_EQ((*ledger)->acknowledged(Type::kList, 4), 1u);
  EXPECT_EQ((*ledger)->acknowledged(Type::kString, 9), 0u);
  EXPECT_EQ((*ledger)->BeginWrite(Type::kList, 4), 2u);
  std::filesystem::resize_file(file.path(), 100);
  EXPECT_EQ(Ledger::Open(file.path()).code(), Code::kCorruption);
}

TEST(Probe, NothingToReadIsAnError) { EXPECT_EQ(RunProbe({.path = "/nonexistent"}).code(), Code::kIoError); }

}  // namespace
}  // namespace thermocline::loadgen
