// What clients were told stays true when the disk fails, and the server comes back without a restart.

#include <gtest/gtest.h>

#include <map>
#include <string>

#include "engine/fault_fs.h"
#include "engine/keyspace_fixture.h"
#include "engine/snapshot.h"

namespace thermocline {
namespace {

using Committed = Keyspace::Committed;
using Fault = FaultFs::Fault;
using Ran = Keyspace::Ran;

class DiskFailureTest : public KeyspaceFixture {
 protected:
  DiskFailureTest() : fs_(std::make_shared<FaultFs>()), env_(rocksdb::NewCompositeEnv(fs_)) {
    options.store.env = env_.get();
    options.sync_mode = SyncMode::kNo;
  }
  ~DiskFailureTest() override {
    fs_->Set(Fault::kNone);
    fs_->HoldTables(false);
    keyspace.reset();  // before the file system goes
  }

  void Set(std::string_view key, std::string_view value) {
    Run([&](Txn& txn) { txn.SetString(txn.ForWrite(key), value, Encoding::kAuto); });
  }
  std::optional<std::string> Get(std::string_view key) {
    return Run([&](Txn& txn) -> std::optional<std::string> {
      Object* object = txn.Find(key);
      if (object == nullptr) return std::nullopt;
      return std::string(object->inline_value());
    });
  }
  /// Rows enough to be spread.
  void Collect(std::string_view key, std::string_view value) {
    Run([&](Txn& txn) {
      Object* object = txn.ForWrite(key);
      txn.MakeRows(object, ObjectType::kHash);
      format::CollectionBody body;
      body.count = 100;
      txn.SetBody(object, body);
      for (int i = 0; i < 100; ++i) txn.Put(object, RowSpace::kFields, "field" + std::to_string(i), value);
    });
  }
  std::optional<std::string> GetRow(std::string_view key) {
    return Run([&](Txn& txn) -> std::optional<std::string> {
      Object* object = txn.Find(key);
      if (object == nullptr) return std::nullopt;
      return std::string(txn.Get(object, RowSpace::kFields, "field77").value());
    });
  }

  /// Acknowledged writes of all kinds.
  void FillAcknowledged() {
    for (int i = 0; i < 100; ++i) {
      Set("k" + std::to_string(i), "acknowledged");
      if (i % 10 == 9) Commit();
      if (i == 49) {
        ASSERT_TRUE(keyspace->store().Flush().ok());
      }
    }
    Collect("rows", "acknowledged");
    Collect("rows2", "acknowledged");
    Commit();
  }
  void CheckAcknowledged() {
    for (int i = 0; i < 100; ++i) ASSERT_EQ(Get("k" + std::to_string(i)), "acknowledged");
    ASSERT_EQ(GetRow("rows"), "acknowledged");
    ASSERT_EQ(GetRow("rows2"), "acknowledged");
    ASSERT_EQ(keyspace->KeyCount(0), 102u);
  }
  /// A turn of writes that is lost.
  void LoseATurn() {
    Set("k1", "lost");
    Set("new", "lost");
    Run([&](Txn& txn) { txn.Remove(txn.Find("k2")); });
    Run([&](Txn& txn) { txn.SetExpiry(txn.Find("k3"), clock.WallMs() + 1000); });
    Run([&](Txn& txn) { txn.Put(txn.Find("rows"), RowSpace::kFields, "field77", "lost"); });
    Run([&](Txn& txn) { txn.Remove(txn.Find("rows2")); });
    ASSERT_EQ(keyspace->Commit(), Committed::kFailed);
    ASSERT_FALSE(keyspace->writable());
    ASSERT_FALSE(keyspace->pending());
  }
  /// Of a turn with an unknown end, everything is there or nothing.
  void CheckAllOrNothing() {
    const bool all = Get("new").has_value();
    ASSERT_EQ(Get("k1"), all ? "lost" : "acknowledged");
    ASSERT_EQ(Get("k2").has_value(), !all);
    ASSERT_EQ(GetRow("rows"), all ? "lost" : "acknowledged");
    ASSERT_EQ(GetRow("rows2").has_value(), !all);
    ASSERT_EQ(keyspace->KeyCount(0), all ? 101u : 102u);
    ASSERT_EQ(keyspace->ExpiryCount(0), all ? 1u : 0u);
    for (int i = 4; i < 100; ++i) ASSERT_EQ(Get("k" + std::to_string(i)), "acknowledged");
  }
  bool Recovers() {
    return Await([&] { return keyspace->TryRecover(); });
  }

