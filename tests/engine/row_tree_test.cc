#include "engine/row_tree.h"

#include <algorithm>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

namespace thermocline {
namespace {

using Knowledge = RowTree::Knowledge;
using At = RowTree::Cursor::At;

std::string After(std::string_view key) { return std::string(key) + '\0'; }

std::string BigEndian(uint64_t number) {
  std::string bytes(8, '\0');
  for (int i = 0; i < 8; ++i) bytes[i] = static_cast<char>(number >> (56 - 8 * i));
  return bytes;
}

std::optional<std::string> Own(std::optional<std::string_view> view) {
  return view ? std::optional<std::string>(*view) : std::nullopt;
}

// ---------------------------------------------------------------- the model

/// The truth about all rows, and what part of the key space the tree may know. Known ranges are disjoint,
/// sorted and do not touch; an end of nullopt is the end of all keys.
class Model {
 public:
  using Range = std::pair<std::string, std::optional<std::string>>;

  std::map<std::string, std::string> rows;
  std::vector<Range> known{{"", std::nullopt}};

  bool Knows(const std::string& key) const {
    for (const Range& range : known) {
      if (range.first <= key && (!range.second || key < *range.second)) return true;
    }
    return false;
  }

  void Learn(const std::string& from, const std::optional<std::string>& to) {
    Range all{from, to};
    std::vector<Range> result;
    bool placed = false;
    for (Range& range : known) {
      if (range.second && *range.second < all.first) {
        result.push_back(std::move(range));
      } else if (all.second && *all.second < range.first) {
        if (!std::exchange(placed, true)) result.push_back(all);
        result.push_back(std::move(range));
      } else {
        all.first = std::min(all.first, range.first);
        if (!range.second || !all.second) {
          all.second = std::nullopt;
        } else {
          all.second = std::max(*all.second, *range.second);
        }
      }
    }
    if (!placed) result.push_back(all);
    known = std::move(result);
  }

  std::vector<Range> Unknown() const {
    std::vector<Range> unknown;
    std::optional<std::string> from = "";
    for (const Range& range : known) {
      if (*from < range.first) unknown.emplace_back(*from, range.first);
      from = range.second;
      if (!from) return unknown;
    }
    unknown.emplace_back(*from, std::nullopt);
    return unknown;
  }

  /// What stays known when dummies go: ranges shrink to the rows at their sides.
  void Trim() {
    std::vector<Range> result;
    for (Range& range : known) {
      const auto first = rows.lower_bound(range.first);
      const auto last = range.second ? rows.lower_bound(*range.second) : rows.end();
      if (first == last) {
        if (range.first.empty() && !range.second) result.push_back(range);
        continue;
      }
      if (!range.first.empty()) range.first = first->first;
      if (range.second) range.second = After(std::prev(last)->first);
      result.push_back(range);
    }
    known = std::move(result);
  }

  std::map<std::string, std::string> KnownRows() const {
    std::map<std::string, std::string> result;
    for (const Range& range : known) {
      const auto last = range.second ? rows.lower_bound(*range.second) : rows.end();
      result.insert(rows.lower_bound(range.first), last);
    }
    return result;
  }
};

/// A tree and its model, driven by the same random steps.
class Pair {
 public:
  explicit Pair(uint64_t seed) : random_(seed), style_(random_() % 4), density_(1 + random_() % 3) {}

  void Run(int steps) {
    for (int i = 0; i < steps; ++i) {
      Step();
      if (::testing::Test::HasFailure()) return;
      if (i % 64 == 0) CheckAll();
    }
    CheckAll();
    EraseEverything();
  }

 private:
  size_t Pick(size_t n) { return random_() % n; }

  std::string RandomBytes(size_t size) {
    std::string bytes(size, '\0');
    for (char& c : bytes) c = static_cast<char>(random_());
    return bytes;
  }

  /// Few enough different keys that they meet; neighbours ("k" and "k\0") are common.
  std::string Key() {
    if (!model_.rows.empty() && Pick(4) == 0) {
      auto row = model_.rows.lower_bound(FreshKey());
      if (row == model_.rows.end()) --row;
      return Pick(4) == 0 ? After(row->first) : row->first;
    }
    return FreshKey();
  }

