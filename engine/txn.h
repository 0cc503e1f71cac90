#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "encoding/status.h"
#include "engine/object.h"
#include "engine/packed_rows.h"
#include "engine/random.h"
#include "engine/waiter.h"

namespace rocksdb {
class WriteBatch;
}

namespace thermocline {

class Keyspace;

/// Thrown by reads when the command cannot go on now: its rows must come from disk first, or the disk failed.
/// The one exception of this program; Keyspace::Run catches it, takes back what the command did, and suspends
/// or fails it. Type code and handlers let it pass: they keep no state that an early exit would leave wrong.
struct Unwind {};

/// Kinds of key events, as in Redis's notify-keyspace-events.
enum class EventClass : uint8_t {
  kGeneric,
  kString,
  kList,
  kSet,
  kHash,
  kSortedSet,
  kStream,
  kExpired,
  kEvicted,
  kNew,   ///< "new": comes before the event that says how
  kMiss,  ///< "keymiss": no change
};

/// Which key events are wanted; each costs a little.
struct ListenTo {
  bool changes = false;
  bool new_keys = false;  ///< "new", beside the change itself
  bool misses = false;    ///< "keymiss", of commands that only read (Txn::TellMisses)
};

/// One change of one key, as WATCH, keyspace notifications and blocked clients want to hear of it.
struct KeyEvent {
  int db;  ///< logical
  std::string key;
  const char* name;  ///< Redis's event name; static storage
  EventClass event_class;
  ObjectType type = ObjectType::kString;  ///< kNew: of what the key holds now
};

/// What one command sees and does: objects by key, rows of objects, changes of both. All type code is written
/// against this class alone and does not know whether rows are in RAM or on disk, packed or spread.
///
/// How reads work: everything that is not in the hot tier is looked up in RocksDB's caches; what is not there
/// either is read by the reader threads while the command is unwound (`Unwind`) and then run again from its
/// start. So a command should read all that it needs before its first write. One that does not is still
/// correct (its writes are taken back), only slower.
///
/// How writes work: they change the objects in RAM at once. Rows of spread objects reach the turn's write
/// batch at once; heads, and the packed rows in them, once per turn, when it commits, sorted by key. Nothing
/// is on disk before that.
///
/// Pointers to objects stay valid for the command; views of values and rows until the next write to the same
/// object. Keyspace thread only.
class Txn {
 public:
  explicit Txn(Keyspace& keyspace) : keyspace_(keyspace) {}
  Txn(const Txn&) = delete;
  Txn& operator=(const Txn&) = delete;

  // -- Where and when

  /// The logical database that keys are looked up in.
  int db() const { return db_; }
  void Select(int db) { db_ = db; }
  /// Wall time of the turn: one value for all that a command does.
  uint64_t now_ms() const;
  Keyspace& keyspace() { return keyspace_; }
  /// The command's random numbers. When it is unwound and runs again, they are the same ones: it asks for the
  /// rows that it has waited for, and not for others.
  Random& random();

  // -- Objects

  enum class Access : uint8_t {
    kUse,
    /// For commands that take single rows: a small collection may stay at rest. Then only Get, Put, Erase,
    /// PrefetchRows, CompleteRows, VisitRows, body and SetBody may be used of what is there for rows, and of
    /// the fields space alone.
    kPick,
    /// Looking does not make the key hotter (EXISTS, TTL, ...). The object may be at rest: it can be removed,
    /// but its rows and its body are not to be used.
    kPeek,
    kQuiet,  ///< as kPeek, nor is it told that there is none (OBJECT, ...)
  };

