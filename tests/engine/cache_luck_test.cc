#include "engine/cache_luck.h"

#include <gtest/gtest.h>

namespace thermocline {
namespace {

/// How often it looks in 2,000 chances, when every `each`-th look is lucky.
int Looks(CacheLuck& luck, int each) {
  int looks = 0;
  for (int i = 0; i < 2000; ++i) {
    if (!luck.ShouldLook()) continue;
    ++looks;
    luck.Note(looks % each == 0);
  }
  return looks;
}

constexpr int kNever = 1 << 30;

TEST(CacheLuckTest, LooksAlwaysWhileItPays) {
  CacheLuck luck;
  EXPECT_EQ(Looks(luck, 1), 2000);
  EXPECT_EQ(Looks(luck, 4), 2000);
}

TEST(CacheLuckTest, LooksNowAndThenWhenItDoesNot) {
  CacheLuck luck;
  (void)Looks(luck, kNever);
  EXPECT_EQ(Looks(luck, kNever), 2000 / 16);
}

TEST(CacheLuckTest, NoticesThatItPaysAgain) {
  CacheLuck luck;
  (void)Looks(luck, kNever);
  (void)Looks(luck, 1);
  EXPECT_EQ(Looks(luck, 1), 2000);
}

}  // namespace
}  // namespace thermocline
