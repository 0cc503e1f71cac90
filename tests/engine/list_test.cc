#include "engine/list.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "engine/collection_fixture.h"
#include "engine/keys.h"
#include "engine/test_seed.h"

namespace thermocline {
namespace {

using Elements = std::vector<std::string>;
constexpr uint64_t kFirst = kListFirstIndex;

// ---- Commands, as the server puts them together

Object* FindList(Txn& txn, std::string_view key) { return *txn.Find(key, ObjectType::kList); }

void Push(Txn& txn, std::string_view key, ListEnd end, const Elements& values) {
  const std::vector<std::string_view> views(values.begin(), values.end());
  ListPush(txn, *txn.ForWrite(key, ObjectType::kList), end, views);
}

Elements Pop(Txn& txn, std::string_view key, ListEnd end, uint64_t count) {
  Elements values;
  Object* object = FindList(txn, key);
  if (object == nullptr) return values;
  ListPop(txn, object, end, std::min(count, ListLength(object)),
          [&](std::string_view value) { values.emplace_back(value); });
  return values;
}

Elements Range(Txn& txn, std::string_view key, uint64_t first, uint64_t last) {
  Elements values;
  Object* object = FindList(txn, key);
  if (object == nullptr || first > last || first >= ListLength(object)) return values;
  uint64_t left = std::min(last, ListLength(object) - 1) - first + 1;
  ListVisit(txn, object, first, /*forward=*/true, [&](std::string_view, std::string_view value) {
    values.emplace_back(value);
    return --left > 0;
  });
  return values;
}

Elements All(Txn& txn, std::string_view key) { return Range(txn, key, 0, UINT64_MAX); }

ListBody BodyOf(Txn& txn, std::string_view key) { return ListBody(txn.body(FindList(txn, key))); }

template <typename Search>
void WalkWith(Txn& txn, Object* object, bool forward, Search& search) {
  ListVisit(txn, object, forward ? 0 : ListLength(object) - 1, forward,
            [&](std::string_view key, std::string_view value) { return search.Visit(key, value); });
}

bool Insert(Txn& txn, std::string_view key, bool before, const std::string& pivot, std::string_view value) {
  Object* object = FindList(txn, key);
  if (object == nullptr) return false;
  ListPlaceSearch search(pivot, before);
  WalkWith(txn, object, /*forward=*/true, search);
  if (search.found()) ListInsert(txn, object, search, value);
  return search.found();
}

/// `count` as LREM takes it.
uint64_t Remove(Txn& txn, std::string_view key, int64_t count, const std::string& value) {
  Object* object = FindList(txn, key);
  if (object == nullptr) return 0;
  ListMatchSearch search(value, static_cast<uint64_t>(std::abs(count)));
  WalkWith(txn, object, count >= 0, search);
  std::vector<std::string> keys = search.keys();
  if (count < 0) std::reverse(keys.begin(), keys.end());
  if (!keys.empty()) ListRemove(txn, object, keys);
  return keys.size();
}

/// The same on a model.
uint64_t RemoveFrom(Elements& list, int64_t count, const std::string& value) {
  if (count < 0) std::reverse(list.begin(), list.end());
  const auto limit = count == 0 ? list.size() : static_cast<size_t>(std::abs(count));
  size_t removed = 0;
  std::erase_if(list, [&](const std::string& element) {
    if (element != value || removed == limit) return false;
    ++removed;
    return true;
  });
  if (count < 0) std::reverse(list.begin(), list.end());
  return removed;
}

// ---- Keys between keys

TEST(ListKeyTest, GoldenKeys) {
  const ListKey a(kFirst), b(kFirst + 1);
  EXPECT_EQ(a.view(), std::string("\x40\0\0\0\0\0\0\0", 8));
  const std::string x = ListKeyBetween(a.view(), b.view());
  EXPECT_EQ(x, std::string("\x40\0\0\0\0\0\0\0\x80\0\0\0\0\0\0\0", 16));
  // Away from the neighbour that is longer.
  EXPECT_EQ(ListKeyBetween(x, b.view()), std::string("\x40\0\0\0\0\0\0\0\x80\0\0\0\x01\0\0\0", 16));
  EXPECT_EQ(ListKeyBetween(a.view(), x), std::string("\x40\0\0\0\0\0\0\0\x7f\xff\xff\xff\xff\0\0\0", 16));
  // Into the middle of a hole.
  EXPECT_EQ(ListKeyBetween(a.view(), ListKey(kFirst + 2).view()), b.view());
  EXPECT_EQ(ListKeyBetween(x, ListKey(kFirst + 3).view()), ListKey(kFirst + 2).view());
}

void CheckBetween(const std::string& left, const std::string& key, const std::string& right) {
  ASSERT_LT(left, key);
  ASSERT_LT(key, right);
  ASSERT_EQ(key.size() % 8, 0u);
  ASSERT_NE(LoadBig64(&key[key.size() - 8]), 0u);
  ASSERT_LE(key.size(), std::max(left.size(), right.size()) + 8);
}

TEST(ListKeyTest, RandomPlaces) {
  std::mt19937_64 random(TestSeed(1));
  std::vector<std::string> keys = {std::string(ListKey(kFirst).view()),
                                   std::string(ListKey(kFirst + 5).view())};
  size_t longest = 0;
  for (int i = 0; i < 5000; ++i) {
    const size_t at = random() % (keys.size() - 1);
    const std::string key = ListKeyBetween(keys[at], keys[at + 1]);
    ASSERT_NO_FATAL_FAILURE(CheckBetween(keys[at], key, keys[at + 1]));
    longest = std::max(longest, key.size());
    keys.insert(keys.begin() + static_cast<ptrdiff_t>(at) + 1, key);
  }
  EXPECT_LE(longest, 32u);
}

TEST(ListKeyTest, OneBehindTheOtherKeepsKeysShort) {
  const std::string left(ListKey(kFirst).view()), right(ListKey(kFirst + 1).view());
  for (const std::string& begin : {left, left + std::string("\0\0\0\0\0\0\0\x05", 8)}) {
    for (const bool up : {true, false}) {
      std::string low = begin, high = right;
      for (int i = 0; i < 100'000; ++i) {
        const std::string key = ListKeyBetween(low, high);
        ASSERT_NO_FATAL_FAILURE(CheckBetween(low, key, high));
        ASSERT_LE(key.size(), 24u);
        (up ? low : high) = key;
      }
    }
  }
}

TEST(ListKeyTest, AlwaysBetweenTheLastTwo) {
  std::string low(ListKey(kFirst).view()), high(ListKey(kFirst + 1).view());
  for (int i = 0; i < 2000; ++i) {
    const std::string key = ListKeyBetween(low, high);
    ASSERT_NO_FATAL_FAILURE(CheckBetween(low, key, high));
    (i % 2 == 0 ? low : high) = key;
  }
  EXPECT_LE(low.size(), 1000u);
}

TEST(ListKeyTest, NumbersAtTheirEnds) {
  const std::string index(ListKey(kFirst).view()), next(ListKey(kFirst + 1).view());
  const std::string one = index + std::string("\0\0\0\0\0\0\0\x01", 8);
  const std::string largest = index + std::string(8, '\xff');
  CheckBetween(index, ListKeyBetween(index, one), one);
  CheckBetween(one, ListKeyBetween(one, largest), largest);
  CheckBetween(largest, ListKeyBetween(largest, next), next);
  // Keys out of order, as damage makes them, give some key.
  EXPECT_FALSE(ListKeyBetween(next, index).empty());
  EXPECT_FALSE(ListKeyBetween(index, index).empty());
  EXPECT_FALSE(ListKeyBetween(index, index + std::string(8, '\0')).empty());
  EXPECT_FALSE(ListKeyBetween("abc", "").empty());
}

// ---- Random operations against a model

/// `list` as it is on disk, but for rows that are left at its ends.
void CheckLayout(const StoredObject& object, const Elements& list) {
  const ListBody body(object.body);
  ASSERT_EQ(body.count, list.size());
  ASSERT_LE(std::max(body.before, body.behind), body.sparse || body.count < kLeftRowsMax ? 0 : kLeftRowsMax);
  auto fields = object.fields;
  for (auto row = fields.begin(); row != fields.end();) {
    const std::string& key = row->first;
    const bool left = key < ListKey(body.head).view() || key >= ListKey(body.tail).view();
    if (left) {
      ASSERT_GE(key, ListKey(body.head - body.before).view());
      ASSERT_LT(key, ListKey(body.tail + body.behind).view());
    }
    row = left ? fields.erase(row) : std::next(row);
  }
  ASSERT_EQ(fields.size(), list.size());
  size_t i = 0;
  for (const auto& [key, element] : fields) {
    ASSERT_EQ(element, list[i]) << i;
    ASSERT_EQ(key.size() % 8, 0u);
    if (!body.sparse) {
      ASSERT_EQ(key, ListKey(body.head + i).view());
    }
    ++i;
  }
  if (body.sparse) {
    ASSERT_GT(body.count, kShiftRowsMax);
  } else {
    ASSERT_EQ(body.tail - body.head, body.count);
  }
  ASSERT_TRUE(object.scores.empty());
}

class RandomListTest : public ModelFixture<Elements> {
 protected:
  RandomListTest() {
    key_prefix_ = "list";
    keys_ = 3;
  }
  ObjectType type() const override { return ObjectType::kList; }

