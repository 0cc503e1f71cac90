#include "server/transaction.h"

#include <cstring>

#include "server/command.h"

namespace thermocline {

void Transaction::Queue(const CommandTable::Entry& entry, std::span<const std::string_view> args) {
  size_t size = 0;
  for (const std::string_view arg : args) size += arg.size();
  auto buffer = std::make_unique<char[]>(size);
  Queued queued{&entry, {}};
  queued.args.reserve(args.size());
  char* to = buffer.get();
  for (const std::string_view arg : args) {
    if (!arg.empty()) std::memcpy(to, arg.data(), arg.size());
    queued.args.emplace_back(to, arg.size());
    to += arg.size();
  }
  bytes_ += size + args.size() * sizeof(std::string_view) + sizeof(Queued);
  writes_ |= (entry.command->flags & (kWrite | kMayReplicate)) != 0;
  denies_oom_ |= (entry.command->flags & kDenyOom) != 0;
  buffers_.push_back(std::move(buffer));
  commands_.push_back(std::move(queued));
}

}  // namespace thermocline
