#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "engine/object.h"

namespace thermocline {

/// Packed rows: a collection as it lies behind the head of its metadata value, that is, its body and the rows
/// of the fields space (encoding/format.h). On disk, and in RAM while the object is at rest.

/// Appends those bytes. REQUIRES: the rows are complete.
void AppendPacked(const ObjectRows& rows, std::string* out);

/// Memory that Unpack uses again and again.
struct UnpackScratch {
  std::vector<RowTree::Row> rows;
  std::string score_keys;
};
/// Takes the bytes into `rows`, which are new. False: they are damaged. Does not compare the number of rows
/// with the body's count: between two writes of one command they may differ.
bool Unpack(ObjectType type, std::string_view bytes, UnpackScratch* scratch, ObjectRows* rows);

/// Of a collection of more packed bytes no single row is taken: walking over the rows would cost as much as
/// unpacking them, and be done again for the next one.
inline constexpr size_t kPickedBytesMax = 512;

/// Where one row is among packed rows, or where it belongs: found by walking over those before it, without
/// unpacking any.
struct PackedPlace {
  bool damaged = false;  ///< the bytes do not decode; then nothing else holds
  bool found = false;
  size_t at = 0;           ///< where in the bytes it begins
  size_t size = 0;         ///< with the sizes of key and value; 0: there is no such row
  std::string_view value;  ///< of the row, in the bytes
  uint64_t rows = 0;       ///< how many there are,
  size_t rows_at = 0;      ///< and where that number begins; it ends where the first row begins
  size_t rows_end = 0;
};
/// `for_write`: the rows behind it are looked at, too, so that a damaged object is not written.
PackedPlace FindPacked(std::string_view bytes, std::string_view row_key, bool for_write);

/// The body of packed bytes. What is missing in damaged ones is 0.
format::CollectionBody PackedBody(std::string_view bytes);

/// The bytes of the rows of a collection as they would be packed, without their sizes: what kPackedBytesMax
/// limits.
inline size_t PackedBytes(const ObjectRows& rows) { return rows.fields.data_bytes(); }

}  // namespace thermocline
