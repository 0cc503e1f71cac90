#include "server/reply.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>

namespace thermocline {
namespace {

std::string Write(int protocol, const std::function<void(ReplyWriter&)>& write) {
  std::string out;
  ReplyWriter writer(out, protocol);
  write(writer);
  return out;
}

TEST(ReplyWriter, EveryTypeInBothProtocols) {
  struct Case {
    std::function<void(ReplyWriter&)> write;
    std::string resp2;
    std::string resp3;
  };
  const double inf = std::numeric_limits<double>::infinity();
  const Case cases[] = {
      {[](auto& w) { w.Ok(); }, "+OK\r\n", "+OK\r\n"},
      {[](auto& w) { w.SimpleString("PONG"); }, "+PONG\r\n", "+PONG\r\n"},
      {[](auto& w) { w.Error("ERR no"); }, "-ERR no\r\n", "-ERR no\r\n"},
      {[](auto& w) { w.Integer(-5); }, ":-5\r\n", ":-5\r\n"},
      {[](auto& w) { w.Integer(INT64_MIN); }, ":-9223372036854775808\r\n", ":-9223372036854775808\r\n"},
      {[](auto& w) { w.Bulk("a\r\nb"); }, "$4\r\na\r\nb\r\n", "$4\r\na\r\nb\r\n"},
      {[](auto& w) { w.Bulk({}); }, "$0\r\n\r\n", "$0\r\n\r\n"},
      {[](auto& w) { w.BulkInteger(-12); }, "$3\r\n-12\r\n", "$3\r\n-12\r\n"},
      {[](auto& w) { w.Null(); }, "$-1\r\n", "_\r\n"},
      {[](auto& w) { w.NullArray(); }, "*-1\r\n", "_\r\n"},
      {[](auto& w) { w.ArrayHeader(3); }, "*3\r\n", "*3\r\n"},
      {[](auto& w) { w.MapHeader(3); }, "*6\r\n", "%3\r\n"},
      {[](auto& w) { w.SetHeader(3); }, "*3\r\n", "~3\r\n"},
      {[](auto& w) { w.PushHeader(3); }, "*3\r\n", ">3\r\n"},
      {[](auto& w) { w.Double(1.5); }, "$3\r\n1.5\r\n", ",1.5\r\n"},
      {[](auto& w) { w.Double(0.1); }, "$19\r\n0.10000000000000001\r\n", ",0.10000000000000001\r\n"},
      {[=](auto& w) { w.Double(-inf); }, "$4\r\n-inf\r\n", ",-inf\r\n"},
      {[](auto& w) { w.Bool(true); }, ":1\r\n", "#t\r\n"},
      {[](auto& w) { w.Bool(false); }, ":0\r\n", "#f\r\n"},
      {[](auto& w) { w.BigNumber("-123"); }, "$4\r\n-123\r\n", "(-123\r\n"},
      {[](auto& w) { w.Verbatim("txt", "hi"); }, "$2\r\nhi\r\n", "=6\r\ntxt:hi\r\n"},
  };
  for (const Case& c : cases) {
    EXPECT_EQ(Write(2, c.write), c.resp2);
    EXPECT_EQ(Write(3, c.write), c.resp3);
  }
}

TEST(ReplyWriter, BulkOfEverySizeAroundTheShortPath) {
  for (size_t size : {0, 1, 9, 10, 99, 100, 223, 224, 225, 1000, 100000}) {
    const std::string bytes(size, '\xff');
    std::string out = "before";
    ReplyWriter(out).Bulk(bytes);
    EXPECT_EQ(out, "before$" + std::to_string(size) + "\r\n" + bytes + "\r\n");
  }
}

TEST(ReplyWriter, AppendedRepliesLeaveABufferAtLeastAsLarge) {
  std::string out;
  out.reserve(100);
  ReplyWriter writer(out);
  writer.Append(":9000\r\n");
  EXPECT_EQ(out, ":9000\r\n");
  EXPECT_GE(out.capacity(), 100u);
  writer.Append(":1\r\n");
  EXPECT_EQ(out, ":9000\r\n:1\r\n");
  out.clear();
  writer.Append(std::string(1000, 'x'));
  EXPECT_EQ(out, std::string(1000, 'x'));
}

TEST(ReplyWriter, AnErrorCannotForgeAReply) {
  EXPECT_EQ(Write(2, [](auto& w) { w.Error("\nERR a\r\n+OK\r\n"); }), "-ERR a  +OK\r\n");
  EXPECT_EQ(Write(2, [](auto& w) { w.Error(""); }), "-\r\n");
}

}  // namespace
}  // namespace thermocline
