#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/object.h"
#include "engine/workbench.h"

namespace thermocline {

/// A key that a command will ask for soon, and what may be a row of it: the words that follow the key.
struct KeyHint {
  std::string_view key;
  std::string_view second, third;
};

/// The keys in RAM: a hash table from (physical db, key) to Object, and the account of the bytes they take.
///
/// The table is an extendible hash: a directory of segments of a fixed number of slots, of which one is split
/// when it is full. So growing never stops the world, and an empty slot costs eight bytes. (R. Fagin et al.,
/// "Extendible hashing", TODS 1979.) Inside a segment: linear probing; a slot is a 48-bit pointer, its home
/// position in the segment, and eight more bits of the hash, so that probing rarely touches a wrong object.
///
/// Owned by the keyspace thread.
class HotTier {
 public:
  /// `seed` keeps clients from choosing keys that collide.
  explicit HotTier(uint64_t seed);
  ~HotTier();
  HotTier(const HotTier&) = delete;
  HotTier& operator=(const HotTier&) = delete;

  /// The object of a key in whatever state, or nullptr.
  Object* Find(uint16_t db, std::string_view key) const;
  /// Brings what Find will need for these keys into the CPU's cache, all at once instead of one after the
  /// other: a look-up of a cold line costs as much as a short command. Of large collections also the leaves
  /// of the rows. Up to kPrefetchMax keys.
  static constexpr size_t kPrefetchMax = 32;
  void Prefetch(uint16_t db, std::span<const KeyHint> hints) const;
  /// A new object in state kCold. REQUIRES: Find gave nullptr.
  Object* Insert(uint16_t db, std::string_view key);
  /// Frees the object. REQUIRES: no pins, not dirty, not loading.
  void Erase(Object* object);

  /// Changes what the object holds; the counts and the account of bytes follow. An old value is freed.
  void BecomeString(Object* object, std::string_view value);
  /// As BecomeString with `size` bytes that the caller fills in: the first bytes of an old inline value stay.
  char* ResizeString(Object* object, size_t size);
  void BecomeRows(Object* object, ObjectType type, std::unique_ptr<ObjectRows> rows);
  /// `packed`: what lies behind the head of its metadata value. Expiry and encoding stay.
  void BecomeAtRest(Object* object, ObjectType type, std::string_view packed);
  /// Puts `bytes` in the place of `size` bytes at `at` of an object at rest.
  void Splice(Object* object, size_t at, size_t size, std::string_view bytes);
  void BecomeAbsent(Object* object) { Become(object, Object::State::kAbsent); }
  void BecomeCold(Object* object) { Become(object, Object::State::kCold); }
  void BecomeLoading(Object* object, Load* load);
  /// The rows were changed in place, or packed or spread: takes their size into the account again.
  void Recount(Object* object);
  /// Takes the value out of `from` (which becomes absent) into `to` (which loses what it had). For RENAME and
  /// MOVE.
  void MoveValue(Object* from, Object* to);

  /// Packed collections that are not at rest.
  const Workbench& workbench() const { return workbench_; }
  /// See Workbench::Excess. The caller puts what it gets to rest.
  Object* ExcessOnBench(size_t places) { return workbench_.Excess(places); }

  /// Rows that were let go and would take long to free: the caller frees them wherever it likes.
  std::vector<std::unique_ptr<ObjectRows>> TakeDropped() { return std::exchange(dropped_, {}); }

  /// Objects with rows that take more than kLargeBytes: of these single rows leave RAM.
  static constexpr size_t kLargeBytes = 256 << 10;
  static bool IsLarge(const Object* object) {
    return object->live() && object->has_rows && object->rows->large_place != kNoPlace;
  }
  size_t large_bytes() const { return large_bytes_; }
  /// One of them, each with the chance that its size gives it. REQUIRES large_bytes() > 0.
  Object* SampleLarge(uint64_t random) const;

  /// Live objects of a physical database that are in RAM.
  uint64_t live_count(uint16_t db) const { return db < live_.size() ? live_[db] : 0; }
  uint64_t object_count() const { return object_count_; }
  /// Bytes of objects, keys, values, rows and of the table, as the allocator counts them.
  size_t used_bytes() const { return object_bytes_ + table_bytes_; }
  /// Bytes of one object, its key and value.
  size_t ObjectBytes(const Object* object) const;

  /// A random object (any state), or nullptr when empty. Every object has nearly the same chance.
  Object* Sample(uint64_t random) const;

  /// A note of an object that may be freed before anybody comes back to it.
  struct Note {
    Object* object = nullptr;
    uint64_t hash = 0;
  };
  Note NoteOf(Object* object) const { return {object, Hash(seed_, object->db, object->key())}; }
  /// The object, if it is still there; nullptr: it was freed. (Another one at its address with the same home
  /// and tag, once in 2^24 times that an address is used again, is taken for it.)
  Object* Find(const Note& note) const;

  /// Visits the objects of the segment number `segment` (0 .. segments()-1); `visit` may erase the one it is
  /// given. For slices of work over everything; objects may move between segments only by a split, forwards.
  size_t segments() const { return all_segments_.size(); }
  template <typename F>
  void VisitSegment(size_t segment, F&& visit) {
    std::vector<Object*> objects;
    Collect(segment, &objects);
    for (Object* object : objects) visit(object);
  }

 private:
  struct Segment;

  static uint64_t Hash(uint64_t seed, uint16_t db, std::string_view key);
  Segment* SegmentOf(uint64_t hash) const;
  void Split(uint64_t hash);
  void Become(Object* object, Object::State state);
  void FreeValue(Object* object);
  void Collect(size_t segment, std::vector<Object*>* objects) const;
  void SetState(Object* object, Object::State state);
  void SetAccounted(Object* object, size_t bytes);
  void Allot(Object* object, size_t size);

  const uint64_t seed_;
  int depth_ = 0;  ///< directory_ has 2^depth_ entries, indexed by the top bits of the hash
  std::vector<Segment*> directory_;
  std::vector<Segment*> all_segments_;  ///< each once
  std::vector<uint64_t> live_;          ///< by physical database
  std::vector<std::unique_ptr<ObjectRows>> dropped_;
  Workbench workbench_;
  uint64_t object_count_ = 0;
  std::vector<Object*> large_;
  size_t large_bytes_ = 0;
  size_t object_bytes_ = 0;
  size_t table_bytes_ = 0;
};

}  // namespace thermocline
