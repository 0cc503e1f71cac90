#include "engine/row_source.h"

#include <algorithm>

#include "engine/list.h"
#include "engine/sorted_set.h"

namespace thermocline {

RowsOfSpace RowsOf(const Object* object, RowSpace space) {
  RowsOfSpace rows{.object_id = object->rows->id, .space = space};
  if (object->type == ObjectType::kList) {
    const ListBody list(object->rows->body);
    rows.from = ListKey(list.head).view();
    rows.to = ListKey(list.tail).view();
  } else if (object->type == ObjectType::kSortedSet && space == RowSpace::kScores) {
    if (LowerBound(object) > 0) AppendBig64(rows.from, LowerBound(object));
    if (UpperBound(object) < ~uint64_t{0}) AppendBig64(rows.to.emplace(), UpperBound(object) + 1);
  }
  return rows;
}

RowSource::RowSource(const Object* object, RowSpace space)
    : rows_(RowsOf(object, space)), count_(object->rows->body.count) {
  if (rows_.object_id != 0) return;
  using Cursor = RowTree::Cursor;
  for (Cursor c = object->rows->tree(space).SeekForward({}); c.at() == Cursor::At::kRow; c.Next()) {
    packed_.emplace_back(c.key(), c.value());
  }
}

Status RowSource::ForEach(const SnapshotView& view, std::string_view from, const RowVisitor& visit) const {
  if (rows_.object_id != 0) {
    return view.ForEachRow(rows_.object_id, rows_.space, std::max(from, std::string_view(rows_.from)),
                           rows_.to, /*forward=*/true, visit);
  }
  const auto before = [](const auto& row, std::string_view key) { return row.first < key; };
  for (auto row = std::lower_bound(packed_.begin(), packed_.end(), from, before); row != packed_.end();
       ++row) {
    if (!visit(row->first, row->second)) break;
  }
  return {};
}

Status RowSource::ForAll(const SnapshotView& view, const RowVisitor& visit) const {
  uint64_t rows = 0;
  bool all = true;
  const Status status = ForEach(view, {}, [&](std::string_view key, std::string_view value) {
    ++rows;
    return all = visit(key, value);
  });
  if (status.ok() && all && rows != count_)
    return {Code::kCorruption, "an object's rows are not as many as its count"};
  return status;
}

Result<bool> RowSource::Has(const SnapshotView& view, std::string_view key) const {
  bool found = false;
  const auto visit = [&](std::string_view row_key, std::string_view) {
    found = row_key == key;
    return false;
  };
  Status status;
  if (rows_.object_id != 0) {
    const std::string end = std::string(key) + '\0';
    status = view.ForEachRow(rows_.object_id, rows_.space, key, end, /*forward=*/true, visit);
  } else {
    status = ForEach(view, key, visit);
  }
  if (!status.ok()) return status;
  return found;
}

Result<uint64_t> RowStream::Count(const SnapshotView& view) const {
  if (rows_.rows_max == 0) return 0;
  uint64_t seen = 0;
  const uint64_t most = rows_.rows_max + std::min(rows_.skip, ~rows_.rows_max);
  const Status status = view.ForEachRow(rows_.object_id, rows_.space, rows_.from, rows_.to, rows_.forward,
                                        [&](std::string_view, std::string_view) { return ++seen < most; });
  if (!status.ok()) return status;
  return seen - std::min(seen, rows_.skip);
}

Status RowStream::Next(const SnapshotView& view, const RowVisitor& visit) {
  bool stopped = visited_ == rows_.rows_max;
  std::string last;
  const auto step = [&](std::string_view key, std::string_view value) {
    if (rows_.skip > 0) {
      --rows_.skip;
      return true;
    }
    const bool more = visit(key, value);
    ended_ = ++visited_ == rows_.rows_max;
    if (more && !ended_) return true;
    stopped = true;
    last = key;
    return false;
  };
  if (!stopped) {
    const Status status =
        view.ForEachRow(rows_.object_id, rows_.space, rows_.from, rows_.to, rows_.forward, step);
    if (!status.ok()) return status;
  }
  if (!stopped || ended_) {
    ended_ = true;
  } else if (rows_.forward) {
    rows_.from = last + '\0';
  } else {
    rows_.to = last;
  }
  return {};
}

}  // namespace thermocline
