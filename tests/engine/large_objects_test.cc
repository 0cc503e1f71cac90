// Of a large collection single blocks of rows leave RAM.

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "engine/hash.h"
#include "engine/keyspace_fixture.h"

namespace thermocline {
namespace {

constexpr RowSpace kFields = RowSpace::kFields;

class LargeObjectsTest : public KeyspaceTest {
 protected:
  static constexpr uint64_t kLimit = 1 << 20;
  static constexpr int kRows = 40000;  // about two megabytes

  static std::string Value(int i) { return Name("value", i) + std::string(20, 'x'); }

  void Settle() {
    while (keyspace->Housekeeping()) {
    }
  }
  void Fill() {
    for (int i = 0; i < kRows; i += 100) {
      std::vector<std::string> words;
      for (int j = i; j < i + 100; ++j) {
        words.push_back(Name("field", j));
        words.push_back(Value(j));
      }
      const std::vector<std::string_view> pairs(words.begin(), words.end());
      Run([&](Txn& txn) { (void)HashSet(txn, "large", pairs); });
      Commit();
      Settle();
    }
  }
  std::optional<std::string> Field(int i) {
    return Run([&](Txn& txn) -> std::optional<std::string> {
      Object* object = txn.Find("large");
      const auto value = txn.Get(object, kFields, Name("field", i));
      if (!value.has_value()) return std::nullopt;
      return std::string(*value);
    });
  }
  /// As it is in RAM, or nullptr.
  const Object* Resident() { return keyspace->hot().Find(0, "large"); }
};

TEST_F(LargeObjectsTest, OneLargeKeyDoesNotFillTheHotTier) {
  keyspace->SetHotBytesMax(kLimit);
  Fill();
  EXPECT_LE(keyspace->hot().used_bytes(), kLimit);
  EXPECT_GT(keyspace->hot().used_bytes(), kLimit / 2);  // nor did it go as a whole
  EXPECT_GT(keyspace->stats().demoted_leaves, 100u);
  ASSERT_NE(Resident(), nullptr);
  EXPECT_FALSE(Resident()->rows->fields.complete());
  Reopen();
  keyspace->SetHotBytesMax(kLimit);
  for (int i = 0; i < kRows; i += 7) ASSERT_EQ(Field(i), Value(i));
  Settle();
  EXPECT_LE(keyspace->hot().used_bytes(), kLimit);
}

TEST_F(LargeObjectsTest, RowsThatAreUsedStay) {
  keyspace->SetHotBytesMax(kLimit);
  Fill();
  Reopen();
  keyspace->SetHotBytesMax(kLimit);
  const auto read_hot = [&] {
    for (int i = 0; i < kRows; i += 400) ASSERT_EQ(Field(i), Value(i));
  };
  read_hot();
  for (int i = 0; i < kRows; i += 3) {
    ASSERT_EQ(Field(i), Value(i));
    if (i % 900 == 0) read_hot();
    Settle();
  }
  Settle();
  const uint64_t faults = keyspace->stats().faults + keyspace->stats().cached_reads;
  read_hot();
  const uint64_t missed = keyspace->stats().faults + keyspace->stats().cached_reads - faults;
  EXPECT_LT(missed, 30u);  // of a hundred
}

/// A row is read from disk for one command, removed by another, and forgotten before the read comes in: what
/// it tells is not true any more, and nothing in RAM knows better.
TEST_F(LargeObjectsTest, AnAnswerThatIsTooOldIsNotTakenIn) {
  Fill();
  Reopen();
  for (int i = 1; i < kRows; i += 2) ASSERT_EQ(Field(i), Value(i));
  constexpr int kWaiters = 50;
  std::vector<std::unique_ptr<Command>> commands;
  std::vector<Waiter*> waiters;
  const auto field_of = [](int n) { return Name("field", n * (kRows / kWaiters)); };
  for (int n = 0; n < kWaiters; ++n) {
    commands.push_back(std::make_unique<Command>());
    const auto look = [&](Txn& txn) { (void)txn.Get(txn.Find("large"), kFields, field_of(n)); };
    if (keyspace->Run(*commands.back(), 0, look) == Keyspace::Ran::kWaiting)
      waiters.push_back(commands.back().get());
  }
  keyspace->StartReads();
  Command remover;
  for (int n = 0; n < kWaiters; ++n) {
    ASSERT_EQ(
        keyspace->Run(remover, 0, [&](Txn& txn) { txn.Erase(txn.Find("large"), kFields, field_of(n)); }),
        Keyspace::Ran::kDone);
  }
  Commit();
  keyspace->SetHotBytesMax(300 << 10);
  Settle();
  keyspace->SetHotBytesMax(0);
  AwaitReady(waiters);
  for (int n = 0; n < kWaiters; ++n) ASSERT_EQ(Field(n * (kRows / kWaiters)), std::nullopt) << n;
  for (const auto& command : commands) keyspace->Forget(*command);
}

}  // namespace
}  // namespace thermocline
