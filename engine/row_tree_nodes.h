#pragma once

// The node layouts of RowTree: included by its two source files and nothing else.
//
// Leaf block: [header][rows, in order of arrival ->  ... free ...  <- slots, in key order]. A slot is 16
// bits: the row's offset in the block (11 bits) and what the tree knows of the entry (5 bits), so that
// knowledge changes without touching rows. A row is [key size u8][value size u8][key][value]; where a slot
// says so, the key or the value is a pointer (8 bytes) to a Blob. Rows that were removed or moved leave
// garbage until the block is rebuilt.
//
// Inner block: four arrays side by side, one element per child: heads, children, counts, separators. A
// separator is the shortest byte string that is greater than every key left of it and not greater than any
// key right of it; the one of child 0 is null. A head is 8 bytes of the separator after the prefix that all
// separators of the node share, as an integer, so that a search rarely leaves the block.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "encoding/check.h"
#include "engine/row_tree.h"

namespace thermocline::row_tree {

inline constexpr size_t kMaxInline = 255;    // larger keys and values get a block of their own
inline constexpr size_t kSplitBytes = 1536;  // a leaf whose live bytes would exceed this is split
inline constexpr size_t kMergeBytes = 384;   // a leaf below this tries to join a neighbour
inline constexpr size_t kMaxLeafBytes =
    2048;                           // what 11 bits of offset can address; leaves at an edge are filled
inline constexpr int kFanout = 63;  // a full inner node takes 2 KiB
inline constexpr int kMaxHeight = 16;

/// Bytes in a block of their own: a large key or value, or a separator.
struct Blob {
  uint32_t size;
  char bytes[];
  std::string_view view() const { return {bytes, size}; }
};

enum class Kind : uint8_t { kRow = 0, kDummy = 1, kBound = 2 };

inline constexpr uint16_t kOffsetMask = (1 << 11) - 1;
inline constexpr int kKindShift = 11;
inline constexpr uint16_t kKindMask = 3 << kKindShift;
inline constexpr uint16_t kGapBit = 1 << 13;  // the range before the entry is not known
inline constexpr uint16_t kKeyOut = 1 << 14;
inline constexpr uint16_t kValueOut = 1 << 15;

inline uint64_t LoadBig(const char* bytes) {
  uint64_t x;
  memcpy(&x, bytes, sizeof(x));
  return __builtin_bswap64(x);
}

inline Blob* LoadBlob(const char* bytes) {
  Blob* blob;
  memcpy(&blob, bytes, sizeof(blob));
  return blob;
}

/// memcmp order, eight bytes at a time: keys are short, and a call of memcmp costs more than the comparison.
inline int Compare(std::string_view a, std::string_view b) {
  const size_t n = std::min(a.size(), b.size());
  if (n >= 8) {
    size_t i = 0;
    do {
      const uint64_t x = LoadBig(a.data() + i), y = LoadBig(b.data() + i);
      if (x != y) return x < y ? -1 : 1;
      // The last step overlaps the one before it when n is no multiple of eight.
      i = i + 8 < n && i + 16 > n ? n - 8 : i + 8;
    } while (i < n);
  } else {
    for (size_t i = 0; i < n; ++i) {
      if (a[i] != b[i]) return static_cast<unsigned char>(a[i]) < static_cast<unsigned char>(b[i]) ? -1 : 1;
    }
  }
  return a.size() < b.size() ? -1 : a.size() > b.size();
}

/// Nothing lies between `a` and `b`: b is a with a zero byte behind it.
inline bool IsSuccessor(std::string_view a, std::string_view b) {
  return b.size() == a.size() + 1 && b.back() == '\0' && b.starts_with(a);
}

/// The inline bytes of a row that is about to be placed. `bits` are slot bits without offset.
struct Image {
  uint16_t bits;
  std::string_view key, value;
  size_t row_bytes() const { return 2 + key.size() + value.size(); }
  size_t need() const { return row_bytes() + sizeof(uint16_t); }
};

// Either half of a split leaf, which may be half a row too large, has room for the row that made it split.
static_assert(kMaxLeafBytes / 2 + (4 + 2 * kMaxInline) * 3 / 2 + 16 <= kMaxLeafBytes);

struct Leaf {
  uint16_t entries;
  uint16_t used;  // bytes from the block's start to the end of the rows
  uint16_t capacity;
  uint16_t garbage;
  uint16_t dummies : 15;  // entries that are no rows
  uint16_t hot : 1;       // a row was looked up here since ForgetLeaf came by

