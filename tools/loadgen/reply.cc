#include "loadgen/reply.h"

#include <charconv>

namespace thermocline::loadgen {

namespace {

constexpr int kDepthMax = 8;

/// A line without its end, starting at `at`, which moves behind it. False if it is not complete.
bool TakeLine(std::string_view input, size_t* at, std::string_view* line) {
  const size_t end = input.find("\r\n", *at);
  if (end == std::string_view::npos) return false;
  *line = input.substr(*at, end - *at);
  *at = end + 2;
  return true;
}

enum class Took : uint8_t { kAll, kIncomplete, kInvalid };

Took TakeValue(std::string_view input, size_t* at, int depth, Reply* reply) {
  std::string_view line;
  if (depth > kDepthMax) return Took::kInvalid;
  if (!TakeLine(input, at, &line)) return Took::kIncomplete;
  if (line.empty()) return Took::kInvalid;
  const char mark = line[0];
  line.remove_prefix(1);
  const auto scalar = [&](Reply::Kind kind, std::string_view text) {
    if (depth > 0) {
      reply->elements.push_back(text);
    } else {
      reply->kind = kind;
      reply->text = text;
    }
    return Took::kAll;
  };
  if (mark == '+') return scalar(Reply::Kind::kStatus, line);
  if (mark == '-') {
    reply->kind = Reply::Kind::kError;
    reply->text = line;
    return Took::kAll;
  }
  int64_t number;
  const auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), number);
  if (error != std::errc() || end != line.data() + line.size()) return Took::kInvalid;
  if (mark == ':') return scalar(Reply::Kind::kInteger, line);
  if ((mark != '$' && mark != '*') || number < -1) return Took::kInvalid;
  if (number == -1) return scalar(Reply::Kind::kNil, {});
  const auto count = static_cast<size_t>(number);
  if (mark == '$') {
    if (input.size() < *at + 2 || input.size() - *at - 2 < count) return Took::kIncomplete;
    const std::string_view text = input.substr(*at, count);
    if (input.substr(*at + count, 2) != "\r\n") return Took::kInvalid;
    *at += count + 2;
    return scalar(Reply::Kind::kBulk, text);
  }
  if (depth == 0) reply->kind = Reply::Kind::kArray;
  for (size_t i = 0; i < count; ++i) {
    if (const Took took = TakeValue(input, at, depth + 1, reply); took != Took::kAll) return took;
  }
  return Took::kAll;
}

}  // namespace

ptrdiff_t ParseReply(std::string_view input, Reply* reply) {
  size_t at = 0;
  reply->elements.clear();
  switch (TakeValue(input, &at, 0, reply)) {
    case Took::kAll: return static_cast<ptrdiff_t>(at);
    case Took::kIncomplete: return 0;
    default: return -1;
  }
}

}  // namespace thermocline::loadgen
