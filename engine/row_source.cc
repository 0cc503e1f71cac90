#include "engine/row_source.h"

#include <algorithm>

namespace thermocline {

RowSource::RowSource(const Object* object, RowSpace space)
    : object_id_(object->rows->id), space_(space), count_(object->rows->body.count) {
  if (object_id_ != 0) return;
  using Cursor = RowTree::Cursor;
  for (Cursor c = object->rows->tree(space).SeekForward({}); c.at() == Cursor::At::kRow; c.Next()) {
    packed_.emplace_back(c.key(), c.value());
  }
}

Status RowSource::ForEach(const SnapshotView& view, std::string_view from, const RowVisitor& visit) const {
  if (object_id_ != 0) {
    return view.ForEachRow(object_id_, space_, from, std::nullopt, /*forward=*/true, visit);
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
  if (object_id_ != 0) {
    const std::string end = std::string(key) + '\0';
    status = view.ForEachRow(object_id_, space_, key, end, /*forward=*/true, visit);
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
