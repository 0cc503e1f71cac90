#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/row_source.h"
#include "engine/snapshot.h"
#include "engine/txn.h"
#include "server/blocked_clients.h"
#include "server/reply.h"

namespace thermocline {

class Client;
class Server;
struct Command;

/// What a command does, for the checks before it runs, for COMMAND and for ACL categories. Redis's flags.
enum CommandFlag : uint32_t {
  kWrite = 1 << 0,     ///< may change keys
  kReadOnly = 1 << 1,  ///< reads keys, changes none
  kDenyOom = 1 << 2,   ///< may grow the data set
  kAdmin = 1 << 3,
  kPubSub = 1 << 4,
  kNoScript = 1 << 5,
  kBlocking = 1 << 6,  ///< may block the connection
  kLoading = 1 << 7,   ///< allowed while the data set is being loaded
  kStale = 1 << 8,     ///< allowed on a replica that lost its primary
  kSkipMonitor = 1 << 9,
  kSkipSlowlog = 1 << 10,
  kFast = 1 << 11,
  kNoAuth = 1 << 12,  ///< allowed before authentication
  kMayReplicate = 1 << 13,
  kNoMulti = 1 << 14,      ///< refused inside MULTI
  kMovableKeys = 1 << 15,  ///< positions of keys depend on the arguments
  kAllowBusy = 1 << 16,
  kNoAsyncLoading = 1 << 17,
  kAsking = 1 << 18,
  kNoMandatoryKeys = 1 << 19,
  kProtected = 1 << 20,
  kTouchesArbitraryKeys = 1 << 21,
  // Our own, which COMMAND does not show:
  kInSubscribed = 1 << 22,  ///< allowed to a RESP2 connection that is subscribed to something
  kNotQueued = 1 << 23,     ///< inside MULTI it runs at once
  kRunsQueued = 1 << 24,    ///< EXEC: it writes if one of the queued commands does
  kLeavesMulti = 1 << 25,   ///< ends a transaction: goes on inside MULTI though memory is full
};

/// The group of a command in COMMAND DOCS; the data type groups are ACL categories too.
enum class CommandGroup : uint8_t {
  kGeneric,
  kString,
  kList,
  kSet,
  kSortedSet,
  kHash,
  kPubSub,
  kTransactions,
  kConnection,
  kServer,
  kScripting,
  kHyperLogLog,
  kCluster,
  kSentinel,
  kGeo,
  kStream,
  kBitmap,
};

/// How a command uses the keys of a spec: Redis's key spec flags.
enum KeySpecFlag : uint32_t {
  kKeyRo = 1 << 0,      ///< reads the value, without changing it
  kKeyRw = 1 << 1,      ///< reads and changes it
  kKeyOw = 1 << 2,      ///< overwrites it without reading
  kKeyRm = 1 << 3,      ///< deletes the key
  kKeyAccess = 1 << 4,  ///< returns or uses the user's data
  kKeyUpdate = 1 << 5,
  kKeyInsert = 1 << 6,
  kKeyDelete = 1 << 7,
  kKeyNotKey = 1 << 8,
  kKeyIncomplete = 1 << 9,
  kKeyVariableFlags = 1 << 10,
};

/// Where keys stand among the arguments: where they begin, and how many there are from there.
struct KeySpec {
  uint32_t flags = 0;
  enum class Begin : uint8_t { kIndex, kKeyword, kUnknown } begin = Begin::kIndex;
  int index = 1;                  ///< kIndex: argument number of the first key
  std::string_view keyword = {};  ///< kKeyword: the keys begin behind this word,
  int start_from = 0;  ///<   which is looked for from this argument on (negative: from the end, backwards)
  enum class Find : uint8_t { kRange, kKeyNumber, kUnknown } find = Find::kRange;
  int last = 0;  ///< kRange: last key relative to the first; negative: counted from the end (-1: last)
  int step = 1;
  int limit = 0;       ///< kRange with last -1: 2 means half of the rest, ...; 0, 1: all
  int key_number = 0;  ///< kKeyNumber: where the number of keys stands, relative to the beginning,
  int first_key = 0;   ///<   and where the first key stands
  std::string_view notes = {};

