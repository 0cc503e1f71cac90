#pragma once

#include "engine/txn.h"

namespace thermocline {

/// Makes `to` a copy of the live object `from`: value, rows, encoding and expiry; what `to` was goes. O(1)
/// for a string in one piece, else O(rows), all of which are brought into RAM. May unwind.
void CopyObject(Txn& txn, Object* from, Object* to);

}  // namespace thermocline
