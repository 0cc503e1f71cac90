#include "engine/row_tree.h"

#include <malloc.h>

#include <string>
#include <utility>

#include "engine/row_tree_nodes.h"

namespace thermocline {

using row_tree::Compare;
using row_tree::Inner;
using row_tree::IsSuccessor;
using row_tree::Kind;
using row_tree::Leaf;

namespace {

std::string Successor(std::string_view key) {
  std::string successor;
  successor.reserve(key.size() + 1);
  successor.append(key).push_back('\0');
  return successor;
}

// Where a gap behind this entry begins: at a bound's own key, or right after a row or dummy.
std::string GapStartBehind(Kind kind, std::string_view key) {
  return kind == Kind::kBound ? std::string(key) : Successor(key);
}

}  // namespace

// ---------------------------------------------------------------- life

RowTree::RowTree(RowTree&& other) noexcept { *this = std::move(other); }

RowTree& RowTree::operator=(RowTree&& other) noexcept {
  if (this == &other) return *this;
  FreeAll();
  root_ = std::exchange(other.root_, nullptr);
  gaps_ = other.gaps_;
  height_ = other.height_;
  end_gap_ = other.end_gap_;
  other.gaps_ = other.height_ = other.end_gap_ = 0;
  memory_bytes_ = std::exchange(other.memory_bytes_, 0);
  data_bytes_ = std::exchange(other.data_bytes_, 0);
  return *this;
}

RowTree::~RowTree() { FreeAll(); }

void RowTree::Forget() {
  FreeAll();
  end_gap_ = 1;
  gaps_ = 1;
}

// ---------------------------------------------------------------- knowledge

bool RowTree::GapBefore(const Entry& entry) const {
  return entry ? entry.leaf->gap(entry.index) : end_gap_ != 0;
}

void RowTree::SetGap(const Entry& entry, bool gap) {
  if (GapBefore(entry) == gap) return;
  if (entry) {
    entry.leaf->slot(entry.index) ^= row_tree::kGapBit;
  } else {
    end_gap_ = gap;
  }
  gaps_ += gap ? 1 : -1;
}

/// Between `key` and "key\0" there is nothing to be unknown. Tells whether a gap was closed for that.
bool RowTree::CloseIfEmpty(std::string_view key, const Entry& next) {
  if (!next || !GapBefore(next) || !IsSuccessor(key, next.key())) return false;
  SetGap(next, false);
  return true;
}

/// Takes in a key about which nothing was known and that has no entry. `kind` is kRow or kDummy.
void RowTree::InsertIntoGap(Path& path, Kind kind, std::string_view key, std::string_view value) {
  const Entry before = EntryBefore(path), next = EntryAt(path, 0);
  const bool at_start =
      before ? before.kind() != Kind::kBound && IsSuccessor(before.key(), key) : key.empty();
  const bool closed = CloseIfEmpty(key, next);
  const bool tells = kind == Kind::kRow || !at_start || GapBefore(next);
  if (!at_start && !closed) return InsertEntry(path, kind, true, key, value);
  // Rare: the key is a neighbour's next possible key, so that a gap ended and dummies around may be needless
  // now.
  const std::string copy(key);
  if (tells) InsertEntry(path, kind, !at_start, copy, value);
  Prune(copy, &copy);
}

/// Makes the bound at the path a row or a dummy.
void RowTree::ResolveBound(Path& path, Kind kind, std::string_view value) {
  const std::string key(path.leaf->key(path.pos));
  const bool closed = CloseIfEmpty(key, EntryAt(path, 1));
  if (kind == Kind::kRow) {
    ToRow(path, value);
  } else {
    ToDummy(path);
  }
  if (closed) Prune(key, &key);
}

RowTree::Knowledge RowTree::Put(std::string_view key, std::string_view value) {
  Path path;
  Descend(key, &path);
  if (path.found) {
    switch (path.leaf->kind(path.pos)) {
      case Kind::kRow: Overwrite(path, value); return Knowledge::kPresent;
      case Kind::kDummy: ToRow(path, value); return Knowledge::kAbsent;
      case Kind::kBound: ResolveBound(path, Kind::kRow, value); return Knowledge::kUnknown;
    }
  }
  if (gaps_ == 0 || !GapBefore(EntryAt(path, 0))) {
    InsertEntry(path, Kind::kRow, false, key, value);
    return Knowledge::kAbsent;
  }
  InsertIntoGap(path, Kind::kRow, key, value);
  return Knowledge::kUnknown;
}

RowTree::Knowledge RowTree::Erase(std::string_view key) {
  Path path;
  Descend(key, &path);
  if (path.found) {
    switch (path.leaf->kind(path.pos)) {
      case Kind::kRow:
        if (gaps_ == 0 || (!path.leaf->gap(path.pos) && !GapBefore(EntryAt(path, 1)))) {
          RemoveEntry(path);
        } else {
          ToDummy(path);
        }
        return Knowledge::kPresent;
      case Kind::kDummy: return Knowledge::kAbsent;
      case Kind::kBound: ResolveBound(path, Kind::kDummy, {}); return Knowledge::kUnknown;
    }
  }
  if (gaps_ == 0 || !GapBefore(EntryAt(path, 0))) return Knowledge::kAbsent;
  InsertIntoGap(path, Kind::kDummy, key, {});
  return Knowledge::kUnknown;
}

uint64_t RowTree::EraseRange(std::string_view from_view, std::optional<std::string_view> to_view) {
  if (to_view && Compare(*to_view, from_view) <= 0) return 0;
  const std::string from(from_view);  // they may be views of what is changed here
  const std::optional<std::string> to = to_view ? std::optional<std::string>(*to_view) : std::nullopt;
  MarkRangeKnown(from, to);
  // The range before a row at `from` may be unknown; it stays so.
  uint64_t erased = Erase(from) == Knowledge::kPresent ? 1 : 0;
  const std::string next = Successor(from);
  for (;;) {
    Path path;
    Descend(next, &path);
    if (path.leaf == nullptr) return erased;
    if (path.pos == path.leaf->entries && !MoveToLeaf(&path, 1)) return erased;
    // No entry inside the range has a gap before it, nor has the one behind it.
    if (to && Compare(path.leaf->key(path.pos), *to) >= 0) return erased;
    if (path.pos == 0 && (!to || Compare(path.leaf->key(path.leaf->entries - 1), *to) < 0)) {
      erased += RemoveLeaf(path);
    } else {
      erased += path.leaf->kind(path.pos) == Kind::kRow;
      RemoveEntry(path);
    }
  }
}

void RowTree::LoadPoint(std::string_view key, std::optional<std::string_view> value) {
  if (gaps_ == 0) return;
  const Kind kind = value ? Kind::kRow : Kind::kDummy;
  Path path;
  Descend(key, &path);
  if (path.found) {
    if (path.leaf->kind(path.pos) == Kind::kBound)
      ResolveBound(path, kind, value.value_or(std::string_view()));
  } else if (GapBefore(EntryAt(path, 0))) {
    InsertIntoGap(path, kind, key, value.value_or(std::string_view()));
  }
}

void RowTree::MarkRangeKnown(std::string_view from_view, std::optional<std::string_view> to_view) {
  if (gaps_ == 0 || (to_view && Compare(*to_view, from_view) <= 0)) return;
  const std::string from(from_view);  // they may be views of what is changed here
  const std::optional<std::string> to = to_view ? std::optional<std::string>(*to_view) : std::nullopt;
  CutBefore(from);
  if (to) CutAt(*to);
  Path path;
  Descend(from, &path);
  // The gap before an entry at `from` itself is of keys outside the range.
  if (path.found) ++path.pos;
  while (path.leaf != nullptr && gaps_ != 0) {
    if (path.pos == path.leaf->entries && !MoveToLeaf(&path, 1)) break;
    const Entry entry{path.leaf, path.pos};
    const int c = to ? Compare(entry.key(), *to) : -1;
    if (c <= 0) SetGap(entry, false);
    if (c >= 0) break;
    ++path.pos;
  }
  if (!to) SetGap(Entry{}, false);
  Prune(from, to ? &*to : nullptr);
}

/// Before a range that begins at `from` is marked: when `from` lies inside a gap, a dummy keeps what comes
/// before it unknown.
void RowTree::CutBefore(const std::string& from) {
  Path path;
  Descend(from, &path);
  if (path.found || !GapBefore(EntryAt(path, 0))) return;
  const Entry before = EntryBefore(path);
  const bool at_start =
      before ? before.kind() != Kind::kBound && IsSuccessor(before.key(), from) : from.empty();
  if (!at_start) InsertEntry(path, Kind::kDummy, true, from, {});
}

/// The same for the range's end: when `to` lies inside a gap, a bound keeps it and what comes after it
/// unknown. The bound says at once that what is before it is known.
void RowTree::CutAt(const std::string& to) {
  Path path;
  Descend(to, &path);
  if (path.found || !GapBefore(EntryAt(path, 0))) return;
  const Entry before = EntryBefore(path);
  if (before && before.kind() != Kind::kBound && IsSuccessor(before.key(), to)) return;
  InsertEntry(path, Kind::kBound, false, to, {});
}

/// Removes the dummies and bounds that tell nothing (any more) from the range [from, to] and its neighbours.
void RowTree::Prune(const std::string& from, const std::string* to) {
  if (root_ == nullptr) return;
  Path path;
  Descend(from, &path);
  if (path.pos > 0 || MoveToLeaf(&path, -1)) --path.pos;
  for (;;) {
    if (path.pos == path.leaf->entries && !MoveToLeaf(&path, 1)) return;
    if (path.leaf->dummies == 0) path.pos = path.leaf->entries - 1;
    const Entry entry{path.leaf, path.pos};
    const bool last = to != nullptr && Compare(entry.key(), *to) > 0;
    if (entry.kind() == Kind::kRow || GapBefore(entry) || GapBefore(EntryAt(path, 1))) {
      if (last) return;
      ++path.pos;
      continue;
    }
    const std::string key(entry.key());
    RemoveEntry(path);
    if (last || root_ == nullptr) return;
    Descend(key, &path);
  }
}

void RowTree::DropDummies() {
  if (root_ == nullptr || gaps_ == 0) return;
  Path path;
  DescendToFirst(&path);
  for (;;) {
    if (path.leaf->dummies == 0) path.pos = path.leaf->entries;
    if (path.pos == path.leaf->entries) {
      if (!MoveToLeaf(&path, 1)) return;
      continue;
    }
    if (path.leaf->kind(path.pos) == Kind::kRow) {
      ++path.pos;
      continue;
    }
    SetGap(EntryAt(path, 1), true);
    const std::string key(path.leaf->key(path.pos));
    RemoveEntry(path);
    if (root_ == nullptr) return;
    Descend(key, &path);
  }
}

RowTree::Forgot RowTree::ForgetLeaf(uint64_t random) {
  if (root_ == nullptr) return Forgot::kNothing;
  Path path;
  path.height = static_cast<int>(height_);
  void* node = root_;
  for (int level = 0; level < path.height; ++level) {
    Inner* inner = static_cast<Inner*>(node);
    path.node[level] = inner;
    path.index[level] = static_cast<int>(random % inner->n);
    random = random / inner->n * 0x9e3779b97f4a7c15ULL >> 8;
    node = inner->children()[path.index[level]];
  }
  path.leaf = static_cast<Leaf*>(node);
  if (path.leaf->hot) {
    path.leaf->hot = 0;
    return Forgot::kSpared;
  }
  path.pos = path.leaf->entries - 1;
  const Entry next = EntryAt(path, 1);
  if (next && next.kind() == Kind::kBound)
    return Forgot::kNothing;  // it would tell nothing, and another leaf will do
  for (int i = 0; i < path.leaf->entries; ++i) gaps_ -= path.leaf->gap(i) ? 1 : 0;
  SetGap(next, true);
  RemoveLeaf(path);
  return Forgot::kLeaf;
}

std::string RowTree::FirstGap() const {
  CHECK(!complete());
  Cursor cursor(this);
  if (root_ != nullptr) {
    Path path;
    DescendToFirst(&path);
    bool found = false;
    do {
      for (path.pos = 0; path.pos < path.leaf->entries && !found; ++path.pos)
        found = path.leaf->gap(path.pos);
    } while (!found && MoveToLeaf(&path, 1));
    if (found) --path.pos;
    cursor.Place(path);
  }
  return cursor.GapStart();
}

// ---------------------------------------------------------------- counts

uint64_t RowTree::count() const {
  if (root_ == nullptr) return 0;
  return height_ > 0 ? static_cast<const Inner*>(root_)->Sum() : static_cast<const Leaf*>(root_)->rows();
}

uint64_t RowTree::Rank(std::string_view key) const {
  Path path;
  Descend(key, &path);
  if (path.leaf == nullptr) return 0;
  uint64_t rank = path.leaf->RowsBefore(path.pos);
  for (int level = 0; level < path.height; ++level) {
    const uint64_t* counts = path.node[level]->counts();
    for (int i = 0; i < path.index[level]; ++i) rank += counts[i];
  }
  return rank;
}

RowTree::Cursor RowTree::Select(uint64_t rank) const {
  CHECK(complete() && rank < count());
  Path path;
  path.height = height_;
  void* node = root_;
  for (int level = 0; level < path.height; ++level) {
    Inner* inner = static_cast<Inner*>(node);
    int i = 0;
    for (; rank >= inner->counts()[i]; ++i) rank -= inner->counts()[i];
    path.node[level] = inner;
    path.index[level] = i;
    node = inner->children()[i];
  }
  path.leaf = static_cast<Leaf*>(node);
  path.pos = rank;  // a complete tree holds rows only
  Cursor cursor(this);
  cursor.Place(path);
  cursor.at_ = Cursor::At::kRow;
  return cursor;
}

// ---------------------------------------------------------------- cursors

RowTree::Cursor RowTree::SeekForward(std::string_view from) const {
  Path path;
  Descend(from, &path);
  Cursor cursor(this);
  cursor.Place(path);
  if (path.found) {
    if (path.leaf->kind(path.pos) == Kind::kRow) {
      cursor.at_ = Cursor::At::kRow;
      return cursor;
    }
    ++cursor.index_;
  }
  cursor.SettleForward();
  // A gap that begins before `from` is the caller's business only from there on.
  if (!path.found && cursor.at_ == Cursor::At::kGap && cursor.gap_from_ < from) cursor.gap_from_ = from;
  return cursor;
}

RowTree::Cursor RowTree::SeekBackward(std::optional<std::string_view> from) const {
  Path path;
  Cursor cursor(this);
  if (!from) {
    path.height = height_;
    void* node = root_;
    for (int level = 0; level < path.height; ++level) {
      path.node[level] = static_cast<Inner*>(node);
      path.index[level] = path.node[level]->n - 1;
      node = path.node[level]->children()[path.index[level]];
    }
    path.leaf = static_cast<Leaf*>(node);
    path.pos = path.leaf == nullptr ? 0 : path.leaf->entries;
    cursor.Place(path);
    cursor.SettleBackward();
    return cursor;
  }
  Descend(*from, &path);
  cursor.Place(path);
  if (path.found && path.leaf->kind(path.pos) == Kind::kRow) {
    cursor.at_ = Cursor::At::kRow;
  } else if (path.found && path.leaf->kind(path.pos) == Kind::kBound) {
    cursor.StopAtGap(std::string(*from), Successor(*from));
  } else {
    // Where the path ends behind its leaf, what counts is the gap before the next leaf's first entry.
    if (!path.found && path.leaf != nullptr && path.pos == path.leaf->entries) cursor.StepLeaf(1);
    const bool inside = !path.found && cursor.GapBefore();
    cursor.SettleBackward();
    if (inside) cursor.StopAtGap(cursor.GapStart(), Successor(*from));
  }
  return cursor;
}

void RowTree::Cursor::Place(const Path& path) {
  leaf_ = path.leaf;
  index_ = path.pos;
  parent_ = path.height > 0 ? path.node[path.height - 1] : nullptr;
  parent_index_ = path.height > 0 ? path.index[path.height - 1] : 0;
}

std::string_view RowTree::Cursor::key() const { return leaf_->key(index_); }

std::string_view RowTree::Cursor::value() const { return leaf_->value(index_); }

/// To the first entry of the next leaf, or behind the last of the previous one. False, and nothing changes,
/// where there is none.
bool RowTree::Cursor::StepLeaf(int direction) {
  if (parent_ == nullptr) return false;
  const int i = parent_index_ + direction;
  if (i >= 0 && i < parent_->n) {
    parent_index_ = i;
    leaf_ = static_cast<const Leaf*>(parent_->children()[i]);
    index_ = direction > 0 ? 0 : leaf_->entries;
    const int ahead = i + direction;
    if (ahead >= 0 && ahead < parent_->n) row_tree::PrefetchLeaf(parent_->children()[ahead]);
    return true;
  }
  Path path;
  tree_->Descend(leaf_->key(0), &path);
  if (!MoveToLeaf(&path, direction)) return false;
  Place(path);
  return true;
}

bool RowTree::Cursor::AtLastEnd() const { return leaf_ == nullptr || index_ == leaf_->entries; }

bool RowTree::Cursor::GapBefore() const { return AtLastEnd() ? tree_->end_gap_ != 0 : leaf_->gap(index_); }

std::optional<std::string> RowTree::Cursor::EntryKey() const {
  return AtLastEnd() ? std::nullopt : std::optional<std::string>(leaf_->key(index_));
}

/// Where the gap before the cursor's entry begins.
std::string RowTree::Cursor::GapStart() const {
  if (leaf_ == nullptr) return {};
  if (index_ > 0) return GapStartBehind(leaf_->kind(index_ - 1), leaf_->key(index_ - 1));
  Cursor before(*this);
  if (!before.StepLeaf(-1)) return {};
  return before.GapStart();
}

void RowTree::Cursor::StopAtGap(std::string from, std::optional<std::string> to) {
  at_ = At::kGap;
  gap_from_ = std::move(from);
  gap_to_end_ = !to.has_value();
  gap_to_ = to ? std::move(*to) : std::string();
}

/// Finds the first row from the cursor's entry on, the gap before that entry included.
void RowTree::Cursor::SettleForward() {
  for (;; ++index_) {
    if (AtLastEnd() && leaf_ != nullptr) StepLeaf(1);
    if (GapBefore()) return StopAtGap(GapStart(), EntryKey());
    if (AtLastEnd()) {
      at_ = At::kEnd;
      return;
    }
    if (leaf_->kind(index_) == Kind::kRow) {
      at_ = At::kRow;
      return;
    }
  }
}

/// Finds the last row before the cursor's entry.
void RowTree::Cursor::SettleBackward() {
  for (;;) {
    if (GapBefore()) return StopAtGap(GapStart(), EntryKey());
    if (leaf_ == nullptr || (index_ == 0 && !StepLeaf(-1))) {
      at_ = At::kEnd;
      return;
    }
    --index_;
    if (leaf_->kind(index_) == Kind::kRow) {
      at_ = At::kRow;
      return;
    }
  }
}

void RowTree::Cursor::Next() {
  ++index_;
  SettleForward();
}

void RowTree::Cursor::Previous() { SettleBackward(); }

// ---------------------------------------------------------------- checking

struct RowTree::Audit {
  uint64_t rows = 0, gaps = 0;
  size_t data = 0, memory = 0;
  std::string lower;  // no key to come may be smaller
  bool any = false;   // an entry came before: its kind, gap and key
  Kind kind = Kind::kRow;
  bool gap = false;
  std::string key;