  /// Whether the keys stand in the same places in every call, up to a last one that may be counted from the
  /// end.
  bool is_plain() const { return begin == Begin::kIndex && find == Find::kRange; }
};

/// Long enough that a piece of a long reply costs little more than its rows, short enough for thousands of
/// clients at a time.
inline constexpr size_t kReplyPieceBytes = 256 << 10;
/// Writes the next piece of a long reply on a reader thread; `more`: it was not the last.
using PieceOfReply = std::function<Status(const SnapshotView&, ReplyWriter&, bool* more)>;

/// A reply that is rows of one space, one behind the other.
struct RowsReply {
  RowStream rows;
  std::optional<uint64_t>
      count;  ///< how many there will be; nullopt: they are counted first, by reading them
  std::function<void(ReplyWriter&, uint64_t count)> header;
  std::function<void(ReplyWriter&, std::string_view key, std::string_view value)> row;
};

/// What a command that is not through yet waits for; the server takes it over after the run.
struct Wanted {
  std::function<void(const SnapshotView&)> job;
  std::function<void(ReplyWriter&)> finish;
  PieceOfReply piece;
  Object* keep = nullptr;
  std::shared_ptr<void> prepared;
  std::unique_ptr<Blocked> block;
};

/// Everything a handler gets. Lives for one run of the command.
struct CommandContext {
  std::span<const std::string_view> args;  ///< args[0] is the command's name as sent; valid during the run
  Txn& txn;
  ReplyWriter& reply;  ///< what is written here is discarded when the run unwinds
  Client& client;
  Server& server;
  const Command& command;  ///< the row (of the subcommand where there is one)
  Wanted& wanted;          ///< set by the functions below

  /// Asks for `job` to be run on a reader thread on a snapshot of all that was executed so far, while the
  /// connection waits and all others go on; then `finish` runs on the keyspace thread and writes the reply.
  /// The handler returns right after the call, having written nothing. `job` and `finish` own all they need
  /// (arguments are gone by then). Where offloading is not possible, both run at once.
  void Offload(std::function<void(const SnapshotView&)> job, std::function<void(ReplyWriter&)> finish);

  /// The same for a long reply: `job` writes it on the reader thread, in full. What it wrote before it gives
  /// an error is dropped, and the error is the reply.
  void OffloadReply(std::function<Status(const SnapshotView&, ReplyWriter&)> job);

  /// For a reply that may be larger than memory: it is read and sent in pieces, as fast as the client takes
  /// them. If a piece cannot be read the connection is closed, since the reply is half sent. The handler
  /// returns right after the call, having written nothing. Use only where ShouldOffload says so.
  void StreamRows(RowsReply reply);
  /// The same for a reply of another kind. Where offloading is not possible, all pieces are written at once.
  void Stream(PieceOfReply piece);

  /// For a write that has to search long before it: runs `job` on a reader thread on a snapshot of all that
  /// was executed so far; then the command runs again from its start and finds in `prepared` the `state` that
  /// the job has filled in. The handler returns right after the call, having changed and written nothing.
  /// Meanwhile others may change the object: `object->rows->version` tells, when the state remembers it. Use
  /// only where ShouldOffload says so.
  void Prepare(Object* object, std::shared_ptr<void> state, std::function<void(const SnapshotView&)> job) {
    wanted.keep = object;
    wanted.prepared = std::move(state);
    wanted.job = std::move(job);
  }

  std::shared_ptr<void> prepared = nullptr;  ///< by Prepare; nullptr: the first run
  bool can_offload = true;
  bool can_block = true;
  /// The command has blocked, and runs again because this key has changed; nullptr: otherwise.
  const std::string* ready_key = nullptr;

  /// Suspends the command until one of `keys` has changed, when it runs again from its start, or until
  /// `timeout_ms` (0: for ever) are over, when `timeout_reply` is the reply. The handler returns right after
  /// the call, having changed and written nothing. Where blocking is not possible (inside MULTI/EXEC), the
  /// timeout's reply is written at once. Left out, that is the null array.
  void Block(std::span<const std::string_view> keys, uint64_t timeout_ms, std::string timeout_reply = {});

