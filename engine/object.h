#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "encoding/format.h"
#include "engine/row_tree.h"

namespace thermocline {

using format::Encoding;
using format::ObjectType;

/// Rows of an object lie in up to two ordered spaces; see encoding/format.h for what each type keeps where.
enum class RowSpace : uint8_t { kFields, kScores };

struct Load;

/// Not in the list in question.
inline constexpr uint32_t kNoPlace = UINT32_MAX;

/// What an object with rows has beyond its head: collections, and strings that are kept in chunks.
struct ObjectRows {
  uint64_t id = 0;              ///< 0: packed (all rows inside the metadata row)
  format::CollectionBody body;  ///< of a chunked string: aux0 is its size in bytes
  RowTree fields;
  RowTree scores;
  /// Of a sorted set: fields rows of removed members may be left over, until they are purged (Txn::Linger).
  bool lingering = false;
  uint32_t bench_place = kNoPlace;  ///< on the workbench (engine/workbench.h)
  uint32_t large_place = kNoPlace;  ///< among the large objects of the hot tier
  uint32_t linger_round = 0;        ///< how often rows were left over since the object is in RAM
  uint64_t version = 0;             ///< never the same again once a command has written to the object
  uint64_t load_tag = 0;            ///< of the reads under way for these rows; 0: there were none yet
  uint32_t loads = 0;               ///< such reads; while there are any, dummies must stay
  uint32_t leave_none = 0;          ///< of a sorted set: so many removals leave no rows (see its header)
  uint64_t forgot_at = 0;           ///< when rows that were known became unknown last, by Keyspace's versions
  size_t accounted_bytes = 0;       ///< what the hot tier's account holds for the rows
  uint64_t admission_number = 0;    ///< its place in the queue of Admission, if it is there

  RowTree& tree(RowSpace space) { return space == RowSpace::kFields ? fields : scores; }
};

/// One key in RAM. A collection whose rows are packed has two forms: with ObjectRows, or *at rest*, as the
/// bytes that lie behind the head of its metadata value on disk (engine/packed_rows.h), which cost a
/// fraction. What Txn gives to commands is not at rest, but where it says so.
/// Allocated with its key behind it; its address is stable until the hot tier frees it. Owned by the hot
/// tier; used on the keyspace thread only.
struct Object {
  enum class State : uint8_t {
    kLive,     ///< the key exists (its time may have come)
    kAbsent,   ///< the key is known not to exist; kept while that is uncommitted or somebody waits
    kLoading,  ///< the head is being read; `load` says by which read
    kCold,     ///< nothing is known: as if the key were not in the hot tier
  };

  /// Whether it may stay in RAM (engine/admission.h). All but the first wait for that to be decided.
  enum Admission : uint32_t { kAdmitted, kBrought, kUsedOnce, kUsedAgain };

  uint64_t expire_at_ms = 0;  ///< 0: never
  union {
    char* value = nullptr;  ///< live string, not in chunks, or at rest: malloc'd, value_size bytes
    ObjectRows* rows;       ///< live with has_rows
    Load* load;             ///< kLoading
  };
  uint32_t value_size = 0;
  uint32_t key_size = 0;
  uint32_t access = 0;  ///< when it was used last, or how often; by eviction policy (engine/eviction.h)
  uint32_t mark = 0;    ///< the command that wrote it last in this turn; 0: clean, that is, as on disk
  uint16_t db = 0;      ///< physical
  ObjectType type = ObjectType::kString;
  State state : 2 = State::kCold;
  Encoding encoding : 2 = Encoding::kAuto;
  bool has_rows : 1 = false;
  bool head_dirty : 1 = false;         ///< its metadata row must be written with the turn's commit
  bool at_rest : 1 = false;            ///< a live collection without ObjectRows
  bool used_again : 1 = false;         ///< since it has its rows, or since the workbench looked
  uint32_t pins : 30 = 0;              ///< commands that wait and need it in RAM, and reads under way for it
  uint32_t admission : 2 = kAdmitted;  ///< an Admission

  std::string_view key() const { return {reinterpret_cast<const char*>(this + 1), key_size}; }
  /// Of a string without rows, or of an object at rest.
  std::string_view inline_value() const { return {value, value_size}; }
  bool live() const { return state == State::kLive; }
  bool dirty() const { return mark != 0; }
};
static_assert(sizeof(Object) == 40, "an object is the price of every resident key");

}  // namespace thermocline
