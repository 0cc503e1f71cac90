// Lists: LPUSH, LRANGE, LMOVE and their kin. The type itself is engine/list.h.

#include <algorithm>
#include <limits>
#include <memory>
#include <string>
#include <utility>

#include "engine/list.h"
#include "server/command.h"
#include "server/command_table.h"
#include "server/commands/common.h"
#include "server/error_reply.h"
#include "server/log.h"

namespace thermocline {

namespace {

// ---- Arguments and replies ----

bool FindList(CommandContext& c, Object** object) {
  return FindObject(c, c.args[1], ObjectType::kList, object);
}

/// An integer of at least `min`; the error says `text`, whatever is wrong.
bool ReadAtLeast(CommandContext& c, std::string_view argument, int64_t min, std::string_view text,
                 uint64_t* value) {
  int64_t number;
  if (!ParseInt64(argument, &number) || number < min) {
    c.reply.Error(text);
    return false;
  }
  *value = static_cast<uint64_t>(number);
  return true;
}

bool ParseEnd(CommandContext& c, std::string_view text, ListEnd* end) {
  const bool left = EqualIgnoreCase(text, "left");
  if (!left && !EqualIgnoreCase(text, "right")) {
    c.reply.Error(error_text::kSyntax);
    return false;
  }
  *end = left ? ListEnd::kHead : ListEnd::kTail;
  return true;
}

/// The size of a number that is asked for with a sign.
uint64_t Magnitude(int64_t number) {
  return number < 0 ? ~static_cast<uint64_t>(number) + 1 : static_cast<uint64_t>(number);
}

/// The position that an index means, which counts from the tail where it is negative. False: there is none.
bool PositionOf(int64_t index, uint64_t length, uint64_t* position) {
  if (index < 0) {
    if (Magnitude(index) > length) return false;
    *position = length - Magnitude(index);
  } else {
    *position = static_cast<uint64_t>(index);
  }
  return *position < length;
}

/// The positions from `first` to `last` that two indices mean. False: there are none.
bool RangeOf(int64_t start, int64_t stop, uint64_t length, uint64_t* first, uint64_t* last) {
  const auto size = static_cast<int64_t>(length);
  if (start < 0) start = std::max<int64_t>(start + size, 0);
  if (stop < 0) stop += size;
  stop = std::min(stop, size - 1);
  *first = static_cast<uint64_t>(start);
  *last = static_cast<uint64_t>(stop);
  return stop >= 0 && start <= stop;
}

Status RowsMissing() { return {Code::kCorruption, "a list has fewer rows than its head says"}; }

/// `count` elements from a position towards the tail.
void ReplyRange(CommandContext& c, Object* object, uint64_t position, uint64_t count) {
  std::string& out = c.reply.buffer();
  const size_t begin = out.size();
  c.reply.ArrayHeader(count);
  ListVisit(c.txn, object, position, /*forward=*/true, [&](std::string_view, std::string_view value) {
    c.reply.Bulk(value);
    return --count > 0;
  });
  if (count == 0) return;
  out.resize(begin);
  WriteError(c.reply, RowsMissing());
}

/// Removes elements from an end and writes them.
void ReplyPopped(CommandContext& c, Object* object, ListEnd end, uint64_t count) {
  c.reply.ArrayHeader(count);
  ListPop(c.txn, object, end, count, [&](std::string_view value) { c.reply.Bulk(value); });
}

// ---- Searches ----

/// Lets `search` visit the rows of a list as they are on disk.
template <typename Search>
Status SearchRows(const SnapshotView& view, const RowsOfSpace& rows, Search& search) {
  return view.ForEachRow(
      rows.object_id, rows.space, rows.from, rows.to, rows.forward,
      [&](std::string_view key, std::string_view value) { return search.Visit(key, value); });
}

/// A search that a reader thread makes for a command that writes.
template <typename Search>
struct PreparedSearch {
  Search search;
  uint64_t version;  ///< of the list that is searched
  int round;
  Status status = {};
};

/// After so many searches of a list that changes all the time, it is searched in place.
constexpr int kSearchRoundsMax = 3;

/// Walks over a list with `search`, in place or, when it is long, on a reader thread. Returns what has found
/// something or not; nullptr: the handler is to return, and runs again where it is not over.
template <typename Search>
const Search* SearchList(CommandContext& c, Object* object, bool forward, Search& search) {
  const uint64_t length = ListLength(object);
  auto prepared = std::static_pointer_cast<PreparedSearch<Search>>(c.prepared);
  if (prepared != nullptr && !prepared->status.ok()) {
    c.server.NoteReadFailure(c.command.name, prepared->status);
    WriteError(c.reply, prepared->status);
    return nullptr;
  }
  if (prepared != nullptr && prepared->version == object->rows->version) return &prepared->search;
  const int round = prepared == nullptr ? 1 : prepared->round + 1;
  if (!c.ShouldOffload(length) || round > kSearchRoundsMax) {
    uint64_t left = length;
    ListVisit(
        c.txn, object, forward ? 0 : length - 1, forward,
        [&](std::string_view key, std::string_view value) { return search.Visit(key, value) && --left > 0; });
    return &search;
  }
  auto next = std::make_shared<PreparedSearch<Search>>(std::move(search), object->rows->version, round);
  RowsOfSpace rows = RowsOf(object, RowSpace::kFields);
  rows.forward = forward;
  c.Prepare(object, next, [next, rows = std::move(rows)](const SnapshotView& view) {
    next->status = SearchRows(view, rows, next->search);
  });
  return nullptr;
}

// ---- Pushes and pops ----

void Push(CommandContext& c, ListEnd end) {
  const Result<Object*> object = c.txn.ForWrite(c.args[1], ObjectType::kList);
  if (!object.ok()) return WriteError(c.reply, object.status());
  ListPush(c.txn, *object, end, c.args.subspan(2));
  c.reply.Integer(static_cast<int64_t>(ListLength(*object)));
}

void LPush(CommandContext& c) { Push(c, ListEnd::kHead); }
void RPush(CommandContext& c) { Push(c, ListEnd::kTail); }

void PushIfExists(CommandContext& c, ListEnd end) {
  Object* object;
  if (!FindList(c, &object)) return;
  if (object == nullptr) return c.reply.Integer(0);
  ListPush(c.txn, object, end, c.args.subspan(2));
  c.reply.Integer(static_cast<int64_t>(ListLength(object)));
}

void LPushX(CommandContext& c) { PushIfExists(c, ListEnd::kHead); }
void RPushX(CommandContext& c) { PushIfExists(c, ListEnd::kTail); }

void Pop(CommandContext& c, ListEnd end) {
  if (c.args.size() > 3) {
    return c.reply.Error("ERR wrong number of arguments for '" + std::string(c.command.name) + "' command");
  }
  const bool counted = c.args.size() == 3;
  uint64_t count = 1;
  if (counted && !ReadAtLeast(c, c.args[2], 0, "ERR value is out of range, must be positive", &count)) {
    return;
  }
  Object* object;
  if (!FindList(c, &object)) return;
  if (object == nullptr) return counted ? c.reply.NullArray() : c.reply.Null();
  if (count == 0) return c.reply.ArrayHeader(0);
  if (counted) return ReplyPopped(c, object, end, std::min(count, ListLength(object)));
  ListPop(c.txn, object, end, 1, [&](std::string_view value) { c.reply.Bulk(value); });
}

void LPop(CommandContext& c) { Pop(c, ListEnd::kHead); }
void RPop(CommandContext& c) { Pop(c, ListEnd::kTail); }

struct PopManyQuery {
  std::span<const std::string_view> keys;
  ListEnd end = ListEnd::kHead;
  uint64_t count = 1;
};

/// `numkeys key [key ...] LEFT|RIGHT [COUNT count]`, from argument `at` on.
bool ReadPopMany(CommandContext& c, size_t at, PopManyQuery* query) {
  const auto syntax_error = [&] {
    c.reply.Error(error_text::kSyntax);
    return false;
  };
  uint64_t number;
  if (!ReadAtLeast(c, c.args[at], 1, "ERR numkeys should be greater than 0", &number)) return false;
  if (number >= c.args.size() - at - 1) return syntax_error();
  query->keys = c.args.subspan(at + 1, number);
  if (!ParseEnd(c, c.args[at + 1 + number], &query->end)) return false;
  const auto options = c.args.subspan(at + 2 + number);
  if (options.empty()) return true;
  if (!EqualIgnoreCase(options[0], "count") || options.size() < 2) return syntax_error();
  if (!ReadAtLeast(c, options[1], 1, "ERR count should be greater than 0", &query->count)) return false;
  return options.size() == 2 || syntax_error();
}

/// Pops from the first list that exists. False: there is none, and nothing is written.
bool PopMany(CommandContext& c, const PopManyQuery& query) {
  const std::vector<std::string_view> keys = KeysToTry(c, query.keys);
  if (keys.size() > 1) c.txn.Prefetch(keys);
  for (const std::string_view key : keys) {
    Object* object;
    if (!FindAwaited(c, key, ObjectType::kList, &object)) return true;
    if (object == nullptr) continue;
    c.reply.ArrayHeader(2);
    c.reply.Bulk(key);
    ReplyPopped(c, object, query.end, std::min(query.count, ListLength(object)));
    return true;
  }
  return false;
}

void LMPop(CommandContext& c) {
  PopManyQuery query;
  if (ReadPopMany(c, 1, &query) && !PopMany(c, query)) c.reply.NullArray();
}

/// Moves an element. False: there is none, and nothing is written.
bool Move(CommandContext& c, ListEnd from_end, ListEnd to_end) {
  c.txn.Prefetch(c.args.subspan(1, 2));
  Object* from;
  if (!FindAwaited(c, c.args[1], ObjectType::kList, &from)) return true;
  if (from == nullptr) return false;
  const Result<Object*> to = c.txn.ForWrite(c.args[2], ObjectType::kList);
  if (to.ok()) {
    c.reply.Bulk(ListMove(c.txn, from, from_end, *to, to_end));
  } else {
    WriteError(c.reply, to.status());
  }
  return true;
}

void RPopLPush(CommandContext& c) {
  if (!Move(c, ListEnd::kTail, ListEnd::kHead)) c.reply.Null();
}

bool ParseEnds(CommandContext& c, ListEnd* from_end, ListEnd* to_end) {
  return ParseEnd(c, c.args[3], from_end) && ParseEnd(c, c.args[4], to_end);
}

void LMove(CommandContext& c) {
  ListEnd from_end, to_end;
  if (ParseEnds(c, &from_end, &to_end) && !Move(c, from_end, to_end)) c.reply.Null();
}

// ---- The same, waiting for an element ----

void BlockingPop(CommandContext& c, ListEnd end) {
  uint64_t timeout_ms;
  if (!ReadBlockTimeout(c, c.args.back(), &timeout_ms)) return;
  const auto keys = c.args.subspan(1, c.args.size() - 2);
  const std::vector<std::string_view> tried = KeysToTry(c, keys);
  if (tried.size() > 1) c.txn.Prefetch(tried);
  for (const std::string_view key : tried) {
    Object* object;
    if (!FindAwaited(c, key, ObjectType::kList, &object)) return;
    if (object == nullptr) continue;
    c.reply.ArrayHeader(2);
    c.reply.Bulk(key);
    return ListPop(c.txn, object, end, 1, [&](std::string_view value) { c.reply.Bulk(value); });
  }
  c.Block(keys, timeout_ms);
}

void BLPop(CommandContext& c) { BlockingPop(c, ListEnd::kHead); }
void BRPop(CommandContext& c) { BlockingPop(c, ListEnd::kTail); }

void BLMPop(CommandContext& c) {
  uint64_t timeout_ms;
  PopManyQuery query;
  if (!ReadBlockTimeout(c, c.args[1], &timeout_ms) || !ReadPopMany(c, 2, &query)) return;
  if (!PopMany(c, query)) c.Block(query.keys, timeout_ms);
}

void BlockingMove(CommandContext& c, ListEnd from_end, ListEnd to_end) {
  uint64_t timeout_ms;
  if (!ReadBlockTimeout(c, c.args.back(), &timeout_ms)) return;
  if (Move(c, from_end, to_end)) return;
  if (!c.can_block) return c.reply.Null();  // not what the timeout's reply is
  c.Block(c.args.subspan(1, 1), timeout_ms);
}

void BRPopLPush(CommandContext& c) { BlockingMove(c, ListEnd::kTail, ListEnd::kHead); }

void BLMove(CommandContext& c) {
  ListEnd from_end, to_end;
  if (ParseEnds(c, &from_end, &to_end)) BlockingMove(c, from_end, to_end);
}

// ---- Reads ----

void LLen(CommandContext& c) {
  Object* object;
  if (!FindList(c, &object)) return;
  c.reply.Integer(object == nullptr ? 0 : static_cast<int64_t>(ListLength(object)));
}

void LIndex(CommandContext& c) {
  Object* object;
  if (!FindList(c, &object)) return;
  if (object == nullptr) return c.reply.Null();
  int64_t index;
  if (!ReadInteger(c, c.args[2], &index)) return;
  uint64_t position;
  if (!PositionOf(index, ListLength(object), &position)) return c.reply.Null();
  const auto value = ListGet(c.txn, object, position);
  if (!value.has_value()) return WriteError(c.reply, RowsMissing());
  c.reply.Bulk(*value);
}

void LRange(CommandContext& c) {
  int64_t start, stop;
  if (!ReadInteger(c, c.args[2], &start) || !ReadInteger(c, c.args[3], &stop)) return;
  Object* object;
  if (!FindList(c, &object)) return;
  uint64_t first, last;
  if (object == nullptr || !RangeOf(start, stop, ListLength(object), &first, &last))
    return c.reply.ArrayHeader(0);
  const uint64_t count = last - first + 1;
  if (!c.ShouldOffload(count)) return ReplyRange(c, object, first, count);
  RowsOfSpace rows = RowsOf(object, RowSpace::kFields);
  rows.rows_max = count;
  if (const ListBody list(object->rows->body); list.sparse) {
    rows.skip = first;  // its rows have no numbers in their keys: those before the range are passed over
  } else {
    rows.from = ListKey(list.head + first).view();
  }
  c.StreamRows(
      {.rows = RowStream(std::move(rows)),
       .count = count,
       .header = [](ReplyWriter& reply, uint64_t elements) { reply.ArrayHeader(elements); },
       .row = [](ReplyWriter& reply, std::string_view, std::string_view value) { reply.Bulk(value); }});
}

struct PositionOptions {
  ListPositionQuery query;
  bool many = false;  ///< with COUNT the reply is an array
};

bool ParsePositionOptions(CommandContext& c, PositionOptions* options) {
  ListPositionQuery& query = options->query;
  for (size_t i = 3; i < c.args.size(); i += 2) {
    const std::string_view option = c.args[i];
    const bool rank = EqualIgnoreCase(option, "rank"), count = EqualIgnoreCase(option, "count");
    if (i + 1 == c.args.size() || !(rank || count || EqualIgnoreCase(option, "maxlen"))) {
      c.reply.Error(error_text::kSyntax);
      return false;
    }
    const std::string_view text = c.args[i + 1];
    if (rank) {
      int64_t number;
      if (!ReadInteger(c, text, &number)) return false;
      if (number == 0) {
        c.reply.Error(
            "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use "
            "negative to start from the end of the list");
        return false;
      }
      query.forward = number > 0;
      // Redis cannot negate the smallest number: it is taken as -1, in effect.
      query.rank = number == std::numeric_limits<int64_t>::min() ? 1 : Magnitude(number);
    } else if (count) {
      options->many = true;
      if (!ReadAtLeast(c, text, 0, "ERR COUNT can't be negative", &query.limit)) return false;
    } else if (!ReadAtLeast(c, text, 0, "ERR MAXLEN can't be negative", &query.window)) {
      return false;
    }
  }
  return true;
}

void ReplyPositions(ReplyWriter& reply, const ListPositionSearch& search, bool many) {
  const std::vector<uint64_t>& positions = search.positions();
  if (many) {
    reply.ArrayHeader(positions.size());
    for (const uint64_t position : positions) reply.Integer(static_cast<int64_t>(position));
  } else if (positions.empty()) {
    reply.Null();
  } else {
    reply.Integer(static_cast<int64_t>(positions[0]));
  }
}

/// LPOS key element [RANK rank] [COUNT matches] [MAXLEN elements]
void LPos(CommandContext& c) {
  PositionOptions options;
  if (!ParsePositionOptions(c, &options)) return;
  Object* object;
  if (!FindList(c, &object)) return;
  if (object == nullptr) return options.many ? c.reply.ArrayHeader(0) : c.reply.Null();
  const ListPositionQuery& query = options.query;
  const uint64_t length = ListLength(object);
  ListPositionSearch search(std::string(c.args[2]), query, length);
  if (!c.ShouldOffload(query.window == 0 ? length : std::min(length, query.window))) {
    ListVisit(c.txn, object, query.forward ? 0 : length - 1, query.forward,
              [&](std::string_view key, std::string_view value) { return search.Visit(key, value); });
    return ReplyPositions(c.reply, search, options.many);
  }
  RowsOfSpace rows = RowsOf(object, RowSpace::kFields);
  rows.forward = query.forward;
  c.OffloadReply([rows = std::move(rows), search, many = options.many](const SnapshotView& view,
                                                                       ReplyWriter& reply) mutable {
    Status status = SearchRows(view, rows, search);
    if (status.ok()) ReplyPositions(reply, search, many);
    return status;
  });
}

// ---- Changes in the middle ----

void LSet(CommandContext& c) {
  Object* object;
  if (!FindList(c, &object)) return;
  if (object == nullptr) return c.reply.Error(error_text::kNoSuchKey);
  int64_t index;
  if (!ReadInteger(c, c.args[2], &index)) return;
  uint64_t position;
  if (!PositionOf(index, ListLength(object), &position)) return c.reply.Error("ERR index out of range");
  ListSet(c.txn, object, position, c.args[3]);
  c.reply.Ok();
}

/// LINSERT key BEFORE|AFTER pivot element
void LInsert(CommandContext& c) {
  const bool before = EqualIgnoreCase(c.args[2], "before");
  if (!before && !EqualIgnoreCase(c.args[2], "after")) return c.reply.Error(error_text::kSyntax);
  Object* object;
  if (!FindList(c, &object)) return;
  if (object == nullptr) return c.reply.Integer(0);
  ListPlaceSearch search(std::string(c.args[3]), before);
  const ListPlaceSearch* place = SearchList(c, object, /*forward=*/true, search);
  if (place == nullptr) return;
  if (!place->found()) return c.reply.Integer(-1);
  ListInsert(c.txn, object, *place, c.args[4]);
  c.reply.Integer(static_cast<int64_t>(ListLength(object)));
}

/// LREM key count element
void LRem(CommandContext& c) {
  int64_t count;
  if (!ReadInteger(c, c.args[2], &count)) return;
  Object* object;
  if (!FindList(c, &object)) return;
  if (object == nullptr) return c.reply.Integer(0);
  const bool forward = count >= 0;
  ListMatchSearch search(std::string(c.args[3]), Magnitude(count));
  const ListMatchSearch* matches = SearchList(c, object, forward, search);
  if (matches == nullptr) return;
  if (matches->keys().empty()) return c.reply.Integer(0);
  std::vector<std::string> keys = matches->keys();
  if (!forward) std::reverse(keys.begin(), keys.end());
  ListRemove(c.txn, object, keys);
  c.reply.Integer(static_cast<int64_t>(keys.size()));
}

void LTrim(CommandContext& c) {
  int64_t start, stop;
  if (!ReadInteger(c, c.args[2], &start) || !ReadInteger(c, c.args[3], &stop)) return;
  Object* object;
  if (!FindList(c, &object)) return;
  if (object != nullptr) {
    uint64_t first, last;
    if (!RangeOf(start, stop, ListLength(object), &first, &last)) first = 1, last = 0;
    ListTrim(c.txn, object, first, last);
  }
  c.reply.Ok();
}

// ---- The table ----

constexpr auto kList = CommandGroup::kList;
constexpr KeySpec kInsert[] = {{.flags = kKeyRw | kKeyInsert}};
constexpr KeySpec kPop[] = {{.flags = kKeyRw | kKeyAccess | kKeyDelete}};
constexpr KeySpec kLook[] = {{.flags = kKeyRo}};
constexpr KeySpec kRead[] = {{.flags = kKeyRo | kKeyAccess}};
constexpr KeySpec kUpdate[] = {{.flags = kKeyRw | kKeyUpdate}};
constexpr KeySpec kDelete[] = {{.flags = kKeyRw | kKeyDelete}};
constexpr KeySpec kMoveKeys[] = {{.flags = kKeyRw | kKeyAccess | kKeyDelete},
                                 {.flags = kKeyRw | kKeyInsert, .index = 2}};
constexpr KeySpec kPopAllButLast[] = {{.flags = kKeyRw | kKeyAccess | kKeyDelete, .last = -2}};
constexpr KeySpec kBMPopKeys[] = {{.flags = kKeyRw | kKeyAccess | kKeyDelete,
                                   .index = 2,
                                   .find = KeySpec::Find::kKeyNumber,
                                   .key_number = 0,
                                   .first_key = 1}};
constexpr KeySpec kMPopKeys[] = {{.flags = kKeyRw | kKeyAccess | kKeyDelete,
                                  .find = KeySpec::Find::kKeyNumber,
                                  .key_number = 0,
                                  .first_key = 1}};

constexpr Command kCommands[] = {
    {"blmove", 6, kWrite | kDenyOom | kNoScript | kBlocking, kList, "6.2.0", "O(1)",
     "LMOVE, waiting for an element.", BLMove, kMoveKeys},
    {"blmpop", -5, kWrite | kBlocking | kMovableKeys, kList, "7.0.0", "O(N+M) for N keys and M elements",
     "LMPOP, waiting for an element.", BLMPop, kBMPopKeys},
    {"blpop", -3, kWrite | kNoScript | kBlocking, kList, "2.0.0", "O(N) for N keys",
     "Takes an element from the head of the first list that exists, waiting for one.", BLPop, kPopAllButLast},
    {"brpop", -3, kWrite | kNoScript | kBlocking, kList, "2.0.0", "O(N) for N keys",
     "Takes an element from the tail of the first list that exists, waiting for one.", BRPop, kPopAllButLast},
    {"brpoplpush", 4, kWrite | kDenyOom | kNoScript | kBlocking, kList, "2.2.0", "O(1)",
     "RPOPLPUSH, waiting for an element.", BRPopLPush, kMoveKeys},
    {"lindex", 3, kReadOnly, kList, "1.0.0",
     "O(1); O(log N) in a list that was changed in its middle, once it is in RAM",
     "Gives the element at an index.", LIndex, kRead},
    {"linsert", 5, kWrite | kDenyOom, kList, "2.2.0",
     "O(N) for N elements up to the pivot, beside other clients in a long list",
     "Inserts an element before or after another.", LInsert, kInsert},
    {"llen", 2, kReadOnly | kFast, kList, "1.0.0", "O(1)", "Tells the length of a list.", LLen, kLook},
    {"lmove", 5, kWrite | kDenyOom, kList, "6.2.0", "O(1)",
     "Moves an element from an end of a list to an end of a list.", LMove, kMoveKeys},
    {"lmpop", -4, kWrite | kMovableKeys, kList, "7.0.0", "O(N+M) for N keys and M elements",
     "Takes elements from an end of the first list that exists.", LMPop, kMPopKeys},
    {"lpop", -2, kWrite | kFast, kList, "1.0.0", "O(N) for N elements", "Takes elements from the head.", LPop,
     kPop},
    {"lpos", -3, kReadOnly, kList, "6.0.6",
     "O(N) for N elements looked at, beside other clients where they are many",
     "Finds the indexes of elements that equal a value.", LPos, kRead},
    {"lpush", -3, kWrite | kDenyOom | kFast, kList, "1.0.0", "O(N) for N elements",
     "Adds elements at the head; makes the list if there is none.", LPush, kInsert},
    {"lpushx", -3, kWrite | kDenyOom | kFast, kList, "2.2.0", "O(N) for N elements",
     "Adds elements at the head of a list that exists.", LPushX, kInsert},
    {"lrange", 4, kReadOnly, kList, "1.0.0", "O(N) for N elements, beside other clients where they are many",
     "Gives the elements between two indexes.", LRange, kRead},
    {"lrem", 4, kWrite, kList, "1.0.0", "O(N) for N elements looked at, beside other clients in a long list",
     "Removes elements that equal a value.", LRem, kDelete},
    {"lset", 4, kWrite | kDenyOom, kList, "1.0.0",
     "O(1); O(log N) in a list that was changed in its middle, once it is in RAM",
     "Overwrites the element at an index.", LSet, kUpdate},
    {"ltrim", 4, kWrite, kList, "1.0.0",
     "O(log N) on disk; in RAM milliseconds for a million elements removed",
     "Removes all elements but those between two indexes.", LTrim, kDelete},
    {"rpop", -2, kWrite | kFast, kList, "1.0.0", "O(N) for N elements", "Takes elements from the tail.", RPop,
     kPop},
    {"rpoplpush", 3, kWrite | kDenyOom, kList, "1.2.0", "O(1)",
     "Moves the last element of a list to the head of a list, as LMOVE can.", RPopLPush, kMoveKeys},
    {"rpush", -3, kWrite | kDenyOom | kFast, kList, "1.0.0", "O(N) for N elements",
     "Adds elements at the tail; makes the list if there is none.", RPush, kInsert},
    {"rpushx", -3, kWrite | kDenyOom | kFast, kList, "2.2.0", "O(N) for N elements",
     "Adds elements at the tail of a list that exists.", RPushX, kInsert},
};

}  // namespace

std::span<const Command> ListCommands() { return kCommands; }

}  // namespace thermocline