  ListEnd RandomEnd() { return Below(2) == 0 ? ListEnd::kHead : ListEnd::kTail; }
  std::string RandomElement() {
    if (Below(200) == 0) return std::string(200 + Below(900), static_cast<char>('a' + Below(26)));
    return Below(40) == 0 ? std::string(Below(3), '\0') : "e" + std::to_string(Below(size_ / 3));
  }
  Elements RandomElements(uint64_t count) {
    Elements values(count);
    for (std::string& value : values) value = RandomElement();
    return values;
  }
  /// Often near an end.
  uint64_t RandomPosition(uint64_t length) {
    switch (Below(3)) {
      case 0: return Below(length);
      case 1: return std::min(length - 1, Below(20));
      default: return length - 1 - std::min(length - 1, Below(20));
    }
  }

  void Grow(const std::string& key) {
    const Elements values = RandomElements(Below(4) == 0 ? Below(size_ / 2 + 1) + 1 : 1 + Below(8));
    const ListEnd end = RandomEnd();
    Run([&](Txn& txn) { Push(txn, key, end, values); });
    Elements& list = model_[key];
    if (end == ListEnd::kTail) {
      list.insert(list.end(), values.begin(), values.end());
    } else {
      list.insert(list.begin(), values.rbegin(), values.rend());
    }
  }

