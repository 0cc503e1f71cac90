#include "loadgen/probe.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <thread>
#include <vector>

#include "loadgen/random.h"

namespace thermocline::loadgen {

namespace {

namespace fs = std::filesystem;
using SteadyClock = std::chrono::steady_clock;

/// Files, and how many blocks lie before the end of each: a random block is found by a search.
struct Files {
  std::vector<int> fds;
  std::vector<uint64_t> blocks_to_end;
  ~Files() {
    for (const int fd : fds) close(fd);
  }
};

Status OpenFile(const std::string& path, uint32_t read_bytes, Files* files) {
  std::error_code error;
  const uint64_t blocks = fs::file_size(path, error) / read_bytes;
  if (error || blocks == 0) return {};
  const int fd = open(path.c_str(), O_RDONLY | O_DIRECT | O_CLOEXEC);
  if (fd < 0) return {Code::kIoError, path + ": " + std::strerror(errno)};
  const uint64_t before = files->fds.empty() ? 0 : files->blocks_to_end.back();
  files->fds.push_back(fd);
  files->blocks_to_end.push_back(before + blocks);
  return {};
}

Status OpenFiles(const ProbeOptions& options, Files* files) {
  std::error_code error;
  if (fs::is_directory(options.path, error)) {
    for (fs::recursive_directory_iterator it(options.path, error), end; !error && it != end;
         it.increment(error)) {
      if (!it->is_regular_file(error)) continue;
      if (Status s = OpenFile(it->path(), options.read_bytes, files); !s.ok()) return s;
    }
  } else if (Status s = OpenFile(options.path, options.read_bytes, files); !s.ok()) {
    return s;
  }
  if (error) return {Code::kIoError, options.path + ": " + error.message()};
  if (files->fds.empty()) return {Code::kIoError, options.path + ": nothing to read"};
  return {};
}

Status ReadBlocks(const ProbeOptions& options, const Files& files, uint64_t seed, SteadyClock::time_point end,
                  Histogram* latencies) {
  constexpr size_t kAlignment = 4096;
  const std::unique_ptr<void, decltype(&std::free)> buffer(std::aligned_alloc(kAlignment, options.read_bytes),
                                                           &std::free);
  if (buffer == nullptr) return {Code::kInvalid, "the size of a read is no multiple of 4096"};
  Random random(seed);
  for (SteadyClock::time_point now = SteadyClock::now(); now < end;) {
    const uint64_t block = random.Below(files.blocks_to_end.back());
    const auto file =
        static_cast<size_t>(std::upper_bound(files.blocks_to_end.begin(), files.blocks_to_end.end(), block) -
                            files.blocks_to_end.begin());
    const uint64_t first = file == 0 ? 0 : files.blocks_to_end[file - 1];
    const auto offset = static_cast<off_t>((block - first) * options.read_bytes);
    if (pread(files.fds[file], buffer.get(), options.read_bytes, offset) != options.read_bytes) {
      return {Code::kIoError, std::string("read: ") + std::strerror(errno)};
    }
    const SteadyClock::time_point then = SteadyClock::now();
    latencies->Record(static_cast<uint64_t>(std::chrono::nanoseconds(then - now).count()));
    now = then;
  }
  return {};
}

}  // namespace

Result<ProbeResult> RunProbe(const ProbeOptions& options) {
  Files files;
  if (Status s = OpenFiles(options, &files); !s.ok()) return s;
  std::vector<Histogram> latencies(options.threads);
  std::vector<Status> outcomes(options.threads);
  std::vector<std::thread> threads;
  const SteadyClock::time_point begin = SteadyClock::now();
  const auto end = begin + std::chrono::duration_cast<SteadyClock::duration>(
                               std::chrono::duration<double>(options.seconds));
  for (uint32_t i = 0; i < options.threads; ++i) {
    threads.emplace_back(
        [&, i] { outcomes[i] = ReadBlocks(options, files, Mix(options.seed) + i, end, &latencies[i]); });
  }
  for (std::thread& thread : threads) thread.join();
  ProbeResult result;
  result.seconds = std::chrono::duration<double>(SteadyClock::now() - begin).count();
  for (uint32_t i = 0; i < options.threads; ++i) {
    if (!outcomes[i].ok()) return outcomes[i];
    result.latencies.Merge(latencies[i]);
  }
  return result;
}

}  // namespace thermocline::loadgen
