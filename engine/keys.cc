#include "engine/keys.h"

#include <string>

namespace thermocline {

void CopyObject(Txn& txn, Object* from, Object* to) {
  const uint64_t expire_at_ms = from->expire_at_ms;
  const Encoding encoding = from->encoding;
  if (!from->has_rows) {
    txn.SetString(to, from->inline_value(), encoding);
  } else {
    for (const RowSpace space : {RowSpace::kFields, RowSpace::kScores}) txn.CompleteRows(from, space);
    txn.MakeRows(to, from->type);
    format::CollectionBody body = txn.body(from);
    body.before = body.behind = 0;  // what is left on disk is not copied
    txn.SetBody(to, body);
    for (const RowSpace space : {RowSpace::kFields, RowSpace::kScores}) {
      for (Txn::Cursor row = txn.SeekForward(from, space, {}); row.valid(); row.Next()) {
        if (space == RowSpace::kFields && txn.Lingers(from, row.key(), row.value())) continue;
        txn.Put(to, space, row.key(), row.value());
      }
    }
    to->encoding = encoding;
  }
  txn.SetExpiry(to, expire_at_ms);
}

}  // namespace thermocline
