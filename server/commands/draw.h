#pragma once

#include <cstdint>
#include <limits>
#include <string_view>

#include "engine/random_rows.h"
#include "server/commands/common.h"

namespace thermocline {

/// The count of SRANDMEMBER and HRANDFIELD: so many distinct rows, or, with a minus, so many draws from all.
/// False: the error is written.
inline bool ReadDrawCount(CommandContext& c, std::string_view text, RowDraw* draw) {
  int64_t count;
  if (!ReadInteger(c, text, &count)) return false;
  if (count == std::numeric_limits<int64_t>::min()) {
    c.reply.Error(
        "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807");
    return false;
  }
  draw->distinct = count >= 0;
  draw->count = static_cast<uint64_t>(count < 0 ? -count : count);
  return true;
}

}  // namespace thermocline
