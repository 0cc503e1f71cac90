// Sets: SADD, SMEMBERS, SINTER and their kin. The type itself is engine/set.h.

#include "server/command.h"

namespace thermocline {

std::span<const Command> SetCommands() { return {}; }

}  // namespace thermocline
