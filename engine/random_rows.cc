#include "engine/random_rows.h"

#include <algorithm>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include "engine/collection.h"

namespace thermocline {

namespace {

// A larger space is not brought into RAM for the sake of a few rows. As in Txn::RandomRow.
constexpr uint64_t kWholeRowsMax = 64 << 10;
// So many rows are drawn one by one, each of which may wait for the disk, rather than bring in a space like
// that.
constexpr uint64_t kDrawsFromDiskMax = 64;
// As in Redis: when more than a third is asked for, going over all rows costs less than drawing until they
// differ.
constexpr uint64_t kWalkShare = 3;
// Rows drawn with repetition in one pass over a snapshot: what is kept in memory meanwhile.
constexpr uint64_t kDrawsPerPass = 1 << 20;

/// A few distinct rows of a space that is not in RAM. Where draws meet, the next row that was not drawn yet
/// stands in, so that it ends also where all places lead to one row.
void DrawFromDisk(Txn& txn, Object* object, RowSpace space, const RowDraw& draw, const DrawVisitor& visit) {
  std::unordered_set<std::string> drawn;
  for (uint64_t i = 0; i < draw.count; ++i) {
    Txn::Cursor row = txn.RandomRow(object, space, txn.random().Next());
    if (draw.distinct) {
      while (!drawn.emplace(row.key()).second) {
        row.Next();
        if (!row.valid()) row = txn.SeekForward(object, space, {});
      }
    }
    visit(row.key(), row.value());
  }
}

void DrawByWalk(Txn& txn, Object* object, RowSpace space, uint64_t count, const DrawVisitor& visit) {
  SampleStream sample(CollectionCount(object), count, txn.random());
  for (Txn::Cursor row = txn.SeekForward(object, space, {}); row.valid() && sample.left() > 0; row.Next()) {
    if (sample.Take()) visit(row.key(), row.value());
  }
}

void DrawByRank(Txn& txn, Object* object, RowSpace space, const RowDraw& draw, const DrawVisitor& visit) {
  const uint64_t rows = CollectionCount(object);
  std::unordered_set<uint64_t> drawn;
  for (uint64_t i = 0; i < draw.count; ++i) {
    uint64_t rank = txn.random().Below(rows);
    while (draw.distinct && !drawn.insert(rank).second) rank = txn.random().Below(rows);
    const Txn::Cursor row = txn.SelectRow(object, space, rank);
    visit(row.key(), row.value());
  }
}

}  // namespace

bool DrawNeedsWholeSpace(const Object* object, RowSpace space, const RowDraw& draw) {
  return draw.count > kDrawsFromDiskMax && CollectionCount(object) > kWholeRowsMax &&
         !object->rows->tree(space).complete();
}

void DrawRows(Txn& txn, Object* object, RowSpace space, const RowDraw& draw, const DrawVisitor& visit) {
  const uint64_t rows = CollectionCount(object);
  if (!object->rows->tree(space).complete()) {
    if (rows > kWholeRowsMax && draw.count <= kDrawsFromDiskMax)
      return DrawFromDisk(txn, object, space, draw, visit);
    txn.CompleteRows(object, space);
  }
  if (draw.distinct && draw.count > rows / kWalkShare)
    return DrawByWalk(txn, object, space, draw.count, visit);
  DrawByRank(txn, object, space, draw, visit);
}

Status DrawRows(const SnapshotView& view, const RowSource& source, const RowDraw& draw, Random random,
                const DrawVisitor& visit) {
  if (draw.distinct) {
    SampleStream sample(source.count(), draw.count, random);
    return source.ForAll(view, [&](std::string_view key, std::string_view value) {
      if (sample.Take()) visit(key, value);
      return true;
    });
  }
  // Ranks in order, each with its place in the reply; then one pass picks up the rows.
  std::vector<std::pair<uint64_t, uint64_t>> ranks;
  std::vector<std::pair<std::string, std::string>> rows;
  for (uint64_t left = draw.count; left > 0; left -= rows.size()) {
    const uint64_t draws = std::min(left, kDrawsPerPass);
    rows.assign(draws, {});
    ranks.clear();
    for (uint64_t i = 0; i < draws; ++i) ranks.emplace_back(random.Below(source.count()), i);
    std::sort(ranks.begin(), ranks.end());
    uint64_t rank = 0;
    auto next = ranks.begin();
    const Status status = source.ForAll(view, [&](std::string_view key, std::string_view value) {
      for (; next != ranks.end() && next->first == rank; ++next)
        rows[next->second] = {std::string(key), std::string(value)};
      ++rank;
      return true;
    });
    if (!status.ok()) return status;
    for (const auto& [key, value] : rows) visit(key, value);
  }
  return {};
}

}  // namespace thermocline
