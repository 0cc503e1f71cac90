#pragma once

#include <cmath>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "encoding/numbers.h"
#include "server/client.h"
#include "server/command.h"
#include "server/error_reply.h"
#include "server/server.h"

/// What handlers of all families do with their arguments. Each function that gives false has written the
/// error.
namespace thermocline {

/// The object at `key`, or nullptr if there is none. False: it is of another type.
inline bool FindObject(CommandContext& context, std::string_view key, ObjectType type, Object** object,
                       Txn::Access access = Txn::Access::kUse) {
  const Result<Object*> found = context.txn.Find(key, type, access);
  if (!found.ok()) {
    WriteError(context.reply, found.status());
    return false;
  }
  *object = *found;
  return true;
}

inline bool ReadInteger(CommandContext& context, std::string_view text, int64_t* value) {
  if (ParseInt64(text, value)) return true;
  context.reply.Error(error_text::kNotInteger);
  return false;
}

/// The keys that a blocking command is to try: its own, or the one for which it was woken.
inline std::vector<std::string_view> KeysToTry(const CommandContext& context,
                                               std::span<const std::string_view> keys) {
  if (context.ready_key != nullptr) return {*context.ready_key};
  return {keys.begin(), keys.end()};
}

/// As FindObject; but a command that has blocked goes on waiting when there is something else now.
inline bool FindAwaited(CommandContext& context, std::string_view key, ObjectType type, Object** object) {
  if (!context.client.has_blocked()) return FindObject(context, key, type, object);
  *object = context.txn.Find(key);
  if (*object != nullptr && (*object)->type != type) *object = nullptr;
  return true;
}

/// A timeout in milliseconds, for WAIT.
inline bool ReadTimeoutMs(CommandContext& context, std::string_view text, int64_t* milliseconds) {
  const char* error = nullptr;
  if (!ParseInt64(text, milliseconds)) {
    error = "ERR timeout is not an integer or out of range";
  } else if (*milliseconds < 0) {
    error = "ERR timeout is negative";
  }
  if (error != nullptr) context.reply.Error(error);
  return error == nullptr;
}

/// A timeout in seconds with fractions, in milliseconds, for commands that block. 0: none.
inline bool ReadBlockTimeout(CommandContext& context, std::string_view text, uint64_t* milliseconds) {
  long double seconds;
  const char* error = nullptr;
  if (!ParseLongDouble(text, &seconds)) {
    error = "ERR timeout is not a float or out of range";
  } else if (seconds < 0 || seconds * 1000 > static_cast<long double>(INT64_MAX)) {
    error = "ERR timeout is negative";  // so says Redis of what overflows, too
  } else if (seconds * 1000 > static_cast<long double>(INT64_MAX) - context.server.clock().WallMs()) {
    error = "ERR timeout is out of range";
  } else {
    *milliseconds = static_cast<uint64_t>(std::ceil(seconds * 1000));
  }
  if (error != nullptr) context.reply.Error(error);
  return error == nullptr;
}

/// The number of a database that exists.
inline bool ReadDatabase(CommandContext& context, std::string_view text, int* db) {
  int64_t number;
  if (!ReadInteger(context, text, &number)) return false;
  if (number < INT32_MIN || number > INT32_MAX) {
    context.reply.Error("ERR value is out of range, value must between -2147483648 and 2147483647");
    return false;
  }
  if (number < 0 || number >= context.server.keyspace().databases()) {
    context.reply.Error(error_text::kDbIndex);
    return false;
  }
  *db = static_cast<int>(number);
  return true;
}

}  // namespace thermocline
