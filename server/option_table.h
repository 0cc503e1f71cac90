#pragma once

#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "encoding/status.h"
#include "server/options.h"

namespace thermocline {

/// How the text of an option maps to a member of ServerOptions, one struct per kind.
struct BoolField {
  bool ServerOptions::*member;
};
struct IntField {
  int64_t ServerOptions::*member;
  int64_t min;
  int64_t max;
  bool octal = false;
};
struct MemoryField {
  uint64_t ServerOptions::*member;
  uint64_t min;
  uint64_t max;
};
struct AutoMemoryField {
  AutoBytes ServerOptions::*member;
  uint64_t min = 0;
};
struct StringField {
  std::string ServerOptions::*member;
};
struct EnumField {
  /// Names in the order of the enum's values, which start at 0.
  std::span<const std::string_view> names;
  int (*get)(const ServerOptions&);
  void (*set)(ServerOptions&, int);
};
/// Several words. `set` may rely on nothing about them.
struct WordsField {
  std::vector<std::string> (*get)(const ServerOptions&);
  Status (*set)(ServerOptions&, std::span<const std::string> words);
};
using OptionField =
    std::variant<BoolField, IntField, MemoryField, AutoMemoryField, StringField, EnumField, WordsField>;

enum class Change : uint8_t {
  kLive,       ///< CONFIG SET works
  kAtStart,    ///< from the file or the command line only
  kProtected,  ///< the same, but CONFIG SET answers "protected" as Redis does by default
};

/// One option: all that parsing, CONFIG and the reference in README need to know.
struct OptionRow {
  std::string_view name;
  std::string_view alias;  ///< an older name that also works, or empty
  Change change;
  OptionField field;
  std::string_view summary;
  /// Looks at the value just set: corrects it, or refuses it with a reason. May be null.
  Status (*check)(ServerOptions&) = nullptr;
};

/// All rows, in the order of the reference. Constant for the life of the process.
std::span<const OptionRow> OptionTable();

/// By name or alias in any case; null when there is none.
const OptionRow* FindOption(std::string_view name);

/// Sets `row` in `options` from the words behind its name. On an error (kInvalid; the message is the reason,
/// with Redis 7.0.15's text where Redis has the option) `options` may be half changed: work on a copy.
Status SetOption(const OptionRow& row, std::span<const std::string> words, ServerOptions& options);

/// The value as CONFIG GET shows it: sizes in bytes, words joined by one space.
std::string GetOption(const OptionRow& row, const ServerOptions& options);

/// The line for a configuration file, such as `maxmemory 100mb` or `requirepass "a b"`, which SetOption takes
/// back.
std::string OptionLine(const OptionRow& row, const ServerOptions& options);

/// The reference as a Markdown table: name, default, whether CONFIG SET works, meaning.
std::string OptionReference();

}  // namespace thermocline
