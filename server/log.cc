#include "server/log.h"

#include <sys/time.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <ctime>

namespace thermocline {

Log::~Log() {
  if (file_ != nullptr) std::fclose(file_);
}

Status Log::Open(const std::string& file) {
  if (file.empty()) return {};
  file_ = std::fopen(file.c_str(), "ae");
  if (file_ == nullptr)
    return {Code::kIoError, "Can't open the log file: " + std::string(std::strerror(errno))};
  return {};
}

void Log::Write(LogLevel level, std::string_view text) {
  if (level < level_) return;
  timeval now{};
  gettimeofday(&now, nullptr);
  tm local{};
  localtime_r(&now.tv_sec, &local);
  char time[64];
  std::strftime(time, sizeof(time), "%d %b %Y %H:%M:%S", &local);
  constexpr char kMarks[] = {'.', '-', '*', '#'};
  const std::lock_guard lock(mutex_);
  std::FILE* out = file_ != nullptr ? file_ : stdout;
  std::fprintf(out, "%d:M %s.%03d %c %.*s\n", static_cast<int>(getpid()), time,
               static_cast<int>(now.tv_usec / 1000), kMarks[static_cast<int>(level)],
               static_cast<int>(text.size()), text.data());
  std::fflush(out);
}

}  // namespace thermocline
