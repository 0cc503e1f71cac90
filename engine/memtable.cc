#include "engine/memtable.h"

#include <rocksdb/comparator.h>

#include <array>
#include <atomic>
#include <bit>
#include <cstring>
#include <new>
#include <thread>

#include "encoding/check.h"

namespace rocksdb {
// Two classes that RocksDB's interface names without installing their headers. Of the arena we call one
// function, which the linker finds by name and signature, or fails. Of the lookup key we read the first
// members; they are checked against each other at each use. (The default MemTableRep::Get would need neither,
// but leaks an iterator.)
class Arena {
 public:
  char* AllocateAligned(size_t bytes, size_t huge_page_size, Logger* logger);
};
class LookupKey {
 public:
  const char* entry;         // varint32 size, then
  const char* internal_key;  // the user key and its tag
};
}  // namespace rocksdb

// The tree.
//
//   Inner | count, prefix | heads[62] | entries[62] = separators | children[62] |
//   Leaf  | count, prefix | heads[62] | entries[62]              | previous, next |
//
// An entry is what RocksDB writes into its arena: varint32 key size, user key, 8 bytes of tag (sequence
// number and type, little-endian), value. Entries are ordered by user key, then by tag from high to low.
// Separator i is an entry not above any entry of child i and above all of child i - 1; separator 0 is not
// used.
//
// A head is the 8 bytes of the user key behind the node's prefix, read as a big-endian number and padded with
// zeros. Unequal heads order their keys; only for equal ones is an entry looked at. (The idea: poor man's
// normalized keys, Graefe and Larson, "B-Tree Indexes and CPU Caches", ICDE 2001.)
//
// `prefix` is the number of leading bytes that all keys of the node share, those to come included: at most
// what its two fences have in common, the separators beside it in the levels above. The nodes at either edge
// of the tree have one fence only; theirs is the prefix of the whole tree, which is compared before
// descending and shrinks when a key comes that does not have it. So below that no search has to look at
// prefixes.
//
// Invariants: nodes and entries are never freed or moved before the arena is; a node's level never changes;
// no leaf is empty once inserted into; counts are at most kFanout; slots below `count` hold valid pointers.
//
// Concurrency: a sequence lock. `version_` is odd while the writer changes nodes. A reader notes it, looks,
// and looks again if it has changed. All that changes is stored with release and loaded with acquire. So
// whoever sees any part of a change also sees that `version_` has moved, and whoever sees a pointer sees what
// it points to complete: what a reader meets in mid-change may contradict itself, but is safe to follow. (A
// slot not yet written is null.) The writer never waits and pays two plain stores. Nothing changes in a
// memtable that RocksDB has marked read-only.

namespace thermocline {
namespace {

// A leaf is 1024 bytes.
constexpr uint32_t kFanout = 62;
constexpr uint32_t kLevelsMax = 12;  // half-full nodes of that many levels are more than any memory holds
// A split node takes up a longer prefix when its heads have this many bytes in common: reading all its keys
// again costs cache misses, so not while the rest of the heads tells its keys apart.
constexpr int kHeadBytesShared = 4;

template <typename T>
T Load(const std::atomic<T>& slot) {
  return slot.load(std::memory_order_acquire);
}

template <typename T>
void Store(std::atomic<T>& slot, T value) {
  slot.store(value, std::memory_order_release);
}

// A view of an internal key.
struct Key {
  const char* data;  // the user key; the tag's 8 bytes follow it
  uint32_t size;     // of the user key
  uint64_t tag;
};

Key KeyOf(const rocksdb::Slice& internal_key) {
  Key key{internal_key.data(), static_cast<uint32_t>(internal_key.size() - 8), 0};
  std::memcpy(&key.tag, key.data + key.size, 8);
  return key;
}

Key KeyOf(const char* entry) {
  uint32_t size = static_cast<uint8_t>(*entry++);
  if (size >= 0x80) {
    size &= 0x7f;
    for (int shift = 7; shift < 35; shift += 7) {
      const auto byte = static_cast<uint8_t>(*entry++);
      size |= static_cast<uint32_t>(byte & 0x7f) << shift;
      if (byte < 0x80) break;
    }
  }
  return KeyOf(rocksdb::Slice(entry, size));
}

uint64_t HeadOf(const Key& key, uint32_t prefix) {
  if (prefix >= key.size) return 0;
  uint64_t head;
  std::memcpy(&head, key.data + prefix, 8);  // at worst reads into the tag
  if constexpr (std::endian::native == std::endian::little) head = __builtin_bswap64(head);
  const uint32_t rest = key.size - prefix;
  return rest >= 8 ? head : head & ~(~uint64_t{0} >> (8 * rest));
}

// Negative, zero or positive as `a` is before, at or after `b`. Their first `prefix` bytes are known to be
// equal.
int Compare(const Key& a, const Key& b, uint32_t prefix) {
  const uint32_t size = std::min(a.size, b.size);
  if (prefix < size) {
    const int order = std::memcmp(a.data + prefix, b.data + prefix, size - prefix);
    if (order != 0) return order;
  }
  if (a.size != b.size) return a.size < b.size ? -1 : 1;
  return a.tag == b.tag ? 0 : a.tag > b.tag ? -1 : 1;
}

uint32_t BytesShared(const Key& a, const Key& b) {
  const uint32_t size = std::min(a.size, b.size);
  return static_cast<uint32_t>(std::mismatch(a.data, a.data + size, b.data).first - a.data);
}

struct alignas(64) Node {
  explicit Node(uint32_t node_level) : level(node_level) {}

