#include "engine/set.h"

#include <array>

#include "encoding/numbers.h"
#include "engine/keyspace.h"

namespace thermocline {

namespace {

constexpr RowSpace kMembers = RowSpace::kFields;

// As in Redis: when what stays is so many times less than what goes, the set is made anew of what stays.
constexpr uint64_t kRebuildShare = 5;

bool IsInteger(std::string_view member) {
  int64_t ignored;
  return ParseInt64(member, &ignored);
}

bool FitsIntset(Txn& txn, uint64_t count) {
  return count <= static_cast<uint64_t>(txn.keyspace().options().compact.set_intset_entries);
}

/// After a member was added OBJECT ENCODING tells what Redis would have made of the set.
void NoteEncoding(Txn& txn, Object* object, std::string_view added) {
  if (object->encoding != Encoding::kAuto) return;
  if (!IsInteger(added) || !FitsIntset(txn, CollectionCount(object))) txn.SetEncoding(object, Encoding::kRaw);
}

/// Adds a member to a set, which may be absent, that is known not to have it.
void AddNew(Txn& txn, Object* object, std::string_view member) {
  if (!object->live()) txn.MakeRows(object, ObjectType::kSet);
  txn.Put(object, kMembers, member, {});
  AddToCount(txn, object, 1);
  NoteEncoding(txn, object, member);
}

/// Makes `object`, whatever it was, a set of `members`. Keeps no expiry.
void Fill(Txn& txn, Object* object, std::span<const std::string> members, Encoding encoding) {
  txn.MakeRows(object, ObjectType::kSet);
  for (const std::string& member : members) txn.Put(object, kMembers, member, {});
  AddToCount(txn, object, static_cast<int64_t>(members.size()));
  txn.SetEncoding(object, encoding);
}

}  // namespace

Encoding EncodingOfMembers(Txn& txn, std::span<const std::string> members) {
  if (!FitsIntset(txn, members.size())) return Encoding::kRaw;
  for (const std::string& member : members) {
    if (!IsInteger(member)) return Encoding::kRaw;
  }
  return Encoding::kAuto;
}

Encoding EncodingOfDifference(Txn& txn, Object* from, std::span<Object* const> others,
                              std::span<const std::string> result) {
  const uint64_t lookups = CollectionCount(from) * (others.size() + 1) / 2;
  uint64_t members = CollectionCount(from);
  for (const Object* other : others) members += CollectionCount(other);
  if (lookups <= members) return EncodingOfMembers(txn, result);
  if (!FitsIntset(txn, CollectionCount(from))) return Encoding::kRaw;
  for (Txn::Cursor row = txn.SeekForward(from, kMembers, {}); row.valid(); row.Next()) {
    if (!IsInteger(row.key())) return Encoding::kRaw;
  }
  return Encoding::kAuto;
}

Result<uint64_t> SetAdd(Txn& txn, std::string_view key, std::span<const std::string_view> members) {
  const Result<Object*> found = txn.ForWrite(key, ObjectType::kSet, Txn::Access::kPick);
  if (!found.ok()) return found.status();
  Object* object = *found;
  if (object->live() && members.size() > 1) txn.PrefetchRows(object, kMembers, members);
  uint64_t added = 0;
  for (const std::string_view member : members) {
    if (object->live() && txn.Get(object, kMembers, member).has_value()) continue;
    AddNew(txn, object, member);
    ++added;
  }
  if (added > 0) txn.Changed(object, EventClass::kSet, "sadd");
  return added;
}

Result<uint64_t> SetRemove(Txn& txn, std::string_view key, std::span<const std::string_view> members) {
  const Result<Object*> found = txn.Find(key, ObjectType::kSet, Txn::Access::kPick);
  if (!found.ok()) return found.status();
  Object* object = *found;
  if (object == nullptr) return 0;
  txn.PrefetchRows(object, kMembers, members);
  uint64_t removed = 0;
  for (const std::string_view member : members) {
    if (!txn.Get(object, kMembers, member).has_value()) continue;
    txn.Erase(object, kMembers, member);
    ++removed;
  }
  if (removed == 0) return 0;
  const bool stays = AddToCount(txn, object, -static_cast<int64_t>(removed));
  txn.Changed(object, EventClass::kSet, "srem");
  if (!stays) txn.Changed(object, EventClass::kGeneric, "del");
  return removed;
}

Result<bool> SetMove(Txn& txn, std::string_view from, std::string_view to, std::string_view member) {
  txn.Prefetch(std::array{from, to});
  Object* source = txn.Find(from, Txn::Access::kPick);
  if (source == nullptr) return false;  // then the type of the other does not matter
  const Result<Object*> target = txn.Find(to, ObjectType::kSet, Txn::Access::kPick);
  if (source->type != ObjectType::kSet || !target.ok()) return Code::kWrongType;
  const bool there = txn.Get(source, kMembers, member).has_value();
  if (!there || source == *target) return there;
  const bool is_new = *target == nullptr || !txn.Get(*target, kMembers, member).has_value();
  txn.Erase(source, kMembers, member);
  const bool stays = AddToCount(txn, source, -1);
  txn.Changed(source, EventClass::kSet, "srem");
  if (!stays) txn.Changed(source, EventClass::kGeneric, "del");
  if (is_new) {
    Object* object = txn.ForWrite(to, Txn::Access::kPick);
    AddNew(txn, object, member);
    txn.Changed(object, EventClass::kSet, "sadd");
  }
  return true;
}

namespace {

/// Takes out the most of a set: what stays is drawn, and becomes the set.
void PopByRebuild(Txn& txn, Object* object, uint64_t count, const DrawVisitor& visit) {
  const uint64_t expire_at_ms = object->expire_at_ms;
  const uint64_t size = CollectionCount(object);
  std::vector<std::string> stay;
  txn.CompleteRows(object, kMembers);
  SampleStream sample(size, size - count, txn.random());
  for (Txn::Cursor row = txn.SeekForward(object, kMembers, {}); row.valid(); row.Next()) {
    if (sample.Take()) {
      stay.emplace_back(row.key());
    } else {
      visit(row.key(), {});
    }
  }
  Fill(txn, object, stay, EncodingOfMembers(txn, stay));
  txn.SetExpiry(object, expire_at_ms);
}

}  // namespace

void SetPop(Txn& txn, Object* object, uint64_t count, const PreparedPop* prepared, const DrawVisitor& visit) {
  const uint64_t size = CollectionCount(object);
  const bool all = count >= size;
  if (all) {
    txn.CompleteRows(object, kMembers);
    for (Txn::Cursor row = txn.SeekForward(object, kMembers, {}); row.valid(); row.Next())
      visit(row.key(), {});
    txn.Remove(object);
  } else if (const uint64_t stay = size - count; stay <= count / kRebuildShare) {
    PopByRebuild(txn, object, count, visit);
  } else {
    std::vector<std::string> drawn;
    const bool fits = prepared != nullptr && !prepared->failed && prepared->version == object->rows->version;
    if (!fits) {
      const auto keep = [&](std::string_view member, std::string_view) { drawn.emplace_back(member); };
      DrawRows(txn, object, kMembers, {.count = count, .distinct = true}, keep);
    }
    const std::vector<std::string>& members = fits ? prepared->members : drawn;
    for (const std::string& member : members) visit(member, {});
    for (const std::string& member : members) txn.Erase(object, kMembers, member);
    AddToCount(txn, object, -static_cast<int64_t>(members.size()));
  }
  txn.Changed(object, EventClass::kSet, "spop");
  if (all) txn.Changed(object, EventClass::kGeneric, "del");
}

void SetStore(Txn& txn, std::string_view key, std::span<const std::string> members, Encoding encoding,
              const char* event) {
  if (!members.empty()) {
    Object* object = txn.ForWrite(key);
    Fill(txn, object, members, encoding);
    return txn.Changed(object, EventClass::kSet, event);
  }
  if (Object* old = txn.Find(key, Txn::Access::kPeek)) {
    txn.Remove(old);
    txn.Changed(old, EventClass::kGeneric, "del");
  }
}

}  // namespace thermocline
