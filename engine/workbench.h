#pragma once

#include <cstddef>
#include <vector>

#include "engine/object.h"

namespace thermocline {

/// The packed collections that have ObjectRows, in a ring. Those that do not fit any more leave it by CLOCK
/// (F. Corbato, "A paging experiment with the Multics system", 1968): a hand goes round and takes the first
/// one that was not used again since it came by. Owned by the hot tier, which keeps it up to date.
class Workbench {
 public:
  void Add(Object* object) {
    object->rows->bench_place = static_cast<uint32_t>(ring_.size());
    object->used_again = false;
    ring_.push_back(object);
  }
  void Remove(const Object* object) {
    const uint32_t place = object->rows->bench_place;
    object->rows->bench_place = kNoPlace;
    ring_[place] = ring_.back();
    ring_.pop_back();
    if (place < ring_.size()) ring_[place]->rows->bench_place = place;
  }
  /// The rows of the one at `place` have moved to another object.
  void Replace(uint32_t place, Object* object) { ring_[place] = object; }

  size_t size() const { return ring_.size(); }

  /// The next one to be put to rest when there are more than `places`; nullptr: there are not, or those that
  /// the hand met are all in use: try again later.
  Object* Excess(size_t places) {
    // Bounded, for the sake of the commands that wait. The bits that it clears are gained for the next time.
    constexpr int kLooks = 256;
    // Objects and rows are anywhere in memory; they are fetched while those before them are at work.
    constexpr size_t kAhead = 4;
    for (int looks = 0; ring_.size() > places && looks < kLooks; ++looks) {
      if (hand_ >= ring_.size()) hand_ = 0;
      if (hand_ + 2 * kAhead < ring_.size()) {
        __builtin_prefetch(ring_[hand_ + 2 * kAhead]);
        const auto* rows = reinterpret_cast<const char*>(ring_[hand_ + kAhead]->rows);
        __builtin_prefetch(rows);
        __builtin_prefetch(rows + 64);
      }
      // Who takes its place in the ring is the one that came last: its turn is after all others.
      Object* object = ring_[hand_++];
      if (object->dirty() || object->pins > 0) continue;
      if (!object->used_again) return object;
      object->used_again = false;
    }
    return nullptr;
  }

 private:
  std::vector<Object*> ring_;
  size_t hand_ = 0;
};

}  // namespace thermocline
