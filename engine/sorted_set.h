#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "encoding/bytes.h"
#include "encoding/format.h"
#include "engine/txn.h"

/// The sorted set type. Every member has two rows: member -> score in the fields space, and score | member in
/// the scores space, which is the order of the set; see encoding/format.h. Scores of members are looked up by
/// ScoreOf and nowhere else; everything that goes over members goes over the scores space. (For rows of the
/// fields space may be left over from members that were removed by the million: see Txn::Linger.)
///
/// A queue takes from an end and leaves tombstones there. So the body of a spread set keeps bounds of the
/// scores that are present (LowerBound, UpperBound), and no walk begins outside them. They are always true,
/// and tight as long as members leave from the ends; they cost nothing, as the count is written anyway.
///
/// Nor does a large set write a tombstone into scores for each member that leaves from its low end: the row
/// is *left* there, below the lower bound, and the body says how many are. They are deleted by the thousand,
/// as a range, or before a score below the bound comes. A set where that happens too soon, since what comes
/// is often to leave next, goes on without leaving rows for a while, so that such ranges are few.
///
/// Keyspace thread only. Everything here may unwind, before its first write. A score is any double but NaN;
/// -0.0 is kept as 0.0. The key events are the caller's to tell, but where it is said.
/// Source: redis.io/commands/?group=sorted-set.
namespace thermocline {

/// A member as rows show it; valid as long as what it was read from.
struct ScoredMember {
  double score;
  std::string_view member;
};
/// The same with a copy of the member.
struct OwnedMember {
  double score;
  std::string member;
};

/// So many rows at most are left below the lower bound, and only while the set has as many members or more.
inline constexpr uint64_t kLeftScoresMax = 1024;

/// The key of a row in the scores space; no allocation for usual members.
class ScoreKey {
 public:
  ScoreKey(double score, std::string_view member) : size_(kScoreBytes + member.size()) {
    char* to = inline_;
    if (size_ > sizeof(inline_)) {
      large_.resize(size_);
      to = large_.data();
    }
    StoreBig64(to, format::SortableScore(score));
    if (!member.empty()) std::memcpy(to + kScoreBytes, member.data(), member.size());
  }
  ScoreKey(const ScoreKey&) = delete;
  ScoreKey& operator=(const ScoreKey&) = delete;
  std::string_view view() const { return {size_ > sizeof(inline_) ? large_.data() : inline_, size_}; }

  static constexpr size_t kScoreBytes = 8;

 private:
  size_t size_;
  char inline_[120];
  std::string large_;
};

/// The sortable score at the front of a key of the scores space; 0 for one that is too short to be one.
inline uint64_t SortableOf(std::string_view score_key) {
  return score_key.size() < ScoreKey::kScoreBytes ? 0 : LoadBig64(score_key.data());
}
inline ScoredMember DecodeScoreKey(std::string_view score_key) {
  if (score_key.size() < ScoreKey::kScoreBytes) return {0, {}};  // damaged
  return {format::ScoreFromSortable(LoadBig64(score_key.data())), score_key.substr(ScoreKey::kScoreBytes)};
}
/// The score in a row of the fields space.
inline double DecodeScore(std::string_view value) {
  return value.size() < ScoreKey::kScoreBytes ? 0 : format::ScoreFromSortable(LoadBig64(value.data()));
}

/// The score of a member; nullopt: it is not in the set.
std::optional<double> ScoreOf(Txn& txn, Object* object, std::string_view member);
/// Brings into RAM what ScoreOf needs for all of `members`; unwinds once for all that is not.
void PrefetchScores(Txn& txn, Object* object, std::span<const std::string_view> members);

// -- Bounds, as sortable scores

/// No row has a smaller score.
inline uint64_t LowerBound(const Object* object) { return object->rows->body.aux0; }
/// No row has a larger score.
inline uint64_t UpperBound(const Object* object) { return ~object->rows->body.aux1; }
/// The first and the last row of the order.
Txn::Cursor FirstMember(Txn& txn, Object* object);
Txn::Cursor LastMember(Txn& txn, Object* object);

// -- Changes

/// ZADD's conditions.
struct AddOptions {
  bool only_new = false;       ///< NX
  bool only_existing = false;  ///< XX
  bool only_greater = false;   ///< GT
  bool only_less = false;      ///< LT
  bool increment = false;      ///< the score is added to the old one
};
enum class AddOutcome : uint8_t {
  kNothing,  ///< a condition did not hold
  kAdded,
  kUpdated,
  kSame,  ///< the member had that score already
  kNan,   ///< inf and -inf were added; nothing is changed
};

/// Changes to one live sorted set in one command. Rows are written at once; the body (count, bounds) with
/// Finish, which must follow the last change.
class SortedSetEdit {
 public:
  SortedSetEdit(Txn& txn, Object* object);

  /// Adds a member or changes its score; `*score` becomes the score that it has now, unless kNothing or kNan.
  AddOutcome Add(std::string_view member, const AddOptions& options, double* score);
  /// Adds a member that is known not to be there.
  void AddNew(std::string_view member, double score);
  /// False: it is not there.
  bool Remove(std::string_view member);
  /// Removes the members of rows that lie next to each other in the scores space, none between them left out.
  /// `keys`: of their rows, in ascending order, not views into rows. Must not be all rows of the set.
  void RemoveRun(std::span<const std::string> keys);

  /// Removes all members whose rows of the scores space lie from `from` to before `to`: `count` of them, not
  /// all, of a spread set. O(log n): their rows in the fields space linger, and are purged in the background.
  void RemoveMany(std::string_view from, std::string_view to, uint64_t count);
  /// From so many members on that is the better way.
  static constexpr uint64_t kManyMembers = 2048;

  uint64_t count() const { return body_.count; }
  /// False: the last member has gone, and the key with it.
  bool Finish();

 private:
  void PutScore(std::string_view member, const ScoreKey& key);
  void Widen(uint64_t sortable);
  void Tighten(std::string_view erased_key);
  std::optional<uint64_t> NextFirst(std::string_view first_key, std::string_view last_key);
  template <typename Key>
  void EraseScores(std::span<const Key> keys);
  void EraseLeft();
  Txn& txn_;
  Object* object_;
  format::CollectionBody body_;
};

/// Makes `object` a sorted set of these members, whatever it was before: at least one, each once. Their order
/// does not matter, but the set's own is the quickest.
void StoreMembers(Txn& txn, Object* object, std::span<const OwnedMember> members);

/// Takes up to `count` members from the low or the high end. `visit(ScoredMember)` sees each in the order in
/// which they leave, before anything is changed. With the last one the key goes: then the object is absent.
template <typename Visit>
void PopMembers(Txn& txn, Object* object, bool highest, uint64_t count, Visit&& visit) {
  count = std::min(count, object->rows->body.count);
  const bool all = count == object->rows->body.count;
  std::vector<std::string> keys;
  if (!all) keys.reserve(count);
  Txn::Cursor row = highest ? LastMember(txn, object) : FirstMember(txn, object);
  for (uint64_t seen = 0; seen < count && row.valid(); ++seen) {
    visit(DecodeScoreKey(row.key()));
    if (!all) keys.emplace_back(row.key());
    if (seen + 1 < count) highest ? row.Previous() : row.Next();
  }
  if (all) return txn.Remove(object);
  if (highest) std::reverse(keys.begin(), keys.end());
  SortedSetEdit edit(txn, object);
  edit.RemoveRun(keys);
  edit.Finish();
}

}  // namespace thermocline
