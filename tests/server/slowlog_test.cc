#include "server/slowlog.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "server/monitor.h"

namespace thermocline {
namespace {

using testing::ElementsAre;

TEST(SlowLog, TheLastOnesComeFirstAndIdsGoOn) {
  SlowLog log;
  for (uint64_t us = 0; us < 5; ++us) log.Add({.us = us, .args = {"ping"}}, 3);
  ASSERT_EQ(log.entries().size(), 3u);
  EXPECT_EQ(log.entries()[0].id, 4u);
  EXPECT_EQ(log.entries()[2].us, 2u);
  log.Trim(1);
  EXPECT_EQ(log.entries().size(), 1u);
  log.Clear();
  log.Add({}, 0);
  EXPECT_TRUE(log.entries().empty());
  log.Add({}, 3);
  EXPECT_EQ(log.entries()[0].id, 6u);
}

TEST(SlowLog, ArgumentsAreCut) {
  const std::string fits(128, 'x'), more(131, 'y');
  EXPECT_THAT(CutArguments(std::vector<std::string_view>{"set", fits, more}),
              ElementsAre("set", fits, std::string(128, 'y') + "... (3 more bytes)"));
  std::vector<std::string_view> many(32, "a");
  EXPECT_EQ(CutArguments(many), std::vector<std::string>(32, "a"));
  many.push_back("last");
  const std::vector<std::string> cut = CutArguments(many);
  ASSERT_EQ(cut.size(), 32u);
  EXPECT_EQ(cut[30], "a");
  EXPECT_EQ(cut[31], "... (2 more arguments)");
}

TEST(MonitorLine, QuotesWhatIsNotPrintable) {
  const std::string_view args[] = {"SET", std::string_view("a\0\xff\"\\\n\r\t\a\b'~\x7f", 13), ""};
  EXPECT_EQ(MonitorLine(1339518083107412, 3, "127.0.0.1:60866", args),
            "+1339518083.107412 [3 127.0.0.1:60866] \"SET\" "
            "\"a\\x00\\xff\\\"\\\\\\n\\r\\t\\a\\b'~\\x7f\" \"\"\r\n");
  EXPECT_EQ(MonitorLine(5, 0, "unix:/tmp/s", std::span(args).first(1)),
            "+0.000005 [0 unix:/tmp/s] \"SET\"\r\n");
}

}  // namespace
}  // namespace thermocline
