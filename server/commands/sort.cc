// SORT and SORT_RO: the elements of a list, set or sorted set, in an order that may come from other keys.

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <optional>
#include <string>
#include <vector>

#include "engine/list.h"
#include "engine/sorted_set.h"
#include "engine/string.h"
#include "server/command_table.h"
#include "server/commands/common.h"

namespace thermocline {

namespace {

struct SortQuery {
  bool descending = false;
  bool alpha = false;
  std::optional<std::string> by;
  bool unordered = false;  ///< BY a pattern without '*': elements stay in their order
  int64_t offset = 0;
  int64_t count = -1;
  std::vector<std::string> gets;
  std::optional<std::string_view> store;
};

bool ParseQuery(CommandContext& c, bool read_only, SortQuery* query) {
  for (size_t i = 2; i < c.args.size(); ++i) {
    const std::string_view option = c.args[i];
    const size_t more = c.args.size() - i - 1;
    if (EqualIgnoreCase(option, "asc")) {
      query->descending = false;
    } else if (EqualIgnoreCase(option, "desc")) {
      query->descending = true;
    } else if (EqualIgnoreCase(option, "alpha")) {
      query->alpha = true;
    } else if (EqualIgnoreCase(option, "limit") && more >= 2) {
      if (!ReadInteger(c, c.args[i + 1], &query->offset) || !ReadInteger(c, c.args[i + 2], &query->count))
        return false;
      i += 2;
    } else if (EqualIgnoreCase(option, "store") && more >= 1 && !read_only) {
      query->store = c.args[++i];
    } else if (EqualIgnoreCase(option, "by") && more >= 1) {
      query->by = c.args[++i];
      query->unordered = query->by->find('*') == std::string::npos;
    } else if (EqualIgnoreCase(option, "get") && more >= 1) {
      query->gets.emplace_back(c.args[++i]);
    } else {
      c.reply.Error(error_text::kSyntax);
      return false;
    }
  }
  return true;
}

// ---- Values of other keys ----

/// The key (and hash field) that a pattern names for an element: "weight_*", "user:*->age".
struct Reference {
  std::string key;
  std::string field;  ///< empty: the key is a string
};

std::optional<Reference> Resolve(const std::string& pattern, std::string_view element) {
  const size_t star = pattern.find('*');
  if (star == std::string::npos) return std::nullopt;
  const size_t arrow = pattern.find("->", star + 1);
  const bool has_field = arrow != std::string::npos && arrow + 2 < pattern.size();
  Reference reference;
  reference.key.assign(pattern, 0, star).append(element);
  reference.key.append(pattern, star + 1, (has_field ? arrow : pattern.size()) - star - 1);
  if (has_field) reference.field = pattern.substr(arrow + 2);
  return reference;
}

/// Values that patterns name for elements. Cold keys are read together, not one after the other.
class References {
 public:
  References(Txn& txn, const std::vector<std::string>& elements) : txn_(txn), elements_(elements) {}

  /// One value per element; nullopt: there is none.
  std::vector<std::optional<std::string>> Values(const std::string& pattern, size_t first, size_t last) {
    std::vector<std::optional<std::string>> values;
    values.reserve(last - first);
    if (pattern == "#") {
      values.assign(elements_.begin() + static_cast<ptrdiff_t>(first),
                    elements_.begin() + static_cast<ptrdiff_t>(last));
      return values;
    }
    for (size_t begin = first; begin < last; begin += kBatch) {
      const size_t end = std::min(last, begin + kBatch);
      std::vector<std::string_view> keys;
      std::vector<std::optional<Reference>> references;
      for (size_t i = begin; i < end; ++i) references.push_back(Resolve(pattern, elements_[i]));
      for (const auto& reference : references) {
        if (reference.has_value()) keys.push_back(reference->key);
      }
      txn_.Prefetch(keys);
      for (const auto& reference : references) values.push_back(reference ? Value(*reference) : std::nullopt);
    }
    return values;
  }

 private:
  static constexpr size_t kBatch = 1024;

  std::optional<std::string> Value(const Reference& reference) {
    Object* object = txn_.Find(reference.key);
    if (object == nullptr) return std::nullopt;
    if (!reference.field.empty()) {
      if (object->type != ObjectType::kHash) return std::nullopt;
      const auto value = txn_.Get(object, RowSpace::kFields, reference.field);
      return value.has_value() ? std::optional<std::string>(*value) : std::nullopt;
    }
    if (object->type != ObjectType::kString) return std::nullopt;
    std::string buffer;
    return std::string(StringRange(txn_, object, 0, StringSize(object), &buffer));
  }

