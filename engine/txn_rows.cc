// Rows of objects: packed or spread, in RAM, from the caches or from disk.

#include <algorithm>
#include <cstring>

#include "engine/keyspace.h"
#include "engine/load.h"
#include "engine/packed_rows.h"
#include "engine/row_source.h"
#include "engine/txn.h"

namespace thermocline {

namespace {

// A command that has to wait for so many rows asks the disk for the others too, without a look into the
// caches.
constexpr size_t kAskedCachesMax = 16;
// A scan that meets unknown rows loads at least this many at a time, and never more than the other number.
constexpr size_t kScanRowsMin = 128;
constexpr size_t kScanRowsMax = 16 << 10;
// One command reads so many rows from the caches on the keyspace thread; more come from a reader thread.
constexpr size_t kRowsLoadedMax = 4096;
// Up to so many rows are removed one by one: for more, one range tombstone costs less than theirs.
constexpr uint64_t kEraseByKeyMax = 64;
// A random row of a space that is not in RAM: up to so many rows, it is brought there whole.
constexpr uint64_t kRandomCompleteMax = 64 << 10;

}  // namespace

// ---- Packed and spread ----

/// The metadata value of a live object, but for the bytes of an inline string or an object at rest, which
/// follow it.
void Txn::EncodeHead(const Object* object, std::string* out) const {
  format::Head head{object->type, object->encoding, object->expire_at_ms, 0};
  if (object->has_rows) head.object_id = object->rows->id;
  head.lingering = object->has_rows && object->rows->lingering;
  format::AppendHead(*out, head);
  if (!object->has_rows) return;
  if (object->type == ObjectType::kString) {
    AppendBig64(*out, object->rows->body.aux0);
  } else if (object->rows->id == 0) {
    AppendPacked(*object->rows, out);
  } else {
    format::AppendSpreadBody(*out, object->rows->body);
  }
}

/// The rows on disk belong to nobody any more.
void Txn::PurgeLater(const ObjectRows& rows) {
  key_buffer_.clear();
  format::AppendPurgeKey(key_buffer_, rows.id);
  value_buffer_.clear();
  AppendVarint(value_buffer_, rows.body.count);
  batch().Put(keyspace_.store_->handle(Family::kSystem), key_buffer_, value_buffer_).PermitUncheckedError();
  keyspace_.new_purges_.push_back(rows.id);
}

/// Moves the rows of a collection that outgrew its metadata row out of it, or those of one that shrank back
/// in.
void Txn::SpreadOrPack(Object* object) {
  ObjectRows& rows = *object->rows;
  const size_t bytes = PackedBytes(rows);
  if (rows.id == 0 && bytes > kPackedBytesMax) {
    TouchHead(object);
    rows.id = keyspace_.NewObjectId();
    for (const RowSpace space : {RowSpace::kFields, RowSpace::kScores}) {
      for (RowTree::Cursor c = rows.tree(space).SeekForward({}); c.at() == RowTree::Cursor::At::kRow;
           c.Next()) {
        PutRow(rows.id, space, c.key(), c.value());
      }
    }
    return;
  }
  // Half the limit, so that a collection at the edge does not go back and forth. Rows that are being read are
  // needed under their id.
  if (rows.id != 0 && bytes < kPackedBytesMax / 2 && rows.fields.complete() && rows.scores.complete() &&
      rows.loads == 0 && !rows.lingering) {
    PurgeLater(rows);
    TouchHead(object);
    rows.id = 0;
  }
}

// ---- Rows ----

void Txn::PutRow(uint64_t id, RowSpace space, std::string_view row_key, std::string_view value) {
  char prefix[8];
  StoreBig64(prefix, id);
  const rocksdb::Slice key[2] = {{prefix, 8}, ToSlice(row_key)};
  const rocksdb::Slice bytes = ToSlice(value);
  batch()
      .Put(keyspace_.store_->handle(FamilyOf(space)), rocksdb::SliceParts(key, 2),
           rocksdb::SliceParts(&bytes, 1))
      .PermitUncheckedError();
}

void Txn::SetBody(Object* object, const format::CollectionBody& body) {
  TouchHead(object);
  if (!object->at_rest) {
    object->rows->body = body;
    return;
  }
  value_buffer_.clear();
  format::AppendCollectionBody(value_buffer_, body);
  const size_t old = FindPacked(object->inline_value(), {}, /*for_write=*/false).rows_at;
  keyspace_.hot_.Splice(object, 0, old, value_buffer_);
}

std::optional<std::string_view> Txn::Get(Object* object, RowSpace space, std::string_view row_key) {
  if (object->at_rest) {
    const PackedPlace place = FindPacked(object->inline_value(), row_key, /*for_write=*/false);
    if (place.damaged) Damaged(object);
    return place.found ? std::optional(place.value) : std::nullopt;
  }
  RowTree& tree = object->rows->tree(space);
  RowTree::Lookup known = tree.Find(row_key);
  if (known.knowledge == RowTree::Knowledge::kUnknown) {
    if (!LoadRow(object, space, row_key)) Suspend();
    known = tree.Find(row_key);
  }
  if (known.knowledge != RowTree::Knowledge::kPresent) return std::nullopt;
  return known.value;
}

/// Brings an unknown row in from RocksDB's caches. False: it is being read from disk, and the command waits
/// for it.
bool Txn::LoadRow(Object* object, RowSpace space, std::string_view row_key) {
  Keyspace& k = keyspace_;
  key_buffer_.clear();
  format::AppendRowKey(key_buffer_, object->rows->id, row_key);
  rocksdb::PinnableSlice value;
  switch (k.LookIntoCaches(FamilyOf(space), key_buffer_, &value)) {
    case Store::Found::kYes: object->rows->tree(space).LoadPoint(row_key, ToView(value)); break;
    case Store::Found::kNo: object->rows->tree(space).LoadPoint(row_key, std::nullopt); break;
    case Store::Found::kNeedsDisk: k.WaitFor(k.StartRowLoad(object, space, row_key), waiter_); return false;
    case Store::Found::kError: throw Unwind{};
  }
  k.Recount(object);
  return true;
}

void Txn::PrefetchRows(Object* object, RowSpace space, std::span<const std::string_view> row_keys) {
  if (object->at_rest) return;
  size_t waits = 0;
  for (const std::string_view row_key : row_keys) {
    if (object->rows->tree(space).Find(row_key).knowledge != RowTree::Knowledge::kUnknown) continue;
    if (waits >= kAskedCachesMax) {
      // The command waits anyhow, so this thread need not search RocksDB's caches for thousands of rows.
      keyspace_.WaitFor(keyspace_.StartRowLoad(object, space, row_key), waiter_);
    } else if (!LoadRow(object, space, row_key)) {
      ++waits;
    }
  }
  if (waits > 0) Suspend();
}

/// Where a row of an object at rest is to be written.
PackedPlace Txn::PlaceToWrite(Object* object, std::string_view row_key) {
  const PackedPlace place = FindPacked(object->inline_value(), row_key, /*for_write=*/true);
  if (place.damaged) Damaged(object);
  TouchHead(object);
  return place;
}

/// The number of packed rows becomes another one.
void Txn::SetRowCount(Object* object, const PackedPlace& place, uint64_t rows) {
  value_buffer_.clear();
  AppendVarint(value_buffer_, rows);
  keyspace_.hot_.Splice(object, place.rows_at, place.rows_end - place.rows_at, value_buffer_);
}

void Txn::Put(Object* object, RowSpace space, std::string_view row_key, std::string_view value) {
  if (object->at_rest) {
    constexpr size_t kSizesMax = 20;
    if (object->value_size + row_key.size() + value.size() + kSizesMax <= kPackedBytesMax) {
      const PackedPlace place = PlaceToWrite(object, row_key);
      value_buffer_.clear();
      AppendSized(value_buffer_, row_key);
      AppendSized(value_buffer_, value);
      keyspace_.hot_.Splice(object, place.at, place.size, value_buffer_);
      if (!place.found) SetRowCount(object, place, place.rows + 1);
      return;
    }
    Wake(object);
  }
  Touch(object);
  object->rows->tree(space).Put(row_key, value);
  if (object->rows->id == 0) {
    TouchHead(object);
  } else {
    PutRow(object->rows->id, space, row_key, value);
  }
}

void Txn::Erase(Object* object, RowSpace space, std::string_view row_key) {
  if (object->at_rest) {
    const PackedPlace place = PlaceToWrite(object, row_key);
    if (!place.found) return;
    keyspace_.hot_.Splice(object, place.at, place.size, {});
    SetRowCount(object, place, place.rows - 1);
    return;
  }
  Touch(object);
  object->rows->tree(space).Erase(row_key);
  if (object->rows->id == 0) {
    TouchHead(object);
  } else {
    char prefix[8];
    StoreBig64(prefix, object->rows->id);
    const rocksdb::Slice key[2] = {{prefix, 8}, ToSlice(row_key)};
    batch()
        .Delete(keyspace_.store_->handle(FamilyOf(space)), rocksdb::SliceParts(key, 2))
        .PermitUncheckedError();
  }
}

void Txn::EraseRange(Object* object, RowSpace space, std::string_view from,
                     std::optional<std::string_view> to, uint64_t count) {
  RowTree& tree = object->rows->tree(space);
  if (object->rows->id == 0) {
    TouchHead(object);
  } else {
    Touch(object);
    std::vector<std::string> keys;
    if (count <= kEraseByKeyMax) {
      for (Cursor c = SeekForward(object, space, from); c.valid() && (!to || c.key() < *to); c.Next())
        keys.emplace_back(c.key());
    }
    if (count <= kEraseByKeyMax && keys.size() <= kEraseByKeyMax) {
      for (const std::string& key : keys) Erase(object, space, key);
      return;
    }
    DeleteRange(object->rows->id, space, from, to, count);
  }
  tree.EraseRange(from, to);
}

void Txn::DeleteRange(uint64_t id, RowSpace space, std::string_view from, std::optional<std::string_view> to,
                      uint64_t count) {
  std::string begin, end;
  format::AppendRowKey(begin, id, from);
  if (to) {
    format::AppendRowKey(end, id, *to);
  } else {
    AppendBig64(end, id + 1);
  }
  batch().DeleteRange(keyspace_.store_->handle(FamilyOf(space)), begin, end).PermitUncheckedError();
  keyspace_.store_->NoteRangeDeletion(FamilyOf(space), count);
}

void Txn::LeaveRange(Object* object, RowSpace space, std::string_view from, std::string_view to,
                     uint64_t count) {
  TouchHead(object);  // which tells of them
  RowTree& tree = object->rows->tree(space);
  if (count == 1) {
    tree.Erase(from);
  } else {
    tree.EraseRange(from, to);
  }
}

void Txn::EraseLeft(Object* object, RowSpace space, std::string_view from, std::string_view to,
                    uint64_t count) {
  TouchHead(object);
  KnowEmpty(object, space, from, to);  // the deletion is not to be seen on disk before the commit
  DeleteRange(object->rows->id, space, from, to, count);
}

void Txn::Linger(Object* object) {
  CHECK(object->rows->id != 0);
  TouchHead(object);
  object->rows->lingering = true;
  ++object->rows->linger_round;
  keyspace_.NoteLingering(object);
}

bool Txn::Lingers(Object* object, std::string_view row_key, std::string_view value) {
  return object->has_rows && object->rows->lingering &&
         !Get(object, RowSpace::kScores, std::string(value).append(row_key)).has_value();
}

/// Removes what lingers among the next rows, from `*next` on, which then tells where to go on. True: that was
/// the last of them.
bool Txn::PurgeLingering(Object* object, std::string* next, size_t rows_max) {
  std::vector<std::pair<std::string, std::string>> rows;  // field, and the row of scores that it needs
  Cursor row = SeekForward(object, RowSpace::kFields, *next);
  for (; row.valid() && rows.size() < rows_max; row.Next()) {
    rows.emplace_back(row.key(), std::string(row.value()).append(row.key()));
  }
  const bool last = !row.valid();
  if (!last) *next = row.key();
  std::vector<std::string_view> scores;
  for (const auto& [field, score] : rows) scores.push_back(score);
  PrefetchRows(object, RowSpace::kScores, scores);
  for (const auto& [field, score] : rows) {
    if (!Get(object, RowSpace::kScores, score).has_value()) Erase(object, RowSpace::kFields, field);
  }
  return last;
}

void Txn::KnowEmpty(Object* object, RowSpace space, std::string_view from,
                    std::optional<std::string_view> to) {
  RowTree& tree = object->rows->tree(space);
  if (!tree.complete()) tree.MarkRangeKnown(from, to);
}

/// Narrows a range to where the object has rows: those that are left beyond are never read. False: nothing of
/// it is there.
bool Txn::StayWithinRows(Object* object, RowSpace space, std::string* from, std::optional<std::string>* to) {
  const RowsOfSpace rows = RowsOf(object, space);
  if (*from < rows.from) {
    KnowEmpty(object, space, *from, rows.from);
    *from = rows.from;
  }
  if (!rows.to.has_value()) return !to->has_value() || *from < **to;
  if (!to->has_value() || **to > *rows.to) {
    KnowEmpty(object, space, std::max(*from, *rows.to), *to);
    *to = *rows.to;
  }
  return *from < **to;
}

/// Loads rows from where a cursor met the unknown, from the caches or by unwinding.
void Txn::LoadGap(Object* object, RowSpace space, std::string from, std::optional<std::string> to,
                  bool forward, size_t rows) {
  if (!StayWithinRows(object, space, &from, &to)) return;
  Keyspace& k = keyspace_;
  auto load = std::make_unique<Load>();
  load->kind = Load::Kind::kRange;
  load->object = object;
  load->object_id = object->rows->id;
  load->space = space;
  load->key = std::move(from);
  load->to = std::move(to);
  load->forward = forward;
  load->rows_max = rows;
  const bool inline_read = rows_loaded_ < kRowsLoadedMax;
  if (inline_read) load->rows_max = std::min(rows, kRowsLoadedMax);
  const bool whole = inline_read && ReadRange(*k.store_, *load, /*cached_only=*/true);
  rows_loaded_ += load->rows.size();
  if (whole || !load->rows.empty()) {
    if (load->found == Store::Found::kError) {
      k.error_ = load->error;
      throw Unwind{};
    }
    ++k.stats_.cached_reads;
    InstallRange(*load, object->rows->tree(space));
    k.Recount(object);
    return;
  }
  load->rows_max = rows;
  k.WaitFor(k.AddRowLoad(std::move(load)), waiter_);
  Suspend();
}

void Txn::Cursor::Load(bool forward) {
  const std::optional<std::string_view> to = cursor_.gap_to();
  const size_t rows = std::clamp(rows_seen_ * 2, kScanRowsMin, kScanRowsMax);
  txn_->LoadGap(object_, space_, std::string(cursor_.gap_from()),
                to.has_value() ? std::optional<std::string>(*to) : std::nullopt, forward, rows);
}

void Txn::Cursor::SettleForward() {
  while (cursor_.at() == RowTree::Cursor::At::kGap) {
    Load(/*forward=*/true);
    const std::string from(cursor_.gap_from());
    cursor_ = object_->rows->tree(space_).SeekForward(from);
  }
  ++rows_seen_;
}

/// `from`: where the seek began; nullptr: it was a step from a row.
void Txn::Cursor::SettleBackward(const std::optional<std::string_view>* from) {
  while (cursor_.at() == RowTree::Cursor::At::kGap) {
    Load(/*forward=*/false);
    const RowTree& tree = object_->rows->tree(space_);
    if (from != nullptr) {
      // Not from the end of the gap: that may be the successor of `from`, of which nothing is known.
      cursor_ = tree.SeekBackward(*from);
      continue;
    }
    // A step's gap ends at the row where it began, or at a key known to be absent.
    const std::string to(cursor_.gap_to().value());
    cursor_ = tree.SeekBackward(to);
    if (valid() && key() == to) cursor_.Previous();
  }
  ++rows_seen_;
}

void Txn::Cursor::Next() {
  cursor_.Next();
  SettleForward();
}

void Txn::Cursor::Previous() {
  cursor_.Previous();
  SettleBackward(nullptr);
}

Txn::Cursor Txn::SeekForward(Object* object, RowSpace space, std::string_view from) {
  Cursor cursor(*this, object, space, object->rows->tree(space).SeekForward(from));
  cursor.SettleForward();
  return cursor;
}

Txn::Cursor Txn::SeekBackward(Object* object, RowSpace space, std::optional<std::string_view> from) {
  Cursor cursor(*this, object, space, object->rows->tree(space).SeekBackward(from));
  cursor.SettleBackward(&from);
  return cursor;
}

void Txn::CompleteRows(Object* object, RowSpace space) {
  if (object->at_rest) return;
  const RowTree& tree = object->rows->tree(space);
  // To the end of the space, not of the gap: rows that are known already are passed over, so that many small
  // gaps cost few loads.
  while (!tree.complete())
    LoadGap(object, space, tree.FirstGap(), std::nullopt, /*forward=*/true, kScanRowsMax);
}

Txn::Cursor Txn::RandomRow(Object* object, RowSpace space, uint64_t random) {
  const RowTree& tree = object->rows->tree(space);
  const uint64_t count = body(object).count;
  if (tree.complete() || count <= kRandomCompleteMax) {
    CompleteRows(object, space);
    return SelectRow(object, space, random % tree.count());
  }
  const std::string first(SeekForward(object, space, {}).key());
  const std::string last(SeekBackward(object, space, std::nullopt).key());
  const auto head = [](std::string_view key, size_t skip) {
    char bytes[8] = {};
    if (skip < key.size()) std::memcpy(bytes, key.data() + skip, std::min<size_t>(8, key.size() - skip));
    return LoadBig64(bytes);
  };
  const auto common = static_cast<size_t>(
      std::mismatch(first.begin(), first.end(), last.begin(), last.end()).first - first.begin());
  const uint64_t low = head(first, common), high = head(last, common);
  const uint64_t place = high == low ? low : low + random % (high - low);
  std::string from = first.substr(0, common);
  AppendBig64(from, place);
  Cursor cursor = SeekForward(object, space, from);
  // A few steps on, so that a row behind a wide hole has no much better chance than its neighbours.
  for (uint64_t steps = (random >> 32) % kScanRowsMin; steps > 0 && cursor.valid(); --steps) cursor.Next();
  return cursor.valid() ? cursor : SeekBackward(object, space, std::nullopt);
}

Txn::Cursor Txn::SelectRow(Object* object, RowSpace space, uint64_t rank) {
  CompleteRows(object, space);
  Cursor cursor(*this, object, space, object->rows->tree(space).Select(rank));
  return cursor;
}

uint64_t Txn::RankOfRow(Object* object, RowSpace space, std::string_view row_key) {
  CompleteRows(object, space);
  return object->rows->tree(space).Rank(row_key);
}

}  // namespace thermocline
