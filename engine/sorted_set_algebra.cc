#include "engine/sorted_set_algebra.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <optional>
#include <span>
#include <unordered_map>

namespace thermocline {

namespace {

using VisitMember = std::function<bool(const ScoredMember&)>;

/// How the rows of the sources are read: from objects in RAM, or from a snapshot.
class SourceReader {
 public:
  virtual ~SourceReader() = default;
  /// All members until `visit` gives false.
  virtual Status ForEach(const AlgebraSource& source, const VisitMember& visit) = 0;
  /// Whether single members can be looked up.
  virtual bool finds() const = 0;
  virtual void Prefetch(const AlgebraSource& source, std::span<const std::string_view> members) = 0;
  virtual std::optional<double> Find(const AlgebraSource& source, std::string_view member) = 0;
};

/// Where a type keeps its members, and how a row shows one.
RowSpace SpaceOf(ObjectType type) { return type == ObjectType::kSet ? RowSpace::kFields : RowSpace::kScores; }
ScoredMember MemberOf(ObjectType type, std::string_view key) {
  return type == ObjectType::kSet ? ScoredMember{1, key} : DecodeScoreKey(key);
}

class ObjectReader final : public SourceReader {
 public:
  explicit ObjectReader(Txn& txn) : txn_(txn) {}
  Status ForEach(const AlgebraSource& source, const VisitMember& visit) override {
    if (source.object == nullptr) return {};
    Txn::Cursor row = source.type == ObjectType::kSet ? txn_.SeekForward(source.object, RowSpace::kFields, {})
                                                      : FirstMember(txn_, source.object);
    while (row.valid() && visit(MemberOf(source.type, row.key()))) row.Next();
    return {};
  }
  bool finds() const override { return true; }
  void Prefetch(const AlgebraSource& source, std::span<const std::string_view> members) override {
    if (source.object == nullptr || source.object->rows->fields.complete()) return;
    txn_.PrefetchRows(source.object, RowSpace::kFields, members);
  }
  std::optional<double> Find(const AlgebraSource& source, std::string_view member) override {
    if (source.object == nullptr) return std::nullopt;
    if (source.type == ObjectType::kSortedSet) return ScoreOf(txn_, source.object, member);
    if (!txn_.Get(source.object, RowSpace::kFields, member).has_value()) return std::nullopt;
    return 1;
  }

 private:
  Txn& txn_;
};

class SnapshotReader final : public SourceReader {
 public:
  explicit SnapshotReader(const SnapshotView& view) : view_(view) {}
  Status ForEach(const AlgebraSource& source, const VisitMember& visit) override {
    for (const OwnedMember& row : source.packed) {
      if (!visit({row.score, row.member})) return {};
    }
    const RowsOfSpace& rows = source.spread;
    if (rows.object_id == 0) return {};
    return view_.ForEachRow(
        rows.object_id, rows.space, rows.from, rows.to, rows.forward,
        [&](std::string_view key, std::string_view) { return visit(MemberOf(source.type, key)); });
  }
  bool finds() const override { return false; }
  void Prefetch(const AlgebraSource&, std::span<const std::string_view>) override {}
  std::optional<double> Find(const AlgebraSource&, std::string_view) override { return std::nullopt; }

