#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "encoding/bytes.h"
#include "encoding/status.h"
#include "engine/txn.h"

/// The string type. A value is one metadata row (*inline*) or, when it is large, rows of format::kChunkBytes
/// each
/// (*in chunks*): see encoding/format.h. A value that is set as a whole is inline up to kInlineBytesMax; one
/// that is changed in place and is or becomes larger than a chunk goes into chunks, so that SETBIT, SETRANGE,
/// APPEND and BITFIELD never rewrite more than they touch. Chunks that nobody wrote do not exist and read as
/// zero bytes.
///
/// Keyspace thread only. Everything here may unwind, before its first write. Values that are passed in must
/// not point into the object that is written. Offsets and sizes are bytes; ranges exclude their end.
namespace thermocline {

/// What SET and its kin do about the expiry. Absolute milliseconds; the two constants are no times.
inline constexpr uint64_t kNoExpiry = 0;
inline constexpr uint64_t kKeepExpiry = ~uint64_t{0};

/// Makes `object` the string `value`, of any size, whatever it was before. Tells nobody: the caller names the
/// event.
void SetStringValue(Txn& txn, Object* object, std::string_view value, Encoding encoding,
                    uint64_t expire_at_ms = kNoExpiry);

/// The size of a live string in bytes. Never unwinds.
inline uint64_t StringSize(const Object* object) {
  return object->has_rows ? object->rows->body.aux0 : object->value_size;
}

/// The bytes from `begin` to `end`, where end <= StringSize. A view of the value when it is inline or the
/// range lies in one full chunk; otherwise put together in `buffer`. Valid until the next write to the object
/// or to the buffer.
std::string_view StringRange(Txn& txn, Object* object, uint64_t begin, uint64_t end, std::string* buffer);
/// The same, appended to `out`; also what it holds when the call unwinds is the caller's to drop.
void AppendStringRange(Txn& txn, Object* object, uint64_t begin, uint64_t end, std::string* out);

/// Makes the string of `object` (live or absent, then empty) at least `size` bytes long, with zeros behind
/// the old ones. REQUIRES size > 0 for an absent object.
void GrowString(Txn& txn, Object* object, uint64_t size);
/// Overwrites bytes at `offset`, growing the string as needed. REQUIRES: `bytes` is not empty.
void WriteStringAt(Txn& txn, Object* object, uint64_t offset, std::string_view bytes);
/// Reads from disk what WriteStringAt with the same range would need.
void PrefetchForWrite(Txn& txn, Object* object, uint64_t begin, uint64_t end);

/// APPEND. Returns the new size. Errors: kWrongType, kTooLarge.
Result<uint64_t> StringAppend(Txn& txn, std::string_view key, std::string_view bytes);
/// SETRANGE. Returns the new size; with no bytes nothing is changed. Errors: kWrongType, kTooLarge.
Result<uint64_t> StringSetRange(Txn& txn, std::string_view key, uint64_t offset, std::string_view bytes);
/// INCRBY. Returns the new value. Errors: kWrongType, kNotInteger, kOverflow.
Result<int64_t> StringIncrement(Txn& txn, std::string_view key, int64_t delta);
/// INCRBYFLOAT. Returns the new value as text. `delta`: the argument. Errors: kWrongType, kNotFloat,
/// kNotFinite.
Result<std::string> StringIncrementFloat(Txn& txn, std::string_view key, std::string_view delta);

/// What OBJECT ENCODING says of a live string: "int", "embstr" or "raw", as Redis would have stored it.
std::string_view StringEncodingName(Txn& txn, const Object* object);

/// The row key of a chunk.
class ChunkKey {
 public:
  explicit ChunkKey(uint64_t number) { StoreBig32(bytes_.data(), static_cast<uint32_t>(number)); }
  std::string_view view() const { return {bytes_.data(), bytes_.size()}; }

 private:
  std::array<char, 4> bytes_;
};

/// Which chunks a range of bytes touches: from `first` to `last`, both included. REQUIRES: not empty.
struct ChunkSpan {
  ChunkSpan(uint64_t begin, uint64_t end)
      : first(begin / format::kChunkBytes), last((end - 1) / format::kChunkBytes) {}
  uint64_t count() const { return last - first + 1; }
  uint64_t first, last;
};

/// A range of up to so many chunks is read by key, in one go; a longer one in order, which reads ahead.
inline constexpr uint64_t kChunksByKeyMax = 32;

/// Brings chunks into RAM; unwinds once for all that are not.
void PrefetchChunks(Txn& txn, Object* object, const ChunkSpan& span);

/// Calls `visit(offset, bytes)` in order for the stored pieces of the string between `begin` and `end` (which
/// is at most its size). What lies between pieces reads as zeros. `visit` returns false to stop. The bytes
/// are valid during the call.
template <typename Visit>
void VisitString(Txn& txn, Object* object, uint64_t begin, uint64_t end, Visit&& visit) {
  if (begin >= end) return;
  if (!object->has_rows) {
    visit(begin, object->inline_value().substr(begin, end - begin));
    return;
  }
  const auto visit_chunk = [&](uint64_t number, std::string_view bytes) {
    const uint64_t start = number * format::kChunkBytes;
    bytes = bytes.substr(0, std::min<uint64_t>(format::kChunkBytes, end - start));
    const uint64_t skip = begin > start ? begin - start : 0;
    return skip >= bytes.size() || visit(start + skip, bytes.substr(skip));
  };
  const ChunkSpan span(begin, end);
  if (span.count() <= kChunksByKeyMax) {
    PrefetchChunks(txn, object, span);
    for (uint64_t number = span.first; number <= span.last; ++number) {
      const auto bytes = txn.Get(object, RowSpace::kFields, ChunkKey(number).view());
      if (bytes.has_value() && !visit_chunk(number, *bytes)) return;
    }
    return;
  }
  if (begin == 0 && end == StringSize(object)) txn.CompleteRows(object, RowSpace::kFields);
  for (Txn::Cursor cursor = txn.SeekForward(object, RowSpace::kFields, ChunkKey(span.first).view());
       cursor.valid(); cursor.Next()) {
    if (cursor.key().size() != 4) continue;
    const uint64_t number = LoadBig32(cursor.key().data());
    if (number > span.last || !visit_chunk(number, cursor.value())) return;
  }
}

}  // namespace thermocline
