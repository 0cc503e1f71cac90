#pragma once

#include <vector>

#include "encoding/status.h"
#include "engine/object.h"

namespace thermocline {

/// Somebody whose command can be suspended and run again: in the server, a connection. The keyspace keeps pointers
/// to waiters whose command is suspended; such a waiter must live until the keyspace has given it back
/// (Keyspace::TakeReady). Keyspace thread only.
class Waiter {
 public:
  virtual ~Waiter() = default;
  bool suspended() const { return pending_ > 0; }

 protected:
  Waiter() = default;

 private:
  friend class Keyspace;
  friend class Txn;
  int pending_ = 0;              ///< things it waits for
  Status error_;                 ///< what the disk answered instead of a row
  std::vector<Object*> pins_;    ///< objects that stay in RAM until the command has run
};

}  // namespace thermocline
