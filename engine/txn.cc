#include "engine/txn.h"

#include <algorithm>
#include <cstring>

#include "engine/keyspace.h"
#include "engine/snapshot.h"

namespace thermocline {

uint64_t Txn::now_ms() const { return keyspace_.now_ms_; }

Random& Txn::random() {
  if (waiter_->random_seed_ == 0) {
    waiter_->random_seed_ = keyspace_.random_() | 1;
    random_ = Random(waiter_->random_seed_);
  }
  return random_;
}

// ---- The command ----

void Txn::Begin(Waiter* waiter, int db) {
  waiter_ = waiter;
  db_ = db;
  first_touched_ = keyspace_.touched_.size();
  first_event_ = keyspace_.events_.size();
  first_purge_ = keyspace_.new_purges_.size();
  first_head_ = keyspace_.heads_.size();
  save_point_ = false;
  tell_misses_ = false;
  rows_loaded_ = 0;
  databases_before_.reset();
  moves_.clear();
  random_ = Random(waiter->random_seed_);
  hits_ = keyspace_.stats_.keyspace_hits;
  misses_ = keyspace_.stats_.keyspace_misses;
  expired_ = keyspace_.stats_.expired_keys;
  ++keyspace_.mark_;
}

void Txn::Suspend() { throw Unwind{}; }

rocksdb::WriteBatch& Txn::batch() {
  // Rows may reach the batch before the command is over; the save point lets them be taken back.
  if (!save_point_) {
    keyspace_.batch_.SetSavePoint();
    save_point_ = true;
  }
  return keyspace_.batch_;
}

void Txn::Touch(Object* object) {
  Keyspace& k = keyspace_;
  CHECK(!k.stalled_ && k.failure_.ok());
  if (object->mark == k.mark_) return;
  Touched touched{object,
                  object->live(),
                  object->live() && object->expire_at_ms != 0,
                  object->dirty(),
                  object->head_dirty,
                  0,
                  0};
  if (object->head_dirty) {
    // What earlier commands made of it is nowhere but in RAM yet, and would be lost if this one is taken
    // back.
    touched.saved_begin = static_cast<uint32_t>(k.saved_heads_.size());
    if (object->live()) {
      EncodeHead(object, &k.saved_heads_);
      if (!object->has_rows) k.saved_heads_.append(object->inline_value());
    }
    touched.saved_size = static_cast<uint32_t>(k.saved_heads_.size()) - touched.saved_begin;
  }
  k.touched_.push_back(touched);
  object->mark = k.mark_;
  if (object->live() && object->has_rows) object->rows->version = k.NewVersion();
}

void Txn::TouchHead(Object* object) {
  Touch(object);
  if (object->head_dirty) return;
  object->head_dirty = true;
  keyspace_.heads_.push_back(object);
}

void Txn::Finish() {
  Keyspace& k = keyspace_;
  for (size_t i = first_touched_; i < k.touched_.size(); ++i) {
    Object* object = k.touched_[i].object;
    if (!object->live()) continue;
    if (object->has_rows) {
      if (object->type != ObjectType::kString) SpreadOrPack(object);
      k.Recount(object);
    }
    if (!k.touched_[i].was_live) k.Enter(object, Keyspace::From::kWrite);
    k.pending_head_bytes_ += object->key_size + object->value_size;
  }
  if (save_point_) k.batch_.PopSavePoint().PermitUncheckedError();
}

void Txn::TakeBack() {
  Keyspace& k = keyspace_;
  if (save_point_) k.batch_.RollbackToSavePoint().PermitUncheckedError();
  k.events_.resize(first_event_);
  k.new_purges_.resize(first_purge_);
  k.heads_.resize(first_head_);
  k.stats_.keyspace_hits = hits_;
  k.stats_.keyspace_misses = misses_;
  k.stats_.expired_keys = expired_;
  const std::vector<Touched> mine(k.touched_.begin() + static_cast<ptrdiff_t>(first_touched_),
                                  k.touched_.end());
  k.touched_.resize(first_touched_);
  bool earlier = false;
  for (const Touched& touched : mine) {
    Object* object = touched.object;
    Keyspace::DbCounts& counts = k.counts(object->db);
    counts.keys += uint64_t{touched.was_live} - uint64_t{object->live()};
    counts.expires += uint64_t{touched.had_expiry} - uint64_t{object->live() && object->expire_at_ms != 0};
    if (touched.was_dirty) earlier = true;
    if (touched.had_head_dirty) {
      k.PutHead(object, std::string_view(k.saved_heads_).substr(touched.saved_begin, touched.saved_size), {});
    }
    RememberLateRows(object);
    object->mark = 0;
    object->head_dirty = false;
    ++object->pins;
    k.hot_.BecomeCold(object);  // what it was is on disk, or about to be
  }
  if (databases_before_.has_value()) {
    k.physical_ = std::move(databases_before_->physical);
    k.state_.dropped = std::move(databases_before_->state.dropped);
    k.databases_changed_ = databases_before_->databases_changed;
    databases_before_.reset();
  }
  // What earlier commands of the turn wrote to these objects is now in the batch alone: it must reach the
  // disk before anybody looks.
  if (earlier) (void)k.CommitBatch(/*wait_for_stall=*/true);
  for (const Touched& touched : mine) {
    --touched.object->pins;
    k.EraseIfUseless(touched.object);
  }
}

// ---- Objects ----

Object* Txn::Lookup(uint16_t physical, std::string_view key, bool* missing) {
  Keyspace& k = keyspace_;
  *missing = false;
  Object* object = k.hot_.Find(physical, key);
  if (object != nullptr && object->state != Object::State::kCold) {
    // It shows a write that is not in the log yet, and nobody may see that.
    if (k.stalled_ && object->dirty()) WaitForCommit();
    ++k.stats_.hot_hits;
    return object;
  }
  if (object == nullptr && k.AllResidentPhysical(physical)) {
    *missing = true;
    return nullptr;
  }
  key_buffer_.clear();
  format::AppendMetadataKey(key_buffer_, physical, key);
  rocksdb::PinnableSlice value;
  switch (k.LookIntoCaches(Family::kMetadata, key_buffer_, &value)) {
    case Store::Found::kYes:
      if (object == nullptr) object = k.hot_.Insert(physical, key);
      if (Status s = k.DecodeInto(object, ToView(value)); !s.ok()) {
        k.EraseIfUseless(object);
        k.error_ = s;
        throw Unwind{};
      }
      return object;
    case Store::Found::kNo:
      if (object != nullptr) {
        k.hot_.BecomeAbsent(object);
        return object;
      }
      *missing = true;
      return nullptr;
    case Store::Found::kNeedsDisk:
      if (object == nullptr) object = k.hot_.Insert(physical, key);
      k.StartHeadLoad(object);
      return object;
    case Store::Found::kError: break;
  }
  throw Unwind{};
}

void Txn::WaitForCommit() {
  keyspace_.commit_waiters_.push_back(waiter_);
  ++waiter_->pending_;
  throw Unwind{};
}

Object* Txn::Known(std::string_view key) {
  if (keyspace_.stalled_ && keyspace_.databases_changed_) WaitForCommit();
  const int physical = keyspace_.Physical(db_);
  if (physical == Keyspace::kNone) return nullptr;
  bool missing;
  Object* object = Lookup(static_cast<uint16_t>(physical), key, &missing);
  if (missing) return nullptr;
  if (object->state == Object::State::kLoading) {
    keyspace_.WaitFor(object->load, waiter_);
    Suspend();
  }
  return object;
}

void Txn::Prefetch(std::span<const std::string_view> keys) {
  if (keyspace_.AllResident(db_)) return;
  StartLoading(keys);
  WaitForLoading();
}

void Txn::StartLoading(std::span<const std::string_view> keys) {
  if (keyspace_.stalled_ && keyspace_.databases_changed_) WaitForCommit();
  const int physical = keyspace_.Physical(db_);
  if (physical == Keyspace::kNone) return;
  for (const std::string_view key : keys) {
    bool missing;
    const Object* object = Lookup(static_cast<uint16_t>(physical), key, &missing);
    if (!missing && object->state == Object::State::kLoading) keyspace_.WaitFor(object->load, waiter_);
  }
}

/// Notes which rows of `object`, about to be dropped from RAM, the command waits for.
void Txn::RememberLateRows(const Object* object) {
  if (!object->live() || !object->has_rows || object->rows->loads == 0) return;
  const Object* owner = object;  // when the command runs again the rows are still where it has found them
  for (auto move = moves_.rbegin(); move != moves_.rend(); ++move) {
    if (move->second == owner) owner = move->first;
  }
  for (const Load* load : waiter_->asked_) {
    if (load->object != object || load->kind == Load::Kind::kHead) continue;
    waiter_->late_.push_back({owner->db, std::string(owner->key()), load->space,
                              load->kind == Load::Kind::kRange, load->forward, load->key, load->to,
                              load->rows_max});
  }
}

void Txn::BringLateRows() {
  std::vector<Object*> objects;
  for (const LateRows& rows : waiter_->late_) {
    objects.push_back(nullptr);
    if (keyspace_.Logical(rows.physical) == Keyspace::kNone) continue;
    bool missing;
    Object* object = Lookup(rows.physical, rows.key, &missing);
    if (missing) continue;
    if (object->state == Object::State::kLoading) keyspace_.WaitFor(object->load, waiter_);
    objects.back() = object;
  }
  WaitForLoading();
  // Single rows all at once, then the ranges, each of which may unwind.
  for (size_t i = 0; i < objects.size(); ++i) {
    Object* object = objects[i];
    const LateRows& rows = waiter_->late_[i];
    if (object == nullptr || !object->live() || !object->has_rows || rows.range) continue;
    if (object->rows->tree(rows.space).Find(rows.from).knowledge != RowTree::Knowledge::kUnknown) continue;
    LoadRow(object, rows.space, rows.from);
  }
  WaitForLoading();
  for (size_t i = 0; i < objects.size(); ++i) {
    Object* object = objects[i];
    const LateRows& rows = waiter_->late_[i];
    if (object == nullptr || !object->live() || !object->has_rows || !rows.range) continue;
    size_t seen = 0;
    if (rows.forward) {
      for (Cursor c = SeekForward(object, rows.space, rows.from); c.valid() && seen < rows.rows_max;
           c.Next(), ++seen) {
        if (rows.to.has_value() && c.key() >= *rows.to) break;
      }
    } else {
      const std::optional<std::string_view> to = rows.to;
      for (Cursor c = SeekBackward(object, rows.space, to); c.valid() && seen < rows.rows_max;
           c.Previous(), ++seen) {
        if (c.key() < rows.from) break;
      }
    }
  }
}

void Txn::WaitForLoading() {
  if (waiter_->pending_ > 0) Suspend();
}

bool Txn::ExpireIfDue(Object* object) {
  if (!object->live() || object->expire_at_ms == 0 || now_ms() <= object->expire_at_ms) return false;
  // While nothing can be written the key only looks as if it were gone; it goes later.
  if (keyspace_.stalled_ || !keyspace_.failure_.ok()) return true;
  Remove(object);
  ++keyspace_.stats_.expired_keys;
  Changed(object, EventClass::kExpired, "expired");
  return true;
}

/// A command is about to use the object: it leaves its rest and stays unpacked for a while, if it is not one
/// of which single rows are taken as well where they are.
void Txn::Use(Object* object, Access access) {
  keyspace_.Access(object);
  if (!object->at_rest) {
    object->used_again = true;
  } else if (access != Access::kPick || object->value_size > kPickedBytesMax) {
    Wake(object);
  }
}

void Txn::Wake(Object* object) {
  Keyspace& k = keyspace_;
  auto rows = std::make_unique<ObjectRows>();
  if (!Unpack(object->type, object->inline_value(), &k.unpack_scratch_, rows.get())) Damaged(object);
  // In the midst of a command that writes they may differ.
  if (!object->dirty() && rows->fields.count() != rows->body.count) Damaged(object);
  rows->version = k.NewVersion();
  k.hot_.BecomeRows(object, object->type, std::move(rows));
}

/// The packed rows do not decode. They are never written, so that nothing is lost with them.
void Txn::Damaged(Object* object) {
  Keyspace& k = keyspace_;
  if (!object->dirty()) {  // else its expiry may have been changed
    k.hot_.BecomeCold(object);
    k.EraseIfUseless(object);
  }
  k.error_ = {Code::kCorruption, "packed rows do not decode"};
  throw Unwind{};
}

Object* Txn::Find(std::string_view key, Access access) {
  const bool counts = access == Access::kUse || access == Access::kPick;
  Object* object = Known(key);
  if (object == nullptr || !object->live() || ExpireIfDue(object)) {
    if (counts) ++keyspace_.stats_.keyspace_misses;
    if (access != Access::kQuiet && tell_misses_ && keyspace_.listening_.misses) {
      keyspace_.events_.push_back({db_, std::string(key), "keymiss", EventClass::kMiss});
    }
    return nullptr;
  }
  if (counts) {
    ++keyspace_.stats_.keyspace_hits;
    Use(object, access);
  }
  return object;
}

Result<Object*> Txn::Find(std::string_view key, ObjectType type, Access access) {
  Object* object = Find(key, access);
  if (object != nullptr && object->type != type) return Code::kWrongType;
  return object;
}

Object* Txn::ForWrite(std::string_view key, Access access) {
  Object* object = Known(key);
  if (object == nullptr) {
    const int physical = keyspace_.PhysicalForWrite(db_);
    object = keyspace_.hot_.Insert(static_cast<uint16_t>(physical), key);
    keyspace_.hot_.BecomeAbsent(object);
    keyspace_.eviction_.OnCreate(object);
    // From here on the entry must be noticed, or nobody would free it.
    Touch(object);
    return object;
  }
  ExpireIfDue(object);
  if (object->live()) {
    Use(object, access);
  } else {
    keyspace_.eviction_.OnCreate(object);
  }
  return object;
}

Result<Object*> Txn::ForWrite(std::string_view key, ObjectType type, Access access) {
  Object* object = ForWrite(key, access);
  if (object->live() && object->type != type) return Code::kWrongType;
  return object;
}

/// Lets go of the rows of an object that is about to become something else; counts follow.
void Txn::DropValue(Object* object) {
  if (!object->live()) return;
  if (object->has_rows && object->rows->id != 0) PurgeLater(*object->rows);
  Keyspace::DbCounts& counts = keyspace_.counts(object->db);
  --counts.keys;
  if (object->expire_at_ms != 0) --counts.expires;
  keyspace_.state_changed_ = true;
}

/// The object, not live yet, is about to be of this type.
void Txn::TellNew(const Object* object, ObjectType type) {
  if (keyspace_.listening_.new_keys)
    keyspace_.events_.push_back({db_, std::string(object->key()), "new", EventClass::kNew, type});
}

bool Txn::LooksExpired(std::string_view key) {
  const Object* object = Known(key);
  return object != nullptr && object->live() && object->expire_at_ms != 0 && now_ms() > object->expire_at_ms;
}

void Txn::CountLive(Object* object) {
  Keyspace::DbCounts& counts = keyspace_.counts(object->db);
  ++counts.keys;
  if (object->expire_at_ms != 0) ++counts.expires;
  keyspace_.state_changed_ = true;
}

void Txn::SetString(Object* object, std::string_view value, Encoding encoding) {
  TouchHead(object);
  if (!object->live()) TellNew(object, ObjectType::kString);
  const bool simple = object->live() && object->expire_at_ms == 0 && !object->has_rows;
  if (!simple) DropValue(object);
  if (value.size() <= kInlineBytesMax) {
    object->expire_at_ms = 0;
    keyspace_.hot_.BecomeString(object, value);
    if (!simple) CountLive(object);
  } else {
    if (simple) DropValue(object);
    NewRows(object, ObjectType::kString);
    format::CollectionBody body;
    body.aux0 = value.size();
    SetBody(object, body);
    for (uint32_t chunk = 0; !value.empty(); ++chunk) {
      char key[4];
      StoreBig32(key, chunk);
      const std::string_view bytes = value.substr(0, format::kChunkBytes);
      Put(object, RowSpace::kFields, {key, 4}, bytes);
      value.remove_prefix(bytes.size());
    }
  }
  object->encoding = encoding;
}

char* Txn::EditString(Object* object, size_t size, Encoding encoding) {
  CHECK(size <= kInlineBytesMax && !(object->live() && object->has_rows));
  TouchHead(object);
  const bool fresh = !object->live();
  if (fresh) TellNew(object, ObjectType::kString);
  const size_t old_size = fresh ? 0 : object->value_size;
  if (fresh) object->expire_at_ms = 0;
  char* bytes = keyspace_.hot_.ResizeString(object, size);
  if (size > old_size) std::memset(bytes + old_size, 0, size - old_size);
  if (fresh) CountLive(object);
  object->encoding = encoding;
  return bytes;
}

void Txn::NewRows(Object* object, ObjectType type) {
  auto rows = std::make_unique<ObjectRows>();
  if (type == ObjectType::kString) rows->id = keyspace_.NewObjectId();
  rows->version = keyspace_.NewVersion();
  object->expire_at_ms = 0;
  object->encoding = Encoding::kAuto;
  keyspace_.hot_.BecomeRows(object, type, std::move(rows));
  CountLive(object);
}

void Txn::MakeRows(Object* object, ObjectType type) {
  TouchHead(object);
  if (!object->live()) TellNew(object, type);
  DropValue(object);
  NewRows(object, type);
}

void Txn::SpreadString(Object* object) {
  CHECK(object->live() && object->type == ObjectType::kString && !object->has_rows);
  const std::string value(object->inline_value());
  const uint64_t expire_at_ms = object->expire_at_ms;
  const Encoding encoding = object->encoding;
  MakeRows(object, ObjectType::kString);
  format::CollectionBody body;
  body.aux0 = value.size();
  SetBody(object, body);
  for (size_t at = 0; at < value.size(); at += format::kChunkBytes) {
    char key[4];
    StoreBig32(key, static_cast<uint32_t>(at / format::kChunkBytes));
    Put(object, RowSpace::kFields, {key, 4}, std::string_view(value).substr(at, format::kChunkBytes));
  }
  object->encoding = encoding;
  if (expire_at_ms != 0) {  // its index row is there already
    object->expire_at_ms = expire_at_ms;
    ++keyspace_.counts(object->db).expires;
  }
}

void Txn::Remove(Object* object) {
  CHECK(object->live());
  TouchHead(object);
  DropValue(object);
  keyspace_.hot_.BecomeAbsent(object);
}

void Txn::SetExpiry(Object* object, uint64_t expire_at_ms) {
  CHECK(object->live());
  if (object->expire_at_ms == expire_at_ms) return;
  TouchHead(object);
  const uint64_t old = object->expire_at_ms;
  // An index row at or before the old time serves a later one too: extending a session writes none.
  if (expire_at_ms != 0 && (old == 0 || expire_at_ms < old)) IndexExpiry(object, expire_at_ms);
  Keyspace::DbCounts& counts = keyspace_.counts(object->db);
  if (old == 0) ++counts.expires;
  if (expire_at_ms == 0) --counts.expires;
  if (old == 0 || expire_at_ms == 0) keyspace_.state_changed_ = true;
  object->expire_at_ms = expire_at_ms;
}

void Txn::SetEncoding(Object* object, Encoding encoding) {
  CHECK(object->live());
  if (object->encoding == encoding) return;
  TouchHead(object);
  object->encoding = encoding;
}

void Txn::IndexExpiry(const Object* object, uint64_t expire_at_ms) {
  key_buffer_.clear();
  format::AppendExpiryIndexKey(key_buffer_, expire_at_ms, object->db, object->key());
  batch().Put(keyspace_.store_->handle(Family::kScores), key_buffer_, {}).PermitUncheckedError();
  // After the wall clock was set back, the sweeper has to look at earlier times again.
  Keyspace& k = keyspace_;
  if (key_buffer_ < k.sweep_from_) k.sweep_from_ = key_buffer_;
  if (k.sweeping_ && (k.indexed_low_.empty() || key_buffer_ < k.indexed_low_)) k.indexed_low_ = key_buffer_;
}

void Txn::Move(Object* from, Object* to) {
  CHECK(from->live() && from != to);
  TouchHead(from);
  TouchHead(to);
  moves_.emplace_back(from, to);
  DropValue(to);
  keyspace_.hot_.BecomeAbsent(to);
  TellNew(to, from->type);
  // Reads under way belong to the object that was asked for: their answers come to nothing.
  if (from->has_rows) {
    from->rows->load_tag = 0;
    from->rows->loads = 0;
  }
  // The rows hang on the object id, so that they stay where they are.
  Keyspace::DbCounts& counts = keyspace_.counts(from->db);
  --counts.keys;
  if (from->expire_at_ms != 0) --counts.expires;
  to->access = from->access;
  keyspace_.hot_.MoveValue(from, to);
  if (to->has_rows && to->rows->lingering) keyspace_.NoteLingering(to);
  CountLive(to);
  if (to->expire_at_ms != 0) IndexExpiry(to, to->expire_at_ms);
}

void Txn::Changed(const Object* object, EventClass event_class, const char* name) {
  if (keyspace_.listening_.changes)
    keyspace_.events_.push_back({db_, std::string(object->key()), name, event_class});
}

// ---- Databases ----

void Txn::RememberDatabases() {
  if (databases_before_.has_value()) return;
  databases_before_ = {keyspace_.physical_, keyspace_.state_, keyspace_.databases_changed_};
}

Status Txn::FlushDb(int db) {
  RememberDatabases();
  return keyspace_.FlushDb(db);
}

Status Txn::FlushAll() {
  RememberDatabases();
  return keyspace_.FlushAll();
}

void Txn::SwapDb(int a, int b) {
  RememberDatabases();
  keyspace_.SwapDb(a, b);
}

SnapshotView Txn::View() {
  Keyspace& k = keyspace_;
  const int physical = k.Physical(db_);
  SnapshotView view(*k.store_, k.store_->TakeSnapshot(), physical, now_ms());
  for (const Touched& touched : k.touched_) {
    const Object* object = touched.object;
    if (object->db != physical) continue;
    std::optional<format::Head> head;
    if (object->live()) head = {object->type, object->encoding, object->expire_at_ms, 0};
    view.Overlay(object->key(), head);
  }
  return view;
}

}  // namespace thermocline
