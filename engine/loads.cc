// Reads from disk on behalf of commands: how they start, and how their answers come into the hot tier.

#include <algorithm>
#include <map>

#include "engine/keyspace.h"
#include "engine/load.h"

namespace thermocline {

namespace {

// Point reads go to the readers in jobs of so many: few, so that several readers share what one turn asks
// for; but not one by one, since waking a thread costs as much as a read of a block that the system has in
// memory.
constexpr size_t kPointsPerJobMin = 4;
constexpr size_t kPointsPerJobMax = 64;
// What a command reads beyond so many points does not stand in the way of other commands' reads.
constexpr size_t kManyPoints = 64;

/// Reads heads, or rows of one family.
void ReadPoints(const Store& store, const std::vector<Load*>& loads) {
  const bool heads = loads.front()->kind == Load::Kind::kHead;
  std::vector<std::string> row_keys;
  std::vector<std::string_view> keys;
  row_keys.reserve(loads.size());
  keys.reserve(loads.size());
  for (const Load* load : loads) {
    if (heads) {
      keys.push_back(load->key);
    } else {
      format::AppendRowKey(row_keys.emplace_back(), load->object_id, load->key);
      keys.push_back(row_keys.back());
    }
  }
  std::vector<rocksdb::PinnableSlice> values;
  std::vector<Store::Found> found;
  std::vector<Status> why;
  store.MultiGet(heads ? Family::kMetadata : FamilyOf(loads.front()->space), keys, &values, &found, &why);
  for (size_t i = 0; i < loads.size(); ++i) {
    loads[i]->found = found[i];
    loads[i]->value = std::move(values[i]);
    loads[i]->error = std::move(why[i]);
  }
}

}  // namespace

std::string QuestionOf(const Load& load) {
  std::string name;
  name += static_cast<char>(load.kind);
  name += static_cast<char>(load.space);
  AppendBig64(name, load.object_id);
  if (load.kind == Load::Kind::kRange) {
    name += load.forward ? 'f' : 'b';
    name += load.to.has_value() ? 't' : 'e';
    AppendBig64(name, load.key.size());
  }
  name += load.key;
  if (load.to.has_value()) name += *load.to;
  return name;
}

bool ReadRange(const Store& store, Load& load, bool cached_only) {
  Store::ScanOptions options;
  options.cached_only = cached_only;
  format::AppendRowKey(options.lower, load.object_id, load.key);
  if (load.to.has_value()) {
    format::AppendRowKey(options.upper, load.object_id, *load.to);
  } else {
    AppendBig64(options.upper, load.object_id + 1);
  }
  const Store::ScanIterator scan = store.Scan(FamilyOf(load.space), std::move(options));
  rocksdb::Iterator& it = *scan.it;
  if (load.forward) {
    it.SeekToFirst();
  } else {
    it.SeekToLast();
  }
  load.reached_end = false;
  while (load.rows.size() < load.rows_max) {
    if (!it.Valid()) {
      if (it.status().IsIncomplete()) return false;
      if (!it.status().ok()) {
        load.found = Store::Found::kError;
        load.error = Store::ToReadStatus(it.status());
        return true;
      }
      load.reached_end = true;
      break;
    }
    load.rows.emplace_back(ToView(it.key()).substr(8), ToView(it.value()));
    if (load.forward) {
      it.Next();
    } else {
      it.Prev();
    }
  }
  load.found = Store::Found::kYes;
  return true;
}

void InstallRange(const Load& load, RowTree& tree) {
  for (const auto& [key, value] : load.rows) tree.LoadRow(key, value);
  if (load.reached_end) {
    tree.MarkRangeKnown(load.key, load.to);
  } else if (load.rows.empty()) {
    return;
  } else if (load.forward) {
    tree.MarkRangeKnown(load.key, load.rows.back().first + '\0');
  } else {
    tree.MarkRangeKnown(load.rows.back().first, load.to);
  }
}

/// What RocksDB has in its memtables and its block cache; kNeedsDisk also where it is not worth a look.
Store::Found Keyspace::LookIntoCaches(Family family, std::string_view key, rocksdb::PinnableSlice* value) {
  CacheLuck& luck = cache_luck_[static_cast<size_t>(family)];
  if (!luck.ShouldLook()) return Store::Found::kNeedsDisk;
  const Store::Found found = store_->GetCached(family, key, value, &error_);
  if (found == Store::Found::kError) return found;
  luck.Note(found != Store::Found::kNeedsDisk);
  if (found != Store::Found::kNeedsDisk) ++stats_.cached_reads;
  return found;
}

Load* Keyspace::StartHeadLoad(Object* object) {
  auto load = std::make_unique<Load>();
  load->kind = Load::Kind::kHead;
  load->object = object;
  format::AppendMetadataKey(load->key, object->db, object->key());
  hot_.BecomeLoading(object, load.get());
  return AddLoad(std::move(load));
}

Load* Keyspace::StartRowLoad(Object* object, RowSpace space, std::string_view row_key) {
  auto load = std::make_unique<Load>();
  load->kind = Load::Kind::kRow;
  load->object = object;
  load->object_id = object->rows->id;
  load->space = space;
  load->key = row_key;
  return AddRowLoad(std::move(load));
}

/// Or the one under way that asks for the same.
Load* Keyspace::AddRowLoad(std::unique_ptr<Load> load) {
  ObjectRows& rows = *load->object->rows;
  if (rows.load_tag == 0) rows.load_tag = NewVersion();
  load->tag = rows.load_tag;
  Load*& known = row_loads_[QuestionOf(*load)];
  if (known != nullptr && known->tag == load->tag && known->rows_max >= load->rows_max) return known;
  known = load.get();
  load->began = NewVersion();
  load->version = load->object->dirty() ? 0 : rows.version;
  ++rows.loads;
  return AddLoad(std::move(load));
}

Load* Keyspace::AddLoad(std::unique_ptr<Load> load) {
  Load* raw = load.get();
  ++stats_.faults;
  ++raw->object->pins;
  unsubmitted_.push_back(raw);
  loads_.emplace(raw, std::move(load));
  return raw;
}

void Keyspace::WaitFor(Load* load, Waiter* waiter) {
  // Only the run under way adds waiters, so that it finds itself at the end.
  if (!load->waiters.empty() && load->waiters.back() == waiter) return;
  if (!load->waiters.empty()) ++stats_.shared_faults;
  load->waiters.push_back(waiter);
  waiter->asked_.push_back(load);
  ++waiter->pending_;
  if (waiter->asked_.size() > kManyPoints) load->of_many = true;
  if (waiter->urgent_) load->urgent = true;
}

void Keyspace::StartReads() {
  if (unsubmitted_.empty()) return;
  const auto submit = [this](std::vector<Load*> loads, ReaderPool::Lane lane) {
    ++stats_.fault_jobs;
    readers_.Submit(lane, {[this, loads] {
                             if (loads.front()->kind == Load::Kind::kRange) {
                               ReadRange(*store_, *loads.front(), /*cached_only=*/false);
                             } else {
                               ReadPoints(*store_, loads);
                             }
                           },
                           [this, loads] {
                             for (Load* load : loads) Install(load);
                           },
                           static_cast<uint32_t>(loads.size())});
  };
  std::map<std::pair<ReaderPool::Lane, Family>, std::vector<Load*>> points;
  for (Load* load : unsubmitted_) {
    const ReaderPool::Lane lane = load->of_many  ? ReaderPool::Lane::kLong
                                  : load->urgent ? ReaderPool::Lane::kUrgent
                                                 : ReaderPool::Lane::kShort;
    switch (load->kind) {
      case Load::Kind::kHead: points[{lane, Family::kMetadata}].push_back(load); break;
      case Load::Kind::kRow: points[{lane, FamilyOf(load->space)}].push_back(load); break;
      case Load::Kind::kRange: submit({load}, ReaderPool::Lane::kLong); break;
    }
  }
  unsubmitted_.clear();
  for (const auto& [where, loads] : points) {
    const size_t share = (loads.size() + readers_.threads() - 1) / readers_.threads();
    const size_t step = std::clamp(share, kPointsPerJobMin, kPointsPerJobMax);
    for (size_t i = 0; i < loads.size(); i += step) {
      const size_t end = std::min(loads.size(), i + step);
      submit({loads.begin() + static_cast<ptrdiff_t>(i), loads.begin() + static_cast<ptrdiff_t>(end)},
             where.first);
    }
  }
}

void Keyspace::Install(Load* load) {
  Object* object = load->object;
  if (load->kind == Load::Kind::kHead) {
    InstallHead(*load);
  } else {
    InstallRows(*load);
  }
  for (Waiter* waiter : load->waiters) {
    if (!load->error.ok()) waiter->error_ = load->error;
    if (waiter->pins_.empty() || waiter->pins_.back() != object) {  // once for many rows of one object
      ++object->pins;
      waiter->pins_.push_back(object);
    }
    const bool many = load->kind == Load::Kind::kRange || load->of_many;
    if (many && std::find(waiter->whole_.begin(), waiter->whole_.end(), object) == waiter->whole_.end()) {
      waiter->whole_.push_back(object);
      ++keep_whole_[object];
    }
    Wake(waiter);
  }
  --object->pins;
  EraseIfUseless(object);
  loads_.erase(load);
}

void Keyspace::InstallHead(Load& load) {
  // While it is loading nobody else changes the object: every command that meets it waits for this load.
  CHECK(load.object->state == Object::State::kLoading && load.object->load == &load);
  switch (load.found) {
    case Store::Found::kYes: load.error = DecodeInto(load.object, ToView(load.value)); break;
    case Store::Found::kNo: hot_.BecomeAbsent(load.object); break;
    default: hot_.BecomeCold(load.object);
  }
}

void Keyspace::InstallRows(Load& load) {
  const auto mine = row_loads_.find(QuestionOf(load));
  if (mine != row_loads_.end() && mine->second == &load) row_loads_.erase(mine);
  Object* object = load.object;
  // The object may have been deleted, replaced or dropped from RAM meanwhile; then nobody wants these rows.
  if (!object->live() || !object->has_rows || object->rows->load_tag != load.tag) return;
  ObjectRows& rows = *object->rows;
  --rows.loads;
  if (load.found == Store::Found::kError) return;
  // What is known wins over an answer that may be older; but of a row that was written and forgotten since,
  // nothing is known any more.
  if (rows.forgot_at > load.began && rows.version != load.version) return;
  RowTree& tree = rows.tree(load.space);
  if (load.kind == Load::Kind::kRange) {
    InstallRange(load, tree);
  } else {
    tree.LoadPoint(load.key,
                   load.found == Store::Found::kYes ? std::optional(ToView(load.value)) : std::nullopt);
    (void)tree.Find(load.key);  // somebody waits for it: it is not forgotten at once
  }
  Recount(object);
}

Status Keyspace::DecodeInto(Object* object, std::string_view value) {
  const Status bad(Code::kCorruption, "a metadata row does not decode");
  format::Head head;
  if (Status s = format::DecodeHead(value, &head); !s.ok()) {
    hot_.BecomeCold(object);
    return s;
  }
  if (head.type == ObjectType::kString && head.object_id == 0) {
    hot_.BecomeString(object, value);
  } else if (head.object_id == 0) {
    hot_.BecomeAtRest(object, head.type, value);
  } else {
    auto rows = std::make_unique<ObjectRows>();
    rows->id = head.object_id;
    rows->version = NewVersion();
    rows->lingering = head.lingering;
    bool ok;
    if (head.type == ObjectType::kString) {
      ok = ReadBig64(value, &rows->body.aux0) && value.empty();
    } else {
      ok = format::DecodeSpreadBody(value, &rows->body);
    }
    rows->fields.Forget();
    rows->scores.Forget();
    if (!ok) {
      hot_.BecomeCold(object);
      return bad;
    }
    hot_.BecomeRows(object, head.type, std::move(rows));
    if (head.lingering) NoteLingering(object);
  }
  object->expire_at_ms = head.expire_at_ms;
  object->encoding = head.encoding;
  eviction_.OnCreate(object);
  Enter(object, From::kDisk);
  return {};
}

}  // namespace thermocline