 private:
  const SnapshotView& view_;
};

double OrZero(double score) { return std::isnan(score) ? 0 : score; }

double Aggregate(ScoreAggregate how, double score, double other) {
  switch (how) {
    case ScoreAggregate::kSum: return OrZero(score + other);  // inf and -inf
    case ScoreAggregate::kMin: return other < score ? other : score;
    case ScoreAggregate::kMax: return other > score ? other : score;
  }
  return score;
}

struct TextHash {
  using is_transparent = void;
  size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
};
template <typename Value>
using ByMember = std::unordered_map<std::string, Value, TextHash, std::equal_to<>>;

/// Inputs from the smallest to the largest: sums of floating-point numbers depend on the order.
std::vector<const AlgebraSource*> BySize(const SetAlgebra& algebra) {
  std::vector<const AlgebraSource*> sources;
  for (const AlgebraSource& source : algebra.sources) sources.push_back(&source);
  std::stable_sort(sources.begin(), sources.end(),
                   [](const AlgebraSource* a, const AlgebraSource* b) { return a->count < b->count; });
  return sources;
}

Status Union(SourceReader& reader, const SetAlgebra& algebra, std::vector<OwnedMember>* result) {
  ByMember<double> scores;
  for (const AlgebraSource* source : BySize(algebra)) {
    Status status = reader.ForEach(*source, [&](const ScoredMember& row) {
      const double score = OrZero(row.score * source->weight);
      if (const auto known = scores.find(row.member); known != scores.end()) {
        known->second = Aggregate(algebra.aggregate, known->second, score);
      } else {
        scores.emplace(row.member, score);
      }
      return true;
    });
    if (!status.ok()) return status;
  }
  result->reserve(scores.size());
  while (!scores.empty()) {
    auto node = scores.extract(scores.begin());
    result->push_back({node.mapped(), std::move(node.key())});
  }
  return {};
}

/// The members of one input, and what the others say of them.
class Candidates {
 public:
  Candidates(SourceReader& reader) : reader_(reader) {}

  Status Take(const AlgebraSource& source) {
    source_ = &source;
    rows_.reserve(source.count);
    return reader_.ForEach(source, [&](const ScoredMember& row) {
      rows_.push_back({row.score, std::string(row.member)});
      return true;
    });
  }
  size_t size() const { return rows_.size(); }
  std::vector<OwnedMember>& rows() { return rows_; }

  /// Calls `see(index, score)` with the place of every candidate that `other` has too, and its score there.
  template <typename See>
  Status Match(const AlgebraSource& other, See&& see) {
    if (other.object != nullptr && other.object == source_->object) {
      for (size_t i = 0; i < rows_.size(); ++i) see(i, raw(i));
      return {};
    }
    return reader_.finds() ? LookUp(other, see) : Stream(other, see);
  }
  double raw(size_t i) const { return raw_.empty() ? rows_[i].score : raw_[i]; }
  /// Keeps the scores as they are now for raw(), before they are changed.
  void KeepRaw() {
    for (const OwnedMember& row : rows_) raw_.push_back(row.score);
  }

 private:
  template <typename See>
  Status LookUp(const AlgebraSource& other, See&& see) {
    constexpr size_t kAtOnce = 1024;  // so that a cold input costs few waits
    std::vector<std::string_view> members;
    for (size_t begin = 0; begin < rows_.size(); begin += kAtOnce) {
      const size_t end = std::min(rows_.size(), begin + kAtOnce);
      members.clear();
      for (size_t i = begin; i < end; ++i) members.push_back(rows_[i].member);
      reader_.Prefetch(other, members);
      for (size_t i = begin; i < end; ++i) {
        if (const std::optional<double> score = reader_.Find(other, rows_[i].member)) see(i, *score);
      }
    }
    return {};
  }
  template <typename See>
  Status Stream(const AlgebraSource& other, See&& see) {
    if (index_.empty()) {
      index_.reserve(rows_.size());
      for (size_t i = 0; i < rows_.size(); ++i) index_.emplace(rows_[i].member, i);
    }
    return reader_.ForEach(other, [&](const ScoredMember& row) {
      if (const auto found = index_.find(row.member); found != index_.end()) see(found->second, row.score);
      return true;
    });
  }

