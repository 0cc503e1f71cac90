#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "encoding/bytes.h"
#include "encoding/check.h"
#include "engine/collection.h"
#include "engine/row_source.h"
#include "engine/txn.h"

/// The list type. Each element is a row of the fields space; the layout is drawn in encoding/format.h.
///
/// The key of a row begins with an index, and the body knows the range of indices, [head, tail). A *dense*
/// list has one row for each index of it: where an element lies follows from its position, so that LINDEX of
/// a list on disk is one read, and LTRIM needs none. Both ends grow and shrink without touching anything
/// else.
///
/// LINSERT and LREM in the middle of a long list would have to shift what is on one side of it, half a
/// million rows maybe. They make it *sparse* instead: a removed element leaves a hole, and an inserted one
/// gets an index in a hole or, where there is none, a number behind its left neighbour's key. So both cost a
/// row per element; what is lost is the way from a position to a key. Near an end it is walked, elsewhere the
/// rows are counted, which needs them in RAM. Where few elements are on one side they are shifted, and the
/// list stays dense; so does every list up to kShiftRowsMax elements, and a sparse one that shrinks to it
/// becomes so.
///
/// A list is often a queue: rows that were removed are behind it on one side or on both. The body says where
/// they end, so nothing here ever looks for the first row from the start of the space, or for the last from
/// its end: it would walk over the tombstones of all that ever passed.
///
/// Nor does a long dense list write a tombstone for each: what is cut off its ends is *left* on disk, the
/// body says how much, and kLeftRowsMax rows at a time are deleted as a range. A push overwrites what is left
/// at its index. So a pop writes nothing but the head, and compactions have less to do.
///
/// Keyspace thread only, but for the searches, which any thread may use. What takes an Object* takes a live
/// list, but for ListPush. Everything may unwind, before its first write. Values that are passed in must not
/// point into the list that is written. Positions count from the head, from 0. Functions that change a list
/// tell of it (Txn::Changed) as Redis does, and remove the key with the last element.
namespace thermocline {

enum class ListEnd : uint8_t { kHead, kTail };

/// Where the first element of a list goes: both ends may grow for longer than any disk lasts.
inline constexpr uint64_t kListFirstIndex = uint64_t{1} << 62;
/// So many rows at most are shifted to keep a list dense. Invariant: a sparse list has more elements.
inline constexpr uint64_t kShiftRowsMax = 512;
/// So many rows at most are left at each end, and only while the list has as many elements or more: what is
/// left is never more than twice what is there.
inline constexpr uint64_t kLeftRowsMax = 1024;
/// Keys grow only where elements are inserted again and again between the two inserted last, eight bytes for
/// some dozens of them. A list in which one would become longer than this is written anew, dense.
inline constexpr size_t kListKeyBytesMax = 1024;

/// What the body of a list says.
struct ListBody {
  explicit ListBody(const format::CollectionBody& body)
      : count(body.count),
        head(body.aux0),
        tail(body.aux1 >> 1),
        sparse((body.aux1 & 1) != 0),
        before(body.before),
        behind(body.behind) {}
  ListBody(uint64_t c, uint64_t h, uint64_t t, bool s) : count(c), head(h), tail(t), sparse(s) {}
  format::CollectionBody Encode() const {
    return {count, head, tail << 1 | uint64_t{sparse}, before, behind};
  }
  /// The index of a new row at an end, which overwrites one that is left there.
  uint64_t GrowHead() {
    if (before > 0) --before;
    return --head;
  }
  uint64_t GrowTail() {
    if (behind > 0) --behind;
    return tail++;
  }

  uint64_t count;
  uint64_t head;  ///< no row's key is smaller than this index
  uint64_t tail;  ///< every row's key is smaller than this index
  bool sparse;
  uint64_t before = 0;  ///< indices before the head that rows may be left at; 0 of a sparse list
  uint64_t behind = 0;  ///< the same from the tail on
};

/// The row key of an index.
class ListKey {
 public:
  ListKey() = default;
  explicit ListKey(uint64_t index) { StoreBig64(bytes_.data(), index); }
  std::string_view view() const { return {bytes_.data(), bytes_.size()}; }