  void Shrink(const std::string& key) {
    Elements& list = model_[key];
    const ListEnd end = RandomEnd();
    const uint64_t count = Below(6) == 0 ? Below(size_) + 1 : 1 + Below(4);
    const Elements popped = Run([&](Txn& txn) { return Pop(txn, key, end, count); });
    if (end == ListEnd::kTail) std::reverse(list.begin(), list.end());
    const auto last = list.begin() + static_cast<ptrdiff_t>(std::min(count, list.size()));
    ASSERT_EQ(popped, Elements(list.begin(), last));
    list.erase(list.begin(), last);
    if (end == ListEnd::kTail) std::reverse(list.begin(), list.end());
  }

  void Trim(const std::string& key) {
    Elements& list = model_[key];
    if (list.empty()) return;
    uint64_t first = std::min(list.size() - 1, Below(100)), last = list.size() - 1 - Below(100);
    if (Below(8) == 0) first = Below(list.size()), last = first + Below(list.size() - first);
    if (last >= list.size()) last = 0;
    Run([&](Txn& txn) { ListTrim(txn, FindList(txn, key), first, last); });
    if (first > last) {
      list.clear();
    } else {
      list = Elements(list.begin() + static_cast<ptrdiff_t>(first),
                      list.begin() + static_cast<ptrdiff_t>(last) + 1);
    }
  }

  void Move(const std::string& key) {
    const std::string other = Below(3) == 0 ? key : RandomKey();
    if (model_[key].empty()) return;
    const ListEnd from_end = RandomEnd(), to_end = RandomEnd();
    const std::string moved = Run([&](Txn& txn) {
      Object* from = FindList(txn, key);
      return std::string(ListMove(txn, from, from_end, *txn.ForWrite(other, ObjectType::kList), to_end));
    });
    Elements& from = model_[key];
    const auto place = from_end == ListEnd::kHead ? from.begin() : from.end() - 1;
    const std::string expected = *place;
    from.erase(place);
    Elements& to = model_[other];
    to.insert(to_end == ListEnd::kHead ? to.begin() : to.end(), expected);
    ASSERT_EQ(moved, expected);
  }

  void ChangeMiddle(const std::string& key) {
    Elements& list = model_[key];
    if (list.empty()) return;
    const uint64_t what = Below(10);
    if (what < 6) {
      const bool before = Below(2) == 0;
      const std::string pivot = Below(8) == 0 ? "no such" : list[RandomPosition(list.size())];
      const std::string value = RandomElement();
      const bool done = Run([&](Txn& txn) { return Insert(txn, key, before, pivot, value); });
      const auto place = std::find(list.begin(), list.end(), pivot);
      ASSERT_EQ(done, place != list.end());
      if (done) list.insert(before ? place : place + 1, value);
    } else if (what < 8) {
      const auto count = static_cast<int64_t>(Below(9)) - 4;
      const std::string value = list[RandomPosition(list.size())];
      const uint64_t removed = Run([&](Txn& txn) { return Remove(txn, key, count, value); });
      ASSERT_EQ(removed, RemoveFrom(list, count, value));
    } else {
      const uint64_t position = RandomPosition(list.size());
      const std::string value = RandomElement();
      Run([&](Txn& txn) { ListSet(txn, FindList(txn, key), position, value); });
      list[position] = value;
    }
  }

  void Write() override {
    const std::string key = RandomKey();
    const uint64_t what = Below(100);
    if (what < 25 && model_[key].size() < size_) {
      Grow(key);
    } else if (what < 40) {
      Shrink(key);
    } else if (what < 43) {
      Trim(key);
    } else if (what < 58) {
      Move(key);
    } else {
      ChangeMiddle(key);
    }
    std::erase_if(model_, [](const auto& entry) { return entry.second.empty(); });
  }

