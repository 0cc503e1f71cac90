#include "encoding/format.h"

#include <bit>

namespace thermocline::format {

void AppendMetadataKey(std::string& out, uint16_t db, std::string_view key) {
  AppendBig16(out, db);
  out.append(key);
}

bool DecodeMetadataKey(std::string_view in, uint16_t* db, std::string_view* key) {
  if (!ReadBig16(in, db)) return false;
  *key = in;
  return true;
}

void AppendHead(std::string& out, const Head& head) {
  uint8_t flags = static_cast<uint8_t>(static_cast<uint8_t>(head.encoding) << kEncodingShift);
  if (head.expire_at_ms != 0) flags |= kHasExpiry;
  if (head.object_id != 0) flags |= kSpread;
  if (head.lingering) flags |= kLingering;
  out.push_back(static_cast<char>(head.type));
  out.push_back(static_cast<char>(flags));
  if (head.expire_at_ms != 0) AppendBig64(out, head.expire_at_ms);
  if (head.object_id != 0) AppendBig64(out, head.object_id);
}

Status DecodeHead(std::string_view& in, Head* head) {
  uint8_t type, flags;
  if (!ReadU8(in, &type) || !ReadU8(in, &flags)) return {Code::kCorruption, "metadata value is too short"};
  if (type < static_cast<uint8_t>(ObjectType::kString) || type > static_cast<uint8_t>(ObjectType::kStream)) {
    return {Code::kCorruption, "metadata value has an unknown type"};
  }
  const uint8_t encoding = (flags >> kEncodingShift) & 3;
  if ((flags & ~kKnownFlags) != 0 || encoding > static_cast<uint8_t>(Encoding::kText)) {
    return {Code::kCorruption, "metadata value has unknown flags"};
  }
  head->type = static_cast<ObjectType>(type);
  head->encoding = static_cast<Encoding>(encoding);
  head->lingering = (flags & kLingering) != 0;
  if (head->lingering && ((flags & kSpread) == 0 || head->type != ObjectType::kSortedSet)) {
    return {Code::kCorruption, "metadata value has unknown flags"};
  }
  head->expire_at_ms = 0;
  head->object_id = 0;
  if ((flags & kHasExpiry) && (!ReadBig64(in, &head->expire_at_ms) || head->expire_at_ms == 0)) {
    return {Code::kCorruption, "metadata value has a bad expiry"};
  }
  if ((flags & kSpread) && (!ReadBig64(in, &head->object_id) || head->object_id == 0)) {
    return {Code::kCorruption, "metadata value has a bad object id"};
  }
  return {};
}

void AppendCollectionBody(std::string& out, const CollectionBody& body) {
  AppendVarint(out, body.count);
  AppendVarint(out, body.aux0);
  AppendVarint(out, body.aux1);
}

bool DecodeCollectionBody(std::string_view& in, CollectionBody* body) {
  return ReadVarint(in, &body->count) && ReadVarint(in, &body->aux0) && ReadVarint(in, &body->aux1);
}

void AppendSpreadBody(std::string& out, const CollectionBody& body) {
  AppendCollectionBody(out, body);
  if (body.before == 0 && body.behind == 0) return;
  AppendVarint(out, body.before);
  AppendVarint(out, body.behind);
}

bool DecodeSpreadBody(std::string_view in, CollectionBody* body) {
  body->before = body->behind = 0;
  if (!DecodeCollectionBody(in, body)) return false;
  return in.empty() || (ReadVarint(in, &body->before) && ReadVarint(in, &body->behind) && in.empty());
}

void AppendRowKey(std::string& out, uint64_t object_id, std::string_view row_key) {
  AppendBig64(out, object_id);
  out.append(row_key);
}

bool DecodeRowKey(std::string_view in, uint64_t* object_id, std::string_view* row_key) {
  if (!ReadBig64(in, object_id)) return false;
  *row_key = in;
  return true;
}

void AppendExpiryIndexKey(std::string& out, uint64_t expire_at_ms, uint16_t db, std::string_view key) {
  AppendBig64(out, 0);
  AppendBig64(out, expire_at_ms);
  AppendBig16(out, db);
  out.append(key);
}

bool DecodeExpiryIndexKey(std::string_view in, ExpiryIndexKey* row) {
  uint64_t zero;
  if (!ReadBig64(in, &zero) || zero != 0 || !ReadBig64(in, &row->expire_at_ms) || !ReadBig16(in, &row->db)) {
    return false;
  }
  row->key = in;
  return true;
}

uint64_t SortableScore(double score) {
  if (score == 0) score = 0;  // -0.0 sorts and compares as 0.0
  const uint64_t bits = std::bit_cast<uint64_t>(score);
  return bits >> 63 ? ~bits : bits | (uint64_t{1} << 63);
}

double ScoreFromSortable(uint64_t sortable) {
  return std::bit_cast<double>(sortable >> 63 ? sortable & ~(uint64_t{1} << 63) : ~sortable);
}

void AppendState(std::string& out, const State& state) {
  AppendVarint(out, state.next_object_id);
  AppendVarint(out, state.next_physical);
  AppendVarint(out, state.databases.size());
  for (const State::Database& db : state.databases) {
    AppendBig16(out, db.logical);
    AppendBig16(out, db.physical);
    AppendVarint(out, db.keys);
    AppendVarint(out, db.expires);
  }
  AppendVarint(out, state.dropped.size());
  for (const uint16_t physical : state.dropped) AppendBig16(out, physical);
}

Status DecodeState(std::string_view in, State* state) {
  const Status bad(Code::kCorruption, "the state row does not decode");
  uint64_t next_physical, databases, dropped;
  if (!ReadVarint(in, &state->next_object_id) || state->next_object_id == 0 ||
      !ReadVarint(in, &next_physical) || next_physical > 0x10000 || !ReadVarint(in, &databases) ||
      databases > 0x10000) {
    return bad;
  }
  state->next_physical = static_cast<uint32_t>(next_physical);
  state->databases.clear();
  state->dropped.clear();
  for (uint64_t i = 0; i < databases; ++i) {
    State::Database db;
    if (!ReadBig16(in, &db.logical) || !ReadBig16(in, &db.physical) || !ReadVarint(in, &db.keys) ||
        !ReadVarint(in, &db.expires) || db.expires > db.keys) {
      return bad;
    }
    state->databases.push_back(db);
  }
  if (!ReadVarint(in, &dropped) || dropped > 0x10000) return bad;
  for (uint64_t i = 0; i < dropped; ++i) {
    uint16_t physical;
    if (!ReadBig16(in, &physical)) return bad;
    state->dropped.push_back(physical);
  }
  return in.empty() ? Status() : bad;
}

void AppendVersion(std::string& out, uint32_t format_version, std::string_view program_version) {
  AppendBig32(out, format_version);
  out.append(program_version);
}

Status DecodeVersion(std::string_view in, uint32_t* format_version, std::string_view* program_version) {
  if (!ReadBig32(in, format_version)) return {Code::kCorruption, "the version row does not decode"};
  *program_version = in;
  return {};
}

void AppendPurgeKey(std::string& out, uint64_t object_id) {
  out.push_back(kPurgePrefix);
  AppendBig64(out, object_id);
}

bool DecodePurgeKey(std::string_view in, uint64_t* object_id) {
  if (in.empty() || in[0] != kPurgePrefix) return false;
  in.remove_prefix(1);
  return ReadBig64(in, object_id) && in.empty();
}

}  // namespace thermocline::format
