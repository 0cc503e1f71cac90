#include "engine/bits.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "engine/keyspace.h"
#include "engine/string.h"

namespace thermocline {

namespace {

using format::kChunkBytes;

uint64_t LoadWord(const char* from) {
  uint64_t word;
  std::memcpy(&word, from, sizeof(word));
  return word;
}

[[gnu::always_inline]] inline uint64_t CountWords(const char* bytes, size_t words) {
  uint64_t count = 0;
  for (size_t i = 0; i < words; ++i) count += static_cast<uint64_t>(std::popcount(LoadWord(bytes + 8 * i)));
  return count;
}

#if defined(__x86_64__)
// The baseline of x86-64 has no instruction for it; every machine of the last fifteen years has.
[[gnu::target("popcnt")]] uint64_t CountWordsByInstruction(const char* bytes, size_t words) {
  return CountWords(bytes, words);
}
#endif

uint64_t CountWordsOnThisMachine(const char* bytes, size_t words) {
#if defined(__x86_64__)
  static const bool has_instruction = __builtin_cpu_supports("popcnt");
  if (has_instruction) return CountWordsByInstruction(bytes, words);
#endif
  return CountWords(bytes, words);
}

/// The first bit at or after `from` that is `on`; nullopt: none in these bytes.
std::optional<uint64_t> FindBitIn(std::string_view bytes, bool on, uint64_t from) {
  const char flip = on ? '\0' : '\xff';
  size_t i = from / 8;
  if (i >= bytes.size()) return std::nullopt;
  // The first byte without the bits before `from`.
  const auto first = static_cast<uint8_t>(static_cast<uint8_t>(bytes[i] ^ flip) & (0xff >> (from % 8)));
  if (first != 0) return i * 8 + static_cast<uint64_t>(std::countl_zero(first));
  ++i;
  const uint64_t flip_word = on ? 0 : ~uint64_t{0};
  for (; i + 8 <= bytes.size(); i += 8) {
    const uint64_t word = LoadBig64(bytes.data() + i) ^ flip_word;
    if (word != 0) return i * 8 + static_cast<uint64_t>(std::countl_zero(word));
  }
  for (; i < bytes.size(); ++i) {
    const auto byte = static_cast<uint8_t>(bytes[i] ^ flip);
    if (byte != 0) return i * 8 + static_cast<uint64_t>(std::countl_zero(byte));
  }
  return std::nullopt;
}

}  // namespace

uint64_t CountBits(std::string_view bytes) {
  uint64_t count = CountWordsOnThisMachine(bytes.data(), bytes.size() / 8);
  for (size_t i = bytes.size() / 8 * 8; i < bytes.size(); ++i) {
    count += static_cast<uint64_t>(std::popcount(static_cast<uint8_t>(bytes[i])));
  }
  return count;
}

// ---- One bit ----

bool GetBit(Txn& txn, Object* object, uint64_t offset) {
  const uint64_t at = offset / 8;
  if (at >= StringSize(object)) return false;
  std::string_view bytes;
  uint64_t inside = at;
  if (!object->has_rows) {
    bytes = object->inline_value();
  } else {
    const auto chunk = txn.Get(object, RowSpace::kFields, ChunkKey(at / kChunkBytes).view());
    if (chunk.has_value()) bytes = *chunk;
    inside = at % kChunkBytes;
  }
  return inside < bytes.size() && (static_cast<uint8_t>(bytes[inside]) >> (7 - offset % 8) & 1) != 0;
}

Result<bool> SetBit(Txn& txn, std::string_view key, uint64_t offset, bool on) {
  Result<Object*> found = txn.ForWrite(key, ObjectType::kString);
  if (!found.ok()) return found.status();
  Object* object = *found;
  const uint64_t at = offset / 8;
  const bool inside = object->live() && at < StringSize(object);
  const bool old = inside && GetBit(txn, object, offset);
  if (inside && old == on) {
    // Nothing changes but the name of its encoding.
    if (!object->has_rows && object->encoding != Encoding::kRaw) GrowString(txn, object, 0);
    return old;
  }
  char byte = 0;
  std::string buffer;
  if (inside) byte = StringRange(txn, object, at, at + 1, &buffer)[0];
  const auto mask = static_cast<char>(1 << (7 - offset % 8));
  byte = static_cast<char>(on ? byte | mask : byte & ~mask);
  WriteStringAt(txn, object, at, {&byte, 1});
  txn.Changed(object, EventClass::kString, "setbit");
  return old;
}

// ---- Ranges ----

uint64_t CountBits(Txn& txn, Object* object, uint64_t begin, uint64_t end) {
  if (begin >= end) return 0;
  const uint64_t first = begin / 8, last = (end - 1) / 8;
  uint64_t count = 0;
  VisitString(txn, object, first, last + 1, [&](uint64_t offset, std::string_view bytes) {
    count += CountBits(bytes);
    // Bits of the bytes at both ends that are not in the range.
    if (offset == first) {
      const auto byte = static_cast<uint8_t>(bytes.front());
      count -= static_cast<uint64_t>(std::popcount(static_cast<uint8_t>(byte & ~(0xff >> (begin % 8)))));
    }
    if (offset + bytes.size() == last + 1 && end % 8 != 0) {
      const auto byte = static_cast<uint8_t>(bytes.back());
      count -= static_cast<uint64_t>(std::popcount(static_cast<uint8_t>(byte & (0xff >> (end % 8)))));
    }
    return true;
  });
  return count;
}

std::optional<uint64_t> FindBit(Txn& txn, Object* object, bool on, uint64_t begin, uint64_t end) {
  if (begin >= end) return std::nullopt;
  std::optional<uint64_t> found;
  uint64_t searched = begin;  // up to this bit there is none
  VisitString(txn, object, begin / 8, (end - 1) / 8 + 1, [&](uint64_t offset, std::string_view bytes) {
    // A hole is all clear bits.
    if (!on && searched < offset * 8) return false;
    searched = std::max(searched, offset * 8);
    if (const auto at = FindBitIn(bytes, on, searched - offset * 8)) {
      found = offset * 8 + *at;
      return false;
    }
    searched = (offset + bytes.size()) * 8;
    return true;
  });
  if (!found.has_value() && !on) found = searched;
  return found.has_value() && *found < end ? found : std::nullopt;
}

// ---- BITOP ----

namespace {

void CombineInto(BitOperator op, char* out, size_t size, std::string_view with) {
  const size_t shared = std::min(size, with.size());
  const auto run = [&](auto combine) {
    size_t i = 0;
    for (; i + 8 <= shared; i += 8) {
      const uint64_t word = combine(LoadWord(out + i), LoadWord(with.data() + i));
      std::memcpy(out + i, &word, sizeof(word));
    }
    for (; i < shared; ++i) out[i] = static_cast<char>(combine(uint64_t(out[i]), uint64_t(with[i])));
  };
  switch (op) {
    case BitOperator::kAnd:
      run([](uint64_t a, uint64_t b) { return a & b; });
      std::memset(out + shared, 0, size - shared);
      break;
    case BitOperator::kOr: run([](uint64_t a, uint64_t b) { return a | b; }); break;
    case BitOperator::kXor: run([](uint64_t a, uint64_t b) { return a ^ b; }); break;
    case BitOperator::kNot: break;
  }
}

/// Bytes of the chunk `number` of a string in whatever form; what is missing reads as zeros.
std::string_view ChunkOf(Txn& txn, Object* object, uint64_t number) {
  if (object == nullptr) return {};
  if (object->has_rows) {
    return txn.Get(object, RowSpace::kFields, ChunkKey(number).view())
        .value_or(std::string_view())
        .substr(0, kChunkBytes);
  }
  const std::string_view value = object->inline_value();
  return number * kChunkBytes < value.size() ? value.substr(number * kChunkBytes, kChunkBytes)
                                             : std::string_view();
}

/// The chunk `number` of the result, `size` bytes, to `out`. False: it is all zeros (and `out` is as it was).
bool CombineChunk(Txn& txn, BitOperator op, std::span<Object* const> sources, uint64_t number, char* out,
                  size_t size) {
  bool any = false, all = true;
  for (Object* source : sources) {
    const bool empty = ChunkOf(txn, source, number).empty();
    any |= !empty;
    all &= !empty;
  }
  if (op == BitOperator::kAnd ? !all : op != BitOperator::kNot && !any) return false;
  const std::string_view first = ChunkOf(txn, sources[0], number).substr(0, size);
  if (!first.empty()) std::memcpy(out, first.data(), first.size());
  std::memset(out + first.size(), 0, size - first.size());
  if (op == BitOperator::kNot) {
    for (size_t i = 0; i < size; ++i) out[i] = static_cast<char>(~out[i]);
  }
  for (Object* source : sources.subspan(1)) CombineInto(op, out, size, ChunkOf(txn, source, number));
  return true;
}

}  // namespace

Result<uint64_t> CombineBits(Txn& txn, BitOperator op, std::string_view destination,
                             std::span<const std::string_view> sources) {
  std::vector<Object*> objects;
  objects.reserve(sources.size());
  uint64_t size = 0;
  for (const std::string_view key : sources) {
    Result<Object*> source = txn.Find(key, ObjectType::kString);
    if (!source.ok()) return source.status();
    objects.push_back(*source);
    if (*source != nullptr) size = std::max(size, StringSize(*source));
  }
  for (Object* source : objects) {
    if (source != nullptr && source->has_rows) txn.CompleteRows(source, RowSpace::kFields);
  }
  Object* to = txn.ForWrite(destination);
  if (size == 0) {
    if (!to->live()) return 0;
    txn.Remove(to);
    txn.Changed(to, EventClass::kGeneric, "del");
    return 0;
  }
  // The destination may be a source: the whole result is there before it is written.
  if (size <= kInlineBytesMax) {
    std::string& result = txn.scratch();
    result.assign(size, '\0');
    for (uint64_t at = 0; at < size; at += kChunkBytes) {
      CombineChunk(txn, op, objects, at / kChunkBytes, result.data() + at,
                   std::min<uint64_t>(kChunkBytes, size - at));
    }
    txn.SetString(to, result, Encoding::kRaw);
  } else {
    std::vector<std::pair<uint64_t, std::string>> chunks;
    char chunk[kChunkBytes];
    for (uint64_t at = 0; at < size; at += kChunkBytes) {
      const size_t bytes = std::min<uint64_t>(kChunkBytes, size - at);
      if (CombineChunk(txn, op, objects, at / kChunkBytes, chunk, bytes)) {
        chunks.emplace_back(at / kChunkBytes, std::string(chunk, bytes));
      }
    }
    txn.MakeRows(to, ObjectType::kString);
    GrowString(txn, to, size);
    for (const auto& [number, bytes] : chunks) txn.Put(to, RowSpace::kFields, ChunkKey(number).view(), bytes);
  }
  txn.Changed(to, EventClass::kString, "set");
  return size;
}

// ---- BITFIELD ----

namespace {

__extension__ using Wide = __int128;
__extension__ using UnsignedWide = unsigned __int128;

/// The bytes that a field touches: up to nine, as 64 bits need not begin with a byte.
struct Window {
  explicit Window(const BitFieldStep& step)
      : begin(step.offset / 8),
        size((step.offset % 8 + step.bits + 7) / 8),
        shift(static_cast<int>(size * 8 - step.offset % 8 - step.bits)) {}

