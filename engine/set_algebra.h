#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/row_source.h"
#include "engine/txn.h"

/// Intersection, union and difference of sets, in RAM and on a reader thread.
namespace thermocline {

using Members = std::vector<std::string>;

/// One set as an input. No two inputs of one operation are of the same set.
class SetInput {
 public:
  explicit SetInput(uint64_t count) : count_(count) {}
  virtual ~SetInput() = default;
  uint64_t count() const { return count_; }
  /// That Filter will be called for so many members in all: many make going over the whole set the cheaper
  /// way.
  virtual void ExpectLookups(uint64_t members) = 0;
  /// Visits the members in byte order, until `visit` gives false. `visit` may use the other inputs.
  virtual void ForEach(const std::function<bool(std::string_view member)>& visit) = 0;
  /// Leaves those of `members`, which are in byte order, that the set has (`present`), or has not.
  virtual void Filter(Members* members, bool present) = 0;

 private:
  const uint64_t count_;
};

/// A set as the command sees it; brings into RAM what it needs. Keyspace thread; may unwind.
class LiveSetInput final : public SetInput {
 public:
  LiveSetInput(Txn& txn, Object* object) : SetInput(object->rows->body.count), txn_(txn), object_(object) {}
  void ExpectLookups(uint64_t members) override;
  void ForEach(const std::function<bool(std::string_view member)>& visit) override;
  void Filter(Members* members, bool present) override;

 private:
  Txn& txn_;
  Object* object_;
};

/// A set in a snapshot. After an error it seems to be empty.
class StoredSetInput final : public SetInput {
 public:
  StoredSetInput(const SnapshotView& view, const RowSource& rows)
      : SetInput(rows.count()), view_(view), rows_(rows) {}
  const Status& status() const { return status_; }
  void ExpectLookups(uint64_t members) override;
  void ForEach(const std::function<bool(std::string_view member)>& visit) override;
  void Filter(Members* members, bool present) override;

 private:
  const SnapshotView& view_;
  const RowSource& rows_;
  bool walk_ = false;
  Status status_;
};

/// The members that all sets have, in byte order; no more than `limit`, if that is not 0. REQUIRES: there is
/// a set.
Members Intersect(std::span<SetInput* const> sets, uint64_t limit);
/// The members that any of the sets has, in byte order.
Members Unite(std::span<SetInput* const> sets);
/// The members of `from` that none of the others has, in byte order.
Members Subtract(SetInput& from, std::span<SetInput* const> others);

}  // namespace thermocline