  std::string FreshKey() {
    if (Pick(200) == 0) return std::string(300 + Pick(3) * 5000, 'k') + static_cast<char>(Pick(4));
    switch (style_) {
      case 0: {
        std::string key(Pick(4), '\0');
        for (char& c : key) c = "\0\1a\xff"[Pick(4)];
        return key;
      }
      case 1: return "a prefix of more than thirty-two bytes:" + std::to_string(Pick(density_ * 400));
      case 2: return BigEndian(1000 + Pick(density_ * 1000));
      default:
        return std::string(Pick(3), 'x') + std::to_string(Pick(density_ * 300)) + std::string(Pick(2), '\0');
    }
  }

  std::string Value() {
    switch (Pick(40)) {
      case 0: return RandomBytes(Pick(100 << 10));
      case 1:
      case 2: return RandomBytes(250 + Pick(12));
      case 3:
      case 4:
      case 5: return RandomBytes(Pick(255));
      default: return RandomBytes(Pick(24));
    }
  }

  Knowledge Expected(const std::string& key) const {
    if (!model_.Knows(key)) return Knowledge::kUnknown;
    return model_.rows.contains(key) ? Knowledge::kPresent : Knowledge::kAbsent;
  }

  void Load(const std::string& key) {
    const bool known = model_.Knows(key);
    const auto row = model_.rows.find(key);
    if (known) {
      // What is known wins, so that a wrong answer here must do nothing.
      tree_.LoadPoint(key, Pick(2) ? std::optional<std::string_view>("wrong") : std::nullopt);
    } else {
      tree_.LoadPoint(key,
                      row == model_.rows.end() ? std::nullopt : std::optional<std::string_view>(row->second));
    }
    model_.Learn(key, After(key));
  }

  void LoadRange(const std::string& from, const std::optional<std::string>& to) {
    if (to && *to <= from) return tree_.MarkRangeKnown(from, to);
    for (auto row = model_.rows.lower_bound(from); row != model_.rows.end() && (!to || row->first < *to);
         ++row) {
      tree_.LoadRow(row->first, model_.Knows(row->first) ? "wrong" : row->second);
    }
    tree_.MarkRangeKnown(from, to);
    model_.Learn(from, to);
  }

  void Put(const std::string& key, const std::string& value) {
    const Knowledge before = Expected(key);
    ASSERT_EQ(tree_.Put(key, value), before);
    model_.rows[key] = value;
    model_.Learn(key, After(key));
  }

  void Step() {
    const int growing = (steps_++ / 3000) % 2;  // phases in which the tree grows and shrinks
    const size_t choice = Pick(1000);
    if (choice < (growing ? 500 : 200)) {
      Put(Key(), Value());
    } else if (choice < 650) {
      const std::string key = Key();
      const Knowledge before = Expected(key);
      ASSERT_EQ(tree_.Erase(key), before);
      model_.rows.erase(key);
      model_.Learn(key, After(key));
    } else if (choice < 750) {
      Load(Key());
    } else if (choice < 770) {
      std::string from = Pick(10) ? Key() : "", to = Key();
      if (Pick(8) && to < from) std::swap(from, to);
      LoadRange(from, Pick(10) ? std::optional(to) : std::nullopt);
    } else if (choice < 774) {
      LoadWhereACursorStops();
    } else if (choice < 775) {
      EraseRange();
    } else if (choice < 777) {
      tree_.DropDummies();
      model_.Trim();
    } else if (choice < 779) {
      if (Pick(8)) return;
      tree_.Forget();
      model_.known.clear();
    } else if (choice < 780) {
      ForgetLeaf();
    } else if (choice < 783) {
      if (Pick(4)) return;
      LoadRange("", std::nullopt);
    } else {
      Look(Key());
    }
  }

  /// What is known afterwards is no more than before, and of what is unknown now no row is left.
  void ForgetLeaf() {
    const uint64_t rows = tree_.count();
    const size_t bytes = tree_.memory_bytes();
    if (tree_.ForgetLeaf(random_()) != RowTree::Forgot::kLeaf) {
      ASSERT_EQ(tree_.count(), rows);
      return;
    }
    ASSERT_LT(tree_.memory_bytes(), bytes);
    Model now;
    now.known.clear();
    std::string from;
    for (auto cursor = tree_.SeekForward(from);;) {
      if (cursor.at() == At::kRow) {
        cursor.Next();
        continue;
      }
      const bool end = cursor.at() == At::kEnd;
      if (end || cursor.gap_from() > from) {
        now.known.emplace_back(from, end ? std::nullopt : std::optional<std::string>(cursor.gap_from()));
      }
      if (end || !cursor.gap_to()) break;
      from = *cursor.gap_to();
      cursor = tree_.SeekForward(from);
    }
    for (const auto& [start, end] : now.known) {
      const auto old = std::find_if(model_.known.begin(), model_.known.end(), [&](const Model::Range& range) {
        return range.first <= start && (!range.second || (end && *end <= *range.second));
      });
      ASSERT_NE(old, model_.known.end());
    }
    model_.known = now.known;
  }

