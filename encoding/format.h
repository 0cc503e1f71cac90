#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "encoding/bytes.h"
#include "encoding/status.h"

/// Every layout that Thermocline stores, drawn in one place. All integers are big-endian, so that byte order
/// is sort order; `varint` is LEB128; `[x]` is there only when a flag says so. Stored enum values are frozen:
/// new ones are added, none is renumbered. tests/encoding/format_test.cc holds the golden bytes.
///
/// RocksDB column families:
///
///   default   system rows: few, small, rewritten often
///   metadata  one row per user key: the head of its object, and the whole object when it is small
///   fields    the rows of spread objects: hash fields, set and zset members, list elements, string chunks
///   scores    (score, member) rows of spread sorted sets; and, under object id 0, the expiry index
///
/// System rows (family default)
///
///   "version"              format version u32 | program version, text
///   "state"                State, below: the counters and the map of databases
///   'p' object id u64      varint rows: the object's rows are to be purged
///
/// State row        (golden: 2a 07 01 00 00 00 03 05 02 01 00 01)
///
///   next object id varint | next physical db varint
///   databases varint, each: logical db u16 | physical db u16 | keys varint | keys with an expiry varint
///   dropped varint, each: physical db u16, whose rows are to be purged
///
/// Metadata row     "user:1" in db 0 = "hi", expiring at 0x18bcfe56800
///                  (golden: key 00 00 75 73 65 72 3a 31, value 01 01 00 00 01 8b cf e5 68 00 68 69)
///
///   key    physical db u16 | user key
///   value  type u8 | flags u8 | [expire_at_ms u64] | [object id u64] | body
///
///   flags  bit 0 kHasExpiry, bit 1 kSpread (an object id follows: rows are in fields/scores),
///          bits 2-3 Encoding, bit 4 kLingering (see sorted sets), bits 5-7 zero
///   body   string, not spread:     the value
///          string, spread:         size in bytes u64
///          collection:             count varint | aux0 varint | aux1 varint (meaning: by type)
///          collection, spread:     then [before varint | behind varint], there unless both are 0 (by type)
///          collection, not spread: then the packed rows, those of the fields space:
///                                  rows varint, each: key size varint | key | value size varint | value
///                                  (scores rows of sorted sets follow from them)
///
/// Rows of spread objects
///
///   fields key   object id u64 | hash field, set member or zset member
///                object id u64 | list index u64 | [between u64] ...   (engine/list.h)
///                object id u64 | string chunk number u32
///   fields value value, nothing, score u64 (sortable), element, or chunk (kChunkBytes; the last may be
///   shorter;
///                a chunk that is missing or short reads as zero bytes)
///   scores key   object id u64 | score u64 (sortable) | member       value: empty
///
/// Lists
///
///   aux0 = head, aux1 = tail << 1 | sparse: the range [head, tail) of the indices. Sparse: not every index
///   has a row, and rows with numbers behind the index stand between those of two indices; the last of these
///   numbers is never 0. The elements a, b, c, and x inserted behind a:
///
///   body   (golden, count 4, head 2^62, tail 2^62 + 3, sparse:
///          04 80 80 80 80 80 80 80 80 40 87 80 80 80 80 80 80 80 80 01)
///   rows   40 00 00 00 00 00 00 00                            a
///          40 00 00 00 00 00 00 00 80 00 00 00 00 00 00 00    x
///          40 00 00 00 00 00 00 01                            b
///          40 00 00 00 00 00 00 02                            c
///
///   before, behind: so many indices before the head, and from the tail on, may have rows that are left over
///   from popped elements. They do not count, and are deleted by the thousand, as a range. Only of lists that
///   are not sparse. (golden, 5000 elements, 7 of which were popped from the tail:
///          88 27 80 80 80 80 80 80 80 80 40 90 ce 80 80 80 80 80 80 80 01 00 07)
///
/// Sorted sets
///
///   aux0, aux1: no row has a smaller sortable score than aux0, nor a larger one than the inverse of aux1. So
///   0 and 0 tell nothing; a set that is not spread keeps them so. (golden, 7 members, scores from 100 to
///   799: 07 80 80 80 80 80 80 c0 ac c0 01 ff ff ff ff ff ff c1 bb 3f)
///
///   before: so many rows of scores at most are left over below aux0 from removed members. They do not count,
///   and are deleted by the thousand, as a range. behind: 0.
///
///   A row of scores is the score, with which the value of a row of fields begins, and that row's key. So a
///   set that is not spread keeps no rows of scores.
///
///   kLingering: fields rows may be left over from members that were removed by the million, and are purged
///   one after the other. A row of fields counts only if scores has its row.
///
/// Expiry index     invariant: a key with an expiry has an index row at or before it. Rows may be stale.
///
///   scores key   0 u64 | expire_at_ms u64 | physical db u16 | user key       value: empty
///
/// Sortable score   the bits of the double; negative: all inverted, else: the sign bit set. -0.0 is stored as
/// 0.0.
namespace thermocline::format {

/// Raised by one with every change that an older program would misread. Checked when a directory is opened.
inline constexpr uint32_t kFormatVersion = 3;

enum class ObjectType : uint8_t {
  kString = 1,
  kList = 2,
  kSet = 3,
  kSortedSet = 4,
  kHash = 5,
  kStream = 6,
};

/// How a value came to be: steers the name that OBJECT ENCODING gives, as Redis's own representation does.
/// Collections: kAuto while they never outgrew Redis's compact form ("listpack", "intset"), kRaw since they
/// did.
enum class Encoding : uint8_t { kAuto = 0, kRaw = 1, kText = 2 };

inline constexpr uint8_t kHasExpiry = 1 << 0;
inline constexpr uint8_t kSpread = 1 << 1;
inline constexpr int kEncodingShift = 2;
inline constexpr uint8_t kLingering = 1 << 4;
inline constexpr uint8_t kKnownFlags = 0x1f;

/// Bytes of a full string chunk: what SETBIT or APPEND on a huge value rewrites.
inline constexpr uint32_t kChunkBytes = 8 << 10;

inline constexpr std::string_view kVersionKey = "version";
inline constexpr std::string_view kStateKey = "state";
inline constexpr char kPurgePrefix = 'p';

/// The part of a metadata value before the body.
struct Head {
  ObjectType type = ObjectType::kString;
  Encoding encoding = Encoding::kAuto;
  uint64_t expire_at_ms = 0;  ///< 0: never. An expiry at time 0 cannot be stored, nor set: it is in the past.
  uint64_t object_id = 0;     ///< 0: not spread
  bool lingering = false;     ///< only with an object id
  friend bool operator==(const Head&, const Head&) = default;
};

/// What a collection's body starts with. `aux0` and `aux1` of lists and sorted sets: see above. Others: 0.
struct CollectionBody {
  uint64_t count = 0;
  uint64_t aux0 = 0;
  uint64_t aux1 = 0;
  uint64_t before = 0;  ///< of lists and sorted sets that are spread
  uint64_t behind = 0;  ///< of lists that are spread
  friend bool operator==(const CollectionBody&, const CollectionBody&) = default;
};

void AppendMetadataKey(std::string& out, uint16_t db, std::string_view key);
bool DecodeMetadataKey(std::string_view in, uint16_t* db, std::string_view* key);

void AppendHead(std::string& out, const Head& head);
/// Reads the head and leaves `in` at the body. kCorruption for unknown types or flags and missing bytes.
Status DecodeHead(std::string_view& in, Head* head);

/// The body of a packed collection, which its rows follow; `before` and `behind` are 0.
void AppendCollectionBody(std::string& out, const CollectionBody& body);
bool DecodeCollectionBody(std::string_view& in, CollectionBody* body);
/// The body of a spread collection, which is all that there is.
void AppendSpreadBody(std::string& out, const CollectionBody& body);
bool DecodeSpreadBody(std::string_view in, CollectionBody* body);

/// Reads packed rows and leaves `in` behind them; calls `visit` for each row until bytes are missing (then
/// false).
template <typename Visit>
bool DecodePackedRows(std::string_view& in, Visit&& visit) {
  uint64_t rows;
  if (!ReadVarint(in, &rows)) return false;
  for (; rows > 0; --rows) {
    std::string_view key, value;
    if (!ReadSized(in, &key) || !ReadSized(in, &value)) return false;
    visit(key, value);
  }
  return true;
}

void AppendRowKey(std::string& out, uint64_t object_id, std::string_view row_key);
bool DecodeRowKey(std::string_view in, uint64_t* object_id, std::string_view* row_key);

void AppendExpiryIndexKey(std::string& out, uint64_t expire_at_ms, uint16_t db, std::string_view key);
struct ExpiryIndexKey {
  uint64_t expire_at_ms = 0;
  uint16_t db = 0;
  std::string_view key;
};
bool DecodeExpiryIndexKey(std::string_view in, ExpiryIndexKey* row);

uint64_t SortableScore(double score);
double ScoreFromSortable(uint64_t sortable);

struct State {
  struct Database {
    uint16_t logical = 0;
    uint16_t physical = 0;
    uint64_t keys = 0;
    uint64_t expires = 0;
    friend bool operator==(const Database&, const Database&) = default;
  };
  uint64_t next_object_id = 1;
  uint32_t next_physical = 0;
  std::vector<Database> databases;
  std::vector<uint16_t> dropped;
  friend bool operator==(const State&, const State&) = default;
};
void AppendState(std::string& out, const State& state);
Status DecodeState(std::string_view in, State* state);

void AppendVersion(std::string& out, uint32_t format_version, std::string_view program_version);
Status DecodeVersion(std::string_view in, uint32_t* format_version, std::string_view* program_version);

void AppendPurgeKey(std::string& out, uint64_t object_id);
bool DecodePurgeKey(std::string_view in, uint64_t* object_id);

}  // namespace thermocline::format
