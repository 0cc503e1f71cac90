#include "engine/set_algebra.h"

#include <algorithm>
#include <iterator>

namespace thermocline {

namespace {

constexpr RowSpace kMembers = RowSpace::kFields;

// Members that are looked up at one time: what is not in RAM of them is one wait.
constexpr size_t kLookupsAtOnce = 512;
// A look-up on disk costs about as much as so many rows of a scan.
constexpr uint64_t kRowsPerDiskLookup = 4;
// The same in a snapshot, where each has an iterator of its own.
constexpr uint64_t kRowsPerSnapshotLookup = 64;

/// Members that pass all filters, found piece by piece. `present`: what each other set is asked.
Members FilterThrough(SetInput& from, std::span<SetInput* const> others, bool present, uint64_t limit) {
  if (limit == 0) {
    for (SetInput* other : others) other->ExpectLookups(from.count());
  }
  Members result, piece;
  const auto settle = [&] {
    for (SetInput* other : others) {
      if (!piece.empty()) other->Filter(&piece, present);
    }
    std::move(piece.begin(), piece.end(), std::back_inserter(result));
    piece.clear();
    return limit == 0 || result.size() < limit;
  };
  bool more = true;
  from.ForEach([&](std::string_view member) {
    piece.emplace_back(member);
    if (piece.size() == kLookupsAtOnce) more = settle();
    return more;
  });
  settle();
  if (limit != 0 && result.size() > limit) result.resize(limit);
  return result;
}

}  // namespace

Members Intersect(std::span<SetInput* const> sets, uint64_t limit) {
  // From the smallest, looked up first in the next smallest: that one throws out the most.
  std::vector<SetInput*> ordered(sets.begin(), sets.end());
  std::stable_sort(ordered.begin(), ordered.end(), [](auto* a, auto* b) { return a->count() < b->count(); });
  return FilterThrough(*ordered[0], std::span(ordered).subspan(1), /*present=*/true, limit);
}

Members Subtract(SetInput& from, std::span<SetInput* const> others) {
  return FilterThrough(from, others, /*present=*/false, /*limit=*/0);
}

Members Unite(std::span<SetInput* const> sets) {
  Members all;
  for (SetInput* set : sets) {
    const auto middle = static_cast<ptrdiff_t>(all.size());
    set->ForEach([&](std::string_view member) {
      all.emplace_back(member);
      return true;
    });
    std::inplace_merge(all.begin(), all.begin() + middle, all.end());
  }
  all.erase(std::unique(all.begin(), all.end()), all.end());
  return all;
}

// ---- In RAM ----

void LiveSetInput::ExpectLookups(uint64_t members) {
  if (members >= kLookupsAtOnce && members * kRowsPerDiskLookup >= count())
    txn_.CompleteRows(object_, kMembers);
}

void LiveSetInput::ForEach(const std::function<bool(std::string_view member)>& visit) {
  for (Txn::Cursor row = txn_.SeekForward(object_, kMembers, {}); row.valid(); row.Next()) {
    if (!visit(row.key())) return;
  }
}

void LiveSetInput::Filter(Members* members, bool present) {
  if (!object_->rows->fields.complete()) {
    const std::vector<std::string_view> views(members->begin(), members->end());
    txn_.PrefetchRows(object_, kMembers, views);
  }
  std::erase_if(*members, [&](const std::string& member) {
    return txn_.Get(object_, kMembers, member).has_value() != present;
  });
}

// ---- In a snapshot ----

void StoredSetInput::ExpectLookups(uint64_t members) { walk_ = members * kRowsPerSnapshotLookup >= count(); }

void StoredSetInput::ForEach(const std::function<bool(std::string_view member)>& visit) {
  if (!status_.ok()) return;
  status_ =
      rows_.ForEach(view_, {}, [&](std::string_view member, std::string_view) { return visit(member); });
}

void StoredSetInput::Filter(Members* members, bool present) {
  if (!status_.ok()) return members->clear();
  if (!walk_) {
    std::erase_if(*members, [&](const std::string& member) {
      if (!status_.ok()) return true;
      const Result<bool> has = rows_.Has(view_, member);
      if (!has.ok()) status_ = has.status();
      return !has.ok() || *has != present;
    });
    return;
  }
  // Both in order: one goes along the other.
  Members left;
  auto next = members->begin();
  const auto pass = [&](bool found) {
    if (found == present) left.push_back(std::move(*next));
    ++next;
  };
  status_ = rows_.ForEach(view_, members->front(), [&](std::string_view row, std::string_view) {
    while (next != members->end() && *next < row) pass(false);
    if (next != members->end() && *next == row) pass(true);
    return next != members->end();
  });
  while (next != members->end()) pass(false);
  members->swap(left);
}

}  // namespace thermocline
