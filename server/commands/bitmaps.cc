// Bits of strings: SETBIT, BITCOUNT, BITOP, BITFIELD and their kin. The logic is engine/bits.h.

#include <algorithm>
#include <optional>
#include <vector>

#include "encoding/numbers.h"
#include "engine/bits.h"
#include "engine/keyspace.h"
#include "engine/string.h"
#include "server/command.h"
#include "server/command_table.h"
#include "server/commands/common.h"
#include "server/error_reply.h"

namespace thermocline {

namespace {

using Args = std::span<const std::string_view>;

constexpr std::string_view kBadOffset = "ERR bit offset is not an integer or out of range";

/// An offset in bits: below eight times the size that a string may have. With `bits` also "#n", that is n
/// fields of so many bits.
bool ReadOffset(CommandContext& context, std::string_view text, uint64_t bits, uint64_t* offset) {
  const bool fields = bits > 0 && text.starts_with('#');
  int64_t value;
  if (ParseInt64(text.substr(fields), &value) && value >= 0 &&
      !(fields && __builtin_mul_overflow(value, bits, &value)) &&
      static_cast<uint64_t>(value) / 8 < context.txn.keyspace().options().string_bytes_max) {
    *offset = static_cast<uint64_t>(value);
    return true;
  }
  context.reply.Error(kBadOffset);
  return false;
}

// ---- One bit ----

void SetBitCommand(CommandContext& context) {
  uint64_t offset;
  if (!ReadOffset(context, context.args[2], 0, &offset)) return;
  if (context.args[3] != "0" && context.args[3] != "1") {
    return context.reply.Error("ERR bit is not an integer or out of range");
  }
  const Result<bool> old = SetBit(context.txn, context.args[1], offset, context.args[3] == "1");
  if (!old.ok()) return WriteError(context.reply, old.status());
  context.reply.Integer(*old);
}

void GetBitCommand(CommandContext& context) {
  uint64_t offset;
  if (!ReadOffset(context, context.args[2], 0, &offset)) return;
  Object* object;
  if (!FindObject(context, context.args[1], ObjectType::kString, &object)) return;
  context.reply.Integer(object != nullptr && GetBit(context.txn, object, offset));
}

// ---- Ranges ----

/// A range as BITCOUNT and BITPOS take it: `start` [`end` [BYTE | BIT]], negative ones from the end.
struct BitRange {
  uint64_t begin = 0;  ///< in bits
  uint64_t end = 0;    ///< exclusive
};

bool ReadUnit(CommandContext& context, std::string_view name, bool* in_bits) {
  *in_bits = EqualIgnoreCase(name, "bit");
  if (*in_bits || EqualIgnoreCase(name, "byte")) return true;
  context.reply.Error(error_text::kSyntax);
  return false;
}

/// `start` and `end` (inclusive) in units, of `size` bytes.
BitRange ToBits(int64_t start, int64_t end, uint64_t size, bool in_bits) {
  const auto total = static_cast<int64_t>(in_bits ? size * 8 : size);
  if (start < 0) start = std::max<int64_t>(start + total, 0);
  if (end < 0) end = std::max<int64_t>(end + total, 0);
  end = std::min(end, total - 1);
  if (start > end) return {};
  const uint64_t unit = in_bits ? 1 : 8;
  return {static_cast<uint64_t>(start) * unit, (static_cast<uint64_t>(end) + 1) * unit};
}

void BitCountCommand(CommandContext& context) {
  const Args args = context.args;
  Object* object;
  if (!FindObject(context, args[1], ObjectType::kString, &object)) return;
  // In this order in Redis: of a key that does not exist it reads no arguments.
  if (object == nullptr) return context.reply.Integer(0);
  const uint64_t size = StringSize(object);
  BitRange range{0, size * 8};
  if (args.size() == 4 || args.size() == 5) {
    int64_t start, end;
    bool in_bits = false;
    if (!ReadInteger(context, args[2], &start) || !ReadInteger(context, args[3], &end)) return;
    if (start < 0 && end < 0 && start > end) return context.reply.Integer(0);
    if (args.size() == 5 && !ReadUnit(context, args[4], &in_bits)) return;
    range = ToBits(start, end, size, in_bits);
  } else if (args.size() != 2) {
    return context.reply.Error(error_text::kSyntax);
  }
  context.reply.Integer(static_cast<int64_t>(CountBits(context.txn, object, range.begin, range.end)));
}

void BitPosCommand(CommandContext& context) {
  const Args args = context.args;
  int64_t bit;
  if (!ReadInteger(context, args[2], &bit)) return;
  if (bit != 0 && bit != 1) return context.reply.Error("ERR The bit argument must be 1 or 0.");
  Object* object;
  if (!FindObject(context, args[1], ObjectType::kString, &object)) return;
  // A key that does not exist is an endless row of clear bits.
  if (object == nullptr) return context.reply.Integer(bit == 0 ? 0 : -1);
  const uint64_t size = StringSize(object);
  int64_t start = 0, end = static_cast<int64_t>(size) - 1;
  bool in_bits = false;
  if (args.size() > 6) return context.reply.Error(error_text::kSyntax);
  if (args.size() > 3 && !ReadInteger(context, args[3], &start)) return;
  if (args.size() > 5 && !ReadUnit(context, args[5], &in_bits)) return;
  if (args.size() > 4 && !ReadInteger(context, args[4], &end)) return;
  const BitRange range = ToBits(start, end, size, in_bits);
  if (range.begin == range.end) return context.reply.Integer(-1);
  const std::optional<uint64_t> at = FindBit(context.txn, object, bit == 1, range.begin, range.end);
  if (at.has_value()) return context.reply.Integer(static_cast<int64_t>(*at));
  // Without an explicit end the string goes on with clear bits.
  const bool open = bit == 0 && args.size() < 5;
  context.reply.Integer(open ? static_cast<int64_t>(size * 8) : -1);
}

// ---- BITOP ----

void BitOpCommand(CommandContext& context) {
  const Args args = context.args;
  BitOperator op;
  if (EqualIgnoreCase(args[1], "and")) {
    op = BitOperator::kAnd;
  } else if (EqualIgnoreCase(args[1], "or")) {
    op = BitOperator::kOr;
  } else if (EqualIgnoreCase(args[1], "xor")) {
    op = BitOperator::kXor;
  } else if (EqualIgnoreCase(args[1], "not")) {
    op = BitOperator::kNot;
  } else {
    return context.reply.Error(error_text::kSyntax);
  }
  if (op == BitOperator::kNot && args.size() != 4) {
    return context.reply.Error("ERR BITOP NOT must be called with a single source key.");
  }
  context.txn.Prefetch(args.subspan(2));
  const Result<uint64_t> size = CombineBits(context.txn, op, args[2], args.subspan(3));
  if (!size.ok()) return WriteError(context.reply, size.status());
  context.reply.Integer(static_cast<int64_t>(*size));
}

// ---- BITFIELD ----

using Overflow = BitFieldStep::Overflow;

bool ReadType(CommandContext& context, std::string_view text, BitFieldStep* step) {
  int64_t bits;
  const char sign = text.empty() ? '\0' : text[0];
  step->is_signed = sign == 'i';
  if ((sign == 'i' || sign == 'u') && ParseInt64(text.substr(1), &bits) && bits >= 1 &&
      bits <= (step->is_signed ? 64 : 63)) {
    step->bits = static_cast<uint8_t>(bits);
    return true;
  }
  context.reply.Error(
      "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.");
  return false;
}

bool ReadOverflow(CommandContext& context, std::string_view name, Overflow* overflow) {
  if (EqualIgnoreCase(name, "wrap")) {
    *overflow = Overflow::kWrap;
  } else if (EqualIgnoreCase(name, "sat")) {
    *overflow = Overflow::kSaturate;
  } else if (EqualIgnoreCase(name, "fail")) {
    *overflow = Overflow::kFail;
  } else {
    context.reply.Error("ERR Invalid OVERFLOW type specified");
    return false;
  }
  return true;
}

/// False: the reply says why.
bool ParseSteps(CommandContext& context, std::vector<BitFieldStep>* steps) {
  const Args args = context.args;
  Overflow overflow = Overflow::kWrap;
  for (size_t i = 2; i < args.size();) {
    const size_t rest = args.size() - i - 1;
    BitFieldStep step;
    if (EqualIgnoreCase(args[i], "overflow") && rest >= 1) {
      if (!ReadOverflow(context, args[i + 1], &overflow)) return false;
      i += 2;
      continue;
    }
    if (EqualIgnoreCase(args[i], "get") && rest >= 2) {
      step.kind = BitFieldStep::Kind::kGet;
    } else if (EqualIgnoreCase(args[i], "set") && rest >= 3) {
      step.kind = BitFieldStep::Kind::kSet;
    } else if (EqualIgnoreCase(args[i], "incrby") && rest >= 3) {
      step.kind = BitFieldStep::Kind::kIncrement;
    } else {
      context.reply.Error(error_text::kSyntax);
      return false;
    }
    step.overflow = overflow;
    if (!ReadType(context, args[i + 1], &step)) return false;
    if (!ReadOffset(context, args[i + 2], step.bits, &step.offset)) return false;
    const bool writes = step.kind != BitFieldStep::Kind::kGet;
    if (writes && !ReadInteger(context, args[i + 3], &step.value)) return false;
    steps->push_back(step);
    i += writes ? 4 : 3;
  }
  return true;
}

void ReplySteps(CommandContext& context, std::vector<BitFieldStep>& steps) {
  if (const Status s = RunBitField(context.txn, context.args[1], steps); !s.ok()) {
    return WriteError(context.reply, s);
  }
  context.reply.ArrayHeader(steps.size());
  for (const BitFieldStep& step : steps) {
    if (step.failed) {
      context.reply.Null();
    } else {
      context.reply.Integer(step.result);
    }
  }
}

void BitFieldCommand(CommandContext& context) {
  std::vector<BitFieldStep> steps;
  if (ParseSteps(context, &steps)) ReplySteps(context, steps);
}

void BitFieldRoCommand(CommandContext& context) {
  std::vector<BitFieldStep> steps;
  if (!ParseSteps(context, &steps)) return;
  for (const BitFieldStep& step : steps) {
    if (step.kind != BitFieldStep::Kind::kGet) {
      return context.reply.Error("ERR BITFIELD_RO only supports the GET subcommand");
    }
  }
  ReplySteps(context, steps);
}

// ---- The table ----

constexpr KeySpec kSetBitKeys[] = {{.flags = kKeyRw | kKeyAccess | kKeyUpdate}};
constexpr KeySpec kGetBitKeys[] = {{.flags = kKeyRo | kKeyAccess}};
constexpr KeySpec kBitOpKeys[] = {{.flags = kKeyOw | kKeyUpdate, .index = 2},
                                  {.flags = kKeyRo | kKeyAccess, .index = 3, .last = -1}};
constexpr KeySpec kBitFieldKeys[] = {
    {.flags = kKeyRw | kKeyAccess | kKeyUpdate | kKeyVariableFlags,
     .notes = "This command allows both access and modification of the key"}};

/// BITFIELD with nothing but GETs only reads.
uint32_t BitFieldKeyFlags(std::span<const std::string_view> args) {
  for (size_t i = 2; i < args.size();) {
    const size_t more = args.size() - i - 1;
    if (EqualIgnoreCase(args[i], "get") && more >= 2) {
      i += 3;
    } else if (EqualIgnoreCase(args[i], "overflow") && more >= 1) {
      i += 2;
    } else {
      return kKeyRw | kKeyAccess | kKeyUpdate;
    }
  }
  return kKeyRo | kKeyAccess;
}

constexpr Command kBitmapRows[] = {
    {"setbit", 4, kWrite | kDenyOom, CommandGroup::kBitmap, "2.2.0", "O(1)",
     "Sets or clears a bit, and tells what it was.", SetBitCommand, kSetBitKeys},
    {"getbit", 3, kReadOnly | kFast, CommandGroup::kBitmap, "2.2.0", "O(1)", "Tells a bit.", GetBitCommand,
     kGetBitKeys},
    {"bitcount", -2, kReadOnly, CommandGroup::kBitmap, "2.6.0", "O(N)", "Counts the bits that are set.",
     BitCountCommand, kGetBitKeys},
    {"bitpos", -3, kReadOnly, CommandGroup::kBitmap, "2.8.7", "O(N)",
     "Finds the first bit that is set, or clear.", BitPosCommand, kGetBitKeys},
    {"bitop", -4, kWrite | kDenyOom, CommandGroup::kBitmap, "2.6.0", "O(N)",
     "Combines strings bit by bit and stores the result.", BitOpCommand, kBitOpKeys},
    {"bitfield",
     -2,
     kWrite | kDenyOom,
     CommandGroup::kBitmap,
     "3.2.0",
     "O(1) for each operation",
     "Reads and changes integers of any width inside a string.",
     BitFieldCommand,
     kBitFieldKeys,
     {},
     {},
     0,
     BitFieldKeyFlags},
    {"bitfield_ro", -2, kReadOnly | kFast, CommandGroup::kBitmap, "6.0.0", "O(1) for each operation",
     "Reads integers of any width inside a string.", BitFieldRoCommand, kGetBitKeys},
};

}  // namespace

std::span<const Command> BitmapCommands() { return kBitmapRows; }

}  // namespace thermocline
