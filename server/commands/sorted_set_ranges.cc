// Parts of sorted sets by rank, score or member: ZRANGE and its older forms, ZCOUNT, ZREMRANGEBY*.

#include <cmath>
#include <cstdlib>

#include "engine/sorted_set_range.h"
#include "server/commands/common.h"
#include "server/commands/sorted_sets.h"

namespace thermocline {

namespace {

constexpr uint64_t kLongReadRows = CommandContext::kLongReadRows;
constexpr uint64_t kNoLimit = ~uint64_t{0};

// ---- Arguments ----

/// Redis takes what strtod takes of it up to a zero byte: blanks in front, and the empty text as 0.
bool ParseScoreBound(std::string_view text, double* score, bool* exclusive) {
  *exclusive = text.starts_with('(');
  const std::string number(text.substr(*exclusive));
  char* end = nullptr;
  *score = std::strtod(number.c_str(), &end);
  return *end == '\0' && !std::isnan(*score);
}

bool ReadScoreRange(CommandContext& c, std::string_view min, std::string_view max, ScoreRange* range) {
  if (ParseScoreBound(min, &range->min, &range->min_exclusive) &&
      ParseScoreBound(max, &range->max, &range->max_exclusive)) {
    return true;
  }
  c.reply.Error("ERR min or max is not a float");
  return false;
}

bool ParseLexBound(std::string_view text, LexBound* bound) {
  using Kind = LexBound::Kind;
  if (text.empty()) return false;
  switch (text[0]) {
    case '-':
    case '+':
      bound->kind = text[0] == '-' ? Kind::kLowest : Kind::kHighest;
      return text.size() == 1 || text[1] == '\0';
    case '[':
    case '(':
      bound->kind = text[0] == '[' ? Kind::kInclusive : Kind::kExclusive;
      bound->member = text.substr(1);
      return true;
    default: return false;
  }
}

bool ReadLexRange(CommandContext& c, std::string_view min, std::string_view max, LexRange* range) {
  if (ParseLexBound(min, &range->min) && ParseLexBound(max, &range->max)) return true;
  c.reply.Error("ERR min or max not valid string range item");
  return false;
}

enum class By : uint8_t { kRank, kScore, kLex };

/// What ZRANGE and its kin are asked for.
struct RangeQuery {
  By by = By::kRank;
  bool reverse = false;
  bool with_scores = false;
  int64_t offset = 0;
  int64_t limit = -1;  ///< negative: none
  int64_t start = 0, stop = 0;
  ScoreRange scores;
  LexRange lex;
};

/// What the command's own name says; nullopt: the arguments may say it, once.
struct RangeForm {
  std::optional<By> by;
  std::optional<bool> reverse;
  bool store = false;
};

bool ReadBounds(CommandContext& c, size_t at, RangeQuery* query) {
  std::string_view min = c.args[at], max = c.args[at + 1];
  if (query->by == By::kRank) return ReadInteger(c, min, &query->start) && ReadInteger(c, max, &query->stop);
  if (query->reverse) std::swap(min, max);
  return query->by == By::kScore ? ReadScoreRange(c, min, max, &query->scores)
                                 : ReadLexRange(c, min, max, &query->lex);
}

bool ReadRangeQuery(CommandContext& c, const RangeForm& form, RangeQuery* query) {
  const auto& args = c.args;
  const size_t key = form.store ? 2 : 1;
  std::optional<By> by = form.by;
  std::optional<bool> reverse = form.reverse;
  for (size_t i = key + 3; i < args.size(); ++i) {
    if (!form.store && EqualIgnoreCase(args[i], "withscores")) {
      query->with_scores = true;
    } else if (EqualIgnoreCase(args[i], "limit") && i + 2 < args.size()) {
      if (!ReadInteger(c, args[i + 1], &query->offset) || !ReadInteger(c, args[i + 2], &query->limit))
        return false;
      i += 2;
    } else if (!reverse && EqualIgnoreCase(args[i], "rev")) {
      reverse = true;
    } else if (!by && EqualIgnoreCase(args[i], "bylex")) {
      by = By::kLex;
    } else if (!by && EqualIgnoreCase(args[i], "byscore")) {
      by = By::kScore;
    } else {
      c.reply.Error(error_text::kSyntax);
      return false;
    }
  }
  query->by = by.value_or(By::kRank);
  query->reverse = reverse.value_or(false);
  if (query->limit != -1 && query->by == By::kRank) {
    c.reply.Error("ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX");
    return false;
  }
  if (query->with_scores && query->by == By::kLex) {
    c.reply.Error("ERR syntax error, WITHSCORES not supported in combination with BYLEX");
    return false;
  }
  return ReadBounds(c, key + 1, query);
}

/// `skip`: as LexRun's.
RowRun RunOf(CommandContext& c, Object* object, const RangeQuery& query, uint64_t* skip) {
  return query.by == By::kScore ? ScoreRun(query.scores)
                                : LexRun(c.txn, object, query.lex, query.reverse, skip);
}

// ---- Long replies ----

/// `run.to` is of the scores space. `count`: how many members that will be, if it is known.
void StreamMembers(CommandContext& c, RowsOfSpace rows, bool with_scores, std::optional<uint64_t> count) {
  c.StreamRows(
      {.rows = RowStream(std::move(rows)),
       .count = count,
       .header = [with_scores](ReplyWriter& reply,
                               uint64_t members) { MemberWriter(reply, with_scores).Header(members); },
       .row = [with_scores](
                  ReplyWriter& reply, std::string_view key,
                  std::string_view) { MemberWriter(reply, with_scores).Member(DecodeScoreKey(key)); }});
}

// ---- Replies ----

void ReplyRanks(CommandContext& c, Object* object, const RangeQuery& query) {
  const RankRange ranks = ClampRanks(query.start, query.stop, object->rows->body.count);
  const bool cheap = RanksAtHand(c.txn, object) || NearAnEnd(object, ranks.first);
  if (object->rows->id != 0 &&
      (c.ShouldOffload(ranks.count) || (!cheap && c.ShouldOffload(object->rows->body.count)))) {
    RowsOfSpace rows = RowsOf(object, RowSpace::kScores);
    rows.forward = !query.reverse;
    rows.skip = ranks.first;
    rows.rows_max = ranks.count;
    if (object->rows->scores.complete() && rows.skip > 0) {
      // The reader need not walk to where the ranks begin.
      const uint64_t all = object->rows->body.count;
      const std::string first(
          MemberAt(c.txn, object, query.reverse ? all - 1 - ranks.first : ranks.first).key());
      if (query.reverse) {
        rows.to = first + '\0';
      } else {
        rows.from = first;
      }
      rows.skip = 0;
    }
    return StreamMembers(c, std::move(rows), query.with_scores, ranks.count);
  }
  LateHeader header(c.reply, query.with_scores);
  MemberWriter writer(c.reply, query.with_scores);
  uint64_t sent = 0;
  VisitRanks(c.txn, object, ranks, query.reverse, [&](const ScoredMember& member) {
    writer.Member(member);
    ++sent;
  });
  header.Finish(sent);
}

void ReplyRun(CommandContext& c, Object* object, const RangeQuery& query) {
  MemberWriter writer(c.reply, query.with_scores);
  if (query.offset < 0) return writer.Header(0);
  auto skip = static_cast<uint64_t>(query.offset);
  const RowRun run = RunOf(c, object, query, &skip);
  const uint64_t limit = query.limit < 0 ? kNoLimit : static_cast<uint64_t>(query.limit);
  const auto offload = [&](std::optional<uint64_t> count) {
    RowsOfSpace rows = RowsOf(object, run);
    rows.forward = !query.reverse;
    rows.skip = skip;
    rows.rows_max = limit;
    StreamMembers(c, std::move(rows), query.with_scores, count);
  };
  const bool may_offload = object->rows->id != 0 && c.ShouldOffload(object->rows->body.count);
  const bool complete = object->rows->scores.complete();
  if (may_offload && complete && limit > kLongReadRows) {
    const uint64_t all = *CountRun(c.txn, object, run, kNoLimit);
    const uint64_t count = std::min(limit, all - std::min(skip, all));
    if (c.ShouldOffload(count)) return offload(count);
  }
  if (may_offload && !complete && skip > kLongReadRows) return offload(std::nullopt);
  LateHeader header(c.reply, query.with_scores);
  uint64_t sent = 0;
  bool too_long = false;
  if (limit > 0) {
    VisitRun(c.txn, object, run, query.reverse, skip, [&](const ScoredMember& member) {
      if (may_offload && sent == kLongReadRows) {
        too_long = true;
        return false;
      }
      writer.Member(member);
      return ++sent < limit;
    });
  }
  if (too_long) {
    header.Drop();
    return offload(std::nullopt);
  }
  header.Finish(sent);
}

void RangeGeneric(CommandContext& c, const RangeForm& form) {
  RangeQuery query;
  if (!ReadRangeQuery(c, form, &query)) return;
  Object* object;
  if (!FindObject(c, c.args[1], ObjectType::kSortedSet, &object)) return;
  if (object == nullptr) return c.reply.ArrayHeader(0);
  query.by == By::kRank ? ReplyRanks(c, object, query) : ReplyRun(c, object, query);
}

/// ZCOUNT and ZLEXCOUNT.
void ReplyCount(CommandContext& c, Object* object, const RowRun& run) {
  const bool may_offload = object->rows->id != 0 && c.ShouldOffload(object->rows->body.count);
  const std::optional<uint64_t> count =
      CountRun(c.txn, object, run, may_offload ? kLongReadRows : kNoLimit - 1);
  if (count.has_value()) return c.reply.Integer(static_cast<int64_t>(*count));
  OffloadCount(c, RowsOf(object, run));
}

/// Finishes ZREMRANGEBY*: `removed` members have gone.
void ReplyRemoved(CommandContext& c, const Object* object, uint64_t removed, const char* event) {
  if (removed > 0) {
    c.txn.Changed(object, EventClass::kSortedSet, event);
    TellGone(c, object);
  }
  c.reply.Integer(static_cast<int64_t>(removed));
}

}  // namespace

void OffloadCount(CommandContext& c, RowsOfSpace rows) {
  c.OffloadReply([rows = std::move(rows)](const SnapshotView& view, ReplyWriter& reply) -> Status {
    const Result<uint64_t> count = RowStream(rows).Count(view);
    if (!count.ok()) return count.status();
    reply.Integer(static_cast<int64_t>(*count));
    return {};
  });
}

void ReplyAllMembers(CommandContext& c, Object* object, bool with_scores) {
  ReplyRanks(c, object, {.with_scores = with_scores, .start = 0, .stop = -1});
}

// ---- Commands ----

void ZRange(CommandContext& c) { RangeGeneric(c, {}); }
void ZRevRange(CommandContext& c) { RangeGeneric(c, {.by = By::kRank, .reverse = true}); }
void ZRangeByScore(CommandContext& c) { RangeGeneric(c, {.by = By::kScore, .reverse = false}); }
void ZRevRangeByScore(CommandContext& c) { RangeGeneric(c, {.by = By::kScore, .reverse = true}); }
void ZRangeByLex(CommandContext& c) { RangeGeneric(c, {.by = By::kLex, .reverse = false}); }
void ZRevRangeByLex(CommandContext& c) { RangeGeneric(c, {.by = By::kLex, .reverse = true}); }

void ZRangeStore(CommandContext& c) {
  RangeQuery query;
  if (!ReadRangeQuery(c, {.store = true}, &query)) return;
  c.txn.Prefetch(c.args.subspan(1, 2));
  Object* object;
  if (!FindObject(c, c.args[2], ObjectType::kSortedSet, &object)) return;
  std::vector<OwnedMember> members;
  const auto take = [&](const ScoredMember& member) {
    members.push_back({member.score, std::string(member.member)});
  };
  if (object != nullptr && query.by == By::kRank) {
    VisitRanks(c.txn, object, ClampRanks(query.start, query.stop, object->rows->body.count), query.reverse,
               take);
  } else if (object != nullptr && query.offset >= 0 && query.limit != 0) {
    auto skip = static_cast<uint64_t>(query.offset);
    const RowRun run = RunOf(c, object, query, &skip);
    VisitRun(c.txn, object, run, query.reverse, skip, [&](const ScoredMember& member) {
      take(member);
      return query.limit < 0 || members.size() < static_cast<uint64_t>(query.limit);
    });
  }
  StoreResult(c, c.args[1], members, "zrangestore");
}

void ZCount(CommandContext& c) {
  ScoreRange range;
  if (!ReadScoreRange(c, c.args[2], c.args[3], &range)) return;
  Object* object;
  if (!FindObject(c, c.args[1], ObjectType::kSortedSet, &object)) return;
  if (object == nullptr) return c.reply.Integer(0);
  ReplyCount(c, object, ScoreRun(range));
}

void ZLexCount(CommandContext& c) {
  LexRange range;
  if (!ReadLexRange(c, c.args[2], c.args[3], &range)) return;
  Object* object;
  if (!FindObject(c, c.args[1], ObjectType::kSortedSet, &object)) return;
  if (object == nullptr) return c.reply.Integer(0);
  ReplyCount(c, object, LexRun(c.txn, object, range, /*reverse=*/false));
}

void ZRemRangeByRank(CommandContext& c) {
  int64_t start, stop;
  if (!ReadInteger(c, c.args[2], &start) || !ReadInteger(c, c.args[3], &stop)) return;
  Object* object;
  if (!FindObject(c, c.args[1], ObjectType::kSortedSet, &object)) return;
  if (object == nullptr) return c.reply.Integer(0);
  const RankRange ranks = ClampRanks(start, stop, object->rows->body.count);
  ReplyRemoved(c, object, RemoveRanks(c.txn, object, ranks), "zremrangebyrank");
}

void ZRemRangeByScore(CommandContext& c) {
  ScoreRange range;
  if (!ReadScoreRange(c, c.args[2], c.args[3], &range)) return;
  Object* object;
  if (!FindObject(c, c.args[1], ObjectType::kSortedSet, &object)) return;
  if (object == nullptr) return c.reply.Integer(0);
  ReplyRemoved(c, object, RemoveRun(c.txn, object, ScoreRun(range)), "zremrangebyscore");
}

void ZRemRangeByLex(CommandContext& c) {
  LexRange range;
  if (!ReadLexRange(c, c.args[2], c.args[3], &range)) return;
  Object* object;
  if (!FindObject(c, c.args[1], ObjectType::kSortedSet, &object)) return;
  if (object == nullptr) return c.reply.Integer(0);
  const RowRun run = LexRun(c.txn, object, range, /*reverse=*/false);
  ReplyRemoved(c, object, RemoveRun(c.txn, object, run), "zremrangebylex");
}

}  // namespace thermocline