  void Read() override {
    const std::string key = RandomKey();
    const auto found = model_.find(key);
    if (found == model_.end()) {
      ASSERT_EQ(Run([&](Txn& txn) { return FindList(txn, key) == nullptr; }), true);
      return;
    }
    const Elements& list = found->second;
    const uint64_t position = RandomPosition(list.size());
    switch (Below(3)) {
      case 0: {
        const std::string value =
            Run([&](Txn& txn) { return std::string(ListGet(txn, FindList(txn, key), position).value()); });
        ASSERT_EQ(value, list[position]);
        break;
      }
      case 1: {
        const uint64_t last = std::min<uint64_t>(list.size() - 1, position + Below(30));
        ASSERT_EQ(Run([&](Txn& txn) { return Range(txn, key, position, last); }),
                  Elements(list.begin() + static_cast<ptrdiff_t>(position),
                           list.begin() + static_cast<ptrdiff_t>(last) + 1));
        break;
      }
      default: {
        const ListPositionQuery query{Below(2) == 0, 1 + Below(3), Below(3), Below(4) == 0 ? Below(40) : 0};
        const auto positions = Run([&](Txn& txn) {
          ListPositionSearch search(list[position], query, list.size());
          WalkWith(txn, FindList(txn, key), query.forward, search);
          return search.positions();
        });
        std::vector<uint64_t> expected;
        uint64_t matches = 0;
        for (uint64_t i = 0; i < list.size() && (query.window == 0 || i < query.window); ++i) {
          const uint64_t at = query.forward ? i : list.size() - 1 - i;
          if (list[at] != list[position] || ++matches < query.rank) continue;
          if (query.limit == 0 || expected.size() < query.limit) expected.push_back(at);
        }
        ASSERT_EQ(positions, expected);
      }
    }
  }

  void CheckKey(const std::string& key, const Elements& model) override {
    ASSERT_EQ(Run([&](Txn& txn) { return All(txn, key); }), model);
  }
  void CheckStored(const StoredObject& object, const Elements& model) override { CheckLayout(object, model); }
  void Observe() override {
    for (const auto& [key, list] : model_) sparse_ |= Run([&](Txn& txn) { return BodyOf(txn, key); }).sparse;
  }

  bool sparse_ = false;  ///< whether a list was seen to be
};

TEST_P(RandomListTest, EqualsTheModel) {
  // Lists do not grow much beyond these sizes. With seed 16 a scan that may only read from RocksDB's caches
  // loses rows (see Txn::LoadGap).
  ASSERT_NO_FATAL_FAILURE(RandomOperationsEqualTheModel({.first_seed = 16, .sizes = {12, 3000, 150}}));
  EXPECT_TRUE(sparse_);
}

INSTANTIATE_TEST_SUITE_P(Settings, RandomListTest, DisturbSettings(),
                         [](const auto& info) { return std::string(info.param.name); });

// ---- Dense and sparse

class ListTest : public StoredFixture {
 protected:
  ListBody BodyOf(std::string_view key) {
    return Run([&](Txn& txn) { return thermocline::BodyOf(txn, key); });
  }
  Elements All(std::string_view key) {
    return Run([&](Txn& txn) { return thermocline::All(txn, key); });
  }
  void PushNumbers(std::string_view key, int count) {
    Elements values;
    for (int i = 0; i < count; ++i) values.push_back("element" + std::to_string(i));
    Run([&](Txn& txn) { Push(txn, key, ListEnd::kTail, values); });
    list_ = values;
  }

  /// What is on disk is the list of `key` as it is in `list_`, and nothing else.
  void CheckDisk(const std::string& key) {
    std::map<std::string, StoredObject> objects;
    ASSERT_NO_FATAL_FAILURE(ReadStored(&objects));
    ASSERT_EQ(objects.size(), 1u);
    ASSERT_TRUE(objects.contains(key));
    CheckLayout(objects[key], list_);
  }

