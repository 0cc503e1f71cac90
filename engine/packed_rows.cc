#include "engine/packed_rows.h"

#include <algorithm>
#include <cstring>

#include "encoding/bytes.h"

namespace thermocline {

namespace {

using Row = RowTree::Row;

constexpr size_t kScoreBytes = 8;

/// Makes the rows of a sorted set's fields those of its scores. False: one has no score.
bool ToScoreRows(UnpackScratch* scratch) {
  size_t bytes = 0;
  for (const Row& row : scratch->rows) {
    if (row.value.size() < kScoreBytes) return false;
    bytes += kScoreBytes + row.key.size();
  }
  scratch->score_keys.resize(bytes);
  char* to = scratch->score_keys.data();
  for (Row& row : scratch->rows) {
    std::memcpy(to, row.value.data(), kScoreBytes);
    if (!row.key.empty()) std::memcpy(to + kScoreBytes, row.key.data(), row.key.size());
    row = {{to, kScoreBytes + row.key.size()}, {}};
    to += row.key.size();
  }
  std::sort(scratch->rows.begin(), scratch->rows.end(), [](const Row& a, const Row& b) {
    const uint64_t x = LoadBig64(a.key.data()), y = LoadBig64(b.key.data());
    return x != y ? x < y : a.key < b.key;
  });
  return true;
}

}  // namespace

void AppendPacked(const ObjectRows& rows, std::string* out) {
  format::AppendCollectionBody(*out, rows.body);
  AppendVarint(*out, rows.fields.count());
  constexpr size_t kSizesMax = 4;  // of most rows
  out->reserve(out->size() + rows.fields.data_bytes() + rows.fields.count() * kSizesMax);
  for (RowTree::Cursor c = rows.fields.SeekForward({}); c.at() == RowTree::Cursor::At::kRow; c.Next()) {
    AppendSized(*out, c.key());
    AppendSized(*out, c.value());
  }
}

bool Unpack(ObjectType type, std::string_view bytes, UnpackScratch* scratch, ObjectRows* rows) {
  scratch->rows.clear();
  const auto add = [&](std::string_view key, std::string_view value) {
    scratch->rows.push_back({key, value});
  };
  if (!format::DecodeCollectionBody(bytes, &rows->body) || !format::DecodePackedRows(bytes, add) ||
      !bytes.empty()) {
    return false;
  }
  rows->fields.Fill(scratch->rows);
  // Rows out of order or twice are a sign of damage, too, but harm nobody as long as their number is right.
  if (rows->fields.count() != scratch->rows.size()) return false;
  if (type != ObjectType::kSortedSet) return true;
  if (!ToScoreRows(scratch)) return false;
  rows->scores.Fill(scratch->rows);
  return true;
}

PackedPlace FindPacked(std::string_view bytes, std::string_view row_key, bool for_write) {
  PackedPlace place;
  std::string_view in = bytes;
  format::CollectionBody body;
  const auto here = [&] { return bytes.size() - in.size(); };
  place.damaged = true;
  if (!format::DecodeCollectionBody(in, &body)) return place;
  place.rows_at = here();
  if (!ReadVarint(in, &place.rows)) return place;
  place.rows_end = place.at = here();
  bool passed = false;  // the place
  for (uint64_t i = 0; i < place.rows; ++i) {
    const size_t begin = here();
    std::string_view key, value;
    if (!ReadSized(in, &key) || !ReadSized(in, &value)) return place;
    if (passed) continue;
    const int order = key.compare(row_key);
    place.at = order < 0 ? here() : begin;
    if (order < 0) continue;
    passed = true;
    if (order == 0) {
      place.found = true;
      place.size = here() - begin;
      place.value = value;
    }
    if (!for_write) break;
  }
  place.damaged = for_write && !in.empty();
  return place;
}

format::CollectionBody PackedBody(std::string_view bytes) {
  format::CollectionBody body;
  (void)format::DecodeCollectionBody(bytes, &body);
  return body;
}

}  // namespace thermocline
