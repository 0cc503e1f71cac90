#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace thermocline {

namespace row_tree {
struct Blob;
struct Image;
struct Inner;
struct Leaf;
enum class Kind : uint8_t;
}  // namespace row_tree

/// The resident rows of one row space of one object: (key, value) byte strings in key order (memcmp order),
/// with the knowledge of which key ranges are known completely. A counted B+ tree: point lookups, ordered
/// scans, and rank/select are O(log n); rows lie packed in leaf blocks, so that a row costs little more than
/// its bytes.
///
/// Knowledge is kept in the way of ScyllaDB's row cache ("continuity"): each entry says whether the range
/// between it and its predecessor is known to hold nothing else, and so does the end of the tree. An entry is
/// - a *row*,
/// - a *dummy*: a key that is known to be absent while its surroundings are unknown, or
/// - a *bound*: a key of which nothing is known, but the range before it is known. Ranges exclude their end,
/// so a
///   known range may stop where no row is and where nothing is known of the key at which it stops.
///
/// Invariants:
/// - keys strictly increase; a dummy is kept only while it tells something (not continuous on both sides);
///   a bound is continuous with its predecessor and followed by a gap, which begins with the bound's own key;
/// - a gap always holds at least one possible key: two keys with nothing between them ("k" and "k\0") and the
///   empty key are continuous by nature;
/// - gaps() counts the entries (and the end) that are not continuous; complete() means gaps() == 0, and then
///   there are neither dummies nor bounds;
/// - a tree starts complete and empty (a new object), or with one gap (an object whose rows are on disk).
///
/// Sizes: keys and values below 4 GiB (CHECKed). Up to 255 bytes they lie in the leaf, larger ones in blocks
/// of their own. Not thread-safe: owned by the keyspace thread. Views returned stay valid until the next
/// mutation of the tree; of what is passed in, only a row's key may be such a view (`Erase(cursor.key())`).
/// Running out of memory aborts.
class RowTree {
  struct Path;   // the way from the root to an entry
  struct Entry;  // an entry, or the end
  struct Audit;  // what CheckInvariants adds up

 public:
  enum class Knowledge : uint8_t { kPresent, kAbsent, kUnknown };
  struct Lookup {
    Knowledge knowledge;
    std::string_view value;  ///< when kPresent
  };

  RowTree() = default;  ///< complete and empty
  RowTree(RowTree&& other) noexcept;
  RowTree& operator=(RowTree&& other) noexcept;
  ~RowTree();

  /// Forgets everything: after it all keys are unknown. Used for an object whose rows are on disk.
  void Forget();

  /// What is known of `key`.
  Lookup Find(std::string_view key) const;

  /// Brings the leaf of `key` into the CPU's cache, without waiting for it: the key will be asked for soon.
  void Prefetch(std::string_view key) const;

  /// Writes a row (insert or overwrite). Returns what was known of the key before. A value of the size of the
  /// one it replaces is written in place.
  Knowledge Put(std::string_view key, std::string_view value);
  /// Puts rows into a tree that is complete and empty. When they are in ascending order and fit one leaf,
  /// that is one allocation of the right size.
  struct Row {
    std::string_view key, value;
  };
  void Fill(std::span<const Row> rows);
  /// Removes a row. It is known to be absent afterwards. Returns what was known of the key before.
  Knowledge Erase(std::string_view key);

  /// Removes every row from `from` (inclusive) to `to` (exclusive; nullopt: to the end); all keys of the
  /// range are known to be absent afterwards. Whole leaves at a time: a million rows take milliseconds.
  /// Returns how many rows were there as far as the tree knew.
  uint64_t EraseRange(std::string_view from, std::optional<std::string_view> to);

  /// Takes in what the disk says of one key: a value, or nullopt for "absent". What is already known wins.
  void LoadPoint(std::string_view key, std::optional<std::string_view> value);
  /// Takes in one row of a range read; then MarkRangeKnown tells the range that the rows came from. Known
  /// keys win.
  void LoadRow(std::string_view key, std::string_view value) { LoadPoint(key, value); }
  /// After LoadRow for every row of it: the range from `from` (inclusive) to `to` (exclusive; nullopt: to the
  /// end) is now known completely. O(log n + entries in the range).
  void MarkRangeKnown(std::string_view from, std::optional<std::string_view> to);

  bool complete() const { return gaps_ == 0; }
  /// Where the first unknown range begins. REQUIRES !complete(). O(rows before it), but a nanosecond each.
  std::string FirstGap() const;
  /// Present rows (not dummies).
  uint64_t count() const;
  uint64_t gaps() const { return gaps_; }
  /// Bytes allocated, as the allocator counts them.
  size_t memory_bytes() const { return memory_bytes_; }
  /// Sum of key and value bytes of present rows.
  size_t data_bytes() const { return data_bytes_; }

  /// Rank of `key` among the present rows: how many are smaller. `key` need not be there. O(log n).
  uint64_t Rank(std::string_view key) const;

  /// An ordered position. Invalidated by any mutation of the tree. Stepping inside a leaf and from leaf to
  /// leaf is O(1); once in some thousand rows it descends again.
  class Cursor {
   public:
    enum class At : uint8_t {
      kRow,  ///< key() and value() are a present row
      kEnd,  ///< past the last (or before the first) row, and known to be
      kGap,  ///< the next row in this direction is not known; gap_from() and gap_to() tell the unknown range
    };
    At at() const { return at_; }
    std::string_view key() const;    ///< REQUIRES kRow
    std::string_view value() const;  ///< REQUIRES kRow
    /// REQUIRES kGap. The unknown range that stopped the cursor, as MarkRangeKnown takes it: from gap_from()
    /// (inclusive) to gap_to() (exclusive; nullopt: to the end). Everything between it and where the cursor
    /// came from is known. It never reaches past the seek's own bound: forward it starts no sooner than
    /// `from`, backward it ends with `from` ("from\0" as the exclusive end). Both live as long as the cursor.
    /// A range, as the key before a given one has no name: a backward scan must tell its far side to the
    /// reader.
    std::string_view gap_from() const { return gap_from_; }
    std::optional<std::string_view> gap_to() const {
      return gap_to_end_ ? std::nullopt : std::optional<std::string_view>(gap_to_);
    }
    /// REQUIRES kRow. Steps forward or backward; skips dummies where the ranges around them are known.
    void Next();
    void Previous();

