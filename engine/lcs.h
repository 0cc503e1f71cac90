#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

/// Longest common subsequence of two byte strings, for LCS. Pure functions, O(a * b) time.
namespace thermocline {

/// A run of equal bytes: `size` of them, from `a_first` in one string and from `b_first` in the other.
struct LcsMatch {
  uint32_t a_first;
  uint32_t b_first;
  uint32_t size;
};

/// Bytes that FindLcs takes for a while.
uint64_t LcsTableBytes(std::string_view a, std::string_view b);

/// The length alone, in O(b) memory.
uint32_t LcsLength(std::string_view a, std::string_view b);

/// The subsequence, and where its runs stand in both, the last one first. Of several of the same length it is
/// the one that Redis finds. REQUIRES: both below 4 GiB; LcsTableBytes(a, b) of memory.
struct Lcs {
  std::string text;
  std::vector<LcsMatch> matches;
};
Lcs FindLcs(std::string_view a, std::string_view b);

}  // namespace thermocline
