#include "loadgen/ledger.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace thermocline::loadgen {

struct Ledger::Header {
  static constexpr uint64_t kMagic = 0x31726567'64656c74;  // "tledger1"
  uint64_t magic;
  Population population;

  uint64_t FileBytes() const {
    uint64_t entries = 0;
    for (const uint64_t count : population.counts) entries += count;
    return sizeof(Header) + entries * sizeof(Entry);
  }
};

Result<std::unique_ptr<Ledger>> Ledger::Create(const std::string& path, const Population& population) {
  const Header header{Header::kMagic, population};
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0) return Status(Code::kIoError, path + ": " + std::strerror(errno));
  if (pwrite(fd, &header, sizeof(header), 0) != sizeof(header) ||
      ftruncate(fd, static_cast<off_t>(header.FileBytes())) != 0) {
    close(fd);
    return Status(Code::kIoError, path + ": " + std::strerror(errno));
  }
  return Map(fd, header.FileBytes());
}

Result<std::unique_ptr<Ledger>> Ledger::Open(const std::string& path) {
  const int fd = open(path.c_str(), O_RDWR | O_CLOEXEC);
  if (fd < 0) return Status(Code::kIoError, path + ": " + std::strerror(errno));
  Header header{};
  struct stat file {};
  if (pread(fd, &header, sizeof(header), 0) != sizeof(header) || fstat(fd, &file) != 0 ||
      header.magic != Header::kMagic || static_cast<uint64_t>(file.st_size) != header.FileBytes()) {
    close(fd);
    return Status(Code::kCorruption, path + " is no ledger");
  }
  return Map(fd, header.FileBytes());
}

Result<std::unique_ptr<Ledger>> Ledger::Map(int fd, uint64_t bytes) {
  void* const memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  const int error = errno;
  close(fd);
  if (memory == MAP_FAILED) return Status(Code::kIoError, std::strerror(error));
  return std::unique_ptr<Ledger>(new Ledger(memory, bytes));
}

Ledger::Ledger(void* memory, uint64_t bytes) : memory_(memory), bytes_(bytes) {
  auto* entries = reinterpret_cast<Entry*>(static_cast<char*>(memory) + sizeof(Header));
  for (int type = 0; type < kTypes; ++type) {
    first_[type] = entries;
    entries += population().counts[type];
  }
}

Ledger::~Ledger() { munmap(memory_, bytes_); }

const Population& Ledger::population() const { return static_cast<const Header*>(memory_)->population; }

}  // namespace thermocline::loadgen
