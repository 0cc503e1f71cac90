#include "engine/string.h"

#include <charconv>
#include <cmath>
#include <cstring>

#include "encoding/numbers.h"
#include "engine/keyspace.h"

namespace thermocline {

namespace {

using format::kChunkBytes;

/// Redis keeps a text of up to so many bytes in one piece with its header and calls it "embstr".
constexpr size_t kEmbeddedBytesMax = 44;
/// The longest text of a 64-bit integer.
constexpr size_t kIntegerBytesMax = 20;

bool TooLarge(Txn& txn, uint64_t size, uint64_t more) {
  const uint64_t limit = txn.keyspace().options().string_bytes_max;
  return size > limit || more > limit - size;
}

/// The chunk with `bytes` put in at `offset`. What it held is in `old`.
void PutChunk(Txn& txn, Object* object, uint64_t number, uint64_t offset, std::string_view bytes,
              std::string_view old) {
  const ChunkKey key(number);
  if (offset == 0 && bytes.size() >= old.size()) {
    txn.Put(object, RowSpace::kFields, key.view(), bytes);
    return;
  }
  char merged[kChunkBytes];
  old = old.substr(0, kChunkBytes);  // it came from the disk
  old.copy(merged, old.size());
  if (old.size() < offset) std::memset(merged + old.size(), 0, offset - old.size());
  std::memcpy(merged + offset, bytes.data(), bytes.size());
  txn.Put(object, RowSpace::kFields, key.view(),
          {merged, std::max<size_t>(old.size(), offset + bytes.size())});
}

void WriteChunks(Txn& txn, Object* object, uint64_t old_size, uint64_t offset, std::string_view bytes) {
  while (!bytes.empty()) {
    const uint64_t number = offset / kChunkBytes;
    const uint64_t inside = offset % kChunkBytes;
    const std::string_view piece = bytes.substr(0, kChunkBytes - inside);
    std::string_view old;
    if (number * kChunkBytes < old_size && piece.size() < kChunkBytes) {
      old = txn.Get(object, RowSpace::kFields, ChunkKey(number).view()).value_or(std::string_view());
      old = old.substr(0, kChunkBytes);
    }
    PutChunk(txn, object, number, inside, piece, old);
    bytes.remove_prefix(piece.size());
    offset += piece.size();
  }
}

}  // namespace

// ---- Whole values ----

void SetStringValue(Txn& txn, Object* object, std::string_view value, Encoding encoding,
                    uint64_t expire_at_ms) {
  const uint64_t old_expiry = object->live() ? object->expire_at_ms : kNoExpiry;
  if (expire_at_ms == kKeepExpiry) expire_at_ms = old_expiry;
  if (expire_at_ms != kNoExpiry && old_expiry != kNoExpiry && object->type == ObjectType::kString &&
      !object->has_rows && value.size() <= kInlineBytesMax) {
    // A session that is written again and again: as a change in place it keeps its row in the expiry index.
    char* bytes = txn.EditString(object, value.size(), encoding);
    if (!value.empty()) std::memcpy(bytes, value.data(), value.size());
  } else {
    txn.SetString(object, value, encoding);
  }
  if (object->expire_at_ms != expire_at_ms) txn.SetExpiry(object, expire_at_ms);
}

std::string_view StringEncodingName(Txn&, const Object* object) {
  if (object->has_rows || object->encoding == Encoding::kRaw) return "raw";
  const std::string_view value = object->inline_value();
  int64_t number;
  if (object->encoding == Encoding::kAuto && value.size() <= kIntegerBytesMax && ParseInt64(value, &number)) {
    return "int";
  }
  return value.size() <= kEmbeddedBytesMax ? "embstr" : "raw";
}

// ---- Ranges ----

void PrefetchChunks(Txn& txn, Object* object, const ChunkSpan& span) {
  DCHECK(span.count() <= kChunksByKeyMax);
  std::array<std::array<char, 4>, kChunksByKeyMax> keys;
  std::array<std::string_view, kChunksByKeyMax> views;
  size_t count = 0;
  for (uint64_t number = span.first; number <= span.last; ++number, ++count) {
    StoreBig32(keys[count].data(), static_cast<uint32_t>(number));
    views[count] = {keys[count].data(), 4};
  }
  txn.PrefetchRows(object, RowSpace::kFields, {views.data(), count});
}

void AppendStringRange(Txn& txn, Object* object, uint64_t begin, uint64_t end, std::string* out) {
  if (begin >= end) return;
  const size_t base = out->size();
  out->reserve(base + (end - begin));
  VisitString(txn, object, begin, end, [&](uint64_t offset, std::string_view bytes) {
    out->resize(base + (offset - begin));  // zeros for the hole before the piece
    out->append(bytes);
    return true;
  });
  out->resize(base + (end - begin));
}

std::string_view StringRange(Txn& txn, Object* object, uint64_t begin, uint64_t end, std::string* buffer) {
  if (begin >= end) return {};
  if (!object->has_rows) return object->inline_value().substr(begin, end - begin);
  if (const ChunkSpan span(begin, end); span.count() == 1) {
    const auto chunk = txn.Get(object, RowSpace::kFields, ChunkKey(span.first).view());
    const uint64_t inside = begin % kChunkBytes;
    if (chunk.has_value() && chunk->size() >= inside + (end - begin))
      return chunk->substr(inside, end - begin);
  }
  buffer->clear();
  AppendStringRange(txn, object, begin, end, buffer);
  return *buffer;
}

void GrowString(Txn& txn, Object* object, uint64_t size) {
  const uint64_t old_size = object->live() ? StringSize(object) : 0;
  size = std::max(size, old_size);
  const bool chunks = object->live() && object->has_rows;
  if (!chunks && size <= kChunkBytes) {
    txn.EditString(object, size, Encoding::kRaw);
    return;
  }
  if (!object->live()) {
    txn.MakeRows(object, ObjectType::kString);
  } else if (!chunks) {
    txn.SpreadString(object);
  }
  if (size != old_size) {
    format::CollectionBody body = txn.body(object);
    body.aux0 = size;
    txn.SetBody(object, body);
  }
}

void PrefetchForWrite(Txn& txn, Object* object, uint64_t begin, uint64_t end) {
  if (!object->live() || !object->has_rows) return;
  // Only the chunks at both ends can keep some of their old bytes, and only where the string reaches.
  const ChunkSpan span(begin, end);
  const uint64_t size = StringSize(object);
  const ChunkKey first(span.first), last(span.last);
  std::array<std::string_view, 2> keys;
  size_t count = 0;
  if (span.first * kChunkBytes < size) keys[count++] = first.view();
  if (span.last != span.first && span.last * kChunkBytes < size) keys[count++] = last.view();
  txn.PrefetchRows(object, RowSpace::kFields, {keys.data(), count});
}

void WriteStringAt(Txn& txn, Object* object, uint64_t offset, std::string_view bytes) {
  const uint64_t old_size = object->live() ? StringSize(object) : 0;
  PrefetchForWrite(txn, object, offset, offset + bytes.size());
  GrowString(txn, object, offset + bytes.size());
  if (object->has_rows) {
    WriteChunks(txn, object, old_size, offset, bytes);
  } else {
    std::memcpy(object->value + offset, bytes.data(), bytes.size());
  }
}

// ---- Commands ----

Result<uint64_t> StringAppend(Txn& txn, std::string_view key, std::string_view bytes) {
  Result<Object*> found = txn.ForWrite(key, ObjectType::kString);
  if (!found.ok()) return found.status();
  Object* object = *found;
  if (!object->live()) {
    txn.SetString(object, bytes, Encoding::kAuto);
  } else {
    const uint64_t size = StringSize(object);
    if (TooLarge(txn, size, bytes.size())) return Code::kTooLarge;
    if (!bytes.empty()) {
      WriteStringAt(txn, object, size, bytes);
    } else if (!object->has_rows) {
      txn.EditString(object, size, Encoding::kRaw);
    }
  }
  txn.Changed(object, EventClass::kString, "append");
  return StringSize(object);
}

Result<uint64_t> StringSetRange(Txn& txn, std::string_view key, uint64_t offset, std::string_view bytes) {
  Result<Object*> found =
      bytes.empty() ? txn.Find(key, ObjectType::kString) : txn.ForWrite(key, ObjectType::kString);
  if (!found.ok()) return found.status();
  Object* object = *found;
  if (bytes.empty()) return object == nullptr ? 0 : StringSize(object);
  if (TooLarge(txn, offset, bytes.size())) return Code::kTooLarge;
  WriteStringAt(txn, object, offset, bytes);
  txn.Changed(object, EventClass::kString, "setrange");
  return StringSize(object);
}

Result<int64_t> StringIncrement(Txn& txn, std::string_view key, int64_t delta) {
  Result<Object*> found = txn.ForWrite(key, ObjectType::kString);
  if (!found.ok()) return found.status();
  Object* object = *found;
  int64_t value = 0;
  if (object->live() && (object->has_rows || !ParseInt64(object->inline_value(), &value)))
    return Code::kNotInteger;
  if (__builtin_add_overflow(value, delta, &value)) return Code::kOverflow;
  char digits[kIntegerBytesMax];
  const auto size = static_cast<size_t>(std::to_chars(digits, digits + sizeof(digits), value).ptr - digits);
  std::memcpy(txn.EditString(object, size, Encoding::kAuto), digits, size);
  txn.Changed(object, EventClass::kString, "incrby");
  return value;
}

Result<std::string> StringIncrementFloat(Txn& txn, std::string_view key, std::string_view delta) {
  Result<Object*> found = txn.ForWrite(key, ObjectType::kString);
  if (!found.ok()) return found.status();
  Object* object = *found;
  long double value = 0, increment = 0;
  if (object->live() && (object->has_rows || !ParseLongDouble(object->inline_value(), &value)))
    return Code::kNotFloat;
  if (!ParseLongDouble(delta, &increment)) return Code::kNotFloat;
  value += increment;
  if (std::isnan(value) || std::isinf(value)) return Code::kNotFinite;
  std::string text = FormatLongDouble(value);
  std::memcpy(txn.EditString(object, text.size(), Encoding::kText), text.data(), text.size());
  txn.Changed(object, EventClass::kString, "incrbyfloat");
  return text;
}

}  // namespace thermocline
