#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "engine/clock.h"
#include "engine/keyspace.h"

namespace thermocline {

/// A keyspace in a folder of its own, driven as the server drives it, by one command at a time. Reopen()
/// gives one whose caches know nothing, so that every first read is a fault; EvictAll() empties the hot tier
/// only.
class KeyspaceFixture : public testing::Test {
 protected:
  class Command final : public Waiter {};

  KeyspaceFixture() {
    char pattern[] = "/tmp/thermocline-test-XXXXXX";
    options.dir = mkdtemp(pattern);
    options.wake = [this] {
      const std::lock_guard lock(mutex_);
      awake_ = true;
      condition_.notify_one();
    };
  }
  ~KeyspaceFixture() override {
    keyspace.reset();
    std::filesystem::remove_all(options.dir);
  }

  void SetUp() override { Open(); }

  void Open() {
    Result<std::unique_ptr<Keyspace>> opened = Keyspace::Open(options, clock);
    ASSERT_TRUE(opened.ok()) << opened.status().message();
    keyspace = std::move(*opened);
  }
  void Reopen() {
    // Else what is in the memtables would come back from the log, and answer without the disk.
    const Status flushed = keyspace->store().Flush();
    ASSERT_TRUE(flushed.ok()) << flushed.message();
    Crash();
  }
  /// As Reopen, but what is not flushed comes from the log.
  void Crash() {
    keyspace.reset();
    Open();
  }

  /// Runs `body(Txn&)` until it is done and returns what it returned. Does not commit.
  template <typename Body>
  auto Run(Body&& body, int db = 0) {
    using Value = decltype(body(std::declval<Txn&>()));
    std::conditional_t<std::is_void_v<Value>, int, std::optional<Value>> value{};
    Command command;
    for (;;) {
      keyspace->TakeIn();
      const Keyspace::Ran ran = keyspace->Run(command, db, [&](Txn& txn) {
        if constexpr (std::is_void_v<Value>) {
          body(txn);
        } else {
          value.emplace(body(txn));
        }
      });
      if (ran == Keyspace::Ran::kDone) break;
      if (ran == Keyspace::Ran::kFailed) {
        ADD_FAILURE() << "the store could not be read: " << keyspace->error().message();
        break;
      }
      ++waits;
      WaitUntilReady(command);
    }
    if constexpr (!std::is_void_v<Value>) {
      EXPECT_TRUE(value.has_value());
      return std::move(*value);
    }
  }

  /// Runs `body(Txn&)` once, whatever comes of it.
  template <typename Body>
  Keyspace::Ran RunOnce(Waiter& waiter, Body&& body, int db = 0) {
    keyspace->TakeIn();
    return keyspace->Run(waiter, db, body);
  }
  /// Waits until the keyspace has given back all of `waiters`, in whatever order.
  void AwaitReady(const std::vector<Waiter*>& waiters) {
    std::vector<Waiter*> ready;
    const bool all = Await([&] {
      keyspace->TakeReady(&ready);
      return ready.size() >= waiters.size();
    });
    ASSERT_TRUE(all);
    EXPECT_THAT(ready, testing::UnorderedElementsAreArray(waiters));
  }
  /// Takes in what other threads finish until `done()`; false: it took too long.
  template <typename Done>
  bool Await(Done&& done) {
    const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    for (;;) {
      keyspace->TakeIn();
      if (done()) return true;
      std::unique_lock lock(mutex_);
      if (std::chrono::steady_clock::now() > give_up) return false;
      condition_.wait_for(lock, std::chrono::milliseconds(50), [this] { return awake_; });
      awake_ = false;
    }
  }

  void Commit() {
    Keyspace::Committed committed = keyspace->Commit();
    if (committed == Keyspace::Committed::kStalled) {
      Await([&] { return (committed = keyspace->RetryCommit()) != Keyspace::Committed::kStalled; });
    }
    ASSERT_EQ(committed, Keyspace::Committed::kYes);
  }

  /// Housekeeping until nothing is left to purge, and no row of the expiry index is due.
  void Purge() {
    RunBackground([&] { return keyspace->purge_backlog() == 0 && !keyspace->pending(); });
  }

