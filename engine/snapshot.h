#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "encoding/format.h"
#include "encoding/status.h"
#include "engine/object.h"
#include "engine/store.h"

namespace thermocline {

/// One database as it was at one moment, for reads that are large by nature: they run on a reader thread and
/// hold up nobody. Any thread; valid for the job that it is given to.
class SnapshotView {
 public:
  struct Key {
    std::string_view key;
    format::Head head;
    uint64_t value_bytes;  ///< of the metadata row
  };

  /// `physical` < 0: a database that was never written, without keys.
  SnapshotView(const Store& store, std::shared_ptr<const rocksdb::Snapshot> snapshot, int physical,
               uint64_t now_ms)
      : store_(store), snapshot_(std::move(snapshot)), physical_(physical), now_ms_(now_ms) {}

  /// From now on the key is as given (nullopt: it does not exist), whatever the snapshot says: a change that
  /// is not written yet.
  void Overlay(std::string_view key, const std::optional<format::Head>& head) {
    overlay_[std::string(key)] = head;
  }

  /// Visits the keys that have not expired, in order, from `from` (inclusive), as long as they begin with
  /// `prefix` and `visit` gives true. Expired ones are skipped, but count as steps: `visit` sees them with
  /// `expired`.
  Status ForEachKey(std::string_view prefix, std::string_view from,
                    const std::function<bool(const Key& key, bool expired)>& visit) const;

  /// Visits the rows of the spread object `object_id` from `from` (inclusive) to `to` (exclusive; nullopt: to
  /// the end of the space) in key order, or in reverse order with `forward` false, until `visit(key, value)`
  /// gives false.
  Status ForEachRow(uint64_t object_id, RowSpace space, std::string_view from,
                    std::optional<std::string_view> to, bool forward,
                    const std::function<bool(std::string_view key, std::string_view value)>& visit) const;

  /// A random key that has not expired: a walk down the tree of all key prefixes that takes each branch with
  /// the same chance. Uniform where keys are evenly spread, as numbered ones are. nullopt: none was found.
  Result<std::optional<std::string>> RandomKey(uint64_t seed) const;

  uint64_t now_ms() const { return now_ms_; }

 private:
  Store::ScanIterator Scan(std::string_view prefix) const;
  bool Expired(const format::Head& head) const {
    return head.expire_at_ms != 0 && now_ms_ > head.expire_at_ms;
  }

  const Store& store_;
  const std::shared_ptr<const rocksdb::Snapshot> snapshot_;
  const int physical_;
  const uint64_t now_ms_;
  std::map<std::string, std::optional<format::Head>, std::less<>> overlay_;
};

}  // namespace thermocline