 private:
  std::array<char, 8> bytes_;
};

/// A row key between two others, not longer than one of them by more than eight bytes.
/// REQUIRES: left < right, both keys of list rows.
std::string ListKeyBetween(std::string_view left, std::string_view right);

inline uint64_t ListLength(const Object* object) { return CollectionCount(object); }

// -- Reading

/// The element at a position, from where the caller goes on towards the tail or, with `forward` false, the
/// head: rows that are on disk are read ahead that way. Not valid only where rows are missing on disk.
/// REQUIRES position < length.
Txn::Cursor ListSeek(Txn& txn, Object* object, uint64_t position, bool forward);

/// Calls `visit(key, value)` for the elements from `position` on, towards the tail or, with `forward` false,
/// the head, until it gives false. It should do so with the last element that is wanted: to look for one more
/// may mean to read it from disk. Views are valid during the call.
template <typename Visit>
void ListVisit(Txn& txn, Object* object, uint64_t position, bool forward, Visit&& visit) {
  for (Txn::Cursor row = ListSeek(txn, object, position, forward); row.valid();
       forward ? row.Next() : row.Previous()) {
    if (!visit(row.key(), row.value())) return;
  }
}

/// The element at a position, by itself: one read where the list is dense. nullopt: rows are missing on disk.
std::optional<std::string_view> ListGet(Txn& txn, Object* object, uint64_t position);

// -- The ends

/// Adds elements, one after the other, at one end. `object`: a live list or absent, then the list is made.
void ListPush(Txn& txn, Object* object, ListEnd end, std::span<const std::string_view> values);

/// Makes `object` a list of these elements, at least one, whatever it was before. `event`: the key event's
/// name.
void ListStore(Txn& txn, Object* object, std::span<const std::string_view> values, const char* event);

/// Removes `count` elements from one end. REQUIRES 0 < count <= length.
void ListDrop(Txn& txn, Object* object, ListEnd end, uint64_t count);

/// The same, and gives them to `visit(value)`, from the end inwards, before anything is removed.
template <typename Visit>
void ListPop(Txn& txn, Object* object, ListEnd end, uint64_t count, Visit&& visit) {
  const bool head = end == ListEnd::kHead;
  uint64_t left = count;
  ListVisit(txn, object, head ? 0 : ListLength(object) - 1, /*forward=*/head,
            [&](std::string_view, std::string_view value) {
              visit(value);
              return --left > 0;
            });
  ListDrop(txn, object, end, count);
}

/// Moves an element from an end of `from` to an end of `to`, which may be the same list, or absent. Returns
/// it; the view is valid until the next command.
std::string_view ListMove(Txn& txn, Object* from, ListEnd from_end, Object* to, ListEnd to_end);

/// Removes all but the elements from `first` to `last`, both included; none stays when first > last.
/// REQUIRES: last < length. O(log n).
void ListTrim(Txn& txn, Object* object, uint64_t first, uint64_t last);

// -- The middle

/// Overwrites the element at a position. Does not read where the list is dense. REQUIRES position < length.
void ListSet(Txn& txn, Object* object, uint64_t position, std::string_view value);

/// Looks for the place where LINSERT inserts, in a walk over the rows from the head.
class ListPlaceSearch {
 public:
  ListPlaceSearch(std::string pivot, bool before) : pivot_(std::move(pivot)), before_(before) {}
  /// Takes the next row. False: enough.
  bool Visit(std::string_view key, std::string_view value);
  bool found() const { return found_; }
  /// The keys of the neighbours-to-be; empty: there is none on that side. REQUIRES found().
  const std::string& left() const { return left_; }
  const std::string& right() const { return right_; }

 private:
  std::string pivot_;
  bool before_;
  bool found_ = false;
  std::string left_, right_;
};

/// Inserts an element at the place that a search over all of the list, as it is now, has found.
void ListInsert(Txn& txn, Object* object, const ListPlaceSearch& place, std::string_view value);

/// Looks for elements that equal a value, in a walk over the rows from either end.
class ListMatchSearch {
 public:
  /// `limit`: so many at most; 0: all.
  ListMatchSearch(std::string value, uint64_t limit) : value_(std::move(value)), limit_(limit) {}
  bool Visit(std::string_view key, std::string_view value);
  /// The keys of the elements, in the order of the walk.
  const std::vector<std::string>& keys() const { return keys_; }

 private:
  std::string value_;
  uint64_t limit_;
  std::vector<std::string> keys_;
};

/// Removes elements by their keys, which are in order, without double ones, and at least one.
void ListRemove(Txn& txn, Object* object, const std::vector<std::string>& keys);

/// What LPOS is asked for.
struct ListPositionQuery {
  bool forward = true;
  uint64_t rank = 1;    ///< the first match that counts, from 1
  uint64_t limit = 1;   ///< so many matches at most; 0: all
  uint64_t window = 0;  ///< so many elements are looked at; 0: all
};

/// Looks for the positions of elements that equal a value, in a walk over the rows from either end.
class ListPositionSearch {
 public:
  ListPositionSearch(std::string value, const ListPositionQuery& query, uint64_t length)
      : value_(std::move(value)), query_(query), length_(length) {}
  bool Visit(std::string_view key, std::string_view value);
  const std::vector<uint64_t>& positions() const { return positions_; }

 private:
  std::string value_;
  ListPositionQuery query_;
  uint64_t length_;
  uint64_t seen_ = 0;
  uint64_t matches_ = 0;
  std::vector<uint64_t> positions_;
};

}  // namespace thermocline
