#include "engine/list.h"

#include <algorithm>
#include <utility>

namespace thermocline {

namespace {

constexpr RowSpace kRows = RowSpace::kFields;
/// In a sparse list, an element so near an end is found by walking there.
constexpr uint64_t kWalkRowsMax = 1000;
/// Up to so many rows of a dense list are erased by key: cheaper for later reads than a range, and for now.
constexpr uint64_t kEraseByKeyMax = 64;

/// The index that a row key begins with.
uint64_t IndexOf(std::string_view key) { return key.size() < 8 ? 0 : LoadBig64(key.data()); }

ListBody BodyOf(Txn& txn, const Object* object) { return ListBody(txn.body(object)); }

/// Tells a list that was read from disk that there are no rows before its head nor behind its tail. That
/// stays known while rows come and go at the ends, so that it is looked up most times, not told again.
void KnowEnds(Txn& txn, Object* object, const ListBody& body) {
  const RowTree& tree = object->rows->fields;
  if (tree.complete()) return;
  const ListKey head(body.head), before_head(body.head - 1), tail(body.tail);
  if (tree.Find(before_head.view()).knowledge == RowTree::Knowledge::kUnknown)
    txn.KnowEmpty(object, kRows, {}, head.view());
  if (tree.Find(tail.view()).knowledge == RowTree::Knowledge::kUnknown)
    txn.KnowEmpty(object, kRows, tail.view(), std::nullopt);
}

Txn::Cursor FromHead(Txn& txn, Object* object, const ListBody& body) {
  return txn.SeekForward(object, kRows, ListKey(body.head).view());
}
Txn::Cursor FromTail(Txn& txn, Object* object, const ListBody& body) {
  return txn.SeekBackward(object, kRows, ListKey(body.tail).view());
}

/// Copies up to `count` elements from `row` on.
std::vector<std::string> CopyValues(Txn::Cursor row, uint64_t count) {
  std::vector<std::string> values;
  values.reserve(count);
  while (row.valid() && values.size() < count) {
    values.emplace_back(row.value());
    if (values.size() < count) row.Next();
  }
  return values;
}

/// The key of the row at a position of a sparse list. Empty, which is before all keys: rows are missing on
/// disk.
std::string KeyAt(Txn& txn, Object* object, uint64_t position) {
  const Txn::Cursor row = ListSeek(txn, object, position, /*forward=*/true);
  return row.valid() ? std::string(row.key()) : std::string();
}

/// Erases the rows of `count` indices of a dense list, without reading any.
void EraseIndices(Txn& txn, Object* object, uint64_t first, uint64_t count) {
  if (count > kEraseByKeyMax) {
    txn.EraseRange(object, kRows, ListKey(first).view(), ListKey(first + count).view(), count);
    return;
  }
  for (uint64_t i = 0; i < count; ++i) txn.Erase(object, kRows, ListKey(first + i).view());
}

/// Deletes the rows that are left at the ends.
void EraseLeft(Txn& txn, Object* object, ListBody& body) {
  EraseIndices(txn, object, body.head - body.before, body.before);
  EraseIndices(txn, object, body.tail, body.behind);
  body.before = body.behind = 0;
}

/// Takes `count` rows, which are not all, off an end of a dense list, without reading any.
void CutRows(Txn& txn, Object* object, ListBody& body, ListEnd end, uint64_t count) {
  const bool head = end == ListEnd::kHead;
  const uint64_t first = head ? body.head : body.tail - count;
  if (head) {
    body.head += count;
  } else {
    body.tail -= count;
  }
  body.count -= count;
  uint64_t& left = head ? body.before : body.behind;
  if (object->rows->id != 0 && body.count >= kLeftRowsMax && left + count <= kLeftRowsMax) {
    left += count;
    txn.LeaveRange(object, kRows, ListKey(first).view(), ListKey(first + count).view(), count);
  } else if (body.before == 0 && body.behind == 0) {
    EraseIndices(txn, object, first, count);
  } else {
    left += count;
    EraseLeft(txn, object, body);
  }
}

/// Makes a list dense that consists of `values` from now on. REQUIRES: there are some; if it has no more rows
/// than are erased by key, all of them are in RAM.
void WriteAnew(Txn& txn, Object* object, const std::vector<std::string>& values) {
  ListBody old = BodyOf(txn, object);
  // Where no row has been, so that later reads do not meet the old ones' tombstones.
  ListBody body(values.size(), old.tail + old.behind, old.tail + old.behind, /*s=*/false);
  txn.EraseRange(object, kRows, ListKey(old.head).view(), ListKey(old.tail).view(), old.count);
  EraseLeft(txn, object, old);
  for (const std::string& value : values) txn.Put(object, kRows, ListKey(body.tail++).view(), value);
  txn.SetBody(object, body.Encode());
}

// ---- Ends, without telling ----

void MakeList(Txn& txn, Object* object) {
  txn.MakeRows(object, ObjectType::kList);
  txn.SetBody(object, ListBody(0, kListFirstIndex, kListFirstIndex, /*s=*/false).Encode());
}

void PushRows(Txn& txn, Object* object, ListEnd end, std::span<const std::string_view> values) {
  if (!object->live()) MakeList(txn, object);
  ListBody body = BodyOf(txn, object);
  KnowEnds(txn, object, body);
  for (const std::string_view value : values) {
    const uint64_t index = end == ListEnd::kHead ? body.GrowHead() : body.GrowTail();
    txn.Put(object, kRows, ListKey(index).view(), value);
  }
  body.count += values.size();
  txn.SetBody(object, body.Encode());
}

/// Removes `count` rows, which are not all, from an end of a sparse list.
void DropSparse(Txn& txn, Object* object, ListEnd end, uint64_t count) {
  ListBody body = BodyOf(txn, object);
  const bool head = end == ListEnd::kHead;
  const uint64_t left = body.count - count;
  if (left <= kShiftRowsMax) {
    const auto values = CopyValues(ListSeek(txn, object, head ? count : 0, /*forward=*/true), left);
    return WriteAnew(txn, object, values);
  }
  // The last row that stays, seen from this end. Those beyond it have been read on the way.
  std::string edge = KeyAt(txn, object, head ? count : left - 1);
  if (head) {
    txn.EraseRange(object, kRows, ListKey(body.head).view(), edge, count);
    body.head = IndexOf(edge);
  } else {
    const uint64_t index = IndexOf(edge);
    edge.push_back('\0');  // the first key behind it
    txn.EraseRange(object, kRows, edge, ListKey(body.tail).view(), count);
    body.tail = index + 1;
  }
  body.count = left;
  txn.SetBody(object, body.Encode());
}

/// False: the key has gone with them.
bool DropRows(Txn& txn, Object* object, ListEnd end, uint64_t count) {
  ListBody body = BodyOf(txn, object);
  if (count == body.count) {
    txn.Remove(object);
    return false;
  }
  KnowEnds(txn, object, body);
  if (body.sparse) {
    DropSparse(txn, object, end, count);
    return true;
  }
  CutRows(txn, object, body, end, count);
  txn.SetBody(object, body.Encode());
  return true;
}

void TellPushed(Txn& txn, Object* object, ListEnd end) {
  txn.Changed(object, EventClass::kList, end == ListEnd::kHead ? "lpush" : "rpush");
}
void TellPopped(Txn& txn, Object* object, ListEnd end, bool live) {
  txn.Changed(object, EventClass::kList, end == ListEnd::kHead ? "lpop" : "rpop");
  if (!live) txn.Changed(object, EventClass::kGeneric, "del");
}

// ---- Keys between keys ----

/// How far from the inner neighbour a new number is put. Elements inserted one behind the other at one place
/// take steps away from it, and there is room for 2^40 of them; yet each two have room between them.
constexpr uint64_t kStep = uint64_t{1} << 24;

uint64_t NumberAt(std::string_view key, size_t at) { return at + 8 <= key.size() ? LoadBig64(&key[at]) : 0; }

}  // namespace

std::string ListKeyBetween(std::string_view left, std::string_view right) {
  std::string key;
  bool bounded = true;  // what is put together so far is a beginning of `right`
  for (size_t at = 0;; at += 8) {
    // Keys that are out of order, as only damage can make them, must not keep this from ending.
    bounded = bounded && (at < left.size() || at < right.size());
    const uint64_t low = NumberAt(left, at);
    // Unbounded, one more than the largest number is the end; so room is counted without the ends.
    const uint64_t room = bounded ? NumberAt(right, at) - low - 1 : ~uint64_t{0} - low;
    if (bounded && NumberAt(right, at) == low) {
      AppendBig64(key, low);
      continue;
    }
    if (room == 0) {
      AppendBig64(key, low);
      bounded = false;
      continue;
    }
    const uint64_t half = room / 2 + 1;
    const bool left_ended = at >= left.size();
    uint64_t number = low + half;
    if (!left_ended && (!bounded || left.size() > right.size())) {
      number = low + std::min(kStep, half);
    } else if (left_ended && bounded) {
      number = low + room + 1 - std::min(kStep, half);
    }
    AppendBig64(key, number);
    return key;
  }
}

// ---- Reading ----

Txn::Cursor ListSeek(Txn& txn, Object* object, uint64_t position, bool forward) {
  const ListBody body = BodyOf(txn, object);
  KnowEnds(txn, object, body);
  if (!body.sparse) {
    // From the tail itself, so that what is behind the last row becomes known together with it.
    if (!forward && position == body.count - 1) return FromTail(txn, object, body);
    const ListKey key(body.head + position);
    return forward ? txn.SeekForward(object, kRows, key.view()) : txn.SeekBackward(object, kRows, key.view());
  }
  const uint64_t from_tail = body.count - 1 - position;
  if (std::min(position, from_tail) > kWalkRowsMax) {
    txn.CompleteRows(object, kRows);
    if (position < object->rows->fields.count()) return txn.SelectRow(object, kRows, position);
    return txn.SeekForward(object, kRows, ListKey(body.tail).view());  // rows are missing
  }
  if (position <= from_tail) {
    Txn::Cursor row = FromHead(txn, object, body);
    for (uint64_t i = 0; i < position && row.valid(); ++i) row.Next();
    return row;
  }
  Txn::Cursor row = FromTail(txn, object, body);
  for (uint64_t i = 0; i < from_tail && row.valid(); ++i) row.Previous();
  return row;
}

std::optional<std::string_view> ListGet(Txn& txn, Object* object, uint64_t position) {
  const ListBody body = BodyOf(txn, object);
  if (!body.sparse) return txn.Get(object, kRows, ListKey(body.head + position).view());
  const Txn::Cursor row = ListSeek(txn, object, position, /*forward=*/true);
  return row.valid() ? std::optional(row.value()) : std::nullopt;
}

// ---- The ends ----

void ListPush(Txn& txn, Object* object, ListEnd end, std::span<const std::string_view> values) {
  PushRows(txn, object, end, values);
  TellPushed(txn, object, end);
}

void ListStore(Txn& txn, Object* object, std::span<const std::string_view> values, const char* event) {
  MakeList(txn, object);
  PushRows(txn, object, ListEnd::kTail, values);
  txn.Changed(object, EventClass::kList, event);
}

void ListDrop(Txn& txn, Object* object, ListEnd end, uint64_t count) {
  TellPopped(txn, object, end, DropRows(txn, object, end, count));
}

std::string_view ListMove(Txn& txn, Object* from, ListEnd from_end, Object* to, ListEnd to_end) {
  std::string& value = txn.scratch();
  const bool head = from_end == ListEnd::kHead;
  ListVisit(txn, from, head ? 0 : ListLength(from) - 1, /*forward=*/head,
            [&](std::string_view, std::string_view element) {
              value = element;
              return false;
            });
  const std::string_view values[] = {value};
  bool live = true;
  // Within one list an element that goes to where it is, as the only one does, stays there.
  if (from != to || (from_end != to_end && ListLength(from) > 1)) {
    live = DropRows(txn, from, from_end, 1);
    PushRows(txn, to, to_end, values);
  }
  TellPushed(txn, to, to_end);
  TellPopped(txn, from, from_end, live);
  return value;
}

namespace {

/// Of a sparse list.
void TrimSparse(Txn& txn, Object* object, uint64_t first, uint64_t last) {
  ListBody body = BodyOf(txn, object);
  const uint64_t behind = body.count - 1 - last;
  const uint64_t left = last - first + 1;
  if (left <= kShiftRowsMax)
    return WriteAnew(txn, object, CopyValues(ListSeek(txn, object, first, /*forward=*/true), left));
  const std::string begin = KeyAt(txn, object, first);
  std::string end = KeyAt(txn, object, last);
  if (first > 0) {
    txn.EraseRange(object, kRows, ListKey(body.head).view(), begin, first);
    body.head = IndexOf(begin);
  }
  if (behind > 0) {
    const uint64_t index = IndexOf(end);
    end.push_back('\0');
    txn.EraseRange(object, kRows, end, ListKey(body.tail).view(), behind);
    body.tail = index + 1;
  }
  body.count = left;
  txn.SetBody(object, body.Encode());
}

}  // namespace

void ListTrim(Txn& txn, Object* object, uint64_t first, uint64_t last) {
  ListBody body = BodyOf(txn, object);
  if (first > last || first >= body.count) {
    txn.Remove(object);
    txn.Changed(object, EventClass::kList, "ltrim");
    txn.Changed(object, EventClass::kGeneric, "del");
    return;
  }
  const uint64_t behind = body.count - 1 - last;
  if (first > 0 || behind > 0) {
    KnowEnds(txn, object, body);
    if (body.sparse) {
      TrimSparse(txn, object, first, last);
    } else {
      if (first > 0) CutRows(txn, object, body, ListEnd::kHead, first);
      if (behind > 0) CutRows(txn, object, body, ListEnd::kTail, behind);
      txn.SetBody(object, body.Encode());
    }
  }
  txn.Changed(object, EventClass::kList, "ltrim");
}

// ---- The middle ----

void ListSet(Txn& txn, Object* object, uint64_t position, std::string_view value) {
  const ListBody body = BodyOf(txn, object);
  if (!body.sparse) {
    txn.Put(object, kRows, ListKey(body.head + position).view(), value);
  } else if (const Txn::Cursor row = ListSeek(txn, object, position, /*forward=*/true); row.valid()) {
    const std::string key(row.key());
    txn.Put(object, kRows, key, value);
  }
  txn.Changed(object, EventClass::kList, "lset");
}

bool ListPlaceSearch::Visit(std::string_view key, std::string_view value) {
  if (found_) {  // behind the pivot
    right_ = key;
    return false;
  }
  if (value == pivot_) {
    found_ = true;
    (before_ ? right_ : left_) = key;
    return !before_;
  }
  left_ = key;
  return true;
}

bool ListMatchSearch::Visit(std::string_view key, std::string_view value) {
  if (value == value_) keys_.emplace_back(key);
  return limit_ == 0 || keys_.size() < limit_;
}

bool ListPositionSearch::Visit(std::string_view, std::string_view value) {
  const uint64_t at = seen_++;
  if (value == value_ && ++matches_ >= query_.rank) {
    positions_.push_back(query_.forward ? at : length_ - 1 - at);
    if (positions_.size() == query_.limit) return false;
  }
  return seen_ != query_.window && seen_ < length_;
}

namespace {

/// Inserts at a position of a dense list, moving the rows on the shorter side of it by one.
void InsertByShifting(Txn& txn, Object* object, uint64_t position, std::string_view value) {
  ListBody body = BodyOf(txn, object);
  const bool down = position < body.count - position;
  const uint64_t moved = down ? position : body.count - position;
  const uint64_t from = down ? body.head : body.head + position;
  const auto values = CopyValues(txn.SeekForward(object, kRows, ListKey(from).view()), moved);
  const uint64_t to = down ? from - 1 : from + 1;
  for (uint64_t i = 0; i < values.size(); ++i) txn.Put(object, kRows, ListKey(to + i).view(), values[i]);
  (void)(down ? body.GrowHead() : body.GrowTail());
  ++body.count;
  txn.Put(object, kRows, ListKey(body.head + position).view(), value);
  txn.SetBody(object, body.Encode());
}

/// Inserts a row between two others.
void InsertBetween(Txn& txn, Object* object, const ListPlaceSearch& place, std::string_view value) {
  ListBody body = BodyOf(txn, object);
  const std::string key = ListKeyBetween(place.left(), place.right());
  if (key.size() > kListKeyBytesMax) {
    const uint64_t position = txn.RankOfRow(object, kRows, key);
    std::vector<std::string> values = CopyValues(FromHead(txn, object, body), body.count);
    values.insert(values.begin() + static_cast<ptrdiff_t>(position), std::string(value));
    return WriteAnew(txn, object, values);
  }
  txn.Put(object, kRows, key, value);
  EraseLeft(txn, object, body);
  ++body.count;
  body.sparse = true;
  txn.SetBody(object, body.Encode());
}

}  // namespace

void ListInsert(Txn& txn, Object* object, const ListPlaceSearch& place, std::string_view value) {
  CHECK(place.found());
  const ListBody body = BodyOf(txn, object);
  KnowEnds(txn, object, body);
  const std::string_view values[] = {value};
  if (place.left().empty()) {
    PushRows(txn, object, ListEnd::kHead, values);
  } else if (place.right().empty()) {
    PushRows(txn, object, ListEnd::kTail, values);
  } else {
    const uint64_t position = IndexOf(place.right()) - body.head;
    if (!body.sparse && std::min(position, body.count - position) <= kShiftRowsMax) {
      InsertByShifting(txn, object, position, value);
    } else {
      InsertBetween(txn, object, place, value);
    }
  }
  txn.Changed(object, EventClass::kList, "linsert");
}

namespace {

/// Removes rows from a dense list and closes the gaps. `down`: what is behind the first of them moves towards
/// the head; else what is before the last moves towards the tail.
void RemoveByShifting(Txn& txn, Object* object, const std::vector<std::string>& keys, bool down) {
  ListBody body = BodyOf(txn, object);
  const uint64_t begin = down ? IndexOf(keys.front()) : body.head;
  const uint64_t end = down ? body.tail : IndexOf(keys.back()) + 1;
  std::vector<ListKey> staying;
  staying.reserve(end - begin - keys.size());
  auto removed = keys.begin();
  for (uint64_t index = begin; index < end; ++index) {
    if (removed != keys.end() && IndexOf(*removed) == index) {
      ++removed;
    } else {
      staying.emplace_back(index);
    }
  }
  std::vector<std::string_view> wanted;
  wanted.reserve(staying.size());
  for (const ListKey& key : staying) wanted.push_back(key.view());
  txn.PrefetchRows(object, kRows, wanted);
  std::vector<std::string> values;
  values.reserve(staying.size());
  for (const ListKey& key : staying)
    values.emplace_back(txn.Get(object, kRows, key.view()).value_or(std::string_view()));

  const uint64_t to = down ? begin : end - staying.size();
  for (size_t i = 0; i < values.size(); ++i) {
    if (IndexOf(staying[i].view()) != to + i) txn.Put(object, kRows, ListKey(to + i).view(), values[i]);
  }
  CutRows(txn, object, body, down ? ListEnd::kTail : ListEnd::kHead, keys.size());
  txn.SetBody(object, body.Encode());
}

/// Removes rows, each by itself; the list is sparse then.
void RemoveSparsely(Txn& txn, Object* object, const std::vector<std::string>& keys) {
  ListBody body = BodyOf(txn, object);
  const uint64_t left = body.count - keys.size();
  if (left <= kShiftRowsMax) {
    std::vector<std::string> values;
    values.reserve(left);
    auto removed = keys.begin();
    for (Txn::Cursor row = FromHead(txn, object, body); row.valid(); row.Next()) {
      if (removed != keys.end() && *removed == row.key()) {
        ++removed;
      } else {
        values.emplace_back(row.value());
      }
    }
    return WriteAnew(txn, object, values);
  }
  // The ends that will be, before anything is written.
  uint64_t head = body.head, tail = body.tail;
  Txn::Cursor row = FromHead(txn, object, body);
  for (auto key = keys.begin(); key != keys.end() && row.valid() && row.key() == *key; ++key) row.Next();
  if (row.valid()) head = IndexOf(row.key());
  row = FromTail(txn, object, body);
  for (auto key = keys.rbegin(); key != keys.rend() && row.valid() && row.key() == *key; ++key)
    row.Previous();
  if (row.valid()) tail = IndexOf(row.key()) + 1;
  for (const std::string& key : keys) txn.Erase(object, kRows, key);
  EraseLeft(txn, object, body);
  txn.SetBody(object, ListBody(left, head, tail, /*s=*/true).Encode());
}

}  // namespace

void ListRemove(Txn& txn, Object* object, const std::vector<std::string>& keys) {
  const ListBody body = BodyOf(txn, object);
  CHECK(!keys.empty() && keys.size() <= body.count);
  KnowEnds(txn, object, body);
  bool live = true;
  if (keys.size() == body.count) {
    txn.Remove(object);
    live = false;
  } else if (body.sparse) {
    RemoveSparsely(txn, object, keys);
  } else {
    const uint64_t up = IndexOf(keys.back()) + 1 - body.head - keys.size();
    const uint64_t down = body.tail - IndexOf(keys.front()) - keys.size();
    if (std::min(up, down) <= kShiftRowsMax) {
      RemoveByShifting(txn, object, keys, down < up);
    } else {
      RemoveSparsely(txn, object, keys);
    }
  }
  txn.Changed(object, EventClass::kList, "lrem");
  if (!live) txn.Changed(object, EventClass::kGeneric, "del");
}

}  // namespace thermocline
