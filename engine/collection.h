#pragma once

#include <cstdint>

#include "engine/txn.h"

/// What the collection types (hash.h, list.h, set.h, sorted_set.h) have in common. A collection is never
/// empty between commands: who removes its last row removes the key. Keyspace thread only.
namespace thermocline {

inline uint64_t CollectionCount(const Object* object) { return Txn::body(object).count; }

/// Adds `delta` to the count of a live collection; at zero the key goes away. False: it has gone.
inline bool AddToCount(Txn& txn, Object* object, int64_t delta) {
  if (delta == 0) return true;
  format::CollectionBody body = Txn::body(object);
  body.count += static_cast<uint64_t>(delta);
  if (body.count == 0) {
    txn.Remove(object);
    return false;
  }
  txn.SetBody(object, body);
  return true;
}

}  // namespace thermocline
