#include "engine/sorted_set_range.h"

#include <algorithm>
#include <utility>

#include "engine/keyspace.h"

namespace thermocline {

namespace {

/// Ranks up to so far from an end are reached by walking.
constexpr uint64_t kWalkMax = 1024;
/// A set of up to so many members is brought into RAM for a rank in any case.
constexpr uint64_t kLoadForRankMax = 16 << 10;
/// What a row of the order takes in RAM, roughly.
constexpr uint64_t kRowBytes = 64;

std::string SortableKey(uint64_t sortable) {
  std::string key;
  AppendBig64(key, sortable);
  return key;
}

bool AtLeast(std::string_view member, const LexBound& min) {
  switch (min.kind) {
    case LexBound::Kind::kLowest: return true;
    case LexBound::Kind::kHighest: return false;
    case LexBound::Kind::kInclusive: return member >= min.member;
    case LexBound::Kind::kExclusive: return member > min.member;
  }
  return false;
}
bool AtMost(std::string_view member, const LexBound& max) {
  switch (max.kind) {
    case LexBound::Kind::kLowest: return false;
    case LexBound::Kind::kHighest: return true;
    case LexBound::Kind::kInclusive: return member <= max.member;
    case LexBound::Kind::kExclusive: return member < max.member;
  }
  return false;
}

/// Whether a range of members holds nothing whatever the set.
bool IsEmpty(const LexRange& range) {
  using Kind = LexBound::Kind;
  const LexBound &min = range.min, &max = range.max;
  if (min.kind == Kind::kHighest || max.kind == Kind::kLowest) return true;
  if (min.kind == Kind::kLowest || max.kind == Kind::kHighest) return false;
  return min.member > max.member ||
         (min.member == max.member && (min.kind == Kind::kExclusive || max.kind == Kind::kExclusive));
}

/// Members between two others among scores that differ, as Redis's compact form finds them: in order of the
/// set, from the first one that is not below the range (from the last not above it), or `skip` further on, to
/// the next one outside.
RowRun CompactLexRun(Txn& txn, Object* object, const LexRange& range, bool reverse, uint64_t skip) {
  RowRun run;
  const auto step = [reverse](Txn::Cursor& row) { reverse ? row.Previous() : row.Next(); };
  const auto near = [&](std::string_view member) {
    return reverse ? AtMost(member, range.max) : AtLeast(member, range.min);
  };
  const auto far = [&](std::string_view member) {
    return reverse ? AtLeast(member, range.min) : AtMost(member, range.max);
  };
  const auto member = [](const Txn::Cursor& row) { return DecodeScoreKey(row.key()).member; };
  Txn::Cursor row = reverse ? LastMember(txn, object) : FirstMember(txn, object);
  while (row.valid() && !near(member(row))) step(row);
  if (!row.valid() || !far(member(row))) return run;
  for (; skip > 0 && row.valid(); --skip) step(row);
  for (bool found = false; row.valid() && far(member(row)); step(row), found = true) {
    if (!found || reverse) run.from = row.key();
    if (!found || !reverse) run.to = std::string(row.key()) + '\0';
  }
  return run;
}

}  // namespace

// ---- Runs ----

RowRun ScoreRun(const ScoreRange& range) {
  const uint64_t min = format::SortableScore(range.min), max = format::SortableScore(range.max);
  return {SortableKey(min + range.min_exclusive), SortableKey(max + !range.max_exclusive)};
}

RowRun LexRun(Txn& txn, Object* object, const LexRange& range, bool reverse, uint64_t* skip) {
  if (IsEmpty(range)) return {};
  const Txn::Cursor last_row = LastMember(txn, object);
  if (!last_row.valid()) return {};
  const ScoredMember last = DecodeScoreKey(last_row.key());
  const Txn::Cursor first_row = FirstMember(txn, object);
  if (!first_row.valid()) return {};
  const ScoredMember first = DecodeScoreKey(first_row.key());
  if (first.score != last.score && object->encoding == Encoding::kAuto) {
    if (!AtLeast(last.member, range.min) || !AtMost(first.member, range.max)) return {};
    return CompactLexRun(txn, object, range, reverse, skip == nullptr ? 0 : std::exchange(*skip, 0));
  }
  using Kind = LexBound::Kind;
  RowRun run;
  run.from = range.min.kind == Kind::kLowest ? SortableKey(format::SortableScore(first.score))
                                             : std::string(ScoreKey(first.score, range.min.member).view());
  if (range.min.kind == Kind::kExclusive) run.from += '\0';
  run.to = range.max.kind == Kind::kHighest ? SortableKey(format::SortableScore(last.score) + 1)
                                            : std::string(ScoreKey(last.score, range.max.member).view());
  if (range.max.kind == Kind::kInclusive) run.to += '\0';
  return run;
}

RowsOfSpace RowsOf(const Object* object, const RowRun& run) {
  RowsOfSpace rows = RowsOf(object, RowSpace::kScores);
  rows.from = std::max(rows.from, run.from);
  rows.to = std::max(rows.from, rows.to.has_value() ? std::min(*rows.to, run.to) : run.to);
  return rows;
}

Txn::Cursor SeekRun(Txn& txn, Object* object, const RowRun& run, bool reverse) {
  if (!reverse) {
    const std::string lower = SortableKey(LowerBound(object));
    return txn.SeekForward(object, RowSpace::kScores, std::max(run.from, lower));
  }
  Txn::Cursor row = txn.SeekBackward(object, RowSpace::kScores, run.to);
  if (row.valid() && row.key() == run.to) row.Previous();
  return row;
}

std::optional<uint64_t> CountRun(Txn& txn, Object* object, const RowRun& run, uint64_t count_max) {
  if (run.empty()) return 0;
  if (object->rows->scores.complete()) {
    return txn.RankOfRow(object, RowSpace::kScores, run.to) -
           txn.RankOfRow(object, RowSpace::kScores, run.from);
  }
  uint64_t count = 0;
  VisitRun(txn, object, run, /*reverse=*/false, /*skip=*/0,
           [&](const ScoredMember&) { return ++count <= count_max; });
  if (count > count_max) return std::nullopt;
  return count;
}

// ---- Ranks ----

RankRange ClampRanks(int64_t start, int64_t stop, uint64_t count) {
  const auto size = static_cast<int64_t>(count);
  if (start < 0) start = std::max<int64_t>(start + size, 0);
  if (stop < 0) stop += size;
  stop = std::min(stop, size - 1);
  if (start > stop) return {};
  return {static_cast<uint64_t>(start), static_cast<uint64_t>(stop - start + 1)};
}

bool RanksAtHand(Txn& txn, const Object* object) {
  if (object->rows->scores.complete()) return true;
  const uint64_t count = txn.body(object).count;
  const uint64_t budget = txn.keyspace().options().hot_bytes_max;
  return count <= kLoadForRankMax || budget == 0 || count <= budget / kRowBytes / 4;
}

bool NearAnEnd(const Object* object, uint64_t rank) {
  const uint64_t count = object->rows->body.count;
  return rank < kWalkMax || (rank < count && count - 1 - rank < kWalkMax);
}

Txn::Cursor MemberAt(Txn& txn, Object* object, uint64_t rank) {
  const uint64_t count = txn.body(object).count;
  if (rank == 0) return FirstMember(txn, object);
  if (rank == count - 1) return LastMember(txn, object);
  if (object->rows->scores.complete() || !NearAnEnd(object, rank)) {
    return txn.SelectRow(object, RowSpace::kScores, rank);
  }
  if (rank < kWalkMax) {
    Txn::Cursor row = FirstMember(txn, object);
    for (; rank > 0 && row.valid(); --rank) row.Next();
    return row;
  }
  Txn::Cursor row = LastMember(txn, object);
  for (rank = count - 1 - rank; rank > 0 && row.valid(); --rank) row.Previous();
  return row;
}

uint64_t RankOf(Txn& txn, Object* object, const ScoredMember& member) {
  return txn.RankOfRow(object, RowSpace::kScores, ScoreKey(member.score, member.member).view());
}

// ---- Removing ----

namespace {

uint64_t RemoveKeys(Txn& txn, Object* object, std::span<const std::string> keys) {
  if (keys.empty()) return 0;
  SortedSetEdit edit(txn, object);
  edit.RemoveRun(keys);
  edit.Finish();
  return keys.size();
}

}  // namespace

uint64_t RemoveRun(Txn& txn, Object* object, const RowRun& run) {
  const uint64_t count = *CountRun(txn, object, run, ~uint64_t{0});
  if (count == txn.body(object).count) {
    txn.Remove(object);
    return count;
  }
  if (count >= SortedSetEdit::kManyMembers && object->rows->id != 0) {
    SortedSetEdit edit(txn, object);
    edit.RemoveMany(run.from, run.to, count);
    edit.Finish();
    return count;
  }
  std::vector<std::string> keys;
  VisitRun(txn, object, run, /*reverse=*/false, /*skip=*/0, [&](const ScoredMember& member) {
    keys.emplace_back(ScoreKey(member.score, member.member).view());
    return true;
  });
  return RemoveKeys(txn, object, keys);
}

uint64_t RemoveRanks(Txn& txn, Object* object, const RankRange& ranks) {
  if (ranks.count == 0) return 0;
  if (ranks.count == txn.body(object).count) {
    txn.Remove(object);
    return ranks.count;
  }
  if (ranks.count >= SortedSetEdit::kManyMembers && object->rows->id != 0) {
    const std::string from(MemberAt(txn, object, ranks.first).key());
    const std::string to = std::string(MemberAt(txn, object, ranks.first + ranks.count - 1).key()) + '\0';
    SortedSetEdit edit(txn, object);
    edit.RemoveMany(from, to, ranks.count);
    edit.Finish();
    return ranks.count;
  }
  std::vector<std::string> keys;
  VisitRanks(txn, object, ranks, /*reverse=*/false, [&](const ScoredMember& member) {
    keys.emplace_back(ScoreKey(member.score, member.member).view());
  });
  return RemoveKeys(txn, object, keys);
}

}  // namespace thermocline
