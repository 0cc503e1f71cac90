#include "engine/memtable.h"

#include <rocksdb/comparator.h>
#include <rocksdb/db.h>
#include <rocksdb/write_batch.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace thermocline {
namespace {

using Rows = std::map<std::string, std::string>;

/// A RocksDB whose memtables are trees, in a folder of its own. Nothing is flushed unless a test says so, so
/// that reads are answered by the memtable.
class MemTableTest : public ::testing::Test {
 protected:
  MemTableTest() {
    folder_ = (std::filesystem::temp_directory_path() / "thermocline_memtable_XXXXXX").string();
    EXPECT_NE(mkdtemp(folder_.data()), nullptr);
    Open();
  }
  ~MemTableTest() override {
    db_.reset();
    std::filesystem::remove_all(folder_);
  }

  void Open() {
    db_.reset();
    rocksdb::Options options;
    options.create_if_missing = true;
    options.allow_concurrent_memtable_write = false;
    options.avoid_flush_during_recovery = true;
    options.avoid_flush_during_shutdown = true;
    options.write_buffer_size = 64 << 20;
    options.memtable_factory = NewTreeMemTableFactory(options.comparator, &coming_);
    rocksdb::DB* db = nullptr;
    const rocksdb::Status status = rocksdb::DB::Open(options, folder_, &db);
    ASSERT_TRUE(status.ok()) << status.ToString();
    db_.reset(db);
  }

  ComingKeys coming_;
  std::string folder_;
  std::unique_ptr<rocksdb::DB> db_;
};

TEST(ComingKeysTest, AreGivenOutInGroups) {
  ComingKeys coming;
  EXPECT_TRUE(coming.Next().empty());
  const size_t count = 2 * ComingKeys::kGroup + 3;
  const std::string bytes(count + 8, 'x');
  for (size_t i = 0; i < count; ++i) coming.Add({bytes.data() + i, 1});
  for (size_t i = 0; i < count + 5; ++i) {
    const auto group = coming.Next();
    const bool first = i < count && i % ComingKeys::kGroup == 0;
    ASSERT_EQ(group.size(), first ? std::min(ComingKeys::kGroup, count - i) : 0);
    if (first) {
      EXPECT_EQ(group[0].data(), bytes.data() + i);
    }
  }
  coming.Clear();
  coming.Add({bytes.data(), 1});
  EXPECT_EQ(coming.Next().size(), 1u);
}

/// Random keys of 0 to 40 bytes that have much in common with each other: shared prefixes, keys that continue
/// another, and the bytes at both ends of the order.
class Keys {
 public:
  explicit Keys(uint64_t seed) : random_(seed) {}

  uint64_t Below(uint64_t bound) { return random_() % bound; }

  std::string Next() {
    static const std::string kBytes(
        "\x00\x01"
        "ab\x7f\x80\xfe\xff",
        8);
    std::string key;
    switch (Below(6)) {
      case 0: key = ""; break;
      case 1: key = "key:0000000"; break;
      case 2: key = std::string("\x00\x00user:", 7); break;
      case 3: key = std::string(Below(12), '\xff'); break;
      case 4: key = std::string(Below(12), '\x00'); break;
      default:
        key = std::string("\x00\x00\x00\x00\x00\x00\x00", 7) + static_cast<char>(Below(4)) + "field:";
        break;
    }
    if (Below(3) == 0) {
      key += std::to_string(Below(500));
    } else {
      const uint64_t size = Below(4) == 0 ? Below(41 - key.size()) : Below(5);
      for (uint64_t i = 0; i < size; ++i) key += kBytes[Below(kBytes.size())];
    }
    return key;
  }

