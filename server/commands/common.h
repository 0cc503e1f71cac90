#pragma once

#include <cstdint>
#include <string_view>

#include "encoding/numbers.h"
#include "server/command.h"
#include "server/error_reply.h"

/// What handlers of all families do with their arguments. Each function that gives false has written the
/// error.
namespace thermocline {

/// The object at `key`, or nullptr if there is none. False: it is of another type.
inline bool FindObject(CommandContext& context, std::string_view key, ObjectType type, Object** object) {
  const Result<Object*> found = context.txn.Find(key, type);
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

}  // namespace thermocline
