// Lists: LPUSH, LRANGE, LMOVE and their kin. The type itself is engine/list.h.

#include "server/command.h"

namespace thermocline {

std::span<const Command> ListCommands() { return {}; }

}  // namespace thermocline
