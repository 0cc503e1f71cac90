#pragma once

#include <optional>
#include <string>
#include <vector>

#include "encoding/status.h"
#include "engine/object.h"

namespace thermocline {

/// Rows that a command missed only after it had written to their object. Taking its writes back drops the
/// object from RAM, and with it the answer to the read; so before the command runs again these rows are
/// brought in first. Otherwise it would go round for ever when RocksDB's caches are small.
struct LateRows {
  uint16_t physical = 0;
  std::string key;  ///< the user's
  RowSpace space = RowSpace::kFields;
  bool range = false;
  bool forward = true;
  std::string from;               ///< the row; of a range: the first row key
  std::optional<std::string> to;  ///< of a range: exclusive end; nullopt: the end of the space
  size_t rows_max = 0;            ///< of a range
};

/// Somebody whose command can be suspended and run again: in the server, a connection. The keyspace keeps
/// pointers to waiters whose command is suspended; such a waiter must live until the keyspace has given it
/// back (Keyspace::TakeReady). Keyspace thread only.
class Waiter {
 public:
  virtual ~Waiter() = default;
  bool suspended() const { return pending_ > 0; }
  /// Whether it seldom has to wait for the disk: its reads from now on go before those of others.
  void set_urgent(bool urgent) { urgent_ = urgent; }

 protected:
  Waiter() = default;

 private:
  friend class Keyspace;
  friend class Txn;
  bool urgent_ = false;
  int pending_ = 0;            ///< things it waits for
  std::vector<Load*> asked_;   ///< reads that this run of the command waits for; valid until it is unwound
  Status error_;               ///< what the disk answered instead of a row
  std::vector<Object*> pins_;  ///< objects that stay in RAM until the command has run
  std::vector<Object*>
      whole_;  ///< those of them of which it has asked for many rows: none of these may leave
  std::vector<LateRows> late_;  ///< to be brought in before it runs again
  uint64_t random_seed_ = 0;    ///< of Txn::random(), for all runs of the command; 0: not drawn yet
};

}  // namespace thermocline
