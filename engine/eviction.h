#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "engine/hot_tier.h"
#include "engine/object.h"

namespace thermocline {

/// In the order in which Redis lists them.
enum class EvictionPolicy : uint8_t {
  kVolatileLru,
  kVolatileLfu,
  kVolatileRandom,
  kVolatileTtl,
  kAllKeysLru,
  kAllKeysLfu,
  kAllKeysRandom,
  kNoEviction,
};

/// What it means to evict: forget the copy in RAM, or delete the key as Redis does.
enum class EvictionAction : uint8_t { kDemote, kDelete };

struct EvictionOptions {
  EvictionPolicy policy = EvictionPolicy::kAllKeysLru;
  EvictionAction action = EvictionAction::kDemote;
  int samples = 5;
  int lfu_log_factor = 10;
  int lfu_decay_minutes = 1;
  // Off only to measure what they give:
  bool pool = true;       ///< choose among the best of earlier samplings too
  bool admission = true;  ///< what is used once leaves before all else (engine/admission.h)
};

/// Keeps `Object::access` and says which of two objects should leave first. LRU: the time of the last use in
/// tenths of a second. LFU: Redis's logarithmic counter in the low 8 bits and the minute of its last decay
/// above. The policies by expiry and by chance keep the time, too. The one place that knows policies: a
/// further policy is a case here.
class Eviction {
 public:
  explicit Eviction(const EvictionOptions& options) : options_(options) {}

  void SetOptions(const EvictionOptions& options) { options_ = options; }
  const EvictionOptions& options() const { return options_; }
  bool lfu() const {
    return options_.policy == EvictionPolicy::kAllKeysLfu || options_.policy == EvictionPolicy::kVolatileLfu;
  }

  /// The clock that accesses are stamped with; to be set once per turn.
  void SetNow(uint64_t now_ms) {
    lru_now_ = static_cast<uint32_t>(now_ms / 100);
    minute_now_ = static_cast<uint32_t>(now_ms / 60000) & 0xffffff;
  }
  void OnCreate(Object* object) const;
  void OnAccess(Object* object, uint64_t random) const {
    if (!lfu()) {
      object->access = lru_now_;
    } else {
      CountAccess(object, random);
    }
  }
  /// For OBJECT IDLETIME and FREQ.
  uint64_t IdleMs(const Object* object) const { return uint64_t{IdleTenths(object)} * 100; }
  uint8_t Frequency(const Object* object) const;

  /// May the policy evict this object at all? (volatile-*: only keys with an expiry)
  bool Candidate(const Object* object) const;
  /// volatile-*.
  bool only_volatile() const { return options_.policy <= EvictionPolicy::kVolatileTtl; }
  /// Whether it is chance that decides among the candidates.
  bool random() const {
    return options_.policy == EvictionPolicy::kAllKeysRandom ||
           options_.policy == EvictionPolicy::kVolatileRandom;
  }
  /// The larger, the sooner the object should leave. Candidates come first. Unless the policy is random, an
  /// object's score falls only when it was used or its expiry was changed.
  uint64_t Score(const Object* object, uint64_t random) const;

 private:
  /// 0 when the clock was set back since.
  uint32_t IdleTenths(const Object* object) const {
    const auto idle = static_cast<int32_t>(lru_now_ - object->access);
    return idle < 0 ? 0 : static_cast<uint32_t>(idle);
  }
  void CountAccess(Object* object, uint64_t random) const;

  EvictionOptions options_;
  uint32_t lru_now_ = 0;
  uint32_t minute_now_ = 0;
};

/// The best candidates that samplings have met and evictions have not taken yet, so that the next choice is
/// among more than a few random objects. (Redis's eviction pool: Salvatore Sanfilippo, "Random notes on
/// improving the Redis LRU algorithm", 2016.)
class EvictionPool {
 public:
  struct Entry {
    HotTier::Note note;
    uint64_t score = 0;
  };
  /// Keeps it if it is among the best. One that is there already gets its new score.
  void Offer(const HotTier::Note& note, uint64_t score);
  /// Whether an object of this score would be kept.
  bool Wants(uint64_t score) const { return count_ < kSize || score > entries_[0].score; }
  bool empty() const { return count_ == 0; }
  /// REQUIRES: not empty.
  Entry TakeBest() { return entries_[--count_]; }
  void Clear() { count_ = 0; }

 private:
  static constexpr size_t kSize = 16;
  std::array<Entry, kSize> entries_;  ///< by score, the best last
  size_t count_ = 0;
};

}  // namespace thermocline
