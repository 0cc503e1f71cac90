// The arguments and the walk that SCAN and its kin share.

#include "server/commands/scan.h"

#include <cctype>
#include <cerrno>
#include <cstdlib>

#include "encoding/glob.h"
#include "server/command_table.h"
#include "server/commands/common.h"

namespace thermocline {

bool ParseScanCursor(CommandContext& c, std::string_view text, uint64_t* cursor) {
  // Redis takes what strtoul takes, but no leading space.
  const std::string zero_ended(text);
  char* end = nullptr;
  errno = 0;
  *cursor = std::strtoul(zero_ended.c_str(), &end, 10);
  if (!std::isspace(static_cast<unsigned char>(zero_ended[0])) && *end == '\0' && errno != ERANGE)
    return true;
  c.reply.Error("ERR invalid cursor");
  return false;
}

bool ParseScanOptions(CommandContext& c, size_t first, bool with_type, ScanOptions* options) {
  const auto syntax_error = [&] {
    c.reply.Error(error_text::kSyntax);
    return false;
  };
  for (size_t i = first; i < c.args.size(); i += 2) {
    if (i + 1 == c.args.size()) return syntax_error();
    const std::string_view value = c.args[i + 1];
    if (EqualIgnoreCase(c.args[i], "count")) {
      int64_t count;
      if (!ReadInteger(c, value, &count)) return false;
      if (count < 1) return syntax_error();
      options->count = static_cast<uint64_t>(count);
    } else if (EqualIgnoreCase(c.args[i], "match")) {
      options->match = value;
    } else if (with_type && EqualIgnoreCase(c.args[i], "type")) {
      options->type = value;
    } else {
      return syntax_error();
    }
  }
  return true;
}

bool ScanMatches(const ScanOptions& options, std::string_view text) {
  return !options.match.has_value() || *options.match == "*" || GlobMatch(*options.match, text);
}

void ScanCollection(
    CommandContext& c, ObjectType type, RowSpace space, size_t elements,
    const std::function<void(ReplyWriter&, std::string_view key, std::string_view value)>& write) {
  uint64_t cursor;
  if (!ParseScanCursor(c, c.args[2], &cursor)) return;
  Object* object;
  if (!FindObject(c, c.args[1], type, &object)) return;
  ScanOptions options;
  if (object != nullptr && !ParseScanOptions(c, 3, /*with_type=*/false, &options)) return;
  std::string rows;
  size_t found = 0;
  std::optional<std::string> next;
  if (object != nullptr) {
    ReplyWriter writer(rows, c.client.protocol);
    // A cursor that is not known (any more) begins again: everything is returned at least once all the same.
    const std::string* place = c.server.cursors().Find(cursor);
    const bool whole = object->rows->id == 0;
    uint64_t steps = 0;
    Txn::Cursor row = c.txn.SeekForward(object, space, place == nullptr || whole ? std::string() : *place);
    for (; row.valid(); row.Next()) {
      if (!whole && steps++ == options.count) {
        next = row.key();
        break;
      }
      if (!ScanMatches(options, row.key()) || c.txn.Lingers(object, row.key(), row.value())) continue;
      write(writer, row.key(), row.value());
      ++found;
    }
  }
  c.reply.ArrayHeader(2);
  c.reply.Bulk(next.has_value() ? std::to_string(c.server.cursors().Save(*std::move(next))) : "0");
  c.reply.ArrayHeader(found * elements);
  c.reply.buffer() += rows;
}

}  // namespace thermocline