  /// The live object at `key`, or nullptr. An object whose time has come is removed on the way. May unwind.
  Object* Find(std::string_view key, Access access = Access::kUse);
  /// As Find; kWrongType when the object is of another type.
  Result<Object*> Find(std::string_view key, ObjectType type, Access access = Access::kUse);
  /// Makes sure that the heads of all keys are in RAM, and unwinds once for all that are not. For commands
  /// that take several keys; calling it is never needed for being correct.
  void Prefetch(std::span<const std::string_view> keys);
  /// The object at `key` for writing: live, or absent if there is none; never nullptr. May unwind. `access`:
  /// kUse or kPick.
  Object* ForWrite(std::string_view key, Access access = Access::kUse);
  Result<Object*> ForWrite(std::string_view key, ObjectType type, Access access = Access::kUse);

  /// Makes the object a string of these bytes; what it was before goes, with its expiry. Any size.
  void SetString(Object* object, std::string_view value, Encoding encoding);
  /// Makes a live inline string `size` bytes long for in-place changes; the first bytes stay, new ones are
  /// zero. Returns its bytes. Keeps the expiry. REQUIRES: absent, or a string without rows; size <=
  /// kInlineBytesMax.
  char* EditString(Object* object, size_t size, Encoding encoding);
  /// Makes the object an empty collection (or a string in chunks of size 0). Keeps no expiry.
  void MakeRows(Object* object, ObjectType type);
  /// The same for a live inline string that becomes one in chunks; keeps the expiry and the bytes.
  void SpreadString(Object* object);
  /// Removes a live object of any size, O(1): its rows are purged in the background.
  void Remove(Object* object);
  /// Sets the time of expiry of a live object, in milliseconds since the epoch; 0: never expires.
  void SetExpiry(Object* object, uint64_t expire_at_ms);
  /// What OBJECT ENCODING is to remember of a live object (see format::Encoding); free when it is so already.
  void SetEncoding(Object* object, Encoding encoding);
  /// Moves value and expiry of a live object to another key, O(1). `to` loses what it had.
  void Move(Object* from, Object* to);

  /// Tells that the command changed the key. WATCH, notifications and blocked clients listen.
  void Changed(const Object* object, EventClass event_class, const char* name);
  /// From now on looks for keys that are not there are told, if anybody listens, or not: those of a command
  /// that only reads are.
  void TellMisses(bool tell) { tell_misses_ = tell; }
  /// Whether there is a key whose time has come, and that nobody has removed yet. Does not remove it. May
  /// unwind.
  bool LooksExpired(std::string_view key);

  // -- Databases

  /// As Keyspace's functions of these names, but taken back with the command when it unwinds.
  Status FlushDb(int db);
  Status FlushAll();
  void SwapDb(int a, int b);

  /// The selected database as this command sees it, what it has changed itself included, for reads that are
  /// to run on this thread though they are large (inside EXEC).
  class SnapshotView View();

  // -- Rows
  // For objects with rows, in RAM or at rest. Keys and values are any bytes; a space is ordered by memcmp.

  /// What the type keeps beside its rows. Change it with SetBody.
  static format::CollectionBody body(const Object* object) {
    return object->at_rest ? PackedBody(object->inline_value()) : object->rows->body;
  }
  void SetBody(Object* object, const format::CollectionBody& body);

