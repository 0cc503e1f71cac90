#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/command_table.h"
#include "server/reply.h"

namespace thermocline {

enum class ReplyMode : uint8_t { kOn, kOff, kSkipThis, kSkipNext };

/// What commands change of a connection's session; an EXEC that has to run again puts it back.
struct Session {
  int db = 0;
  int protocol = 2;
  bool authenticated = false;
  bool no_evict = false;
  std::string name;
  std::string user = "default";
  ReplyMode reply_mode = ReplyMode::kOn;
};

/// An open MULTI: the commands that EXEC will run.
class Transaction {
 public:
  struct Queued {
    const CommandTable::Entry* entry;
    std::vector<std::string_view> args;
  };

  /// Copies the arguments.
  void Queue(const CommandTable::Entry& entry, std::span<const std::string_view> args);
  const std::vector<Queued>& commands() const { return commands_; }
  size_t memory_bytes() const { return bytes_; }
  /// Some command writes.
  bool writes() const { return writes_; }
  /// Some command may need memory: EXEC is refused when there is none.
  bool denies_oom() const { return denies_oom_; }

  bool aborted = false;  ///< a command could not be queued: EXEC will refuse

 private:
  std::vector<Queued> commands_;
  std::vector<std::unique_ptr<char[]>> buffers_;  ///< of the arguments, one per command
  size_t bytes_ = 0;
  bool writes_ = false;
  bool denies_oom_ = false;
};

}  // namespace thermocline
