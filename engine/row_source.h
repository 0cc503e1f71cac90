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
  uint64_t object_id_;  ///< 0: packed
  RowSpace space_;
  uint64_t count_;
  std::vector<std::pair<std::string, std::string>> packed_;
};

}  // namespace thermocline