  /// The row's value; nullopt: there is no such row. May unwind.
  std::optional<std::string_view> Get(Object* object, RowSpace space, std::string_view row_key);
  /// Writes a row, new or not. Does not read.
  void Put(Object* object, RowSpace space, std::string_view row_key, std::string_view value);
  /// Removes a row, there or not. Does not read.
  void Erase(Object* object, RowSpace space, std::string_view row_key);
  /// Removes all rows from `from` (inclusive) to `to` (exclusive; nullopt: to the end of the space), without
  /// reading any: O(log n) on disk, milliseconds per million rows in RAM. `count`: how many there are at
  /// most, if that is known; few are removed one by one, which is cheaper for later reads than a range.
  void EraseRange(Object* object, RowSpace space, std::string_view from, std::optional<std::string_view> to,
                  uint64_t count);
  /// As EraseRange of `count` rows of a spread object, but they stay on disk for now. Its body says that they
  /// do not count: nothing is read but what RowsOf tells.
  void LeaveRange(Object* object, RowSpace space, std::string_view from, std::string_view to, uint64_t count);
  /// Deletes on disk what was left there from `from` to `to`, about `count` rows; none there count.
  void EraseLeft(Object* object, RowSpace space, std::string_view from, std::string_view to, uint64_t count);
  /// Tells that rows of the fields space, though they are there, do not count any more: those whose value and
  /// key, put together, are no row of the scores space (a sorted set's members without their order). They are
  /// purged in the background, and until then who reads fields must look into scores: rows->lingering. So a
  /// million members go in one moment.
  void Linger(Object* object);
  /// Whether a row of fields is such a one. May unwind.
  bool Lingers(Object* object, std::string_view row_key, std::string_view value);
  /// Tells that there are no rows from `from` to `to`: what the type knows from its body need not be read. So
  /// no scan walks over the tombstones of a queue.
  void KnowEmpty(Object* object, RowSpace space, std::string_view from, std::optional<std::string_view> to);
  /// Rows that will be needed: unwinds once for all that are not in RAM.
  void PrefetchRows(Object* object, RowSpace space, std::span<const std::string_view> row_keys);

  /// An ordered position in a space; loads rows as it meets unknown ones (may unwind on Seek and steps).
  class Cursor {
   public:
    bool valid() const { return cursor_.at() == RowTree::Cursor::At::kRow; }
    std::string_view key() const { return cursor_.key(); }
    std::string_view value() const { return cursor_.value(); }
    void Next();
    void Previous();

   private:
    friend class Txn;
    Cursor(Txn& txn, Object* object, RowSpace space, RowTree::Cursor cursor)
        : txn_(&txn), object_(object), space_(space), cursor_(std::move(cursor)) {}
    void SettleForward();
    void SettleBackward(const std::optional<std::string_view>* from);
    void Load(bool forward);
    Txn* txn_;
    Object* object_;
    RowSpace space_;
    RowTree::Cursor cursor_;
    size_t rows_seen_ = 0;  ///< a scan that goes on loads ever larger pieces
  };
  /// The first row at or after `from` / the last at or before it (nullopt: the last of all).
  Cursor SeekForward(Object* object, RowSpace space, std::string_view from);
  Cursor SeekBackward(Object* object, RowSpace space, std::optional<std::string_view> from);
  /// The row number `rank` (0-based) in key order; loads the whole space when it is not in RAM. O(log n) when
  /// it is. REQUIRES rank < the number of rows.
  Cursor SelectRow(Object* object, RowSpace space, uint64_t rank);
  /// How many rows of the space are smaller than `row_key`. As SelectRow in cost.
  uint64_t RankOfRow(Object* object, RowSpace space, std::string_view row_key);
  /// Calls `visit(key, value)` for all rows of the space in order. May unwind, also after some of them.
  template <typename Visit>
  void VisitRows(Object* object, RowSpace space, Visit&& visit);
  /// Loads all rows of the space.
  void CompleteRows(Object* object, RowSpace space);
  /// A random row. Each has the same chance when the space is in RAM or small enough to be brought there; of
  /// a large cold one, a row near a random place between the first and the last key. REQUIRES: there is one.
  Cursor RandomRow(Object* object, RowSpace space, uint64_t random);

  /// Bytes for a value put together for the command (a string in chunks, a union); valid until the next
  /// command.
  std::string& scratch() { return scratch_; }

 private:
  friend class Keyspace;

  /// A write to `object` by this command: what it was before, to take the write back.
  struct Touched {
    Object* object;
    bool was_live;
    bool had_expiry;
    bool was_dirty;       ///< an earlier command of this turn wrote it too,
    bool had_head_dirty;  ///<   its head among it; then this is the metadata value that it had to write:
    uint32_t saved_begin;
    uint32_t saved_size;  ///<   in Keyspace::saved_heads_; 0: a deletion
  };

