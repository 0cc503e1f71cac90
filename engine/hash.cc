#include "engine/hash.h"

#include <cmath>
#include <optional>
#include <vector>

#include "encoding/numbers.h"
#include "engine/keyspace.h"

namespace thermocline {

namespace {

constexpr RowSpace kFields = RowSpace::kFields;

/// After a write of `texts` (fields and values) OBJECT ENCODING tells what Redis would have made of the hash.
void NoteEncoding(Txn& txn, Object* object, std::span<const std::string_view> texts) {
  if (object->encoding != Encoding::kAuto) return;
  const CompactLimits& limits = txn.keyspace().options().compact;
  bool compact = CollectionCount(object) <= static_cast<uint64_t>(limits.hash_entries);
  for (const std::string_view text : texts) {
    if (text.size() > static_cast<uint64_t>(limits.hash_value_bytes)) compact = false;
  }
  if (!compact) txn.SetEncoding(object, Encoding::kRaw);
}

using Value = std::optional<std::string_view>;

/// The field's value in a hash that may be absent.
Value OldValue(Txn& txn, Object* object, std::string_view field) {
  return object->live() ? txn.Get(object, kFields, field) : std::nullopt;
}

/// Writes one field. `is_new`: it is known that the hash, which may be absent, has not got it.
void SetField(Txn& txn, Object* object, std::string_view field, std::string_view value, bool is_new) {
  if (!object->live()) txn.MakeRows(object, ObjectType::kHash);
  txn.Put(object, kFields, field, value);
  if (is_new) AddToCount(txn, object, 1);
  const std::string_view texts[] = {field, value};
  NoteEncoding(txn, object, texts);
}

}  // namespace

Result<uint64_t> HashSet(Txn& txn, std::string_view key, std::span<const std::string_view> pairs) {
  const Result<Object*> found = txn.ForWrite(key, ObjectType::kHash, Txn::Access::kPick);
  if (!found.ok()) return found.status();
  Object* object = *found;
  if (!object->live()) {
    txn.MakeRows(object, ObjectType::kHash);
  } else if (pairs.size() > 2 && object->has_rows && !object->rows->fields.complete()) {
    std::vector<std::string_view> fields;
    for (size_t i = 0; i < pairs.size(); i += 2) fields.push_back(pairs[i]);
    txn.PrefetchRows(object, kFields, fields);
  }
  uint64_t added = 0;
  for (size_t i = 0; i < pairs.size(); i += 2) {
    if (!txn.Get(object, kFields, pairs[i]).has_value()) ++added;
    txn.Put(object, kFields, pairs[i], pairs[i + 1]);
  }
  AddToCount(txn, object, static_cast<int64_t>(added));
  NoteEncoding(txn, object, pairs);
  txn.Changed(object, EventClass::kHash, "hset");
  return added;
}

Result<bool> HashSetIfAbsent(Txn& txn, std::string_view key, std::string_view field, std::string_view value) {
  const Result<Object*> found = txn.ForWrite(key, ObjectType::kHash, Txn::Access::kPick);
  if (!found.ok()) return found.status();
  Object* object = *found;
  if (OldValue(txn, object, field).has_value()) return false;
  SetField(txn, object, field, value, /*is_new=*/true);
  txn.Changed(object, EventClass::kHash, "hset");
  return true;
}

Result<uint64_t> HashDelete(Txn& txn, std::string_view key, std::span<const std::string_view> fields) {
  Result<Object*> found = txn.Find(key, ObjectType::kHash, Txn::Access::kPick);
  if (!found.ok()) return found.status();
  Object* object = *found;
  if (object == nullptr) return 0;
  txn.PrefetchRows(object, kFields, fields);
  uint64_t deleted = 0;
  for (const std::string_view field : fields) {
    if (!txn.Get(object, kFields, field).has_value()) continue;
    txn.Erase(object, kFields, field);
    ++deleted;
  }
  if (deleted == 0) return 0;
  const bool stays = AddToCount(txn, object, -static_cast<int64_t>(deleted));
  txn.Changed(object, EventClass::kHash, "hdel");
  if (!stays) txn.Changed(object, EventClass::kGeneric, "del");
  return deleted;
}

Result<int64_t> HashIncrement(Txn& txn, std::string_view key, std::string_view field, int64_t delta) {
  const Result<Object*> found = txn.ForWrite(key, ObjectType::kHash, Txn::Access::kPick);
  if (!found.ok()) return found.status();
  Object* object = *found;
  const Value old = OldValue(txn, object, field);
  int64_t value = 0;
  if (old.has_value() && !ParseInt64(*old, &value)) return Code::kNotInteger;
  if (__builtin_add_overflow(value, delta, &value)) return Code::kOverflow;
  SetField(txn, object, field, std::to_string(value), /*is_new=*/!old.has_value());
  txn.Changed(object, EventClass::kHash, "hincrby");
  return value;
}

Result<std::string> HashIncrementFloat(Txn& txn, std::string_view key, std::string_view field,
                                       long double delta) {
  const Result<Object*> found = txn.ForWrite(key, ObjectType::kHash, Txn::Access::kPick);
  if (!found.ok()) return found.status();
  Object* object = *found;
  const Value old = OldValue(txn, object, field);
  long double value = 0;
  if (old.has_value() && !ParseLongDouble(*old, &value)) return Code::kNotFloat;
  value += delta;
  if (std::isnan(value) || std::isinf(value)) return Code::kNotFinite;
  std::string text = FormatLongDouble(value);
  SetField(txn, object, field, text, /*is_new=*/!old.has_value());
  txn.Changed(object, EventClass::kHash, "hincrbyfloat");
  return text;
}

}  // namespace thermocline