  const uint32_t level;  // 0: a leaf
  std::atomic<uint32_t> count{0};
  std::atomic<uint32_t> prefix{0};
  std::array<std::atomic<uint64_t>, kFanout> heads{};
  std::array<std::atomic<const char*>, kFanout> entries{};
};

struct Leaf : Node {
  Leaf() : Node(0) {}
  std::atomic<Leaf*> previous{nullptr};
  std::atomic<Leaf*> next{nullptr};
};

struct Inner : Node {
  using Node::Node;
  std::array<std::atomic<Node*>, kFanout> children{};
};

static_assert(sizeof(Leaf) == 1024);

// Where a key is or would be among the entries of a node.
struct Slot {
  uint32_t index;
  bool found;  // the entry there is the key
};

// An iterator fetches the entry so many places ahead.
constexpr uint32_t kEntriesAhead = 6;

// The binary search would wait for one cache line after the other.
void PrefetchHeads(const Node* node) {
  for (uint32_t i = 0; i < kFanout; i += 8) __builtin_prefetch(&node->heads[i]);
}

// The first index in [first, end) whose head is not below `head`, or `end`.
uint32_t HeadIndex(const Node& node, uint32_t first, uint32_t end, uint64_t head) {
  uint32_t count = end > first ? end - first : 0;
  while (count > 0) {  // no branch depends on a head: it could not be predicted
    const uint32_t half = (count + 1) / 2;
    first += half & (0 - static_cast<uint32_t>(Load(node.heads[first + half - 1]) < head));
    count -= half;
  }
  return first;
}

// Finds the first entry of node[first, count) that is not before `key`.
Slot Find(const Node& node, uint32_t first, const Key& key) {
  const uint32_t count = Load(node.count);
  const uint32_t prefix = Load(node.prefix);
  const uint64_t head = HeadOf(key, prefix);
  uint32_t index = HeadIndex(node, first, count, head);
  if (index >= count || Load(node.heads[index]) != head) return {index, false};
  // Equal heads: versions of one key, or keys that differ only farther on. Most often the newest version is
  // wanted, or a newer one comes: then the first entry tells, and it has been fetched.
  const char* first_entry = Load(node.entries[index]);
  if (first_entry == nullptr) return {index, false};  // an insert is under way: the reader will look again
  const int first_order = Compare(KeyOf(first_entry), key, prefix);
  if (first_order >= 0) return {index, first_order == 0};
  ++index;
  uint32_t end = head == ~uint64_t{0} ? count : HeadIndex(node, index, count, head + 1);
  while (index < end) {
    const uint32_t middle = index + (end - index) / 2;
    const char* entry = Load(node.entries[middle]);
    if (entry == nullptr) break;  // an insert is under way: the reader will look again
    const int order = Compare(KeyOf(entry), key, prefix);
    if (order == 0) return {middle, true};
    if (order < 0) {
      index = middle + 1;
    } else {
      end = middle;
    }
  }
  return {index, false};
}

// The child of an inner node where `key` belongs.
uint32_t ChildIndex(const Node& node, const Key& key) {
  const Slot slot = Find(node, 1, key);
  return slot.found ? slot.index : slot.index - 1;
}

class TreeRep final : public rocksdb::MemTableRep {
 public:
  TreeRep(rocksdb::Allocator* allocator, ComingKeys* coming) : MemTableRep(allocator), coming_(*coming) {}

