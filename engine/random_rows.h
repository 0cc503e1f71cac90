#pragma once

#include <cstdint>
#include <functional>
#include <string_view>

#include "engine/random.h"
#include "engine/row_source.h"
#include "engine/txn.h"

/// Random rows of a collection, for SPOP, SRANDMEMBER, HRANDFIELD: of the space that has one row for each of
/// what the collection counts. Each row has the same chance, but for a few rows of a large collection on
/// disk, where it is as Txn::RandomRow says.
namespace thermocline {

struct RowDraw {
  uint64_t count = 1;    ///< with `distinct` at most the rows that there are
  bool distinct = true;  ///< no row twice (then in no particular order); else each draw is from all
};

/// Called for each row that was drawn; the views are valid during the call.
using DrawVisitor = std::function<void(std::string_view key, std::string_view value)>;

/// Draws from what is in RAM, or is brought there: few rows one by one, for many the whole space. May unwind,
/// also after visits.
void DrawRows(Txn& txn, Object* object, RowSpace space, const RowDraw& draw, const DrawVisitor& visit);

/// Whether that would bring a large space into RAM as a whole, so that a reader thread should draw instead.
bool DrawNeedsWholeSpace(const Object* object, RowSpace space, const RowDraw& draw);

/// The same on a reader thread: goes over all rows, once for each kDrawsPerPass rows. Order: random for draws
/// that are not distinct.
Status DrawRows(const SnapshotView& view, const RowSource& source, const RowDraw& draw, Random random,
                const DrawVisitor& visit);

/// Selection sampling (Knuth, TAOCP 3.4.2, algorithm S): of `rows` rows that come one after the other exactly
/// `count` are taken, every subset with the same chance.
class SampleStream {
 public:
  SampleStream(uint64_t rows, uint64_t count, Random& random) : rows_(rows), count_(count), random_(random) {}
  /// Whether the next row is taken.
  bool Take() {
    if (rows_ == 0 || random_.Below(rows_--) >= count_) return false;
    --count_;
    return true;
  }
  uint64_t left() const { return count_; }

 private:
  uint64_t rows_;   ///< that are still to come
  uint64_t count_;  ///< that are still to be taken
  Random& random_;
};

}  // namespace thermocline
