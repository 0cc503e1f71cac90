#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace thermocline::loadgen {

/// A RESP2 reply, as far as the generator needs it. Views point into the input that was parsed.
struct Reply {
  enum class Kind : uint8_t { kStatus, kError, kInteger, kNil, kBulk, kArray };
  Kind kind = Kind::kNil;  ///< an array that holds an error (EXEC's) is that error
  std::string_view text;   ///< of all but arrays; an integer's digits
  /// Of an array, the texts of its scalars in their order, nested ones too.
  std::vector<std::string_view> elements;
};

/// Parses the reply that `input` begins with. Returns its bytes; 0 if it is not complete yet; -1 if this is
/// no RESP2.
ptrdiff_t ParseReply(std::string_view input, Reply* reply);

}  // namespace thermocline::loadgen
