#include "engine/hot_keys.h"

#include <xxhash.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string_view>

#include "encoding/bytes.h"

namespace thermocline {

namespace {

constexpr std::string_view kMagic = "TCHOT1\n";

}  // namespace

Status WriteHotKeys(const std::string& path, const std::vector<HotKey>& keys) {
  std::string bytes(kMagic);
  for (const HotKey& key : keys) {
    AppendVarint(bytes, static_cast<uint64_t>(key.db));
    AppendSized(bytes, key.key);
  }
  AppendBig64(bytes, XXH3_64bits(bytes.data(), bytes.size()));
  const std::string fresh = path + ".new";
  std::ofstream file(fresh, std::ios::binary | std::ios::trunc);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  file.close();
  // Not synced: what a crash of the machine leaves is recognized by its hash.
  if (!file || std::rename(fresh.c_str(), path.c_str()) != 0) {
    const std::string cause = std::strerror(errno);
    std::remove(fresh.c_str());
    return {Code::kIoError, "cannot write " + path + ": " + cause};
  }
  return {};
}

Result<std::vector<HotKey>> ReadHotKeys(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return std::vector<HotKey>();  // there is none yet
  const std::string bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  const Status damaged(Code::kCorruption, path + " is damaged");
  std::string_view in = bytes;
  if (in.size() < kMagic.size() + 8 || !in.starts_with(kMagic)) return damaged;
  std::string_view tail = in.substr(in.size() - 8);
  in.remove_suffix(8);
  uint64_t hash;
  if (!ReadBig64(tail, &hash) || hash != XXH3_64bits(in.data(), in.size())) return damaged;
  in.remove_prefix(kMagic.size());
  std::vector<HotKey> keys;
  while (!in.empty()) {
    uint64_t db;
    std::string_view key;
    if (!ReadVarint(in, &db) || db > 0xffff || !ReadSized(in, &key)) return damaged;
    keys.push_back({static_cast<int>(db), std::string(key)});
  }
  return keys;
}

}  // namespace thermocline
