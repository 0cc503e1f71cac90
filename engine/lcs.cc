#include "engine/lcs.h"

#include <algorithm>

namespace thermocline {

uint64_t LcsTableBytes(std::string_view a, std::string_view b) {
  return (uint64_t{a.size()} + 1) * (uint64_t{b.size()} + 1) * sizeof(uint32_t);
}

namespace {

/// One row of the table: lengths for a[..i] and every b[..j], from the row above.
void FillRow(char byte, std::string_view b, const uint32_t* above, uint32_t* row) {
  row[0] = 0;
  for (size_t j = 1; j <= b.size(); ++j) {
    row[j] = byte == b[j - 1] ? above[j - 1] + 1 : std::max(above[j], row[j - 1]);
  }
}

}  // namespace

uint32_t LcsLength(std::string_view a, std::string_view b) {
  std::vector<uint32_t> above(b.size() + 1), row(b.size() + 1);
  for (const char byte : a) {
    FillRow(byte, b, above.data(), row.data());
    above.swap(row);
  }
  return above[b.size()];
}

Lcs FindLcs(std::string_view a, std::string_view b) {
  const size_t width = b.size() + 1;
  std::vector<uint32_t> table((a.size() + 1) * width);
  for (size_t i = 1; i <= a.size(); ++i) {
    FillRow(a[i - 1], b, &table[(i - 1) * width], &table[i * width]);
  }
  Lcs lcs;
  bool in_run = false;
  size_t i = a.size(), j = b.size();
  while (i > 0 && j > 0) {
    if (a[i - 1] == b[j - 1]) {
      --i, --j;
      lcs.text += a[i];
      if (!in_run) lcs.matches.push_back({0, 0, 0});
      LcsMatch& match = lcs.matches.back();
      match = {static_cast<uint32_t>(i), static_cast<uint32_t>(j), match.size + 1};
      in_run = true;
    } else {
      in_run = false;
      // Of two ways that are equally good, the one that Redis takes.
      if (table[(i - 1) * width + j] > table[i * width + j - 1]) {
        --i;
      } else {
        --j;
      }
    }
  }
  std::reverse(lcs.text.begin(), lcs.text.end());
  return lcs;
}

}  // namespace thermocline
