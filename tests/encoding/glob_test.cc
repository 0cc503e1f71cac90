#include "encoding/glob.h"

#include <gtest/gtest.h>

#include <chrono>

namespace thermocline {
namespace {

using std::string_literals::operator""s;

TEST(Glob, MatchesAsRedisDoes) {
  struct Case {
    std::string pattern;
    std::string text;
    bool matches;
  };
  const Case cases[] = {
      {"", "", true},
      {"", "a", false},
      {"*", "", false},
      {"**", "", false},
      {"*", "a", true},
      {"a*", "a", true},
      {"a**", "a", true},
      {"*a", "ba", true},
      {"*a", "b", false},
      {"a*b*c", "aXbYc", true},
      {"a*b*c", "aXbYcZ", false},
      {"?", "a", true},
      {"?", "", false},
      {"??", "a", false},
      {"a?c", "abc", true},
      {"*?", "a", true},
      {"?*", "a", true},
      {"?*?", "a", false},
      {"[abc]", "b", true},
      {"[abc]", "d", false},
      {"[a-c]x", "bx", true},
      {"[c-a]x", "bx", true},
      {"[^a]", "b", true},
      {"[^a]", "a", false},
      {"[^a-c]", "d", true},
      {"[", "[", false},
      {"[^", "x", true},
      {"[a", "a", true},
      {"[a", "b", false},
      {"[a-", "-", true},
      {"[a-", "b", false},
      {"[a-]x", "a", true},
      {"[]", "]", false},
      {"[]a]", "]", false},
      {"[\\]]", "]", true},
      {"[\\", "\\", true},
      {"[\\a-c]", "b", false},
      {"[\\a-c]", "-", true},
      {"\\*", "*", true},
      {"\\*", "a", false},
      {"\\\\", "\\", true},
      {"a\\", "a\\", true},
      {"\\[a]", "[a]", true},
      {"a]", "a]", true},
      {"a\0b"s, "a\0b"s, true},
      {"a?b", "a\0b"s, true},
      {"a\0b"s, "a\0c"s, false},
      {"[a-\xff]", "b", false},
      {"[\x80-\xff]", "\x90", true},
      {"[^]", "]", true},
      {"[a]*[b]", "aXXb", true},
      {"*abc", "ababc", true},
      {"*[ab]c*d", "xacbcyd", true},
  };
  for (const Case& c : cases)
    EXPECT_EQ(GlobMatch(c.pattern, c.text), c.matches) << c.pattern << " on " << c.text;
}

TEST(Glob, IgnoresCaseWhenAsked) {
  EXPECT_FALSE(GlobMatch("maxMEM*", "maxmemory"));
  EXPECT_TRUE(GlobMatch("maxMEM*", "maxmemory", true));
  EXPECT_TRUE(GlobMatch("[A-C]", "b", true));
  EXPECT_TRUE(GlobMatch("[xY]", "y", true));
  EXPECT_FALSE(GlobMatch("[\\Y]", "y", true));
  EXPECT_TRUE(GlobMatch("\\Y", "y", true));
}

TEST(Glob, HostilePatternsStayCheap) {
  std::string pattern;
  for (int i = 0; i < 1000; i++) pattern += "a*";
  pattern += "b";
  const auto start = std::chrono::steady_clock::now();
  EXPECT_FALSE(GlobMatch(pattern, std::string(10000, 'a')));
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(5));
}

TEST(Glob, LiteralPrefix) {
  struct Case {
    const char* pattern;
    const char* bytes;
    bool exact;
  };
  const Case cases[] = {{"", "", true},           {"user:1", "user:1", true}, {"user:*", "user:", false},
                        {"*", "", false},         {"a?b", "a", false},        {"a[b]c", "a", false},
                        {"a\\*b*", "a*b", false}, {"a\\\\", "a\\", true},     {"a\\", "a\\", true},
                        {"\\ab", "ab", true},     {"a]b", "a]b", true}};
  for (const Case& c : cases) {
    EXPECT_EQ(LiteralPrefix(c.pattern).bytes, c.bytes) << c.pattern;
    EXPECT_EQ(LiteralPrefix(c.pattern).exact, c.exact) << c.pattern;
  }
}

}  // namespace
}  // namespace thermocline