  SourceReader& reader_;
  const AlgebraSource* source_ = nullptr;
  std::vector<OwnedMember> rows_;
  std::vector<double> raw_;
  std::unordered_map<std::string_view, size_t> index_;
};

Status Intersect(SourceReader& reader, const SetAlgebra& algebra, std::vector<OwnedMember>* result) {
  const std::vector<const AlgebraSource*> sources = BySize(algebra);
  if (sources[0]->count == 0) return {};
  Candidates candidates(reader);
  if (Status status = candidates.Take(*sources[0]); !status.ok()) return status;
  candidates.KeepRaw();
  std::vector<OwnedMember>& rows = candidates.rows();
  for (OwnedMember& row : rows) row.score = OrZero(row.score * sources[0]->weight);
  std::vector<size_t> seen_in(rows.size(), 1);
  for (size_t s = 1; s < sources.size(); ++s) {
    Status status = candidates.Match(*sources[s], [&](size_t i, double score) {
      if (seen_in[i] != s) return;  // an earlier input lacks it
      ++seen_in[i];
      rows[i].score = Aggregate(algebra.aggregate, rows[i].score, score * sources[s]->weight);
    });
    if (!status.ok()) return status;
  }
  for (size_t i = 0; i < rows.size() && result->size() < algebra.count_max; ++i) {
    if (seen_in[i] == sources.size()) result->push_back(std::move(rows[i]));
  }
  return {};
}

Status Subtract(SourceReader& reader, const SetAlgebra& algebra, std::vector<OwnedMember>* result) {
  Candidates candidates(reader);
  if (Status status = candidates.Take(algebra.sources[0]); !status.ok()) return status;
  std::vector<bool> gone(candidates.size());
  for (size_t s = 1; s < algebra.sources.size(); ++s) {
    Status status = candidates.Match(algebra.sources[s], [&](size_t i, double) { gone[i] = true; });
    if (!status.ok()) return status;
  }
  for (size_t i = 0; i < candidates.size(); ++i) {
    if (!gone[i]) result->push_back(std::move(candidates.rows()[i]));
  }
  return {};
}

Status Run(SourceReader& reader, const SetAlgebra& algebra, std::vector<OwnedMember>* result) {
  Status status;
  switch (algebra.operation) {
    case SetOperation::kUnion: status = Union(reader, algebra, result); break;
    case SetOperation::kIntersection: status = Intersect(reader, algebra, result); break;
    case SetOperation::kDifference: status = Subtract(reader, algebra, result); break;
  }
  std::sort(result->begin(), result->end(), [](const OwnedMember& a, const OwnedMember& b) {
    return a.score != b.score ? a.score < b.score : a.member < b.member;
  });
  return status;
}

}  // namespace

AlgebraSource MakeSource(Object* object, double weight) {
  AlgebraSource source;
  source.object = object;
  source.weight = weight;
  if (object == nullptr) return source;
  source.type = object->type;
  source.count = object->rows->body.count;
  source.version = object->rows->version;
  source.spread = RowsOf(object, SpaceOf(object->type));
  return source;
}

void CopyPacked(Txn& txn, AlgebraSource* source) {
  if (source->object == nullptr || source->spread.object_id != 0) return;
  ObjectReader(txn)
      .ForEach(*source,
               [&](const ScoredMember& row) {
                 source->packed.push_back({row.score, std::string(row.member)});
                 return true;
               })
      .Ignore();  // a packed object is all in RAM
}

uint64_t SetAlgebra::Cost() const {
  uint64_t all = 0, smallest = ~uint64_t{0};
  for (const AlgebraSource& source : sources) {
    all += source.count;
    smallest = std::min(smallest, source.count);
  }
  switch (operation) {
    case SetOperation::kUnion: return all;
    case SetOperation::kIntersection: return smallest * sources.size();
    case SetOperation::kDifference: return sources[0].count * sources.size();
  }
  return all;
}

bool SetAlgebra::SameObjects(const SetAlgebra& other) const {
  return std::equal(sources.begin(), sources.end(), other.sources.begin(), other.sources.end(),
                    [](const AlgebraSource& a, const AlgebraSource& b) {
                      return (a.object == nullptr) == (b.object == nullptr) && a.version == b.version;
                    });
}

std::vector<OwnedMember> Combine(Txn& txn, const SetAlgebra& algebra) {
  std::vector<OwnedMember> result;
  ObjectReader reader(txn);
  Run(reader, algebra, &result).Ignore();  // objects give no errors but by unwinding
  return result;
}

Result<std::vector<OwnedMember>> Combine(const SnapshotView& view, const SetAlgebra& algebra) {
  std::vector<OwnedMember> result;
  SnapshotReader reader(view);
  if (Status status = Run(reader, algebra, &result); !status.ok()) return status;
  return result;
}

}  // namespace thermocline
