// Every decoder of stored bytes: whatever they are given, they read nothing beyond it, and what they accept
// means the same when it is written and read again. Input: one byte that chooses the decoder, then its bytes.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "encoding/check.h"
#include "encoding/format.h"

namespace thermocline::format {
namespace {

void FuzzMetadataValue(std::string_view in) {
  Head head, again;
  if (!DecodeHead(in, &head).ok()) return;
  std::string out;
  AppendHead(out, head);
  std::string_view written = out;
  CHECK(DecodeHead(written, &again).ok());
  CHECK(again == head);
  CHECK(written.empty());

  CollectionBody body, body_again;
  if (!DecodeCollectionBody(in, &body)) return;
  out.clear();
  AppendCollectionBody(out, body);
  written = out;
  CHECK(DecodeCollectionBody(written, &body_again));
  CHECK(body_again == body);

  std::vector<std::pair<std::string_view, std::string_view>> rows;
  if (!DecodePackedRows(
          in, [&](std::string_view key, std::string_view value) { rows.emplace_back(key, value); })) {
    return;
  }
  out.clear();
  AppendVarint(out, rows.size());
  for (const auto& [key, value] : rows) {
    AppendSized(out, key);
    AppendSized(out, value);
  }
  written = out;
  size_t row = 0;
  CHECK(DecodePackedRows(written, [&](std::string_view key, std::string_view value) {
    CHECK(rows[row].first == key);
    CHECK(rows[row++].second == value);
  }));
  CHECK(written.empty());
}

void FuzzState(std::string_view in) {
  State state, again;
  if (!DecodeState(in, &state).ok()) return;
  std::string out;
  AppendState(out, state);
  CHECK(DecodeState(out, &again).ok());
  CHECK(again == state);
}

void FuzzVersion(std::string_view in) {
  uint32_t version;
  std::string_view program;
  if (!DecodeVersion(in, &version, &program).ok()) return;
  std::string out;
  AppendVersion(out, version, program);
  CHECK(out == in);
}

void FuzzKeys(std::string_view in) {
  std::string out;
  uint16_t db;
  uint64_t id;
  std::string_view key;
  if (DecodeMetadataKey(in, &db, &key)) {
    AppendMetadataKey(out, db, key);
    CHECK(out == in);
  }
  if (DecodeRowKey(in, &id, &key)) {
    out.clear();
    AppendRowKey(out, id, key);
    CHECK(out == in);
  }
  ExpiryIndexKey row;
  if (DecodeExpiryIndexKey(in, &row)) {
    out.clear();
    AppendExpiryIndexKey(out, row.expire_at_ms, row.db, row.key);
    CHECK(out == in);
  }
  if (DecodePurgeKey(in, &id)) {
    out.clear();
    AppendPurgeKey(out, id);
    CHECK(out == in);
  }
  // Scores: a double that is a number comes back, but for -0.0; NaN is never stored.
  if (uint64_t sortable; ReadBig64(in, &sortable)) {
    const double score = ScoreFromSortable(sortable);
    if (score == score && score != 0) {
      CHECK(SortableScore(score) == sortable);
    }
  }
}

}  // namespace
}  // namespace thermocline::format

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  // An allocation of the exact size, so that ASan sees a read past the end.
  const std::unique_ptr<char[]> exact(new char[size - 1]);
  for (size_t i = 1; i < size; ++i) exact[i - 1] = static_cast<char>(data[i]);
  const std::string_view in(exact.get(), size - 1);
  using namespace thermocline::format;
  switch (data[0] % 4) {
    case 0: FuzzMetadataValue(in); break;
    case 1: FuzzState(in); break;
    case 2: FuzzVersion(in); break;
    default: FuzzKeys(in);
  }
  return 0;
}