  /// Whether a read of so many rows should be offloaded: it is long, and offloading is possible here (inside
  /// MULTI/EXEC it is not: all must happen at one moment, so that even long reads run in place).
  bool ShouldOffload(uint64_t rows) const { return can_offload && rows > kLongReadRows; }
  static constexpr uint64_t kLongReadRows = 8192;
};

/// Parses, calls the engine, writes one reply. May let Unwind pass; then it is called again later with the
/// same arguments, so it changes nothing but through the Txn before it is sure to finish.
using Handler = void (*)(CommandContext& context);

/// One row of the command table: all that the server knows about a command. COMMAND, ACL categories, key
/// positions, MULTI rules and replication follow from it. Rows stand at the end of the family's file in
/// server/commands/.
struct Command {
  std::string_view name;  ///< lower case; of a subcommand without its container: "get" for CONFIG GET
  int arity;              ///< number of arguments with the name(s); negative: at least so many
  uint32_t flags;
  CommandGroup group;
  std::string_view since;
  std::string_view complexity;
  std::string_view summary;
  Handler handler = nullptr;  ///< nullptr: a container that needs a subcommand
  std::span<const KeySpec> keys = {};
  std::span<const std::string_view> tips = {};  ///< hints for clients, as in COMMAND INFO
  std::span<const Command> subcommands = {};
  uint32_t extra_acl = 0;  ///< AclCategory bits that do not follow from the flags
  /// Of a spec with kKeyVariableFlags: the flags that hold for these very arguments.
  uint32_t (*key_flags)(std::span<const std::string_view> args) = nullptr;
  /// Appends the positions of the keys that a spec which is kUnknown means; nullptr: they cannot be told.
  void (*unknown_keys)(const KeySpec& spec, std::span<const std::string_view> args,
                       std::vector<size_t>* positions) = nullptr;
  /// Whether an argument is a secret, which MONITOR and SLOWLOG do not show. nullptr: none is.
  bool (*is_secret)(std::span<const std::string_view> args, size_t index) = nullptr;
};

/// Of what type the keys are that a blocking command waits for; nullopt: it waits for none (WAIT).
inline std::optional<ObjectType> AwaitedType(const Command& command) {
  switch (command.group) {
    case CommandGroup::kList: return ObjectType::kList;
    case CommandGroup::kSortedSet: return ObjectType::kSortedSet;
    default: return std::nullopt;
  }
}

/// Redis's ACL categories, in the order in which COMMAND INFO lists them. Most follow from a row's flags and
/// group (server/acl_categories.h); `extra_acl` names those that Redis gives to single commands by hand.
enum AclCategory : uint32_t {
  kAclKeyspace = 1 << 0,
  kAclRead = 1 << 1,
  kAclWrite = 1 << 2,
  kAclSet = 1 << 3,
  kAclSortedSet = 1 << 4,
  kAclList = 1 << 5,
  kAclHash = 1 << 6,
  kAclString = 1 << 7,
  kAclBitmap = 1 << 8,
  kAclHyperLogLog = 1 << 9,
  kAclGeo = 1 << 10,
  kAclStream = 1 << 11,
  kAclPubSub = 1 << 12,
  kAclAdmin = 1 << 13,
  kAclFast = 1 << 14,
  kAclSlow = 1 << 15,
  kAclBlocking = 1 << 16,
  kAclDangerous = 1 << 17,
  kAclConnection = 1 << 18,
  kAclTransaction = 1 << 19,
  kAclScripting = 1 << 20,
};

// The families. Each is one file in server/commands/ (a call, not self-registration: a linker may drop the
// latter).
std::span<const Command> StringCommands();
std::span<const Command> BitmapCommands();
std::span<const Command> HashCommands();
std::span<const Command> ListCommands();
std::span<const Command> SetCommands();
std::span<const Command> SortedSetCommands();
std::span<const Command> KeyCommands();
std::span<const Command> SortCommands();
std::span<const Command> TransactionCommands();
std::span<const Command> PubSubCommands();
std::span<const Command> ConnectionCommands();
std::span<const Command> ServerCommands();
std::span<const Command> ObjectCommands();

}  // namespace thermocline
