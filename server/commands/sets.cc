// Sets: SADD, SMEMBERS, SINTER and their kin. The type itself is engine/set.h.

#include "engine/set.h"

#include <algorithm>
#include <memory>

#include "encoding/numbers.h"
#include "engine/set_algebra.h"
#include "server/command.h"
#include "server/command_table.h"
#include "server/commands/common.h"
#include "server/commands/draw.h"
#include "server/commands/scan.h"
#include "server/error_reply.h"

namespace thermocline {

namespace {

using Args = std::span<const std::string_view>;

constexpr RowSpace kMembers = RowSpace::kFields;

bool FindSet(CommandContext& c, Object** object, Txn::Access access = Txn::Access::kUse) {
  return FindObject(c, c.args[1], ObjectType::kSet, object, access);
}

template <typename T>
void ReplyNumber(CommandContext& c, const Result<T>& result) {
  if (!result.ok()) return WriteError(c.reply, result.status());
  c.reply.Integer(static_cast<int64_t>(*result));
}

// ---- Members one by one ----

void SAdd(CommandContext& c) { ReplyNumber(c, SetAdd(c.txn, c.args[1], c.args.subspan(2))); }
void SRem(CommandContext& c) { ReplyNumber(c, SetRemove(c.txn, c.args[1], c.args.subspan(2))); }
void SMove(CommandContext& c) { ReplyNumber(c, SetMove(c.txn, c.args[1], c.args[2], c.args[3])); }

void SCard(CommandContext& c) {
  Object* object;
  if (!FindSet(c, &object, Txn::Access::kPick)) return;
  c.reply.Integer(object == nullptr ? 0 : static_cast<int64_t>(CollectionCount(object)));
}

void SIsMember(CommandContext& c) {
  Object* object;
  if (!FindSet(c, &object, Txn::Access::kPick)) return;
  c.reply.Integer(object != nullptr && c.txn.Get(object, kMembers, c.args[2]).has_value());
}

void SMIsMember(CommandContext& c) {
  Object* object;
  if (!FindSet(c, &object, Txn::Access::kPick)) return;
  const Args members = c.args.subspan(2);
  if (object != nullptr && members.size() > 1) c.txn.PrefetchRows(object, kMembers, members);
  c.reply.ArrayHeader(members.size());
  for (const std::string_view member : members) {
    c.reply.Integer(object != nullptr && c.txn.Get(object, kMembers, member).has_value());
  }
}

// ---- The whole set ----

void SMembers(CommandContext& c) {
  Object* object;
  if (!FindSet(c, &object, Txn::Access::kPick)) return;
  if (object == nullptr) return c.reply.SetHeader(0);
  if (c.ShouldOffload(CollectionCount(object))) {
    return c.StreamRows(
        {.rows = RowStream({.object_id = object->rows->id, .space = kMembers}),
         .count = CollectionCount(object),
         .header = [](ReplyWriter& reply, uint64_t rows) { reply.SetHeader(rows); },
         .row = [](ReplyWriter& reply, std::string_view member, std::string_view) { reply.Bulk(member); }});
  }
  c.reply.SetHeader(CollectionCount(object));
  c.txn.VisitRows(object, kMembers, [&](std::string_view member, std::string_view) { c.reply.Bulk(member); });
}

void SScan(CommandContext& c) {
  ScanCollection(c, ObjectType::kSet, kMembers, 1,
                 [](ReplyWriter& reply, std::string_view member, std::string_view) { reply.Bulk(member); });
}

// ---- Random members ----

/// Whether a reader thread should draw the members first, so that the set is not brought into RAM as a whole.
bool PopShouldPrepare(const CommandContext& c, const Object* object, const RowDraw& draw) {
  return c.can_offload && draw.count < CollectionCount(object) && DrawNeedsWholeSpace(object, kMembers, draw);
}

void PreparePop(CommandContext& c, Object* object, const RowDraw& draw) {
  auto pop = std::make_shared<PreparedPop>();
  pop->version = object->rows->version;
  c.Prepare(object, pop,
            [pop, draw, rows = RowSource(object, kMembers),
             random = Random(c.txn.random().Next())](const SnapshotView& view) {
              const auto keep = [&](std::string_view member, std::string_view) {
                pop->members.emplace_back(member);
              };
              pop->failed = !DrawRows(view, rows, draw, random, keep).ok();
            });
}

void SPop(CommandContext& c) {
  const bool counted = c.args.size() == 3;
  if (c.args.size() > 3) return c.reply.Error(error_text::kSyntax);
  int64_t count = 1;
  if (counted && (!ParseInt64(c.args[2], &count) || count < 0)) {
    return c.reply.Error("ERR value is out of range, must be positive");
  }
  Object* object;
  if (!FindSet(c, &object)) return;
  if (!counted && object == nullptr) return c.reply.Null();
  if (object == nullptr || count == 0) return c.reply.SetHeader(0);
  const RowDraw draw{.count = std::min(static_cast<uint64_t>(count), CollectionCount(object)),
                     .distinct = true};
  if (c.prepared == nullptr && PopShouldPrepare(c, object, draw)) return PreparePop(c, object, draw);
  if (counted) c.reply.SetHeader(draw.count);
  SetPop(c.txn, object, draw.count, static_cast<const PreparedPop*>(c.prepared.get()),
         [&](std::string_view member, std::string_view) { c.reply.Bulk(member); });
}

void SRandMember(CommandContext& c) {
  Object* object;
  const auto write = [](ReplyWriter& reply) {
    return [&reply](std::string_view member, std::string_view) { reply.Bulk(member); };
  };
  if (c.args.size() > 3) return c.reply.Error(error_text::kSyntax);
  if (c.args.size() == 2) {
    if (!FindSet(c, &object)) return;
    if (object == nullptr) return c.reply.Null();
    return DrawRows(c.txn, object, kMembers, {}, write(c.reply));
  }
  RowDraw draw;
  if (!ReadDrawCount(c, c.args[2], &draw) || !FindSet(c, &object)) return;
  if (object == nullptr) return c.reply.ArrayHeader(0);
  if (draw.distinct) draw.count = std::min(draw.count, CollectionCount(object));
  if (c.ShouldOffload(draw.count) || (c.can_offload && DrawNeedsWholeSpace(object, kMembers, draw))) {
    return c.OffloadReply([rows = RowSource(object, kMembers), draw, random = Random(c.txn.random().Next()),
                           write](const SnapshotView& view, ReplyWriter& reply) {
      reply.ArrayHeader(draw.count);
      return DrawRows(view, rows, draw, random, write(reply));
    });
  }
  c.reply.ArrayHeader(draw.count);
  DrawRows(c.txn, object, kMembers, draw, write(c.reply));
}

// ---- Several sets ----

enum class Operation : uint8_t { kIntersect, kUnite, kSubtract };

/// The sets that a command names.
struct NamedSets {
  std::vector<Object*> named;     ///< one for each key; nullptr: there is none
  std::vector<Object*> existing;  ///< each once, in order
};

/// False: one of the keys is no set, and the error is written.
bool FindSets(CommandContext& c, Args keys, NamedSets* sets) {
  for (const std::string_view key : keys) {
    Object* object;
    if (!FindObject(c, key, ObjectType::kSet, &object)) return false;
    sets->named.push_back(object);
    std::vector<Object*>& existing = sets->existing;
    if (object != nullptr && std::find(existing.begin(), existing.end(), object) == existing.end()) {
      existing.push_back(object);
    }
  }
  return true;
}

/// Whether the result is empty whatever the sets hold.
bool IsEmptyByNames(const NamedSets& sets, Operation operation) {
  const auto begin = sets.named.begin(), end = sets.named.end();
  switch (operation) {
    case Operation::kIntersect: return std::find(begin, end, nullptr) != end;
    case Operation::kUnite: return sets.existing.empty();
    case Operation::kSubtract: return sets.named[0] == nullptr || std::find(begin + 1, end, *begin) != end;
  }
  return false;
}

/// REQUIRES: not empty by names; for a difference the first set is the first of the inputs.
Members Combine(std::span<SetInput* const> inputs, Operation operation, uint64_t limit) {
  switch (operation) {
    case Operation::kIntersect: return Intersect(inputs, limit);
    case Operation::kUnite: return Unite(inputs);
    case Operation::kSubtract: return Subtract(*inputs[0], inputs.subspan(1));
  }
  return {};
}

Members CombineHere(CommandContext& c, const NamedSets& sets, Operation operation, uint64_t limit) {
  std::vector<LiveSetInput> inputs;
  for (Object* object : sets.existing) inputs.emplace_back(c.txn, object);
  std::vector<SetInput*> pointers;
  for (LiveSetInput& input : inputs) pointers.push_back(&input);
  return Combine(pointers, operation, limit);
}

Status CombineStored(const SnapshotView& view, std::span<const RowSource> sources, Operation operation,
                     uint64_t limit, Members* members) {
  std::vector<StoredSetInput> inputs;
  for (const RowSource& rows : sources) inputs.emplace_back(view, rows);
  std::vector<SetInput*> pointers;
  for (StoredSetInput& input : inputs) pointers.push_back(&input);
  *members = Combine(pointers, operation, limit);
  for (const StoredSetInput& input : inputs) {
    if (!input.status().ok()) return input.status();
  }
  return {};
}

/// How many rows the operation goes over; look-ups come on top.
uint64_t RowsToRead(const NamedSets& sets, Operation operation) {
  uint64_t sum = 0, least = UINT64_MAX;
  for (const Object* object : sets.existing) {
    sum += CollectionCount(object);
    least = std::min(least, CollectionCount(object));
  }
  switch (operation) {
    case Operation::kIntersect: return least;
    case Operation::kUnite: return sum;
    case Operation::kSubtract: return CollectionCount(sets.existing[0]);
  }
  return sum;
}

void WriteMembers(ReplyWriter& reply, const Members& members) {
  reply.SetHeader(members.size());
  for (const std::string& member : members) reply.Bulk(member);
}

void WriteCount(ReplyWriter& reply, const Members& members) {
  reply.Integer(static_cast<int64_t>(members.size()));
}

/// SINTER, SUNION, SDIFF and SINTERCARD on the sets at `keys`; `write` writes the result.
void ReplyCombined(CommandContext& c, Args keys, Operation operation, uint64_t limit,
                   void (*write)(ReplyWriter&, const Members&)) {
  c.txn.Prefetch(keys);
  NamedSets sets;
  if (!FindSets(c, keys, &sets)) return;
  if (IsEmptyByNames(sets, operation)) return write(c.reply, {});
  if (!c.ShouldOffload(RowsToRead(sets, operation)))
    return write(c.reply, CombineHere(c, sets, operation, limit));
  std::vector<RowSource> sources;
  for (const Object* object : sets.existing) sources.emplace_back(object, kMembers);
  c.OffloadReply([sources, operation, limit, write](const SnapshotView& view, ReplyWriter& reply) {
    Members members;
    Status status = CombineStored(view, sources, operation, limit, &members);
    if (status.ok()) write(reply, members);
    return status;
  });
}

void SInter(CommandContext& c) {
  ReplyCombined(c, c.args.subspan(1), Operation::kIntersect, 0, WriteMembers);
}
void SUnion(CommandContext& c) { ReplyCombined(c, c.args.subspan(1), Operation::kUnite, 0, WriteMembers); }
void SDiff(CommandContext& c) { ReplyCombined(c, c.args.subspan(1), Operation::kSubtract, 0, WriteMembers); }

void SInterCard(CommandContext& c) {
  int64_t keys, limit = 0;
  if (!ParseInt64(c.args[1], &keys) || keys < 1) return c.reply.Error("ERR numkeys should be greater than 0");
  if (static_cast<uint64_t>(keys) > c.args.size() - 2) {
    return c.reply.Error("ERR Number of keys can't be greater than number of args");
  }
  for (size_t i = 2 + static_cast<size_t>(keys); i < c.args.size(); i += 2) {
    if (!EqualIgnoreCase(c.args[i], "limit") || i + 1 == c.args.size())
      return c.reply.Error(error_text::kSyntax);
    if (!ParseInt64(c.args[i + 1], &limit) || limit < 0) return c.reply.Error("ERR LIMIT can't be negative");
  }
  ReplyCombined(c, c.args.subspan(2, static_cast<size_t>(keys)), Operation::kIntersect,
                static_cast<uint64_t>(limit), WriteCount);
}

Encoding EncodingOfResult(CommandContext& c, const NamedSets& sets, Operation operation,
                          const Members& result) {
  if (operation != Operation::kSubtract || result.empty()) return EncodingOfMembers(c.txn, result);
  std::vector<Object*> others(sets.named.begin() + 1, sets.named.end());
  std::erase(others, nullptr);
  return EncodingOfDifference(c.txn, sets.named[0], others, result);
}

void StoreCombined(CommandContext& c, Operation operation, const char* event) {
  c.txn.Prefetch(c.args.subspan(1));
  NamedSets sets;
  if (!FindSets(c, c.args.subspan(2), &sets)) return;
  Members result;
  if (!IsEmptyByNames(sets, operation)) result = CombineHere(c, sets, operation, 0);
  SetStore(c.txn, c.args[1], result, EncodingOfResult(c, sets, operation, result), event);
  WriteCount(c.reply, result);
}

void SInterStore(CommandContext& c) { StoreCombined(c, Operation::kIntersect, "sinterstore"); }
void SUnionStore(CommandContext& c) { StoreCombined(c, Operation::kUnite, "sunionstore"); }
void SDiffStore(CommandContext& c) { StoreCombined(c, Operation::kSubtract, "sdiffstore"); }

// ---- The table ----

constexpr auto kSet = CommandGroup::kSet;
constexpr KeySpec kLook[] = {{.flags = kKeyRo}};
constexpr KeySpec kRead[] = {{.flags = kKeyRo | kKeyAccess}};
constexpr KeySpec kReadAll[] = {{.flags = kKeyRo | kKeyAccess, .last = -1}};
constexpr KeySpec kReadCounted[] = {
    {.flags = kKeyRo | kKeyAccess, .find = KeySpec::Find::kKeyNumber, .first_key = 1}};
constexpr KeySpec kInsert[] = {{.flags = kKeyRw | kKeyInsert}};
constexpr KeySpec kDelete[] = {{.flags = kKeyRw | kKeyDelete}};
constexpr KeySpec kTake[] = {{.flags = kKeyRw | kKeyAccess | kKeyDelete}};
constexpr KeySpec kMove[] = {{.flags = kKeyRw | kKeyAccess | kKeyDelete},
                             {.flags = kKeyRw | kKeyInsert, .index = 2}};
constexpr KeySpec kInterStore[] = {{.flags = kKeyRw | kKeyUpdate},
                                   {.flags = kKeyRo | kKeyAccess, .index = 2, .last = -1}};
constexpr KeySpec kStore[] = {{.flags = kKeyOw | kKeyUpdate},
                              {.flags = kKeyRo | kKeyAccess, .index = 2, .last = -1}};

constexpr std::string_view kAnyOrder[] = {"nondeterministic_output_order"};
constexpr std::string_view kAnyOutput[] = {"nondeterministic_output"};

constexpr uint32_t kQuickRead = kReadOnly | kFast;

constexpr Command kCommands[] = {
    {"sadd", -3, kWrite | kDenyOom | kFast, kSet, "1.0.0", "O(N) for N members", "Adds members to a set.",
     SAdd, kInsert},
    {"scard", 2, kQuickRead, kSet, "1.0.0", "O(1)", "Counts the members of a set.", SCard, kLook},
    {"sdiff", -2, kReadOnly, kSet, "1.0.0", "O(N*M) for N members of the first set and M sets",
     "Gives the members of the first set that no other one has.", SDiff, kReadAll, kAnyOrder},
    {"sdiffstore", -3, kWrite | kDenyOom, kSet, "1.0.0", "O(N*M) for N members of the first set and M sets",
     "Stores what SDIFF gives.", SDiffStore, kStore},
    {"sinter", -2, kReadOnly, kSet, "1.0.0", "O(N*M) for N members of the smallest set and M sets",
     "Gives the members that all sets have.", SInter, kReadAll, kAnyOrder},
    {"sintercard", -3, kReadOnly | kMovableKeys, kSet, "7.0.0",
     "O(N*M) for N members of the smallest set and M sets", "Counts the members that all sets have.",
     SInterCard, kReadCounted},
    {"sinterstore", -3, kWrite | kDenyOom, kSet, "1.0.0",
     "O(N*M) for N members of the smallest set and M sets", "Stores what SINTER gives.", SInterStore,
     kInterStore},
    {"sismember", 3, kQuickRead, kSet, "1.0.0", "O(1)", "Tells whether a set has a member.", SIsMember,
     kLook},
    {"smembers", 2, kReadOnly, kSet, "1.0.0", "O(N) for N members, beside other clients when they are many",
     "Gives all members of a set.", SMembers, kRead, kAnyOrder},
    {"smismember", -3, kQuickRead, kSet, "6.2.0", "O(N) for N members",
     "Tells of several members whether a set has them.", SMIsMember, kRead},
    {"smove", 4, kWrite | kFast, kSet, "1.0.0", "O(1)", "Moves a member from one set to another.", SMove,
     kMove},
    {"spop", -2, kWrite | kFast, kSet, "1.0.0", "O(N) for N members that are asked for",
     "Removes random members from a set and gives them.", SPop, kTake, kAnyOutput},
    {"srandmember", -2, kReadOnly, kSet, "1.0.0", "O(N) for N members that are asked for",
     "Gives random members of a set.", SRandMember, kRead, kAnyOutput},
    {"srem", -3, kWrite | kFast, kSet, "1.0.0", "O(N) for N members", "Removes members from a set.", SRem,
     kDelete},
    {"sscan", -3, kReadOnly, kSet, "2.8.0", "O(COUNT) per call", "Walks over a set, a piece per call.", SScan,
     kRead, kAnyOutput},
    {"sunion", -2, kReadOnly, kSet, "1.0.0", "O(N) for N members of all sets",
     "Gives the members that any of the sets has.", SUnion, kReadAll, kAnyOrder},
    {"sunionstore", -3, kWrite | kDenyOom, kSet, "1.0.0", "O(N) for N members of all sets",
     "Stores what SUNION gives.", SUnionStore, kStore},
};

}  // namespace

std::span<const Command> SetCommands() { return kCommands; }

}  // namespace thermocline
