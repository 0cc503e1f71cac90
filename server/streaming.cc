// Long replies: read in pieces on reader threads, each when the client has taken the one before it.

#include "server/command.h"
#include "server/error_reply.h"
#include "server/server.h"

namespace thermocline {

void CommandContext::StreamRows(RowsReply rows_reply) {
  auto made = std::make_shared<RowsReply>(std::move(rows_reply));
  wanted.piece = [made, announced = false](const SnapshotView& view, ReplyWriter& to,
                                           bool* more) mutable -> Status {
    if (!announced) {
      if (!made->count.has_value()) {
        const Result<uint64_t> count = made->rows.Count(view);
        if (!count.ok()) return count.status();
        made->count = *count;
      }
      made->header(to, *made->count);
      announced = true;
    }
    const Status status = made->rows.Next(view, [&](std::string_view key, std::string_view value) {
      made->row(to, key, value);
      return to.buffer().size() < kReplyPieceBytes;
    });
    if (!status.ok()) return status;
    *more = !made->rows.ended();
    if (!*more && made->rows.visited() != *made->count) {
      return {Code::kCorruption, "an object's rows are not as many as its count"};
    }
    return {};
  };
}

void CommandContext::Stream(PieceOfReply piece) {
  if (can_offload) {
    wanted.piece = std::move(piece);
    return;
  }
  OffloadReply([piece = std::move(piece)](const SnapshotView& view, ReplyWriter& reply) -> Status {
    for (bool more = true; more;) {
      if (Status s = piece(view, reply, &more); !s.ok()) return s;
    }
    return {};
  });
}

/// The command's reply is written piece by piece; after the last one the command is through.
void Server::StartStream(Client& client, PieceOfReply piece) {
  auto stream = std::make_shared<ReplyStream>();
  const auto read = [stream, protocol = client.protocol, piece = std::move(piece)](const SnapshotView& view) {
    ReplyWriter writer(stream->piece, protocol);
    bool more = false;
    stream->status = piece(view, writer, &more);
    return more && stream->status.ok();
  };
  // When the commit before it is stalled, the command begins again afterwards.
  if (!keyspace_->OffloadPieces(client, client.db, read, [this, &client] { SendPiece(client); })) return;
  client.stream = stream;
  client.offload_finish = [this, &client, stream](ReplyWriter& reply) {
    if (stream->status.ok()) return reply.Append(std::move(stream->piece));
    NoteReadFailure("a long reply", stream->status);
    if (stream->begun) {
      client.close_now = true;
    } else {
      WriteError(reply, stream->status);
    }
  };
}

/// A piece that is not the last has been read.
void Server::SendPiece(Client& client) {
  ReplyStream& stream = *client.stream;
  if (client.close_now) return keyspace_->EndPieces(client);
  stream.begun = true;
  if (client.reply_mode == ReplyMode::kOn) {
    if (!client.held) AddToTurn(client);
    ReplyWriter(client.output(), client.protocol).Append(std::move(stream.piece));
    client.BeginTurn();  // should the turn's commit fail: this is no part of it
  }
  stream.piece.clear();
  stream.waits = true;
  stream.progress_us = turn_us_;
  if (client.reply_mode != ReplyMode::kOn) GoOnStreaming(client);
}

/// After something was sent to the client.
void Server::GoOnStreaming(Client& client) {
  if (client.stream == nullptr || !client.stream->waits || client.close_now) return;
  if (client.unsent_bytes() > kReplyPieceBytes) return;
  client.stream->waits = false;
  keyspace_->NextPiece(client);
}

void Server::EndStream(Client& client) {
  if (client.stream == nullptr) return;
  client.output().append(client.stream->behind);
  client.stream = nullptr;
}

}  // namespace thermocline
