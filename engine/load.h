#pragma once

#include <rocksdb/slice.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/object.h"
#include "engine/store.h"
#include "engine/waiter.h"

namespace thermocline {

/// One read from disk that commands wait for. Created and taken in on the keyspace thread; between Submit and
/// TakeIn a reader thread fills in the answer and nobody else touches it. Its object is pinned meanwhile.
struct Load {
  enum class Kind : uint8_t { kHead, kRow, kRange };

  // The question.
  Kind kind = Kind::kHead;
  Object* object = nullptr;
  uint64_t object_id = 0;  ///< rows only
  uint64_t began = 0;      ///< rows only: by Keyspace's versions
  uint64_t version =
      0;             ///< rows only: ObjectRows::version then; 0: what was written before was not on disk yet
  uint64_t tag = 0;  ///< rows only: ObjectRows::load_tag of those that asked; others do not want the answer
  RowSpace space = RowSpace::kFields;
  std::string key;                ///< kHead: metadata key; kRow: row key; kRange: first row key of the range
  std::optional<std::string> to;  ///< kRange: exclusive end; nullopt: the end of the space
  bool of_many = false;           ///< a command asks for it together with very many others
  bool urgent = false;            ///< somebody asks for it who seldom has to wait
  bool forward = true;            ///< kRange: from which side it is read
  size_t rows_max = 0;            ///< kRange

  // The answer.
  Store::Found found = Store::Found::kNo;
  rocksdb::PinnableSlice value;
  std::vector<std::pair<std::string, std::string>> rows;  ///< kRange, in the order of reading
  bool reached_end = false;
  Status error;

  std::vector<Waiter*> waiters;
};

/// What makes two row loads the same question: where the answer to one will do for both.
std::string QuestionOf(const Load& load);

/// Reads the rows that a range load asks for. Any thread. With `cached_only`, stops where disk would be
/// needed and returns false there.
bool ReadRange(const Store& store, Load& load, bool cached_only);
/// Puts the rows of an answered range load into the tree.
void InstallRange(const Load& load, RowTree& tree);

}  // namespace thermocline
