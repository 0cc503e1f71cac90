// Sorted sets: ZADD, ZRANGE, ZUNION and their kin. The type itself is engine/sorted_set.h.

#include "server/command.h"

namespace thermocline {

std::span<const Command> SortedSetCommands() { return {}; }

}  // namespace thermocline
