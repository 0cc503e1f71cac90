#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "encoding/status.h"
#include "engine/txn.h"

/// Strings as arrays of bits: bit 0 is the highest of the first byte. Written on engine/string.h, so that one
/// bit of a large value costs one chunk, and holes cost nothing. Ranges are in bits and exclude their end.
/// Keyspace thread only; everything here may unwind, before its first write.
namespace thermocline {

/// SETBIT. Returns what the bit was. Errors: kWrongType.
Result<bool> SetBit(Txn& txn, std::string_view key, uint64_t offset, bool on);
/// A bit of a live string; what lies behind its end is clear.
bool GetBit(Txn& txn, Object* object, uint64_t offset);
/// How many bits are set in the range, which ends in the string.
uint64_t CountBits(Txn& txn, Object* object, uint64_t begin, uint64_t end);
/// The first bit that is `on`; nullopt: there is none in the range, which ends in the string.
std::optional<uint64_t> FindBit(Txn& txn, Object* object, bool on, uint64_t begin, uint64_t end);

/// Set bits in `bytes`.
uint64_t CountBits(std::string_view bytes);

enum class BitOperator : uint8_t { kAnd, kOr, kXor, kNot };

/// BITOP: writes the combination to `destination` (which may be a source); shorter sources, and keys that do
/// not exist, are padded with zeros. Returns the size of the result in bytes; when that is 0 the destination
/// is removed. REQUIRES: at least one source, for kNot exactly one. Errors: kWrongType.
Result<uint64_t> CombineBits(Txn& txn, BitOperator op, std::string_view destination,
                             std::span<const std::string_view> sources);

/// One step of BITFIELD: an integer of `bits` bits at bit `offset`.
struct BitFieldStep {
  enum class Kind : uint8_t { kGet, kSet, kIncrement };
  enum class Overflow : uint8_t { kWrap, kSaturate, kFail };

  Kind kind = Kind::kGet;
  Overflow overflow = Overflow::kWrap;
  bool is_signed = false;
  uint8_t bits = 8;  ///< 1 to 64; unsigned: 1 to 63
  uint64_t offset = 0;
  int64_t value = 0;  ///< what to set or to add

  // The outcome.
  bool failed = false;  ///< it overflowed and `overflow` is kFail: nothing was written
  int64_t result = 0;   ///< kGet, kSet: what was there; kIncrement: what is there now
};

/// BITFIELD. Runs the steps in order and puts the outcome into them. Errors: kWrongType.
Status RunBitField(Txn& txn, std::string_view key, std::span<BitFieldStep> steps);

}  // namespace thermocline
