#include "server/resp_parser.h"

#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <vector>

#include "server/split_args.h"

namespace thermocline {
namespace {

using std::string_literals::operator""s;
using Request = std::vector<std::string>;

struct Parsed {
  std::vector<Request> requests;
  std::string error;
  size_t left = 0;
};

/// Feeds `stream` in pieces of `piece` bytes, each time from a fresh buffer.
Parsed Parse(std::string_view stream, size_t piece = SIZE_MAX, const ParseLimits& limits = {}) {
  Parsed parsed;
  RespParser parser;
  std::string pending;
  while (!stream.empty()) {
    pending.append(stream.substr(0, piece));
    stream.remove_prefix(std::min(piece, stream.size()));
    const std::string buffer = pending;
    size_t at = 0;
    std::vector<std::string_view> args;
    while (true) {
      const size_t first = args.size();
      size_t consumed = 0;
      const auto outcome = parser.Next(std::string_view(buffer).substr(at), limits, args, consumed);
      if (outcome == RespParser::Outcome::kError) {
        parsed.error = parser.error();
        return parsed;
      }
      if (outcome == RespParser::Outcome::kNeedMore) {
        EXPECT_EQ(consumed, 0u);
        EXPECT_EQ(args.size(), first);
        EXPECT_GT(parser.wanted(), buffer.size() - at);
        break;
      }
      at += consumed;
      parsed.requests.emplace_back(args.begin() + static_cast<ptrdiff_t>(first), args.end());
    }
    pending.erase(0, at);
  }
  parsed.left = pending.size();
  return parsed;
}

std::string ErrorOf(std::string_view stream, const ParseLimits& limits = {}) {
  const Parsed whole = Parse(stream, SIZE_MAX, limits);
  if (stream.size() < 60000) {
    EXPECT_EQ(Parse(stream, 1, limits).error, whole.error) << stream;
  }
  return whole.error;
}

TEST(RespParser, PipelineGivesTheSameRequestsInPiecesOfAnySize) {
  const std::string stream =
      "*2\r\n$3\r\nGET\r\n$5\r\nkey:1\r\n"
      "PING\r\n"
      "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$11\r\na\r\nb\0\xff*1\r\n$\r\n"
      "*0\r\n"
      "\r\n"
      "set 'a b' \"\\x00\\n\"\n"
      "*1\r\n$0\r\n\r\n"
      "*-3\r\n"
      "*2\r\n$10\r\n0123456789\r\n$1\r\nx\r\n"s;
  const std::vector<Request> expected = {{"GET", "key:1"},
                                         {"PING"},
                                         {"SET", "k", "a\r\nb\0\xff*1\r\n$"s},
                                         {},
                                         {},
                                         {"set", "a b", "\0\n"s},
                                         {""},
                                         {},
                                         {"0123456789", "x"}};
  for (size_t piece : {1, 2, 3, 4, 5, 7, 11, 16, 23, 1000}) {
    const Parsed parsed = Parse(stream, piece);
    EXPECT_EQ(parsed.requests, expected) << piece;
    EXPECT_EQ(parsed.left, 0u);
    EXPECT_EQ(parsed.error, "");
  }
}

TEST(RespParser, ArgumentsAreViewsIntoTheInput) {
  const std::string buffer = "*2\r\n$3\r\nGET\r\n$1\r\nk\r\nECHO hi\r\n";
  RespParser parser;
  std::vector<std::string_view> args;
  size_t consumed = 0;
  ASSERT_EQ(parser.Next(buffer, {}, args, consumed), RespParser::Outcome::kRequest);
  EXPECT_EQ(consumed, 20u);
  EXPECT_EQ(args[1].data(), buffer.data() + 17);
  ASSERT_EQ(parser.Next(std::string_view(buffer).substr(20), {}, args, consumed),
            RespParser::Outcome::kRequest);
  EXPECT_EQ(args[3].data(), buffer.data() + 25);
}

TEST(RespParser, CountErrors) {
  EXPECT_EQ(ErrorOf("*2147483647\r\n"), "");
  const std::string invalid = "Protocol error: invalid multibulk length";
  for (const char* stream : {"*2147483648\r\n", "*x\r\n", "*\r\n", "*+1\r\n", "* 1\r\n", "*01\r\n", "*-0\r\n",
                             "*1\n$4\r\nPING\r\n", "*99999999999999999999\r\n"}) {
    EXPECT_EQ(ErrorOf(stream), invalid) << stream;
  }
  ParseLimits limits;
  limits.args_max = 3;
  EXPECT_EQ(ErrorOf("*4\r\n", limits), invalid);
  EXPECT_EQ(ErrorOf("*" + std::string(65535, '1')), "");
  EXPECT_EQ(ErrorOf("*" + std::string(65536, '1')), "Protocol error: too big mbulk count string");
  EXPECT_EQ(ErrorOf("*" + std::string(65536, '1') + "\r"), "");
  EXPECT_EQ(ErrorOf("*" + std::string(65536, '1') + "\r\n"), invalid);
}

TEST(RespParser, LengthErrors) {
  const std::string invalid = "Protocol error: invalid bulk length";
  for (const char* stream : {"*1\r\n$-1\r\n", "*1\r\n$x\r\n", "*1\r\n$\r\n", "*1\r\n$536870913\r\n",
                             "*1\r\n$4\n\nPING\r\n", "*1\r\n$9223372036854775807\r\n", "*1\r\n$01\r\n"}) {
    EXPECT_EQ(ErrorOf(stream), invalid) << stream;
  }
  EXPECT_EQ(ErrorOf("*1\r\n$536870912\r\n"), "");
  EXPECT_EQ(ErrorOf("*1\r\nPING\r\n"), "Protocol error: expected '$', got 'P'");
  EXPECT_EQ(ErrorOf("*2\r\n$4\r\nPING\r\n%3\r\n"), "Protocol error: expected '$', got '%'");
  // The reply writer makes a blank of the CR.
  EXPECT_EQ(ErrorOf("*1\r\n\r\n"), "Protocol error: expected '$', got '\r'");
  EXPECT_EQ(ErrorOf("*1\r\n$" + std::string(65535, '1')), "");
  EXPECT_EQ(ErrorOf("*1\r\n$" + std::string(65536, '1')), "Protocol error: too big bulk count string");
  // What is not looked at, as in Redis: the byte behind a CR, the two bytes behind an argument.
  EXPECT_EQ(Parse("*1\rX$4\rXPINGxx").requests, (std::vector<Request>{{"PING"}}));
}

TEST(RespParser, TighterLimitsBeforeAuthentication) {
  ParseLimits limits;
  limits.authenticated = false;
  EXPECT_EQ(ErrorOf("*10\r\n", limits), "");
  EXPECT_EQ(ErrorOf("*11\r\n", limits), "Protocol error: unauthenticated multibulk length");
  EXPECT_EQ(ErrorOf("*1\r\n$16384\r\n", limits), "");
  EXPECT_EQ(ErrorOf("*1\r\n$16385\r\n", limits), "Protocol error: unauthenticated bulk length");
  EXPECT_EQ(ErrorOf("*1\r\n$536870913\r\n", limits), "Protocol error: invalid bulk length");
  EXPECT_EQ(Parse("a b c d e f g h i j k l m n\r\n", 3, limits).requests[0].size(), 14u);
}

TEST(RespParser, InlineErrors) {
  EXPECT_EQ(ErrorOf("PING \"a\r\n"), "Protocol error: unbalanced quotes in request");
  EXPECT_EQ(ErrorOf("PING 'a\r\n"), "Protocol error: unbalanced quotes in request");
  EXPECT_EQ(ErrorOf("PING \"a\"b\r\n"), "Protocol error: unbalanced quotes in request");
  EXPECT_EQ(ErrorOf(std::string(65536, 'a')), "");
  EXPECT_EQ(ErrorOf(std::string(65537, 'a')), "Protocol error: too big inline request");
  EXPECT_EQ(Parse(std::string(65537, 'a') + "\n").requests.size(), 1u);
}

TEST(RespParser, StaysFailed) {
  RespParser parser;
  std::vector<std::string_view> args;
  size_t consumed = 0;
  EXPECT_EQ(parser.Next("*x\r\n", {}, args, consumed), RespParser::Outcome::kError);
  EXPECT_EQ(parser.Next("PING\r\n", {}, args, consumed), RespParser::Outcome::kError);
}

TEST(RespParser, InlineWords) {
  const std::vector<std::pair<std::string, Request>> cases = {
      {"   ", {}},
      {"a  b\tc", {"a", "b", "c"}},
      {"PING \r", {"PING"}},
      {"PING a\rb", {"PING", "a", "b"}},
      {"\vPING\va", {"PING\va"}},
      {"PING \"\"", {"PING", ""}},
      {"PING \"a\\x41\\n\\t\\\"\\q\"", {"PING", "aA\n\t\"q"}},
      {"PING \"\\xzz\\x4\"", {"PING", "xzzx4"}},
      {"PING 'a\\'b\\n'", {"PING", "a'b\\n"}},
      {"PING a'b c'", {"PING", "ab c"}},
      {"PING \"a\"\vb", {"PING", "a", "b"}},
      {"PING a\0b"s, {"PING", "a\0b"s}},
      {"PING a\\nb", {"PING", "a\\nb"}},
  };
  for (const auto& [line, words] : cases) {
    EXPECT_EQ(Parse(line + "\r\n").requests, (std::vector<Request>{words})) << line;
    EXPECT_EQ(Parse(line + "\n", 1).requests, (std::vector<Request>{words})) << line;
    std::vector<std::string> split;
    EXPECT_TRUE(SplitArgs(line, split));
    EXPECT_EQ(split, words) << line;
  }
  std::vector<std::string> split = {"old"};
  for (const char* line : {"\"", "'", "a \"b", "a 'b\\'", "\"a\"\"b\"", "\"a\\", "'a'b", "a\"b c\"d"}) {
    EXPECT_FALSE(SplitArgs(line, split)) << line;
    EXPECT_TRUE(split.empty());
  }
}

TEST(RespParser, TellsHowMuchALargeArgumentNeeds) {
  RespParser parser;
  std::vector<std::string_view> args;
  size_t consumed = 0;
  std::string buffer = "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1000000\r\n";
  const size_t head = buffer.size();
  ASSERT_EQ(parser.Next(buffer, {}, args, consumed), RespParser::Outcome::kNeedMore);
  EXPECT_EQ(parser.wanted(), head + 1000002);
  EXPECT_FALSE(parser.idle());
  buffer.append(1000001, 'v');
  ASSERT_EQ(parser.Next(buffer, {}, args, consumed), RespParser::Outcome::kNeedMore);
  EXPECT_EQ(parser.wanted(), buffer.size() + 1);
  buffer.append("\n");
  ASSERT_EQ(parser.Next(buffer, {}, args, consumed), RespParser::Outcome::kRequest);
  EXPECT_EQ(consumed, buffer.size());
  EXPECT_EQ(args.size(), 3u);
  EXPECT_EQ(args[2].size(), 1000000u);
  EXPECT_TRUE(parser.idle());
}

TEST(RespParser, ManyArgumentsInSmallPiecesAreLinear) {
  // 300,000 arguments, a call after every few bytes: quadratic work would take minutes.
  std::string stream = "*300000\r\n";
  for (int i = 0; i < 300000; i++) stream += "$1\r\nx\r\n";
  RespParser parser;
  std::vector<std::string_view> args;
  size_t consumed = 0;
  auto outcome = RespParser::Outcome::kNeedMore;
  const auto start = std::chrono::steady_clock::now();
  for (size_t size = 5; outcome == RespParser::Outcome::kNeedMore; size += 5) {
    outcome = parser.Next(std::string_view(stream).substr(0, size), {}, args, consumed);
  }
  ASSERT_EQ(outcome, RespParser::Outcome::kRequest);
  EXPECT_EQ(consumed, stream.size());
  EXPECT_EQ(args.size(), 300000u);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(10));
}

}  // namespace
}  // namespace thermocline