  void EraseRange() {
    // Mostly narrow, so that the tree does not stay small.
    std::string from = Pick(10) ? Key() : "";
    auto last = model_.rows.lower_bound(from);
    for (size_t n = Pick(6) ? Pick(20) : Pick(400); n > 0 && last != model_.rows.end(); --n) ++last;
    std::optional<std::string> to = last == model_.rows.end() ? std::nullopt : std::optional(last->first);
    if (Pick(4) == 0) to = Key();
    if (to && *to <= from) {
      ASSERT_EQ(tree_.EraseRange(from, to), 0u);
      return;
    }
    uint64_t known = 0;
    for (auto row = model_.rows.lower_bound(from); row != model_.rows.end() && (!to || row->first < *to);) {
      known += model_.Knows(row->first);
      row = model_.rows.erase(row);
    }
    ASSERT_EQ(tree_.EraseRange(from, to), known);
    model_.Learn(from, to);
  }

  void LoadWhereACursorStops() {
    auto cursor = Pick(2) ? tree_.SeekForward(Key()) : tree_.SeekBackward(Key());
    const bool forward = Pick(2);
    while (cursor.at() == At::kRow) forward ? cursor.Next() : cursor.Previous();
    if (cursor.at() != At::kGap) return;
    const uint64_t gaps = tree_.gaps();
    LoadRange(std::string(cursor.gap_from()), Own(cursor.gap_to()));
    ASSERT_LE(tree_.gaps(), gaps);
  }

  void Look(const std::string& key) {
    const RowTree::Lookup lookup = tree_.Find(key);
    ASSERT_EQ(lookup.knowledge, Expected(key));
    if (lookup.knowledge == Knowledge::kPresent) {
      ASSERT_EQ(lookup.value, model_.rows[key]);
    }
    ExpectForward(tree_.SeekForward(key), key);
    ExpectBackward(tree_.SeekBackward(key), key);
  }

  /// The cursor must stand at the first row or unknown range at or after `from`.
  void ExpectForward(const RowTree::Cursor& cursor, const std::string& from) const {
    const auto row = model_.rows.lower_bound(from);
    for (auto [start, end] : model_.Unknown()) {
      if (end && *end <= from) continue;
      start = std::max(start, from);
      if (row != model_.rows.end() && row->first < start) break;
      ASSERT_EQ(cursor.at(), At::kGap);
      ASSERT_EQ(cursor.gap_from(), start);
      ASSERT_EQ(Own(cursor.gap_to()), end);
      return;
    }
    ExpectRow(cursor, row);
  }

  void ExpectBackward(const RowTree::Cursor& cursor, const std::optional<std::string>& from) const {
    auto row = from ? model_.rows.upper_bound(*from) : model_.rows.end();
    row = row == model_.rows.begin() ? model_.rows.end() : std::prev(row);
    const auto unknown = model_.Unknown();
    for (auto gap = unknown.rbegin(); gap != unknown.rend(); ++gap) {
      auto [start, end] = *gap;
      if (from && start > *from) continue;
      if (from && (!end || *end > After(*from))) end = After(*from);
      if (row != model_.rows.end() && end && row->first >= *end) break;
      ASSERT_EQ(cursor.at(), At::kGap);
      ASSERT_EQ(cursor.gap_from(), start);
      ASSERT_EQ(Own(cursor.gap_to()), end);
      return;
    }
    ExpectRow(cursor, row);
  }

  void ExpectRow(const RowTree::Cursor& cursor,
                 std::map<std::string, std::string>::const_iterator row) const {
    if (row == model_.rows.end()) {
      ASSERT_EQ(cursor.at(), At::kEnd);
    } else {
      ASSERT_EQ(cursor.at(), At::kRow);
      ASSERT_EQ(cursor.key(), row->first);
      ASSERT_EQ(cursor.value(), row->second);
    }
  }