   private:
    friend class RowTree;
    explicit Cursor(const RowTree* tree) : tree_(tree) {}
    void Place(const Path& path);
    bool StepLeaf(int direction);
    void SettleForward();
    void SettleBackward();
    void StopAtGap(std::string from, std::optional<std::string> to);
    bool GapBefore() const;
    bool AtLastEnd() const;
    std::string GapStart() const;
    std::optional<std::string> EntryKey() const;

    const RowTree* tree_ = nullptr;
    const row_tree::Leaf* leaf_ = nullptr;
    const row_tree::Inner* parent_ = nullptr;  // of leaf_; null when the root is a leaf
    int parent_index_ = 0;
    int index_ = 0;  // the entries of the last leaf: the end
    At at_ = At::kEnd;
    bool gap_to_end_ = false;
    std::string gap_from_;
    std::string gap_to_;
  };
  /// The first row at or after `from`.
  Cursor SeekForward(std::string_view from) const;
  /// The last row at or before `from`; nullopt: the last row of all.
  Cursor SeekBackward(std::optional<std::string_view> from) const;
  /// The row number `rank` (0-based) among the present ones. REQUIRES complete() and rank < count(). O(log
  /// n).
  Cursor Select(uint64_t rank) const;

  enum class Forgot : uint8_t { kLeaf, kSpared, kNothing };
  /// Forgets the rows of one leaf, chosen by `random`: their range is unknown afterwards. One in which a row
  /// was looked up since the last visit is spared once (CLOCK). For trees that nobody has written to since
  /// the last commit.
  Forgot ForgetLeaf(uint64_t random);

  /// Drops the dummies and the bounds (they and the ranges next to them become unknown again). For trees that
  /// nobody waits for and nobody has written to since the last commit.
  void DropDummies();

  /// For tests: walks the whole tree and aborts where an invariant of contents, counts or sizes does not
  /// hold.
  void CheckInvariants() const;

 private:
  // Knowledge (row_tree.cc).
  void InsertIntoGap(Path& path, row_tree::Kind kind, std::string_view key, std::string_view value);
  void ResolveBound(Path& path, row_tree::Kind kind, std::string_view value);
  void CutBefore(const std::string& from);
  void CutAt(const std::string& to);
  void Prune(const std::string& from, const std::string* to);
  bool GapBefore(const Entry& entry) const;
  void SetGap(const Entry& entry, bool gap);
  bool CloseIfEmpty(std::string_view key, const Entry& next);

  // Structure (row_tree_nodes.cc).
  void Descend(std::string_view key, Path* path) const;
  void DescendToFirst(Path* path) const;
  static row_tree::Leaf* NeighbourLeaf(const Path& path, int direction);
  static bool MoveToLeaf(Path* path, int direction);
  static Entry EntryAt(const Path& path, int steps);
  static Entry EntryBefore(const Path& path);
  void InsertEntry(Path& path, row_tree::Kind kind, bool gap, std::string_view key, std::string_view value);
  void InsertImage(Path& path, const row_tree::Image& image);
  void Overwrite(Path& path, std::string_view value);
  void ReplaceRow(Path& path, uint16_t bits, std::string_view value_bytes);
  void ToRow(Path& path, std::string_view value);
  void ToDummy(Path& path);
  void RemoveEntry(Path& path);
  void AddToCounts(Path& path, int delta);
  void SetChild(Path& path, int level, void* child);
  void MakeRoom(Path& path, size_t need);
  void SplitLeaf(Path& path, const row_tree::Image& image);
  void InsertChild(Path& path, void* child, row_tree::Blob* separator, uint64_t left_count,
                   uint64_t right_count);
  row_tree::Inner* InnerWithRoom(Path& path, int level, int children);
  void FixLeaf(Path& path);
  bool MergeLeaf(Path& path);
  void RemoveChild(Path& path);
  bool MergeInner(Path& path, int level);
  row_tree::Leaf* NewLeaf(size_t bytes);
  row_tree::Leaf* CopyEntries(const row_tree::Leaf* from, int first, int last, size_t room);
  row_tree::Inner* NewInner(int capacity);
  row_tree::Blob* NewBlob(std::string_view bytes);
  row_tree::Blob* NewSeparator(std::string_view left, std::string_view right);
  void* Allocate(size_t bytes);
  void* Reallocate(void* block, size_t bytes);
  void Free(void* block);
  void FreeNode(void* node, int height);
  uint64_t RemoveLeaf(Path& path);
  void FreeBlobs(const row_tree::Leaf* leaf);
  void FreeAll();
  void AuditNode(const void* node, int height, Audit* audit) const;

  // Packed, since most objects are small and have one of these: 40 bytes.
  void* root_ = nullptr;  // null (no entries), a Leaf (height_ 0) or an Inner; owned
  uint64_t gaps_ : 56 = 0;
  uint64_t height_ : 7 = 0;   // inner nodes above a leaf
  uint64_t end_gap_ : 1 = 0;  // the range after the last entry is not known
  size_t memory_bytes_ = 0;
  size_t data_bytes_ = 0;
};

}  // namespace thermocline