  Elements list_;  ///< what PushNumbers has pushed
};

TEST_F(ListTest, ShortSidesAreShifted) {
  PushNumbers("list", 3000);
  for (const int pivot : {0, 1, 500, 2510, 2999}) {
    const std::string name = "element" + std::to_string(pivot);
    for (const bool before : {true, false}) {
      Run([&](Txn& txn) { ASSERT_TRUE(Insert(txn, "list", before, name, "new")); });
      const auto place = std::find(list_.begin(), list_.end(), name);
      list_.insert(before ? place : place + 1, "new");
      EXPECT_FALSE(BodyOf("list").sparse) << pivot << before;
      ASSERT_EQ(All("list"), list_);
    }
  }
  for (const int64_t count : {6, -4}) {
    Run([&](Txn& txn) {
      ASSERT_EQ(Remove(txn, "list", count, "new"), static_cast<uint64_t>(std::abs(count)));
    });
    RemoveFrom(list_, count, "new");
    EXPECT_FALSE(BodyOf("list").sparse);
    ASSERT_EQ(All("list"), list_);
  }
  Purge();
  CheckDisk("list");
}

TEST_F(ListTest, TheLimitOfShifting) {
  for (const auto& [position, sparse] : {std::pair{512, false}, {513, true}, {2487, true}, {2488, false}}) {
    for (const bool insert : {true, false}) {
      PushNumbers("list", 3000);
      Run([&](Txn& txn) {
        const std::string element = "element" + std::to_string(position);
        if (insert) {
          ASSERT_TRUE(Insert(txn, "list", true, element, "new"));
        } else {
          ASSERT_EQ(Remove(txn, "list", 1, element), 1u);
        }
      });
      // The removed element is on neither side.
      EXPECT_EQ(BodyOf("list").sparse, sparse && (insert || position != 2487)) << position << insert;
      Run([&](Txn& txn) { txn.Remove(FindList(txn, "list")); });
    }
  }
}

TEST_F(ListTest, TheMiddleOfALongListCostsARow) {
  PushNumbers("list", 5000);
  Commit();
  const uint64_t before = keyspace->stats().committed_bytes;
  Run([&](Txn& txn) { ASSERT_TRUE(Insert(txn, "list", true, "element2500", "new")); });
  list_.insert(list_.begin() + 2500, "new");
  EXPECT_TRUE(BodyOf("list").sparse);
  Run([&](Txn& txn) { ASSERT_EQ(Remove(txn, "list", 0, "element2400"), 1u); });
  RemoveFrom(list_, 0, "element2400");
  Commit();
  EXPECT_LT(keyspace->stats().committed_bytes - before, 500u);
  ASSERT_EQ(All("list"), list_);
  // By position: near the ends, and where rows are counted.
  for (const uint64_t position : {0, 1, 999, 1000, 1001, 2399, 2400, 2499, 2500, 3998, 3999, 4000, 4999}) {
    EvictAll();
    Run([&](Txn& txn) {
      ASSERT_EQ(ListGet(txn, FindList(txn, "list"), position), list_[position]);
      ListSet(txn, FindList(txn, "list"), position, "set");
    });
    list_[position] = "set";
    ASSERT_EQ(Run([&](Txn& txn) { return Range(txn, "list", position, position + 2); }),
              Elements(list_.begin() + static_cast<ptrdiff_t>(position),
                       list_.begin() + static_cast<ptrdiff_t>(std::min<uint64_t>(position + 3, 5000))));
  }
  Purge();
  CheckDisk("list");
}

TEST_F(ListTest, ASparseListThatShrinksIsDenseAgain) {
  const auto make = [&] {
    Run([&](Txn& txn) {
      if (Object* object = FindList(txn, "list")) txn.Remove(object);
    });
    PushNumbers("list", 2000);
    Run([&](Txn& txn) { ASSERT_EQ(Remove(txn, "list", 1, "element1000"), 1u); });
    RemoveFrom(list_, 1, "element1000");
    ASSERT_TRUE(BodyOf("list").sparse);
    EvictAll();
  };
  const auto check = [&](bool sparse) {
    ASSERT_EQ(BodyOf("list").sparse, sparse);
    ASSERT_EQ(All("list"), list_);
    Purge();
    CheckDisk("list");
  };
  const auto keep = [&](ptrdiff_t first, ptrdiff_t last) {
    list_ = Elements(list_.begin() + first, list_.begin() + last);
  };
  for (const auto& [drop, sparse] : {std::pair{1486, true}, {1487, false}, {1998, false}}) {
    for (const ListEnd end : {ListEnd::kHead, ListEnd::kTail}) {
      make();
      Run([&](Txn& txn) { Pop(txn, "list", end, static_cast<uint64_t>(drop)); });
      end == ListEnd::kHead ? keep(drop, 1999) : keep(0, 1999 - drop);
      check(sparse);
      make();
      const uint64_t first = end == ListEnd::kHead ? static_cast<uint64_t>(drop) - 9 : 9;
      Run([&](Txn& txn) {
        ListTrim(txn, FindList(txn, "list"), first, first + 1998 - static_cast<uint64_t>(drop));
      });
      keep(static_cast<ptrdiff_t>(first), static_cast<ptrdiff_t>(first) + 1999 - drop);
      check(sparse);
    }
  }
  // LREM of all but a few.
  make();
  Run([&](Txn& txn) {
    for (uint64_t i = 0; i < 1999; i += 2) ListSet(txn, FindList(txn, "list"), i, "same");
    for (uint64_t i = 1; i < 1200; i += 2) ListSet(txn, FindList(txn, "list"), i, "same");
  });
  Run([&](Txn& txn) { ASSERT_EQ(Remove(txn, "list", 0, "same"), 1600u); });
  Elements left;
  for (size_t i = 1201; i < 1999; i += 2) left.push_back(list_[i]);
  list_ = left;
  check(false);
}

TEST_F(ListTest, KeysThatGrowTooLongAreWrittenAnew) {
  PushNumbers("list", 1600);
  list_.insert(list_.begin() + 800, {"low", "high"});
  Run([&](Txn& txn) {
    ASSERT_TRUE(Insert(txn, "list", false, "element799", "low"));
    ASSERT_TRUE(Insert(txn, "list", false, "low", "high"));
  });
  // Always between the two that were inserted last.
  std::string low = "low", high = "high";
  size_t at = 801;  // of high
  int rewritten = 0;
  for (int i = 0; i < 7000; ++i) {
    const std::string value = std::to_string(i);
    Run([&](Txn& txn) { ASSERT_TRUE(Insert(txn, "list", false, low, value)); });
    list_.insert(list_.begin() + static_cast<ptrdiff_t>(at), value);
    if (i % 2 == 0) {
      low = value;
      ++at;
    } else {
      high = value;
    }
    rewritten += !BodyOf("list").sparse;
    if (i % 50 == 0) Commit();
  }
  EXPECT_GE(rewritten, 1);
  EXPECT_LE(rewritten, 10);
  ASSERT_EQ(All("list"), list_);
  Purge();
  CheckDisk("list");
}

// ---- Queues

TEST_F(ListTest, AQueueNeverMeetsWhatHasPassed) {
  for (const ListEnd in : {ListEnd::kTail, ListEnd::kHead}) {
    const ListEnd out = in == ListEnd::kTail ? ListEnd::kHead : ListEnd::kTail;
    const std::string key = in == ListEnd::kTail ? "forward" : "backward";
    uint64_t pushed = 0, popped = 0;
    const auto push = [&] {
      Run([&](Txn& txn) { Push(txn, key, in, {"element number " + std::to_string(pushed++)}); });
    };
    const auto pop = [&] {
      ASSERT_EQ(Run([&](Txn& txn) { return Pop(txn, key, out, 1); }),
                Elements{"element number " + std::to_string(popped++)});
    };
    // No unknown range reaches beyond the ends, so that no load can: there lie the tombstones.
    const auto check_ends = [&] {
      Run([&](Txn& txn) {
        Object* object = FindList(txn, key);
        const ListBody body(txn.body(object));
        const RowTree& tree = object->rows->fields;
        const ListKey head(body.head), tail(body.tail);
        const RowTree::Cursor first = tree.SeekForward({}), last = tree.SeekBackward(std::nullopt);
        ASSERT_NE(first.at(), RowTree::Cursor::At::kEnd);
        ASSERT_GE(first.at() == RowTree::Cursor::At::kGap ? first.gap_from() : first.key(), head.view());
        ASSERT_NE(last.at(), RowTree::Cursor::At::kEnd);
        if (last.at() == RowTree::Cursor::At::kGap) {
          ASSERT_TRUE(last.gap_to().has_value());
          ASSERT_LE(*last.gap_to(), tail.view());
        }
      });
    };
    for (int i = 0; i < 300; ++i) push();
    for (int round = 0; round < 10; ++round) {
      for (int i = 0; i < 1000; ++i) {
        push();
        ASSERT_NO_FATAL_FAILURE(pop());
        if (i % 100 == 0) Commit();
      }
      EvictAll();
      for (int i = 0; i < 20; ++i) {
        push();
        ASSERT_NO_FATAL_FAILURE(check_ends());
        ASSERT_NO_FATAL_FAILURE(pop());
        ASSERT_NO_FATAL_FAILURE(check_ends());
        const Elements last = Run([&](Txn& txn) { return Pop(txn, key, in, 1); });
        ASSERT_EQ(last, Elements{"element number " + std::to_string(--pushed)});
        ASSERT_NO_FATAL_FAILURE(check_ends());
        push();
      }
      ASSERT_EQ(All(key).size(), pushed - popped);
    }
  }
}

TEST_F(ListTest, AColdQueueIsReadAheadFromBothEnds) {
  options.store.block_cache_bytes = 1;
  PushNumbers("list", 2000);
  Commit();
  Reopen();
  const int before = waits;
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(Run([&](Txn& txn) { return Pop(txn, "list", ListEnd::kHead, 1); }),
              Elements{list_[static_cast<size_t>(i)]});
    EXPECT_EQ(Run([&](Txn& txn) { return Pop(txn, "list", ListEnd::kTail, 1); }),
              Elements{list_[1999 - static_cast<size_t>(i)]});
  }
  EXPECT_LE(waits - before, 5);
}

TEST_F(ListTest, APositionOfAColdDenseListIsOneRead) {
  options.store.block_cache_bytes = 1;
  PushNumbers("list", 5000);
  Commit();
  Reopen();
  Run([&](Txn& txn) { EXPECT_EQ(ListLength(FindList(txn, "list")), 5000u); });
  const int before = waits;
  Run([&](Txn& txn) { EXPECT_EQ(ListGet(txn, FindList(txn, "list"), 2500), list_[2500]); });
  EXPECT_LE(waits - before, 1);
  EXPECT_EQ(Run([&](Txn& txn) { return FindList(txn, "list")->rows->fields.count(); }), 1u);
  // Neither overwriting nor trimming reads rows.
  const int read = waits;
  Run([&](Txn& txn) {
    ListSet(txn, FindList(txn, "list"), 2600, "set");
    ListTrim(txn, FindList(txn, "list"), 1000, 3999);
  });
  EXPECT_EQ(waits, read);
  list_[2600] = "set";
  list_ = Elements(list_.begin() + 1000, list_.begin() + 4000);
  ASSERT_EQ(All("list"), list_);
  Purge();
  CheckDisk("list");
}

// ---- Rows that are left at the ends

class LeftRowsTest : public ListTest {
 protected:
  LeftRowsTest() { options.store.block_cache_bytes = 1; }

