#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "loadgen/reply.h"

namespace thermocline::loadgen {

enum class Type : uint8_t { kString, kHash, kList };
inline constexpr int kTypes = 3;
/// Fields of a hash, elements of a list.
inline constexpr size_t kElements = 10;

/// What all objects of one database look like.
struct Shape {
  uint32_t value_bytes =
      1024;                   ///< of a string, or of all fields or elements together; at least kValueBytesMin
  bool compressible = false;  ///< the second half of each value repeats eight bytes
};
inline constexpr uint32_t kValueBytesMin = 160;  ///< so that each element has some

/// One object in one version, and nothing else, has these bytes:
///   version u32 | type u32 | key u64 | bytes that follow from version, type and key by a hash
/// A string is them as they are, a hash or list has ten equal parts of them. So a reader can tell from a
/// value alone which version it is, and check every byte; a hash that shows two versions at once is wrong,
/// too. Appends them to `out`.
void AppendValue(Type type, uint64_t key, uint32_t version, const Shape& shape, std::string* out);

/// The version whose bytes `value` is, or nothing if it is no value of this object.
std::optional<uint32_t> VersionOf(Type type, uint64_t key, std::string_view value, const Shape& shape);

/// Appends the commands that make the object of `key` the given version; `replies` is how many they are. A
/// list that exists is replaced in one transaction.
void AppendWrite(Type type, uint64_t key, uint32_t version, const Shape& shape, std::string* out,
                 uint8_t* replies);
/// Appends the command that reads all of the object: GET, HGETALL, LRANGE 0 -1.
void AppendRead(Type type, uint64_t key, std::string* out);

/// The version that the reply to AppendRead shows, 0 if there is no such key, or nothing if it is a wrong
/// value.
std::optional<uint32_t> VersionInReply(Type type, uint64_t key, const Reply& reply, const Shape& shape);

}  // namespace thermocline::loadgen
