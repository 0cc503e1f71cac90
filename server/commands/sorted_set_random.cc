// ZRANDMEMBER.

#include "engine/random_rows.h"
#include "engine/sorted_set_range.h"
#include "server/commands/common.h"
#include "server/commands/sorted_sets.h"

namespace thermocline {

namespace {

void ReplySample(CommandContext& c, Object* object, const RowDraw& draw, bool with_scores) {
  if (c.ShouldOffload(draw.count) ||
      (c.can_offload && DrawNeedsWholeSpace(object, RowSpace::kScores, draw))) {
    return c.OffloadReply([source = RowSource(object, RowSpace::kScores), draw, with_scores,
                           random = c.txn.random()](const SnapshotView& view, ReplyWriter& reply) {
      MemberWriter writer(reply, with_scores);
      writer.Header(draw.count);
      return DrawRows(view, source, draw, random,
                      [&](std::string_view key, std::string_view) { writer.Member(DecodeScoreKey(key)); });
    });
  }
  MemberWriter writer(c.reply, with_scores);
  writer.Header(draw.count);
  DrawRows(c.txn, object, RowSpace::kScores, draw,
           [&](std::string_view key, std::string_view) { writer.Member(DecodeScoreKey(key)); });
}

}  // namespace

void ZRandMember(CommandContext& c) {
  int64_t count = 1;
  const bool counted = c.args.size() > 2;
  bool with_scores = false;
  if (counted) {
    if (!ReadInteger(c, c.args[2], &count)) return;
    if (count == INT64_MIN) {
      return c.reply.Error(
          "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807");
    }
    if (c.args.size() > 4 || (c.args.size() == 4 && !EqualIgnoreCase(c.args[3], "withscores"))) {
      return c.reply.Error(error_text::kSyntax);
    }
    with_scores = c.args.size() == 4;
    if (with_scores && (count < -(INT64_MAX / 2) || count > INT64_MAX / 2)) {
      return c.reply.Error("ERR value is out of range");
    }
  }
  Object* object;
  if (!FindObject(c, c.args[1], ObjectType::kSortedSet, &object)) return;
  if (!counted) {
    if (object == nullptr) return c.reply.Null();
    return DrawRows(c.txn, object, RowSpace::kScores, {}, [&](std::string_view key, std::string_view) {
      c.reply.Bulk(DecodeScoreKey(key).member);
    });
  }
  if (object == nullptr || count == 0) return c.reply.ArrayHeader(0);
  const RowDraw draw{.count = static_cast<uint64_t>(count > 0 ? count : -count), .distinct = count > 0};
  if (draw.distinct && draw.count >= object->rows->body.count) return ReplyAllMembers(c, object, with_scores);
  ReplySample(c, object, draw, with_scores);
}

}  // namespace thermocline
