#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace thermocline {

/// The resident rows of one row space of one object: (key, value) byte strings in key order (memcmp order), with
/// the knowledge of which key ranges are known completely. A counted B+ tree: point lookups, ordered scans, and
/// rank/select are O(log n); rows lie packed in leaf blocks, so that a row costs little more than its bytes.
///
/// Knowledge is kept in the way of ScyllaDB's row cache ("continuity"): each entry says whether the range between
/// it and its predecessor is known to hold nothing else, and so does the end of the tree. An entry is either
/// present or a *dummy* (a key that is known to be absent while its surroundings are unknown).
///
/// Invariants:
/// - keys strictly increase; a dummy is kept only while it tells something (not continuous on both sides);
/// - gaps() counts the entries (and the end) that are not continuous; complete() means gaps() == 0, and then
///   there are no dummies;
/// - a tree starts complete and empty (a new object), or with one gap (an object whose rows are on disk).
///
/// Not thread-safe: owned by the keyspace thread. Views returned stay valid until the next mutation of the tree.
class RowTree {
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

  /// Writes a row (insert or overwrite). Returns what was known of the key before.
  Knowledge Put(std::string_view key, std::string_view value);
  /// Removes a row. It is known to be absent afterwards. Returns what was known of the key before.
  Knowledge Erase(std::string_view key);

  /// Takes in what the disk says of one key: a value, or nullopt for "absent". What is already known wins.
  void LoadPoint(std::string_view key, std::optional<std::string_view> value);
  /// Takes in one row of a range read; then LoadRange tells the range that the rows came from. Known keys win.
  void LoadRow(std::string_view key, std::string_view value) { LoadPoint(key, value); }
  /// After LoadRow for every row of it: the range from `from` (inclusive) to `to` (exclusive; nullopt: to the end)
  /// is now known completely.
  void MarkRangeKnown(std::string_view from, std::optional<std::string_view> to);

  bool complete() const { return gaps_ == 0; }
  /// Present rows (not dummies).
  uint64_t count() const;
  uint64_t gaps() const { return gaps_; }
  /// Bytes allocated, as the allocator counts them.
  size_t memory_bytes() const { return memory_bytes_; }
  /// Sum of key and value bytes of present rows.
  size_t data_bytes() const { return data_bytes_; }

  /// Rank of `key` among the present rows: how many are smaller. `key` need not be there. O(log n).
  uint64_t Rank(std::string_view key) const;

  /// An ordered position. Invalidated by any mutation of the tree.
  class Cursor {
   public:
    enum class At : uint8_t {
      kRow,  ///< key() and value() are a present row
      kEnd,  ///< past the last (or before the first) row, and known to be
      kGap,  ///< the next row in this direction is not known; gap_key() tells where the unknown range starts
    };
    At at() const { return at_; }
    std::string_view key() const;
    std::string_view value() const;
    /// REQUIRES kGap. Forward: everything smaller than gap_key() (and not smaller than where the cursor came
    /// from) is known; unknown is [gap_key(), the next known entry). Backward: everything greater is known.
    std::string_view gap_key() const { return gap_key_; }
    /// REQUIRES kRow. Steps forward or backward; skips dummies where the ranges around them are known.
    void Next();
    void Previous();

   private:
    friend class RowTree;
    const RowTree* tree_ = nullptr;
    void* leaf_ = nullptr;
    int index_ = 0;
    At at_ = At::kEnd;
    std::string_view gap_key_;
  };
  /// The first row at or after `from`.
  Cursor SeekForward(std::string_view from) const;
  /// The last row at or before `from`; nullopt: the last row of all.
  Cursor SeekBackward(std::optional<std::string_view> from) const;
  /// The row number `rank` (0-based) among the present ones. REQUIRES complete() and rank < count(). O(log n).
  Cursor Select(uint64_t rank) const;

  /// Drops the dummies (they become unknown again). For trees that nobody waits for and nobody has written to
  /// since the last commit.
  void DropDummies();

 private:
  uint64_t gaps_ = 0;
  size_t memory_bytes_ = 0;
  size_t data_bytes_ = 0;
  void* root_ = nullptr;
};

}  // namespace thermocline
