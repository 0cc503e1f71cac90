#pragma once

#include <cstdio>
#include <mutex>
#include <string>
#include <string_view>

#include "encoding/status.h"
#include "server/options.h"

namespace thermocline {

/// The server's log, in Redis's line format: "pid:M 23 Nov 2026 10:00:00.000 * text". Any thread.
class Log {
 public:
  Log() = default;
  ~Log();
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;

  /// `file`: appended to; empty: standard output.
  Status Open(const std::string& file);
  void SetLevel(LogLevel level) { level_ = level; }

  void Debug(std::string_view text) { Write(LogLevel::kDebug, text); }
  void Verbose(std::string_view text) { Write(LogLevel::kVerbose, text); }
  void Notice(std::string_view text) { Write(LogLevel::kNotice, text); }
  void Warning(std::string_view text) { Write(LogLevel::kWarning, text); }

 private:
  void Write(LogLevel level, std::string_view text);

  std::mutex mutex_;
  std::FILE* file_ = nullptr;  ///< nullptr: standard output
  LogLevel level_ = LogLevel::kNotice;
};

}  // namespace thermocline
