#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/snapshot.h"

namespace thermocline {

/// Called for a row; false: no more.
using RowVisitor = std::function<bool(std::string_view key, std::string_view value)>;

/// Where rows of one space of a spread collection lie.
struct RowsOfSpace {
  uint64_t object_id = 0;
  RowSpace space = RowSpace::kFields;
  std::string from;               ///< row key, inclusive
  std::optional<std::string> to;  ///< exclusive; nullopt: to the end of the space
  bool forward = true;            ///< in key order, or in reverse order
  uint64_t skip = 0;              ///< so many of them are passed over first
  uint64_t rows_max = ~uint64_t{0};
};

/// Where the rows of a collection are: not those that are left on disk beyond the ends of a list, or below
/// the bounds of a sorted set.
RowsOfSpace RowsOf(const Object* object, RowSpace space);

/// The rows of one space of a collection as a reader thread gets at them: by object id when they are spread,
/// from a copy of theirs when they are packed and so few. Made on the keyspace thread; belongs to the job,
/// whose snapshot must be the one of that moment.
class RowSource {
 public:
  RowSource(const Object* object, RowSpace space);

  /// How many rows the collection has.
  uint64_t count() const { return count_; }

  /// Visits the rows from `from` (inclusive) on in key order, until `visit` gives false.
  Status ForEach(const SnapshotView& view, std::string_view from, const RowVisitor& visit) const;
  /// Visits all of them. kCorruption when there are not as many as the collection's head says: a reply that
  /// has announced that number cannot be sent.
  Status ForAll(const SnapshotView& view, const RowVisitor& visit) const;
  /// Whether there is a row of that key. A few microseconds.
  Result<bool> Has(const SnapshotView& view, std::string_view key) const;

 private:
  RowsOfSpace rows_;  ///< object_id 0: packed
  uint64_t count_;
  std::vector<std::pair<std::string, std::string>> packed_;
};

/// Reads rows in pieces, of which each is a read of its own: between them nothing is held but a key. All on
/// the same snapshot, one after the other, on any thread.
class RowStream {
 public:
  explicit RowStream(RowsOfSpace rows) : rows_(std::move(rows)) {}

  /// How many rows there are to visit: reads them all. REQUIRES: none has been visited.
  Result<uint64_t> Count(const SnapshotView& view) const;
  /// Goes on where it stopped last. `visit` gives false: that was the last row of this piece.
  Status Next(const SnapshotView& view, const RowVisitor& visit);
  bool ended() const { return ended_; }
  uint64_t visited() const { return visited_; }

 private:
  RowsOfSpace rows_;
  uint64_t visited_ = 0;
  bool ended_ = false;
};

}  // namespace thermocline