  void CheckAll() {
    tree_.CheckInvariants();
    const auto rows = model_.KnownRows();
    ASSERT_EQ(tree_.count(), rows.size());
    ASSERT_EQ(tree_.gaps(), model_.Unknown().size());
    size_t bytes = 0;
    uint64_t rank = 0;
    for (const auto& [key, value] : rows) {
      bytes += key.size() + value.size();
      if (rank % 7 == 0) {
        ASSERT_EQ(tree_.Rank(key), rank);
        if (tree_.complete()) {
          ASSERT_EQ(tree_.Select(rank).key(), key);
        }
      }
      ++rank;
    }
    ASSERT_EQ(tree_.data_bytes(), bytes);
    if (!tree_.complete()) {
      ASSERT_EQ(tree_.FirstGap(), model_.Unknown().front().first);
    }
    ASSERT_EQ(tree_.Rank(std::string(20000, '\xff')), rank);
    ScanAll();
  }

  /// Steps through everything, leaping over gaps, in both directions.
  void ScanAll() const {
    std::string from;
    for (auto cursor = tree_.SeekForward(from);;) {
      ExpectForward(cursor, from);
      if (::testing::Test::HasFatalFailure() || cursor.at() == At::kEnd) break;
      if (cursor.at() == At::kRow) {
        from = After(cursor.key());
        cursor.Next();
      } else {
        if (!cursor.gap_to()) break;
        from = *cursor.gap_to();
        cursor = tree_.SeekForward(from);
      }
    }
    auto cursor = tree_.SeekBackward(std::nullopt);
    ExpectBackward(cursor, std::nullopt);
    // The bound of a step back from a row is open, as the row's predecessor has no name: compare rows only.
    std::vector<std::string> backward;
    while (cursor.at() == At::kRow) {
      backward.emplace_back(cursor.key());
      cursor.Previous();
    }
    const auto rows = model_.KnownRows();
    ASSERT_LE(backward.size(), rows.size());
    auto row = rows.rbegin();
    for (const std::string& key : backward) ASSERT_EQ(key, (row++)->first);
    const auto unknown = model_.Unknown();
    ASSERT_EQ(cursor.at(), unknown.empty() ? At::kEnd : At::kGap);
    if (unknown.empty()) return;
    ASSERT_EQ(cursor.gap_from(), unknown.back().first);
    ASSERT_EQ(Own(cursor.gap_to()), unknown.back().second);
  }

  void EraseEverything() {
    LoadRange("", std::nullopt);
    ASSERT_TRUE(tree_.complete());
    CheckAll();
    while (!model_.rows.empty()) {
      auto row = model_.rows.lower_bound(FreshKey());
      if (row == model_.rows.end()) row = model_.rows.begin();
      ASSERT_EQ(tree_.Erase(row->first), Knowledge::kPresent);
      model_.rows.erase(row);
    }
    tree_.CheckInvariants();
    ASSERT_EQ(tree_.memory_bytes(), 0u);
    ASSERT_EQ(tree_.data_bytes(), 0u);
  }

