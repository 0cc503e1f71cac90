#include "engine/snapshot.h"

#include <random>

namespace thermocline {

namespace {

/// The smallest key that does not begin with `prefix`; empty: there is none.
std::string PrefixEnd(std::string prefix) {
  while (!prefix.empty() && static_cast<uint8_t>(prefix.back()) == 0xff) prefix.pop_back();
  if (!prefix.empty()) prefix.back() = static_cast<char>(static_cast<uint8_t>(prefix.back()) + 1);
  return prefix;
}

/// Lengthens `prefix` to what all keys that begin with it have in common.
void ExtendPrefix(rocksdb::Iterator& it, std::string* prefix) {
  it.Seek(*prefix);
  if (!it.Valid() || !it.key().starts_with(*prefix)) return;
  const std::string first = it.key().ToString();
  const std::string end = PrefixEnd(*prefix);
  if (end.empty()) {
    it.SeekToLast();
  } else {
    it.SeekForPrev(end);
    if (it.Valid() && it.key() == end) it.Prev();
  }
  if (!it.Valid()) return;
  const std::string_view last = ToView(it.key());
  size_t common = prefix->size();
  while (common < std::min(first.size(), last.size()) && first[common] == last[common]) ++common;
  *prefix = first.substr(0, common);
}

}  // namespace

Store::ScanIterator SnapshotView::Scan(std::string_view prefix) const {
  Store::ScanOptions options;
  options.snapshot = snapshot_.get();
  // What a scan passes over is not what anybody will ask for next.
  options.fill_cache = false;
  format::AppendMetadataKey(options.lower, static_cast<uint16_t>(physical_), prefix);
  options.upper = PrefixEnd(options.lower);
  return store_.Scan(Family::kMetadata, std::move(options));
}

Status SnapshotView::ForEachKey(std::string_view prefix, std::string_view from,
                                const std::function<bool(const Key& key, bool expired)>& visit) const {
  if (physical_ < 0) return {};
  const Store::ScanIterator scan = Scan(prefix);
  rocksdb::Iterator& it = *scan.it;
  std::string start;
  format::AppendMetadataKey(start, static_cast<uint16_t>(physical_), from);
  auto over = overlay_.lower_bound(std::max(from, prefix));
  // The keys of the overlay up to `key`, which stands next in the snapshot. False: the visitor has had
  // enough.
  const auto visit_overlay = [&](const std::string_view* key) {
    for (;
         over != overlay_.end() && over->first.starts_with(prefix) && (key == nullptr || over->first <= *key);
         ++over) {
      if (!over->second.has_value()) continue;
      if (!visit({over->first, *over->second, 0}, Expired(*over->second))) return false;
    }
    return true;
  };
  for (it.Seek(start); it.Valid(); it.Next()) {
    std::string_view value = ToView(it.value());
    Key key{ToView(it.key()).substr(2), {}, value.size()};
    if (!visit_overlay(&key.key)) return {};
    if (overlay_.contains(key.key)) continue;  // comes with the overlay
    if (Status s = format::DecodeHead(value, &key.head); !s.ok()) return s;
    if (!visit(key, Expired(key.head))) return {};
  }
  if (!it.status().ok()) return Store::ToReadStatus(it.status());
  visit_overlay(nullptr);
  return {};
}

Status SnapshotView::ForEachRow(
    uint64_t object_id, RowSpace space, std::string_view from, std::optional<std::string_view> to,
    bool forward, const std::function<bool(std::string_view key, std::string_view value)>& visit) const {
  Store::ScanOptions options;
  options.snapshot = snapshot_.get();
  options.fill_cache = false;
  format::AppendRowKey(options.lower, object_id, from);
  if (to.has_value()) {
    format::AppendRowKey(options.upper, object_id, *to);
  } else {
    AppendBig64(options.upper, object_id + 1);
  }
  const Store::ScanIterator scan = store_.Scan(FamilyOf(space), std::move(options));
  rocksdb::Iterator& it = *scan.it;
  for (forward ? it.SeekToFirst() : it.SeekToLast(); it.Valid(); forward ? it.Next() : it.Prev()) {
    if (!visit(ToView(it.key()).substr(8), ToView(it.value()))) return {};
  }
  return Store::ToReadStatus(it.status());
}

Result<std::optional<std::string>> SnapshotView::RandomKey(uint64_t seed) const {
  if (physical_ < 0) return std::optional<std::string>();
  std::mt19937_64 random(seed);
  if (!overlay_.empty()) {
    // The walk below knows only what is on disk. This is for a RANDOMKEY inside EXEC, which is rare.
    std::optional<std::string> chosen;
    uint64_t seen = 0;
    Status s = ForEachKey({}, {}, [&](const Key& key, bool expired) {
      if (!expired && random() % ++seen == 0) chosen = key.key;
      return true;
    });
    if (!s.ok()) return s;
    return chosen;
  }
  const Store::ScanIterator scan = Scan({});
  rocksdb::Iterator& it = *scan.it;
  std::string prefix = scan.options->lower;
  const size_t base = prefix.size();
  constexpr int kLevelsMax = 64;  // after so many branchings the first key is taken
  for (int level = 0; level < kLevelsMax; ++level) {
    ExtendPrefix(it, &prefix);
    // One candidate per next byte: each branch replaces the chosen one with chance 1/n.
    std::string chosen;
    uint64_t branches = 0;
    for (it.Seek(prefix); it.Valid() && it.key().starts_with(prefix);) {
      if (random() % ++branches == 0) chosen = it.key().ToString();
      if (it.key().size() == prefix.size()) {
        it.Next();  // the key that is the prefix itself
        continue;
      }
      const std::string next = PrefixEnd(it.key().ToString().substr(0, prefix.size() + 1));
      if (next.empty()) break;
      it.Seek(next);
    }
    if (branches == 0 || chosen.size() <= prefix.size() || level + 1 == kLevelsMax) {
      prefix = chosen.empty() ? prefix : chosen;
      break;
    }
    prefix = chosen.substr(0, prefix.size() + 1);
  }
  // Step over keys that have expired; start again at the front when the end is reached.
  for (int round = 0; round < 2; ++round) {
    int steps = 0;
    for (it.Seek(round == 0 ? prefix : scan.options->lower); it.Valid() && steps < 10000;
         it.Next(), ++steps) {
      std::string_view value = ToView(it.value());
      format::Head head;
      if (Status s = format::DecodeHead(value, &head); !s.ok()) return s;
      if (!Expired(head)) return std::optional<std::string>(it.key().ToString().substr(base));
    }
  }
  if (!it.status().ok()) return Store::ToReadStatus(it.status());
  return std::optional<std::string>();
}

}  // namespace thermocline