  /// All rows of a family as they are on disk, by key.
  std::map<std::string, std::string> RowsOf(Family family) {
    std::map<std::string, std::string> rows;
    const Store::ScanIterator scan = keyspace->store().Scan(family, {});
    for (scan.it->SeekToFirst(); scan.it->Valid(); scan.it->Next()) {
      rows.emplace(scan.it->key().ToString(), scan.it->value().ToString());
    }
    EXPECT_TRUE(scan.it->status().ok()) << scan.it->status().ToString();
    return rows;
  }

  /// Forgets everything that is in RAM; the store stays open and its caches warm.
  void EvictAll() {
    Commit();
    const uint64_t limit = keyspace->options().hot_bytes_max;
    keyspace->SetHotBytesMax(1);
    for (int i = 0; i < 100'000 && keyspace->hot().object_count() > 0; ++i) {
      keyspace->TakeIn();
      keyspace->Housekeeping();
      Commit();  // the sweep writes, too
    }
    keyspace->SetHotBytesMax(limit);
    ASSERT_EQ(keyspace->hot().object_count(), 0u);
  }

  /// Housekeeping until `done()`.
  template <typename Done>
  void RunBackground(Done&& done) {
    for (int i = 0; i < 10'000 && !done(); ++i) {
      keyspace->TakeIn();
      keyspace->Tick();
      keyspace->Housekeeping();
      Commit();
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    EXPECT_TRUE(done());
  }

  KeyspaceOptions options;  ///< used by the next Open()
  ManualClock clock{1'700'000'000'000};
  std::unique_ptr<Keyspace> keyspace;
  int waits = 0;  ///< how often a command had to wait for the disk

 private:
  void WaitUntilReady(Command& command) { AwaitReady({&command}); }

  std::mutex mutex_;
  std::condition_variable condition_;
  bool awake_ = false;
};

/// Commands of a few lines each.
class KeyspaceTest : public KeyspaceFixture {
 protected:
  static void Set(Txn& txn, std::string_view key, std::string_view value, uint64_t expire_at_ms = 0) {
    Object* object = txn.ForWrite(key);
    txn.SetString(object, value, Encoding::kAuto);
    if (expire_at_ms != 0) txn.SetExpiry(object, expire_at_ms);
    txn.Changed(object, EventClass::kString, "set");
  }
  static std::optional<std::string> Get(Txn& txn, std::string_view key) {
    Object* object = txn.Find(key);
    if (object == nullptr) return std::nullopt;
    return std::string(object->inline_value());
  }
  static bool Remove(Txn& txn, std::string_view key) {
    Object* object = txn.Find(key);
    if (object != nullptr) txn.Remove(object);
    return object != nullptr;
  }
  /// A collection of `rows` rows of 20 bytes.
  static void Collect(Txn& txn, std::string_view key, int rows) {
    Object* object = txn.ForWrite(key);
    txn.MakeRows(object, ObjectType::kHash);
    format::CollectionBody body;
    body.count = static_cast<uint64_t>(rows);
    txn.SetBody(object, body);
    for (int i = 0; i < rows; ++i) txn.Put(object, RowSpace::kFields, RowName(i), "0123456789");
  }
  static std::string RowName(int i) {
    std::string name = std::to_string(i);
    return std::string(10 - name.size(), '0') + name;
  }

  void Set(std::string_view key, std::string_view value, uint64_t expire_at_ms = 0, int db = 0) {
    Run([&](Txn& txn) { Set(txn, key, value, expire_at_ms); }, db);
  }
  std::optional<std::string> Get(std::string_view key, int db = 0) {
    return Run([&](Txn& txn) { return Get(txn, key); }, db);
  }
  bool Remove(std::string_view key, int db = 0) {
    return Run([&](Txn& txn) { return Remove(txn, key); }, db);
  }
  void Collect(std::string_view key, int rows, int db = 0) {
    Run([&](Txn& txn) { Collect(txn, key, rows); }, db);
  }
  void SetExpiry(std::string_view key, uint64_t expire_at_ms, int db = 0) {
    Run([&](Txn& txn) { txn.SetExpiry(txn.Find(key), expire_at_ms); }, db);
  }
  /// Commits, empties the caches too.
  void GoCold() {
    Commit();
    Reopen();
  }
  static std::string Name(const char* prefix, int i) { return prefix + std::to_string(i); }
  uint64_t now() const { return clock.WallMs(); }
};

}  // namespace thermocline
