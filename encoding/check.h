#pragma once

/// CHECK is always on: for what would lose or corrupt data. DCHECK vanishes in Release builds.
/// Neither may depend on bytes from a socket or a disk: those give an error, never an abort.
namespace thermocline {
[[noreturn]] void CheckFailed(const char* file, int line, const char* condition);
}  // namespace thermocline

#define CHECK(condition) \
  (__builtin_expect(!!(condition), 1) ? (void)0 : ::thermocline::CheckFailed(__FILE__, __LINE__, #condition))

#ifdef NDEBUG
#define DCHECK(condition) ((void)sizeof(condition))
#else
#define DCHECK(condition) CHECK(condition)
#endif
