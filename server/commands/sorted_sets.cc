// Sorted sets: members one by one, pops, ZSCAN, and the rows of the whole family. Ranges, unions and random
// members are in sorted_set_*.cc. The type itself is engine/sorted_set.h.

#include "server/commands/sorted_sets.h"

#include <array>
#include <cmath>

#include "engine/collection.h"
#include "server/commands/common.h"
#include "server/commands/scan.h"

namespace thermocline {

void StoreResult(CommandContext& c, std::string_view key, std::span<const OwnedMember> members,
                 const char* event) {
  if (members.empty()) {
    if (Object* object = c.txn.Find(key)) {
      c.txn.Remove(object);
      c.txn.Changed(object, EventClass::kGeneric, "del");
    }
  } else {
    Object* object = c.txn.ForWrite(key);
    StoreMembers(c.txn, object, members);
    c.txn.Changed(object, EventClass::kSortedSet, event);
  }
  c.reply.Integer(static_cast<int64_t>(members.size()));
}

namespace {

// ---- ZADD, ZINCRBY, ZREM ----

struct AddArguments {
  AddOptions options;
  bool count_changed = false;  ///< CH
  size_t pairs_at = 2;
};

bool ReadAddOptions(CommandContext& c, AddArguments* add) {
  AddOptions& options = add->options;
  for (; add->pairs_at < c.args.size(); ++add->pairs_at) {
    const std::string_view option = c.args[add->pairs_at];
    if (EqualIgnoreCase(option, "nx")) {
      options.only_new = true;
    } else if (EqualIgnoreCase(option, "xx")) {
      options.only_existing = true;
    } else if (EqualIgnoreCase(option, "ch")) {
      add->count_changed = true;
    } else if (EqualIgnoreCase(option, "incr")) {
      options.increment = true;
    } else if (EqualIgnoreCase(option, "gt")) {
      options.only_greater = true;
    } else if (EqualIgnoreCase(option, "lt")) {
      options.only_less = true;
    } else {
      break;
    }
  }
  const size_t rest = c.args.size() - add->pairs_at;
  std::string_view error;
  if (rest == 0 || rest % 2 != 0) {
    error = error_text::kSyntax;
  } else if (options.only_new && options.only_existing) {
    error = "ERR XX and NX options at the same time are not compatible";
  } else if (options.only_new + options.only_greater + options.only_less > 1) {
    error = "ERR GT, LT, and/or NX options at the same time are not compatible";
  } else if (options.increment && rest > 2) {
    error = "ERR INCR option supports a single increment-element pair";
  }
  if (error.empty()) return true;
  c.reply.Error(error);
  return false;
}

/// The members of `score member score member ...`.
void PrefetchPairs(CommandContext& c, Object* object, std::span<const std::string_view> pairs) {
  if (object->rows->fields.complete() || pairs.size() <= 2) return;
  std::vector<std::string_view> members;
  for (size_t i = 1; i < pairs.size(); i += 2) members.push_back(pairs[i]);
  PrefetchScores(c.txn, object, members);
}

void AddGeneric(CommandContext& c, AddArguments add) {
  if (!ReadAddOptions(c, &add)) return;
  const auto pairs = c.args.subspan(add.pairs_at);
  std::array<double, 8> few;
  std::vector<double> many;
  std::span<double> scores(few);
  if (pairs.size() / 2 > few.size()) {
    many.resize(pairs.size() / 2);
    scores = many;
  }
  for (size_t i = 0; i < pairs.size() / 2; ++i) {
    if (!ParseDouble(pairs[2 * i], &scores[i])) return c.reply.Error(error_text::kNotFloat);
  }
  const Result<Object*> found = add.options.only_existing ? c.txn.Find(c.args[1], ObjectType::kSortedSet)
                                                          : c.txn.ForWrite(c.args[1], ObjectType::kSortedSet);
  if (!found.ok()) return WriteError(c.reply, found.status());
  Object* object = *found;
  const bool increment = add.options.increment;
  if (object == nullptr) return increment ? c.reply.Null() : c.reply.Integer(0);
  if (object->live()) {
    PrefetchPairs(c, object, pairs);
  } else {
    c.txn.MakeRows(object, ObjectType::kSortedSet);
  }
  SortedSetEdit edit(c.txn, object);
  int64_t added = 0, updated = 0;
  AddOutcome outcome = AddOutcome::kNothing;
  for (size_t i = 0; i < pairs.size() / 2; ++i) {
    outcome = edit.Add(pairs[2 * i + 1], add.options, &scores[i]);
    if (outcome == AddOutcome::kNan) return c.reply.Error("ERR resulting score is not a number (NaN)");
    added += outcome == AddOutcome::kAdded;
    updated += outcome == AddOutcome::kUpdated;
  }
  edit.Finish();
  if (added + updated > 0) c.txn.Changed(object, EventClass::kSortedSet, increment ? "zincr" : "zadd");
  if (!increment) return c.reply.Integer(add.count_changed ? added + updated : added);
  outcome == AddOutcome::kNothing ? c.reply.Null() : c.reply.Double(scores[0]);
}

void ZAdd(CommandContext& c) { AddGeneric(c, {}); }
void ZIncrBy(CommandContext& c) { AddGeneric(c, {.options = {.increment = true}}); }

void ZRem(CommandContext& c) {
  Object* object;
  if (!FindObject(c, c.args[1], ObjectType::kSortedSet, &object)) return;
  if (object == nullptr) return c.reply.Integer(0);
  const auto members = c.args.subspan(2);
  PrefetchScores(c.txn, object, members);
  SortedSetEdit edit(c.txn, object);
  int64_t removed = 0;
  for (size_t i = 0; i < members.size() && edit.count() > 0; ++i) removed += edit.Remove(members[i]);
  edit.Finish();
  if (removed > 0) {
    c.txn.Changed(object, EventClass::kSortedSet, "zrem");
    TellGone(c, object);
  }
  c.reply.Integer(removed);
}

// ---- Look-ups ----

void ZCard(CommandContext& c) {
  Object* object;
  if (!FindObject(c, c.args[1], ObjectType::kSortedSet, &object, Txn::Access::kPick)) return;
  c.reply.Integer(object == nullptr ? 0 : static_cast<int64_t>(CollectionCount(object)));
}

void ZScore(CommandContext& c) {
  Object* object;
  if (!FindObject(c, c.args[1], ObjectType::kSortedSet, &object, Txn::Access::kPick)) return;
  const std::optional<double> score = object == nullptr ? std::nullopt : ScoreOf(c.txn, object, c.args[2]);
  score.has_value() ? c.reply.Double(*score) : c.reply.Null();
}

void ZMScore(CommandContext& c) {
  Object* object;
  if (!FindObject(c, c.args[1], ObjectType::kSortedSet, &object, Txn::Access::kPick)) return;
  const auto members = c.args.subspan(2);
  if (object != nullptr) PrefetchScores(c.txn, object, members);
  c.reply.ArrayHeader(members.size());
  for (const std::string_view member : members) {
    const std::optional<double> score = object == nullptr ? std::nullopt : ScoreOf(c.txn, object, member);
    score.has_value() ? c.reply.Double(*score) : c.reply.Null();
  }
}

void RankGeneric(CommandContext& c, bool reverse) {
  Object* object;
  if (!FindObject(c, c.args[1], ObjectType::kSortedSet, &object)) return;
  if (object == nullptr) return c.reply.Null();
  const std::string_view member = c.args[2];
  const std::optional<double> score = ScoreOf(c.txn, object, member);
  if (!score.has_value()) return c.reply.Null();
  const uint64_t all = object->rows->body.count;
  if (RanksAtHand(c.txn, object) || !c.ShouldOffload(all)) {
    const uint64_t rank = RankOf(c.txn, object, {*score, member});
    return c.reply.Integer(static_cast<int64_t>(reverse ? all - 1 - rank : rank));
  }
  // The order would not fit into RAM well: a reader thread counts the rows on the way to the member.
  RowsOfSpace rows = RowsOf(object, RowSpace::kScores);
  std::string key(ScoreKey(*score, member).view());
  if (reverse) {
    rows.from = key + '\0';
  } else {
    rows.to = std::move(key);
  }
  OffloadCount(c, std::move(rows));
}

void ZRank(CommandContext& c) { RankGeneric(c, /*reverse=*/false); }
void ZRevRank(CommandContext& c) { RankGeneric(c, /*reverse=*/true); }

/// A score as ZSCAN gives it: text in every protocol, and, like Redis's compact form, an integer in full.
void WriteScannedScore(ReplyWriter& reply, double score, bool compact) {
  constexpr double kIntegerMax = INT64_MAX / 2;
  if (compact && score >= -kIntegerMax && score <= kIntegerMax && score == std::floor(score)) {
    return reply.BulkInteger(static_cast<int64_t>(score));
  }
  reply.Bulk(FormatDouble(score));
}

void ZScan(CommandContext& c) {
  const Object* object = c.txn.Find(c.args[1], Txn::Access::kPeek);
  const bool compact = object != nullptr && object->encoding == Encoding::kAuto;
  // In the order of members, not of scores: a member whose score changes meanwhile must not be passed over.
  ScanCollection(c, ObjectType::kSortedSet, RowSpace::kFields, 2,
                 [compact](ReplyWriter& reply, std::string_view member, std::string_view value) {
                   reply.Bulk(member);
                   WriteScannedScore(reply, DecodeScore(value), compact);
                 });
}

// ---- Pops ----

/// Pops and tells so. `write(ScoredMember)` writes the reply's part for one.
template <typename Write>
void PopAndTell(CommandContext& c, Object* object, bool highest, uint64_t count, Write&& write) {
  PopMembers(c.txn, object, highest, count, write);
  c.txn.Changed(object, EventClass::kSortedSet, highest ? "zpopmax" : "zpopmin");
  TellGone(c, object);
}

void PopGeneric(CommandContext& c, bool highest) {
  if (c.args.size() > 3) return c.reply.Error(error_text::kSyntax);
  const bool counted = c.args.size() == 3;
  int64_t count = 1;
  if (counted && (!ParseInt64(c.args[2], &count) || count < 0)) {
    return c.reply.Error("ERR value is out of range, must be positive");
  }
  Object* object;
  if (!FindObject(c, c.args[1], ObjectType::kSortedSet, &object)) return;
  if (object == nullptr || count == 0) return c.reply.ArrayHeader(0);
  const uint64_t popped = std::min(static_cast<uint64_t>(count), object->rows->body.count);
  const bool pairs = counted && c.reply.resp3();
  c.reply.ArrayHeader(pairs ? popped : 2 * popped);
  PopAndTell(c, object, highest, popped, [&](const ScoredMember& member) {
    if (pairs) c.reply.ArrayHeader(2);
    c.reply.Bulk(member.member);
    c.reply.Double(member.score);
  });
}

void ZPopMin(CommandContext& c) { PopGeneric(c, /*highest=*/false); }
void ZPopMax(CommandContext& c) { PopGeneric(c, /*highest=*/true); }

struct PopManyQuery {
  std::span<const std::string_view> keys;
  bool highest = false;
  uint64_t count = 1;
};

/// `numkeys key [key ...] MIN|MAX [COUNT count]`, from argument `at` on.
bool ReadPopMany(CommandContext& c, size_t at, PopManyQuery* query) {
  int64_t keys;
  if (!ParseInt64(c.args[at], &keys) || keys < 1) {
    c.reply.Error("ERR numkeys should be greater than 0");
    return false;
  }
  const size_t rest = c.args.size() - at - 1;
  bool good = static_cast<uint64_t>(keys) < rest, counted = false;
  size_t i = at + 1 + (good ? static_cast<size_t>(keys) : 0);
  if (good) {
    query->keys = c.args.subspan(at + 1, static_cast<size_t>(keys));
    query->highest = EqualIgnoreCase(c.args[i], "max");
    good = query->highest || EqualIgnoreCase(c.args[i], "min");
  }
  for (++i; good && i < c.args.size(); i += 2) {
    good = !counted && EqualIgnoreCase(c.args[i], "count") && i + 1 < c.args.size();
    if (!good) break;
    int64_t count;
    if (!ParseInt64(c.args[i + 1], &count) || count < 1) {
      c.reply.Error("ERR count should be greater than 0");
      return false;
    }
    query->count = static_cast<uint64_t>(count);
    counted = true;
  }
  if (!good) c.reply.Error(error_text::kSyntax);
  return good;
}

/// Pops from the first set that exists. False: there is none, and nothing is written.
bool PopMany(CommandContext& c, const PopManyQuery& query) {
  const std::vector<std::string_view> keys = KeysToTry(c, query.keys);
  c.txn.Prefetch(keys);
  for (const std::string_view key : keys) {
    Object* object;
    if (!FindAwaited(c, key, ObjectType::kSortedSet, &object)) return true;
    if (object == nullptr) continue;
    c.reply.ArrayHeader(2);
    c.reply.Bulk(key);
    c.reply.ArrayHeader(std::min(query.count, object->rows->body.count));
    PopAndTell(c, object, query.highest, query.count, [&](const ScoredMember& member) {
      c.reply.ArrayHeader(2);
      c.reply.Bulk(member.member);
      c.reply.Double(member.score);
    });
    return true;
  }
  return false;
}

void ZMPop(CommandContext& c) {
  PopManyQuery query;
  if (ReadPopMany(c, 1, &query) && !PopMany(c, query)) c.reply.NullArray();
}

// ---- The same, waiting for a member ----

void BlockingPop(CommandContext& c, bool highest) {
  uint64_t timeout_ms;
  if (!ReadBlockTimeout(c, c.args.back(), &timeout_ms)) return;
  const auto keys = c.args.subspan(1, c.args.size() - 2);
  const std::vector<std::string_view> tried = KeysToTry(c, keys);
  c.txn.Prefetch(tried);
  for (const std::string_view key : tried) {
    Object* object;
    if (!FindAwaited(c, key, ObjectType::kSortedSet, &object)) return;
    if (object == nullptr) continue;
    c.reply.ArrayHeader(3);
    c.reply.Bulk(key);
    return PopAndTell(c, object, highest, 1, [&](const ScoredMember& member) {
      c.reply.Bulk(member.member);
      c.reply.Double(member.score);
    });
  }
  c.Block(keys, timeout_ms);
}

void BZPopMin(CommandContext& c) { BlockingPop(c, /*highest=*/false); }
void BZPopMax(CommandContext& c) { BlockingPop(c, /*highest=*/true); }

void BZMPop(CommandContext& c) {
  uint64_t timeout_ms;
  PopManyQuery query;
  if (!ReadBlockTimeout(c, c.args[1], &timeout_ms) || !ReadPopMany(c, 2, &query)) return;
  if (!PopMany(c, query)) c.Block(query.keys, timeout_ms);
}

// ---- The table ----

constexpr auto kGroup = CommandGroup::kSortedSet;

constexpr KeySpec kUpdateKey[] = {{.flags = kKeyRw | kKeyUpdate}};
constexpr KeySpec kIncrementKey[] = {{.flags = kKeyRw | kKeyAccess | kKeyUpdate}};
constexpr KeySpec kDeleteKey[] = {{.flags = kKeyRw | kKeyDelete}};
constexpr KeySpec kPopKey[] = {{.flags = kKeyRw | kKeyAccess | kKeyDelete}};
constexpr KeySpec kLookKey[] = {{.flags = kKeyRo}};
constexpr KeySpec kReadKey[] = {{.flags = kKeyRo | kKeyAccess}};
constexpr KeySpec kRangeStoreKeys[] = {{.flags = kKeyOw | kKeyUpdate},
                                       {.flags = kKeyRo | kKeyAccess, .index = 2}};
constexpr KeySpec kPopKeys[] = {
    {.flags = kKeyRw | kKeyAccess | kKeyDelete, .find = KeySpec::Find::kKeyNumber, .first_key = 1}};
constexpr KeySpec kBlockingPopKeys[] = {{.flags = kKeyRw | kKeyAccess | kKeyDelete,
                                         .index = 2,
                                         .find = KeySpec::Find::kKeyNumber,
                                         .first_key = 1}};
constexpr KeySpec kPopAllButLast[] = {{.flags = kKeyRw | kKeyAccess | kKeyDelete, .last = -2}};
constexpr KeySpec kReadKeys[] = {
    {.flags = kKeyRo | kKeyAccess, .find = KeySpec::Find::kKeyNumber, .first_key = 1}};
constexpr KeySpec kStoreKeys[] = {
    {.flags = kKeyOw | kKeyUpdate},
    {.flags = kKeyRo | kKeyAccess, .index = 2, .find = KeySpec::Find::kKeyNumber, .first_key = 1}};
constexpr std::string_view kRandomTips[] = {"nondeterministic_output"};

constexpr std::string_view kRangeCost =
    "O(log(N)+M) for M members of N; a rank far from both ends of a set that is not in RAM costs O(N) once";

constexpr Command kCommands[] = {
    {"bzmpop", -5, kWrite | kBlocking | kMovableKeys, kGroup, "7.0.0",
     "O(K) + O(M*log(N)) for K keys and M members", "ZMPOP, waiting for a member.", BZMPop, kBlockingPopKeys},
    {"bzpopmax", -3, kWrite | kNoScript | kBlocking | kFast, kGroup, "5.0.0", "O(log(N))",
     "Takes the member with the highest score from the first set that exists, waiting for one.", BZPopMax,
     kPopAllButLast},
    {"bzpopmin", -3, kWrite | kNoScript | kBlocking | kFast, kGroup, "5.0.0", "O(log(N))",
     "Takes the member with the lowest score from the first set that exists, waiting for one.", BZPopMin,
     kPopAllButLast},
    {"zadd", -4, kWrite | kDenyOom | kFast, kGroup, "1.2.0", "O(M*log(N)) for M members into N",
     "Adds members with scores, or changes their scores.", ZAdd, kUpdateKey},
    {"zcard", 2, kReadOnly | kFast, kGroup, "1.2.0", "O(1)", "Counts the members.", ZCard, kLookKey},
    {"zcount", 4, kReadOnly | kFast, kGroup, "2.0.0",
     "O(log(N)) when the set is in RAM, O(M) for M members counted else",
     "Counts the members in a range of scores.", ZCount, kReadKey},
    {"zdiff", -3, kReadOnly | kMovableKeys, kGroup, "6.2.0",
     "O(M*K*log(N)) for M members of the first of K sets", "Gives the members of a set that others lack.",
     ZDiff, kReadKeys},
    {"zdiffstore", -4, kWrite | kDenyOom | kMovableKeys, kGroup, "6.2.0",
     "O(M*K*log(N)) for M members of the first of K sets", "Stores the members of a set that others lack.",
     ZDiffStore, kStoreKeys},
    {"zincrby", 4, kWrite | kDenyOom | kFast, kGroup, "1.2.0", "O(log(N))", "Adds to a member's score.",
     ZIncrBy, kIncrementKey},
    {"zinter", -3, kReadOnly | kMovableKeys, kGroup, "6.2.0",
     "O(M*K*log(N)) for M members of the smallest of K sets", "Gives the members that all sets have.", ZInter,
     kReadKeys},
    {"zintercard", -3, kReadOnly | kMovableKeys, kGroup, "7.0.0",
     "O(M*K*log(N)) for M members of the smallest of K sets", "Counts the members that all sets have.",
     ZInterCard, kReadKeys},
    {"zinterstore", -4, kWrite | kDenyOom | kMovableKeys, kGroup, "2.0.0",
     "O(M*K*log(N)) for M members of the smallest of K sets", "Stores the members that all sets have.",
     ZInterStore, kStoreKeys},
    {"zlexcount", 4, kReadOnly | kFast, kGroup, "2.8.9",
     "O(log(N)) when the set is in RAM, O(M) for M members counted else",
     "Counts the members between two others, all scores being the same.", ZLexCount, kReadKey},
    {"zmpop", -4, kWrite | kMovableKeys, kGroup, "7.0.0", "O(K+M*log(N)) for K keys and M members taken",
     "Takes members from an end of the first set that is there.", ZMPop, kPopKeys},
    {"zmscore", -3, kReadOnly | kFast, kGroup, "6.2.0", "O(M*log(N)) for M members", "Gives members' scores.",
     ZMScore, kReadKey},
    {"zpopmax", -2, kWrite | kFast, kGroup, "5.0.0", "O(M*log(N)) for M members taken",
     "Takes the members with the highest scores.", ZPopMax, kPopKey},
    {"zpopmin", -2, kWrite | kFast, kGroup, "5.0.0", "O(M*log(N)) for M members taken",
     "Takes the members with the lowest scores.", ZPopMin, kPopKey},
    {"zrandmember", -2, kReadOnly, kGroup, "6.2.0",
     "O(M*log(N)) for M members when the set is in RAM, up to O(N) else", "Gives random members.",
     ZRandMember, kReadKey, kRandomTips},
    {"zrange", -4, kReadOnly, kGroup, "1.2.0", kRangeCost, "Gives members by rank, score or name.", ZRange,
     kReadKey},
    {"zrangebylex", -4, kReadOnly, kGroup, "2.8.9", "O(log(N)+M) for M members of N",
     "Gives the members between two others, all scores being the same.", ZRangeByLex, kReadKey},
    {"zrangebyscore", -4, kReadOnly, kGroup, "1.0.5", "O(log(N)+M) for M members of N",
     "Gives the members in a range of scores.", ZRangeByScore, kReadKey},
    {"zrangestore", -5, kWrite | kDenyOom, kGroup, "6.2.0", "O(log(N)+M*log(M)) for M members of N",
     "Stores what ZRANGE gives as a set of its own.", ZRangeStore, kRangeStoreKeys},
    {"zrank", 3, kReadOnly | kFast, kGroup, "2.0.0", "O(log(N)) when the set is in RAM, up to O(N) else",
     "Tells how many members are before one.", ZRank, kReadKey},
    {"zrem", -3, kWrite | kFast, kGroup, "1.2.0", "O(M*log(N)) for M members", "Removes members.", ZRem,
     kDeleteKey},
    {"zremrangebylex", 4, kWrite, kGroup, "2.8.9", "O(log(N)+M*log(N)) for M members removed",
     "Removes the members between two others, all scores being the same.", ZRemRangeByLex, kDeleteKey},
    {"zremrangebyrank", 4, kWrite, kGroup, "2.0.0", "O(log(N)+M*log(N)) for M members removed",
     "Removes members by rank.", ZRemRangeByRank, kDeleteKey},
    {"zremrangebyscore", 4, kWrite, kGroup, "1.2.0", "O(log(N)+M*log(N)) for M members removed",
     "Removes the members in a range of scores.", ZRemRangeByScore, kDeleteKey},
    {"zrevrange", -4, kReadOnly, kGroup, "1.2.0", kRangeCost, "Gives members by rank from the highest score.",
     ZRevRange, kReadKey},
    {"zrevrangebylex", -4, kReadOnly, kGroup, "2.8.9", "O(log(N)+M) for M members of N",
     "Gives the members between two others backwards, all scores being the same.", ZRevRangeByLex, kReadKey},
    {"zrevrangebyscore", -4, kReadOnly, kGroup, "2.2.0", "O(log(N)+M) for M members of N",
     "Gives the members in a range of scores backwards.", ZRevRangeByScore, kReadKey},
    {"zrevrank", 3, kReadOnly | kFast, kGroup, "2.0.0", "O(log(N)) when the set is in RAM, up to O(N) else",
     "Tells how many members are behind one.", ZRevRank, kReadKey},
    {"zscan", -3, kReadOnly, kGroup, "2.8.0", "O(COUNT) per call",
     "Walks over the members, a piece per call.", ZScan, kReadKey, kRandomTips},
    {"zscore", 3, kReadOnly | kFast, kGroup, "1.2.0", "O(log(N))", "Gives a member's score.", ZScore,
     kReadKey},
    {"zunion", -3, kReadOnly | kMovableKeys, kGroup, "6.2.0",
     "O(N*log(N)) for N members of all sets together", "Gives the members of all sets.", ZUnion, kReadKeys},
    {"zunionstore", -4, kWrite | kDenyOom | kMovableKeys, kGroup, "2.0.0",
     "O(N*log(N)) for N members of all sets together", "Stores the members of all sets.", ZUnionStore,
     kStoreKeys},
};

}  // namespace

std::span<const Command> SortedSetCommands() { return kCommands; }

}  // namespace thermocline
