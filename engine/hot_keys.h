#pragma once

#include <string>
#include <vector>

#include "encoding/status.h"

namespace thermocline {

/// A key that was in RAM.
struct HotKey {
  int db = 0;  ///< logical
  std::string key;
};

/// The file that says which keys were hottest, hottest first:
///
///   "TCHOT1\n", then per key: varint db, sized key; at the end: XXH3-64 of all before, u64
///
/// It is a hint: without it, or when it is damaged, a server begins cold. Blocking; any thread.
Status WriteHotKeys(const std::string& path, const std::vector<HotKey>& keys);
Result<std::vector<HotKey>> ReadHotKeys(const std::string& path);

}  // namespace thermocline
