#include "server/slowlog.h"

#include <algorithm>

#include <fmt/format.h>

namespace thermocline {

void SlowLog::Add(Entry entry, size_t entries_max) {
  entry.id = next_id_++;
  entries_.push_front(std::move(entry));
  Trim(entries_max);
}

void SlowLog::Trim(size_t entries_max) {
  if (entries_.size() > entries_max) entries_.resize(entries_max);
}

std::vector<std::string> CutArguments(std::span<const std::string_view> args) {
  const bool too_many = args.size() > SlowLog::kArgsMax;
  const size_t kept = too_many ? SlowLog::kArgsMax - 1 : args.size();
  std::vector<std::string> cut;
  cut.reserve(std::min(args.size(), SlowLog::kArgsMax));
  for (const std::string_view arg : args.first(kept)) {
    std::string& copy = cut.emplace_back(arg.substr(0, SlowLog::kArgBytesMax));
    if (arg.size() > SlowLog::kArgBytesMax) {
      copy += fmt::format("... ({} more bytes)", arg.size() - SlowLog::kArgBytesMax);
    }
  }
  if (too_many) cut.push_back(fmt::format("... ({} more arguments)", args.size() - kept));
  return cut;
}

}  // namespace thermocline
