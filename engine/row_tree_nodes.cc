#include "engine/row_tree_nodes.h"

#include <malloc.h>

#include <cstdlib>
#include <utility>

namespace thermocline {

using row_tree::Blob;
using row_tree::Image;
using row_tree::Inner;
using row_tree::Kind;
using row_tree::Leaf;

namespace row_tree {
namespace {

/// The 8 bytes behind the first `prefix`, of which there are that many, as an integer; zeros where there are
/// none.
uint64_t Head(std::string_view bytes, size_t prefix) {
  const size_t rest = bytes.size() - prefix;
  if (rest >= 8) return LoadBig(bytes.data() + prefix);
  if (rest == 0) return 0;
  if (bytes.size() >= 8) return LoadBig(bytes.data() + bytes.size() - 8) << (8 * (8 - rest));
  uint64_t head = 0;
  for (size_t i = 0; i < rest; ++i) {
    head |= uint64_t{static_cast<unsigned char>(bytes[prefix + i])} << (56 - 8 * i);
  }
  return head;
}

size_t CommonPrefix(std::string_view a, std::string_view b, size_t limit) {
  limit = std::min({limit, a.size(), b.size()});
  size_t n = 0;
  while (n < limit && a[n] == b[n]) ++n;
  return n;
}

// The allocator's size classes: multiples of 16 up to 128, then four to a doubling. So nothing is lost to
// rounding.
size_t SizeClass(size_t bytes) {
  size_t step = 16;
  while (bytes > step * 8) step *= 2;
  return (bytes + step - 1) / step * step;
}

size_t LeafCapacity(size_t bytes) { return std::min(SizeClass(bytes), kMaxLeafBytes); }

}  // namespace

int Leaf::LowerBound(std::string_view wanted, bool* found) const {
  int low = 0, n = entries;
  while (n > 0) {
    const int half = n / 2;
    const int c = Compare(key(low + half), wanted);
    if (c == 0) {
      *found = true;
      return low + half;
    }
    low = c < 0 ? low + half + 1 : low;
    n = c < 0 ? n - half - 1 : half;
  }
  *found = false;
  return low;
}

void Leaf::Place(int i, const Image& image) {
  DCHECK(free_bytes() >= image.need());
  char* r = base() + used;
  r[0] = static_cast<char>(image.key.size());
  r[1] = static_cast<char>(image.value.size());
  if (!image.key.empty()) memcpy(r + 2, image.key.data(), image.key.size());
  if (!image.value.empty()) memcpy(r + 2 + image.key.size(), image.value.data(), image.value.size());
  // Slots grow downwards: those from i on make room by moving one down.
  uint16_t* last = slots_end() - entries;
  memmove(last - 1, last, (entries - i) * sizeof(uint16_t));
  slot(i) = image.bits | used;
  used += image.row_bytes();
  ++entries;
  if (image.bits & kKindMask) ++dummies;
}

void Leaf::RemoveSlot(int i) {
  if (kind(i) != Kind::kRow) --dummies;
  garbage += row_bytes(i);
  uint16_t* last = slots_end() - entries;
  memmove(last + 1, last, (entries - 1 - i) * sizeof(uint16_t));
  --entries;
}

void Leaf::Compact() {
  char copy[kMaxLeafBytes];
  memcpy(copy, this, used);
  size_t at = sizeof(Leaf);
  for (int i = 0; i < entries; ++i) {
    const char* old = copy + (slot(i) & kOffsetMask);
    const size_t bytes = 2 + Size(old) + Size(old + 1);
    memcpy(base() + at, old, bytes);
    slot(i) = (slot(i) & ~kOffsetMask) | at;
    at += bytes;
  }
  used = at;
  garbage = 0;
}

int Leaf::SplitPoint() const {
  const size_t half = live_bytes() / 2;
  size_t bytes = sizeof(Leaf);
  int i = 0;
  // Up to where half a row would be too much.
  while (i < entries - 1 && bytes + (row_bytes(i) + sizeof(uint16_t)) / 2 <= half) {
    bytes += row_bytes(i++) + sizeof(uint16_t);
  }
  return std::max(i, 1);
}

int Leaf::RowsBefore(int i) const {
  if (dummies == 0) return i;
  int rows = 0;
  for (int j = 0; j < i; ++j) rows += kind(j) == Kind::kRow;
  return rows;
}

int Inner::FindChild(std::string_view key) const {
  const int order = Compare(key.substr(0, prefix_size), {prefix, prefix_size});
  if (order != 0) return order < 0 ? 0 : n - 1;
  const uint64_t head = Head(key, prefix_size);
  // Lines that miss the cache come side by side then, not one after the other.
  for (size_t at = 0; at < capacity * sizeof(uint64_t); at += 64) {
    __builtin_prefetch(reinterpret_cast<const char*>(heads()) + at);
  }
  // The first separator whose head is not smaller. Without branches on the data, as they would be
  // mispredicted: of a conditional expression the compiler makes one.
  const uint64_t* first = heads() + 1;
  for (size_t length = n - 1; length > 0;) {
    const size_t half = (length + 1) / 2;
    first += half & (0 - static_cast<size_t>(first[half - 1] < head));
    length -= half;
  }
  int low = first - heads(), high = low;
  while (high < n && heads()[high] == head) ++high;
  while (low < high) {
    const int middle = (low + high) / 2;
    if (Compare(separators()[middle]->view(), key) <= 0) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low - 1;
}

uint64_t Inner::Sum() const {
  uint64_t sum = 0;
  for (int i = 0; i < n; ++i) sum += counts()[i];
  return sum;
}

void Inner::MoveArrays(int from, int to, Inner* target, int at) const {
  const size_t bytes = (to - from) * sizeof(uint64_t);
  memmove(target->heads() + at, heads() + from, bytes);
  memmove(target->children() + at, children() + from, bytes);
  memmove(target->counts() + at, counts() + from, bytes);
  memmove(target->separators() + at, separators() + from, bytes);
}

void Inner::Insert(int i, void* child, Blob* separator, uint64_t count) {
  DCHECK(n < capacity);
  MoveArrays(i, n, this, i + 1);
  ++n;
  children()[i] = child;
  counts()[i] = count;
  separators()[i] = separator;
  if (i == 0) return;
  const std::string_view bytes = separator->view();
  if (n > 2 && CommonPrefix(bytes, {prefix, prefix_size}, prefix_size) == prefix_size) {
    heads()[i] = Head(bytes, prefix_size);
  } else {
    RefreshHeads();
  }
}

Blob* Inner::Remove(int i) {
  Blob* dropped = separators()[i];
  MoveArrays(i + 1, n, this, i);
  --n;
  // The first child needs no separator; the one that moved up to it goes.
  if (i == 0 && n > 0) dropped = std::exchange(separators()[0], nullptr);
  return dropped;
}

void Inner::RefreshHeads() {
  prefix_size = 0;
  if (n < 2) return;
  const std::string_view first = separators()[1]->view();
  prefix_size = CommonPrefix(first, separators()[n - 1]->view(), sizeof(prefix));
  memcpy(prefix, first.data(), prefix_size);
  for (int i = 1; i < n; ++i) heads()[i] = Head(separators()[i]->view(), prefix_size);
}

}  // namespace row_tree

using namespace row_tree;

// ---------------------------------------------------------------- memory

void* RowTree::Allocate(size_t bytes) {
  void* block = malloc(bytes);
  CHECK(block != nullptr);
  memory_bytes_ += malloc_usable_size(block);
  return block;
}

void* RowTree::Reallocate(void* block, size_t bytes) {
  memory_bytes_ -= malloc_usable_size(block);
  block = realloc(block, bytes);
  CHECK(block != nullptr);
  memory_bytes_ += malloc_usable_size(block);
  return block;
}

void RowTree::Free(void* block) {
  if (block == nullptr) return;
  memory_bytes_ -= malloc_usable_size(block);
  free(block);
}

Leaf* RowTree::NewLeaf(size_t bytes) {
  const size_t capacity = LeafCapacity(bytes);
  Leaf* leaf = static_cast<Leaf*>(Allocate(capacity));
  *leaf = {.entries = 0,
           .used = sizeof(Leaf),
           .capacity = static_cast<uint16_t>(capacity),
           .garbage = 0,
           .dummies = 0,
           .hot = 0};
  return leaf;
}

Leaf* RowTree::CopyEntries(const Leaf* from, int first, int last, size_t room) {
  size_t bytes = sizeof(Leaf) + room;
  for (int i = first; i < last; ++i) bytes += from->row_bytes(i) + sizeof(uint16_t);
  Leaf* leaf = NewLeaf(bytes);
  for (int i = first; i < last; ++i) leaf->Place(i - first, from->image(i));
  return leaf;
}

Inner* RowTree::NewInner(int capacity) {
  Inner* inner = static_cast<Inner*>(Allocate(Inner::Bytes(capacity)));
  inner->n = 0;
  inner->capacity = capacity;
  inner->prefix_size = 0;
  return inner;
}

Blob* RowTree::NewBlob(std::string_view bytes) {
  CHECK(bytes.size() <= UINT32_MAX);
  Blob* blob = static_cast<Blob*>(Allocate(sizeof(Blob) + bytes.size()));
  blob->size = bytes.size();
  if (!bytes.empty()) memcpy(blob->bytes, bytes.data(), bytes.size());
  return blob;
}

Blob* RowTree::NewSeparator(std::string_view left, std::string_view right) {
  return NewBlob(right.substr(0, CommonPrefix(left, right, right.size()) + 1));
}

void RowTree::FreeNode(void* node, int height) {
  if (height > 0) {
    Inner* inner = static_cast<Inner*>(node);
    for (int i = 0; i < inner->n; ++i) {
      FreeNode(inner->children()[i], height - 1);
      Free(inner->separators()[i]);
    }
  } else {
    FreeBlobs(static_cast<Leaf*>(node));
  }
  Free(node);
}

void RowTree::FreeBlobs(const Leaf* leaf) {
  for (int i = 0; i < leaf->entries; ++i) {
    if (leaf->slot(i) & kKeyOut) Free(LoadBlob(leaf->key_bytes(i).data()));
    if (leaf->slot(i) & kValueOut) Free(LoadBlob(leaf->value_bytes(i).data()));
  }
}

void RowTree::FreeAll() {
  if (root_ != nullptr) FreeNode(root_, height_);
  root_ = nullptr;
  height_ = 0;
  data_bytes_ = 0;
}

// ---------------------------------------------------------------- finding

void RowTree::Descend(std::string_view key, Path* path) const {
  path->height = height_;
  void* node = root_;
  for (int level = 0; level < path->height; ++level) {
    Inner* inner = static_cast<Inner*>(node);
    path->node[level] = inner;
    path->index[level] = inner->FindChild(key);  // NOLINT(clang-analyzer-core.CallAndMessage): it has a root
    node = inner->children()[path->index[level]];
  }
  path->leaf = static_cast<Leaf*>(node);
  path->pos = 0;
  path->found = false;
  if (node == nullptr) return;
  if (path->height > 0) PrefetchLeaf(node);
  path->pos = path->leaf->LowerBound(key, &path->found);
}

void RowTree::DescendToFirst(Path* path) const { Descend({}, path); }

void RowTree::Prefetch(std::string_view key) const {
  const void* node = root_;
  for (int level = 0; level < static_cast<int>(height_); ++level) {
    const Inner* inner = static_cast<const Inner*>(node);
    node = inner->children()[inner->FindChild(key)];
  }
  if (height_ > 0) PrefetchLeaf(node);
}

RowTree::Lookup RowTree::Find(std::string_view key) const {
  const void* node = root_;
  if (node != nullptr) {
    for (int level = 0; level < static_cast<int>(height_); ++level) {
      const Inner* inner = static_cast<const Inner*>(node);
      node = inner->children()[inner->FindChild(key)];
    }
    if (height_ > 0) PrefetchLeaf(node);
    Leaf* leaf = static_cast<Leaf*>(const_cast<void*>(node));
    bool found;
    const int pos = leaf->LowerBound(key, &found);
    if (leaf->hot == 0) leaf->hot = 1;
    if (found) {
      const Kind kind = leaf->kind(pos);
      if (kind == Kind::kRow) return {Knowledge::kPresent, leaf->value(pos)};
      return {kind == Kind::kDummy ? Knowledge::kAbsent : Knowledge::kUnknown, {}};
    }
    if (gaps_ != 0 && pos < leaf->entries)
      return {leaf->gap(pos) ? Knowledge::kUnknown : Knowledge::kAbsent, {}};
  }
  if (gaps_ == 0) return {Knowledge::kAbsent, {}};
  Path path;
  Descend(key, &path);
  return {GapBefore(EntryAt(path, 0)) ? Knowledge::kUnknown : Knowledge::kAbsent, {}};
}

Leaf* RowTree::NeighbourLeaf(const Path& path, int direction) {
  for (int level = path.height - 1; level >= 0; --level) {
    const int i = path.index[level] + direction;
    if (i < 0 || i >= path.node[level]->n) continue;
    void* node = path.node[level]->children()[i];
    for (++level; level < path.height; ++level) {
      Inner* inner = static_cast<Inner*>(node);
      node = inner->children()[direction > 0 ? 0 : inner->n - 1];
    }
    return static_cast<Leaf*>(node);
  }
  return nullptr;
}

bool RowTree::MoveToLeaf(Path* path, int direction) {
  for (int level = path->height - 1; level >= 0; --level) {
    const int i = path->index[level] + direction;
    if (i < 0 || i >= path->node[level]->n) continue;
    path->index[level] = i;
    void* node = path->node[level]->children()[i];
    for (++level; level < path->height; ++level) {
      path->node[level] = static_cast<Inner*>(node);
      path->index[level] = direction > 0 ? 0 : path->node[level]->n - 1;
      node = path->node[level]->children()[path->index[level]];
    }
    path->leaf = static_cast<Leaf*>(node);
    path->pos = direction > 0 ? 0 : path->leaf->entries;
    return true;
  }
  return false;
}

// The entry `steps` (0 or 1) behind the path's position.
RowTree::Entry RowTree::EntryAt(const Path& path, int steps) {
  if (path.leaf == nullptr) return {};
  const int i = path.pos + steps;
  if (i < path.leaf->entries) return {path.leaf, i};
  return {NeighbourLeaf(path, 1), 0};
}

RowTree::Entry RowTree::EntryBefore(const Path& path) {
  if (path.leaf == nullptr) return {};
  if (path.pos > 0) return {path.leaf, path.pos - 1};
  Leaf* leaf = NeighbourLeaf(path, -1);
  return {leaf, leaf == nullptr ? 0 : leaf->entries - 1};
}

// ---------------------------------------------------------------- inserting

void RowTree::SetChild(Path& path, int level, void* child) {
  if (level == 0) {
    root_ = child;
  } else {
    path.node[level - 1]->children()[path.index[level - 1]] = child;
  }
}

void RowTree::AddToCounts(Path& path, int delta) {
  for (int level = 0; level < path.height; ++level) path.node[level]->counts()[path.index[level]] += delta;
}

/// Inserts an entry at the path's position. The path is of no use afterwards.
void RowTree::InsertEntry(Path& path, Kind kind, bool gap, std::string_view key, std::string_view value) {
  Blob* out[2];
  Image image{
      .bits = static_cast<uint16_t>(static_cast<int>(kind) << kKindShift), .key = key, .value = value};
  if (gap) image.bits |= kGapBit;
  if (key.size() > kMaxInline) {
    out[0] = NewBlob(key);
    image.bits |= kKeyOut;
    image.key = {reinterpret_cast<char*>(&out[0]), sizeof(Blob*)};
  }
  if (value.size() > kMaxInline) {
    out[1] = NewBlob(value);
    image.bits |= kValueOut;
    image.value = {reinterpret_cast<char*>(&out[1]), sizeof(Blob*)};
  }
  if (kind == Kind::kRow) {
    data_bytes_ += key.size() + value.size();
    AddToCounts(path, 1);
  }
  gaps_ += gap;
  InsertImage(path, image);
}

namespace {

// The path runs along the left or the right edge of the tree down to `levels`: appending and prepending there
// leave full nodes behind instead of half-empty ones.
template <typename Path>
bool OnLeftEdge(const Path& path, int levels) {
  for (int level = 0; level < levels; ++level) {
    if (path.index[level] != 0) return false;
  }
  return true;
}

template <typename Path>
bool OnRightEdge(const Path& path, int levels) {
  for (int level = 0; level < levels; ++level) {
    if (path.index[level] != path.node[level]->n - 1) return false;
  }
  return true;
}

// Before the first entry of the tree or behind the last.
template <typename Path>
bool AtEdge(const Path& path) {
  return path.pos == path.leaf->entries ? OnRightEdge(path, path.height)
                                        : path.pos == 0 && OnLeftEdge(path, path.height);
}

}  // namespace

void RowTree::InsertImage(Path& path, const Image& image) {
  if (path.leaf == nullptr) {
    path.leaf = NewLeaf(sizeof(Leaf) + image.need());
    root_ = path.leaf;
  } else {
    const size_t live = path.leaf->live_bytes() + image.need();
    if (live > kSplitBytes && path.leaf->entries > 0 && (live > kMaxLeafBytes || !AtEdge(path))) {
      SplitLeaf(path, image);
      return;
    }
    MakeRoom(path, image.need());
  }
  path.leaf->Place(path.pos, image);
}

void RowTree::Fill(std::span<const Row> rows) {
  CHECK(root_ == nullptr && gaps_ == 0);
  size_t bytes = sizeof(Leaf), data = 0;
  bool one_leaf = !rows.empty();
  for (size_t i = 0; i < rows.size() && one_leaf; ++i) {
    const auto& [key, value] = rows[i];
    bytes += Image{0, key, value}.need();
    data += key.size() + value.size();
    one_leaf = key.size() <= kMaxInline && value.size() <= kMaxInline && bytes <= kSplitBytes &&
               (i == 0 || Compare(rows[i - 1].key, key) < 0);
  }
  if (!one_leaf) {
    for (const auto& [key, value] : rows) Put(key, value);
    return;
  }
  Leaf* leaf = NewLeaf(bytes);
  for (const auto& [key, value] : rows) leaf->Place(leaf->entries, {0, key, value});
  root_ = leaf;
  data_bytes_ = data;
}

void RowTree::MakeRoom(Path& path, size_t need) {
  Leaf* leaf = path.leaf;
  if (leaf->free_bytes() >= need) return;
  const size_t live = leaf->live_bytes() + need;
  // Some slack above small sizes, so that rows whose size changes do not compact the leaf each time.
  const size_t capacity = LeafCapacity(leaf->garbage > 0 && live > 256 ? live + live / 16 : live);
  if (leaf->garbage > 0) leaf->Compact();
  if (capacity <= leaf->capacity) return;
  const size_t old_capacity = leaf->capacity;
  const size_t slot_bytes = leaf->entries * sizeof(uint16_t);
  leaf = static_cast<Leaf*>(Reallocate(leaf, capacity));
  memmove(leaf->base() + capacity - slot_bytes, leaf->base() + old_capacity - slot_bytes, slot_bytes);
  leaf->capacity = capacity;
  path.leaf = leaf;
  SetChild(path, path.height, leaf);
}

/// Splits the path's leaf in two and places `image` in one of them.
void RowTree::SplitLeaf(Path& path, const Image& image) {
  Leaf* old = path.leaf;
  const int n = old->entries;
  int middle;  // entries [0, middle) stay left
  if (path.pos == n && (n == 1 || OnRightEdge(path, path.height))) {
    middle = n;
  } else if (path.pos == 0 && (n == 1 || OnLeftEdge(path, path.height))) {
    middle = 0;
  } else {
    middle = old->SplitPoint();
  }
  const bool into_left = middle == 0 || (middle < n && path.pos <= middle);
  // A leaf at the edge is likely to be filled at once: in a larger tree it gets its full size.
  const size_t edge_bytes =
      std::max(sizeof(Leaf) + image.need(), path.height > 0 ? kMaxLeafBytes : kSplitBytes / 4);
  Leaf *left = old, *right = old;
  if (middle == n) {
    right = NewLeaf(edge_bytes);
  } else if (middle == 0) {
    left = NewLeaf(edge_bytes);
  } else {
    left = CopyEntries(old, 0, middle, into_left ? image.need() : 0);
    right = CopyEntries(old, middle, n, into_left ? 0 : image.need());
  }
  (into_left ? left : right)->Place(into_left ? path.pos : path.pos - middle, image);
  if (left != old && right != old) Free(old);
  SetChild(path, path.height, left);
  Blob* separator = NewSeparator(left->key(left->entries - 1), right->key(0));
  InsertChild(path, right, separator, left->rows(), right->rows());
}

/// Room for `children` more in the node at `level`, which may move. REQUIRES that it stays within the fanout.
Inner* RowTree::InnerWithRoom(Path& path, int level, int children) {
  Inner* inner = path.node[level];
  if (inner->n + children <= inner->capacity) return inner;
  int capacity = inner->capacity;
  while (capacity < inner->n + children) capacity *= 2;
  capacity = std::min(capacity, kFanout);
  Inner* larger = NewInner(capacity);
  larger->n = inner->n;
  larger->prefix_size = inner->prefix_size;
  memcpy(larger->prefix, inner->prefix, sizeof(inner->prefix));
  inner->MoveArrays(0, inner->n, larger, 0);
  Free(inner);
  path.node[level] = larger;
  SetChild(path, level, larger);
  return larger;
}

/// The node at the path's end became two: itself, with `left_count` rows, and `child` right behind it.
void RowTree::InsertChild(Path& path, void* child, Blob* separator, uint64_t left_count,
                          uint64_t right_count) {
  for (int level = path.height - 1; level >= 0; --level) {
    Inner* node = path.node[level];
    const int at = path.index[level] + 1, n = node->n;
    node->counts()[at - 1] = left_count;
    if (n < kFanout) {
      InnerWithRoom(path, level, 1)->Insert(at, child, separator, right_count);
      return;
    }
    const int middle = at == n && OnRightEdge(path, level)  ? n
                       : at == 1 && OnLeftEdge(path, level) ? 1
                                                            : n / 2;
    Inner* right = NewInner(middle == n ? 4 : kFanout);
    if (middle == n) {
      right->Insert(0, child, nullptr, right_count);
    } else {
      node->MoveArrays(middle, n, right, 0);
      node->n = middle;
      right->n = n - middle;
      Blob* up = std::exchange(right->separators()[0], nullptr);
      node->RefreshHeads();
      right->RefreshHeads();
      if (at <= middle) {
        node->Insert(at, child, separator, right_count);
      } else {
        right->Insert(at - middle, child, separator, right_count);
      }
      separator = up;
    }
    child = right;
    left_count = node->Sum();
    right_count = right->Sum();
  }
  CHECK(height_ < kMaxHeight);
  Inner* root = NewInner(4);
  root->Insert(0, root_, nullptr, left_count);
  root->Insert(1, child, separator, right_count);
  root_ = root;
  height_ = height_ + 1;
}

// ---------------------------------------------------------------- changing

/// Writes another value into the row at the path.
void RowTree::Overwrite(Path& path, std::string_view value) {
  Leaf* leaf = path.leaf;
  uint16_t bits = leaf->slot(path.pos) & ~kOffsetMask;
  const std::string_view old = leaf->value(path.pos);
  data_bytes_ += value.size() - old.size();
  char* inline_value = const_cast<char*>(leaf->value_bytes(path.pos).data());
  if (old.size() == value.size()) {
    if (!value.empty()) memmove(const_cast<char*>(old.data()), value.data(), value.size());
    return;
  }
  if (bits & kValueOut) {
    Blob* blob = LoadBlob(inline_value);
    if (value.size() > kMaxInline) {
      CHECK(value.size() <= UINT32_MAX);
      blob = static_cast<Blob*>(Reallocate(blob, sizeof(Blob) + value.size()));
      blob->size = value.size();
      memcpy(blob->bytes, value.data(), value.size());
      memcpy(inline_value, &blob, sizeof(blob));
      return;
    }
    Free(blob);
    bits &= ~kValueOut;
  } else if (value.size() > kMaxInline) {
    Blob* blob = NewBlob(value);
    ReplaceRow(path, bits | kValueOut, {reinterpret_cast<char*>(&blob), sizeof(blob)});
    return;
  }
  ReplaceRow(path, bits, value);
}

/// Gives the entry at the path other bits and other inline value bytes; its key stays. Counts stay as they
/// are.
void RowTree::ReplaceRow(Path& path, uint16_t bits, std::string_view value_bytes) {
  Leaf* leaf = path.leaf;
  char* row = leaf->row(path.pos);
  const size_t old_size = Leaf::Size(row + 1);
  if (value_bytes.size() <= old_size) {
    row[1] = static_cast<char>(value_bytes.size());
    if (!value_bytes.empty()) memcpy(row + 2 + Leaf::Size(row), value_bytes.data(), value_bytes.size());
    leaf->garbage += old_size - value_bytes.size();
    const int dummies = ((bits & kKindMask) != 0) - (leaf->kind(path.pos) != Kind::kRow);
    leaf->dummies = static_cast<uint16_t>(leaf->dummies + dummies) & 0x7fff;
    leaf->slot(path.pos) = (leaf->slot(path.pos) & kOffsetMask) | bits;
    return;
  }
  char key[kMaxInline];
  const std::string_view key_bytes = leaf->key_bytes(path.pos);
  memcpy(key, key_bytes.data(), key_bytes.size());
  leaf->RemoveSlot(path.pos);
  InsertImage(path, {bits, {key, key_bytes.size()}, value_bytes});
}

/// Makes the dummy or bound at the path a row.
void RowTree::ToRow(Path& path, std::string_view value) {
  const uint16_t bits = path.leaf->slot(path.pos) & (kGapBit | kKeyOut);
  data_bytes_ += path.leaf->key(path.pos).size() + value.size();
  AddToCounts(path, 1);
  if (value.size() > kMaxInline) {
    Blob* blob = NewBlob(value);
    ReplaceRow(path, bits | kValueOut, {reinterpret_cast<char*>(&blob), sizeof(blob)});
  } else {
    ReplaceRow(path, bits, value);
  }
}

/// Makes the row or bound at the path a dummy.
void RowTree::ToDummy(Path& path) {
  const Leaf* leaf = path.leaf;
  const uint16_t bits = leaf->slot(path.pos);
  if (leaf->kind(path.pos) == Kind::kRow) {
    data_bytes_ -= leaf->key(path.pos).size() + leaf->value(path.pos).size();
    AddToCounts(path, -1);
    if (bits & kValueOut) Free(LoadBlob(leaf->value_bytes(path.pos).data()));
  }
  ReplaceRow(path, (bits & (kGapBit | kKeyOut)) | (static_cast<int>(Kind::kDummy) << kKindShift), {});
  FixLeaf(path);
}

// ---------------------------------------------------------------- removing

/// Removes the entry at the path. Its gap, if it has one, goes with it.
void RowTree::RemoveEntry(Path& path) {
  Leaf* leaf = path.leaf;
  const int i = path.pos;
  if (leaf->kind(i) == Kind::kRow) {
    data_bytes_ -= leaf->key(i).size() + leaf->value(i).size();
    AddToCounts(path, -1);
  }
  gaps_ -= leaf->gap(i);
  if (leaf->slot(i) & kKeyOut) Free(LoadBlob(leaf->key_bytes(i).data()));
  if (leaf->slot(i) & kValueOut) Free(LoadBlob(leaf->value_bytes(i).data()));
  leaf->RemoveSlot(i);
  FixLeaf(path);
}

/// Removes the path's leaf with all its entries. REQUIRES that none has a gap before it. Returns its rows.
namespace {

/// For who goes through leaves one after the other and looks at their headers and slots.
void PrefetchNextLeaves(const Inner* parent, int index) {
  if (index + 2 < parent->n) __builtin_prefetch(parent->children()[index + 2]);
  if (index + 1 >= parent->n) return;
  const auto* leaf = static_cast<const Leaf*>(parent->children()[index + 1]);
  const char* slots_end = leaf->base() + leaf->capacity;
  __builtin_prefetch(slots_end - 1);
  __builtin_prefetch(slots_end - 65);
}

}  // namespace

uint64_t RowTree::RemoveLeaf(Path& path) {
  Leaf* leaf = path.leaf;
  const int rows = leaf->rows();
  // Mostly the header and the slots tell enough, and the rows, which are many more cache lines, are not
  // looked at.
  bool inside = leaf->dummies == 0;
  for (int i = 0; inside && i < leaf->entries; ++i) inside = (leaf->slot(i) & (kKeyOut | kValueOut)) == 0;
  if (inside) {
    data_bytes_ -= leaf->used - sizeof(Leaf) - leaf->garbage - 2u * leaf->entries;
  } else {
    for (int i = 0; i < leaf->entries; ++i) {
      if (leaf->kind(i) == Kind::kRow) data_bytes_ -= leaf->key(i).size() + leaf->value(i).size();
    }
    FreeBlobs(leaf);
  }
  if (path.height > 0) PrefetchNextLeaves(path.node[path.height - 1], path.index[path.height - 1]);
  AddToCounts(path, -rows);
  Free(leaf);
  RemoveChild(path);
  return static_cast<uint64_t>(rows);
}

/// After a leaf has lost bytes: frees it, joins it with a neighbour, or gives back memory.
void RowTree::FixLeaf(Path& path) {
  Leaf* leaf = path.leaf;
  if (leaf->entries == 0) {
    Free(leaf);
    RemoveChild(path);
    return;
  }
  const size_t live = leaf->live_bytes();
  if (path.height > 0 && live < kMergeBytes && MergeLeaf(path)) return;
  if (live * 2 >= leaf->capacity) return;
  const size_t room = live / 4;
  if (LeafCapacity(live + room) >= leaf->capacity) return;
  path.leaf = CopyEntries(leaf, 0, leaf->entries, room);
  SetChild(path, path.height, path.leaf);
  Free(leaf);
}

bool RowTree::MergeLeaf(Path& path) {
  Inner* parent = path.node[path.height - 1];
  int& index = path.index[path.height - 1];
  for (const int i : {index, index - 1}) {
    if (i < 0 || i + 1 >= parent->n) continue;
    Leaf* left = static_cast<Leaf*>(parent->children()[i]);
    Leaf* right = static_cast<Leaf*>(parent->children()[i + 1]);
    // Well below the limit, so that the next insert does not split it again.
    if (left->live_bytes() + right->live_bytes() > kSplitBytes * 3 / 4) continue;
    Leaf* both = CopyEntries(left, 0, left->entries, right->live_bytes());
    for (int j = 0; j < right->entries; ++j) both->Place(both->entries, right->image(j));
    parent->children()[i] = both;
    parent->counts()[i] += parent->counts()[i + 1];
    Free(left);
    Free(right);
    index = i + 1;
    RemoveChild(path);
    return true;
  }
  return false;
}

/// Takes the path's last step out of its parent (the child is freed already), and on upwards as nodes become
/// empty or join.
void RowTree::RemoveChild(Path& path) {
  int level = path.height - 1;
  for (; level >= 0; --level) {
    Inner* node = path.node[level];
    Free(node->Remove(path.index[level]));
    if (node->n == 0) {
      Free(node);
    } else if (level == 0 || node->n >= kFanout / 4 || !MergeInner(path, level)) {
      break;
    }
  }
  if (level < 0) {
    root_ = nullptr;
    height_ = 0;
  }
  while (height_ > 0 && static_cast<Inner*>(root_)->n == 1) {
    void* child = static_cast<Inner*>(root_)->children()[0];
    Free(root_);
    root_ = child;
    height_ = height_ - 1;
  }
}

/// Joins the node at `level` with a sibling when both fit well into one. The path then leads to the sibling
/// that is to be taken out of the parent.
bool RowTree::MergeInner(Path& path, int level) {
  Inner* parent = path.node[level - 1];
  const int index = path.index[level - 1];
  for (const int i : {index, index - 1}) {
    if (i < 0 || i + 1 >= parent->n) continue;
    Inner* right = static_cast<Inner*>(parent->children()[i + 1]);
    path.index[level - 1] = i;
    path.node[level] = static_cast<Inner*>(parent->children()[i]);
    if (path.node[level]->n + right->n > kFanout * 3 / 4) continue;
    Inner* left = InnerWithRoom(path, level, right->n);
    right->separators()[0] = std::exchange(parent->separators()[i + 1], nullptr);
    right->MoveArrays(0, right->n, left, left->n);
    left->n += right->n;
    left->RefreshHeads();
    parent->counts()[i] += parent->counts()[i + 1];
    Free(right);
    path.index[level - 1] = i + 1;
    return true;
  }
  return false;
}

}  // namespace thermocline
