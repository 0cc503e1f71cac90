// Hashes: HSET, HGET, HGETALL and their kin. The type itself is engine/hash.h.

#include "engine/hash.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "encoding/numbers.h"
#include "engine/random_rows.h"
#include "engine/row_source.h"
#include "server/command.h"
#include "server/command_table.h"
#include "server/commands/common.h"
#include "server/commands/draw.h"
#include "server/commands/scan.h"
#include "server/error_reply.h"

namespace thermocline {

namespace {

constexpr RowSpace kFields = RowSpace::kFields;

bool FindHash(CommandContext& c, Object** object, Txn::Access access = Txn::Access::kUse) {
  return FindObject(c, c.args[1], ObjectType::kHash, object, access);
}

/// Errors of HINCRBY and HINCRBYFLOAT, which have words of their own for values that are no numbers.
void WriteHashError(ReplyWriter& reply, const Status& status) {
  if (status.code() == Code::kNotInteger) return reply.Error("ERR hash value is not an integer");
  if (status.code() == Code::kNotFloat) return reply.Error("ERR hash value is not a float");
  WriteError(reply, status);
}

// ---- Changes ----

bool StorePairs(CommandContext& c, uint64_t* added) {
  if (c.args.size() % 2 != 0) {
    c.reply.Error("ERR wrong number of arguments for '" + std::string(c.command.name) + "' command");
    return false;
  }
  const Result<uint64_t> set = HashSet(c.txn, c.args[1], c.args.subspan(2));
  if (!set.ok()) {
    WriteError(c.reply, set.status());
    return false;
  }
  *added = *set;
  return true;
}

void HSet(CommandContext& c) {
  uint64_t added;
  if (StorePairs(c, &added)) c.reply.Integer(static_cast<int64_t>(added));
}

void HMSet(CommandContext& c) {
  uint64_t added;
  if (StorePairs(c, &added)) c.reply.Ok();
}

void HSetNx(CommandContext& c) {
  const Result<bool> set = HashSetIfAbsent(c.txn, c.args[1], c.args[2], c.args[3]);
  if (!set.ok()) return WriteError(c.reply, set.status());
  c.reply.Integer(*set);
}

void HDel(CommandContext& c) {
  const Result<uint64_t> deleted = HashDelete(c.txn, c.args[1], c.args.subspan(2));
  if (!deleted.ok()) return WriteError(c.reply, deleted.status());
  c.reply.Integer(static_cast<int64_t>(*deleted));
}

void HIncrBy(CommandContext& c) {
  int64_t delta;
  if (!ReadInteger(c, c.args[3], &delta)) return;
  const Result<int64_t> value = HashIncrement(c.txn, c.args[1], c.args[2], delta);
  if (!value.ok()) return WriteHashError(c.reply, value.status());
  c.reply.Integer(*value);
}

void HIncrByFloat(CommandContext& c) {
  long double delta;
  if (!ParseLongDouble(c.args[3], &delta)) return c.reply.Error(error_text::kNotFloat);
  if (std::isinf(delta)) return c.reply.Error("ERR value is NaN or Infinity");
  const Result<std::string> value = HashIncrementFloat(c.txn, c.args[1], c.args[2], delta);
  if (!value.ok()) return WriteHashError(c.reply, value.status());
  c.reply.Bulk(*value);
}

// ---- Single fields ----

void HGet(CommandContext& c) {
  Object* object;
  if (!FindHash(c, &object, Txn::Access::kPick)) return;
  if (object == nullptr) return c.reply.Null();
  const auto value = c.txn.Get(object, kFields, c.args[2]);
  if (!value.has_value()) return c.reply.Null();
  c.reply.Bulk(*value);
}

void HMGet(CommandContext& c) {
  Object* object;
  if (!FindHash(c, &object, Txn::Access::kPick)) return;
  const auto fields = c.args.subspan(2);
  if (object != nullptr && fields.size() > 1) c.txn.PrefetchRows(object, kFields, fields);
  c.reply.ArrayHeader(fields.size());
  for (const std::string_view field : fields) {
    const auto value = object == nullptr ? std::nullopt : c.txn.Get(object, kFields, field);
    if (value.has_value()) {
      c.reply.Bulk(*value);
    } else {
      c.reply.Null();
    }
  }
}

void HStrLen(CommandContext& c) {
  Object* object;
  if (!FindHash(c, &object, Txn::Access::kPick)) return;
  const auto value = object == nullptr ? std::nullopt : c.txn.Get(object, kFields, c.args[2]);
  c.reply.Integer(static_cast<int64_t>(value.value_or(std::string_view()).size()));
}

void HExists(CommandContext& c) {
  Object* object;
  if (!FindHash(c, &object, Txn::Access::kPick)) return;
  c.reply.Integer(object != nullptr && c.txn.Get(object, kFields, c.args[2]).has_value());
}

void HLen(CommandContext& c) {
  Object* object;
  if (!FindHash(c, &object, Txn::Access::kPick)) return;
  c.reply.Integer(object == nullptr ? 0 : static_cast<int64_t>(CollectionCount(object)));
}

// ---- The whole hash ----

struct Parts {
  bool fields = false;
  bool values = false;
};

void WriteHeader(ReplyWriter& reply, Parts parts, uint64_t count) {
  if (parts.fields && parts.values) {
    reply.MapHeader(count);
  } else {
    reply.ArrayHeader(count);
  }
}

void WriteRow(ReplyWriter& reply, Parts parts, std::string_view field, std::string_view value) {
  if (parts.fields) reply.Bulk(field);
  if (parts.values) reply.Bulk(value);
}

void ReplyAll(CommandContext& c, Parts parts) {
  Object* object;
  if (!FindHash(c, &object, Txn::Access::kPick)) return;
  if (object == nullptr) return WriteHeader(c.reply, parts, 0);
  const uint64_t count = CollectionCount(object);
  if (c.ShouldOffload(count)) {
    return c.StreamRows(
        {.rows = RowStream({.object_id = object->rows->id, .space = kFields}),
         .count = count,
         .header = [parts](ReplyWriter& reply, uint64_t rows) { WriteHeader(reply, parts, rows); },
         .row = [parts](ReplyWriter& reply, std::string_view field,
                        std::string_view value) { WriteRow(reply, parts, field, value); }});
  }
  WriteHeader(c.reply, parts, count);
  c.txn.VisitRows(object, kFields, [&](std::string_view field, std::string_view value) {
    WriteRow(c.reply, parts, field, value);
  });
}

void HGetAll(CommandContext& c) { ReplyAll(c, {.fields = true, .values = true}); }
void HKeys(CommandContext& c) { ReplyAll(c, {.fields = true}); }
void HVals(CommandContext& c) { ReplyAll(c, {.values = true}); }

void HScan(CommandContext& c) {
  ScanCollection(c, ObjectType::kHash, kFields, 2,
                 [](ReplyWriter& reply, std::string_view field, std::string_view value) {
                   reply.Bulk(field);
                   reply.Bulk(value);
                 });
}

// ---- HRANDFIELD ----

/// What it replies for one field; RESP3 has each pair in an array of its own.
void WriteDrawn(ReplyWriter& reply, bool with_values, std::string_view field, std::string_view value) {
  if (with_values && reply.resp3()) reply.ArrayHeader(2);
  reply.Bulk(field);
  if (with_values) reply.Bulk(value);
}

void ReplyDrawn(CommandContext& c, Object* object, const RowDraw& draw, bool with_values) {
  const size_t elements = with_values && !c.reply.resp3() ? 2 * draw.count : draw.count;
  if (c.ShouldOffload(draw.count) || (c.can_offload && DrawNeedsWholeSpace(object, kFields, draw))) {
    return c.OffloadReply(
        [rows = RowSource(object, kFields), draw, with_values, elements,
         random = Random(c.txn.random().Next())](const SnapshotView& view, ReplyWriter& reply) {
          reply.ArrayHeader(elements);
          return DrawRows(view, rows, draw, random, [&](std::string_view field, std::string_view value) {
            WriteDrawn(reply, with_values, field, value);
          });
        });
  }
  c.reply.ArrayHeader(elements);
  DrawRows(c.txn, object, kFields, draw, [&](std::string_view field, std::string_view value) {
    WriteDrawn(c.reply, with_values, field, value);
  });
}

void HRandField(CommandContext& c) {
  Object* object;
  if (c.args.size() == 2) {
    if (!FindHash(c, &object)) return;
    if (object == nullptr) return c.reply.Null();
    return DrawRows(c.txn, object, kFields, {},
                    [&](std::string_view field, std::string_view) { c.reply.Bulk(field); });
  }
  RowDraw draw;
  if (!ReadDrawCount(c, c.args[2], &draw)) return;
  const bool with_values = c.args.size() == 4;
  if (c.args.size() > 4 || (with_values && !EqualIgnoreCase(c.args[3], "withvalues"))) {
    return c.reply.Error(error_text::kSyntax);
  }
  // Twice as many elements must still be a number.
  if (with_values && draw.count > std::numeric_limits<int64_t>::max() / 2) {
    return c.reply.Error("ERR value is out of range");
  }
  if (!FindHash(c, &object)) return;
  if (object == nullptr) return c.reply.ArrayHeader(0);
  if (draw.distinct) draw.count = std::min(draw.count, CollectionCount(object));
  ReplyDrawn(c, object, draw, with_values);
}

// ---- The table ----

constexpr auto kHash = CommandGroup::kHash;
constexpr KeySpec kLook[] = {{.flags = kKeyRo}};
constexpr KeySpec kRead[] = {{.flags = kKeyRo | kKeyAccess}};
constexpr KeySpec kSet[] = {{.flags = kKeyRw | kKeyUpdate}};
constexpr KeySpec kInsert[] = {{.flags = kKeyRw | kKeyInsert}};
constexpr KeySpec kDelete[] = {{.flags = kKeyRw | kKeyDelete}};
constexpr KeySpec kChange[] = {{.flags = kKeyRw | kKeyAccess | kKeyUpdate}};

constexpr std::string_view kAnyOrder[] = {"nondeterministic_output_order"};
constexpr std::string_view kAnyOutput[] = {"nondeterministic_output"};

constexpr uint32_t kChanges = kWrite | kDenyOom | kFast;
constexpr uint32_t kQuickRead = kReadOnly | kFast;

constexpr Command kCommands[] = {
    {"hdel", -3, kWrite | kFast, kHash, "2.0.0", "O(N) for N fields", "Removes fields from a hash.", HDel,
     kDelete},
    {"hexists", 3, kQuickRead, kHash, "2.0.0", "O(1)", "Tells whether a hash has a field.", HExists, kLook},
    {"hget", 3, kQuickRead, kHash, "2.0.0", "O(1)", "Gives the value of a field.", HGet, kRead},
    {"hgetall", 2, kReadOnly, kHash, "2.0.0", "O(N) for N fields, beside other clients when they are many",
     "Gives all fields and values of a hash.", HGetAll, kRead, kAnyOrder},
    {"hincrby", 4, kChanges, kHash, "2.0.0", "O(1)", "Adds an integer to the value of a field.", HIncrBy,
     kChange},
    {"hincrbyfloat", 4, kChanges, kHash, "2.6.0", "O(1)", "Adds a number to the value of a field.",
     HIncrByFloat, kChange},
    {"hkeys", 2, kReadOnly, kHash, "2.0.0", "O(N) for N fields, beside other clients when they are many",
     "Gives all fields of a hash.", HKeys, kRead, kAnyOrder},
    {"hlen", 2, kQuickRead, kHash, "2.0.0", "O(1)", "Counts the fields of a hash.", HLen, kLook},
    {"hmget", -3, kQuickRead, kHash, "2.0.0", "O(N) for N fields", "Gives the values of several fields.",
     HMGet, kRead},
    {"hmset", -4, kChanges, kHash, "2.0.0", "O(N) for N fields", "Sets several fields of a hash.", HMSet,
     kSet},
    {"hrandfield", -2, kReadOnly, kHash, "6.2.0", "O(N) for N fields that are asked for",
     "Gives random fields of a hash.", HRandField, kRead, kAnyOutput},
    {"hscan", -3, kReadOnly, kHash, "2.8.0", "O(COUNT) per call", "Walks over a hash, a piece per call.",
     HScan, kRead, kAnyOutput},
    {"hset", -4, kChanges, kHash, "2.0.0", "O(N) for N fields", "Sets fields of a hash; counts the new ones.",
     HSet, kSet},
    {"hsetnx", 4, kChanges, kHash, "2.0.0", "O(1)", "Sets a field unless the hash has it.", HSetNx, kInsert},
    {"hstrlen", 3, kQuickRead, kHash, "3.2.0", "O(1)", "Gives the size of a field's value.", HStrLen, kLook},
    {"hvals", 2, kReadOnly, kHash, "2.0.0", "O(N) for N fields, beside other clients when they are many",
     "Gives all values of a hash.", HVals, kRead, kAnyOrder},
};

}  // namespace

std::span<const Command> HashCommands() { return kCommands; }

}  // namespace thermocline