  Txn& txn_;
  const std::vector<std::string>& elements_;
};

// ---- Sorting ----

/// What an element is compared by. Redis reads numbers with strtod: "" is 0, what does not end the text is
/// wrong.
struct Weight {
  double score = 0;
  const std::string* text = nullptr;  ///< nullptr: the key that BY names is not there
};

bool ParseScore(const std::string& text, double* score) {
  char* end;
  errno = 0;
  *score = std::strtod(text.c_str(), &end);
  return *end == '\0' && errno != ERANGE && !std::isnan(*score);
}

/// False: some elements are no numbers. `weights` takes the values that BY names; they must outlive the
/// order.
bool Order(const SortQuery& query, std::vector<std::string>* elements,
           const std::vector<std::optional<std::string>>& by) {
  std::vector<Weight> weights(elements->size());
  for (size_t i = 0; i < elements->size(); ++i) {
    if (query.by.has_value() && !by[i].has_value()) continue;
    const std::string& text = query.by.has_value() ? *by[i] : (*elements)[i];
    weights[i].text = &text;
    if (!query.alpha && !ParseScore(text, &weights[i].score)) return false;
  }
  std::vector<size_t> order(elements->size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  const auto compare = [&](size_t a, size_t b) {
    const Weight &x = weights[a], &y = weights[b];
    if (!query.alpha) {
      if (x.score != y.score) return x.score < y.score ? -1 : 1;
      // Equal scores are told apart by the elements, so that the order is the same everywhere.
      return (*elements)[a].compare((*elements)[b]);
    }
    if (x.text == nullptr || y.text == nullptr) return (x.text != nullptr) - (y.text != nullptr);
    return x.text->compare(*y.text);
  };
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return query.descending ? compare(b, a) < 0 : compare(a, b) < 0;
  });
  std::vector<std::string> sorted;
  sorted.reserve(order.size());
  for (const size_t i : order) sorted.push_back(std::move((*elements)[i]));
  *elements = std::move(sorted);
  return true;
}

/// The range that LIMIT leaves of `count` elements, as first and one past the last.
std::pair<size_t, size_t> Limit(const SortQuery& query, size_t count) {
  const auto all = static_cast<int64_t>(count);
  const int64_t first = std::min(std::max<int64_t>(query.offset, 0), all);
  const int64_t wanted = std::min(std::max<int64_t>(query.count, -1), all);
  const int64_t last = wanted < 0 ? all : std::min(all, first + wanted);
  return {static_cast<size_t>(first), static_cast<size_t>(last)};
}

constexpr std::string_view kNotNumbers = "ERR One or more scores can't be converted into double";

// ---- Elements ----

bool Sortable(const Object* object) {
  return object->type == ObjectType::kList || object->type == ObjectType::kSet ||
         object->type == ObjectType::kSortedSet;
}

RowSpace SpaceOf(ObjectType type) {
  return type == ObjectType::kSortedSet ? RowSpace::kScores : RowSpace::kFields;
}

std::string_view ElementOf(ObjectType type, std::string_view key, std::string_view value) {
  switch (type) {
    case ObjectType::kList: return value;
    case ObjectType::kSortedSet: return DecodeScoreKey(key).member;
    default: return key;
  }
}

std::vector<std::string> Elements(Txn& txn, Object* object) {
  std::vector<std::string> elements;
  elements.reserve(CollectionCount(object));
  Txn::Cursor row = object->type == ObjectType::kList        ? ListSeek(txn, object, 0, /*forward=*/true)
                    : object->type == ObjectType::kSortedSet ? FirstMember(txn, object)
                                                             : txn.SeekForward(object, RowSpace::kFields, {});
  for (; row.valid(); row.Next()) elements.emplace_back(ElementOf(object->type, row.key(), row.value()));
  return elements;
}

/// A long one that needs no other keys is read and sorted beside the other clients.
void OffloadSort(CommandContext& c, const Object* object, SortQuery query) {
  c.OffloadReply([rows = RowsOf(object, SpaceOf(object->type)), type = object->type,
                  query = std::move(query)](const SnapshotView& view, ReplyWriter& reply) -> Status {
    std::vector<std::string> elements;
    Status status = view.ForEachRow(rows.object_id, rows.space, rows.from, rows.to, rows.forward,
                                    [&](std::string_view key, std::string_view value) {
                                      elements.emplace_back(ElementOf(type, key, value));
                                      return true;
                                    });
    if (!status.ok()) return status;
    if (query.unordered) {
      if (query.descending) std::reverse(elements.begin(), elements.end());
    } else if (!Order(query, &elements, {})) {
      reply.Error(kNotNumbers);
      return {};
    }
    const auto [first, last] = Limit(query, elements.size());
    const size_t copies = std::max<size_t>(query.gets.size(), 1);  // of "GET #"
    reply.ArrayHeader((last - first) * copies);
    for (size_t i = first; i < last; ++i) {
      for (size_t n = 0; n < copies; ++n) reply.Bulk(elements[i]);
    }
    return {};
  });
}

// ---- The commands ----

/// Puts the result into a list, or removes the key when it is empty.
void Store(CommandContext& c, std::string_view key, const std::vector<std::string_view>& values) {
  Object* object = c.txn.ForWrite(key);
  if (!values.empty()) {
    ListStore(c.txn, object, values, "sortstore");
  } else if (object->live()) {
    c.txn.Remove(object);
    c.txn.Changed(object, EventClass::kGeneric, "del");
  }
  c.reply.Integer(static_cast<int64_t>(values.size()));
}

void SortGeneric(CommandContext& c, bool read_only) {
  SortQuery query;
  if (!ParseQuery(c, read_only, &query)) return;
  Object* object = c.txn.Find(c.args[1]);
  if (object != nullptr && !Sortable(object)) return WriteError(c.reply, Code::kWrongType);
  // What is stored must not depend on the order in which a set happens to be kept.
  if (query.unordered && query.store.has_value() && object != nullptr && object->type == ObjectType::kSet) {
    query.unordered = false;
    query.alpha = true;
    query.by.reset();
  }
  const bool alone =
      (!query.by.has_value() || query.unordered) && !query.store.has_value() &&
      std::all_of(query.gets.begin(), query.gets.end(), [](const auto& get) { return get == "#"; });
  if (object != nullptr && alone && object->rows->id != 0 && c.ShouldOffload(CollectionCount(object))) {
    return OffloadSort(c, object, std::move(query));
  }
  std::vector<std::string> elements;
  if (object != nullptr) elements = Elements(c.txn, object);
  References references(c.txn, elements);
  if (query.unordered) {
    if (query.descending && object != nullptr && object->type != ObjectType::kSet) {
      std::reverse(elements.begin(), elements.end());
    }
  } else {
    std::vector<std::optional<std::string>> by;
    if (query.by.has_value()) by = references.Values(*query.by, 0, elements.size());
    if (!Order(query, &elements, by)) return c.reply.Error(kNotNumbers);
  }
  const auto [first, last] = Limit(query, elements.size());
  if (query.gets.empty()) query.gets.emplace_back("#");
  std::vector<std::vector<std::optional<std::string>>> columns;
  for (const std::string& get : query.gets) columns.push_back(references.Values(get, first, last));
  if (query.store.has_value()) {
    std::vector<std::string_view> values;
    for (size_t i = 0; i < last - first; ++i) {
      for (const auto& column : columns)
        values.push_back(column[i] ? std::string_view(*column[i]) : std::string_view());
    }
    return Store(c, *query.store, values);
  }
  c.reply.ArrayHeader((last - first) * columns.size());
  for (size_t i = 0; i < last - first; ++i) {
    for (const auto& column : columns) column[i] ? c.reply.Bulk(*column[i]) : c.reply.Null();
  }
}

void Sort(CommandContext& c) { SortGeneric(c, /*read_only=*/false); }
void SortRo(CommandContext& c) { SortGeneric(c, /*read_only=*/true); }

/// STORE may stand anywhere, and the last one counts.
void StoreKey(const KeySpec& spec, std::span<const std::string_view> args, std::vector<size_t>* positions) {
  if ((spec.flags & kKeyOw) == 0) return;
  size_t found = 0;
  for (size_t i = 2; i < args.size(); ++i) {
    if (EqualIgnoreCase(args[i], "limit")) {
      i += 2;
    } else if (EqualIgnoreCase(args[i], "by") || EqualIgnoreCase(args[i], "get")) {
      i += 1;
    } else if (EqualIgnoreCase(args[i], "store") && i + 1 < args.size()) {
      found = ++i;
    }
  }
  if (found != 0) positions->push_back(found);
}

constexpr uint32_t kAcl = kAclSet | kAclSortedSet | kAclList | kAclDangerous;
constexpr KeySpec kByGet = {.flags = kKeyRo | kKeyAccess,
                            .begin = KeySpec::Begin::kUnknown,
                            .find = KeySpec::Find::kUnknown,
                            .notes =
                                "For the optional BY/GET keyword. It is marked 'unknown' because the key "
                                "names derive from the content of "
                                "the key we sort"};
constexpr KeySpec kSortKeys[] = {{.flags = kKeyRo | kKeyAccess},
                                 kByGet,
                                 {.flags = kKeyOw | kKeyUpdate,
                                  .begin = KeySpec::Begin::kUnknown,
                                  .find = KeySpec::Find::kUnknown,
                                  .notes = "For the optional STORE keyword. It is marked 'unknown' because "
                                           "the keyword can appear anywhere in the "
                                           "argument array"}};
constexpr KeySpec kSortRoKeys[] = {{.flags = kKeyRo | kKeyAccess}, kByGet};
constexpr std::string_view kCost =
    "O(N+M*log(M)) for N elements, of which M are returned; long ones without BY and GET beside other "
    "clients";

constexpr Command kCommands[] = {
    {"sort",
     -2,
     kWrite | kDenyOom | kMovableKeys,
     CommandGroup::kGeneric,
     "1.0.0",
     kCost,
     "Sorts the elements of a list, set or sorted set, by themselves or by other keys, and gives or stores "
     "them.",
     Sort,
     kSortKeys,
     {},
     {},
     kAcl,
     nullptr,
     StoreKey},
    {"sort_ro",
     -2,
     kReadOnly | kMovableKeys,
     CommandGroup::kGeneric,
     "7.0.0",
     kCost,
     "SORT without STORE.",
     SortRo,
     kSortRoKeys,
     {},
     {},
     kAcl,
     nullptr,
     StoreKey},
};

}  // namespace

std::span<const Command> SortCommands() { return kCommands; }

}  // namespace thermocline