  void Read(Txn& txn, Object* object) {
    bytes = {};
    if (object == nullptr || !object->live()) return;
    VisitString(txn, object, begin, std::min(begin + size, StringSize(object)),
                [&](uint64_t offset, std::string_view piece) {
                  std::memcpy(bytes.data() + (offset - begin), piece.data(), piece.size());
                  return true;
                });
  }
  UnsignedWide Number() const {
    UnsignedWide number = 0;
    for (size_t i = 0; i < size; ++i) number = number << 8 | static_cast<uint8_t>(bytes[i]);
    return number;
  }
  uint64_t Get(uint64_t mask) const { return static_cast<uint64_t>(Number() >> shift) & mask; }
  void Set(uint64_t mask, uint64_t field) {
    UnsignedWide number = Number();
    number &= ~(static_cast<UnsignedWide>(mask) << shift);
    number |= static_cast<UnsignedWide>(field & mask) << shift;
    for (size_t i = size; i-- > 0; number >>= 8) bytes[i] = static_cast<char>(number);
  }

  uint64_t begin;
  uint64_t size;
  int shift;
  std::array<char, 9> bytes = {};
};

int64_t SignExtend(uint64_t field, int bits) {
  return static_cast<int64_t>(field << (64 - bits)) >> (64 - bits);
}

/// What the step gives, brought into the range of its type as it says. nullopt: it overflows and may not.
std::optional<int64_t> NewValue(const BitFieldStep& step, int64_t old) {
  const Wide range = Wide{1} << step.bits;
  const Wide max = (step.is_signed ? range / 2 : range) - 1;
  const Wide min = step.is_signed ? -range / 2 : Wide{0};
  Wide value = step.kind == BitFieldStep::Kind::kIncrement ? Wide{old} + step.value
               : step.is_signed                            ? Wide{step.value}
                                                           : Wide{static_cast<uint64_t>(step.value)};
  if (value < min || value > max) {
    switch (step.overflow) {
      case BitFieldStep::Overflow::kFail: return std::nullopt;
      case BitFieldStep::Overflow::kSaturate:
        // A SET so far below the range that its distance to the top does not fit 64 bits counts
        // as too large in Redis.
        if (step.kind == BitFieldStep::Kind::kSet && max - value > INT64_MAX) value = max;
        value = std::clamp(value, min, max);
        break;
      case BitFieldStep::Overflow::kWrap: break;  // the low bits are what remains
    }
  }
  const auto field = static_cast<uint64_t>(value);
  if (step.is_signed) return SignExtend(field, step.bits);
  return static_cast<int64_t>(field & (~uint64_t{0} >> (64 - step.bits)));
}

/// Returns whether the bits changed.
bool RunStep(Txn& txn, Object* object, BitFieldStep* step) {
  const uint64_t mask = ~uint64_t{0} >> (64 - step->bits);
  Window window(*step);
  window.Read(txn, object);
  const uint64_t field = window.Get(mask);
  const int64_t old = step->is_signed ? SignExtend(field, step->bits) : static_cast<int64_t>(field);
  step->failed = false;
  step->result = old;
  if (step->kind == BitFieldStep::Kind::kGet) return false;
  const std::optional<int64_t> value = NewValue(*step, old);
  step->failed = !value.has_value();
  if (step->failed) return false;
  if (step->kind == BitFieldStep::Kind::kIncrement) step->result = *value;
  if (*value == old) return false;
  window.Set(mask, static_cast<uint64_t>(*value));
  WriteStringAt(txn, object, window.begin, {window.bytes.data(), window.size});
  return true;
}

/// Reads the chunks of all steps in one go.
void PrefetchSteps(Txn& txn, Object* object, std::span<const BitFieldStep> steps) {
  if (object == nullptr || !object->live() || !object->has_rows) return;
  std::vector<ChunkKey> keys;
  for (const BitFieldStep& step : steps) {
    const Window window(step);
    if (window.begin >= StringSize(object)) continue;
    const ChunkSpan span(window.begin, window.begin + window.size);
    for (uint64_t number = span.first; number <= span.last; ++number) keys.emplace_back(number);
  }
  std::vector<std::string_view> views;
  for (const ChunkKey& key : keys) views.push_back(key.view());
  txn.PrefetchRows(object, RowSpace::kFields, views);
}

}  // namespace

Status RunBitField(Txn& txn, std::string_view key, std::span<BitFieldStep> steps) {
  uint64_t size = 0;  // that the steps which write need
  for (const BitFieldStep& step : steps) {
    if (step.kind == BitFieldStep::Kind::kGet) continue;
    const Window window(step);
    size = std::max(size, window.begin + window.size);
  }
  Result<Object*> found =
      size == 0 ? txn.Find(key, ObjectType::kString) : txn.ForWrite(key, ObjectType::kString);
  if (!found.ok()) return found.status();
  Object* object = *found;
  PrefetchSteps(txn, object, steps);
  const bool grows = size > 0 && (!object->live() || StringSize(object) < size);
  // In Redis the string has its new size, and a plain encoding, even when no step writes.
  if (grows || (size > 0 && !object->has_rows && object->encoding != Encoding::kRaw)) {
    GrowString(txn, object, size);
  }
  bool changed = false;
  for (BitFieldStep& step : steps) {
    const bool wrote = RunStep(txn, object, &step);
    changed |= wrote || (grows && step.kind != BitFieldStep::Kind::kGet && !step.failed);
  }
  if (changed) txn.Changed(object, EventClass::kString, "setbit");
  return {};
}

}  // namespace thermocline
