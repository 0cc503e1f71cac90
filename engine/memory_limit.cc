// How the hot tier is kept within its limit: who waits to be admitted, who leaves RAM, and in delete mode the
// database.

#include <algorithm>

#include "engine/keyspace.h"

namespace thermocline {

namespace {

// How long a slice of eviction may take; commands get their turn in between.
constexpr uint64_t kEvictSliceUs = 1000;
// And when memory is over the limit by a sixteenth: as long as the commands of a turn, or those that write
// would run away from it.
constexpr uint64_t kEvictSliceUsMax = 5000;
// Before one command, in delete mode: Redis's bound with maxmemory-eviction-tenacity at its default.
constexpr uint64_t kMakeRoomUs = 500;
constexpr int kEvictionsPerLook = 16;  ///< at the clock
constexpr int kSamplingsMax = 16;
constexpr int kLeafTries = 8;
constexpr size_t kSearchSegments = 64;
constexpr size_t kRestampSegments = 16;
constexpr size_t kWaitingPerEviction = 64;

// The share of memory for objects that wait to be admitted: a fifth. S3-FIFO's authors take a tenth; on
// eviction-trace that gives a point more where some keys stay popular, and loses three more, against plain
// LRU, where what is used is always something new.
constexpr uint64_t kWaitingShare = 5;
// Memory is not full while so much of it is free: then nobody has to wait for being used again.
constexpr uint64_t kRoomShare = 16;
// The ghosts of the admission take no more beside it.
constexpr uint64_t kGhostShare = 64;

}  // namespace

void Keyspace::SetEviction(const EvictionOptions& eviction) {
  const bool was_lfu = eviction_.lfu();
  options_.eviction = eviction;
  eviction_.SetOptions(eviction);
  eviction_pool_.Clear();
  if (was_lfu == eviction_.lfu()) return;
  // Object::access changes its meaning: every object starts over as if it were new, some at a time. Until its
  // turn comes its number means nothing, as after such a change in Redis; the order takes some time to adjust
  // anyway.
  restamp_segment_ = 0;
  restamping_ = true;
}

bool Keyspace::RestampSlice() {
  for (size_t i = 0; i < kRestampSegments; ++i) {
    if (restamp_segment_ >= hot_.segments()) {
      restamping_ = false;
      return false;
    }
    hot_.VisitSegment(restamp_segment_++, [this](Object* object) { eviction_.OnCreate(object); });
  }
  return true;
}

// ---- Admission ----

/// An object has come into RAM, from disk or by a write.
void Keyspace::Enter(Object* object, From from) {
  const uint64_t max = options_.hot_bytes_max;
  if (max == 0 || object->admission != Object::kAdmitted || !options_.eviction.admission) return;
  // In delete mode the policy decides alone, but for cold keys when it may not evict: see DeleteOne.
  if (DeletesKeys() && from == From::kWrite) return;
  const HotTier::Note note = hot_.NoteOf(object);
  if (!DeletesKeys() && eviction_.options().policy != EvictionPolicy::kNoEviction &&
      admission_.Recall(note.hash)) {
    return;
  }
  object->admission = from == From::kDisk ? Object::kBrought : Object::kUsedOnce;
  admission_.PushLast(object, note);
  // Those in front are admitted untested while there is room; and when much waits though nothing is evicted
  // (keys are deleted as fast as they come, and leave their entries behind).
  const bool room = hot_.used_bytes() < max - max / kRoomShare;
  while (admission_.bytes() > max / kWaitingShare * (room ? 1 : 2) && admission_.count() > 1) {
    HotTier::Note first;
    if (Object* waiting = admission_.PopFirst(&first)) waiting->admission = Object::kAdmitted;
  }
}

/// Of the objects that wait, the first that was not used again leaves RAM; others before it are admitted.
/// False: there was none. With `noeviction` and in delete mode none is admitted, and the last that came
/// leaves first.
bool Keyspace::LetOneWaitingGo() {
  const bool newest = DeletesKeys() || eviction_.options().policy == EvictionPolicy::kNoEviction;
  for (size_t n = std::min(admission_.count(), kWaitingPerEviction); n > 0; --n) {
    HotTier::Note note;
    Object* object = newest ? admission_.PopLast(&note) : admission_.PopFirst(&note);
    if (object == nullptr) continue;
    if (object->pins > 0 || object->dirty() || object->state == Object::State::kLoading) {  // in use just now
      if (newest) {
        admission_.PushFirst(object, note);
      } else {
        admission_.PushLast(object, note);
      }
      continue;
    }
    if (object->admission == Object::kUsedAgain && !newest) {
      object->admission = Object::kAdmitted;
      continue;
    }
    admission_.Remember(note.hash, options_.hot_bytes_max / kGhostShare);
    hot_.Erase(object);
    ++stats_.demoted_objects;
    return true;
  }
  return false;
}

// ---- Eviction ----

/// One slice. Returns true when there is more to do at once.
bool Keyspace::EvictSlice() {
  if (!over_limit()) {
    if (over_limit_since_us_ != 0) {
      stats_.over_limit_us += clock_.MonotonicUs() - std::exchange(over_limit_since_us_, 0);
    }
    return false;
  }
  if (DeletesKeys() && (stalled_ || !failure_.ok())) return false;
  const uint64_t max = options_.hot_bytes_max;
  const bool far = hot_.used_bytes() - max > max / kRoomShare;
  return Evict(far ? kEvictSliceUsMax : kEvictSliceUs) == Evicted::kOutOfTime;
}

bool Keyspace::MakeRoomByDeleting() {
  if (stalled_ || !failure_.ok()) return true;
  return Evict(kMakeRoomUs) != Evicted::kNothingLeft;
}

Keyspace::Evicted Keyspace::Evict(uint64_t us_max) {
  const uint64_t began_us = clock_.MonotonicUs();
  Evicted evicted = Evicted::kEnough;
  for (int n = 1; over_limit(); ++n) {
    if (n % kEvictionsPerLook == 0 && clock_.MonotonicUs() - began_us > us_max) {
      evicted = Evicted::kOutOfTime;
      break;
    }
    if (DeletesKeys() ? DeleteOne() : DemoteOne()) continue;
    // What FLUSHDB has removed may not be freed yet.
    if (reclaiming_ && ReclaimSlice()) continue;
    evicted = Evicted::kNothingLeft;  // or all that was met is in use just now
    break;
  }
  const uint64_t ended_us = clock_.MonotonicUs();
  Took(KeyspaceWork::kEvict, &stats_.evict_us, ended_us - began_us);
  if (evicted == Evicted::kEnough && over_limit_since_us_ != 0) {
    stats_.over_limit_us += ended_us - std::exchange(over_limit_since_us_, 0);
  } else if (evicted != Evicted::kEnough && over_limit_since_us_ == 0) {
    over_limit_since_us_ = ended_us;
  }
  return evicted;
}

/// A leaf of rows of a large object leaves RAM, with the chance that its share of memory gives: its key may
/// be used all the time while most of its rows are not. So one large key cannot fill the hot tier. False:
/// none did; this time another object is to go.
bool Keyspace::ForgetRows() {
  if (hot_.large_bytes() == 0 || random_() % hot_.used_bytes() >= hot_.large_bytes()) return false;
  Object* object = hot_.SampleLarge(random_());
  return !object->dirty() && !keep_whole_.contains(object) && ForgetRowsOf(object);
}

/// Of a large object. False: none could be forgotten.
bool Keyspace::ForgetRowsOf(Object* object) {
  ObjectRows& rows = *object->rows;
  bool spared = false;
  for (int tries = 0; tries < kLeafTries; ++tries) {
    const bool scores = random_() % (rows.fields.memory_bytes() + rows.scores.memory_bytes() + 1) >=
                        rows.fields.memory_bytes();
    switch (rows.tree(scores ? RowSpace::kScores : RowSpace::kFields).ForgetLeaf(random_())) {
      case RowTree::Forgot::kLeaf:
        rows.forgot_at = NewVersion();
        ++stats_.demoted_leaves;
        Recount(object);
        return true;
      case RowTree::Forgot::kSpared: spared = true; break;
      case RowTree::Forgot::kNothing: break;
    }
  }
  return spared;  // it will not be, the next time
}

/// Something leaves RAM. False: nothing was met that may.
bool Keyspace::DemoteOne() {
  if (ForgetRows()) return true;
  const bool first_those_who_wait = admission_.bytes() > options_.hot_bytes_max / kWaitingShare ||
                                    eviction_.options().policy == EvictionPolicy::kNoEviction;
  if (first_those_who_wait && LetOneWaitingGo()) return true;
  Object* object = ChooseVictim();
  if (object == nullptr) return !first_those_who_wait && LetOneWaitingGo();
  if (hot_.IsLarge(object) && ForgetRowsOf(object)) return true;
  hot_.Erase(object);
  ++stats_.demoted_objects;
  return true;
}

/// A key is deleted, as Redis does it. False: there is none that the policy may evict.
///
/// All keys are in RAM then, unless the database was opened or the action was changed with keys on disk:
/// those stay there until they are used. If there is no room for one that is read, and the policy may not
/// make any, it is served and leaves RAM again.
bool Keyspace::DeleteOne() {
  Object* object = AnyCandidate() ? ChooseVictim() : nullptr;
  if (object == nullptr) return LetOneWaitingGo();
  const int db = Logical(object->db);
  if (db == kNone) {
    hot_.Erase(object);
    return true;
  }
  // A command of its own in the running turn; it reads nothing, so that it is never unwound.
  CHECK(Run(*evictor_, db, [&](Txn& txn) {
          txn.Remove(object);
          txn.Changed(object, EventClass::kEvicted, "evicted");
        }) == Ran::kDone);
  leaving_bytes_ += hot_.ObjectBytes(object);
  ++stats_.evicted_keys;
  return true;
}

/// False: the policy has surely nothing to choose from.
bool Keyspace::AnyCandidate() const {
  if (eviction_.options().policy == EvictionPolicy::kNoEviction) return false;
  for (int db = 0; db < databases(); ++db) {
    if ((eviction_.only_volatile() ? ExpiryCount(db) : KeyCount(db)) > 0) return true;
  }
  return false;
}

bool Keyspace::MayLeave(const Object* object) const {
  if (!object->live() || object->pins > 0) return false;
  if (!DeletesKeys()) return !object->dirty() && object->admission == Object::kAdmitted;
  if (Logical(object->db) == kNone) return !object->dirty();
  return eviction_.Candidate(object);
}

void Keyspace::Consider(Object* object) {
  if (!MayLeave(object)) return;
  const uint64_t score = eviction_.Score(object, random_());
  if (eviction_pool_.Wants(score)) eviction_pool_.Offer(hot_.NoteOf(object), score);
}

/// For when samples meet no candidate: few of many keys have an expiry. Looks at all objects in turn, some
/// each time.
void Keyspace::SearchTable() {
  const size_t segments = hot_.segments();
  for (size_t n = std::min(segments, kSearchSegments); n > 0 && eviction_pool_.empty(); --n) {
    search_segment_ = search_segment_ + 1 < segments ? search_segment_ + 1 : 0;
    hot_.VisitSegment(search_segment_, [this](Object* object) { Consider(object); });
  }
}

/// Sampled eviction, as Redis does it: among a few random objects, and the best that earlier samplings have
/// met, the one that the policy likes least. nullptr: none was met that may leave. Demotion loses nothing, so
/// a key that the policy would not delete may leave RAM, after those it would.
Object* Keyspace::ChooseVictim() {
  if (!options_.eviction.pool) eviction_pool_.Clear();
  for (int tries = 0; tries <= kSamplingsMax; ++tries) {
    for (int i = 0; i < options_.eviction.samples && tries < kSamplingsMax; ++i) {
      Object* object = hot_.Sample(random_());
      if (object == nullptr) return nullptr;
      Consider(object);
    }
    if (tries == kSamplingsMax) SearchTable();
    while (!eviction_pool_.empty()) {
      const EvictionPool::Entry best = eviction_pool_.TakeBest();
      Object* object = hot_.Find(best.note);
      if (object == nullptr || !MayLeave(object)) continue;
      // A score that has fallen: the object was used since it came into the pool.
      if (!eviction_.random() && eviction_.Score(object, 0) < best.score) continue;
      return object;
    }
  }
  return nullptr;
}

}  // namespace thermocline
