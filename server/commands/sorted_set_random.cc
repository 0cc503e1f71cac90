// ZRANDMEMBER.

#include <algorithm>
#include <unordered_set>

#include "engine/sorted_set_range.h"
#include "server/commands/common.h"
#include "server/commands/sorted_sets.h"

namespace thermocline {

namespace {

/// Of a large cold set so many random members are sought one by one; for more, a reader goes over all of it.
constexpr uint64_t kSeekMax = 128;
/// How many random places of a set a reader thread fills in one pass.
constexpr uint64_t kPassMax = 1 << 20;

/// splitmix64: small, and the same for every run of one request, so that a command which waits for a random
/// row asks for the same one again.
class Random {
 public:
  explicit Random(const CommandContext& c)
      : state_(c.client.last_active_us * 0x9e3779b97f4a7c15ULL ^ c.client.id << 48 ^
               reinterpret_cast<uintptr_t>(c.args.data())) {}
  uint64_t Next() {
    uint64_t z = state_ += 0x9e3779b97f4a7c15ULL;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
    return z ^ z >> 31;
  }
  uint64_t Below(uint64_t n) { return Next() % n; }

 private:
  uint64_t state_;
};

struct RandomQuery {
  bool distinct = false;
  bool with_scores = false;
  uint64_t count = 0;
};

// ---- On the keyspace thread ----

/// Different ranks below `all`, in random order (Floyd's sampling).
std::vector<uint64_t> DistinctRanks(Random& random, uint64_t count, uint64_t all) {
  std::vector<uint64_t> ranks;
  std::unordered_set<uint64_t> seen;
  for (uint64_t i = all - count; i < all; ++i) {
    uint64_t rank = random.Below(i + 1);
    if (!seen.insert(rank).second) seen.insert(rank = i);
    ranks.push_back(rank);
    std::swap(ranks.back(), ranks[random.Below(ranks.size())]);
  }
  return ranks;
}

void ReplyByRank(CommandContext& c, Object* object, const RandomQuery& query) {
  const uint64_t all = object->rows->body.count;
  Random random(c);
  MemberWriter writer(c.reply, query.with_scores);
  writer.Header(query.count);
  const auto write = [&](uint64_t rank) {
    writer.Member(DecodeScoreKey(MemberAt(c.txn, object, rank).key()));
  };
  if (query.distinct) {
    for (const uint64_t rank : DistinctRanks(random, query.count, all)) write(rank);
  } else {
    for (uint64_t i = 0; i < query.count; ++i) write(random.Below(all));
  }
}

/// A few members of a large set that is not in RAM. One that was drawn before makes way for one behind it.
void ReplyBySeeking(CommandContext& c, Object* object, const RandomQuery& query) {
  Random random(c);
  std::unordered_set<std::string> seen;
  MemberWriter writer(c.reply, query.with_scores);
  writer.Header(query.count);
  for (uint64_t i = 0; i < query.count; ++i) {
    Txn::Cursor row = c.txn.RandomRow(object, RowSpace::kScores, random.Next());
    while (query.distinct && !seen.emplace(row.key()).second) {
      row.Next();
      if (!row.valid()) row = FirstMember(c.txn, object);
    }
    writer.Member(DecodeScoreKey(row.key()));
  }
}

// ---- On a reader thread ----

/// Different members, each set of them with the same chance (Knuth's algorithm S).
Status SampleDistinct(const SnapshotView& view, uint64_t id, uint64_t all, const RandomQuery& query,
                      Random random, ReplyWriter& reply) {
  LateHeader header(reply, query.with_scores);
  MemberWriter writer(reply, query.with_scores);
  uint64_t left = all, sent = 0;
  Status status = view.ForEachRow(id, RowSpace::kScores, {}, std::nullopt, /*forward=*/true,
                                  [&](std::string_view key, std::string_view) {
                                    if (left > 0 && random.Below(left--) < query.count - sent) {
                                      writer.Member(DecodeScoreKey(key));
                                      ++sent;
                                    }
                                    return sent < query.count;
                                  });
  header.Finish(sent);
  return status;
}

/// Members with repetitions: random places, filled in during passes over the set.
Status SampleAny(const SnapshotView& view, uint64_t id, uint64_t all, const RandomQuery& query, Random random,
                 ReplyWriter& reply) {
  LateHeader header(reply, query.with_scores);
  MemberWriter writer(reply, query.with_scores);
  uint64_t sent = 0;
  while (sent < query.count) {
    std::vector<OwnedMember> members(std::min(kPassMax, query.count - sent));
    std::vector<std::pair<uint64_t, size_t>> places;
    for (size_t i = 0; i < members.size(); ++i) places.emplace_back(random.Below(all), i);
    std::sort(places.begin(), places.end());
    size_t filled = 0;
    uint64_t rank = 0;
    Status status =
        view.ForEachRow(id, RowSpace::kScores, {}, std::nullopt, /*forward=*/true,
                        [&](std::string_view key, std::string_view) {
                          for (; filled < places.size() && places[filled].first == rank; ++filled) {
                            const ScoredMember member = DecodeScoreKey(key);
                            members[places[filled].second] = {member.score, std::string(member.member)};
                          }
                          ++rank;
                          return filled < places.size();
                        });
    if (!status.ok()) return status;
    if (filled < places.size()) return Code::kCorruption;  // fewer rows than the count says
    for (const OwnedMember& member : members) writer.Member({member.score, member.member});
    sent += members.size();
  }
  header.Finish(sent);
  return {};
}

void OffloadSample(CommandContext& c, const Object* object, const RandomQuery& query) {
  c.OffloadReply([id = object->rows->id, all = object->rows->body.count, query, random = Random(c)](
                     const SnapshotView& view, ReplyWriter& reply) {
    return query.distinct ? SampleDistinct(view, id, all, query, random, reply)
                          : SampleAny(view, id, all, query, random, reply);
  });
}

void ReplySample(CommandContext& c, Object* object, const RandomQuery& query) {
  const bool spread = object->rows->id != 0;
  if (spread && c.ShouldOffload(query.count)) return OffloadSample(c, object, query);
  if (RanksAtHand(c.txn, object) || !c.ShouldOffload(object->rows->body.count)) {
    return ReplyByRank(c, object, query);
  }
  if (query.count <= kSeekMax) return ReplyBySeeking(c, object, query);
  OffloadSample(c, object, query);
}

}  // namespace

void ZRandMember(CommandContext& c) {
  int64_t count = 1;
  const bool counted = c.args.size() > 2;
  RandomQuery query;
  if (counted) {
    if (!ReadInteger(c, c.args[2], &count)) return;
    if (count == INT64_MIN) {
      return c.reply.Error(
          "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807");
    }
    if (c.args.size() > 4 || (c.args.size() == 4 && !EqualIgnoreCase(c.args[3], "withscores"))) {
      return c.reply.Error(error_text::kSyntax);
    }
    query.with_scores = c.args.size() == 4;
    if (query.with_scores && (count < -(INT64_MAX / 2) || count > INT64_MAX / 2)) {
      return c.reply.Error("ERR value is out of range");
    }
  }
  Object* object;
  if (!FindObject(c, c.args[1], ObjectType::kSortedSet, &object)) return;
  if (!counted) {
    if (object == nullptr) return c.reply.Null();
    const Txn::Cursor row = c.txn.RandomRow(object, RowSpace::kScores, Random(c).Next());
    return c.reply.Bulk(DecodeScoreKey(row.key()).member);
  }
  if (object == nullptr || count == 0) return c.reply.ArrayHeader(0);
  query.distinct = count > 0;
  query.count = static_cast<uint64_t>(count > 0 ? count : -count);
  if (query.distinct && query.count >= object->rows->body.count) {
    return ReplyAllMembers(c, object, query.with_scores);
  }
  ReplySample(c, object, query);
}

}  // namespace thermocline
