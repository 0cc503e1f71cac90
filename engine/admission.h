#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <vector>

#include "engine/hot_tier.h"
#include "engine/object.h"

namespace thermocline {

/// Who may stay in RAM. An object that was brought in, from disk or by the first write to its key, waits in a
/// queue, and leaves RAM at its end unless it was used again meanwhile. So what is used once, above all what
/// a client reads that goes through all keys, passes through a small part of the hot tier and never meets the
/// rest, among which the eviction policy chooses. A key that has left this way and comes back soon is used
/// again as well: it is remembered by a fingerprint and need not wait. (J. Yang et al., "FIFO queues are all
/// you need for cache eviction", SOSP 2023: their small queue and their ghosts. The eviction policy stands
/// where they have a second queue.)
///
/// A use of an admitted object costs nothing; of a waiting one, two bits. Who waits and who leaves when is
/// decided in memory_limit.cc. Owned by the keyspace thread.
class Admission {
 public:
  explicit Admission(HotTier& hot) : hot_(hot) {}

  /// A command uses a waiting object. Those that have waited for it to be read are its first use, however
  /// often they had to run.
  static void OnUse(Object* object) {
    if (object->pins == 0 && object->admission == Object::kBrought) {
      object->admission = Object::kUsedOnce;
    } else if (object->pins == 0) {
      object->admission = Object::kUsedAgain;
    } else if (object->admission == Object::kBrought) {
      object->admission = Object::kUsedOnce;
    }
  }

  // -- The queue. REQUIRES for all that is pushed: state not kAdmitted; what pops it gives it another state,
  // or pushes it again.

  void PushLast(Object* object, const HotTier::Note& note);
  void PushFirst(Object* object, const HotTier::Note& note);
  bool empty() const { return queue_.empty(); }
  size_t count() const { return queue_.size(); }
  /// What the waiting objects take.
  size_t bytes() const { return bytes_; }
  /// Takes the one that came first, or last. nullptr: it was freed meanwhile. REQUIRES: not empty.
  Object* PopFirst(HotTier::Note* note);
  Object* PopLast(HotTier::Note* note);
  /// A waiting collection has more or fewer rows in RAM now.
  void Recount(const Object* object);

  // -- The ghosts: keys that have left, as 16 bits of their hash in a table in which new ones overwrite old
  // ones.

  /// About as many are remembered as there are objects in RAM, in up to `bytes_max`.
  void Remember(uint64_t hash, size_t bytes_max);
  /// Whether the key has left of late; forgets it.
  bool Recall(uint64_t hash);
  size_t ghost_bytes() const { return ghosts_.size() * sizeof(uint16_t); }

 private:
  struct Waiting {
    HotTier::Note note;
    size_t bytes;
  };
  Waiting MakeWaiting(Object* object, const HotTier::Note& note, uint64_t number) const;
  size_t GhostSlot(uint64_t hash) const { return (hash * 0x9e3779b97f4a7c15ULL) >> ghost_shift_; }

  HotTier& hot_;
  std::deque<Waiting> queue_;
  uint64_t first_number_ = uint64_t{1} << 62;  ///< of queue_.front(); the next one's is one more
  size_t bytes_ = 0;
  std::vector<uint16_t> ghosts_;  ///< 0: none
  int ghost_shift_ = 0;
};

}  // namespace thermocline
