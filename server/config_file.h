#pragma once

#include <functional>
#include <iosfwd>
#include <set>
#include <span>
#include <string>
#include <string_view>

#include "encoding/status.h"
#include "server/options.h"

/// Where settings come from when the server starts, and how they get back into the file.
/// The file has redis.conf's syntax: one option per line, its words split as by SplitArgs(); lines that begin
/// with '#' are comments; `include path` reads another file in place (with wildcards: all that match, in
/// order). Later lines win.
namespace thermocline {

/// What the command line asks for.
enum class StartAction : uint8_t { kRun, kVersion, kHelp, kHelpConfig };

/// The settings at start and where they came from.
struct LoadedConfig {
  StartAction action = StartAction::kRun;
  ServerOptions options;
  std::string file;  ///< absolute path of the main file; empty: none was named
  /// What the files alone say, without standard input and the command line; CONFIG REWRITE keeps it up to
  /// date.
  ServerOptions file_options;
  /// Names of the options that included files set. When one of them changes, its new line must stand behind
  /// the include, or the include would win at the next start.
  std::set<std::string, std::less<>> included;
};

/// Reads the command line as redis-server does:
///   [file.conf] [--option value ...]... [-]
/// The file is read first, then (with a last "-") `standard_input`, then the options. An argument directly
/// behind an option's name is its value, even if it begins with "--" (but not for --save, whose value may be
/// left out).
/// "--port 7000" as one argument works too. -v, --version, -h, --help and --help-config count in first place
/// only. `arguments`: without the program's name. Errors: kInvalid; the message is what to print, several
/// lines that name file, line and reason.
Result<LoadedConfig> LoadConfig(std::span<const std::string> arguments, std::istream& standard_input);

/// Writes `config.options` back into `config.file`. Comments, blank lines, order, and every line that already
/// says what holds stay as they are; changed options replace their first line, further lines of that option
/// go; options that differ from the default and had no line are appended. Lines of included files are never
/// touched. The file is replaced in one step (temporary file, fsync, rename) and keeps its permissions; a
/// missing one is made. Errors: kIoError; the message names the file and the cause.
Status RewriteConfigFile(const LoadedConfig& config);

/// The usage text of --help.
std::string_view UsageText();

}  // namespace thermocline
