#include "engine/lcs.h"

#include <gtest/gtest.h>

#include <random>
#include <string>

namespace thermocline {
namespace {

TEST(LcsTest, FindsRunsFromTheEnd) {
  const Lcs lcs = FindLcs("ohmytext", "mynewtext");
  EXPECT_EQ(lcs.text, "mytext");
  ASSERT_EQ(lcs.matches.size(), 2u);
  EXPECT_EQ(lcs.matches[0].a_first, 4u);
  EXPECT_EQ(lcs.matches[0].b_first, 5u);
  EXPECT_EQ(lcs.matches[0].size, 4u);
  EXPECT_EQ(lcs.matches[1].a_first, 2u);
  EXPECT_EQ(lcs.matches[1].b_first, 0u);
  EXPECT_EQ(lcs.matches[1].size, 2u);
}

TEST(LcsTest, TakesEmptyStrings) {
  EXPECT_EQ(LcsLength("", ""), 0u);
  EXPECT_EQ(LcsLength("abc", ""), 0u);
  EXPECT_EQ(FindLcs("", "abc").text, "");
  EXPECT_TRUE(FindLcs("", "abc").matches.empty());
  EXPECT_EQ(LcsTableBytes("", "abc"), 16u);
}

TEST(LcsTest, LengthAgreesWithText) {
  std::mt19937 random(7);
  for (int i = 0; i < 300; ++i) {
    std::string a(random() % 40, ' '), b(random() % 40, ' ');
    for (char& c : a) c = static_cast<char>('a' + random() % 3);
    for (char& c : b) c = static_cast<char>('a' + random() % 3);
    const Lcs lcs = FindLcs(a, b);
    EXPECT_EQ(LcsLength(a, b), lcs.text.size());
    size_t sum = 0;
    for (const LcsMatch& match : lcs.matches) {
      EXPECT_EQ(a.substr(match.a_first, match.size), b.substr(match.b_first, match.size));
      sum += match.size;
    }
    EXPECT_EQ(sum, lcs.text.size());
  }
}

}  // namespace
}  // namespace thermocline
