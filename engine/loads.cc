// Reads from disk on behalf of commands: how they start, and how their answers come into the hot tier.

#include <algorithm>

#include "engine/keyspace.h"
#include "engine/load.h"

namespace thermocline {

namespace {

// A batch of point reads is split so that several readers share it.
constexpr size_t kHeadsPerJob = 16;

void ReadHeads(const Store& store, const std::vector<Load*>& loads) {
  std::vector<std::string_view> keys;
  keys.reserve(loads.size());
  for (const Load* load : loads) keys.push_back(load->key);
  std::vector<rocksdb::PinnableSlice> values;
  std::vector<Store::Found> found;
  std::vector<Status> why;
  store.MultiGet(Family::kMetadata, keys, &values, &found, &why);
  for (size_t i = 0; i < loads.size(); ++i) {
    loads[i]->found = found[i];
    loads[i]->value = std::move(values[i]);
    loads[i]->error = std::move(why[i]);
  }
}

void ReadRow(const Store& store, Load& load) {
  std::string key;
  format::AppendRowKey(key, load.object_id, load.key);
  load.found = store.Get(FamilyOf(load.space), key, &load.value, &load.error);
}

}  // namespace

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
        load.error = Store::ToStatus(it.status());
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

Load* Keyspace::StartHeadLoad(Object* object) {
  auto load = std::make_unique<Load>();
  load->kind = Load::Kind::kHead;
  load->object = object;
  format::AppendMetadataKey(load->key, object->db, object->key());
  hot_.BecomeLoading(object, load.get());
  return AddLoad(std::move(load));
}

Load* Keyspace::StartRowLoad(Object* object, RowSpace space, std::string_view row_key) {
  for (Load* load : object->rows->loads) {
    if (load->kind == Load::Kind::kRow && load->space == space && load->key == row_key) return load;
  }
  auto load = std::make_unique<Load>();
  load->kind = Load::Kind::kRow;
  load->object = object;
  load->object_id = object->rows->id;
  load->space = space;
  load->key = row_key;
  object->rows->loads.push_back(load.get());
  return AddLoad(std::move(load));
}

Load* Keyspace::StartRangeLoad(std::unique_ptr<Load> load) {
  for (Load* other : load->object->rows->loads) {
    if (other->kind == Load::Kind::kRange && other->space == load->space && other->forward == load->forward &&
        other->key == load->key && other->to == load->to && other->rows_max >= load->rows_max) {
      return other;
    }
  }
  load->object->rows->loads.push_back(load.get());
  return AddLoad(std::move(load));
}

Load* Keyspace::AddLoad(std::unique_ptr<Load> load) {
  Load* raw = load.get();
  ++raw->object->pins;
  unsubmitted_.push_back(raw);
  loads_.emplace(raw, std::move(load));
  return raw;
}

void Keyspace::WaitFor(Load* load, Waiter* waiter) {
  if (std::find(load->waiters.begin(), load->waiters.end(), waiter) != load->waiters.end()) return;
  load->waiters.push_back(waiter);
  ++waiter->pending_;
}

void Keyspace::SubmitLoads() {
  std::vector<Load*> heads;
  const auto submit_heads = [&] {
    if (heads.empty()) return;
    readers_.Submit({[this, heads] { ReadHeads(*store_, heads); },
                     [this, heads] {
                       for (Load* load : heads) Install(load);
                     }});
    heads.clear();
  };
  for (Load* load : unsubmitted_) {
    ++stats_.faults;
    switch (load->kind) {
      case Load::Kind::kHead:
        heads.push_back(load);
        if (heads.size() == kHeadsPerJob) submit_heads();
        break;
      case Load::Kind::kRow:
        readers_.Submit({[this, load] { ReadRow(*store_, *load); }, [this, load] { Install(load); }});
        break;
      case Load::Kind::kRange:
        readers_.Submit({[this, load] { ReadRange(*store_, *load, /*cached_only=*/false); },
                         [this, load] { Install(load); }});
        break;
    }
  }
  submit_heads();
  unsubmitted_.clear();
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
  Object* object = load.object;
  // The object may have been deleted, replaced or dropped from RAM meanwhile; then nobody wants these rows.
  if (!object->live() || !object->has_rows || object->rows->id != load.object_id) return;
  ObjectRows& rows = *object->rows;
  const auto mine = std::find(rows.loads.begin(), rows.loads.end(), &load);
  if (mine == rows.loads.end()) return;
  rows.loads.erase(mine);
  if (load.found == Store::Found::kError) return;
  RowTree& tree = rows.tree(load.space);
  if (load.kind == Load::Kind::kRange) {
    InstallRange(load, tree);
  } else if (load.found == Store::Found::kYes) {
    tree.LoadPoint(load.key, ToView(load.value));
  } else {
    tree.LoadPoint(load.key, std::nullopt);
  }
  hot_.Recount(object);
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
      ok = ReadBig64(value, &rows->body.aux0);
    } else {
      ok = format::DecodeCollectionBody(value, &rows->body);
    }
    rows->fields.Forget();
    rows->scores.Forget();
    if (!ok || !value.empty()) {
      hot_.BecomeCold(object);
      return bad;
    }
    hot_.BecomeRows(object, head.type, std::move(rows));
    if (head.lingering) NoteLingering(object);
  }
  object->expire_at_ms = head.expire_at_ms;
  object->encoding = head.encoding;
  eviction_.OnCreate(object);
  return {};
}

}  // namespace thermocline
