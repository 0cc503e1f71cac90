// How the hot tier is kept within its limit: who leaves RAM.

#include "engine/keyspace.h"

namespace thermocline {

namespace {

// How long a slice of eviction may take; commands get their turn in between.
constexpr uint64_t kEvictSliceUs = 1000;
// And when memory is over the limit by a sixteenth: as long as the commands of a turn, or those that write
// would run away from it.
constexpr uint64_t kEvictSliceUsMax = 5000;
constexpr int kEvictionsPerLook = 16;  ///< at the clock
constexpr int kFruitlessSamplingsMax = 16;
constexpr size_t kRestampSegments = 16;

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

/// One slice. Returns true when there is more to do at once.
bool Keyspace::EvictSlice() {
  if (!OverLimit()) return false;
  const uint64_t max = options_.hot_bytes_max;
  const uint64_t us_max = hot_.used_bytes() - max > max / 16 ? kEvictSliceUsMax : kEvictSliceUs;
  const uint64_t began_us = clock_.MonotonicUs();
  for (int n = 1; OverLimit(); ++n) {
    if (n % kEvictionsPerLook == 0 && clock_.MonotonicUs() - began_us > us_max) return true;
    Object* object = ChooseVictim();
    if (object == nullptr) return false;  // all that was met is in use; again with the next turn
    hot_.Erase(object);
    ++stats_.demoted_objects;
  }
  return false;
}

bool Keyspace::MayLeave(const Object* object) const {
  return object->live() && object->pins == 0 && !object->dirty();
}

/// Sampled eviction, as Redis does it: among a few random objects, and the best that earlier samplings have
/// met, the one that the policy likes least. nullptr: there was none that may leave. Demotion loses nothing,
/// so a key that the policy would not delete may leave RAM, after those it would.
Object* Keyspace::ChooseVictim() {
  const bool pool = options_.eviction.pool && !eviction_.random();
  if (!pool) eviction_pool_.Clear();
  for (int tries = 0; tries < kFruitlessSamplingsMax; ++tries) {
    for (int i = 0; i < options_.eviction.samples; ++i) {
      Object* object = hot_.Sample(random_());
      if (object == nullptr) return nullptr;
      if (!MayLeave(object)) continue;
      const uint64_t score = eviction_.Score(object, random_());
      if (eviction_pool_.Wants(score)) eviction_pool_.Offer(hot_.NoteOf(object), score);
    }
    while (!eviction_pool_.empty()) {
      const EvictionPool::Entry best = eviction_pool_.TakeBest();
      Object* object = hot_.Find(best.note);
      if (object == nullptr || !MayLeave(object)) continue;
      // A score that has fallen: the object was used since it came into the pool.
      if (pool && eviction_.Score(object, 0) < best.score) continue;
      return object;
    }
  }
  return nullptr;
}

}  // namespace thermocline
