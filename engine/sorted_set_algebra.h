#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "encoding/status.h"
#include "engine/row_source.h"
#include "engine/snapshot.h"
#include "engine/sorted_set.h"

/// Unions, intersections and differences of sorted sets and of sets, whose members all have the score 1.
/// Source: redis.io/commands/zunion, zinter, zdiff.
namespace thermocline {

enum class SetOperation : uint8_t { kUnion, kIntersection, kDifference };
enum class ScoreAggregate : uint8_t { kSum, kMin, kMax };

/// One input. Made by MakeSource on the keyspace thread.
struct AlgebraSource {
  Object* object = nullptr;  ///< nullptr: there is no such key. Not to be touched by a reader thread.
  ObjectType type = ObjectType::kSortedSet;
  double weight = 1;
  uint64_t count = 0;
  uint64_t version = 0;             ///< of the object, to see later whether it is as it was
  RowsOfSpace spread;               ///< where a reader thread finds the rows; id 0: in `packed`
  std::vector<OwnedMember> packed;  ///< when it was asked for
};
/// `object`: nullptr, or a live sorted set or set. Never unwinds.
AlgebraSource MakeSource(Object* object, double weight);
/// Makes the source readable away from the keyspace thread.
void CopyPacked(Txn& txn, AlgebraSource* source);

struct SetAlgebra {
  SetOperation operation = SetOperation::kUnion;
  ScoreAggregate aggregate = ScoreAggregate::kSum;
  std::vector<AlgebraSource> sources;  ///< in the order of the command; a difference takes from the first
  uint64_t count_max = ~uint64_t{0};   ///< the result may be cut to so many members, any

  /// How many rows it looks at when it runs on the keyspace thread, roughly.
  uint64_t Cost() const;
  bool SameObjects(const SetAlgebra& other) const;
};

/// The result in the order of a sorted set. This one may unwind.
std::vector<OwnedMember> Combine(Txn& txn, const SetAlgebra& algebra);
/// The same on a reader thread. REQUIRES CopyPacked for all sources.
Result<std::vector<OwnedMember>> Combine(const SnapshotView& view, const SetAlgebra& algebra);

}  // namespace thermocline