  void PopTail(uint64_t count) {
    const Elements popped = Run([&](Txn& txn) { return Pop(txn, "list", ListEnd::kTail, count); });
    ASSERT_EQ(popped, Elements(list_.rbegin(), list_.rbegin() + static_cast<ptrdiff_t>(count)));
    list_.resize(list_.size() - count);
  }
  void PopHead(uint64_t count) {
    const auto end = list_.begin() + static_cast<ptrdiff_t>(count);
    ASSERT_EQ(Run([&](Txn& txn) { return Pop(txn, "list", ListEnd::kHead, count); }),
              Elements(list_.begin(), end));
    list_.erase(list_.begin(), end);
  }
  void Restart() {
    Commit();
    Reopen();
  }
  /// The list is what it should be, in RAM and on disk, where so many more rows are left.
  void Expect(uint64_t before, uint64_t behind, uint64_t rows_left) {
    ASSERT_EQ(All("list"), list_);
    const ListBody body = BodyOf("list");
    EXPECT_EQ(body.before, before);
    EXPECT_EQ(body.behind, behind);
    Commit();
    Purge();
    ASSERT_NO_FATAL_FAILURE(CheckDisk("list"));
    EXPECT_EQ(RowsOf(Family::kFields).size(), list_.size() + rows_left);
  }
};

TEST_F(LeftRowsTest, AreDeletedByTheThousand) {
  PushNumbers("list", 5000);
  for (uint64_t i = 1; i <= kLeftRowsMax; ++i) {
    ASSERT_NO_FATAL_FAILURE(PopTail(1));
    if (i % 100 == 0) {
      ASSERT_NO_FATAL_FAILURE(Expect(0, i, i));
      if (i % 300 == 0) Restart();
    }
  }
  ASSERT_NO_FATAL_FAILURE(Expect(0, kLeftRowsMax, kLeftRowsMax));
  ASSERT_NO_FATAL_FAILURE(PopTail(1));
  ASSERT_NO_FATAL_FAILURE(Expect(0, 0, 0));
  // At the other end.
  ASSERT_NO_FATAL_FAILURE(PopHead(kLeftRowsMax - 1));
  ASSERT_NO_FATAL_FAILURE(PopTail(3));
  Restart();
  ASSERT_NO_FATAL_FAILURE(Expect(kLeftRowsMax - 1, 3, kLeftRowsMax + 2));
  ASSERT_NO_FATAL_FAILURE(PopHead(2));
  ASSERT_NO_FATAL_FAILURE(Expect(0, 0, 0));
  // A short list leaves nothing.
  ASSERT_NO_FATAL_FAILURE(PopHead(500));
  ASSERT_NO_FATAL_FAILURE(Expect(500, 0, 500));
  ASSERT_NO_FATAL_FAILURE(PopTail(list_.size() - kLeftRowsMax));
  ASSERT_NO_FATAL_FAILURE(Expect(0, 0, 0));
  ASSERT_NO_FATAL_FAILURE(PopTail(1));
  ASSERT_NO_FATAL_FAILURE(Expect(0, 0, 0));
}

TEST_F(LeftRowsTest, ArePassedOverByWhateverReads) {
  PushNumbers("list", 4000);
  ASSERT_NO_FATAL_FAILURE(PopTail(700));
  ASSERT_NO_FATAL_FAILURE(PopHead(600));
  for (const bool reopen : {false, true}) {
    if (reopen) Restart();
    ASSERT_NO_FATAL_FAILURE(Expect(600, 700, 1300));
    Run([&](Txn& txn) {
      Object* object = FindList(txn, "list");
      txn.CompleteRows(object, RowSpace::kFields);
      EXPECT_EQ(object->rows->fields.count(), list_.size());
      Elements seen;
      txn.VisitRows(object, RowSpace::kFields,
                    [&](auto, std::string_view value) { seen.emplace_back(value); });
      EXPECT_EQ(seen, list_);
      const std::string tail(ListKey(kFirst + 3300).view());
      EXPECT_EQ(txn.SeekBackward(object, RowSpace::kFields, std::nullopt).value(), list_.back());
      EXPECT_FALSE(txn.SeekForward(object, RowSpace::kFields, tail).valid());
    });
  }
  Restart();
  Run([&](Txn& txn) { CopyObject(txn, FindList(txn, "list"), txn.ForWrite("copy")); });
  EXPECT_EQ(All("copy"), list_);
  EXPECT_EQ(BodyOf("copy").before + BodyOf("copy").behind, 0u);
  Run([&](Txn& txn) { txn.Remove(FindList(txn, "copy")); });
  ASSERT_NO_FATAL_FAILURE(Expect(600, 700, 1300));
  // They go with the list.
  Run([&](Txn& txn) { txn.Remove(FindList(txn, "list")); });
  Commit();
  Purge();
  EXPECT_TRUE(RowsOf(Family::kFields).empty());
}

TEST_F(LeftRowsTest, PushesOverwriteThem) {
  PushNumbers("list", 3000);
  ASSERT_NO_FATAL_FAILURE(PopTail(100));
  ASSERT_NO_FATAL_FAILURE(PopHead(50));
  Elements pushed;
  for (int i = 0; i < 70; ++i) pushed.push_back("pushed" + std::to_string(i));
  Run([&](Txn& txn) {
    Push(txn, "list", ListEnd::kTail, pushed);
    Push(txn, "list", ListEnd::kHead, pushed);
  });
  list_.insert(list_.end(), pushed.begin(), pushed.end());
  list_.insert(list_.begin(), pushed.rbegin(), pushed.rend());
  ASSERT_NO_FATAL_FAILURE(Expect(0, 30, 30));
  Restart();
  ASSERT_NO_FATAL_FAILURE(Expect(0, 30, 30));
}

TEST_F(LeftRowsTest, AreGoneBeforeAListIsSparse) {
  for (const bool insert : {true, false}) {
    PushNumbers("list", 4000);
    ASSERT_NO_FATAL_FAILURE(PopTail(200));
    ASSERT_NO_FATAL_FAILURE(PopHead(300));
    Restart();
    if (insert) {
      Run([&](Txn& txn) { ASSERT_TRUE(Insert(txn, "list", true, "element2000", "new")); });
      list_.insert(list_.begin() + 1700, "new");
    } else {
      Run([&](Txn& txn) { ASSERT_EQ(Remove(txn, "list", 1, "element2000"), 1u); });
      list_.erase(list_.begin() + 1700);
    }
    EXPECT_TRUE(BodyOf("list").sparse);
    ASSERT_NO_FATAL_FAILURE(Expect(0, 0, 0));
    Run([&](Txn& txn) { txn.Remove(FindList(txn, "list")); });
  }
}

TEST_F(LeftRowsTest, AreGoneWhenAListIsWrittenAnew) {
  PushNumbers("list", 3000);
  ASSERT_NO_FATAL_FAILURE(PopTail(10));
  ASSERT_NO_FATAL_FAILURE(PopHead(20));
  Run([&](Txn& txn) {
    for (int i = 300; i < 2970; ++i) ListSet(txn, FindList(txn, "list"), static_cast<uint64_t>(i), "same");
    ASSERT_EQ(Remove(txn, "list", 0, "same"), 2670u);
  });
  list_.resize(300);
  ASSERT_NO_FATAL_FAILURE(Expect(0, 0, 0));
}

// ---- Events

TEST_F(ListTest, TellsWhatRedisTells) {
  keyspace->Listen({.changes = true});
  const auto events = [&](auto&& body) {
    Run(body);
    Commit();
    std::string told;
    for (const KeyEvent& event : keyspace->TakeEvents()) {
      told += (told.empty() ? "" : " ") + event.key + ":" + event.name;
      EXPECT_EQ(event.event_class,
                event.name == std::string_view("del") ? EventClass::kGeneric : EventClass::kList);
    }
    return told;
  };
  const auto move = [&](const char* from, const char* to, ListEnd from_end, ListEnd to_end) {
    return events([=](Txn& txn) {
      ListMove(txn, FindList(txn, from), from_end, *txn.ForWrite(to, ObjectType::kList), to_end);
    });
  };
  EXPECT_EQ(events([](Txn& txn) { Push(txn, "a", ListEnd::kHead, {"1", "2"}); }), "a:lpush");
  EXPECT_EQ(events([](Txn& txn) { Push(txn, "a", ListEnd::kTail, {"3"}); }), "a:rpush");
  EXPECT_EQ(events([](Txn& txn) { ListSet(txn, FindList(txn, "a"), 0, "x"); }), "a:lset");
  EXPECT_EQ(events([](Txn& txn) { Insert(txn, "a", true, "x", "y"); }), "a:linsert");
  EXPECT_EQ(events([](Txn& txn) { Insert(txn, "a", true, "no such", "y"); }), "");
  EXPECT_EQ(events([](Txn& txn) { Remove(txn, "a", 0, "y"); }), "a:lrem");
  EXPECT_EQ(events([](Txn& txn) { Remove(txn, "a", 0, "y"); }), "");
  EXPECT_EQ(events([](Txn& txn) { ListTrim(txn, FindList(txn, "a"), 0, 2); }), "a:ltrim");
  EXPECT_EQ(events([](Txn& txn) { Pop(txn, "a", ListEnd::kHead, 1); }), "a:lpop");
  EXPECT_EQ(move("a", "b", ListEnd::kTail, ListEnd::kHead), "b:lpush a:rpop");
  EXPECT_EQ(move("a", "a", ListEnd::kHead, ListEnd::kTail), "a:rpush a:lpop");
  EXPECT_EQ(move("a", "b", ListEnd::kHead, ListEnd::kTail), "b:rpush a:lpop a:del");
  EXPECT_EQ(events([](Txn& txn) { Pop(txn, "b", ListEnd::kTail, 2); }), "b:rpop b:del");
  EXPECT_EQ(events([](Txn& txn) { Push(txn, "a", ListEnd::kTail, {"1", "1"}); }), "a:rpush");
  EXPECT_EQ(events([](Txn& txn) { Remove(txn, "a", 0, "1"); }), "a:lrem a:del");
  EXPECT_EQ(events([](Txn& txn) { Push(txn, "a", ListEnd::kTail, {"1"}); }), "a:rpush");
  EXPECT_EQ(events([](Txn& txn) { ListTrim(txn, FindList(txn, "a"), 1, 0); }), "a:ltrim a:del");
}

}  // namespace
}  // namespace thermocline