  std::shared_ptr<FaultFs> fs_;
  std::unique_ptr<rocksdb::Env> env_;
};

// ---- Failing writes
// ----------------------------------------------------------------------------------------

struct WriteFault {
  const char* name;
  Fault fault;
  SyncMode sync_mode;
};

class WriteFaultTest : public DiskFailureTest, public testing::WithParamInterface<WriteFault> {
 protected:
  void SetUp() override {
    options.sync_mode = GetParam().sync_mode;
    KeyspaceFixture::SetUp();
    FillAcknowledged();
  }
};

TEST_P(WriteFaultTest, ReadsGoOnAndWritesComeBack) {
  fs_->Set(GetParam().fault);
  ASSERT_NO_FATAL_FAILURE(LoseATurn());
  EXPECT_FALSE(keyspace->failure().message().empty());
  EXPECT_EQ(keyspace->stats().commit_failures, 1u);
  ASSERT_NO_FATAL_FAILURE(CheckAcknowledged());
  EXPECT_EQ(keyspace->ExpiryCount(0), 0u);
  EXPECT_FALSE(keyspace->TryRecover());
  EXPECT_FALSE(keyspace->TryRecover());
  ASSERT_NO_FATAL_FAILURE(CheckAcknowledged());

  fs_->Set(Fault::kNone);
  ASSERT_TRUE(Recovers());
  ASSERT_TRUE(keyspace->writable());
  ASSERT_NO_FATAL_FAILURE(CheckAllOrNothing());
  Set("new", "after");
  for (int i = 0; i < 100; ++i) Set("after" + std::to_string(i), "after");
  Collect("rows3", "after");
  Commit();
  const uint64_t keys = keyspace->KeyCount(0);
  for (int round = 0; round < 2; ++round) {
    Crash();
    for (int i = 4; i < 100; ++i) ASSERT_EQ(Get("k" + std::to_string(i)), "acknowledged");
    for (int i = 0; i < 100; ++i) ASSERT_EQ(Get("after" + std::to_string(i)), "after");
    EXPECT_EQ(Get("new"), "after");
    EXPECT_EQ(GetRow("rows3"), "after");
    EXPECT_EQ(keyspace->KeyCount(0), keys);
    EXPECT_EQ(RowsOf(Family::kMetadata).size(), keys);
  }
}

TEST_P(WriteFaultTest, CrashWhileTheDiskFails) {
  fs_->Set(GetParam().fault);
  ASSERT_NO_FATAL_FAILURE(LoseATurn());
  fs_->Set(Fault::kAllWrites);  // and nothing is written from here on
  keyspace->TryRecover();
  keyspace.reset();
  fs_->Set(Fault::kNone);
  Open();
  ASSERT_NO_FATAL_FAILURE(CheckAllOrNothing());
  EXPECT_EQ(RowsOf(Family::kMetadata).size(), keyspace->KeyCount(0));
}

TEST_P(WriteFaultTest, FailsAgainAfterRecovery) {
  for (int round = 0; round < 3; ++round) {
    fs_->Set(GetParam().fault);
    Set("k1", "lost");
    ASSERT_EQ(keyspace->Commit(), Committed::kFailed);
    fs_->Set(Fault::kNone);
    ASSERT_TRUE(Recovers());
    Set("k1", "round " + std::to_string(round));
    Commit();
    ASSERT_EQ(Get("k1"), "round " + std::to_string(round));
  }
  Crash();
  EXPECT_EQ(Get("k1"), "round 2");
  EXPECT_EQ(keyspace->KeyCount(0), 102u);
}

INSTANTIATE_TEST_SUITE_P(Faults, WriteFaultTest,
                         testing::Values(WriteFault{"NoSpace", Fault::kNoSpace, SyncMode::kNo},
                                         WriteFault{"NoSpaceAlways", Fault::kNoSpace, SyncMode::kAlways},
                                         WriteFault{"LogAppend", Fault::kLogAppend, SyncMode::kNo},
                                         WriteFault{"LogAppendAlways", Fault::kLogAppend, SyncMode::kAlways},
                                         WriteFault{"LogSyncAlways", Fault::kLogSync, SyncMode::kAlways},
                                         WriteFault{"AllWrites", Fault::kAllWrites, SyncMode::kEverySecond}),
                         [](const auto& info) { return std::string(info.param.name); });

TEST_F(DiskFailureTest, RecoveryWhileCommandsWaitAndSnapshotsAreOpen) {
  options.store.block_cache_bytes = 1;
  Crash();
  FillAcknowledged();
  Reopen();
  Get("k1");
  Command row_waiter, head_waiter, scanner;
  Run([&](Txn& txn) { (void)txn.Find("rows"); });
  fs_->Set(Fault::kLogAppend);
  Set("k1", "lost");
  ASSERT_EQ(keyspace->Commit(), Committed::kFailed);
  const auto read_head = [&](Txn& txn) { EXPECT_NE(txn.Find("k80"), nullptr); };
  const auto read_row = [&](Txn& txn) {
    EXPECT_EQ(txn.Get(txn.Find("rows"), RowSpace::kFields, "field77"), "acknowledged");
  };
  ASSERT_EQ(RunOnce(head_waiter, read_head), Ran::kWaiting);
  ASSERT_EQ(keyspace->Run(row_waiter, 0, read_row), Ran::kWaiting);
  size_t keys = 0;
  ASSERT_TRUE(keyspace->Offload(scanner, 0, [&](const SnapshotView& view) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    EXPECT_TRUE(view.ForEachKey("", "", [&](const SnapshotView::Key&, bool) { return ++keys > 0; }).ok());
  }));
  fs_->Set(Fault::kNone);
  ASSERT_TRUE(Recovers());
  AwaitReady({&row_waiter, &head_waiter, &scanner});
  EXPECT_EQ(keys, 102u);
  while (RunOnce(head_waiter, read_head) == Ran::kWaiting) AwaitReady({&head_waiter});
  while (RunOnce(row_waiter, read_row) == Ran::kWaiting) AwaitReady({&row_waiter});
  ASSERT_NO_FATAL_FAILURE(CheckAcknowledged());
}

TEST_F(DiskFailureTest, ReadsGoOnWhenOpeningAgainFails) {
  FillAcknowledged();
  fs_->Set(Fault::kLogAppend);
  Set("k1", "lost");
  ASSERT_EQ(keyspace->Commit(), Committed::kFailed);
  fs_->Set(Fault::kManifest);  // the probe finds a disk that takes writes, but no database opens on it
  for (int i = 0; i < 3; ++i) {
    EXPECT_FALSE(keyspace->TryRecover());
    EXPECT_FALSE(keyspace->writable());
    ASSERT_NO_FATAL_FAILURE(CheckAcknowledged());
    EvictAll();
    ASSERT_NO_FATAL_FAILURE(CheckAcknowledged());
  }
  fs_->Set(Fault::kNone);
  ASSERT_TRUE(Recovers());
  Set("k1", "after");
  Commit();
  Crash();
  EXPECT_EQ(Get("k1"), "after");
  EXPECT_EQ(keyspace->KeyCount(0), 102u);
}

TEST_F(DiskFailureTest, FailingTableWrites) {
  FillAcknowledged();
  fs_->Set(Fault::kTableWrite);
  EXPECT_FALSE(keyspace->store().Flush().ok());
  Set("k1", "lost");
  ASSERT_EQ(keyspace->Commit(), Committed::kFailed);
  ASSERT_NO_FATAL_FAILURE(CheckAcknowledged());
  EXPECT_FALSE(keyspace->TryRecover());
  fs_->Set(Fault::kNone);
  ASSERT_TRUE(Recovers());
  ASSERT_NO_FATAL_FAILURE(CheckAcknowledged());
  Set("k1", "after");
  Commit();
  ASSERT_TRUE(keyspace->store().Flush().ok());
  Crash();
  EXPECT_EQ(Get("k1"), "after");
  EXPECT_EQ(Get("k99"), "acknowledged");
}

TEST_F(DiskFailureTest, FailedSyncEverySecondIsNoticed) {
  options.sync_mode = SyncMode::kEverySecond;
  Crash();
  FillAcknowledged();
  fs_->Set(Fault::kLogSync);
  Set("k1", "not synced");
  Commit();
  ASSERT_TRUE(Await([&] { return !keyspace->writable(); }));
  EXPECT_EQ(Get("k1"), "not synced");
  EXPECT_GT(keyspace->stats().sync_failures, 0u);
  EXPECT_FALSE(keyspace->TryRecover());
  fs_->Set(Fault::kNone);
  ASSERT_TRUE(Recovers());
  EXPECT_EQ(Get("k1"), "not synced");
  Set("k2", "after");
  Commit();
  Crash();
  EXPECT_EQ(Get("k1"), "not synced");
  EXPECT_EQ(Get("k2"), "after");
}

TEST_F(DiskFailureTest, FlushedDatabaseComesBackWhenItsTurnIsLost) {
  FillAcknowledged();
  fs_->Set(Fault::kNoSpace);
  ASSERT_TRUE(keyspace->FlushDb(0).ok());
  Set("x", "lost");
  keyspace->SwapDb(0, 3);
  EXPECT_EQ(keyspace->Commit(), Committed::kFailed);
  ASSERT_NO_FATAL_FAILURE(CheckAcknowledged());
  for (int i = 0; i < 10; ++i) keyspace->Housekeeping();
  ASSERT_NO_FATAL_FAILURE(CheckAcknowledged());
  fs_->Set(Fault::kNone);
  ASSERT_TRUE(Recovers());
  ASSERT_NO_FATAL_FAILURE(CheckAcknowledged());
  ASSERT_TRUE(keyspace->FlushDb(0).ok());
  Commit();
  Purge();
  EXPECT_TRUE(RowsOf(Family::kMetadata).empty());
  EXPECT_TRUE(RowsOf(Family::kFields).empty());
}

TEST_F(DiskFailureTest, PurgeAndSweepStartOverAfterALostTurn) {
  FillAcknowledged();
  for (int i = 0; i < 40; ++i) Collect("gone" + std::to_string(i), "purged");
  for (int i = 0; i < 40; ++i) Collect("expires" + std::to_string(i), "purged");
  for (int i = 0; i < 40; ++i) {
    Run([&](Txn& txn) { txn.SetExpiry(txn.Find("expires" + std::to_string(i)), clock.WallMs() + 10); });
  }
  Commit();
  for (int i = 0; i < 40; ++i) Run([&](Txn& txn) { txn.Remove(txn.Find("gone" + std::to_string(i))); });
  Commit();
  clock.AdvanceMs(1000);
  for (int round = 0; round < 5; ++round) {
    keyspace->TakeIn();
    keyspace->Tick();
    // Steps of purge and sweep are on their way, or have just come in, when a turn is lost.
    std::this_thread::sleep_for(std::chrono::milliseconds(round));
    if (round % 2 == 0) {
      keyspace->TakeIn();
      keyspace->Housekeeping();
    }
    fs_->Set(Fault::kLogAppend);
    Set("k1", "lost");
    ASSERT_EQ(keyspace->Commit(), Committed::kFailed);
    fs_->Set(Fault::kNone);
    ASSERT_TRUE(Recovers());
    keyspace->Tick();
    Commit();
  }
  RunBackground([&] { return keyspace->KeyCount(0) == 102; });
  Purge();
  ASSERT_NO_FATAL_FAILURE(CheckAcknowledged());
  EXPECT_EQ(RowsOf(Family::kFields).size(), 200u);
  EXPECT_TRUE(RowsOf(Family::kScores).empty());
}

// ---- Failing reads
// -----------------------------------------------------------------------------------------

TEST_F(DiskFailureTest, FailedReadFailsItsCommandAlone) {
  options.store.block_cache_bytes = 1;
  Crash();
  FillAcknowledged();
  Reopen();
  ASSERT_EQ(Get("k1"), "acknowledged");
  Run([&](Txn& txn) { (void)txn.Find("rows"); });
  fs_->Set(Fault::kTableRead);
  const auto fails = [&](auto body) {
    Command command;
    Ran ran;
    while ((ran = RunOnce(command, body)) == Ran::kWaiting) AwaitReady({&command});
    EXPECT_EQ(ran, Ran::kFailed);
    EXPECT_EQ(keyspace->error().code(), Code::kIoError);
    EXPECT_FALSE(command.suspended());
  };
  fails([](Txn& txn) { (void)txn.Find("k80"); });
  fails([](Txn& txn) { (void)txn.Get(txn.Find("rows"), RowSpace::kFields, "field77"); });
  fails([](Txn& txn) { (void)txn.SeekForward(txn.Find("rows"), RowSpace::kFields, ""); });
  const std::string_view two[] = {"k81", "k82"};
  fails([&](Txn& txn) { txn.Prefetch(two); });
  EXPECT_EQ(Get("k1"), "acknowledged");
  EXPECT_TRUE(keyspace->writable());
  Set("k1", "written meanwhile");
  Commit();
  fs_->Set(Fault::kNone);
  EXPECT_EQ(Get("k80"), "acknowledged");
  EXPECT_EQ(GetRow("rows"), "acknowledged");
  EXPECT_EQ(Get("k1"), "written meanwhile");
}

// ---- Stalls
// ------------------------------------------------------------------------------------------------

class StallTest : public DiskFailureTest {
 protected:
  void SetUp() override {
    options.store.write_buffer_bytes = 64 << 10;
    KeyspaceFixture::SetUp();
    FillAcknowledged();
    EvictAll();
  }
  /// Writes until RocksDB takes no more. Returns how many turns it took.
  int WriteUntilStalled() {
    fs_->HoldTables(true);
    for (int i = 0; i < 2000; ++i) {
      Set("big" + std::to_string(i), std::string(4000, 'x'));
      const Committed committed = keyspace->Commit();
      if (committed == Committed::kStalled) return i;
      EXPECT_EQ(committed, Committed::kYes);
    }
    ADD_FAILURE() << "no stall";
    return 0;
  }
};

TEST_F(StallTest, ReadsGoOnAndTheTurnIsPublishedInTheEnd) {
  EXPECT_EQ(Get("k5"), "acknowledged");
  const int last = WriteUntilStalled();
  EXPECT_TRUE(keyspace->stalled());
  EXPECT_TRUE(keyspace->writable());
  const uint64_t stalls = keyspace->stats().commit_stalls;
  EXPECT_GE(stalls, 1u);
  EXPECT_EQ(keyspace->RetryCommit(), Committed::kStalled);
  EXPECT_EQ(keyspace->stats().commit_stalls, stalls);
  // Clean objects, in RAM or not.
  EXPECT_EQ(Get("k5"), "acknowledged");
  EXPECT_EQ(Get("k7"), "acknowledged");
  EXPECT_EQ(Get("big0"), std::string(4000, 'x'));
  // Nobody may see what is not in the log, write beside it, or look at a snapshot without it.
  const std::string dirty = "big" + std::to_string(last);
  Command reader, both, writer, scanner;
  const auto read = [&](Txn& txn) { EXPECT_NE(txn.Find(dirty), nullptr); };
  const std::string_view keys[] = {"k5", "k8", dirty};
  const auto read_both = [&](Txn& txn) { txn.Prefetch(keys), read(txn); };
  EXPECT_EQ(RunOnce(reader, read), Ran::kWaiting);
  EXPECT_EQ(RunOnce(both, read_both), Ran::kWaiting);
  keyspace->SuspendWriter(writer);
  EXPECT_FALSE(keyspace->Offload(scanner, 0, [](const SnapshotView&) {}));
  std::vector<Waiter*> ready;
  keyspace->TakeReady(&ready);
  EXPECT_TRUE(ready.empty());
  for (int i = 0; i < 5; ++i) {
    keyspace->Tick();
    keyspace->Housekeeping();
  }
  fs_->HoldTables(false);
  ASSERT_TRUE(Await([&] { return keyspace->RetryCommit() == Committed::kYes; }));
  EXPECT_FALSE(keyspace->stalled());
  AwaitReady({&reader, &both, &writer, &scanner});
  EXPECT_EQ(RunOnce(reader, read), Ran::kDone);
  while (RunOnce(both, read_both) == Ran::kWaiting) AwaitReady({&both});
  Crash();
  for (int i = 0; i <= last; ++i) ASSERT_EQ(Get("big" + std::to_string(i)), std::string(4000, 'x'));
  EXPECT_EQ(keyspace->KeyCount(0), 103u + static_cast<uint64_t>(last));
}

TEST_F(StallTest, ReadOfAColdKeyBesideADirtyOneEnds) {
  options.store.block_cache_bytes = 1;
  Reopen();
  const int last = WriteUntilStalled();
  Command command;
  const std::string dirty = "big" + std::to_string(last);
  const std::string_view keys[] = {"k8", dirty};  // the read of the first begins, then the second must wait
  const auto body = [&](Txn& txn) {
    txn.Prefetch(keys);
    EXPECT_NE(txn.Find("k8"), nullptr);
  };
  EXPECT_EQ(RunOnce(command, body), Ran::kWaiting);
  fs_->HoldTables(false);
  ASSERT_TRUE(Await([&] { return keyspace->RetryCommit() == Committed::kYes; }));
  AwaitReady({&command});
  while (RunOnce(command, body) == Ran::kWaiting) AwaitReady({&command});
}

TEST_F(StallTest, FlushedDatabaseIsNotSeenBeforeItsCommit) {
  fs_->HoldTables(true);
  bool stalled = false;
  for (int i = 0; i < 2000 && !stalled; ++i) {
    Set("big", std::string(4000, 'x'));
    ASSERT_TRUE(keyspace->FlushDb(i % 2 == 0 ? 5 : 6).ok());
    Run([&](Txn& txn) { txn.SetString(txn.ForWrite("x"), "y", Encoding::kAuto); }, i % 2 == 0 ? 5 : 6);
    stalled = keyspace->Commit() == Committed::kStalled;
  }
  ASSERT_TRUE(stalled);
  Command command;
  const auto read = [](Txn& txn) { (void)txn.Find("k7"); };
  EXPECT_EQ(RunOnce(command, read), Ran::kWaiting);
  fs_->HoldTables(false);
  ASSERT_TRUE(Await([&] { return keyspace->RetryCommit() == Committed::kYes; }));
  AwaitReady({&command});
  while (RunOnce(command, read) == Ran::kWaiting) AwaitReady({&command});
}

TEST_F(StallTest, StalledTurnIsLostWhenTheDiskFails) {
  const int last = WriteUntilStalled();
  Command reader;
  const std::string dirty = "big" + std::to_string(last);
  const auto read = [&](Txn& txn) { EXPECT_EQ(txn.Find(dirty), nullptr); };
  EXPECT_EQ(RunOnce(reader, read), Ran::kWaiting);
  fs_->Set(Fault::kNoSpace);
  fs_->HoldTables(false);
  Committed committed = Committed::kStalled;
  ASSERT_TRUE(Await([&] { return (committed = keyspace->RetryCommit()) != Committed::kStalled; }));
  EXPECT_EQ(committed, Committed::kFailed);
  AwaitReady({&reader});
  while (RunOnce(reader, read) == Ran::kWaiting) AwaitReady({&reader});
  fs_->Set(Fault::kNone);
  ASSERT_TRUE(Recovers());
  Set("k1", "after");
  Commit();
  Crash();
  EXPECT_EQ(Get("k1"), "after");
  EXPECT_EQ(Get("big0"), std::string(4000, 'x'));
}

}  // namespace
}  // namespace thermocline