  void Begin(Waiter* waiter, int db);
  /// Moves collections between packed and spread, and counts memory.
  void Finish();
  /// Takes back what the command did.
  void TakeBack();
  [[noreturn]] void Suspend();

  Object* Lookup(uint16_t physical, std::string_view key, bool* missing);
  Object* Known(std::string_view key);
  void Use(Object* object, Access access);
  void Wake(Object* object);
  [[noreturn]] void Damaged(Object* object);
  void SetRowCount(Object* object, const PackedPlace& place, uint64_t rows);
  PackedPlace PlaceToWrite(Object* object, std::string_view row_key);
  void WaitForCommit();
  void BringLateRows();
  void RememberLateRows(const Object* object);
  void StartLoading(std::span<const std::string_view> keys);
  void WaitForLoading();
  bool ExpireIfDue(Object* object);
  void IndexExpiry(const Object* object, uint64_t expire_at_ms);
  void RememberDatabases();
  bool PurgeLingering(Object* object, std::string* next, size_t rows_max);

  void Touch(Object* object);
  void TouchHead(Object* object);
  void DropValue(Object* object);
  void CountLive(Object* object);
  void TellNew(const Object* object, ObjectType type);
  void NewRows(Object* object, ObjectType type);
  void EncodeHead(const Object* object, std::string* out) const;
  void SpreadOrPack(Object* object);
  void PurgeLater(const ObjectRows& rows);
  rocksdb::WriteBatch& batch();

  void PutRow(uint64_t id, RowSpace space, std::string_view row_key, std::string_view value);
  bool LoadRow(Object* object, RowSpace space, std::string_view row_key);
  bool StayWithinRows(Object* object, RowSpace space, std::string* from, std::optional<std::string>* to);
  void DeleteRange(uint64_t id, RowSpace space, std::string_view from, std::optional<std::string_view> to,
                   uint64_t count);
  void LoadGap(Object* object, RowSpace space, std::string from, std::optional<std::string> to, bool forward,
               size_t rows);

  Keyspace& keyspace_;
  Waiter* waiter_ = nullptr;
  int db_ = 0;
  size_t first_touched_ = 0;  ///< where this command's entries begin in the turn's list
  size_t first_event_ = 0;
  size_t first_purge_ = 0;
  size_t first_head_ = 0;
  bool save_point_ = false;
  bool tell_misses_ = false;
  /// Where the databases were before the command changed that.
  struct Databases {
    std::vector<int> physical;
    format::State state;
    bool databases_changed;
  };
  std::optional<Databases> databases_before_;
  std::vector<std::pair<const Object*, const Object*>> moves_;  ///< of this command: from, to
  size_t rows_loaded_ = 0;                                      ///< by ranges from the caches, on this thread
  uint64_t hits_ = 0;  ///< counters as they were when the command began
  uint64_t misses_ = 0;
  uint64_t expired_ = 0;
  Random random_{0};
  std::string scratch_;
  std::string key_buffer_;
  std::string value_buffer_;
};

template <typename Visit>
void Txn::VisitRows(Object* object, RowSpace space, Visit&& visit) {
  if (object->at_rest) {
    std::string_view bytes = object->inline_value();
    format::CollectionBody body;
    uint64_t rows = 0;
    const auto count = [&](std::string_view key, std::string_view value) {
      ++rows;
      visit(key, value);
    };
    const bool whole =
        format::DecodeCollectionBody(bytes, &body) && format::DecodePackedRows(bytes, count) && bytes.empty();
    if (!whole || (!object->dirty() && rows != body.count)) Damaged(object);
    return;
  }
  CompleteRows(object, space);
  for (Cursor row = SeekForward(object, space, {}); row.valid(); row.Next()) visit(row.key(), row.value());
}

}  // namespace thermocline
