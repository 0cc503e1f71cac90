#include "engine/hot_tier.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>
#include <string>

#include "engine/test_seed.h"

namespace thermocline {
namespace {

using Key = std::pair<uint16_t, std::string>;

/// All keys of the table, met segment by segment.
std::set<Key> KeysOf(HotTier& hot) {
  std::set<Key> keys;
  for (size_t i = 0; i < hot.segments(); ++i) {
    hot.VisitSegment(i, [&](Object* object) { EXPECT_TRUE(keys.emplace(object->db, object->key()).second); });
  }
  return keys;
}

std::unique_ptr<ObjectRows> MakeRows(int count) {
  auto rows = std::make_unique<ObjectRows>();
  for (int i = 0; i < count; ++i) rows->fields.Put("field" + std::to_string(i), "value");
  return rows;
}

TEST(HotTierTest, RandomOperationsEqualAModel) {
  const uint64_t seed = TestSeed(3);
  SCOPED_TRACE("SEED=" + std::to_string(seed));
  std::mt19937_64 random(seed);
  HotTier hot(seed);
  const size_t table_bytes = hot.used_bytes();
  std::map<Key, std::string> model;
  uint64_t live[4] = {};
  // Grows to tens of segments, then shrinks to nothing.
  for (int step = 0; step < 60'000; ++step) {
    const auto db = static_cast<uint16_t>(random() % 4);
    const std::string name =
        random() % 50 == 0 ? std::string(random() % 300, 'k') : std::to_string(random() % 8000);
    const Key key{db, name};
    Object* object = hot.Find(db, name);
    const auto found = model.find(key);
    ASSERT_EQ(object != nullptr, found != model.end());
    const bool grow = step < 40'000;
    if (object == nullptr) {
      if (!grow) continue;
      object = hot.Insert(db, name);
      ASSERT_EQ(object->state, Object::State::kCold);
      const std::string value(random() % 60, 'v');
      hot.BecomeString(object, value);
      model[key] = value;
      ++live[db];
      continue;
    }
    ASSERT_EQ(object->key(), name);
    ASSERT_EQ(object->inline_value(), found->second);
    if (random() % (grow ? 4 : 1) == 0) {
      hot.Erase(object);
      model.erase(found);
      --live[db];
    } else {
      const std::string value(random() % 2000, 'w');
      hot.BecomeString(object, value);
      found->second = value;
    }
    if (step % 5000 == 0) {
      std::set<Key> keys;
      for (const auto& [k, v] : model) keys.insert(k);
      ASSERT_EQ(KeysOf(hot), keys);
      ASSERT_EQ(hot.object_count(), model.size());
      for (uint16_t i = 0; i < 4; ++i) ASSERT_EQ(hot.live_count(i), live[i]);
    }
  }
  EXPECT_GT(hot.segments(), 20u);
  for (const Key& key : KeysOf(hot)) hot.Erase(hot.Find(key.first, key.second));
  EXPECT_EQ(hot.object_count(), 0u);
  EXPECT_EQ(hot.Sample(random()), nullptr);
  // What is left is the table itself.
  HotTier same(seed);
  EXPECT_EQ(same.used_bytes(), table_bytes);
  EXPECT_GE(hot.used_bytes(), hot.segments() * 2000);
  EXPECT_LT(hot.used_bytes(), hot.segments() * 2100 + (64 << 10));
}

TEST(HotTierTest, AccountReturnsToTheTable) {
  HotTier hot(1);
  const size_t empty = hot.used_bytes();
  Object* string = hot.Insert(0, "string");
  hot.BecomeString(string, std::string(10'000, 'x'));
  EXPECT_GE(hot.used_bytes(), empty + 10'000);
  Object* rows = hot.Insert(1, "rows");
  hot.BecomeRows(rows, ObjectType::kHash, MakeRows(100));
  EXPECT_GE(hot.used_bytes(), empty + 11'000);
  EXPECT_EQ(hot.used_bytes(), empty + hot.ObjectBytes(string) + hot.ObjectBytes(rows));
  for (int i = 0; i < 1000; ++i) rows->rows->scores.Put(std::to_string(i), std::string(20, 's'));
  hot.Recount(rows);
  EXPECT_GE(hot.used_bytes(), empty + 31'000);
  EXPECT_EQ(hot.used_bytes(), empty + hot.ObjectBytes(string) + hot.ObjectBytes(rows));

  // Every change of kind.
  hot.BecomeString(rows, "small");
  hot.BecomeRows(string, ObjectType::kSet, MakeRows(3));
  hot.ResizeString(rows, 5000);
  EXPECT_EQ(rows->inline_value().substr(0, 5), "small");
  hot.ResizeString(rows, 0);
  EXPECT_EQ(rows->inline_value(), "");
  EXPECT_TRUE(rows->live());
  hot.BecomeAbsent(string);
  hot.BecomeRows(string, ObjectType::kSet, MakeRows(3));
  EXPECT_EQ(hot.used_bytes(), empty + hot.ObjectBytes(string) + hot.ObjectBytes(rows));
  hot.BecomeCold(string);
  hot.BecomeLoading(rows, nullptr);
  hot.BecomeString(rows, "again");
  hot.Erase(string);
  hot.Erase(rows);
  EXPECT_EQ(hot.used_bytes(), empty);
  EXPECT_EQ(hot.live_count(0), 0u);
  EXPECT_EQ(hot.live_count(1), 0u);
}

TEST(HotTierTest, LiveCountsFollowTheState) {
  HotTier hot(1);
  Object* object = hot.Insert(7, "k");
  EXPECT_EQ(hot.live_count(7), 0u);
  EXPECT_EQ(hot.live_count(60'000), 0u);
  hot.BecomeAbsent(object);
  EXPECT_EQ(hot.live_count(7), 0u);
  hot.BecomeString(object, "1");
  hot.BecomeString(object, "2");
  hot.BecomeRows(object, ObjectType::kHash, MakeRows(1));
  EXPECT_EQ(hot.live_count(7), 1u);
  EXPECT_EQ(hot.live_count(6), 0u);
  hot.BecomeCold(object);
  hot.BecomeCold(object);
  EXPECT_EQ(hot.live_count(7), 0u);
}

TEST(HotTierTest, MoveValue) {
  HotTier hot(1);
  const size_t empty = hot.used_bytes();
  Object* from = hot.Insert(0, "from");
  Object* to = hot.Insert(1, "to");
  const size_t keys_only = hot.used_bytes();
  hot.BecomeString(to, std::string(5000, 'o'));
  hot.BecomeString(from, std::string(1000, 'n'));
  from->expire_at_ms = 77;
  from->encoding = Encoding::kRaw;
  hot.MoveValue(from, to);
  EXPECT_EQ(to->inline_value(), std::string(1000, 'n'));
  EXPECT_EQ(to->expire_at_ms, 77u);
  EXPECT_EQ(to->encoding, Encoding::kRaw);
  EXPECT_EQ(from->state, Object::State::kAbsent);
  EXPECT_EQ(from->expire_at_ms, 0u);
  EXPECT_EQ(hot.live_count(0), 0u);
  EXPECT_EQ(hot.live_count(1), 1u);
  EXPECT_LT(hot.used_bytes(), keys_only + 1500);

  hot.BecomeRows(from, ObjectType::kSortedSet, MakeRows(50));
  hot.MoveValue(from, to);
  EXPECT_EQ(to->type, ObjectType::kSortedSet);
  EXPECT_EQ(to->rows->fields.count(), 50u);
  hot.Erase(from);
  hot.Erase(to);
  EXPECT_EQ(hot.used_bytes(), empty);
}

TEST(HotTierTest, SampleReachesEverything) {
  const uint64_t seed = TestSeed(5);
  SCOPED_TRACE("SEED=" + std::to_string(seed));
  for (const int count : {1, 2, 100, 199, 200, 201, 1500}) {
    HotTier hot(seed);
    std::mt19937_64 random(seed);
    for (int i = 0; i < count; ++i) hot.Insert(0, std::to_string(i));
    std::map<const Object*, int> seen;
    for (int i = 0; i < count * 40; ++i) ++seen[hot.Sample(random())];
    EXPECT_EQ(seen.size(), static_cast<size_t>(count));
    if (count < 100) continue;
    for (const auto& [object, times] : seen) EXPECT_LT(times, 160) << object->key();  // 40 expected
  }
}

TEST(HotTierTest, SampleOfANearlyEmptyTable) {
  HotTier hot(1);
  for (int i = 0; i < 5000; ++i) hot.Insert(0, std::to_string(i));
  for (int i = 0; i < 5000; ++i) {
    if (i != 42 && i != 4242) hot.Erase(hot.Find(0, std::to_string(i)));
  }
  std::mt19937_64 random(TestSeed(1));
  std::set<std::string> seen;
  for (int i = 0; i < 200; ++i) seen.emplace(hot.Sample(random())->key());
  EXPECT_EQ(seen, (std::set<std::string>{"42", "4242"}));
}

}  // namespace
}  // namespace thermocline
