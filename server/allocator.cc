#include "server/allocator.h"

#include <cstddef>

// jemalloc's control interface; absent (null) where a sanitizer brings its own allocator.
extern "C" {
__attribute__((weak)) int mallctl(const char* name, void* old, size_t* old_size, void* fresh, size_t size);
__attribute__((weak)) void malloc_stats_print(void (*write)(void*, const char*), void* argument,
                                              const char* options);
}

// What jemalloc reads at its start. Free pages go back to the system after a second, so that a flush or a
// compaction does not leave its memory behind, and by a thread of jemalloc's own: giving them back takes
// milliseconds.
extern "C" {
extern const char* malloc_conf;
const char* malloc_conf = "background_thread:true,dirty_decay_ms:1000,muzzy_decay_ms:0";
}

namespace thermocline {

namespace {

template <typename T>
T Read(const char* name) {
  T value{};
  size_t size = sizeof(value);
  return mallctl != nullptr && mallctl(name, &value, &size, nullptr, 0) == 0 ? value : T{};
}

}  // namespace

AllocatorNumbers ReadAllocator() {
  if (mallctl == nullptr) return {};
  // The numbers are those of the last epoch: begin a new one.
  uint64_t epoch = 1;
  size_t size = sizeof(epoch);
  mallctl("epoch", &epoch, &size, &epoch, sizeof(epoch));
  return {Read<size_t>("stats.allocated"), Read<size_t>("stats.active"), Read<size_t>("stats.resident"),
          Read<size_t>("stats.metadata")};
}

std::string AllocatorName() {
  const auto* version = Read<const char*>("version");
  if (version == nullptr) return "libc";
  // "5.3.0-0-g54eaed1d...": the number is enough.
  const std::string text(version);
  return "jemalloc-" + text.substr(0, text.find('-'));
}

void PurgeAllocator() {
  if (mallctl == nullptr) return;
  // 4096 stands for all arenas (MALLCTL_ARENAS_ALL).
  mallctl("arena.4096.purge", nullptr, nullptr, nullptr, 0);
}

std::string AllocatorReport() {
  std::string report;
  if (malloc_stats_print == nullptr) return report;
  malloc_stats_print([](void* out, const char* text) { static_cast<std::string*>(out)->append(text); },
                     &report, nullptr);
  return report;
}

}  // namespace thermocline
