// A byte stream must give the same requests whether it arrives at once or in pieces, at a new address each
// time. Input: one byte of limits, one seed byte for the pieces, then the stream.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "encoding/check.h"
#include "server/resp_parser.h"

namespace thermocline {
namespace {

using Request = std::vector<std::string>;

struct Outcome {
  std::vector<Request> requests;
  std::string error;
  bool operator==(const Outcome&) const = default;
};

/// Parses what is whole in `buffer` and returns how much of it that was. False: the stream is broken.
bool Drain(RespParser& parser, std::string_view buffer, const ParseLimits& limits, Outcome& outcome,
           size_t& used) {
  std::vector<std::string_view> args;
  used = 0;
  while (true) {
    const size_t first = args.size();
    size_t consumed = 0;
    const RespParser::Outcome next = parser.Next(buffer.substr(used), limits, args, consumed);
    if (next == RespParser::Outcome::kError) {
      outcome.error = parser.error();
      CHECK(args.size() == first);
      return false;
    }
    if (next == RespParser::Outcome::kNeedMore) {
      CHECK(parser.wanted() > buffer.size() - used);
      CHECK(parser.wanted() <= buffer.size() - used + limits.bulk_bytes_max + 2);
      CHECK(args.size() == first);
      CHECK(consumed == 0);
      return true;
    }
    CHECK(consumed > 0);
    CHECK(consumed <= buffer.size() - used);
    used += consumed;
    Request& request = outcome.requests.emplace_back();
    for (size_t i = first; i < args.size(); i++) request.emplace_back(args[i]);
    parser.ReleaseWords();
  }
}

Outcome ParseAtOnce(std::string_view stream, const ParseLimits& limits) {
  RespParser parser;
  Outcome outcome;
  size_t used = 0;
  Drain(parser, stream, limits, outcome, used);
  return outcome;
}

Outcome ParseInPieces(std::string_view stream, const ParseLimits& limits, uint32_t seed) {
  RespParser parser;
  Outcome outcome;
  std::string pending;
  while (!stream.empty()) {
    seed = seed * 1664525 + 1013904223;
    const size_t piece = std::min<size_t>(stream.size(), 1 + (seed >> 16) % ((seed >> 28) == 0 ? 4096 : 5));
    pending.append(stream.substr(0, piece));
    stream.remove_prefix(piece);
    // An allocation of the exact size, so that ASan sees a read past the end.
    const std::unique_ptr<char[]> exact(new char[pending.size()]);
    std::copy(pending.begin(), pending.end(), exact.get());
    size_t used = 0;
    if (!Drain(parser, {exact.get(), pending.size()}, limits, outcome, used)) break;
    pending.erase(0, used);
  }
  return outcome;
}

}  // namespace
}  // namespace thermocline

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace thermocline;
  // Whether a line of over 64 KiB is refused depends on how it arrives, as in Redis.
  if (size < 2 || size > 60000) return 0;
  ParseLimits limits;
  limits.authenticated = (data[0] & 1) == 0;
  if (data[0] & 2) limits.bulk_bytes_max = 1000;
  const std::string_view stream(reinterpret_cast<const char*>(data) + 2, size - 2);
  CHECK(ParseAtOnce(stream, limits) == ParseInPieces(stream, limits, data[1]));
  return 0;
}