  std::mt19937_64 random_;
  const int style_;
  const size_t density_;
  int steps_ = 0;
  RowTree tree_;
  Model model_;
};

class RowTreeModelTest : public ::testing::TestWithParam<int> {};

TEST_P(RowTreeModelTest, BehavesAsTheModel) { Pair(GetParam()).Run(8000); }

INSTANTIATE_TEST_SUITE_P(Seeds, RowTreeModelTest, ::testing::Range(1, 17));

// ---------------------------------------------------------------- single cases

TEST(RowTreeTest, StartsCompleteAndEmpty) {
  RowTree tree;
  EXPECT_TRUE(tree.complete());
  EXPECT_EQ(tree.count(), 0u);
  EXPECT_EQ(tree.memory_bytes(), 0u);
  EXPECT_EQ(tree.Find("k").knowledge, Knowledge::kAbsent);
  EXPECT_EQ(tree.SeekForward("").at(), At::kEnd);
  EXPECT_EQ(tree.SeekBackward(std::nullopt).at(), At::kEnd);
  EXPECT_EQ(tree.Erase("k"), Knowledge::kAbsent);
  EXPECT_EQ(tree.Rank("k"), 0u);
}

TEST(RowTreeTest, OneSmallRowCostsFewBytes) {
  RowTree tree;
  tree.Put("f", "1");
  EXPECT_LE(tree.memory_bytes(), 24u);
  EXPECT_EQ(tree.data_bytes(), 2u);
}

TEST(RowTreeTest, AForgottenTreeIsOneGap) {
  RowTree tree;
  tree.Put("k", "v");
  tree.Forget();
  EXPECT_EQ(tree.gaps(), 1u);
  EXPECT_EQ(tree.memory_bytes(), 0u);
  EXPECT_EQ(tree.Find("k").knowledge, Knowledge::kUnknown);
  const RowTree::Cursor cursor = tree.SeekBackward(std::nullopt);
  ASSERT_EQ(cursor.at(), At::kGap);
  EXPECT_EQ(cursor.gap_from(), "");
  EXPECT_EQ(cursor.gap_to(), std::nullopt);
}

TEST(RowTreeTest, ARangeMayEndWhereNothingIsKnown) {
  RowTree tree;
  tree.Forget();
  tree.LoadRow("c", "1");
  tree.MarkRangeKnown("b", "m");
  EXPECT_EQ(tree.Find("a").knowledge, Knowledge::kUnknown);
  EXPECT_EQ(tree.Find("b").knowledge, Knowledge::kAbsent);
  EXPECT_EQ(tree.Find("c").knowledge, Knowledge::kPresent);
  EXPECT_EQ(tree.Find("lzz").knowledge, Knowledge::kAbsent);
  EXPECT_EQ(tree.Find("m").knowledge, Knowledge::kUnknown);
  RowTree::Cursor cursor = tree.SeekForward("b");
  ASSERT_EQ(cursor.at(), At::kRow);
  cursor.Next();
  ASSERT_EQ(cursor.at(), At::kGap);
  EXPECT_EQ(cursor.gap_from(), "m");
  tree.MarkRangeKnown("m", std::nullopt);
  tree.MarkRangeKnown("", "b");
  EXPECT_TRUE(tree.complete());
  tree.CheckInvariants();
  EXPECT_EQ(tree.count(), 1u);
}

TEST(RowTreeTest, NeighboursHaveNoGapBetweenThem) {
  RowTree tree;
  tree.Forget();
  tree.LoadPoint("k", std::nullopt);
  tree.LoadPoint(After("k"), "v");
  tree.LoadPoint("", "e");
  EXPECT_EQ(tree.gaps(), 2u);  // between "" and "k", and behind "k\0"
  tree.CheckInvariants();
}

TEST(RowTreeTest, OneUnknownKeyMayRemain) {
  for (const bool present : {true, false}) {
    RowTree tree;
    tree.Forget();
    tree.MarkRangeKnown("", "b");
    tree.MarkRangeKnown(After("b"), std::nullopt);
    EXPECT_EQ(tree.gaps(), 1u);
    EXPECT_EQ(tree.Find("b").knowledge, Knowledge::kUnknown);
    const RowTree::Cursor cursor = tree.SeekBackward(std::nullopt);
    ASSERT_EQ(cursor.at(), At::kGap);
    EXPECT_EQ(cursor.gap_from(), "b");
    EXPECT_EQ(cursor.gap_to(), After("b"));
    tree.LoadPoint("b", present ? std::optional<std::string_view>("v") : std::nullopt);
    tree.CheckInvariants();
    EXPECT_TRUE(tree.complete());
    EXPECT_EQ(tree.count(), present ? 1u : 0u);
  }
}

TEST(RowTreeTest, ErasedInUnknownSurroundingsStaysKnownAbsent) {
  RowTree tree;
  tree.Forget();
  EXPECT_EQ(tree.Put("k", "v"), Knowledge::kUnknown);
  EXPECT_EQ(tree.Erase("k"), Knowledge::kPresent);
  EXPECT_EQ(tree.Find("k").knowledge, Knowledge::kAbsent);
  tree.LoadPoint("k", "from disk, too late");
  EXPECT_EQ(tree.Find("k").knowledge, Knowledge::kAbsent);
  tree.DropDummies();
  EXPECT_EQ(tree.Find("k").knowledge, Knowledge::kUnknown);
  EXPECT_EQ(tree.memory_bytes(), 0u);
}

TEST(RowTreeTest, ForgetsOneLeafAtATime) {
  constexpr uint64_t kRows = 20000;
  RowTree tree;
  for (uint64_t i = 0; i < kRows; ++i) tree.Put(BigEndian(i), "value");
  const size_t whole = tree.memory_bytes();
  for (uint64_t i = 0; i < kRows; i += 10) (void)tree.Find(BigEndian(i));  // every leaf is hot
  EXPECT_EQ(tree.ForgetLeaf(1), RowTree::Forgot::kSpared);
  std::mt19937_64 random(7);
  while (tree.memory_bytes() > whole / 2) {
    (void)tree.ForgetLeaf(random());
    for (uint64_t i = 0; i < 500; ++i) (void)tree.Find(BigEndian(i));
  }
  tree.CheckInvariants();
  EXPECT_FALSE(tree.complete());
  uint64_t hot = 0;
  for (uint64_t i = 0; i < kRows; ++i) {
    const RowTree::Lookup found = tree.Find(BigEndian(i));
    EXPECT_NE(found.knowledge, Knowledge::kAbsent);
    if (i < 500 && found.knowledge == Knowledge::kPresent) ++hot;
  }
  EXPECT_GT(hot, 400u);
  for (uint64_t i = 0; i < kRows; ++i) tree.LoadRow(BigEndian(i), "value");
  tree.MarkRangeKnown("", std::nullopt);
  EXPECT_TRUE(tree.complete());
  EXPECT_EQ(tree.count(), kRows);
  tree.CheckInvariants();
}

TEST(RowTreeTest, OverwriteOfTheSameSizeMovesNothing) {
  for (const size_t size : {0, 1, 255, 256, 5000}) {
    RowTree tree;
    tree.Put("k", std::string(size, 'a'));
    const char* place = tree.Find("k").value.data();
    const size_t bytes = tree.memory_bytes();
    tree.Put("k", std::string(size, 'b'));
    EXPECT_EQ(tree.Find("k").value, std::string(size, 'b'));
    EXPECT_EQ(tree.Find("k").value.data(), place);
    EXPECT_EQ(tree.memory_bytes(), bytes);
  }
}

TEST(RowTreeTest, MoveTakesEverything) {
  RowTree a;
  a.Forget();
  a.Put("k", "v");
  RowTree b(std::move(a));
  EXPECT_EQ(b.Find("k").value, "v");
  EXPECT_EQ(b.gaps(), 2u);
  EXPECT_TRUE(a.complete());
  EXPECT_EQ(a.memory_bytes(), 0u);
  b = RowTree();
  EXPECT_TRUE(b.complete());
  EXPECT_EQ(b.count(), 0u);
}

TEST(RowTreeTest, AQueueLeavesNoHalfEmptyLeaves) {
  constexpr uint64_t kLength = 5000;
  RowTree tree;
  size_t full = 0;
  for (uint64_t i = 0; i < 60000; ++i) {
    tree.Put(BigEndian(i), "an element of 24 bytes..");
    if (i < kLength) continue;
    if (i == kLength) full = tree.memory_bytes();
    const std::string first(tree.SeekForward("").key());
    ASSERT_EQ(first, BigEndian(i - kLength));
    tree.Erase(first);
    if (i % 1000 == 0) tree.CheckInvariants();
  }
  EXPECT_EQ(tree.count(), kLength);
  EXPECT_LT(full, kLength * 42);
  EXPECT_LT(tree.memory_bytes(), full * 11 / 10);
}

TEST(RowTreeTest, PrependingPacksLeavesToo) {
  RowTree tree;
  for (uint64_t i = 60000; i > 0; --i) tree.Put(BigEndian(i), "an element of 24 bytes..");
  tree.CheckInvariants();
  EXPECT_LT(tree.memory_bytes(), 60000 * 42u);
}

TEST(RowTreeTest, DeepTreesKeepTheirShape) {
  std::mt19937_64 random(7);
  std::vector<uint64_t> numbers(60000);
  for (size_t i = 0; i < numbers.size(); ++i) numbers[i] = i;
  std::shuffle(numbers.begin(), numbers.end(), random);
  RowTree tree;
  // Wide rows: few in a leaf, so that there are three levels of inner nodes.
  const std::string value(200, 'v');
  for (const uint64_t i : numbers) tree.Put(BigEndian(i * 2), value);
  tree.CheckInvariants();
  for (uint64_t i = 0; i < numbers.size(); i += 97) {
    ASSERT_EQ(tree.Select(i).key(), BigEndian(i * 2));
    ASSERT_EQ(tree.Rank(BigEndian(i * 2 + 1)), i + 1);
  }
  std::shuffle(numbers.begin(), numbers.end(), random);
  for (size_t i = 0; i < numbers.size(); ++i) {
    ASSERT_EQ(tree.Erase(BigEndian(numbers[i] * 2)), Knowledge::kPresent);
    if (i % 10000 == 0) tree.CheckInvariants();
  }
  EXPECT_EQ(tree.memory_bytes(), 0u);
}

}  // namespace
}  // namespace thermocline
