// After a restart the hot keys come back.

#include <gtest/gtest.h>

#include <fstream>
#include <string>

#include "engine/hot_keys.h"
#include "engine/keyspace_fixture.h"

namespace thermocline {
namespace {

class WarmStartTest : public KeyspaceTest {
 protected:
  static constexpr int kKeys = 3000;

  WarmStartTest() { options.warm_start = true; }

  std::string Path() const { return options.dir + "/hot-keys"; }
  void Settle() {
    while (keyspace->Housekeeping()) {
    }
  }
  /// Fills; uses every tenth key often; keeps about a quarter in RAM.
  void Fill() {
    Warm();
    for (int i = 0; i < kKeys; ++i) Set(Name("k", i), std::string(300, 'x'));
    Commit();
    keyspace->SetHotBytesMax(keyspace->hot().used_bytes() / 4);
    for (int round = 0; round < 3; ++round) {
      clock.AdvanceMs(1000);
      for (int i = 0; i < kKeys; i += 10) ASSERT_TRUE(Get(Name("k", i)).has_value());
      Settle();
    }
  }
  void Warm() {
    ASSERT_TRUE(Await([&] {
      keyspace->Housekeeping();
      return !keyspace->warming();
    }));
  }
  int Resident(int step) {
    int count = 0;
    for (int i = 0; i < kKeys; i += step) {
      const Object* object = keyspace->hot().Find(0, Name("k", i));
      if (object != nullptr && object->live()) ++count;
    }
    return count;
  }
};

TEST_F(WarmStartTest, TheHotKeysComeBack) {
  Fill();
  ASSERT_TRUE(keyspace->RememberHotKeys().ok());
  Reopen();
  EXPECT_EQ(Resident(1), 0);
  Warm();
  EXPECT_GE(Resident(10), 280);  // of 300
  EXPECT_EQ(keyspace->stats().warmed_keys, static_cast<uint64_t>(Resident(1)));
  const uint64_t faults = keyspace->stats().faults;
  for (int i = 0; i < kKeys; i += 10) ASSERT_EQ(Get(Name("k", i)), std::string(300, 'x'));
  EXPECT_LT(keyspace->stats().faults - faults, 30u);
  // They may stay: what is read once now does not push them out.
  keyspace->SetHotBytesMax(keyspace->hot().used_bytes() + (50 << 10));
  for (int i = 1; i < kKeys; i += 10) {
    ASSERT_TRUE(Get(Name("k", i)).has_value());
    Settle();
  }
  EXPECT_GE(Resident(10), 250);
}

TEST_F(WarmStartTest, NoMoreThanFits) {
  Fill();
  ASSERT_TRUE(keyspace->RememberHotKeys().ok());
  options.hot_bytes_max = 60 << 10;
  Reopen();
  Warm();
  EXPECT_GT(Resident(1), 20);
  EXPECT_LE(keyspace->hot().used_bytes(), 60u << 10);
}

TEST_F(WarmStartTest, TheHottestComeFirst) {
  Fill();
  ASSERT_TRUE(keyspace->RememberHotKeys().ok());
  const Result<std::vector<HotKey>> keys = ReadHotKeys(Path());
  ASSERT_TRUE(keys.ok());
  ASSERT_GT(keys->size(), 400u);
  int hot = 0;
  for (int i = 0; i < 250; ++i) hot += (*keys)[static_cast<size_t>(i)].key.back() == '0';
  EXPECT_GT(hot, 240);
}

TEST_F(WarmStartTest, ADamagedFileIsPassedOver) {
  Fill();
  ASSERT_TRUE(keyspace->RememberHotKeys().ok());
  {
    std::fstream file(Path(), std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(100);
    file.put('!');
  }
  EXPECT_FALSE(ReadHotKeys(Path()).ok());
  Reopen();
  Warm();
  EXPECT_EQ(Resident(1), 0);
  EXPECT_EQ(Get(Name("k", 7)), std::string(300, 'x'));
  std::ofstream(Path(), std::ios::trunc) << "short";
  Reopen();
  Warm();
  EXPECT_EQ(Resident(1), 0);
}

TEST_F(WarmStartTest, KeysThatAreGoneAndDatabasesToo) {
  Warm();
  Set("stays", "1");
  Set("goes", "2");
  Set("other", "3", 0, 5);
  Commit();
  ASSERT_TRUE(keyspace->RememberHotKeys().ok());
  Remove("goes");
  Commit();
  Reopen();
  Warm();
  EXPECT_EQ(keyspace->stats().warmed_keys, 2u);
  EXPECT_EQ(keyspace->hot().Find(0, "goes"), nullptr);
  ASSERT_TRUE(WriteHotKeys(Path(), {{99, "nowhere"}, {0, "stays"}}).ok());
  Reopen();
  Warm();
  EXPECT_EQ(keyspace->stats().warmed_keys, 1u);
}

TEST_F(WarmStartTest, ItCanBeTurnedOff) {
  options.warm_start = false;
  Reopen();
  Fill();
  ASSERT_TRUE(keyspace->RememberHotKeys().ok());
  EXPECT_FALSE(std::ifstream(Path()).good());
  EXPECT_FALSE(keyspace->warming());
}

}  // namespace
}  // namespace thermocline
