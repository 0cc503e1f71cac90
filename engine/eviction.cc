#include "engine/eviction.h"

namespace thermocline {

namespace {

// A new key starts above zero, or it would leave before it had a chance to be used again (as in Redis).
constexpr uint32_t kLfuStart = 5;
constexpr uint64_t kCandidate = uint64_t{1} << 63;

}  // namespace

void Eviction::OnCreate(Object* object) const {
  object->access = lfu() ? minute_now_ << 8 | kLfuStart : lru_now_;
}

uint8_t Eviction::Frequency(const Object* object) const {
  const uint32_t counter = object->access & 0xff;
  if (options_.lfu_decay_minutes <= 0) return static_cast<uint8_t>(counter);
  const uint32_t idle_minutes = (minute_now_ - (object->access >> 8)) & 0xffffff;
  const uint32_t periods = idle_minutes / static_cast<uint32_t>(options_.lfu_decay_minutes);
  return static_cast<uint8_t>(periods >= counter ? 0 : counter - periods);
}

void Eviction::CountAccess(Object* object, uint64_t random) const {
  uint32_t counter = Frequency(object);
  if (counter < 255) {
    const double above = counter > kLfuStart ? counter - kLfuStart : 0;
    const double chance = 1.0 / (above * options_.lfu_log_factor + 1);
    if (static_cast<double>(random >> 11) * 0x1.0p-53 < chance) ++counter;
  }
  object->access = minute_now_ << 8 | counter;
}

bool Eviction::Candidate(const Object* object) const {
  if (options_.policy == EvictionPolicy::kNoEviction) return false;
  return !only_volatile() || object->expire_at_ms != 0;
}

uint64_t Eviction::Score(const Object* object, uint64_t random) const {
  const uint64_t by_use = lfu() ? 255u - Frequency(object) : IdleTenths(object);
  if (!Candidate(object)) return by_use;
  switch (options_.policy) {
    case EvictionPolicy::kVolatileTtl: return kCandidate | (kCandidate - 1 - object->expire_at_ms);
    case EvictionPolicy::kAllKeysRandom:
    case EvictionPolicy::kVolatileRandom: return kCandidate | random;
    default: return kCandidate | by_use;
  }
}

void EvictionPool::Offer(const HotTier::Note& note, uint64_t score) {
  size_t at = 0;
  while (at < count_ && entries_[at].note.object != note.object) ++at;
  if (at == count_) {
    if (!Wants(score)) return;
    if (count_ < kSize) {
      ++count_;
    } else {
      at = 0;  // in the place of the worst
    }
  }
  while (at > 0 && entries_[at - 1].score >= score) {
    entries_[at] = entries_[at - 1];
    --at;
  }
  while (at + 1 < count_ && entries_[at + 1].score < score) {
    entries_[at] = entries_[at + 1];
    ++at;
  }
  entries_[at] = {note, score};
}

}  // namespace thermocline