  void Insert(rocksdb::KeyHandle handle) override { CHECK(InsertKey(handle)); }
  bool InsertKey(rocksdb::KeyHandle handle) override;
  bool InsertKeyWithHint(rocksdb::KeyHandle handle, void** /*hint*/) override { return InsertKey(handle); }
  bool Contains(const char* entry) const override;
  void Get(const rocksdb::LookupKey& lookup, void* argument, bool (*visit)(void*, const char*)) override;
  void UniqueRandomSample(uint64_t entry_count, uint64_t sample_count,
                          std::unordered_set<const char*>* entries) override;
  size_t ApproximateMemoryUsage() override { return 0; }  // all of it is in the arena
  MemTableRep::Iterator* GetIterator(rocksdb::Arena* arena) override;

 private:
  class Iterator;

  // A place among the entries: leaf and index. `index` may be the leaf's count, `leaf` null in an empty tree.
  struct Place {
    Leaf* leaf = nullptr;
    uint32_t index = 0;
    bool found = false;  // the entry there is the key that was looked for
  };

  // The way from the root to the leaf of a key. Each node's fences: all its keys are in [low, high); null is
  // none.
  struct Step {
    Node* node;
    const char* low;
    const char* high;
    uint32_t index;  // of the child that was taken
  };

  // --- for readers (and the writer)
  template <typename Look>
  uint64_t Read(Look look) const;
  int ComparePrefix(const Key& key) const;
  Leaf* EdgeLeaf(bool last) const;
  Place Seek(const Key& key) const;

  // --- for the writer
  template <typename T>
  T* NewNode(uint32_t level);
  void ShrinkPrefix(const Key& key);
  void Descend(const Key& key);
  bool LeafHolds(const Key& key) const;
  void FetchPaths(std::span<const rocksdb::Slice> keys) const;
  void InsertInto(uint32_t depth, uint32_t index, const char* entry, Node* child, bool run);
  void Rehead(Node* node, uint32_t prefix);
  void Reprefix(Node* node, const char* low, const char* high);

  // Read by all threads, written by the writer.
  std::atomic<uint64_t> version_{0};  // odd: a change is under way
  std::atomic<Node*> root_{nullptr};
  const char* prefix_data_ = nullptr;      // in the first entry; set before root_
  std::atomic<uint32_t> prefix_bytes_{0};  // that all keys share; only shrinks

  // The writer's own: where the last insert went. A run of sorted keys finds its leaf without descending.
  std::array<Step, kLevelsMax> path_;
  uint32_t path_length_ = 0;  // 0: the nodes on the path have changed
  Leaf* last_leaf_ = nullptr;
  uint32_t last_index_ = 0;
  bool run_ = false;  // the last entry went right behind the one before it
  ComingKeys& coming_;
};

// ---------------------------------------------------------------- reading

// Calls `look` until no insert changed nodes meanwhile. Returns the version of the tree that it saw.
template <typename Look>
uint64_t TreeRep::Read(Look look) const {
  for (uint32_t tries = 1;; ++tries) {
    const uint64_t version = Load(version_);
    if (version % 2 == 0) {
      look(version);
      if (Load(version_) == version) return version;
    }
    if (tries % 64 == 0) std::this_thread::yield();  // the writer may have lost its CPU in mid-change
  }
}

// Negative or positive when `key` is before or after every key that has the tree's prefix, zero when it has
// it.
int TreeRep::ComparePrefix(const Key& key) const {
  const uint32_t prefix = Load(prefix_bytes_);
  const int order = std::memcmp(key.data, prefix_data_, std::min(key.size, prefix));
  return order != 0 ? order : key.size < prefix ? -1 : 0;
}

// The first or the last leaf, or null. (Null from below the root means that an insert is under way.)
Leaf* TreeRep::EdgeLeaf(bool last) const {
  Node* node = Load(root_);
  while (node != nullptr && node->level > 0) {
    node = Load(static_cast<Inner*>(node)->children[last ? Load(node->count) - 1 : 0]);
  }
  return static_cast<Leaf*>(node);
}

// The first entry that is not before `key`.
TreeRep::Place TreeRep::Seek(const Key& key) const {
  Node* node = Load(root_);
  if (node == nullptr) return {};
  const int order = ComparePrefix(key);
  if (order < 0) return {EdgeLeaf(false), 0, false};
  if (order > 0) {
    Leaf* leaf = EdgeLeaf(true);
    return {leaf, leaf == nullptr ? 0 : Load(leaf->count), false};
  }
  while (node->level > 0) {
    node = Load(static_cast<Inner*>(node)->children[ChildIndex(*node, key)]);
    if (node == nullptr) return {};  // an insert is under way
    PrefetchHeads(node);
  }
  const Slot slot = Find(*node, 0, key);
  return {static_cast<Leaf*>(node), slot.index, slot.found};
}

// Remembers its entry, which stays where it is, and the place it had in one version of the tree. After an
// insert it looks that place up again.
class TreeRep::Iterator final : public MemTableRep::Iterator {
 public:
  explicit Iterator(const TreeRep* tree) : tree_(tree) {}

