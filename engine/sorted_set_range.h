#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/row_source.h"
#include "engine/sorted_set.h"

/// Parts of a sorted set: by score, by member (of sets whose scores are all the same), by rank. The first two
/// are runs of rows between two keys of the scores space; ranks are positions in it. Short distances from
/// either end are walked, so that a cold set costs a few rows; others need the whole space in RAM, or are
/// left to a snapshot by the caller (RanksAtHand tells).
///
/// Keyspace thread only, but for what says otherwise; may unwind. Source: redis.io/commands/zrange.
namespace thermocline {

struct ScoreRange {
  double min = 0, max = 0;
  bool min_exclusive = false, max_exclusive = false;
};

struct LexBound {
  enum class Kind : uint8_t { kLowest, kHighest, kInclusive, kExclusive } kind = Kind::kLowest;
  std::string_view member = {};
};
struct LexRange {
  LexBound min, max;
};

/// Rows of the scores space from `from` (inclusive) to `to` (exclusive).
struct RowRun {
  std::string from, to;
  bool empty() const { return from >= to; }
};

RowRun ScoreRun(const ScoreRange& range);
/// The members between two others. When scores differ, the range means nothing, in Redis as here; a small set
/// then gives what Redis's compact form gives for that direction. `skip`, if any: how many of them are to be
/// passed over; set to zero if the run is already without them (that form does not look where it skips to).
RowRun LexRun(Txn& txn, Object* object, const LexRange& range, bool reverse, uint64_t* skip = nullptr);
/// Where the run's rows are on disk, for readers of a snapshot. Never unwinds.
RowsOfSpace RowsOf(const Object* object, const RowRun& run);

/// Counts rows of a run, up to `count_max`; nullopt: there are more, and counting them all takes long.
std::optional<uint64_t> CountRun(Txn& txn, Object* object, const RowRun& run, uint64_t count_max);

/// Whether ranks cost O(log n) now, or do after a load that is worth it: the order is in RAM, or small enough
/// to be brought there.
bool RanksAtHand(Txn& txn, const Object* object);
/// Whether a walk from one of the ends reaches that rank soon.
bool NearAnEnd(const Object* object, uint64_t rank);
/// The row of that rank. REQUIRES rank < count. Loads the whole order unless it is in RAM or near an end.
Txn::Cursor MemberAt(Txn& txn, Object* object, uint64_t rank);
/// How many members are before this one. Loads the whole order.
uint64_t RankOf(Txn& txn, Object* object, const ScoredMember& member);

/// The part of a list of `count` that two ranks span, counted from the end when negative, both included.
struct RankRange {
  uint64_t first = 0, count = 0;
};
RankRange ClampRanks(int64_t start, int64_t stop, uint64_t count);

/// The first row of a run in its direction. Not valid when the run is empty.
Txn::Cursor SeekRun(Txn& txn, Object* object, const RowRun& run, bool reverse);

/// Calls `visit(ScoredMember)` for the rows of a run in order, or in reverse order, after `skip` of them,
/// until it gives false.
template <typename Visit>
void VisitRun(Txn& txn, Object* object, const RowRun& run, bool reverse, uint64_t skip, Visit&& visit) {
  // A long way is jumped where ranks are in RAM.
  constexpr uint64_t kStepsMax = 64;
  const auto step = [&](Txn::Cursor& row) { reverse ? row.Previous() : row.Next(); };
  const auto inside = [&](const Txn::Cursor& row) {
    return row.valid() && (reverse ? row.key() >= run.from : row.key() < run.to);
  };
  if (run.empty()) return;
  if (skip > kStepsMax && object->rows->scores.complete()) {
    const uint64_t from = txn.RankOfRow(object, RowSpace::kScores, run.from);
    const uint64_t to = txn.RankOfRow(object, RowSpace::kScores, run.to);
    if (skip >= to - from) return;
    Txn::Cursor row = txn.SelectRow(object, RowSpace::kScores, reverse ? to - 1 - skip : from + skip);
    for (; inside(row) && visit(DecodeScoreKey(row.key())); step(row)) {
    }
    return;
  }
  Txn::Cursor row = SeekRun(txn, object, run, reverse);
  for (; skip > 0 && inside(row); --skip) step(row);
  for (; inside(row) && visit(DecodeScoreKey(row.key())); step(row)) {
  }
}

/// Calls `visit(ScoredMember)` for `count` members from the one of rank `first` on, or back from the one of
/// that rank from the end.
template <typename Visit>
void VisitRanks(Txn& txn, Object* object, RankRange ranks, bool reverse, Visit&& visit) {
  if (ranks.count == 0) return;
  const uint64_t all = txn.body(object).count;
  Txn::Cursor row = MemberAt(txn, object, reverse ? all - 1 - ranks.first : ranks.first);
  for (uint64_t left = ranks.count; row.valid(); reverse ? row.Previous() : row.Next()) {
    visit(DecodeScoreKey(row.key()));
    if (--left == 0) return;
  }
}

/// Removes the members of a run, or of some ranks. Returns how many; with the last one the key goes. Tells no
/// events.
uint64_t RemoveRun(Txn& txn, Object* object, const RowRun& run);
uint64_t RemoveRanks(Txn& txn, Object* object, const RankRange& ranks);

}  // namespace thermocline
