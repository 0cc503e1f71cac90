#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "server/command.h"

namespace thermocline {

/// The AclCategory bits of a row: from its flags, its group, and what it names itself (`extra_acl`).
uint32_t AclCategoriesOf(const Command& command);

/// Names without '@'; the name at index i is that of bit i.
std::span<const std::string_view> AclCategoryNames();

}  // namespace thermocline
