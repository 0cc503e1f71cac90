#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "encoding/status.h"
#include "engine/collection.h"
#include "engine/random_rows.h"

/// The set type: rows member -> nothing in the fields space (encoding/format.h), as many as the collection
/// counts. What several sets make together is in set_algebra.h. Keyspace thread only. Everything here may
/// unwind, before its first write; what is passed in must not point into the set. Each function names its key
/// events. Those that return a Result fail with kWrongType when a key holds another type.
namespace thermocline {

/// SADD. Returns how many were new.
Result<uint64_t> SetAdd(Txn& txn, std::string_view key, std::span<const std::string_view> members);
/// SREM. Returns how many there were.
Result<uint64_t> SetRemove(Txn& txn, std::string_view key, std::span<const std::string_view> members);
/// SMOVE. Returns whether `from` had the member.
Result<bool> SetMove(Txn& txn, std::string_view from, std::string_view to, std::string_view member);

/// What SPOP took out of a set was found in advance, on a reader thread.
struct PreparedPop {
  uint64_t version = 0;  ///< ObjectRows::version of the set that `members` were drawn from
  std::vector<std::string> members;
  bool failed = false;
};
/// SPOP. Removes `count` random members of a live set (or all) and visits each, before the first write.
/// `prepared`: taken if it still fits; may be nullptr.
void SetPop(Txn& txn, Object* object, uint64_t count, const PreparedPop* prepared, const DrawVisitor& visit);

/// Replaces whatever is at `key` by a set of `members` (no two alike); by nothing if there are none. `event`:
/// the name of the command, for the key event; static storage.
void SetStore(Txn& txn, std::string_view key, std::span<const std::string> members, Encoding encoding,
              const char* event);

/// What Redis would keep a set in that was filled with these members: kAuto for an "intset".
Encoding EncodingOfMembers(Txn& txn, std::span<const std::string> members);
/// The same of SDIFFSTORE's result: the more work the look-ups in the other sets would be, the likelier Redis
/// takes members out of a copy of the first set, which then keeps the form that this set needs. `others`:
/// those that exist, as often as they were named. May unwind.
Encoding EncodingOfDifference(Txn& txn, Object* from, std::span<Object* const> others,
                              std::span<const std::string> result);

}  // namespace thermocline
