#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "engine/sorted_set_range.h"
#include "server/command.h"

/// What the files of the sorted set family share. The rows of all commands are in sorted_sets.cc.
namespace thermocline {

/// Writes members, with their scores where that is asked for. RESP3 then has an array of pairs, RESP2 one
/// flat array.
class MemberWriter {
 public:
  MemberWriter(ReplyWriter& reply, bool with_scores) : reply_(reply), with_scores_(with_scores) {}
  void Header(uint64_t members) { reply_.ArrayHeader(members << (with_scores_ && !reply_.resp3())); }
  void Member(const ScoredMember& member) {
    if (with_scores_ && reply_.resp3()) reply_.ArrayHeader(2);
    reply_.Bulk(member.member);
    if (with_scores_) reply_.Double(member.score);
  }

 private:
  ReplyWriter& reply_;
  const bool with_scores_;
};

/// Writes an array of members whose number is known only at the end: the header is put in before them.
class LateHeader {
 public:
  LateHeader(ReplyWriter& reply, bool with_scores)
      : reply_(reply), with_scores_(with_scores), from_(reply.buffer().size()) {}
  void Finish(uint64_t members) {
    std::string header;
    ReplyWriter header_reply(header, reply_.resp3() ? 3 : 2);
    MemberWriter(header_reply, with_scores_).Header(members);
    reply_.buffer().insert(from_, header);
  }
  /// Takes back what was written.
  void Drop() { reply_.buffer().resize(from_); }

 private:
  ReplyWriter& reply_;
  const bool with_scores_;
  const size_t from_;
};

/// Puts members into the place of what is at `key` and tells `event`; with none of them the key goes. Writes
/// the reply: how many.
void StoreResult(CommandContext& c, std::string_view key, std::span<const OwnedMember> members,
                 const char* event);

/// The key went with its last member: tells that.
inline void TellGone(CommandContext& c, const Object* object) {
  if (!object->live()) c.txn.Changed(object, EventClass::kGeneric, "del");
}

/// Replies how many rows there are, which a reader thread counts. (sorted_set_ranges.cc)
void OffloadCount(CommandContext& c, RowsOfSpace rows);

/// The reply of ZRANGE 0 -1. (sorted_set_ranges.cc)
void ReplyAllMembers(CommandContext& c, Object* object, bool with_scores);

// sorted_set_ranges.cc
void ZCount(CommandContext& c);
void ZLexCount(CommandContext& c);
void ZRange(CommandContext& c);
void ZRangeStore(CommandContext& c);
void ZRevRange(CommandContext& c);
void ZRangeByScore(CommandContext& c);
void ZRevRangeByScore(CommandContext& c);
void ZRangeByLex(CommandContext& c);
void ZRevRangeByLex(CommandContext& c);
void ZRemRangeByRank(CommandContext& c);
void ZRemRangeByScore(CommandContext& c);
void ZRemRangeByLex(CommandContext& c);

// sorted_set_algebra.cc
void ZUnion(CommandContext& c);
void ZInter(CommandContext& c);
void ZDiff(CommandContext& c);
void ZUnionStore(CommandContext& c);
void ZInterStore(CommandContext& c);
void ZDiffStore(CommandContext& c);
void ZInterCard(CommandContext& c);

// sorted_set_random.cc
void ZRandMember(CommandContext& c);

}  // namespace thermocline