  char* base() { return reinterpret_cast<char*>(this); }
  const char* base() const { return reinterpret_cast<const char*>(this); }
  uint16_t* slots_end() { return reinterpret_cast<uint16_t*>(base() + capacity); }
  uint16_t& slot(int i) { return slots_end()[-1 - i]; }
  uint16_t slot(int i) const { return const_cast<Leaf*>(this)->slot(i); }
  char* row(int i) { return base() + (slot(i) & kOffsetMask); }
  const char* row(int i) const { return base() + (slot(i) & kOffsetMask); }

  int rows() const { return entries - dummies; }
  size_t free_bytes() const { return capacity - used - entries * sizeof(uint16_t); }
  size_t live_bytes() const { return used - garbage + entries * sizeof(uint16_t); }
  static uint8_t Size(const char* field) { return static_cast<uint8_t>(*field); }
  size_t row_bytes(int i) const { return 2 + Size(row(i)) + Size(row(i) + 1); }

  Kind kind(int i) const { return static_cast<Kind>((slot(i) & kKindMask) >> kKindShift); }
  bool gap(int i) const { return slot(i) & kGapBit; }
  std::string_view key_bytes(int i) const { return {row(i) + 2, Size(row(i))}; }
  std::string_view value_bytes(int i) const {
    const char* r = row(i);
    return {r + 2 + Size(r), Size(r + 1)};
  }
  std::string_view key(int i) const {
    return slot(i) & kKeyOut ? LoadBlob(key_bytes(i).data())->view() : key_bytes(i);
  }
  std::string_view value(int i) const {
    return slot(i) & kValueOut ? LoadBlob(value_bytes(i).data())->view() : value_bytes(i);
  }
  Image image(int i) const {
    return {static_cast<uint16_t>(slot(i) & ~kOffsetMask), key_bytes(i), value_bytes(i)};
  }

  int LowerBound(std::string_view key, bool* found) const;
  void Place(int i, const Image& image);  // REQUIRES free_bytes() >= image.need()
  void RemoveSlot(int i);                 // blobs stay
  void Compact();
  int SplitPoint() const;
  int RowsBefore(int i) const;
};

/// Fetches all lines of a leaf at once: a binary search would wait for one after the other. Measured with 3
/// million rows: a third off a random lookup.
inline void PrefetchLeaf(const void* leaf) {
  for (size_t at = 0; at < kSplitBytes; at += 64) __builtin_prefetch(static_cast<const char*>(leaf) + at);
}

struct Inner {
  uint16_t n;
  uint16_t capacity;
  uint8_t prefix_size;
  char prefix[27];

  uint64_t* heads() { return reinterpret_cast<uint64_t*>(this + 1); }
  void** children() { return reinterpret_cast<void**>(heads() + capacity); }
  uint64_t* counts() { return heads() + 2 * capacity; }
  Blob** separators() { return reinterpret_cast<Blob**>(heads() + 3 * capacity); }
  const uint64_t* heads() const { return const_cast<Inner*>(this)->heads(); }
  void* const* children() const { return const_cast<Inner*>(this)->children(); }
  const uint64_t* counts() const { return const_cast<Inner*>(this)->counts(); }
  Blob* const* separators() const { return const_cast<Inner*>(this)->separators(); }
  static size_t Bytes(int capacity) { return sizeof(Inner) + capacity * 4 * sizeof(uint64_t); }

  int FindChild(std::string_view key) const;
  uint64_t Sum() const;
  void Insert(int i, void* child, Blob* separator, uint64_t count);  // REQUIRES n < capacity
  Blob* Remove(int i);                                               // returns the separator to free, or null
  void MoveArrays(int from, int to, Inner* target, int at) const;    // copies elements [from, to)
  void RefreshHeads();
};

}  // namespace thermocline::row_tree

namespace thermocline {

struct RowTree::Path {
  row_tree::Leaf* leaf = nullptr;  // null: the tree has no entries
  int pos = 0;                     // first entry of the leaf that is not smaller; may be leaf->entries
  int height = 0;
  bool found = false;
  row_tree::Inner* node[row_tree::kMaxHeight];  // [0] is the root, [height - 1] the leaf's parent
  int index[row_tree::kMaxHeight];              // the child taken
};

struct RowTree::Entry {
  row_tree::Leaf* leaf = nullptr;  // null: the end (or the beginning)
  int index = 0;
  explicit operator bool() const { return leaf != nullptr; }
  std::string_view key() const { return leaf->key(index); }
  row_tree::Kind kind() const { return leaf->kind(index); }
};

}  // namespace thermocline