  bool Valid() const override { return entry_ != nullptr; }
  const char* key() const override { return entry_; }
  void Next() override {
    Go([this](uint64_t version) { return Forward(Here(version), 1); });
  }
  void Prev() override {
    Go([this](uint64_t version) { return Back(Here(version)); });
  }
  void Seek(const rocksdb::Slice& internal_key, const char* entry) override {
    Seek(entry != nullptr ? KeyOf(entry) : KeyOf(internal_key));
  }
  void Seek(const Key& key) {
    Go([this, &key](uint64_t) { return Forward(tree_->Seek(key), 0); });
  }
  void SeekForPrev(const rocksdb::Slice& internal_key, const char* entry) override {
    const Key key = entry != nullptr ? KeyOf(entry) : KeyOf(internal_key);
    Go([this, &key](uint64_t) {
      const Place place = tree_->Seek(key);
      return place.found ? place : Back(place);
    });
  }
  void SeekToFirst() override {
    Go([this](uint64_t) { return Forward({tree_->EdgeLeaf(false), 0}, 0); });
  }
  void SeekToLast() override {
    Go([this](uint64_t) {
      Leaf* leaf = tree_->EdgeLeaf(true);
      return leaf == nullptr ? Place{} : Back({leaf, Load(leaf->count)});
    });
  }

 private:
  template <typename Find>
  void Go(Find find) {
    Place place;
    const char* entry = nullptr;
    version_ = tree_->Read([&](uint64_t version) {
      place = find(version);
      entry = place.leaf == nullptr ? nullptr : Load(place.leaf->entries[place.index]);
    });
    // A flush goes over entries that lie anywhere in memory: those that come next are fetched meanwhile.
    if (place.leaf != nullptr && place.index + kEntriesAhead < kFanout)
      __builtin_prefetch(Load(place.leaf->entries[place.index + kEntriesAhead]));
    place_ = place;
    entry_ = entry;
  }

  Place Here(uint64_t version) const { return version == version_ ? place_ : tree_->Seek(KeyOf(entry_)); }

  static Place Forward(Place place, uint32_t steps) {
    if (place.leaf == nullptr) return {};
    place.index += steps;
    if (place.index < Load(place.leaf->count)) return place;
    return {Load(place.leaf->next), 0};
  }

  static Place Back(Place place) {
    if (place.leaf == nullptr) return {};
    if (place.index > 0) return {place.leaf, place.index - 1};
    Leaf* leaf = Load(place.leaf->previous);
    return leaf == nullptr ? Place{} : Place{leaf, Load(leaf->count) - 1};
  }

