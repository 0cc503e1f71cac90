#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "encoding/status.h"
#include "engine/collection.h"

/// The hash type: rows field -> value in the fields space (encoding/format.h), as many as the collection
/// counts. Keyspace thread only. Everything here may unwind, before its first write; what is passed in must
/// not point into the hash. Each function names its key events. All of them fail with kWrongType when the key
/// holds another type.
namespace thermocline {

/// HSET. `pairs`: field, value, field, value, ...; of a field that comes twice the last value stays. Returns
/// how many fields were new.
Result<uint64_t> HashSet(Txn& txn, std::string_view key, std::span<const std::string_view> pairs);
/// HSETNX. Returns whether it was set.
Result<bool> HashSetIfAbsent(Txn& txn, std::string_view key, std::string_view field, std::string_view value);
/// HDEL. Returns how many there were.
Result<uint64_t> HashDelete(Txn& txn, std::string_view key, std::span<const std::string_view> fields);
/// HINCRBY. Returns the new value. Errors: kNotInteger (the stored value), kOverflow.
Result<int64_t> HashIncrement(Txn& txn, std::string_view key, std::string_view field, int64_t delta);
/// HINCRBYFLOAT. Returns the new value as text. Errors: kNotFloat (the stored value), kNotFinite.
Result<std::string> HashIncrementFloat(Txn& txn, std::string_view key, std::string_view field,
                                       long double delta);

}  // namespace thermocline
