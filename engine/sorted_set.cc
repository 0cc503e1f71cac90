#include "engine/sorted_set.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "engine/keyspace.h"
#include "engine/row_source.h"

namespace thermocline {

namespace {

using SortableBytes = std::array<char, ScoreKey::kScoreBytes>;

SortableBytes BytesOf(uint64_t sortable) {
  SortableBytes bytes;
  StoreBig64(bytes.data(), sortable);
  return bytes;
}
std::string_view ToView(const SortableBytes& bytes) { return {bytes.data(), bytes.size()}; }

/// Up to so many rows next to each other are removed one by one, as Txn::EraseRange would do after a search.
constexpr size_t kEraseByKeyMax = 64;

/// Whether Redis would still keep the set in its compact form after a member more.
bool StaysCompact(Txn& txn, uint64_t count, size_t member_bytes) {
  const CompactLimits& limits = txn.keyspace().options().compact;
  return count <= static_cast<uint64_t>(limits.sorted_set_entries) &&
         member_bytes <= static_cast<uint64_t>(limits.sorted_set_value_bytes);
}

}  // namespace

std::optional<double> ScoreOf(Txn& txn, Object* object, std::string_view member) {
  const std::optional<std::string_view> value = txn.Get(object, RowSpace::kFields, member);
  if (!value.has_value()) return std::nullopt;
  if (txn.Lingers(object, member, *value)) return std::nullopt;
  return DecodeScore(*value);
}

void PrefetchScores(Txn& txn, Object* object, std::span<const std::string_view> members) {
  if (object->at_rest) return;
  if (!object->rows->fields.complete()) txn.PrefetchRows(object, RowSpace::kFields, members);
  if (!object->rows->lingering || object->rows->scores.complete()) return;
  std::vector<std::string> keys;
  for (const std::string_view member : members) {
    if (const auto value = txn.Get(object, RowSpace::kFields, member))
      keys.push_back(std::string(*value).append(member));
  }
  const std::vector<std::string_view> views(keys.begin(), keys.end());
  txn.PrefetchRows(object, RowSpace::kScores, views);
}

// ---- Bounds ----

Txn::Cursor FirstMember(Txn& txn, Object* object) {
  return txn.SeekForward(object, RowSpace::kScores, ToView(BytesOf(LowerBound(object))));
}

Txn::Cursor LastMember(Txn& txn, Object* object) {
  return txn.SeekBackward(object, RowSpace::kScores, std::nullopt);
}

// ---- Changes ----

SortedSetEdit::SortedSetEdit(Txn& txn, Object* object) : txn_(txn), object_(object), body_(txn.body(object)) {
  // So that what is first and what is last in RAM is known to be that, and what is left is never met.
  if (object->at_rest || object->rows->scores.complete()) return;
  const RowsOfSpace rows = RowsOf(object, RowSpace::kScores);
  if (!rows.from.empty()) txn.KnowEmpty(object, RowSpace::kScores, {}, rows.from);
  if (rows.to.has_value()) txn.KnowEmpty(object, RowSpace::kScores, *rows.to, std::nullopt);
}

/// A score has come. Bounds that are not known stay so.
void SortedSetEdit::Widen(uint64_t sortable) {
  if (body_.aux0 != 0) body_.aux0 = std::min(body_.aux0, sortable);
  if (body_.aux1 != 0) body_.aux1 = std::min(body_.aux1, ~sortable);
}

/// Writes both rows of a member.
void SortedSetEdit::PutScore(std::string_view member, const ScoreKey& key) {
  const uint64_t sortable = SortableOf(key.view());
  if (body_.before > 0 && sortable < body_.aux0) {
    // To erase so few one by one would have been better.
    if (body_.before < kEraseByKeyMax) object_->rows->leave_none = kLeftScoresMax;
    EraseLeft();
  }
  txn_.Put(object_, RowSpace::kFields, member, key.view().substr(0, ScoreKey::kScoreBytes));
  txn_.Put(object_, RowSpace::kScores, key.view(), {});
}

void SortedSetEdit::EraseLeft() {
  txn_.EraseLeft(object_, RowSpace::kScores, {}, ToView(BytesOf(body_.aux0)), body_.before);
  body_.before = 0;
}

/// A row has gone. When it was the first or the last, as far as that is known in RAM, the bounds follow.
void SortedSetEdit::Tighten(std::string_view erased_key) {
  if (object_->rows->id == 0) return;  // a packed set needs none
  using At = RowTree::Cursor::At;
  const RowTree& tree = object_->rows->scores;
  RowTree::Cursor row = tree.SeekForward(erased_key);
  if (row.at() == At::kRow) {
    const uint64_t sortable = SortableOf(row.key());
    row.Previous();
    if (row.at() == At::kEnd) body_.aux0 = sortable;
  } else if (row.at() == At::kEnd) {
    row = tree.SeekBackward(erased_key);
    body_.aux1 = ~(row.at() == At::kRow ? SortableOf(row.key()) : SortableOf(erased_key));
  }
}

/// When the rows from `first_key` to `last_key` are the first ones, and the one after them is in RAM: its
/// score.
std::optional<uint64_t> SortedSetEdit::NextFirst(std::string_view first_key, std::string_view last_key) {
  using At = RowTree::Cursor::At;
  const RowTree& tree = object_->rows->scores;
  RowTree::Cursor row = tree.SeekForward(last_key);
  if (row.at() != At::kRow || row.key() != last_key) return std::nullopt;
  row.Next();
  if (row.at() != At::kRow) return std::nullopt;
  const ScoredMember next = DecodeScoreKey(row.key());
  const uint64_t sortable = SortableOf(row.key());
  row = tree.SeekForward(first_key);
  row.Previous();
  if (row.at() != At::kEnd) return std::nullopt;
  // A queue's next member will leave soon. Its row in the fields space can be anywhere in memory: that wait
  // is most of what taking a member out costs.
  object_->rows->fields.Prefetch(next.member);
  return sortable;
}

/// Takes rows that lie next to each other out of the scores space; those of the fields space have gone.
template <typename Key>
void SortedSetEdit::EraseScores(std::span<const Key> keys) {
  const std::string_view first = keys.front(), last = keys.back();
  body_.count -= keys.size();
  std::optional<uint64_t> bound;
  if (object_->rows->id != 0) bound = NextFirst(first, last);  // a packed set needs no bounds
  if (bound.has_value()) body_.aux0 = *bound;
  size_t left = 0;
  if (uint32_t& none = object_->rows->leave_none; none > 0) {
    none -= static_cast<uint32_t>(std::min<uint64_t>(none, keys.size()));
  } else if (bound.has_value() && body_.count >= kLeftScoresMax) {
    left = keys.size();
    while (left > 0 && SortableOf(keys[left - 1]) == *bound) --left;
  }
  if (left > 0) {
    const std::string end(left < keys.size() ? std::string(keys[left]) : std::string(last) + '\0');
    txn_.LeaveRange(object_, RowSpace::kScores, first, end, left);
    body_.before += left;
  }
  const std::span<const Key> erased = keys.subspan(left);
  if (erased.size() > kEraseByKeyMax) {
    txn_.EraseRange(object_, RowSpace::kScores, erased.front(), std::string(last) + '\0', erased.size());
  } else {
    for (const Key& key : erased) txn_.Erase(object_, RowSpace::kScores, key);
  }
  if (!bound.has_value()) Tighten(last);
}

void SortedSetEdit::AddNew(std::string_view member, double score) {
  ++body_.count;
  if (object_->encoding == Encoding::kAuto && !StaysCompact(txn_, body_.count, member.size())) {
    txn_.SetEncoding(object_, Encoding::kRaw);
  }
  const ScoreKey key(score, member);
  PutScore(member, key);
  Widen(SortableOf(key.view()));
}

AddOutcome SortedSetEdit::Add(std::string_view member, const AddOptions& options, double* score) {
  const std::optional<double> old = ScoreOf(txn_, object_, member);
  if (!old.has_value()) {
    if (options.only_existing) return AddOutcome::kNothing;
    AddNew(member, *score);
    return AddOutcome::kAdded;
  }
  if (options.only_new) return AddOutcome::kNothing;
  const double wanted = options.increment ? *score + *old : *score;
  if (std::isnan(wanted)) return AddOutcome::kNan;
  if ((options.only_less && wanted >= *old) || (options.only_greater && wanted <= *old)) {
    return AddOutcome::kNothing;
  }
  *score = wanted;
  if (wanted == *old) return AddOutcome::kSame;
  const ScoreKey old_key(*old, member);
  const ScoreKey key(wanted, member);
  txn_.Erase(object_, RowSpace::kScores, old_key.view());
  PutScore(member, key);
  Tighten(old_key.view());  // sees the new row, so that it may only be too wide for what comes
  Widen(SortableOf(key.view()));
  return AddOutcome::kUpdated;
}

bool SortedSetEdit::Remove(std::string_view member) {
  const std::optional<double> score = ScoreOf(txn_, object_, member);
  if (!score.has_value()) return false;
  const ScoreKey key(*score, member);
  txn_.Erase(object_, RowSpace::kFields, member);
  const std::string_view keys[] = {key.view()};
  EraseScores<std::string_view>(keys);
  return true;
}

void SortedSetEdit::RemoveRun(std::span<const std::string> keys) {
  if (keys.empty()) return;
  for (const std::string& key : keys) txn_.Erase(object_, RowSpace::kFields, DecodeScoreKey(key).member);
  EraseScores(keys);
}

void SortedSetEdit::RemoveMany(std::string_view from, std::string_view to, uint64_t count) {
  txn_.EraseRange(object_, RowSpace::kScores, from, to, count);
  txn_.Linger(object_);
  Tighten(from);
  body_.count -= count;
}

bool SortedSetEdit::Finish() {
  if (body_.count == 0) {
    txn_.Remove(object_);
    return false;
  }
  if (object_->rows->id == 0) body_.aux0 = body_.aux1 = 0;
  if (body_.before > 0 && (body_.before > kLeftScoresMax || body_.count < kLeftScoresMax)) EraseLeft();
  if (!(body_ == txn_.body(object_))) txn_.SetBody(object_, body_);
  return true;
}

void StoreMembers(Txn& txn, Object* object, std::span<const OwnedMember> members) {
  txn.MakeRows(object, ObjectType::kSortedSet);
  SortedSetEdit edit(txn, object);
  for (const OwnedMember& member : members) edit.AddNew(member.member, member.score);
  edit.Finish();
}

}  // namespace thermocline