 private:
  std::mt19937_64 random_;
};

/// One state of the database with what has to be found in it, and an iterator that stays open while others
/// write.
struct View {
  Rows rows;
  const rocksdb::Snapshot* snapshot = nullptr;
  std::unique_ptr<rocksdb::Iterator> iterator;
  Rows::iterator place;  // where the iterator stands; end() when it is not valid
};

void ExpectSamePlace(View& view) {
  ASSERT_EQ(view.iterator->Valid(), view.place != view.rows.end());
  if (!view.iterator->Valid()) return;
  ASSERT_EQ(view.iterator->key().ToString(), view.place->first);
  ASSERT_EQ(view.iterator->value().ToString(), view.place->second);
}

void Move(View& view, Keys& keys) {
  const std::string key = keys.Next();
  Rows& rows = view.rows;
  switch (const uint64_t move = keys.Below(12)) {
    case 0:
      view.iterator->SeekToFirst();
      view.place = rows.begin();
      break;
    case 1:
      view.iterator->SeekToLast();
      view.place = rows.empty() ? rows.end() : std::prev(rows.end());
      break;
    case 2:
      view.iterator->Seek(key);
      view.place = rows.lower_bound(key);
      break;
    case 3:
      view.iterator->SeekForPrev(key);
      view.place = rows.upper_bound(key);
      view.place = view.place == rows.begin() ? rows.end() : std::prev(view.place);
      break;
    default:
      if (!view.iterator->Valid()) break;
      if (move < 8) {
        view.iterator->Next();
        ++view.place;
      } else {
        view.iterator->Prev();
        view.place = view.place == rows.begin() ? rows.end() : std::prev(view.place);
      }
  }
  ExpectSamePlace(view);
}

void Change(rocksdb::WriteBatch& batch, Rows& rows, const std::string& key, Keys& keys) {
  if (keys.Below(4) == 0) {
    batch.Delete(key);
    rows.erase(key);
    return;
  }
  const std::string value = std::to_string(keys.Below(1'000'000)) + std::string(keys.Below(200), 'v');
  batch.Put(key, value);
  rows[key] = value;
}

/// Hints, right or wrong, with the bytes behind each key that have to be readable.
std::vector<std::string> MakeHints(const std::vector<std::string>& coming, Keys& keys) {
  std::vector<std::string> hints;
  for (const std::string& key : coming) {
    if (keys.Below(10) > 0) hints.push_back(key + std::string(8, '\0'));
    if (keys.Below(10) == 0) hints.push_back(keys.Next() + std::string(8, '\xff'));
  }
  return hints;
}

void Write(rocksdb::DB& db, Rows& rows, Keys& keys, ComingKeys& coming) {
  rocksdb::WriteBatch batch;
  std::vector<std::string> hints;
  const uint64_t kind = keys.Below(40);
  if (kind == 0) {  // of a short stretch, so that rows remain
    const std::string first = keys.Next();
    const std::string last = first + std::string(1, static_cast<char>(keys.Below(256)));
    batch.DeleteRange(db.DefaultColumnFamily(), first, last);
    rows.erase(rows.lower_bound(first), rows.lower_bound(last));
  } else if (kind < 4) {
    std::vector<std::string> many(keys.Below(100));
    for (std::string& key : many) key = keys.Next();
    if (kind == 1) std::sort(many.begin(), many.end());
    if (kind == 2) {  // a run of neighbours
      const std::string start = keys.Next();
      for (size_t i = 0; i < many.size(); ++i) many[i] = start + std::to_string(100'000 + i);
    }
    for (const std::string& key : many) Change(batch, rows, key, keys);
    hints = MakeHints(many, keys);
  } else {
    Change(batch, rows, keys.Next(), keys);
  }
  for (const std::string& hint : hints) coming.Add({hint.data(), hint.size() - 8});
  const rocksdb::Status status = db.Write({}, &batch);
  coming.Clear();
  ASSERT_TRUE(status.ok()) << status.ToString();
}

void ExpectGet(rocksdb::DB& db, const Rows& rows, const std::string& key, const rocksdb::Snapshot* snapshot) {
  rocksdb::ReadOptions options;
  options.snapshot = snapshot;
  std::string value;
  const rocksdb::Status status = db.Get(options, key, &value);
  const auto row = rows.find(key);
  ASSERT_EQ(status.ok(), row != rows.end()) << status.ToString();
  if (status.ok()) {
    ASSERT_EQ(value, row->second);
  }
}

void ExpectSameRows(rocksdb::DB& db, const Rows& rows) {
  std::unique_ptr<rocksdb::Iterator> iterator(db.NewIterator({}));
  iterator->SeekToFirst();
  for (const auto& [key, value] : rows) {
    ASSERT_TRUE(iterator->Valid());
    ASSERT_EQ(iterator->key().ToString(), key);
    ASSERT_EQ(iterator->value().ToString(), value);
    iterator->Next();
  }
  ASSERT_FALSE(iterator->Valid());
  iterator->SeekToLast();
  for (auto row = rows.rbegin(); row != rows.rend(); ++row, iterator->Prev()) {
    ASSERT_TRUE(iterator->Valid());
    ASSERT_EQ(iterator->key().ToString(), row->first);
  }
  ASSERT_FALSE(iterator->Valid());
}

TEST_F(MemTableTest, IsUsed) {
  EXPECT_STREQ(db_->GetOptions().memtable_factory->Name(), "ThermoclineTree");
  EXPECT_STREQ(NewTreeMemTableFactory(rocksdb::ReverseBytewiseComparator(), nullptr)->Name(),
               "SkipListFactory");
}

TEST_F(MemTableTest, Empty) {
  ExpectSameRows(*db_, {});
  ExpectGet(*db_, {}, "", nullptr);
}

// Random writes, reads, snapshots and open iterators against a map, with flushes and restarts between.
TEST_F(MemTableTest, Model) {
  for (uint64_t seed = 1; seed <= 6; ++seed) {
    SCOPED_TRACE(seed);
    Keys keys(seed);
    Rows rows;
    db_.reset();
    std::filesystem::remove_all(folder_);
    Open();
    std::vector<View> views(4);
    const auto close = [&](View& view) {
      view.iterator.reset();
      if (view.snapshot != nullptr) db_->ReleaseSnapshot(view.snapshot);
      view.snapshot = nullptr;
    };
    for (int step = 0; step < 4'000 && !HasFatalFailure(); ++step) {
      Write(*db_, rows, keys, coming_);
      ExpectGet(*db_, rows, keys.Next(), nullptr);
      View& view = views[keys.Below(views.size())];
      if (view.snapshot == nullptr || keys.Below(100) == 0) {
        close(view);
        view.rows = rows;
        view.snapshot = db_->GetSnapshot();
        rocksdb::ReadOptions options;
        options.snapshot = view.snapshot;
        view.iterator.reset(db_->NewIterator(options));
        view.place = view.rows.end();
      }
      for (int i = 0; i < 4 && !HasFatalFailure(); ++i) Move(view, keys);
      ExpectGet(*db_, view.rows, keys.Next(), view.snapshot);
      if (keys.Below(400) == 0) ExpectSameRows(*db_, rows);
      if (keys.Below(1000) == 0) {
        ASSERT_TRUE(db_->Flush({}).ok());
      }
      if (keys.Below(1000) == 0) {  // the log is replayed into a memtable
        for (View& open : views) close(open);
        Open();
        ExpectSameRows(*db_, rows);
      }
    }
    for (View& open : views) close(open);
    ExpectSameRows(*db_, rows);
  }
}

// Enough rows for three levels, in each order that keys may come in, with every key overwritten once.
TEST_F(MemTableTest, ManyInEachOrder) {
  constexpr int kCount = 30'000;
  for (int order = 0; order < 4; ++order) {
    SCOPED_TRACE(order);
    std::vector<std::string> names;
    for (int i = 0; i < kCount; ++i) {
      names.push_back("run" + std::to_string(order) + ":" + std::to_string(1'000'000 + i));
    }
    if (order == 1) std::reverse(names.begin(), names.end());
    if (order == 2) std::shuffle(names.begin(), names.end(), std::mt19937(7));
    if (order == 3) {  // two runs that alternate
      for (int i = 1; i < kCount / 2; i += 2) std::swap(names[i], names[i + kCount / 2 - 1]);
    }
    for (const std::string pass : {"old", "new"}) {
      for (size_t i = 0; i < names.size(); i += 100) {
        rocksdb::WriteBatch batch;
        for (size_t j = i; j < i + 100; ++j) batch.Put(names[j], pass + names[j]);
        ASSERT_TRUE(db_->Write({}, &batch).ok());
      }
    }
    Rows rows;
    for (const std::string& name : names) rows[name] = "new" + name;
    for (const std::string& name : names) ExpectGet(*db_, rows, name, nullptr);
    ExpectSameRows(*db_, rows);
    ASSERT_TRUE(db_->DeleteRange({}, db_->DefaultColumnFamily(), "run", "run9").ok());
    ExpectSameRows(*db_, {});
  }
}

// What was written before a read began is found by it, and what an iterator passes is in order, while one
// thread writes: first new keys, which split nodes, then new values.
TEST_F(MemTableTest, ReadersBesideTheWriter) {
  constexpr uint64_t kCount = 40'000;
  std::vector<std::string> names;
  for (uint64_t i = 0; i < kCount; ++i)
    names.push_back((i % 3 ? "key:" : "k") + std::to_string(i * 7919 % 1'000'003));
  std::atomic<uint64_t> written{0};  // counts all rounds
  std::atomic<bool> failed{false};
  const auto done = [&] { return written.load() == 3 * kCount || failed.load(); };

  std::thread writer([&] {
    for (uint64_t i = 0; i < 3 * kCount && !failed; ++i) {
      if (!db_->Put({}, names[i % kCount], std::to_string(i / kCount)).ok()) failed = true;
      written.store(i + 1);
    }
  });
  std::thread reader([&] {
    std::mt19937_64 random(3);
    while (!done()) {
      const uint64_t before = written.load();
      if (before == 0) continue;
      const uint64_t index = random() % before;
      std::string value;
      if (!db_->Get({}, names[index % kCount], &value).ok() || std::stoull(value) < index / kCount)
        failed = true;
    }
  });
  std::thread scanner([&] {
    while (!done()) {
      const uint64_t before = std::min(kCount, written.load());
      std::unique_ptr<rocksdb::Iterator> iterator(db_->NewIterator({}));
      std::vector<std::string> seen;
      for (iterator->SeekToFirst(); iterator->Valid(); iterator->Next())
        seen.push_back(iterator->key().ToString());
      if (seen.size() < before || !std::is_sorted(seen.begin(), seen.end())) failed = true;
      for (iterator->SeekToLast(); iterator->Valid(); iterator->Prev()) {
        if (seen.empty() || seen.back() != iterator->key().ToStringView()) {
          failed = true;
          break;
        }
        seen.pop_back();
      }
      if (!seen.empty()) failed = true;
    }
  });
  writer.join();
  reader.join();
  scanner.join();
  EXPECT_FALSE(failed);
  EXPECT_EQ(written, 3 * kCount);
}

}  // namespace
}  // namespace thermocline