  const TreeRep* tree_;
  uint64_t version_ = 1;  // none
  Place place_;
  const char* entry_ = nullptr;
};

rocksdb::MemTableRep::Iterator* TreeRep::GetIterator(rocksdb::Arena* arena) {
  if (arena == nullptr) return new Iterator(this);
  // RocksDB destroys it in place and frees the arena.
  return new (arena->AllocateAligned(sizeof(Iterator), 0, nullptr)) Iterator(this);
}

void TreeRep::Get(const rocksdb::LookupKey& lookup, void* argument, bool (*visit)(void*, const char*)) {
  const Key key = KeyOf(lookup.entry);
  CHECK(key.data == lookup.internal_key);  // else RocksDB's class has changed
  Iterator iterator(this);
  for (iterator.Seek(key); iterator.Valid() && visit(argument, iterator.key()); iterator.Next()) {
  }
}

bool TreeRep::Contains(const char* entry) const {
  bool found = false;
  Read([&](uint64_t) { found = Seek(KeyOf(entry)).found; });
  return found;
}

void TreeRep::UniqueRandomSample(uint64_t entry_count, uint64_t sample_count,
                                 std::unordered_set<const char*>* entries) {
  entries->clear();
  const uint64_t stride = std::max<uint64_t>(1, entry_count / std::max<uint64_t>(1, sample_count));
  uint64_t index = 0;
  Iterator iterator(this);
  for (iterator.SeekToFirst(); iterator.Valid(); iterator.Next()) {
    if (index++ % stride == 0) entries->insert(iterator.key());
  }
}

// ---------------------------------------------------------------- inserting

// Nodes live in RocksDB's arena, which counts them towards the flush and frees them.
template <typename T>
T* TreeRep::NewNode(uint32_t level) {
  constexpr size_t kLine = alignof(T);
  char* bytes = nullptr;
  Allocate(sizeof(T) + kLine - 1, &bytes);
  bytes += (0 - reinterpret_cast<uintptr_t>(bytes)) % kLine;
  if constexpr (std::is_same_v<T, Leaf>) {
    return new (bytes) Leaf();
  } else {
    return new (bytes) T(level);
  }
}

// Has what inserting these keys will look at brought into the CPU's caches. They go down together, a level at
// a time: while the node of one is on its way, those of the others are asked for.
void TreeRep::FetchPaths(std::span<const rocksdb::Slice> keys) const {
  constexpr uint32_t kEqualFetched = 3;
  constexpr size_t kTagBytesAway = 40;  // of keys of usual length
  struct Way {
    Key key;
    Node* node;
    uint64_t head;
    uint32_t index;
  } ways[ComingKeys::kGroup];
  Node* root = Load(root_);
  if (root == nullptr) return;
  size_t count = 0;
  for (const rocksdb::Slice& user_key : keys) {
    // Its newest version would come first.
    const Key key{user_key.data(), static_cast<uint32_t>(user_key.size()), ~uint64_t{0}};
    if (ComparePrefix(key) == 0) ways[count++] = {key, root, 0, 0};
  }
  const std::span<Way> going(ways, count);
  for (uint32_t level = root->level; level > 0; --level) {
    for (Way& way : going) {
      way.node = Load(static_cast<Inner*>(way.node)->children[ChildIndex(*way.node, way.key)]);
      PrefetchHeads(way.node);
    }
  }
  for (Way& way : going) {
    way.head = HeadOf(way.key, Load(way.node->prefix));
    way.index = HeadIndex(*way.node, 0, Load(way.node->count), way.head);
    for (uint32_t i = way.index; i < kFanout; i += 8) __builtin_prefetch(&way.node->entries[i], 1);
  }
  // Entries of the same head will be compared.
  for (const Way& way : going) {
    const uint32_t end = std::min(Load(way.node->count), way.index + kEqualFetched);
    for (uint32_t i = way.index; i < end && Load(way.node->heads[i]) == way.head; ++i) {
      const char* entry = Load(way.node->entries[i]);
      __builtin_prefetch(entry);
      __builtin_prefetch(entry + kTagBytesAway);
    }
  }
}

bool TreeRep::InsertKey(rocksdb::KeyHandle handle) {
  if (const auto coming = coming_.Next(); !coming.empty() && !run_) FetchPaths(coming);
  const auto* entry = static_cast<const char*>(handle);
  const Key key = KeyOf(entry);
  const bool empty = Load(root_) == nullptr;
  const bool has_prefix = !empty && ComparePrefix(key) == 0;
  Slot slot{0, false};
  bool run = false;
  if (has_prefix) {
    if (!run_ || !LeafHolds(key)) Descend(key);
    Node* leaf = path_[path_length_ - 1].node;
    slot = Find(*leaf, 0, key);
    if (slot.found) return false;
    run = leaf == last_leaf_ && slot.index == last_index_ + 1;
  }

  const uint64_t version = Load(version_);
  Store(version_, version + 1);
  if (empty) {
    prefix_data_ = key.data;
    Store(prefix_bytes_, key.size);
    Leaf* leaf = NewNode<Leaf>(0);
    Store(leaf->prefix, key.size);
    Store<Node*>(root_, leaf);
  }
  if (!has_prefix) {
    ShrinkPrefix(key);
    Descend(key);
    slot = Find(*path_[path_length_ - 1].node, 0, key);
  }
  last_leaf_ = static_cast<Leaf*>(path_[path_length_ - 1].node);
  last_index_ = slot.index;
  run_ = run;
  InsertInto(path_length_ - 1, slot.index, entry, nullptr, run);
  Store(version_, version + 2);
  return true;
}

// Makes the tree's prefix one that `key` has too, and that of the nodes at its edges.
void TreeRep::ShrinkPrefix(const Key& key) {
  const uint32_t prefix_old = Load(prefix_bytes_);
  const uint32_t prefix = BytesShared(key, {prefix_data_, prefix_old, 0});
  Store(prefix_bytes_, prefix);
  for (const bool last : {false, true}) {
    Node* node = Load(root_);
    for (;;) {
      if (Load(node->prefix) > prefix) Rehead(node, prefix);
      if (node->level == 0) break;
      node = Load(static_cast<Inner*>(node)->children[last ? Load(node->count) - 1 : 0]);
    }
  }
}

// Fills path_ with the way to the leaf where `key` belongs. REQUIRES: `key` has the tree's prefix.
void TreeRep::Descend(const Key& key) {
  Step step{Load(root_), nullptr, nullptr, 0};
  path_length_ = 0;
  while (step.node->level > 0) {
    auto* inner = static_cast<Inner*>(step.node);
    step.index = ChildIndex(*inner, key);
    path_[path_length_++] = step;
    if (step.index > 0) step.low = Load(inner->entries[step.index]);
    if (step.index + 1 < Load(inner->count)) step.high = Load(inner->entries[step.index + 1]);
    step.node = Load(inner->children[step.index]);
    PrefetchHeads(step.node);
  }
  path_[path_length_++] = step;
}

// Whether `key`, which has the tree's prefix, belongs in the leaf at the end of path_.
bool TreeRep::LeafHolds(const Key& key) const {
  if (path_length_ == 0) return false;
  const Step& leaf = path_[path_length_ - 1];
  const uint32_t prefix = Load(prefix_bytes_);
  return (leaf.low == nullptr || Compare(KeyOf(leaf.low), key, prefix) <= 0) &&
         (leaf.high == nullptr || Compare(key, KeyOf(leaf.high), prefix) < 0);
}

// Opens a slot at `index` and fills it; `child` is for inner nodes. REQUIRES: the node is not full.
void InsertAt(Node* node, uint32_t index, const char* entry, Node* child) {
  const uint32_t count = Load(node->count);
  for (uint32_t i = count; i > index; --i) Store(node->heads[i], Load(node->heads[i - 1]));
  for (uint32_t i = count; i > index; --i) Store(node->entries[i], Load(node->entries[i - 1]));
  Store(node->heads[index], HeadOf(KeyOf(entry), Load(node->prefix)));
  Store(node->entries[index], entry);
  if (node->level > 0) {
    auto& children = static_cast<Inner*>(node)->children;
    for (uint32_t i = count; i > index; --i) Store(children[i], Load(children[i - 1]));
    Store(children[index], child);
  }
  Store(node->count, count + 1);
}

// Moves what is at `index` and behind it to the empty node `right`.
void MoveTail(Node* node, uint32_t index, Node* right) {
  const uint32_t count = Load(node->count);
  for (uint32_t i = index; i < count; ++i) {
    Store(right->heads[i - index], Load(node->heads[i]));
    Store(right->entries[i - index], Load(node->entries[i]));
    if (node->level > 0) {
      Store(static_cast<Inner*>(right)->children[i - index], Load(static_cast<Inner*>(node)->children[i]));
    }
  }
  Store(right->count, count - index);
  Store(node->count, index);
}

// Inserts at `index` of the node at path_[depth]; a full node is split and its new half inserted above.
// `run`: keys come in order, so a full node is left behind full, not half.
void TreeRep::InsertInto(uint32_t depth, uint32_t index, const char* entry, Node* child, bool run) {
  const Step step = path_[depth];
  Node* node = step.node;
  const uint32_t count = Load(node->count);
  if (count < kFanout) return InsertAt(node, index, entry, child);

  const bool cut_here = index == count || (run && index >= count / 2);
  const uint32_t cut = cut_here ? index : count / 2;
  const char* separator = cut_here ? entry : Load(node->entries[cut]);
  Node* right = node->level == 0 ? static_cast<Node*>(NewNode<Leaf>(0)) : NewNode<Inner>(node->level);
  Store(right->prefix, Load(node->prefix));
  MoveTail(node, cut, right);
  Reprefix(node, step.low, separator);
  Reprefix(right, separator, step.high);
  const bool goes_right = cut_here || index > cut;
  InsertAt(goes_right ? right : node, goes_right ? index - cut : index, entry, child);

  if (node->level == 0) {
    auto* left_leaf = static_cast<Leaf*>(node);
    auto* right_leaf = static_cast<Leaf*>(right);
    Leaf* next = Load(left_leaf->next);
    Store(right_leaf->previous, left_leaf);
    Store(right_leaf->next, next);
    Store(left_leaf->next, right_leaf);
    if (next != nullptr) Store(next->previous, right_leaf);
    if (goes_right) {
      last_leaf_ = right_leaf;
      last_index_ = index - cut;
    }
  }
  path_length_ = 0;
  if (depth > 0) return InsertInto(depth - 1, path_[depth - 1].index + 1, separator, right, false);

  CHECK(node->level + 1 < kLevelsMax);
  auto* root = NewNode<Inner>(node->level + 1);
  Store(root->prefix, Load(prefix_bytes_));
  InsertAt(root, 0, separator, node);  // separator 0 is not used
  InsertAt(root, 1, separator, right);
  Store<Node*>(root_, root);
}

void TreeRep::Rehead(Node* node, uint32_t prefix) {
  const uint32_t count = Load(node->count);
  Store(node->prefix, prefix);
  // The unused separator 0 of an inner node need not have the prefix; its head is not used either.
  for (uint32_t i = 0; i < count; ++i) Store(node->heads[i], HeadOf(KeyOf(Load(node->entries[i])), prefix));
}

// Gives a node between new fences a longer prefix, if it has one and the node's heads need it.
void TreeRep::Reprefix(Node* node, const char* low, const char* high) {
  if (low == nullptr || high == nullptr) return;  // at an edge of the tree: the tree's prefix
  const uint32_t first = node->level == 0 ? 0 : 1;
  const uint32_t count = Load(node->count);
  if (count > first) {
    const uint64_t differing = Load(node->heads[first]) ^ Load(node->heads[count - 1]);
    if (std::countl_zero(differing) < 8 * kHeadBytesShared) return;
  }
  const uint32_t prefix = BytesShared(KeyOf(low), KeyOf(high));
  if (prefix > Load(node->prefix)) Rehead(node, prefix);
}

class TreeFactory final : public rocksdb::MemTableRepFactory {
 public:
  explicit TreeFactory(ComingKeys* coming) : coming_(coming) {}
  using rocksdb::MemTableRepFactory::CreateMemTableRep;
  rocksdb::MemTableRep* CreateMemTableRep(const rocksdb::MemTableRep::KeyComparator& /*comparator*/,
                                          rocksdb::Allocator* allocator,
                                          const rocksdb::SliceTransform* /*prefix*/,
                                          rocksdb::Logger* /*logger*/) override {
    return new TreeRep(allocator, coming_);
  }
  const char* Name() const override { return "ThermoclineTree"; }
  bool CanHandleDuplicatedKey() const override { return true; }

 private:
  ComingKeys* const coming_;
};

}  // namespace

std::shared_ptr<rocksdb::MemTableRepFactory> NewTreeMemTableFactory(const rocksdb::Comparator* comparator,
                                                                    ComingKeys* coming) {
  if (comparator != rocksdb::BytewiseComparator()) return std::make_shared<rocksdb::SkipListFactory>();
  return std::make_shared<TreeFactory>(coming);
}

}  // namespace thermocline
