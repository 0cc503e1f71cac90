#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "server/command.h"

/// What SCAN, HSCAN, SSCAN and ZSCAN have in common.
namespace thermocline {

struct ScanOptions {
  std::optional<std::string> match;
  uint64_t count = 10;
  std::optional<std::string> type;  ///< SCAN only
};

/// Each gives false when the arguments are not right, and has written the error.
bool ParseScanCursor(CommandContext& c, std::string_view text, uint64_t* cursor);
/// `first`: the argument where the options begin.
bool ParseScanOptions(CommandContext& c, size_t first, bool with_type, ScanOptions* options);

/// "*" stands for everything, the empty text included, which GlobMatch alone would not give.
bool ScanMatches(const ScanOptions& options, std::string_view text);

/// The whole of HSCAN, SSCAN and ZSCAN (`key cursor [options]`) on the rows of one space, in row key order.
/// `write` writes a row's elements, of which there are `elements`. A packed collection comes whole, as
/// Redis's compact ones do.
void ScanCollection(
    CommandContext& c, ObjectType type, RowSpace space, size_t elements,
    const std::function<void(ReplyWriter&, std::string_view key, std::string_view value)>& write);

}  // namespace thermocline
