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
/// Takes the bytes into `rows`, which are new. False: they are damaged.
bool Unpack(ObjectType type, std::string_view bytes, UnpackScratch* scratch, ObjectRows* rows);

/// The bytes of the rows of a collection as they would be packed, without their sizes: what kPackedBytesMax
/// limits.
inline size_t PackedBytes(const ObjectRows& rows) { return rows.fields.data_bytes(); }

}  // namespace thermocline
