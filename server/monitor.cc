#include "server/monitor.h"

#include <algorithm>

#include <fmt/format.h>

#include "server/client.h"

namespace thermocline {

namespace {

/// Between quotes, with escapes for all that is not printable ASCII.
void AppendQuoted(std::string& out, std::string_view bytes) {
  out += '"';
  for (const char c : bytes) {
    switch (c) {
      case '\\':
      case '"': out.append({'\\', c}); break;
      case '\n': out += "\\n"; break;
      case '\r': out += "\\r"; break;
      case '\t': out += "\\t"; break;
      case '\a': out += "\\a"; break;
      case '\b': out += "\\b"; break;
      default:
        if (c >= ' ' && c <= '~') {
          out += c;
        } else {
          fmt::format_to(std::back_inserter(out), "\\x{:02x}", static_cast<unsigned char>(c));
        }
    }
  }
  out += '"';
}

}  // namespace

void Monitors::Add(Client& client) {
  if (client.monitor) return;
  client.monitor = true;
  clients_.push_back(&client);
}

void Monitors::Remove(Client& client) {
  if (!client.monitor) return;
  client.monitor = false;
  std::erase(clients_, &client);
}

std::string MonitorLine(uint64_t now_us, int db, std::string_view source,
                        std::span<const std::string_view> args) {
  std::string line = fmt::format("+{}.{:06} [{} {}]", now_us / 1000000, now_us % 1000000, db, source);
  for (const std::string_view arg : args) {
    line += ' ';
    AppendQuoted(line, arg);
  }
  line += "\r\n";
  return line;
}

}  // namespace thermocline