  /// What must hold of an entry's (or the end's) gap, given the entry before it.
  void CheckGap(bool next_gap) {
    if (any && kind == Kind::kDummy) CHECK(gap || next_gap);
    if (any && kind == Kind::kBound) CHECK(!gap && next_gap);
    gaps += next_gap;
  }

  void CheckEntry(const Leaf* leaf, int i) {
    const std::string_view entry = leaf->key(i);
    CHECK(entry >= lower && (!any || entry > key));
    CheckGap(leaf->gap(i));
    if (leaf->gap(i)) CHECK(entry != (any ? GapStartBehind(kind, key) : std::string()));
    CHECK(leaf->kind(i) == Kind::kRow || leaf->value(i).empty());
    if (leaf->kind(i) == Kind::kRow) data += entry.size() + leaf->value(i).size();
    any = true;
    kind = leaf->kind(i);
    gap = leaf->gap(i);
    key = entry;
  }
};

void RowTree::AuditNode(const void* node, int height, Audit* audit) const {
  audit->memory += malloc_usable_size(const_cast<void*>(node));
  if (height > 0) {
    const Inner* inner = static_cast<const Inner*>(node);
    CHECK(inner->n >= 1 && inner->n <= inner->capacity && inner->separators()[0] == nullptr);
    for (int i = 0; i < inner->n; ++i) {
      if (i > 0) {
        row_tree::Blob* separator = inner->separators()[i];
        CHECK(audit->key < separator->view() && inner->FindChild(separator->view()) == i);
        audit->lower = separator->view();
        audit->memory += malloc_usable_size(separator);
      }
      const uint64_t rows = audit->rows;
      AuditNode(inner->children()[i], height - 1, audit);
      CHECK(audit->rows - rows == inner->counts()[i]);
    }
    return;
  }
  const Leaf* leaf = static_cast<const Leaf*>(node);
  CHECK(leaf->entries > 0 && leaf->used + leaf->entries * sizeof(uint16_t) <= leaf->capacity);
  size_t bytes = sizeof(Leaf) + leaf->garbage;
  int dummies = 0;
  for (int i = 0; i < leaf->entries; ++i) {
    audit->CheckEntry(leaf, i);
    bytes += leaf->row_bytes(i);
    dummies += leaf->kind(i) != Kind::kRow;
    if (leaf->slot(i) & row_tree::kKeyOut) {
      audit->memory += malloc_usable_size(row_tree::LoadBlob(leaf->key_bytes(i).data()));
    }
    if (leaf->slot(i) & row_tree::kValueOut) {
      audit->memory += malloc_usable_size(row_tree::LoadBlob(leaf->value_bytes(i).data()));
    }
  }
  CHECK(bytes == leaf->used && dummies == leaf->dummies);
  audit->rows += leaf->rows();
}

void RowTree::CheckInvariants() const {
  Audit audit;
  if (root_ != nullptr) AuditNode(root_, height_, &audit);
  audit.CheckGap(end_gap_ != 0);
  CHECK(audit.rows == count() && audit.gaps == gaps_);
  CHECK(audit.data == data_bytes_ && audit.memory == memory_bytes_);
}

}  // namespace thermocline
