#include "engine/admission.h"

#include <algorithm>
#include <bit>

namespace thermocline {

namespace {

constexpr size_t kGhostsMin = 1024;

uint16_t Fingerprint(uint64_t hash) { return static_cast<uint16_t>(hash | 1); }

}  // namespace

Admission::Waiting Admission::MakeWaiting(Object* object, const HotTier::Note& note, uint64_t number) const {
  if (object->live() && object->has_rows) object->rows->admission_number = number;
  return {note, hot_.ObjectBytes(object)};
}

void Admission::PushLast(Object* object, const HotTier::Note& note) {
  queue_.push_back(MakeWaiting(object, note, first_number_ + queue_.size()));
  bytes_ += queue_.back().bytes;
}

void Admission::PushFirst(Object* object, const HotTier::Note& note) {
  queue_.push_front(MakeWaiting(object, note, --first_number_));
  bytes_ += queue_.front().bytes;
}

Object* Admission::PopFirst(HotTier::Note* note) {
  *note = queue_.front().note;
  bytes_ -= queue_.front().bytes;
  queue_.pop_front();
  ++first_number_;
  return hot_.Find(*note);
}

Object* Admission::PopLast(HotTier::Note* note) {
  *note = queue_.back().note;
  bytes_ -= queue_.back().bytes;
  queue_.pop_back();
  return hot_.Find(*note);
}

void Admission::Recount(const Object* object) {
  const uint64_t index = object->rows->admission_number - first_number_;
  if (index >= queue_.size()) return;
  Waiting& waiting = queue_[index];
  bytes_ -= waiting.bytes;
  waiting.bytes = hot_.ObjectBytes(object);
  bytes_ += waiting.bytes;
}

void Admission::Remember(uint64_t hash, size_t bytes_max) {
  const size_t fit = std::bit_floor(std::max(bytes_max / sizeof(uint16_t), kGhostsMin));
  const size_t wanted = std::min(fit, std::bit_ceil(std::max<size_t>(hot_.object_count(), kGhostsMin)));
  if (wanted > ghosts_.size() || ghosts_.size() > fit) {
    ghosts_.assign(wanted, 0);
    ghost_shift_ = 64 - std::countr_zero(wanted);
  }
  ghosts_[GhostSlot(hash)] = Fingerprint(hash);
}

bool Admission::Recall(uint64_t hash) {
  if (ghosts_.empty()) return false;
  uint16_t& ghost = ghosts_[GhostSlot(hash)];
  if (ghost != Fingerprint(hash)) return false;
  ghost = 0;
  return true;
}

}  // namespace thermocline
