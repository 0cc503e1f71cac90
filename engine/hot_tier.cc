#include "engine/hot_tier.h"

#include <malloc.h>
#include <xxhash.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>

namespace thermocline {

namespace {

// 250 slots and the header fill two 1 KiB size classes; a split moves at most 200 objects.
constexpr uint32_t kSlots = 250;
constexpr uint32_t kSlotsFull = 200;
// Rows that take more are not freed in one go on the keyspace thread: about a millisecond's work.
constexpr size_t kFreeBytesMax = 4 << 20;
constexpr uint64_t kPointerMask = (uint64_t{1} << 48) - 1;

size_t Allocated(const void* memory) {
  return memory == nullptr ? 0 : malloc_usable_size(const_cast<void*>(memory));
}

void* MustAllocate(void* old, size_t size) {
  void* memory = std::realloc(old, size);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

// The hash is used in parts: the top bits choose the segment, the low 16 the home slot, the next 8 the tag.
uint32_t HomeOf(uint64_t hash) { return static_cast<uint32_t>(((hash & 0xffff) * kSlots) >> 16); }
uint64_t TagOf(uint64_t hash) { return (hash >> 16) & 0xff; }
uint64_t MakeSlot(const Object* object, uint32_t home, uint64_t tag) {
  return reinterpret_cast<uint64_t>(object) | static_cast<uint64_t>(home) << 48 | tag << 56;
}
Object* ObjectOf(uint64_t slot) { return reinterpret_cast<Object*>(slot & kPointerMask); }
uint32_t HomeOfSlot(uint64_t slot) { return (slot >> 48) & 0xff; }
uint32_t NextSlot(uint32_t i) { return i + 1 == kSlots ? 0 : i + 1; }

}  // namespace

struct HotTier::Segment {
  uint64_t slots[kSlots] = {};  ///< 0: empty
  uint32_t count = 0;
  uint32_t depth = 0;  ///< how many top bits of the hash all objects of the segment share
};

HotTier::HotTier(uint64_t seed) : seed_(seed) {
  all_segments_.push_back(new Segment());
  directory_.push_back(all_segments_.front());
  table_bytes_ = sizeof(Segment);
}

HotTier::~HotTier() {
  for (size_t i = 0; i < all_segments_.size(); ++i) {
    VisitSegment(i, [this](Object* object) {
      FreeValue(object);
      object->~Object();
      std::free(object);
    });
  }
  for (Segment* segment : all_segments_) delete segment;
}

uint64_t HotTier::Hash(uint64_t seed, uint16_t db, std::string_view key) {
  return XXH3_64bits_withSeed(key.data(), key.size(), seed + db * 0x9e3779b97f4a7c15ULL);
}

HotTier::Segment* HotTier::SegmentOf(uint64_t hash) const {
  return directory_[depth_ == 0 ? 0 : hash >> (64 - depth_)];
}

Object* HotTier::Find(uint16_t db, std::string_view key) const {
  const uint64_t hash = Hash(seed_, db, key);
  const Segment* segment = SegmentOf(hash);
  const uint64_t wanted = MakeSlot(nullptr, HomeOf(hash), TagOf(hash));
  for (uint32_t i = HomeOf(hash); segment->slots[i] != 0; i = NextSlot(i)) {
    if ((segment->slots[i] & ~kPointerMask) != wanted) continue;
    Object* object = ObjectOf(segment->slots[i]);
    if (object->db == db && object->key() == key) return object;
  }
  return nullptr;
}

Object* HotTier::Find(const Note& note) const {
  const Segment* segment = SegmentOf(note.hash);
  const uint64_t wanted = MakeSlot(note.object, HomeOf(note.hash), TagOf(note.hash));
  for (uint32_t i = HomeOf(note.hash); segment->slots[i] != 0; i = NextSlot(i)) {
    if (segment->slots[i] == wanted) return note.object;
  }
  return nullptr;
}

void HotTier::Prefetch(uint16_t db, std::span<const KeyHint> hints) const {
  struct Probe {
    const Segment* segment;
    uint64_t wanted;
    uint32_t home;
    const Object* object;
  };
  Probe probes[kPrefetchMax];
  const size_t n = std::min(hints.size(), kPrefetchMax);
  for (size_t i = 0; i < n; ++i) {
    const uint64_t hash = Hash(seed_, db, hints[i].key);
    probes[i] = {SegmentOf(hash), MakeSlot(nullptr, HomeOf(hash), TagOf(hash)), HomeOf(hash), nullptr};
    __builtin_prefetch(&probes[i].segment->slots[probes[i].home]);
  }
  for (size_t i = 0; i < n; ++i) {
    Probe& probe = probes[i];
    for (uint32_t slot = probe.home; probe.segment->slots[slot] != 0; slot = NextSlot(slot)) {
      if ((probe.segment->slots[slot] & ~kPointerMask) != probe.wanted) continue;
      probe.object = ObjectOf(probe.segment->slots[slot]);
      __builtin_prefetch(probe.object);
      break;
    }
  }
  bool rows = false;
  for (size_t i = 0; i < n; ++i) {
    if (probes[i].object == nullptr || !probes[i].object->live()) continue;
    const Object* object = probes[i].object;
    __builtin_prefetch(object->value);
    rows |= object->has_rows;
    // Who unpacks it needs all lines.
    for (size_t at = 64; object->at_rest && at < object->value_size; at += 64) {
      __builtin_prefetch(object->value + at);
    }
  }
  for (size_t i = 0; rows && i < n; ++i) {
    const Object* object = probes[i].object;
    if (object == nullptr || !object->live() || !object->has_rows) continue;
    // Where a member stands among a command's words. A list's elements are not found by them.
    const bool scored = object->type == ObjectType::kSortedSet && !hints[i].third.empty();
    if (scored || object->type == ObjectType::kHash || object->type == ObjectType::kSet) {
      object->rows->fields.Prefetch(scored ? hints[i].third : hints[i].second);
    }
  }
}

Object* HotTier::Insert(uint16_t db, std::string_view key) {
  const uint64_t hash = Hash(seed_, db, key);
  while (SegmentOf(hash)->count >= kSlotsFull) Split(hash);
  Segment* segment = SegmentOf(hash);
  auto* object = new (MustAllocate(nullptr, sizeof(Object) + key.size())) Object();
  object->db = db;
  object->key_size = static_cast<uint32_t>(key.size());
  std::memcpy(reinterpret_cast<char*>(object + 1), key.data(), key.size());
  uint32_t i = HomeOf(hash);
  while (segment->slots[i] != 0) i = NextSlot(i);
  segment->slots[i] = MakeSlot(object, HomeOf(hash), TagOf(hash));
  ++segment->count;
  ++object_count_;
  object_bytes_ += Allocated(object);
  return object;
}

void HotTier::Erase(Object* object) {
  CHECK(object->pins == 0 && !object->dirty() && object->state != Object::State::kLoading);
  Become(object, Object::State::kCold);
  const uint64_t hash = Hash(seed_, object->db, object->key());
  Segment* segment = SegmentOf(hash);
  uint32_t hole = HomeOf(hash);
  while (ObjectOf(segment->slots[hole]) != object) {
    CHECK(segment->slots[hole] != 0);
    hole = NextSlot(hole);
  }
  // Close the hole: move back every following slot that may stand there, so that probing needs no tombstones.
  for (uint32_t i = NextSlot(hole); segment->slots[i] != 0; i = NextSlot(i)) {
    const uint32_t home = HomeOfSlot(segment->slots[i]);
    const uint32_t distance_home = (i + kSlots - home) % kSlots;
    const uint32_t distance_hole = (i + kSlots - hole) % kSlots;
    if (distance_home >= distance_hole) {
      segment->slots[hole] = segment->slots[i];
      hole = i;
    }
  }
  segment->slots[hole] = 0;
  --segment->count;
  --object_count_;
  object_bytes_ -= Allocated(object);
  object->~Object();
  std::free(object);
}

void HotTier::Split(uint64_t hash) {
  Segment* old = SegmentOf(hash);
  if (old->depth == static_cast<uint32_t>(depth_)) {
    std::vector<Segment*> doubled(directory_.size() * 2);
    for (size_t i = 0; i < doubled.size(); ++i) doubled[i] = directory_[i / 2];
    directory_ = std::move(doubled);
    ++depth_;
  }
  auto* fresh = new Segment();
  fresh->depth = ++old->depth;
  all_segments_.push_back(fresh);
  // Of the directory entries that pointed to `old`, the upper half now points to `fresh`.
  const uint64_t bit = uint64_t{1} << (64 - old->depth);
  const size_t span = size_t{1} << (static_cast<uint32_t>(depth_) - old->depth);
  const size_t first = (hash >> (64 - old->depth) | 1) << (static_cast<uint32_t>(depth_) - old->depth);
  for (size_t i = 0; i < span; ++i) directory_[first + i] = fresh;

  uint64_t slots[kSlots];
  std::memcpy(slots, old->slots, sizeof(slots));
  std::memset(old->slots, 0, sizeof(old->slots));
  old->count = 0;
  for (const uint64_t slot : slots) {
    if (slot == 0) continue;
    Object* object = ObjectOf(slot);
    Segment* to = Hash(seed_, object->db, object->key()) & bit ? fresh : old;
    uint32_t i = HomeOfSlot(slot);
    while (to->slots[i] != 0) i = NextSlot(i);
    to->slots[i] = slot;
    ++to->count;
  }
  table_bytes_ = all_segments_.size() * sizeof(Segment) + directory_.size() * sizeof(Segment*);
}

namespace {

size_t RowBytes(const ObjectRows* rows) {
  return Allocated(rows) + rows->fields.memory_bytes() + rows->scores.memory_bytes();
}

}  // namespace

size_t HotTier::ObjectBytes(const Object* object) const {
  size_t bytes = Allocated(object);
  if (object->live()) bytes += object->has_rows ? RowBytes(object->rows) : Allocated(object->value);
  return bytes;
}

void HotTier::SetState(Object* object, Object::State state) {
  if (object->live() != (state == Object::State::kLive)) {
    if (object->db >= live_.size()) live_.resize(object->db + 1u);
    live_[object->db] += state == Object::State::kLive ? 1 : uint64_t(-1);
  }
  object->state = state;
}

void HotTier::FreeValue(Object* object) {
  if (object->live()) {
    if (object->has_rows) {
      const size_t bytes = object->rows->accounted_bytes;
      SetAccounted(object, 0);
      if (object->rows->bench_place != kNoPlace) workbench_.Remove(object);
      std::unique_ptr<ObjectRows> rows(object->rows);
      // Its memory leaves the account now, though it is freed a moment later.
      if (bytes > kFreeBytesMax) dropped_.push_back(std::move(rows));
    } else {
      object_bytes_ -= Allocated(object->value);
      std::free(object->value);
    }
  }
  object->value = nullptr;
  object->value_size = 0;
  object->has_rows = false;
  object->at_rest = false;
}

void HotTier::Become(Object* object, Object::State state) {
  FreeValue(object);
  SetState(object, state);
  object->expire_at_ms = 0;
  object->encoding = Encoding::kAuto;
}

void HotTier::BecomeLoading(Object* object, Load* load) {
  Become(object, Object::State::kLoading);
  object->load = load;
}

/// Makes `value` so large; what was there stays.
void HotTier::Allot(Object* object, size_t size) {
  object_bytes_ -= Allocated(object->value);
  // realloc inside one size class gives the same block back, so growth by appending is cheap without slack.
  if (size == 0) {
    std::free(object->value);
    object->value = nullptr;
  } else {
    object->value = static_cast<char*>(MustAllocate(object->value, size));
  }
  object->value_size = static_cast<uint32_t>(size);
  object_bytes_ += Allocated(object->value);
}

char* HotTier::ResizeString(Object* object, size_t size) {
  if (!object->live() || object->type != ObjectType::kString || object->has_rows) FreeValue(object);
  Allot(object, size);
  object->type = ObjectType::kString;
  SetState(object, Object::State::kLive);
  return object->value;
}

void HotTier::BecomeString(Object* object, std::string_view value) {
  char* to = ResizeString(object, value.size());
  if (!value.empty()) std::memcpy(to, value.data(), value.size());
}

void HotTier::BecomeRows(Object* object, ObjectType type, std::unique_ptr<ObjectRows> rows) {
  FreeValue(object);
  object->rows = rows.release();
  object->has_rows = true;
  object->type = type;
  SetState(object, Object::State::kLive);
  Recount(object);
}

void HotTier::BecomeAtRest(Object* object, ObjectType type, std::string_view packed) {
  FreeValue(object);
  Allot(object, packed.size());
  std::memcpy(object->value, packed.data(), packed.size());
  object->at_rest = true;
  object->type = type;
  SetState(object, Object::State::kLive);
}

void HotTier::Splice(Object* object, size_t at, size_t size, std::string_view bytes) {
  const size_t old = object->value_size;
  CHECK(object->at_rest && at + size <= old);
  const size_t next = old - size + bytes.size();
  if (next > old) Allot(object, next);
  std::memmove(object->value + at + bytes.size(), object->value + at + size, old - at - size);
  if (!bytes.empty()) std::memcpy(object->value + at, bytes.data(), bytes.size());
  if (next < old) Allot(object, next);
}

void HotTier::Recount(Object* object) {
  if (!object->live() || !object->has_rows) return;
  const bool on_bench = object->rows->bench_place != kNoPlace;
  if (object->rows->id == 0 && !on_bench) workbench_.Add(object);
  if (object->rows->id != 0 && on_bench) workbench_.Remove(object);
  SetAccounted(object, RowBytes(object->rows));
}

/// The rows take so many bytes now.
void HotTier::SetAccounted(Object* object, size_t bytes) {
  ObjectRows& rows = *object->rows;
  object_bytes_ += bytes - rows.accounted_bytes;
  if (rows.large_place != kNoPlace) large_bytes_ -= rows.accounted_bytes;
  rows.accounted_bytes = bytes;
  const bool large = bytes > kLargeBytes && rows.id != 0;
  if (large) large_bytes_ += bytes;
  if (large == (rows.large_place != kNoPlace)) return;
  if (large) {
    rows.large_place = static_cast<uint32_t>(large_.size());
    large_.push_back(object);
  } else {
    large_.back()->rows->large_place = rows.large_place;
    large_[rows.large_place] = large_.back();
    large_.pop_back();
    rows.large_place = kNoPlace;
  }
}

Object* HotTier::SampleLarge(uint64_t random) const {
  size_t at = random % large_bytes_;
  for (Object* object : large_) {
    if (at < object->rows->accounted_bytes) return object;
    at -= object->rows->accounted_bytes;
  }
  return large_.back();
}

void HotTier::MoveValue(Object* from, Object* to) {
  CHECK(from->live() && from != to);
  FreeValue(to);
  to->value = from->value;  // the pointer of either kind
  to->value_size = from->value_size;
  to->has_rows = from->has_rows;
  to->at_rest = from->at_rest;
  to->used_again = from->used_again;
  if (to->has_rows && to->rows->bench_place != kNoPlace) workbench_.Replace(to->rows->bench_place, to);
  if (to->has_rows && to->rows->large_place != kNoPlace) large_[to->rows->large_place] = to;
  to->type = from->type;
  to->encoding = from->encoding;
  to->expire_at_ms = from->expire_at_ms;
  SetState(to, Object::State::kLive);
  // The bytes stay in the account; only the owner changes.
  SetState(from, Object::State::kAbsent);
  from->value = nullptr;
  from->value_size = 0;
  from->has_rows = false;
  from->at_rest = false;
  from->expire_at_ms = 0;
}

Object* HotTier::Sample(uint64_t random) const {
  if (object_count_ == 0) return nullptr;
  // A random segment and a random slot in it: segments are about evenly full, so the bias is small.
  for (int tries = 0; tries < 64; ++tries) {
    const Segment* segment = directory_[(random >> 32) % directory_.size()];
    const uint64_t slot = segment->slots[(random & 0xffffffff) % kSlots];
    if (slot != 0) return ObjectOf(slot);
    random = random * 6364136223846793005ULL + 1442695040888963407ULL;
    random ^= random >> 29;
  }
  // A nearly empty table (after most keys were removed): walk to the next object.
  for (size_t i = (random >> 32) % directory_.size();; i = (i + 1) % directory_.size()) {
    if (directory_[i]->count == 0) continue;
    for (uint32_t slot = static_cast<uint32_t>(random) % kSlots;; slot = NextSlot(slot)) {
      if (directory_[i]->slots[slot] != 0) return ObjectOf(directory_[i]->slots[slot]);
    }
  }
}

void HotTier::Collect(size_t segment, std::vector<Object*>* objects) const {
  const Segment* s = all_segments_[segment];
  objects->reserve(s->count);
  for (const uint64_t slot : s->slots) {
    if (slot != 0) objects->push_back(ObjectOf(slot));
  }
}

}  // namespace thermocline
