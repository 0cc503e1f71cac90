// Preloaded into the server: while the file exists that THERMOCLINE_BROKEN_DISK names, every read of a table
// or of a blob file fails with EIO. io_uring is said to be missing, so that all reads are pread().

#include <dlfcn.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

bool EndsWith(const char* text, ssize_t size, const char* end) {
  const auto length = static_cast<ssize_t>(strlen(end));
  return size >= length && memcmp(text + size - length, end, static_cast<size_t>(length)) == 0;
}

bool Fails(int fd) {
  static const char* const trigger = getenv("THERMOCLINE_BROKEN_DISK");
  if (trigger == nullptr || access(trigger, F_OK) != 0) return false;
  char link[32], path[4096];
  snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
  const ssize_t size = readlink(link, path, sizeof(path));
  return EndsWith(path, size, ".sst") || EndsWith(path, size, ".blob");
}

ssize_t Read(const char* name, int fd, void* buffer, size_t count, off64_t offset) {
  if (Fails(fd)) {
    errno = EIO;
    return -1;
  }
  using Pread = ssize_t (*)(int, void*, size_t, off64_t);
  return reinterpret_cast<Pread>(dlsym(RTLD_NEXT, name))(fd, buffer, count, offset);
}

}  // namespace

extern "C" {

ssize_t pread64(int fd, void* buffer, size_t count, off64_t offset) {
  return Read("pread64", fd, buffer, count, offset);
}
ssize_t pread(int fd, void* buffer, size_t count, off_t offset) {
  return Read("pread", fd, buffer, count, offset);
}
int io_uring_queue_init(unsigned /*entries*/, void* /*ring*/, unsigned /*flags*/) { return -ENOSYS; }

}  // extern "C"
