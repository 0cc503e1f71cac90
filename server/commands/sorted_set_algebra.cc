// ZUNION, ZINTER, ZDIFF, their STORE forms, ZINTERCARD.

#include "engine/sorted_set_algebra.h"

#include <memory>

#include "server/commands/common.h"
#include "server/commands/sorted_sets.h"

namespace thermocline {

namespace {

/// What the command's name says.
struct AlgebraForm {
  SetOperation operation;
  bool store = false;
  bool count_only = false;
  const char* event = "";  ///< of a STORE form
};

struct AlgebraQuery {
  SetAlgebra algebra;
  bool with_scores = false;
};

bool ReadSources(CommandContext& c, size_t at, SetAlgebra* algebra) {
  int64_t count;
  if (!ReadInteger(c, c.args[at], &count)) return false;
  if (count < 1) {
    c.reply.Error("ERR at least 1 input key is needed for '" + std::string(c.command.name) + "' command");
    return false;
  }
  if (static_cast<uint64_t>(count) > c.args.size() - at - 1) {
    c.reply.Error(error_text::kSyntax);
    return false;
  }
  const auto keys = c.args.subspan(at + 1, static_cast<size_t>(count));
  c.txn.Prefetch(keys);
  for (const std::string_view key : keys) {
    Object* object = c.txn.Find(key);
    if (object != nullptr && object->type != ObjectType::kSortedSet && object->type != ObjectType::kSet) {
      WriteError(c.reply, Code::kWrongType);
      return false;
    }
    algebra->sources.push_back(MakeSource(object, 1));
  }
  return true;
}

bool ReadWeights(CommandContext& c, size_t at, SetAlgebra* algebra) {
  for (AlgebraSource& source : algebra->sources) {
    if (!ParseDouble(c.args[at++], &source.weight)) {
      c.reply.Error("ERR weight value is not a float");
      return false;
    }
  }
  return true;
}

bool ReadAlgebraQuery(CommandContext& c, const AlgebraForm& form, AlgebraQuery* query) {
  SetAlgebra& algebra = query->algebra;
  algebra.operation = form.operation;
  const size_t count_at = form.store ? 2 : 1;
  if (!ReadSources(c, count_at, &algebra)) return false;
  const bool scored = form.operation != SetOperation::kDifference && !form.count_only;
  for (size_t i = count_at + 1 + algebra.sources.size(); i < c.args.size(); ++i) {
    const size_t behind = c.args.size() - i - 1;
    if (scored && behind >= algebra.sources.size() && EqualIgnoreCase(c.args[i], "weights")) {
      if (!ReadWeights(c, i + 1, &algebra)) return false;
      i += algebra.sources.size();
    } else if (scored && behind >= 1 && EqualIgnoreCase(c.args[i], "aggregate")) {
      const std::string_view how = c.args[++i];
      if (EqualIgnoreCase(how, "sum")) {
        algebra.aggregate = ScoreAggregate::kSum;
      } else if (EqualIgnoreCase(how, "min")) {
        algebra.aggregate = ScoreAggregate::kMin;
      } else if (EqualIgnoreCase(how, "max")) {
        algebra.aggregate = ScoreAggregate::kMax;
      } else {
        c.reply.Error(error_text::kSyntax);
        return false;
      }
    } else if (!form.store && !form.count_only && EqualIgnoreCase(c.args[i], "withscores")) {
      query->with_scores = true;
    } else if (form.count_only && behind >= 1 && EqualIgnoreCase(c.args[i], "limit")) {
      int64_t limit;
      if (!ParseInt64(c.args[++i], &limit) || limit < 0) {
        c.reply.Error("ERR LIMIT can't be negative");
        return false;
      }
      algebra.count_max = limit == 0 ? ~uint64_t{0} : static_cast<uint64_t>(limit);
    } else {
      c.reply.Error(error_text::kSyntax);
      return false;
    }
  }
  return true;
}

void WriteResult(ReplyWriter& reply, const std::vector<OwnedMember>& members, const AlgebraForm& form,
                 bool with_scores) {
  if (form.count_only) return reply.Integer(static_cast<int64_t>(members.size()));
  MemberWriter writer(reply, with_scores);
  writer.Header(members.size());
  for (const OwnedMember& member : members) writer.Member({member.score, member.member});
}

/// What a reader thread finds for a STORE form; used if the inputs are as they were.
struct PreparedStore {
  SetAlgebra algebra;
  Result<std::vector<OwnedMember>> members = std::vector<OwnedMember>();
};

void PrepareStore(CommandContext& c, SetAlgebra algebra) {
  Object* largest = nullptr;
  for (AlgebraSource& source : algebra.sources) {
    CopyPacked(c.txn, &source);
    if (source.object == nullptr) continue;
    if (largest == nullptr || source.count > largest->rows->body.count) largest = source.object;
  }
  auto state = std::make_shared<PreparedStore>();
  state->algebra = std::move(algebra);
  c.Prepare(largest, state,
            [state](const SnapshotView& view) { state->members = Combine(view, state->algebra); });
}

void AlgebraStore(CommandContext& c, const AlgebraForm& form, SetAlgebra algebra) {
  if (c.prepared != nullptr) {
    const auto state = std::static_pointer_cast<PreparedStore>(c.prepared);
    if (!state->members.ok()) return WriteError(c.reply, state->members.status());
    if (algebra.SameObjects(state->algebra)) return StoreResult(c, c.args[1], *state->members, form.event);
  } else if (c.ShouldOffload(algebra.Cost())) {
    return PrepareStore(c, std::move(algebra));
  }
  StoreResult(c, c.args[1], Combine(c.txn, algebra), form.event);
}

void AlgebraGeneric(CommandContext& c, const AlgebraForm& form) {
  if (form.store) c.txn.Prefetch(c.args.subspan(1, 1));  // or the work would be done twice
  AlgebraQuery query;
  if (!ReadAlgebraQuery(c, form, &query)) return;
  SetAlgebra& algebra = query.algebra;
  if (form.store) return AlgebraStore(c, form, std::move(algebra));
  if (!c.ShouldOffload(algebra.Cost())) {
    return WriteResult(c.reply, Combine(c.txn, algebra), form, query.with_scores);
  }
  for (AlgebraSource& source : algebra.sources) CopyPacked(c.txn, &source);
  c.OffloadReply([algebra = std::move(algebra), form, with_scores = query.with_scores](
                     const SnapshotView& view, ReplyWriter& reply) -> Status {
    const Result<std::vector<OwnedMember>> members = Combine(view, algebra);
    if (!members.ok()) return members.status();
    WriteResult(reply, *members, form, with_scores);
    return {};
  });
}

}  // namespace

void ZUnion(CommandContext& c) { AlgebraGeneric(c, {.operation = SetOperation::kUnion}); }
void ZInter(CommandContext& c) { AlgebraGeneric(c, {.operation = SetOperation::kIntersection}); }
void ZDiff(CommandContext& c) { AlgebraGeneric(c, {.operation = SetOperation::kDifference}); }
void ZUnionStore(CommandContext& c) {
  AlgebraGeneric(c, {.operation = SetOperation::kUnion, .store = true, .event = "zunionstore"});
}
void ZInterStore(CommandContext& c) {
  AlgebraGeneric(c, {.operation = SetOperation::kIntersection, .store = true, .event = "zinterstore"});
}
void ZDiffStore(CommandContext& c) {
  AlgebraGeneric(c, {.operation = SetOperation::kDifference, .store = true, .event = "zdiffstore"});
}
void ZInterCard(CommandContext& c) {
  AlgebraGeneric(c, {.operation = SetOperation::kIntersection, .count_only = true});
}

}  // namespace thermocline
