// Hashes: HSET, HGET, HGETALL and their kin. The type itself is engine/hash.h.

#include "server/command.h"

namespace thermocline {

std::span<const Command> HashCommands() { return {}; }

}  // namespace thermocline
